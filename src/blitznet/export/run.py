"""One run of `blitznet export`: a checkpoint in, a file and its parity report out."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from blitznet.detection.limits import SCORE_THRESHOLD
from blitznet.errors import InputError
from blitznet.export.compare import compare_file
from blitznet.export.formats import FORMATS, choose_format, write_file
from blitznet.export.limits import Limits
from blitznet.export.measure import measure_side_by_side
from blitznet.export.parity import TOLERANCES, Parity, problems
from blitznet.export.pictures import described_pictures, pictures_at_hand
from blitznet.export.self_contained import file_output_names
from blitznet.inference.engines.quantization import calibration_pixels, open_calibration
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model_files import CheckpointInfo, ExportInfo, Precision, find_checkpoint
from blitznet.whole_file import whole_file

COMPARED_PICTURES = 64


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        path: of the file that is opened.
        report: of parity, JSON.
        parity: what it says.
        problems: why the file does not stand for its network.
        is_kept: whether it is there all the same.
    """

    path: Path
    report: Path
    parity: Parity
    problems: list[str]
    is_kept: bool


def export_path(model: str, format_name: str, precision: str) -> Path:
    """What a file is called where no name is given, in the folder at hand."""
    marked = "" if precision == "fp32" else f"-{precision}"
    return Path(f"{Path(model).stem}{marked}{FORMATS[format_name].suffixes[0]}")


def export_network(
    model: str,
    format_name: str,
    precision: str = "fp32",
    out: Path | None = None,
    limits: Limits | None = None,
    calibrate: Path | None = None,
    data: Path | None = None,
    split: str = "val",
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write a network as one self-contained file, and compare that with the checkpoint.

    Args:
        model: bundled name or checkpoint.
        format_name: of `FORMATS`.
        precision: of the weights.
        out: of the file; None = `export_path`.
        limits: of suppression; None = the paper's.
        calibrate: data description whose pictures int8 is calibrated with.
        data: data description to measure mAP and mIoU on; None = compare on a few pictures alone.
        split: of `data`.
        classes: of `data`, that the means are over; None = all with ground truth.
        overwrite: replace a file that is there.
        force: keep a file that fails, too.

    Raises:
        InputError: if something does not exist, does not fit, or is missing.
    """
    chosen, known_precision = choose_format(format_name, precision)
    if (calibrate is None) == (known_precision == "int8"):
        raise InputError(
            "int8 is calibrated with pictures like those that it will see; "
            "add --calibrate DATA.yaml"
            if calibrate is None
            else f"--calibrate is for int8, not for {precision}; leave it out"
        )
    path = out or export_path(model, format_name, precision)
    if path.suffix != chosen.suffixes[0]:
        raise InputError(
            f"{path}: {format_name} files end in {chosen.suffixes[0]}; "
            f"call it {path.with_suffix(chosen.suffixes[0])}"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already; give another --out FILE, or --overwrite")
    limits = limits or Limits()
    if data and limits.score > SCORE_THRESHOLD:
        raise InputError(
            f"mAP counts objects of score {SCORE_THRESHOLD:g} or more, and the file would give "
            f"none below {limits.score:g}; leave out --score or --data"
        )
    network, checkpoint = load_checkpoint(find_checkpoint(model))
    info = _export_info(checkpoint, limits, known_precision)
    size = network.config.image_size
    calibration = list(calibration_pixels(open_calibration(calibrate), size)) if calibrate else []
    pixels = (
        list(described_pictures(data, split, COMPARED_PICTURES, size))
        if data
        else pictures_at_hand(size)
    )

    report = path.with_name(f"{path.name}.parity.json")
    with _folder_beside(path) as folder:
        fresh = folder / path.name
        raw_outputs = write_file(format_name, fresh, network, limits, info, calibration)
        metrics = measure_side_by_side(model, fresh, data, split, classes) if data else {}
        parity = compare_file(fresh, network, info, raw_outputs, pixels, metrics)
        failed = problems(parity, TOLERANCES[known_precision])
        with whole_file(report) as temporary:
            temporary.write_text(
                json.dumps(
                    _report(path, model, format_name, info, parity, failed, data, split), indent=2
                )
                + "\n"
            )
        is_kept = not failed or force
        if is_kept:
            for suffix in reversed(chosen.suffixes):  # the one that is opened comes last
                fresh.with_suffix(suffix).replace(path.with_suffix(suffix))
    return Exported(path, report, parity, failed, is_kept)


def _export_info(checkpoint: CheckpointInfo, limits: Limits, precision: Precision) -> ExportInfo:
    fields = checkpoint.model_dump(exclude={"format_version"})
    return ExportInfo(
        **fields,
        score=limits.score,
        iou=limits.iou,
        top=limits.top,
        precision=precision,
        outputs=file_output_names(checkpoint.model),
    )


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the same disk, so that files are moved in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".blitznet-", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        yield folder
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        rmtree(folder)


def _report(
    path: Path,
    model: str,
    format_name: str,
    info: ExportInfo,
    parity: Parity,
    failed: list[str],
    data: Path | None,
    split: str,
) -> dict[str, Any]:
    return {
        "model": model,
        "file": path.name,
        "format": format_name,
        "precision": info.precision,
        "score": info.score,
        "iou": info.iou,
        "top": info.top,
        "data": data and str(data),
        "split": split if data else None,
        "passed": not failed,
        "problems": failed,
        **parity.to_dict(),
    }
