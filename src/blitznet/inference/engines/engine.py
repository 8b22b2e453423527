"""Interface of the engines, and the base class of those that run exported files."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from blitznet.detections import Detections
from blitznet.errors import CheckpointError, InputError, one_line
from blitznet.model_files import CheckpointInfo, ExportInfo, bundled_networks

_KNOWN_OUTPUTS = ("boxes", "scores", "labels", "count", "seg_logits")

_MIN_SCORE = 1e-6  # the lowest --score of `blitznet export`

OnMessage = Callable[[str], None]


class EngineOutput(NamedTuple):
    """A network's output for B images.

    Attributes:
        detections: B `Detections` in input pixels (0..S), best score first; None if the network
            does not detect.
        seg_logits: (B, C, h, w) float32, at the size of the finest level; None if the network does
            not segment.
    """

    detections: list[Detections] | None
    seg_logits: np.ndarray | None


class Engine(ABC):
    """A trained network, ready to run.

    Attributes:
        name: a name of `choose.ENGINES`.
        device: `cpu`, `cuda:0`, ...
        info: metadata of the network's file.
    """

    name: str
    device: str
    info: CheckpointInfo

    @abstractmethod
    def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
        """Run the network. Thread-safe.

        Args:
            pixels: (B, S, S, 3) uint8 RGB, contiguous, B at least 1.
            score: minimum score of a detection, inclusive.
            iou: NMS threshold; None = the file's, or 0.45 for a checkpoint. A lower value does not
                change the result; the caller has to apply it.

        Returns:
            A result that later calls do not overwrite.

        Raises:
            InputError: if `score` is lower, or `iou` higher, than an exported file allows.
        """

    @abstractmethod
    def close(self) -> None:
        """Release threads and memory. A closed engine cannot run."""


class EngineThreads(ThreadPoolExecutor):
    """Threads of an engine. A forked process has none of them, and would wait for ever."""

    def __init__(self, count: int) -> None:
        super().__init__(count, "blitznet-network")
        self._process = os.getpid()

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `ThreadPoolExecutor.submit`; raise RuntimeError in a forked process."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "the network was loaded before this process was forked; load it in every process"
            )
        return super().submit(*args, **kwargs)


def require_in_file(info: ExportInfo, score: float, iou: float | None) -> None:
    """Require that an exported file holds all the objects asked for.

    Raises:
        InputError: if `score` is lower, or `iou` higher, than the file allows.
    """
    if score < info.score:
        raise InputError(
            f"the file gives objects of score {info.score:g} or more, but {score:g} was "
            f"requested; ask for {info.score:g} or more, or export it again with --score "
            f"{max(score, _MIN_SCORE):g}"
        )
    if iou is not None and iou > info.iou:
        raise InputError(
            f"the file has no objects of a class that overlap by more than {info.iou:g} (IoU), "
            f"but {iou:g} was requested; export it again with --iou {iou:g}"
        )


class ExportedEngine(Engine):
    """Base class of the engines that run exported files.

    Attributes:
        info: metadata of the file.
    """

    info: ExportInfo

    def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
        info = self.info
        if not info.model.detect:
            return EngineOutput(None, self._outputs(pixels)["seg_logits"])
        require_in_file(info, score, iou)
        outputs = self._outputs(pixels)
        size = np.float32(info.model.image_size)
        # Boxes never suppress better ones, so the minimum score can be applied last.
        counts = np.minimum(outputs["count"], (outputs["scores"] >= score).sum(axis=1))
        labels = outputs["labels"]
        if not ((labels >= 0) & (labels < len(info.names))).all():
            raise CheckpointError(
                "the file finds classes that it has no names for; export it again"
            )
        detections = [
            Detections(
                outputs["boxes"][image, :count] * size,
                labels[image, :count].astype(np.int64),
                outputs["scores"][image, :count].copy(),
            )
            for image, count in enumerate(counts)
        ]
        return EngineOutput(detections, outputs.get("seg_logits"))

    def _require_sound(self, path: Path) -> None:
        """Check a file against its metadata by a run on a black image, unless it is bundled.

        Raises:
            CheckpointError: if outputs differ from the metadata, or are infinite or NaN.
        """
        if path in (files.exported for files in bundled_networks().values()):
            return
        model, top = self.info.model, self.info.top
        side, finest = model.image_size, model.level_sizes[0]
        shapes: dict[str, tuple[int, ...]] = {}
        if model.detect:
            shapes |= {"boxes": (1, top, 4), "scores": (1, top), "labels": (1, top), "count": (1,)}
        if model.segment:
            shapes["seg_logits"] = (1, model.num_classes, finest, finest)
        try:
            if not shapes.keys() <= set(self._wanted) <= set(_KNOWN_OUTPUTS):
                raise ValueError(f"its outputs are {', '.join(self._wanted)}")
            outputs = self._outputs(np.zeros((1, side, side, 3), np.uint8))
            for name, shape in shapes.items():
                found = outputs[name]
                if found.shape != shape:
                    raise ValueError(f"{name} has the shape {found.shape}")
                if found.dtype.kind == "f" and not np.isfinite(found).all():
                    raise ValueError(f"{name} is infinite or NaN")
        except Exception as error:  # noqa: BLE001 - engines raise their own types
            self.close()
            problem = f"{path} does not match its metadata ({one_line(error)})"
            raise CheckpointError(problem) from None

    @property
    def _wanted(self) -> list[str]:
        """Names of the outputs to read."""
        return [name for name in self.info.outputs if name != "seg_map"]

    @abstractmethod
    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Compute outputs by name; see `exporting.onnx_file.ExportedNetwork.forward`."""
