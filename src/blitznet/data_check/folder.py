"""What `blitznet check-data --out DIR` writes: a sheet of samples, statistics, all findings."""

import json
from pathlib import Path

from blitznet.data.description import DataDescription
from blitznet.data_check.check import open_sources
from blitznet.data_check.picture_check import AnchorSet
from blitznet.data_check.plots import plot_statistics
from blitznet.data_check.report import Report
from blitznet.data_check.sheet import draw_sheet
from blitznet.model.config import ModelConfig
from blitznet.whole_file import whole_file

SHEET_FILE = "samples.png"
REPORT_FILE = "report.json"


def write_folder(
    folder: Path, report: Report, description: DataDescription, model: ModelConfig
) -> None:
    """Write all of it.

    Args:
        folder: exists.
        report: of the check.
        description: what was checked.
        model: the network that it was checked for.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    sources, _ = open_sources(description, Path(report.data), list(report.statistics))
    with whole_file(folder / SHEET_FILE) as temporary:
        draw_sheet(sources, description.classes).save(temporary, format="png")
    plot_statistics(report, AnchorSet.of(model), folder)
    with whole_file(folder / REPORT_FILE) as temporary:
        temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
