"""The PyTorch engine, in float32 or bfloat16."""

import copy

import numpy as np
import torch
from torch import nn

from blitznet.detection.limits import PAPER, Limits
from blitznet.detection.postprocess import decode_detections
from blitznet.inference.engines.engine import Engine, EngineOutput, EngineThreads
from blitznet.model.blitznet import BlitzNet
from blitznet.model.pixel_network import PixelNetwork
from blitznet.model_files import CheckpointInfo
from blitznet.structures import RawPredictions


class TorchEngine(Engine):
    """Runs a network in PyTorch; see `Engine`.

    The network runs in its own thread, because on a CPU two runs at once would compete for cores.
    Decoding runs in the caller's thread.

    Args:
        model: network; set to evaluation mode and channels-last, and moved to the device.
        info: metadata of its checkpoint.
        device: device to run on.
        is_bfloat16: convolve in bfloat16 with a copy of the weights; those of `model` stay float32.
    """

    def __init__(
        self,
        model: BlitzNet,
        info: CheckpointInfo,
        device: torch.device,
        is_bfloat16: bool = False,
    ) -> None:
        self.name = "torch-bf16" if is_bfloat16 else "torch"
        self.device = str(device)
        self.info = info
        self._is_bfloat16 = is_bfloat16
        model.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = PixelNetwork(model, info)
        if is_bfloat16:
            # Round the weights once; autocast would do it in every call.
            self._network = copy.deepcopy(self._network)
            for module in self._network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.to(torch.bfloat16)
        self.model = model
        self._anchors = model.anchors
        self._thread = EngineThreads(1)

    def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
        raw = self._thread.submit(self._forward, pixels).result()
        detections = seg_logits = None
        if raw.class_logits is not None:
            size = self.info.model.image_size
            # The caller applies lower thresholds, so that all engines give the same objects.
            limits = Limits(score, max(iou or 0, PAPER.iou))
            detections = decode_detections(raw, self._anchors, size, limits)
        if raw.seg_logits is not None:
            seg_logits = raw.seg_logits.float().cpu().numpy()
        return EngineOutput(detections, seg_logits)

    def close(self) -> None:
        self._thread.shutdown()

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> RawPredictions:
        """Run on (B, S, S, 3) uint8 pixels."""
        # PyTorch has no read-only tensors, and arrays that share memory with PIL are read-only.
        images = torch.from_numpy(np.require(pixels, requirements="W")).to(self.device)
        device_type = images.device.type
        with torch.autocast(device_type, torch.bfloat16, enabled=self._is_bfloat16):
            raw: RawPredictions = self._network(images)
            return raw
