"""Box decoding and NMS as nodes of an ONNX graph.

They are traced as one operator, `blitznet::decode`, which `TRANSLATION` expands to ONNX operators.
Most anchors cannot reach the minimum score for any class, so they are dropped first.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor

from blitznet.detection.box_coder import MAX_LOG_SIZE, WEIGHTS
from blitznet.detection.limits import Limits

# Operators that add a node to the traced graph; numbers and lists become constants there.
op: Any = opset18  # its annotations are for scripting, not for tracing

_INT32, _INT64 = 6, 7  # data types of onnx.TensorProto
_END = 1 << 31  # of a slice

# Upper bound of a score's relative rounding error, in float32 with 81 classes.
_ROUNDING = 1e-4


@torch.library.custom_op("blitznet::decode", mutates_args=())
def decode(
    class_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    image_size: int,
    score: float,
    iou: float,
    top: int,
    pre_nms_per_class: int,
    keep_per_class: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`decode_detections` with tensors of fixed size, for traced graphs only.

    Args:
        class_logits: (B, A, C).
        box_deltas: (B, A, 4).
        anchors: (A, 4) cxcywh, input pixels.
        image_size: S.
        score: like the following arguments, see `Limits`.

    Returns:
        boxes (B, T, 4) xyxy in 0..S, scores (B, T), labels (B, T) int64, count (B,) int64, with T =
        `top`: best score first; ties go to the earlier anchor, then to the lower class. Rows from
        `count` on are 0.
    """
    # The operator only marks a place in the traced graph for the exporter; it never runs.
    raise NotImplementedError("in PyTorch, use detection.postprocess.decode_detections")


