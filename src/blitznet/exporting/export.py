"""Export a checkpoint to a self-contained file with a parity report."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blitznet.detection.limits import PAPER, SCORE_THRESHOLD, Limits
from blitznet.errors import InputError, require_numbers
from blitznet.evaluation.evaluate import evaluate
from blitznet.exporting.formats import FORMATS, require_export
from blitznet.exporting.images import described_images, images_at_hand
from blitznet.exporting.onnx_file import export_onnx
from blitznet.exporting.openvino_file import write_openvino
from blitznet.exporting.parity import TOLERANCES, Parity, compare_file, problems
from blitznet.files.result_folder import temporary_folder
from blitznet.files.text_files import write_json
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import describe, load_checkpoint
from blitznet.model_files import FilePrecision, find_checkpoint

COMPARED_IMAGES = 64

_MAX_TOP = 10_000  # objects per image
_AP_NAMES = {"voc07": "mAP (VOC07)", "voc12": "mAP (VOC12)", "coco": "mAP (COCO)"}


@dataclass(frozen=True)
class Exported:
    """The result of `export`.

    Attributes:
        path: the exported file.
        report: path of the parity report, JSON.
        parity: the content of that report.
        problems: differences beyond the tolerance of the precision; empty = the file is good.
        is_kept: whether the file was kept, with or without problems.
        caution: `ExportInfo.caution` of the file.
    """

    path: Path
    report: Path
    parity: Parity
    problems: list[str]
    is_kept: bool
    caution: str | None = None


def export(
    model: BlitzNet | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    format: str = "onnx",  # noqa: A002 - same name as in the command
    precision: str = "fp32",
    limits: Limits = PAPER,
    seg_map: bool = False,
    calibrate: Path | None = None,
    data: Path | None = None,
    split: str = "val",
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> Exported:
    """Write a network as one self-contained file, and compare it with the checkpoint.

    Args:
        model: a network in memory, a bundled name, or a checkpoint.
        out: path of the file; None = the model's name in the current folder.
        format: `onnx` or `openvino`.
        precision: precision of the weights: `fp32`, `fp16`, or for OpenVINO `int8`.
        limits: minimum score, IoU threshold and maximum number of objects.
        seg_map: also output the segmentation map at input size, which takes 20% more time; its
            logits are always an output.
        calibrate: data description with calibration images, for int8.
        data: data description to compare mAP and mIoU on; None = compare on a few images only.
        split: split of `data`.
        classes: average over these classes; None = all with ground truth.
        overwrite: replace an existing file.
        force: keep a file that differs too much.

    Raises:
        InputError: if a file or package is missing, or arguments are invalid.
    """
    require_numbers(0, 1, score=limits.score, iou=limits.iou)
    require_numbers(1, _MAX_TOP, top=limits.top)
    name = model.config.name if isinstance(model, BlitzNet) else Path(model).stem
    path, known_precision = require_export(out, name, format, precision, calibrate, overwrite)
    if data and limits.score > SCORE_THRESHOLD:
        raise InputError(
            f"mAP counts objects of score {SCORE_THRESHOLD:g} or more, and the file would give "
            f"none below {limits.score:g}; leave out --score or --data"
        )
    if isinstance(model, BlitzNet):
        network, info = model, describe(model)
    else:
        network, info = load_checkpoint(find_checkpoint(os.fspath(model)))
    with temporary_folder(path.parent) as folder:
        fresh, caution = folder / path.name, None
        onnx_file = fresh.with_suffix(".onnx")
        stored: FilePrecision = "fp16" if known_precision == "fp16" else "fp32"
        export_onnx(onnx_file, network, info, limits, stored, seg_map)
        if format == "openvino":
            caution = write_openvino(fresh, onnx_file, calibrate)
            onnx_file.unlink()
        parity = _compare(fresh, network, data, split, classes)
        failed = problems(parity, TOLERANCES[known_precision])
        is_kept = not failed or force
        if is_kept:
            for suffix in reversed(FORMATS[format][0]):  # move the file that users open last
                fresh.with_suffix(suffix).replace(path.with_suffix(suffix))
    report = path.with_name(f"{path.name}.parity.json")
    content: dict[str, Any] = {
        "file": path.name, "format": format, "precision": precision, **limits._asdict(),
        "data": data and str(data), "split": split if data else None,
        "passed": not failed, "problems": failed, "caution": caution, **asdict(parity),
    }  # fmt: skip
    write_json(report, content)
    return Exported(path, report, parity, failed, is_kept, caution)


def _compare(
    path: Path, network: BlitzNet, data: Path | None, split: str, classes: Sequence[str] | None
) -> Parity:
    size = network.config.image_size
    images = described_images(data, split, COMPARED_IMAGES, size) if data else images_at_hand(size)
    reference = TorchEngine(network, describe(network), torch.device("cpu"))
    parity = compare_file(path, reference, images)
    reference.close()
    if data is None:
        return parity
    both = [_measure(one, data, split, classes) for one in (network, path)]
    return replace(parity, metrics={name: (both[0][name], both[1][name]) for name in both[0]})


def _measure(
    model: BlitzNet | Path, data: Path, split: str, classes: Sequence[str] | None
) -> dict[str, float]:
    """Measure mAP and mIoU, as fractions by name; omits metrics that cannot be measured."""
    metrics = evaluate(model, data, split, classes=classes)
    figures = {name: (metrics.mean_ap or {}).get(kind) for kind, name in _AP_NAMES.items()}
    figures["mIoU"] = metrics.mean_iou
    return {name: value for name, value in figures.items() if value is not None}
