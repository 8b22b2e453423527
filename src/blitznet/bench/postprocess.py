"""`blitznet bench postprocess`: from raw outputs to boxes, beside torchvision's `batched_nms`."""

import os
import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torchvision
from rich.table import Table
from torch import Tensor
from torchvision.ops import batched_nms

from blitznet.bench.drawn_pictures import DrawnSource
from blitznet.bench.raw_outputs import fine_anchors, predict_raw, refine, worst_cases
from blitznet.bench.timing import Rival, Timing, time_in_turns
from blitznet.data.description import read_description
from blitznet.data.source import LabelSource
from blitznet.detection import box_coder
from blitznet.detection.candidates import BoxDecoder, select_candidates
from blitznet.detection.limits import (
    IOU_THRESHOLD,
    KEEP_PER_IMAGE,
    PRE_NMS_PER_CLASS,
    SCORE_THRESHOLD,
)
from blitznet.detection.postprocess import decode_detections
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model_files import default_model, find_checkpoint
from blitznet.structures import RawPredictions

_FROM_RAW = "raw"
_NMS_ALONE = "nms"
_CLOCKS = {
    _FROM_RAW: "from class logits and box deltas to at most 200 boxes a picture",
    _NMS_ALONE: "batched_nms of every picture, given the boxes of the best 400 scores a class",
}
_AVERAGE = "pictures"


def bench_postprocess(
    data: Path | None, split: str, model: str | None, batch: int, rounds: int
) -> dict[str, Any]:
    """Everything that `blitznet bench postprocess` says, for `postprocess_table` and JSON.

    Args:
        data: description; None = drawn pictures of 500x375 pixels.
        split: of it, whose first source is used.
        model: bundled name or checkpoint, of a network with 11 640 anchors; None = the best
            bundled one.
        batch: pictures, evenly spread, post-processed together.
        rounds: that count, see `time_in_turns`.

    Raises:
        InputError: if the data or the network cannot be read.
    """
    network, info = load_checkpoint(find_checkpoint(model or default_model()))
    with TemporaryDirectory() as folder:
        if data is None:
            source: LabelSource = DrawnSource(Path(folder), batch)
        else:
            source = read_description(data).open_split(split)[0]
        chosen = np.linspace(0, len(source) - 1, batch).astype(int)
        raw = predict_raw(network, [source.read(index).image for index in chosen.tolist()])
    inputs = {len(network.anchors): (network.anchors, {_AVERAGE: raw})}
    if len(network.anchors) == 11_640:
        fine = fine_anchors()
        inputs[len(fine)] = (fine, {_AVERAGE: refine(raw)})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            results = [
                _time_anchors(anchors, cases, network.config.image_size, rounds)
                for anchors, cases in inputs.values()
            ]
    finally:
        torch.set_num_threads(before)
    return {
        "bench": "postprocess",
        "model": os.fspath(model or default_model()),
        "data": str(data) if data is not None else "drawn, 500x375",
        "batch": batch,
        "classes": len(info.names),
        "rounds": rounds,
        "clocks": _CLOCKS,
        "anchors": results,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "machine": platform.machine(),
    }


def postprocess_table(result: dict[str, Any]) -> Table:
    """What `bench_postprocess` returns, for people."""
    said = [
        f"{part['anchors']} anchors: the loop takes {part['times_as_fast']['raw']:.1f} times as "
        f"long as ours, its batched_nms alone {part['times_as_fast']['nms']:.1f} times; our worst "
        f"case takes {part['worst_to_average']:.1f} times as long as pictures. "
        for part in result["anchors"]
    ]
    table = Table(
        "what",
        "way",
        "inside the clock",
        title=f"Post-processing of a batch of {result['batch']}, one core",
        caption=(
            "".join(f"{name}: {meaning}. " for name, meaning in result["clocks"].items())
            + "".join(said)
            + f"Median, least and most of {result['rounds']} rounds."
        ),
    )
    for name in ("anchors", "candidates a picture", "CPU ms a batch", "least", "most"):
        table.add_column(name, justify="right")
    for part in result["anchors"]:
        for row in part["timings"]:
            figures = (row[key] for key in ("cpu_ms", "cpu_ms_least", "cpu_ms_most"))
            table.add_row(
                row["case"],
                row["name"],
                row["clock"],
                str(part["anchors"]),
                f"{row['candidates']:.0f}",
                *(f"{figure:.2f}" for figure in figures),
            )
    return table