@decode.register_fake
def _(class_logits: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, top = class_logits.shape[0], others[5]
    return (
        class_logits.new_zeros(batch, top, 4),
        class_logits.new_zeros(batch, top),
        class_logits.new_zeros((batch, top), dtype=torch.int64),
        class_logits.new_zeros((batch,), dtype=torch.int64),
    )


def _write_decode(
    class_logits: Any, box_deltas: Any, anchors: Any, image_size: int, *values: Any
) -> tuple[Any, Any, Any, Any]:
    """Write the nodes for one call; tensors stand for values of the graph."""
    limits = Limits(*values)
    num_classes = class_logits.shape[2] - 1

    # Keep only anchors that may reach the minimum score for any class of any image: no score
    # exceeds sigmoid(class logit - background logit), which saves most exponentials. The first few
    # anchors always stay, so that there are at least `top` pairs of anchor and class.
    background = op.Slice(class_logits, [0], [1], [2])
    best = op.ReduceMax(op.Slice(class_logits, [1], [_END], [2]), [2])
    margin = op.ReduceMax(op.Sub(best, background), [0, 2], keepdims=0)
    least = limits.score * (1 - _ROUNDING)
    reaches = op.GreaterOrEqual(margin, math.log(least / (1 - least)))
    number_first = -(-limits.top // num_classes)
    is_first = op.Less(op.Range(0, class_logits.shape[1], 1), number_first)
    chosen = op.Squeeze(op.NonZero(op.Or(reaches, is_first)), [0])
    boxes, has_area = _write_boxes(
        op.Gather(box_deltas, chosen, axis=1), op.Gather(anchors, chosen, axis=0), image_size
    )
    scores = op.Softmax(op.Gather(class_logits, chosen, axis=1), axis=2)
    scores = op.Slice(scores, [1], [_END], [2])  # (B, M, C - 1), also below
    is_candidate = op.And(op.GreaterOrEqual(scores, limits.score), has_area)
    scores = op.Where(is_candidate, scores, -1.0)

    survivors = _write_suppression(boxes, scores, num_classes, limits)
    best, pair = _write_sort(survivors, limits.top)
    is_object = op.Greater(best, 0.0)
    labels = op.Where(is_object, op.Add(op.Mod(pair, num_classes), 1), 0)
    anchor = op.Unsqueeze(op.Div(pair, num_classes), [-1])
    objects = op.GatherND(boxes, anchor, batch_dims=1)
    return (
        op.Where(op.Unsqueeze(is_object, [2]), objects, 0.0),
        op.Where(is_object, best, 0.0),
        labels,
        op.ReduceSum(op.Cast(is_object, to=_INT64), [1], keepdims=0),
    )


def _write_boxes(box_deltas: Any, anchors: Any, image_size: int) -> tuple[Any, Any]:
    """Write `box_coder.decode`: (B, M, 4) xyxy clipped to 0..S, and (B, M, 1) bool has_area.

    Args:
        box_deltas: (B, M, 4).
        anchors: (M, 4) cxcywh.
        image_size: S.
    """
    shift, log_size = op.Split(box_deltas, num_outputs=2, axis=2)
    anchor_centre, anchor_size = op.Split(anchors, num_outputs=2, axis=1)
    centre = op.Add(anchor_centre, op.Mul(op.Div(shift, WEIGHTS[0]), anchor_size))
    log_size = op.Min(op.Div(log_size, WEIGHTS[2]), MAX_LOG_SIZE)
    half_size = op.Div(op.Mul(anchor_size, op.Exp(log_size)), 2.0)
    corner = op.Clip(op.Sub(centre, half_size), 0.0, float(image_size))
    opposite = op.Clip(op.Add(centre, half_size), 0.0, float(image_size))
    narrower = op.ReduceMin(op.Sub(opposite, corner), [2], keepdims=1)
    return op.Concat(corner, opposite, axis=2), op.Greater(narrower, 0.0)


def _write_suppression(boxes: Any, scores: Any, num_classes: int, limits: Limits) -> Any:
    """Write NMS per class and image; the scores of suppressed boxes become -1.

    Args:
        boxes: (B, M, 4).
        scores: (B, M, F), -1 for anchors that are not candidates.
        num_classes: F, without background.
        limits: limits of NMS.

    Returns:
        (B, M * F) scores, by anchor, then by class.
    """
    num_anchors = op.Shape(scores, start=1, end=2)
    by_class = op.Transpose(scores, perm=[0, 2, 1])
    count = op.Min(num_anchors, limits.pre_nms_per_class)
    takes_part = _write_best(by_class, count, axis=2)
    taking_part = op.Where(takes_part, by_class, -1.0)
    kept = op.NonMaxSuppression(boxes, taking_part, [limits.keep_per_class], [limits.iou], [0.0])
    image, column, anchor = op.Split(kept, num_outputs=3, axis=1)
    num_pairs = op.Mul(num_anchors, num_classes)
    nothing = op.Expand(-1.0, op.Concat(op.Shape(scores, start=0, end=1), num_pairs, axis=0))
    pair = op.Add(op.Mul(anchor, num_classes), column)
    return op.ScatterND(nothing, op.Concat(image, pair, axis=1), op.GatherND(by_class, kept))


def _write_best(values: Any, count: Any, axis: int) -> Any:
    """Mark the best `count` values along an axis; the first of equal values win.

    In ONNX Runtime, TopK would be enough: it orders ties by position. In OpenVINO, TopK orders ties
    arbitrarily, and the stable variant takes ten times as long as the network.
    """
    best, _ = op.TopK(values, count, axis=axis, largest=1, sorted=1)
    last = op.ReduceMin(best, [axis], keepdims=1)
    is_better, is_last = op.Greater(values, last), op.Equal(values, last)
    num_better = op.ReduceSum(op.Cast(is_better, to=_INT32), [axis], keepdims=1)
    room = op.Sub(op.Cast(count, to=_INT32), num_better)
    number = op.CumSum(op.Cast(is_last, to=_INT32), axis)
    return op.Or(is_better, op.And(is_last, op.LessOrEqual(number, room)))


def _write_sort(values: Any, top: int) -> tuple[Any, Any]:
    """Sort the best `top` values in descending order; the first of equal values comes first.

    Args:
        values: (B, N), N at least `top`.
        top: T.

    Returns:
        (B, T) values and (B, T) int64 positions.
    """
    is_best = _write_best(values, [top], axis=1)
    _, position = op.Split(op.NonZero(is_best), num_outputs=2, axis=0)
    position = op.Reshape(position, [-1, top])
    best = op.GatherElements(values, position, axis=1)
    mine, other = op.Unsqueeze(best, [2]), op.Unsqueeze(best, [1])
    number = op.Range(0, top, 1)
    is_earlier = op.Less(op.Unsqueeze(number, [0]), op.Unsqueeze(number, [1]))
    precedes = op.Or(op.Greater(other, mine), op.And(op.Equal(other, mine), is_earlier))
    rank = op.ReduceSum(op.Cast(precedes, to=_INT64), [2], keepdims=0)
    return (
        op.ScatterElements(best, rank, best, axis=1),
        op.ScatterElements(position, rank, position, axis=1),
    )


TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.blitznet.decode.default: _write_decode
}
