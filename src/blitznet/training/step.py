"""One training step: forward, joint loss, backward, update, without waiting for the device."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from blitznet.detection.anchors import anchors_of
from blitznet.errors import InputError
from blitznet.losses.joint import LabelCounts, LossTerms, count_labels, joint_loss
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.structures import Batch
from blitznet.training.depthwise import compute_depthwise_in_float32
from blitznet.training.network import build_network
from blitznet.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from blitznet.training.recipe import Recipe
from blitznet.training.resume import load_state, save_state
from blitznet.training.teacher import Teacher, mean_labels

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class StepResult(NamedTuple):
    """Results of a step; tensors are scalars on the device, and reading one synchronises with it.

    Attributes:
        lr: learning rate of the step.
        terms: losses of this process's images.
        gradient_norm: norm of the gradients averaged over all processes, before clipping.
    """

    lr: float
    terms: LossTerms
    gradient_norm: Tensor


class TrainState:
    """Everything that a step changes: weights, EMA weights, optimizer.

    Args:
        fabric: a launched Fabric.
        recipe: recipe fitted to the data.
        names: class names of the data, background first.
        state: state file to resume from; None = the recipe's starting weights.
        is_compiled: whether to compile the network with `torch.compile`, in the first step.

    Attributes:
        network: the network with the weights of the last step, in training mode.
        result: the network that is evaluated and saved: with EMA weights if the recipe sets
            `ema_decay`, otherwise `network`.

    Raises:
        InputError: if the starting weights or the state do not fit.
    """

    def __init__(
        self,
        fabric: "Fabric",
        recipe: Recipe,
        names: Sequence[str],
        state: Path | None = None,
        is_compiled: bool = False,
    ):
        self._fabric = fabric
        self._recipe = recipe
        # Before building the optimizer, whose moments are created on the device of the weights.
        self.network = cast(BlitzNet, fabric.to_device(build_network(recipe, names)))
        decay = recipe.fitted_ema_decay
        self._ema = None if decay is None else ModelEmaV3(self.network, decay)
        self.result = self.network if self._ema is None else cast(BlitzNet, self._ema.module)
        if fabric.device.type == "cpu":
            compute_depthwise_in_float32(self.network)
        optimizer = build_optimizer(self.network, recipe)
        if state is not None:
            load_state(state, self.network, self._ema, optimizer)
        if is_compiled:
            # In place, so that parameters, their names and checkpoints stay as they are.
            self.network.compile(dynamic=False)
        self._model, self._optimizer = fabric.setup(self.network, optimizer)
        # On the device in advance, because copying from pageable memory synchronises.
        self._anchors = anchors_of(recipe.model).to(fabric.device)
        self._mean = torch.tensor(recipe.model.mean, device=fabric.device)
        self._std = torch.tensor(recipe.model.std, device=fabric.device)
        self._teachers = [Teacher(name, names, fabric.device) for name in recipe.teachers]

    def step(self, step: int, batch: Batch) -> StepResult:
        """Train on one batch, without synchronising with the device.

        With `accumulate`, parts of the batch are processed one by one. Their losses are divided by
        the counts of the whole batch, so that their gradients add up to the batch's.

        Args:
            step: counted from 0; determines the learning rate and the randomness of dropout.
            batch: this process's part of the global batch, on the device.

        Raises:
            InputError: if compilation fails.
        """
        lr = learning_rate(self._recipe, step)
        set_learning_rate(self._optimizer, lr)
        # Dropout layers must draw the same numbers after resuming.
        place = step * self._fabric.world_size + self._fabric.global_rank
        torch.manual_seed(self._recipe.seed + (place << 32))
        parts = batch.split(self._recipe.accumulate)
        counts = None
        if len(parts) > 1:  # those of all parts, averaged over the processes
            seg_size = self._recipe.model.level_sizes[0]
            counted = [torch.stack(count_labels(part, self._anchors, seg_size)) for part in parts]
            counts = LabelCounts(*_average(self._fabric, torch.stack(counted).sum(dim=0)).unbind())
        terms = []
        try:
            for part in parts:
                with self._fabric.no_backward_sync(self._model, enabled=part is not parts[-1]):
                    terms.append(self._backward(part, counts))
        except RuntimeError as error:
            _raise_compiler_failure(error, self._fabric.device)
            raise
        gradient_norm = self._clip()
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(self.network, step + 1)  # the first step copies
        summed = (torch.stack(values).sum(dim=0) for values in zip(*terms, strict=True))
        return StepResult(lr, terms[0] if len(terms) == 1 else LossTerms(*summed), gradient_norm)

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write the state to resume from.

        Args:
            path: path of the file.
            step: number of steps taken.
            seconds: duration of the run so far.
        """
        recipe = self._recipe.model_dump(mode="json")
        progress = {"step": step, "seconds": seconds, "recipe": recipe}
        save_state(path, self.network, self._ema, self._optimizer, progress)

    def _backward(self, part: Batch, counts: LabelCounts | None) -> LossTerms:
        """Accumulate the gradient of a part of the batch."""
        images = normalize_images(part.images, self._mean, self._std)
        raw = self._model(images.contiguous(memory_format=torch.channels_last))
        soft_labels = None
        if self._teachers:
            with self._fabric.autocast():
                soft_labels = mean_labels([one.soft_labels(part) for one in self._teachers])
        average = partial(_average, self._fabric)
        terms = joint_loss(
            raw, part, self._anchors, average, counts, soft_labels, self._recipe.min_negatives
        )
        self._fabric.backward(terms.total)
        return LossTerms(*(term.detach() for term in terms))

    def _clip(self) -> Tensor:
        """Clip the gradients if the recipe says so; return their norm before clipping."""
        norm = self._fabric.clip_gradients(
            self._model,
            self._optimizer,
            max_norm=self._recipe.clip_grad_norm or math.inf,
            error_if_nonfinite=False,  # the check would synchronise with the device
        )
        return cast(Tensor, norm)


def _average(fabric: "Fabric", values: Tensor) -> Tensor:
    """Mean over all processes."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op="mean"))


def _raise_compiler_failure(error: RuntimeError, device: torch.device) -> None:
    """Turn an error of `torch.compile` into an InputError of one line; ignore other errors."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    if not isinstance(error, TorchDynamoException):
        return
    inner: BaseException = getattr(error, "inner_exception", error)
    first_line = str(inner).strip().partition("\n")[0]
    cause = f"{type(inner).__name__}: {first_line}" if first_line else type(inner).__name__
    raise InputError(
        f"--compile: PyTorch {torch.__version__} cannot compile this training on "
        f"{device.type} ({cause}); train without --compile"
    ) from error
