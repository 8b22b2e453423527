"""What all engines have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from blitznet.detections import Detections
from blitznet.errors import CheckpointError, InputError, one_line
from blitznet.model_files import CheckpointInfo, ExportInfo, bundled_networks

_KNOWN_OUTPUTS = ("boxes", "scores", "labels", "count", "seg_logits")

OnMessage = Callable[[str], None]


class EngineOutput(NamedTuple):
    """What a network says of B images.

    Attributes:
        detections: B `Detections` in input pixels (0..S), best score first; None for a network
            that does not detect.
        seg_logits: (B, C, h, w) float32, at the finest level's size; None for a network that does
            not segment.
    """

    detections: list[Detections] | None
    seg_logits: np.ndarray | None


class Engine(ABC):
    """A trained network, ready to run.

    Attributes:
        name: of `choose.ENGINES`.
        device: where it runs: `cpu`, `cuda:0`, ...
        info: class names, architecture, normalisation.
    """

    name: str
    device: str
    info: CheckpointInfo

    @abstractmethod
    def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
        """Run the network. May be called by several threads at once.

        Args:
            pixels: (B, S, S, 3) uint8 RGB, contiguous, any B from 1 on.
            score: minimum score of a detection, inclusive.
            iou: objects of one class may overlap by this much; where the network already dropped
                those that overlap by less, as 0.45, it is left to the caller. None = as exported.

        Returns:
            A result that later calls do not overwrite.

        Raises:
            InputError: if `score` or `iou` ask for objects that an exported file has dropped.
        """

    @abstractmethod
    def close(self) -> None:
        """Let threads and memory go. A closed engine runs no more."""


class ExportedEngine(Engine):
    """What runs exported files.

    Attributes:
        info: of the file.
    """

    info: ExportInfo

    def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
        """See `Engine.run`."""
        info = self.info
        if not info.model.detect:
            return EngineOutput(None, self._outputs(pixels)["seg_logits"])
        if score < info.score:
            raise InputError(
                f"the file gives objects of score {info.score:g} or more, but {score:g} is asked "
                f"for; export it again with --score {score:g}"
            )
        if iou is not None and iou > info.iou:
            raise InputError(
                f"the file has no objects of a class that overlap by more than {info.iou:g} (IoU), "
                f"but {iou:g} is asked for; export it again with --iou {iou:g}"
            )
        outputs = self._outputs(pixels)
        size = np.float32(info.model.image_size)
        # Weaker boxes never suppress stronger ones, so the minimum score may come last.
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
        """Check a file that is not bundled against its metadata, by one run on a black image.

        Raises:
            CheckpointError: if the graph does not fit the description, or gives no finite numbers.
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
        except Exception as error:  # noqa: BLE001 - engines raise kinds of their own
            self.close()
            problem = f"{path} does not do what it says of itself ({one_line(error)})"
            raise CheckpointError(problem) from None

    @property
    def _wanted(self) -> list[str]:
        """Names of the outputs that are read."""
        return [name for name in self.info.outputs if name != "seg_map"]

    @abstractmethod
    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """By name; see `blitznet.exporting.onnx_file.ExportedNetwork.forward`."""
