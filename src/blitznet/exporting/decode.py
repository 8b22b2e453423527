"""Box decoding and NMS as nodes of an ONNX graph.

They are traced as one operator, `blitznet::decode`, which `TRANSLATION` expands to ONNX operators.
Most anchors cannot reach the minimum score for any class, so they are dropped first.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blitznet.detection.box_coder import MAX_LOG_SIZE, WEIGHTS
from blitznet.detection.limits import Limits

_INT32, _INT64 = 6, 7  # data types of onnx.TensorProto

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
    class_logits: Any,
    box_deltas: Any,
    anchors: Any,
    image_size: int,
    *values: Any,
) -> tuple[Any, Any, Any, Any]:
    """Write the nodes for one call; tensors stand for values of the graph."""
    from onnxscript import opset18

    op: Any = opset18  # its annotations are for scripting, not for tracing
    limits = Limits(*values)
    num_classes = class_logits.shape[2] - 1
    num_anchors = class_logits.shape[1]

    # Keep only anchors that may reach the minimum score for any class of any image: no score
    # exceeds sigmoid(class logit - background logit), which saves most exponentials. The first few
    # anchors always stay, so that there are at least `top` pairs of anchor and class.
    first, second, last, axis = (_ints(op, value) for value in (0, 1, 1 << 31, 2))
    background = op.Slice(class_logits, first, second, axis)
    best = op.ReduceMax(op.Slice(class_logits, second, last, axis), axis)
    margin = op.ReduceMax(op.Sub(best, background), _ints(op, 0, 2), keepdims=0)
    least = limits.score * (1 - _ROUNDING)
    bound = math.log(least / (1 - least))
    reaches = op.GreaterOrEqual(margin, op.Constant(value_float=bound))
    number_first = -(-limits.top // num_classes)
    is_first = op.Less(_count(op, num_anchors), op.Constant(value_int=number_first))
    chosen = op.Squeeze(op.NonZero(op.Or(reaches, is_first)), _ints(op, 0))
    boxes, has_area = _write_boxes(
        op,
        op.Gather(box_deltas, chosen, axis=1),
        op.Gather(anchors, chosen, axis=0),
        image_size,
    )
    scores = op.Softmax(op.Gather(class_logits, chosen, axis=1), axis=2)
    scores = op.Slice(scores, second, last, axis)  # (B, M, C - 1), also below
    none = op.Constant(value_float=-1.0)
    is_candidate = op.And(
        op.GreaterOrEqual(scores, op.Constant(value_float=limits.score)), has_area
    )
    scores = op.Where(is_candidate, scores, none)

    survivors = _write_suppression(op, boxes, scores, num_classes, limits)
    best, pair = _write_sort(op, survivors, limits.top)
    classes = _ints(op, num_classes)
    zero = op.Constant(value_float=0.0)
    is_object = op.Greater(best, zero)
    labels = op.Where(is_object, op.Add(op.Mod(pair, classes), _ints(op, 1)), _ints(op, 0))
    anchor = op.Unsqueeze(op.Div(pair, classes), _ints(op, -1))
    objects = op.GatherND(boxes, anchor, batch_dims=1)
    return (
        op.Where(op.Unsqueeze(is_object, _ints(op, 2)), objects, zero),
        op.Where(is_object, best, zero),
        labels,
        op.ReduceSum(op.Cast(is_object, to=_INT64), _ints(op, 1), keepdims=0),
    )


def _write_boxes(op: Any, box_deltas: Any, anchors: Any, image_size: int) -> tuple[Any, Any]:
    """Write `box_coder.decode`: (B, M, 4) xyxy clipped to 0..S, and (B, M, 1) bool has_area.

    Args:
        op: ONNX operators.
        box_deltas: (B, M, 4).
        anchors: (M, 4) cxcywh.
        image_size: S.
    """
    shift, log_size = op.Split(box_deltas, num_outputs=2, axis=2)
    anchor_centre, anchor_size = op.Split(anchors, num_outputs=2, axis=1)
    shift = op.Div(shift, op.Constant(value_float=WEIGHTS[0]))
    log_size = op.Div(log_size, op.Constant(value_float=WEIGHTS[2]))
    log_size = op.Min(log_size, op.Constant(value_float=MAX_LOG_SIZE))
    centre = op.Add(anchor_centre, op.Mul(shift, anchor_size))
    half_size = op.Div(op.Mul(anchor_size, op.Exp(log_size)), op.Constant(value_float=2.0))
    low, high = op.Constant(value_float=0.0), op.Constant(value_float=float(image_size))
    corner = op.Clip(op.Sub(centre, half_size), low, high)
    opposite = op.Clip(op.Add(centre, half_size), low, high)
    narrower = op.ReduceMin(op.Sub(opposite, corner), _ints(op, 2), keepdims=1)
    return op.Concat(corner, opposite, axis=2), op.Greater(narrower, low)


def _write_suppression(op: Any, boxes: Any, scores: Any, num_classes: int, limits: Limits) -> Any:
    """Write NMS per class and image; the scores of suppressed boxes become -1.

    Args:
        op: ONNX operators.
        boxes: (B, M, 4).
        scores: (B, M, F), -1 for anchors that are not candidates.
        num_classes: F, without background.
        limits: limits of NMS.

    Returns:
        (B, M * F) scores, by anchor, then by class.
    """
    num_anchors = op.Shape(scores, start=1, end=2)
    by_class = op.Transpose(scores, perm=[0, 2, 1])
    count = op.Min(num_anchors, _ints(op, limits.pre_nms_per_class))
    takes_part = _write_best(op, by_class, count, axis=2)
    kept = op.NonMaxSuppression(
        boxes,
        op.Where(takes_part, by_class, op.Constant(value_float=-1.0)),
        _ints(op, limits.keep_per_class),
        op.Constant(value_floats=[limits.iou]),
        op.Constant(value_floats=[0.0]),
    )
    image, column, anchor = op.Split(kept, num_outputs=3, axis=1)
    classes = _ints(op, num_classes)
    nothing = op.Expand(
        op.Constant(value_float=-1.0),
        op.Concat(op.Shape(scores, start=0, end=1), op.Mul(num_anchors, classes), axis=0),
    )
    pair = op.Add(op.Mul(anchor, classes), column)
    return op.ScatterND(nothing, op.Concat(image, pair, axis=1), op.GatherND(by_class, kept))


def _write_best(op: Any, values: Any, count: Any, axis: int) -> Any:
    """Mark the best `count` values along an axis; the first of equal values win.

    In ONNX Runtime, TopK would be enough: it orders ties by position. In OpenVINO, TopK orders ties
    arbitrarily, and the stable variant takes ten times as long as the network.
    """
    where = _ints(op, axis)
    best, _ = op.TopK(values, count, axis=axis, largest=1, sorted=1)
    last = op.ReduceMin(best, where, keepdims=1)
    is_better, is_last = op.Greater(values, last), op.Equal(values, last)
    num_better = op.ReduceSum(op.Cast(is_better, to=_INT32), where, keepdims=1)
    room = op.Sub(op.Cast(count, to=_INT32), num_better)
    number = op.CumSum(op.Cast(is_last, to=_INT32), op.Squeeze(where))
    return op.Or(is_better, op.And(is_last, op.LessOrEqual(number, room)))


def _write_sort(op: Any, values: Any, top: int) -> tuple[Any, Any]:
    """Sort the best `top` values in descending order; the first of equal values comes first.

    Args:
        op: ONNX operators.
        values: (B, N), N at least `top`.
        top: T.

    Returns:
        (B, T) values and (B, T) int64 positions.
    """
    is_best = _write_best(op, values, _ints(op, top), axis=1)
    _, position = op.Split(op.NonZero(is_best), num_outputs=2, axis=0)
    position = op.Reshape(position, _ints(op, -1, top))
    best = op.GatherElements(values, position, axis=1)
    mine, other = op.Unsqueeze(best, _ints(op, 2)), op.Unsqueeze(best, _ints(op, 1))
    number = _count(op, top)
    is_earlier = op.Less(op.Unsqueeze(number, _ints(op, 0)), op.Unsqueeze(number, _ints(op, 1)))
    precedes = op.Or(op.Greater(other, mine), op.And(op.Equal(other, mine), is_earlier))
    rank = op.ReduceSum(op.Cast(precedes, to=_INT64), _ints(op, 2), keepdims=0)
    return (
        op.ScatterElements(best, rank, best, axis=1),
        op.ScatterElements(position, rank, position, axis=1),
    )


def _ints(op: Any, *values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _count(op: Any, number: int) -> Any:
    """0, 1, ... number - 1."""
    return op.Range(*(op.Constant(value_int=value) for value in (0, number, 1)))


TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.blitznet.decode.default: _write_decode
}
