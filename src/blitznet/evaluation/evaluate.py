"""Measure a network on labelled images: mAP and mean IoU."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import BatchSampler, Dataset

from blitznet.data.description import read_description
from blitznet.data.loader import prepare_ahead
from blitznet.data.source import LabelSource, locate
from blitznet.detection.limits import SCORE_THRESHOLD
from blitznet.detections import Detections
from blitznet.device import choose_device
from blitznet.errors import InputError, require_numbers
from blitznet.evaluation.metrics import Evaluation
from blitznet.evaluation.metrics import Metrics as Metrics
from blitznet.evaluation.report.review import DetailedEvaluation
from blitznet.evaluation.report.write import write_report
from blitznet.evaluation.submission import AddImage, open_submission
from blitznet.files.text_files import write_json
from blitznet.image import resize_to_input
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.inference.selection import Selection, Selector
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo, find_network
from blitznet.progress import with_progress
from blitznet.structures import Sample

METRICS_FILE = "metrics.json"

# An image's id, its labels in pixels of the image, and (S, S, 3) uint8 RGB for the network.
_Item = tuple[str, Sample, np.ndarray]


def evaluate(
    model: BlitzNet | str | os.PathLike[str],
    data: str | os.PathLike[str],
    split: str = "val",
    *,
    engine: str | None = None,
    device: str | torch.device = "auto",
    classes: Sequence[str] | None = None,
    batch_size: int = 16,
    workers: int = 1,
    out: Path | None = None,
    submission: str | None = None,
    report: bool = False,
    show_progress: bool = True,
) -> Metrics:
    """Measure a network on one split of a data description.

    Args:
        model: a network in memory, which is copied, or a bundled name, a checkpoint or an exported
            file.
        data: path of the data description; the network must know all its classes. Other classes
            of the network count as background.
        split: the split to evaluate.
        engine: inference engine for a network given by name or path, or `auto`; None = PyTorch in
            float32, or for an exported file, ONNX Runtime or OpenVINO.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        classes: average over these; None = all with ground truth.
        batch_size: images per forward pass.
        workers: data-loading processes.
        out: folder for `metrics.json`, submission and report; None = write nothing.
        submission: also write the files for this evaluation server, one of `submission.SERVERS`;
            the split then needs no labels.
        report: also write a page of confusion matrices, curves, best and worst images.
        show_progress: show a bar on a terminal.

    Raises:
        InputError: if network, data, split or classes do not exist or do not match.
    """
    require_numbers(1, batch_size=batch_size)
    if out is None and (report or submission is not None):
        raise InputError("a report or a submission needs a folder; give out=FOLDER")
    description = read_description(Path(data))
    names = description.classes
    with ExitStack() as stack:
        name, opened = _open(model, engine, device, names)
        stack.enter_context(closing(opened))
        if unknown := [one for one in names if one not in opened.info.names]:
            raise InputError(
                f"{name} knows the classes {', '.join(opened.info.names[1:])}, but not "
                f"{', '.join(unknown)} of {os.fspath(data)}; measure a network trained on them"
            )
        sources, found = description.open_split(split), None
        if submission is not None and out is not None:
            files = open_submission(submission, out, names, split, Path(name).stem)
            found = stack.enter_context(files)
        elif not any(entry.is_labelled for entry in description.entries(split)):
            raise InputError(
                f"the split {split!r} has no labels to measure with; "
                "--submission voc|coco writes what the evaluation servers take"
            )
        evaluation = (DetailedEvaluation if report else Evaluation)(names)
        metrics = measure(
            opened, sources, classes, batch_size, workers, found, evaluation, show_progress
        )
    metrics = replace(metrics, model=name, data=os.fspath(data), split=split)
    if out is not None and metrics.has_figures:
        write_json(out / METRICS_FILE, metrics.to_dict())
        if isinstance(evaluation, DetailedEvaluation):
            write_report(out, evaluation, metrics)
    return metrics


def _open(
    model: BlitzNet | str | os.PathLike[str],
    engine: str | None,
    device: str | torch.device,
    names: Sequence[str],
) -> tuple[str, Engine]:
    """Name and engine of a network; a network in memory without metadata has the data's `names`."""
    if isinstance(model, BlitzNet):
        info = model.info or CheckpointInfo(model=model.config, names=tuple(names))
        return model.config.name, engine_of(model, info, device)
    name = os.fspath(model)
    if engine is None:  # float32, with which other engines are compared
        engine, files = "torch", find_network(name)
        if files.checkpoint is None and files.exported is not None:
            engine = "openvino" if files.exported.suffix == ".xml" else "onnxruntime"
    return name, open_engine(name, engine, str(device))


