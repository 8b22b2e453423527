"""Post-processing one picture after the other: every score, every sort in full."""

import torch
from torch import Tensor
from torchvision.ops import nms

from blitznet.detection import box_coder
from blitznet.detections import Detections
from blitznet.structures import RawPredictions


def decode_one_by_one(
    raw: RawPredictions, anchors: Tensor, image_size: int, score_threshold: float
) -> list[Detections]:
    """What `decode_detections` gives."""
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:]
    is_candidate = scores >= score_threshold
    detections = []
    for image in range(len(scores)):
        anchor, column = is_candidate[image].nonzero(as_tuple=True)
        boxes = box_coder.decode(raw.box_deltas[image, anchor].float(), anchors[anchor])
        boxes = boxes.clamp(0, image_size)
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        anchor, column, boxes = anchor[has_area], column[has_area], boxes[has_area]
        candidate_scores = scores[image, anchor, column]
        keep = keep_best(boxes, candidate_scores, column)
        detections.append(Detections(boxes[keep], column[keep] + 1, candidate_scores[keep]))
    return detections


def keep_best(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """400 a class, of which 50 survive, of which 200 a picture: (K,) int64 positions."""
    kept = [torch.empty(0, dtype=torch.int64)]
    for label in torch.unique(labels):
        candidates = (labels == label).nonzero()[:, 0]
        order = scores[candidates].argsort(descending=True, stable=True)[:400]
        candidates = candidates[order]
        kept.append(candidates[nms(boxes[candidates], scores[candidates], 0.45)[:50]])
    survivors = torch.cat(kept).sort().values
    return survivors[scores[survivors].argsort(descending=True, stable=True)[:200]]
