"""From raw predictions to boxes (section 3.5)."""

import numpy as np
import torch
from torch import Tensor

from blitznet.detection.candidates import BoxDecoder, Candidates, select_candidates
from blitznet.detection.limits import KEEP_PER_IMAGE, SCORE_THRESHOLD
from blitznet.detection.nms import suppress
from blitznet.detection.padded import decode_padded
from blitznet.detection.score_order import SCORE_BITS, to_rank
from blitznet.detections import Detections
from blitznet.structures import RawPredictions

# Pictures that are looked at together; more gain nothing and need more memory.
_GROUP = 32


def decode_detections(
    raw: RawPredictions, anchors: Tensor, image_size: int, score_threshold: float = SCORE_THRESHOLD
) -> list[Detections]:
    """The objects of every picture of a batch.

    Args:
        raw: with class_logits (B, A, C) and box_deltas (B, A, 4); float32, bfloat16 or float16.
        anchors: (A, 4) xyxy, input pixels.
        image_size: S; boxes are clipped to 0..S, and those that have no area left are dropped.
        score_threshold: least score, inclusive.

    Returns:
        B `Detections` in input pixels, best first, at most 200 each. Of equal scores the earlier
        anchor comes first, of one anchor the lower class.

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
    if raw.class_logits.is_cuda:
        return decode_padded(raw, anchors, image_size, score_threshold).to_list()
    logits, deltas = raw.class_logits.detach().cpu(), raw.box_deltas.detach().cpu()
    detections = []
    for start in range(0, len(logits), _GROUP):
        class_logits, box_deltas = logits[start : start + _GROUP], deltas[start : start + _GROUP]
        decoder = BoxDecoder(box_deltas, anchors.cpu(), image_size)
        candidates = select_candidates(class_logits, decoder, score_threshold)
        detections += _keep_best(candidates, class_logits.shape)
    return detections


def _keep_best(candidates: Candidates, shape: torch.Size) -> list[Detections]:
    """Suppress within class and picture, then the best 200 of every picture; shape: (B, A, C)."""
    num_images, num_anchors, num_classes = shape
    num_columns = num_classes - 1
    groups = candidates.images * num_columns + candidates.columns
    sizes = np.bincount(groups, minlength=num_images * num_columns)
    kept = suppress(candidates.boxes, torch.from_numpy(candidates.scores), sizes[sizes > 0])
    images, columns, scores = (
        values[kept] for values in (candidates.images, candidates.columns, candidates.scores)
    )
    pairs = candidates.anchors[kept] * num_columns + columns
    pair_bits = (num_anchors * num_columns).bit_length()
    keys = (images << SCORE_BITS | to_rank(scores)) << pair_bits | pairs
    order = keys.argsort()
    counts = np.bincount(images, minlength=num_images)
    starts = counts.cumsum() - counts
    counts = counts.clip(max=KEEP_PER_IMAGE)
    order = np.concatenate([order[s : s + n] for s, n in zip(starts, counts, strict=True)])
    boxes = candidates.boxes[torch.from_numpy(kept[order])].split_with_sizes(counts.tolist())
    labels = torch.from_numpy(columns[order] + 1).split_with_sizes(counts.tolist())
    best = torch.from_numpy(scores[order]).split_with_sizes(counts.tolist())
    return [Detections(*found) for found in zip(boxes, labels, best, strict=True)]
