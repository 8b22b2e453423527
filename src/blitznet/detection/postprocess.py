"""From raw predictions to boxes (section 3.5)."""

from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.nms import per_class_nms
from blitznet.structures import Detections, RawPredictions


def decode_detections(
    raw: RawPredictions, anchors: Tensor, image_size: int, score_threshold: float = 0.01
) -> list[Detections]:
    """The objects of every picture of a batch.

    Args:
        raw: with class_logits (B, A, C) and box_deltas (B, A, 4).
        anchors: (A, 4) xyxy, input pixels.
        image_size: S; boxes are clipped to 0..S, and those that have no area left are dropped.
        score_threshold: least score, inclusive.

    Returns:
        B `Detections` in input pixels, best first, at most 200 each.

    Raises:
        ValueError: if the anchors are not those of the predictions.
    """
    assert raw.class_logits is not None
    assert raw.box_deltas is not None
    if raw.class_logits.shape[1] != len(anchors):
        raise ValueError(
            f"{raw.class_logits.shape[1]} predictions a picture but {len(anchors)} anchors; "
            "make the anchors for the side of the pictures that the network was given"
        )
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:]  # without background
    is_candidate = scores >= score_threshold
    detections = []
    for image in range(len(scores)):
        anchor, column = is_candidate[image].nonzero(as_tuple=True)
        boxes = box_coder.decode(raw.box_deltas[image, anchor].float(), anchors[anchor])
        boxes = boxes.clamp(0, image_size)
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        anchor, column, boxes = anchor[has_area], column[has_area], boxes[has_area]
        candidate_scores = scores[image, anchor, column]
        keep = per_class_nms(boxes, candidate_scores, column)
        detections.append(Detections(boxes[keep], column[keep] + 1, candidate_scores[keep]))
    return detections
