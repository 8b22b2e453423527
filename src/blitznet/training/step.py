"""One step of training: forward, joint loss, backward, update."""

from functools import partial
from typing import NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from blitznet.detection.anchors import anchors_of
from blitznet.losses.joint import LabelCounts, LossTerms, count_labels, joint_loss
from blitznet.model.blitznet import normalize_images
from blitznet.structures import Batch
from blitznet.training.recipe import Recipe


class StepResult(NamedTuple):
    """Scalars on the device; to look at one waits for it.

    Attributes:
        terms: of this process's pictures.
        gradient_norm: of the averaged gradients of all processes, before clipping.
    """

    terms: LossTerms
    gradient_norm: Tensor


class TrainingStep:
    """What a step does with a batch, without ever waiting for the device.

    Has anchors and constants there: to copy a number from pageable memory would wait.

    Args:
        fabric: launched.
        model: set up by it.
        optimizer: set up by it.
        recipe: how.
    """

    def __init__(self, fabric: Fabric, model: nn.Module, optimizer: Optimizer, recipe: Recipe):
        self._fabric = fabric
        self._model = model
        self._optimizer = optimizer
        self._recipe = recipe
        self._anchors = anchors_of(recipe.model).to(fabric.device)
        self._mean = torch.tensor(recipe.model.mean, device=fabric.device)
        self._std = torch.tensor(recipe.model.std, device=fabric.device)

    def __call__(self, batch: Batch) -> StepResult:
        """Take one step with this process's part of the global batch, on the device.

        With `accumulate` the batch goes through in parts, one after the other; as all of them are
        divided by the counts of the whole, the sum of their gradients is the gradient of the whole.
        """
        parts = batch.split(self._recipe.accumulate)
        counts = self._count(parts) if len(parts) > 1 else None
        terms = []
        for part in parts:
            is_last = part is parts[-1]
            with self._fabric.no_backward_sync(
                self._model,  # type: ignore[arg-type]  # is what `setup` gave, of a private class
                enabled=not is_last,
            ):
                terms.append(self._backward(part, counts))
        gradient_norm = self._clip()
        self._optimizer.step()
        self._optimizer.zero_grad()
        summed = (torch.stack(values).sum(dim=0) for values in zip(*terms, strict=True))
        return StepResult(terms[0] if len(terms) == 1 else LossTerms(*summed), gradient_norm)

    def _backward(self, part: Batch, counts: LabelCounts | None) -> LossTerms:
        """Add the gradient of some pictures to what there is."""
        images = normalize_images(part.images, self._mean, self._std)
        raw = self._model(images.contiguous(memory_format=torch.channels_last))
        terms = joint_loss(raw, part, self._anchors, partial(_average, self._fabric), counts)
        self._fabric.backward(terms.total)
        return LossTerms(*(term.detach() for term in terms))

    def _count(self, parts: list[Batch]) -> LabelCounts:
        """Labels of all parts, averaged over the processes."""
        seg_size = self._recipe.model.level_sizes[0]
        counted = [count_labels(part, self._anchors, seg_size) for part in parts]
        totals = torch.stack([torch.stack(counts) for counts in counted]).sum(dim=0)
        return LabelCounts(*_average(self._fabric, totals).unbind())

    def _clip(self) -> Tensor:
        """Clip the gradients if the recipe says so, and give their norm from before."""
        if self._recipe.clip_grad_norm is None:
            groups = self._optimizer.param_groups
            gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
            return get_total_norm(gradients)
        norm = self._fabric.clip_gradients(
            self._model,
            self._optimizer,
            max_norm=self._recipe.clip_grad_norm,
            error_if_nonfinite=False,  # to ask for that error would wait for the device
        )
        return cast(Tensor, norm)


def _average(fabric: Fabric, values: Tensor) -> Tensor:
    """Mean over all processes."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op="mean"))
