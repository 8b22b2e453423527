"""PyTorch: as it is, in bfloat16, compiled."""

import copy
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from blitznet.inference.engines.decoding import decode_output
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.engines.pixel_network import (
    PixelNetwork,
    as_raw,
    output_names,
    without_warnings,
)
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo
from blitznet.structures import RawPredictions


class TorchEngine:
    """A network in PyTorch; see `Engine`.

    The network has a thread of its own: CUDA graphs belong to the thread that recorded them, and on
    a CPU two networks at once would take each other's cores. Decoding happens in the caller's.

    Args:
        model: is put into evaluation mode, on the device, and into channels-last.
        info: what its checkpoint says of it.
        device: where it runs.
        name: of the runtime.
        is_bfloat16: convolve in bfloat16, with a copy of the weights: those of `model` stay exact.
        is_compiled: by `torch.compile`, on a GPU with CUDA graphs. A batch is filled up to a power
            of two then: each size is compiled for itself.
    """

    def __init__(
        self,
        model: BlitzNet,
        info: CheckpointInfo,
        device: torch.device,
        name: str = "torch",
        is_bfloat16: bool = False,
        is_compiled: bool = False,
    ) -> None:
        self.name = name
        self.info = info
        self.model: BlitzNet | None = model.eval().to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self._names = output_names(model.config)
        self._is_bfloat16 = is_bfloat16
        self._is_compiled = is_compiled
        self._network = PixelNetwork(model)
        if is_bfloat16:
            self._network = copy.deepcopy(self._network)
            cast_convolutions(self._network)
        if is_compiled:
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            with without_warnings():
                self._network.compile(mode=mode, dynamic=False)
        self._anchors = model.anchors
        self._thread = ThreadPoolExecutor(1, "blitznet-network")

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """See `Engine.run`."""
        raw, network_ms = self._thread.submit(self._forward, pixels).result()
        size = self.info.model.image_size
        return decode_output(raw, self._anchors, size, score, network_ms)

    def close(self) -> None:
        """See `Engine.close`."""
        self._thread.shutdown()

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> tuple[RawPredictions, float]:
        """pixels: (B, S, S, 3) uint8. Returns raw predictions and milliseconds."""
        start = perf_counter()
        num_pictures = len(pixels)
        if self._is_compiled:
            pixels = fill_up(pixels)
        # PyTorch has no read-only tensors, and arrays that look into a PIL image are read-only.
        images = torch.from_numpy(np.require(pixels, requirements="W")).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_bfloat16):
            outputs: tuple[Tensor, ...] = self._network(images)
        if self._is_compiled:
            # CUDA graphs write the next result to the same place.
            outputs = tuple(tensor[:num_pictures].clone() for tensor in outputs)
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)  # else the clock stops too early
        raw = as_raw(dict(zip(self._names, outputs, strict=True)))
        return raw, (perf_counter() - start) * 1000


def cast_convolutions(network: nn.Module) -> None:
    """Round weights to bfloat16 once; autocast alone would do the same in every call.

    Args:
        network: is changed, and wants autocast from then on.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)


def fill_up(pixels: np.ndarray) -> np.ndarray:
    """(B, ...) to (next power of two, ...), with zeros."""
    size = 1 << (len(pixels) - 1).bit_length()
    if size == len(pixels):
        return pixels
    return np.concatenate(
        (pixels, np.zeros_like(pixels, shape=(size - len(pixels), *pixels.shape[1:])))
    )
