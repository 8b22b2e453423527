"""`select_objects` in ONNX operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blitznet.export.limits import Limits
from blitznet.export.select_objects import NO_CANDIDATE, select_objects


@torch.library.custom_op("blitznet::select_objects", mutates_args=())
def _select_objects(
    boxes: Tensor,
    scores: Tensor,
    score: float,
    iou: float,
    top: int,
    pre_nms_per_class: int,
    keep_per_class: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    limits = Limits(score, iou, top, pre_nms_per_class, keep_per_class)
    return select_objects(boxes, scores, limits)


@_select_objects.register_fake
def _(boxes: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, top = boxes.shape[0], others[3]
    return (
        boxes.new_empty(batch, top, 4),
        boxes.new_empty(batch, top),
        boxes.new_empty((batch, top), dtype=torch.int64),
        boxes.new_empty((batch,), dtype=torch.int64),
    )


def select_as_one_operator(
    boxes: Tensor, scores: Tensor, limits: Limits
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`select_objects` as a single node of the traced graph, which `TRANSLATION` writes out."""
    selected: tuple[Tensor, Tensor, Tensor, Tensor] = _select_objects(boxes, scores, *limits)
    return selected


def _write_select_objects(
    boxes: Any,
    scores: Any,
    score: float,
    iou: float,
    top: int,
    pre_nms_per_class: int,
    keep_per_class: int,
) -> tuple[Any, Any, Any, Any]:
    """Nodes for one call; every argument but the limits stands for a value of the graph.

    ONNX's TopK gives the lower index first among equal values, as a stable sort does.
    """
    from onnxscript import opset18

    op: Any = opset18  # its annotations are those of scripts, not of tracing

    num_anchors, num_classes = scores.shape[1:]
    pre_nms = min(pre_nms_per_class, num_anchors)
    keep = min(keep_per_class, pre_nms)
    num_selected = min(top, num_classes * keep)

    def ints(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    def rows_at(rows: Any, index: Any) -> Any:
        """(B, N, ...) and (B, ...) to (B, ..., ...)."""
        return op.GatherND(rows, op.Unsqueeze(index, ints(-1)), batch_dims=1)

    zero = op.Constant(value_float=0.0)
    none = op.Constant(value_float=NO_CANDIDATE)
    corner, opposite = op.Split(boxes, num_outputs=2, axis=2)
    size = op.Sub(opposite, corner)
    has_area = op.Greater(op.ReduceMin(size, ints(2), keepdims=1), zero)
    reaches = op.GreaterOrEqual(scores, op.Constant(value_float=score))
    ranked = op.Where(op.And(reaches, has_area), scores, none)

    # Most anchors are nobody's candidate. Those of the first rows stay, so that enough are left.
    best_of_anchor = op.ReduceMax(ranked, ints(0, 2), keepdims=0)
    is_first = torch.arange(num_anchors) < pre_nms
    chosen = op.Or(op.Greater(best_of_anchor, zero), _constant(op, is_first))
    anchors = op.Squeeze(op.NonZero(chosen), ints(0))
    ranked = op.Transpose(op.Gather(ranked, anchors, axis=1), perm=[0, 2, 1])
    boxes = op.Gather(boxes, anchors, axis=1)
    best, index = op.TopK(ranked, ints(pre_nms), axis=2, largest=1, sorted=1)

    # Every class of every picture is a row with boxes of its own.
    row_boxes = op.Reshape(rows_at(boxes, index), ints(-1, pre_nms, 4))
    row_scores = op.Reshape(best, ints(-1, 1, pre_nms))
    kept = op.NonMaxSuppression(
        row_boxes, row_scores, ints(keep), op.Constant(value_floats=[iou]), zero
    )
    row_and_place = op.Gather(kept, ints(0, 2), axis=1)
    flat_best = op.Reshape(best, ints(-1, pre_nms))
    nothing = op.Expand(none, op.Shape(flat_best))
    survivors = op.ScatterND(nothing, row_and_place, op.GatherND(flat_best, row_and_place))
    survivors, place = op.TopK(
        op.Reshape(survivors, ints(-1, num_classes, pre_nms)),
        ints(keep), axis=2, largest=1, sorted=1,
    )  # fmt: skip
    index = op.GatherElements(index, place, axis=2)

    # Of equal scores the earlier anchor comes first, then the lower class: sort by these before.
    rank = op.Add(
        op.Mul(index, ints(num_classes)), _constant(op, torch.arange(num_classes).view(1, -1, 1))
    )
    flat = ints(-1, num_classes * keep)
    rank, index, survivors = (op.Reshape(values, flat) for values in (rank, index, survivors))
    _, by_rank = op.TopK(rank, ints(num_classes * keep), axis=1, largest=0, sorted=1)
    survivors = op.GatherElements(survivors, by_rank, axis=1)
    best, order = op.TopK(survivors, ints(num_selected), axis=1, largest=1, sorted=1)
    order = op.GatherElements(by_rank, order, axis=1)

    is_object = op.Greater(best, zero)
    count = op.ReduceSum(op.Cast(is_object, to=7), ints(1), keepdims=0)
    best = op.Where(is_object, best, zero)
    labels = op.Add(op.Div(order, ints(keep)), ints(1))
    labels = op.Where(is_object, labels, ints(0))
    objects = rows_at(boxes, op.GatherElements(index, order, axis=1))
    objects = op.Where(op.Unsqueeze(is_object, ints(2)), objects, zero)
    missing = top - num_selected
    if missing:
        best = op.Pad(best, ints(0, 0, 0, missing))
        labels = op.Pad(labels, ints(0, 0, 0, missing))
        objects = op.Pad(objects, ints(0, 0, 0, 0, missing, 0))
    return objects, best, labels, count


def _constant(op: Any, values: Tensor) -> Any:
    import onnx_ir

    return op.Constant(value=onnx_ir.tensor(values.numpy()))


TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.blitznet.select_objects.default: _write_select_objects
}
