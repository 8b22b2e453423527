"""A loss or gradient that is infinite or NaN: at which step, and with which images."""

from typing import TYPE_CHECKING

import torch
from torch import distributed, nn

from blitznet.errors import DivergenceError
from blitznet.structures import Batch
from blitznet.training.step import StepResult

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_NEVER = 2**62


class DivergenceWatch:
    """Notes on the device which step was the first with a loss or gradient that is not finite.

    Only `require_finite` waits for the device.
    """

    def __init__(self, device: torch.device):
        self._first_bad = torch.full((), _NEVER, device=device)
        self._sources: dict[int, tuple[str, ...]] = {}

    def add(self, step: int, result: StepResult, batch: Batch) -> None:
        """One step, counted from 1, and its images."""
        is_finite = torch.isfinite(result.terms.total + result.gradient_norm)
        bad = torch.where(is_finite, _NEVER, step)
        self._first_bad = torch.minimum(self._first_bad, bad)
        self._sources[step] = batch.sources

    def require_finite(self, fabric: "Fabric", network: nn.Module) -> None:
        """To be called before the weights are saved, by all processes.

        Raises:
            DivergenceError: if a step since the last call, or a weight, is not finite.
        """
        # With finite gradients, the update itself may still have gone too far.
        weights = torch.stack([p.isfinite().all() for p in network.parameters()]).all()
        last = max(self._sources, default=0)
        bad = torch.minimum(self._first_bad, torch.where(weights, _NEVER, last))
        if fabric.world_size > 1:  # the loss of one process, the gradients of all
            bad = fabric.all_reduce(bad, reduce_op="min")  # type: ignore[assignment]
        step = int(bad)
        if step != _NEVER:
            raise DivergenceError(
                f"the loss is not finite at step {step}; its images: "
                f"{', '.join(_of_all_processes(self._sources[step]))}. "
                "Lower the learning rate with --set lr=..."
            )
        self._sources.clear()


def _of_all_processes(sources: tuple[str, ...]) -> list[str]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return list(sources)
    gathered: list[tuple[str, ...]] = [()] * distributed.get_world_size()
    distributed.all_gather_object(gathered, sources)
    return [source for part in gathered for source in part]