def engine_of(
    network: BlitzNet, info: CheckpointInfo, device: str | torch.device = "auto"
) -> TorchEngine:
    """A float32 PyTorch engine for a copy of a network; the original is not touched.

    Uses only the names and supervised classes of `info`.

    Raises:
        InputError: if the numbers of names and classes differ, or the device does not exist.
    """
    if len(info.names) != network.config.num_classes:
        raise InputError(
            f"the network has {network.config.num_classes} classes, the data has "
            f"{len(info.names)} with background"
        )
    info = info.model_copy(update={"model": network.config})
    return TorchEngine(deepcopy(network), info, choose_device(device))


def measure(
    engine: Engine,
    sources: Sequence[LabelSource],
    classes: Sequence[str] | None = None,
    batch_size: int = 16,
    workers: int = 1,
    found: AddImage | None = None,
    evaluation: Evaluation | None = None,
    show_progress: bool = False,
) -> Metrics:
    """Run the evaluation loop; there is only one.

    Args:
        engine: runs the network.
        sources: sources of one split.
        classes: see `Evaluation.compute`.
        batch_size: images per forward pass.
        workers: processes that read images.
        found: called with id, detections and segmentation map of every image, in order.
        evaluation: accumulates the images; None = a new one of the network's classes. Classes
            that it lacks count as background.
        show_progress: show a bar on a terminal; not inside another bar.

    Returns:
        Metrics without model, data and split.

    Raises:
        InputError: for the first unusable image or label.
    """
    started = time.monotonic()
    evaluation = evaluation or Evaluation(engine.info.names)
    evaluation.require_classes(classes or ())
    total = sum(map(len, sources))
    with closing(
        _predictions(engine, sources, batch_size, workers, evaluation.names)
    ) as predictions:
        shown = with_progress(predictions, total, "images", show_progress)
        for image_id, sample, detections, seg_map in shown:
            evaluation.update(sample, detections, seg_map)
            if found is not None:
                found(image_id, detections, seg_map)
    seconds = round(time.monotonic() - started, 1)
    info = engine.info
    metrics = evaluation.compute(classes, info.supervised_boxes, info.supervised_masks)
    return replace(metrics, engine=engine.name, seconds=seconds)


class _Items(Dataset[_Item]):
    """Every image of the sources once, in order."""

    def __init__(self, sources: Sequence[LabelSource], size: int):
        self.sources = list(sources)
        self.size = size

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, position: int) -> _Item:
        source, index = locate(self.sources, position)
        sample = source.read(index)
        pixels = resize_to_input(Image.fromarray(sample.image), self.size)
        return source.image_id(index), sample, pixels


def _predictions(
    engine: Engine,
    sources: Sequence[LabelSource],
    batch_size: int,
    workers: int,
    names: Sequence[str],
) -> Generator[tuple[str, Sample, Detections | None, np.ndarray | None]]:
    """Yield every image's id and labels with the network's results, see `Selector.apply`.

    Class ids are indices into `names`, some or all of the network's.
    """
    selector = Selector(engine.info, Selection(SCORE_THRESHOLD, classes=names[1:]))
    ids = np.array([names.index(one) if one in names else 0 for one in engine.info.names])
    unread = _Items(sources, engine.info.model.image_size)
    positions = BatchSampler(range(len(unread)), batch_size, drop_last=False)
    with closing(prepare_ahead(unread, positions, list, workers, prefetch=2)) as batches:
        for items in batches:
            output = engine.run(np.stack([pixels for *_, pixels in items]), SCORE_THRESHOLD)
            for index, (image_id, sample, _) in enumerate(items):
                detections, seg_map = selector.apply(output, index, *sample.size)
                if detections is not None:
                    detections = detections._replace(labels=ids[detections.labels])
                if seg_map is not None:
                    seg_map = ids.astype(np.uint8)[seg_map]
                yield image_id, sample, detections, seg_map
