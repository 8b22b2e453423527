"""What every way to run a trained network has in common."""

from typing import NamedTuple, Protocol

import numpy as np

from blitznet.detections import Detections
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo


class EngineOutput(NamedTuple):
    """What a network says of B pictures.

    Attributes:
        detections: B `Detections` in input pixels (0..S), CPU tensors, best score first; None for a
            network that does not detect.
        seg_logits: (B, C, h, w) float32 on the CPU, at the finest level's size; None for a network
            that does not segment.
        network_ms: time from pixels to raw tensors, without decoding and suppression; None where
            these cannot be told apart.
    """

    detections: list[Detections] | None
    seg_logits: np.ndarray | None
    network_ms: float | None = None


class Engine(Protocol):
    """One way to run one trained network."""

    @property
    def name(self) -> str:
        """Of `choice.RUNTIMES`, or of the library that runs an exported file."""
        ...

    @property
    def info(self) -> CheckpointInfo:
        """Class names, architecture, normalisation; of exported files, too."""
        ...

    @property
    def model(self) -> BlitzNet | None:
        """The network behind it, in evaluation mode; None for an exported file."""
        ...

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """Look at pictures. May be called by several threads at once.

        Args:
            pixels: (B, S, S, 3) uint8 RGB, contiguous, any B from 1 on.
            score: least score of a detection, inclusive.

        Returns:
            Memory of its own, which a later call does not overwrite.
        """
        ...

    def close(self) -> None:
        """Give back threads and memory; the engine cannot run any more."""
        ...
