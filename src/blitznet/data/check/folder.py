"""What `blitznet check-data --out DIR` writes: a sheet of samples, statistics, all findings."""

import json
from pathlib import Path

from blitznet.data.check.check import OpenData
from blitznet.data.check.picture_check import AnchorSet
from blitznet.data.check.plots import plot_statistics
from blitznet.data.check.report import Report
from blitznet.data.check.sheet import draw_sheet
from blitznet.model_info import ModelConfig
from blitznet.whole_file import whole_file

SHEET_FILE = "samples.png"
REPORT_FILE = "report.json"


def write_folder(folder: Path, report: Report, opened: OpenData, model: ModelConfig) -> None:
    """Write all of it.

    Args:
        folder: exists.
        report: of the check.
        opened: what was checked.
        model: the network that it was checked for.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    with whole_file(folder / SHEET_FILE) as temporary:
        draw_sheet(opened.sources, opened.names).save(temporary, format="png")
    plot_statistics(report, AnchorSet.of(model), folder)
    with whole_file(folder / REPORT_FILE) as temporary:
        temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
