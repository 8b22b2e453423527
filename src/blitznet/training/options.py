"""How a run is carried out, and whether that fits its recipe and data."""

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from blitznet.data.description import DataDescription
from blitznet.device import choose_device, has_fast_bfloat16
from blitznet.errors import RecipeError
from blitznet.training.network import require_synchronizable
from blitznet.training.recipe import Precision, Recipe
from blitznet.training.validation import VALIDATION_SPLIT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_VALIDATIONS = 10  # in a run
_MINIMUM_STEPS = 20  # between two of them

# As Lightning Fabric calls them.
FABRIC_PRECISION: Final[dict[Precision, Literal["32-true", "bf16-mixed"]]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
}


@dataclass(frozen=True)
class LoopOptions:
    """How a run is carried out; it does not change the result.

    But for `early_stopping`, and rounding: compiled, or on other devices, sums have other orders.
    The fields are arguments of `blitznet.training.train.train`; `accelerator` is the type of its
    `device`.
    """

    devices: int = 1
    accelerator: str = "auto"
    workers: int = 2
    max_minutes: float | None = None
    validate_every: int | None = 0
    early_stopping: int | None = None
    compile: bool = False


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """What is wanted, or fp32 where bfloat16 would be emulated, which is slower by a multiple."""
    return wanted if has_fast_bfloat16(device) else "fp32"


def launch(recipe: Recipe, options: LoopOptions) -> "tuple[Fabric, Precision]":
    """Start the processes of a run, with the seed of the recipe, and say what they compute in."""
    from lightning_fabric import Fabric

    devices, machines = _count_processes(options)
    precision = usable_precision(recipe.precision, choose_device(options.accelerator))
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=devices,
        num_nodes=machines,
        precision=FABRIC_PRECISION[precision],
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    return fabric, precision


def _count_processes(options: LoopOptions) -> tuple[int, int]:
    """Processes on this machine, and machines; torchrun says both, and `devices` does not count."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    return options.devices, 1


def require_fit(recipe: Recipe, data: DataDescription, options: LoopOptions) -> None:
    """Raise RecipeError if the recipe does not fit the data or the way it is carried out."""
    if recipe.model.num_classes != len(data.classes):
        raise RecipeError(
            f"recipe {recipe.name} has {recipe.model.num_classes} classes, the data has "
            f"{len(data.classes)} with background; use --set model.num_classes={len(data.classes)}"
        )
    processes = math.prod(_count_processes(options))
    if recipe.global_batch_size % (processes * recipe.accumulate):
        parts = f" in {recipe.accumulate} parts each" if recipe.accumulate > 1 else ""
        raise RecipeError(
            f"a global batch of {recipe.global_batch_size} images cannot be shared by "
            f"{processes} devices{parts}; use --set global_batch_size=N with a multiple of "
            "them"
        )
    if recipe.sync_batchnorm and processes > 1:
        require_synchronizable(options.accelerator)
    if options.early_stopping is not None and not steps_between_validations(recipe, data, options):
        raise RecipeError(
            "--early-stopping goes by validations, and there are none; it takes a split val in the "
            "data, and no --validate-every 0"
        )


def steps_between_validations(recipe: Recipe, data: DataDescription, options: LoopOptions) -> int:
    """Steps between two validations of a run; 0 = there are none.

    Raises:
        RecipeError: if validations are asked for that the data cannot give.
    """
    has_split = VALIDATION_SPLIT in data.splits
    if options.validate_every is None:
        return max(_MINIMUM_STEPS, math.ceil(recipe.steps / _VALIDATIONS)) if has_split else 0
    if options.validate_every and not has_split:
        raise RecipeError(
            f"--validate-every {options.validate_every}: the data has no split "
            f"{VALIDATION_SPLIT!r}; add one, or use --validate-every 0"
        )
    return options.validate_every
