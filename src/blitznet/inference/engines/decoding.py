"""From a network's raw tensors to what a runtime returns."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from blitznet.detection.postprocess import decode_detections
from blitznet.inference.engines.engine import EngineOutput
from blitznet.structures import RawPredictions


@torch.inference_mode()
def decode_output(
    raw: RawPredictions, anchors: Tensor, image_size: int, score: float, network_ms: float
) -> EngineOutput:
    """Decode, suppress and bring to the CPU.

    Args:
        raw: of B pictures, on the device of the anchors; its memory may be used again afterwards.
        anchors: (A, 4) xyxy, input pixels.
        image_size: S.
        score: least score, inclusive; weaker boxes never suppress stronger ones, so that the
            threshold may come before suppression.
        network_ms: how long the network took.
    """
    detections = seg_logits = None
    if raw.class_logits is not None:
        detections = decode_detections(raw, anchors, image_size, score)
    if raw.seg_logits is not None:
        seg_logits = raw.seg_logits.float().cpu().numpy()
        if raw.seg_logits.device.type == "cpu" and raw.seg_logits.dtype == torch.float32:
            seg_logits = seg_logits.copy()
    return EngineOutput(detections, seg_logits, network_ms)


def join_outputs(outputs: Sequence[EngineOutput], network_ms: float) -> EngineOutput:
    """Outputs of single pictures as one of all."""
    detections = seg_logits = None
    if outputs[0].detections is not None:
        detections = [one for output in outputs for one in output.detections or ()]
    if outputs[0].seg_logits is not None:
        seg_logits = np.concatenate([o.seg_logits for o in outputs if o.seg_logits is not None])
    return EngineOutput(detections, seg_logits, network_ms)
