"""Raw predictions to detections (section 3.5). Exported files do the same in their graph."""

import torch
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.limits import PAPER, Limits
from blitznet.detection.nms import per_class_nms
from blitznet.detections import Detections
from blitznet.structures import RawPredictions


@torch.no_grad()
def decode_detections(
    raw: RawPredictions, anchors: Tensor, image_size: int, limits: Limits = PAPER
) -> list[Detections]:
    """Decode the objects of every image of a batch.

    Args:
        raw: with class_logits (B, A, C) and box_deltas (B, A, 4); float32, bfloat16 or float16.
        anchors: (A, 4) xyxy, input pixels, on the same device.
        image_size: S; boxes are clipped to 0..S, and boxes without area are then dropped.
        limits: see `Limits`.

    Returns:
        B `Detections` in input pixels, best first; equal scores are ordered by anchor, then class.

    Raises:
        ValueError: if the anchors do not fit the predictions.
    """
    assert raw.class_logits is not None
    assert raw.box_deltas is not None
    if raw.class_logits.shape[1] != len(anchors):
        raise ValueError(
            f"{raw.class_logits.shape[1]} predictions per image but {len(anchors)} anchors; "
            "make the anchors for the side of the images that the network was given"
        )
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:]  # without background
    boxes = box_coder.decode(raw.box_deltas.float(), anchors).clamp(0, image_size)
    return [_best_objects(*one, limits) for one in zip(boxes, scores, strict=True)]


def _best_objects(boxes: Tensor, scores: Tensor, limits: Limits) -> Detections:
    """The objects of one image, from (A, 4) boxes and (A, C - 1) scores."""
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1, keepdim=True)
    anchor, column = ((scores >= limits.score) & has_area).nonzero(as_tuple=True)
    candidates = scores[anchor, column]
    kept = per_class_nms(boxes[anchor], candidates, column, limits)
    best = boxes[anchor[kept]], column[kept] + 1, candidates[kept]
    return Detections(*(tensor.cpu().numpy() for tensor in best))
