"""A network that learns: weights, their average, the optimizer, and what a step does to them."""

from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric

from blitznet.model.blitznet import BlitzNet
from blitznet.structures import Batch
from blitznet.training.compiling import compile_network, compiler_failures
from blitznet.training.network import average_weights, build_network, synchronize_batch_norms
from blitznet.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from blitznet.training.recipe import Recipe
from blitznet.training.resume import load_state, save_state
from blitznet.training.step import StepResult, TrainingStep


class Learner:
    """All that the steps of a run change.

    Args:
        fabric: launched.
        recipe: how.
        state: file of `save` to go on from; None = the recipe's starting weights.
        is_compiled: whether `torch.compile` compiles the network, at its first step.

    Attributes:
        network: with the weights of the last step, in training mode.
        result: what the run is for: the averaged weights if the recipe wants them, or `network`.

    Raises:
        InputError: if starting weights, batch norms or state do not fit.
    """

    def __init__(
        self, fabric: Fabric, recipe: Recipe, state: Path | None = None, is_compiled: bool = False
    ):
        self._fabric = fabric
        self._recipe = recipe
        # Before there is an optimizer, whose moments go where the weights are.
        self.network = cast(BlitzNet, fabric.to_device(build_network(recipe)))
        averaged = average_weights(self.network, recipe)
        self._averaged = averaged
        self.result = self.network if averaged is None else cast(BlitzNet, averaged.module)
        if recipe.sync_batchnorm and fabric.world_size > 1:
            synchronize_batch_norms(self.network, fabric.device)
        optimizer = build_optimizer(self.network, recipe)
        if state is not None:
            load_state(state, self.network, averaged, optimizer)
        if is_compiled:
            compile_network(self.network)
        model, self._optimizer = fabric.setup(self.network, optimizer)
        self._step = TrainingStep(fabric, model, self._optimizer, recipe)

    def take_step(self, step: int, batch: Batch) -> tuple[float, StepResult]:
        """Learn from a batch, without waiting for the device.

        Args:
            step: counted from 0, which says the learning rate and what layers drop by chance.
            batch: this process's part of the global batch, on the device.

        Returns:
            The learning rate, and what came of the step.

        Raises:
            InputError: if the compiler fails.
        """
        lr = learning_rate(self._recipe, step)
        set_learning_rate(self._optimizer, lr)
        # Layers that drop at random do it as they did before the run was broken off.
        torch.manual_seed(self._seed(step))
        with compiler_failures(self._fabric.device):
            taken = self._step(batch)
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)
        return lr, taken

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write the state to go on from.

        Args:
            path: of the file.
            step: how many were taken.
            seconds: that the run has been at work.
        """
        progress = {"step": step, "seconds": seconds}
        save_state(path, self.network, self._averaged, self._optimizer, progress)

    def _seed(self, step: int) -> int:
        """Another one for every step and process."""
        place = step * self._fabric.world_size + self._fabric.global_rank
        return self._recipe.seed + (place << 32)
