"""What all engines have in common."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.model_files import CheckpointInfo, ExportInfo

Tell = Callable[[str], None]


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


class Engine(Protocol):
    """A trained network, ready to run."""

    @property
    def name(self) -> str:
        """Of `choose.ENGINES`."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda:0`, ..."""
        ...

    @property
    def info(self) -> CheckpointInfo:
        """Class names, architecture, normalisation."""
        ...

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """Run the network. May be called by several threads at once.

        Args:
            pixels: (B, S, S, 3) uint8 RGB, contiguous, any B from 1 on.
            score: minimum score of a detection, inclusive.

        Returns:
            Memory of its own, which a later call does not overwrite.

        Raises:
            InputError: if weaker objects are asked for than an exported file gives out.
        """
        ...

    def close(self) -> None:
        """Let threads and memory go. A closed engine runs no more."""
        ...


def require_score(info: ExportInfo, score: float) -> None:
    """Make sure that a file gives out all objects of a score.

    Raises:
        InputError: if it does not.
    """
    if info.model.detect and score < info.score:
        raise InputError(
            f"the file gives objects of score {info.score:g} or more, but {score:g} is asked for; "
            f"export it again with --score {score:g}"
        )


def read_outputs(outputs: Mapping[str, np.ndarray], info: ExportInfo, score: float) -> EngineOutput:
    """The outputs of an exported file, by name.

    Args:
        outputs: see `blitznet.exporting.onnx_file.ExportedNetwork.forward`.
        info: of the file.
        score: minimum score. Weaker boxes never suppress stronger ones, so it may come last.
    """
    detections = None
    if info.model.detect:
        size = np.float32(info.model.image_size)
        counts = np.minimum(outputs["count"], (outputs["scores"] >= score).sum(axis=1))
        detections = [
            Detections(
                outputs["boxes"][image, :count] * size,
                outputs["labels"][image, :count].astype(np.int64),
                outputs["scores"][image, :count].copy(),
            )
            for image, count in enumerate(counts)
        ]
    return EngineOutput(detections, outputs.get("seg_logits"))