def _time_anchors(
    anchors: Tensor, cases: dict[str, RawPredictions], image_size: int, rounds: int
) -> dict[str, Any]:
    """Ours, theirs, and their kernel alone, on pictures and on the worst cases."""
    average = cases[_AVERAGE]
    assert average.class_logits is not None
    images, _, num_classes = average.class_logits.shape
    cases = cases | worst_cases(images, anchors, num_classes)
    rivals: list[tuple[str, Rival]] = []
    for case, raw in cases.items():
        rivals.append((case, _ours(raw, anchors, image_size)))
        limit = None if case == _AVERAGE else PRE_NMS_PER_CLASS  # without one, it takes minutes
        rivals.append((case, _loop(raw, anchors, image_size, limit)))
        rivals.append((case, _kernel_alone(raw, anchors, image_size)))
    timings = time_in_turns([rival for _, rival in rivals], 1, rounds)
    by_case: dict[tuple[str, str, str], Timing] = {}
    rows = []
    for (case, _), timing in zip(rivals, timings, strict=True):
        by_case[case, timing.name, timing.clock] = timing
        rows.append({"case": case, "candidates": _count_candidates(cases[case])} | timing.to_dict())
    ours = by_case[_AVERAGE, "blitznet", _FROM_RAW].cpu_ms
    worst = max(by_case[case, "blitznet", _FROM_RAW].cpu_ms for case in cases if case != _AVERAGE)
    return {
        "anchors": len(anchors),
        "timings": rows,
        "times_as_fast": {
            clock: by_case[_AVERAGE, "torchvision", clock].cpu_ms / ours
            for clock in (_FROM_RAW, _NMS_ALONE)
        },
        "worst_to_average": worst / ours,
    }


def _ours(raw: RawPredictions, anchors: Tensor, image_size: int) -> Rival:
    return Rival(
        "blitznet", _FROM_RAW, lambda _item, _round: decode_detections(raw, anchors, image_size)
    )


def _loop(raw: RawPredictions, anchors: Tensor, image_size: int, limit: int | None) -> Rival:
    """As post-processing is usually written around torchvision: one picture after the other.

    Args:
        raw: of the batch.
        anchors: (A, 4).
        image_size: S.
        limit: candidates of a class that take part; None = all, without a loop over classes.
    """
    class_logits, box_deltas = raw.class_logits, raw.box_deltas
    assert class_logits is not None
    assert box_deltas is not None

    def decode_all(_item: int, _round: int) -> list[Tensor]:
        scores = class_logits.softmax(dim=-1)[..., 1:]
        boxes = box_coder.decode(box_deltas, anchors).clamp(0, image_size)
        kept = []
        for image_boxes, image_scores in zip(boxes, scores, strict=True):
            if limit is None:
                anchor, column = (image_scores >= SCORE_THRESHOLD).nonzero(as_tuple=True)
                candidate_scores = image_scores[anchor, column]
            else:
                best, indices = image_scores.topk(min(limit, len(image_scores)), dim=0)
                position, column = (best >= SCORE_THRESHOLD).nonzero(as_tuple=True)
                anchor, candidate_scores = indices[position, column], best[position, column]
            candidates = image_boxes[anchor]
            keep = batched_nms(candidates, candidate_scores, column, IOU_THRESHOLD)
            kept.append(candidates[keep[:KEEP_PER_IMAGE]])
        return kept

    name = "torchvision" if limit is None else f"torchvision, best {limit} a class"
    return Rival(name, _FROM_RAW, decode_all)


def _kernel_alone(raw: RawPredictions, anchors: Tensor, image_size: int) -> Rival:
    assert raw.class_logits is not None
    assert raw.box_deltas is not None
    decoder = BoxDecoder(raw.box_deltas, anchors, image_size)
    found = select_candidates(raw.class_logits, decoder, SCORE_THRESHOLD)
    ends = np.bincount(found.images, minlength=len(raw.class_logits)).tolist()
    pictures = list(
        zip(
            found.boxes.split_with_sizes(ends),
            torch.from_numpy(found.scores).split_with_sizes(ends),
            torch.from_numpy(found.columns).split_with_sizes(ends),
            strict=True,
        )
    )

    def suppress_all(_item: int, _round: int) -> list[Tensor]:
        return [batched_nms(*picture, IOU_THRESHOLD)[:KEEP_PER_IMAGE] for picture in pictures]

    return Rival("torchvision", _NMS_ALONE, suppress_all)


def _count_candidates(raw: RawPredictions) -> float:
    """Scores that reach the threshold, mean a picture."""
    assert raw.class_logits is not None
    reached = sum(
        int((logits.softmax(dim=-1)[:, 1:] >= SCORE_THRESHOLD).sum()) for logits in raw.class_logits
    )
    return reached / len(raw.class_logits)
