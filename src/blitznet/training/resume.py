"""The state of a run in one safetensors file, from which it resumes exactly.

Samples (`data.loader`) and learning rate of a step depend only on the seed and the step, so the
state consists of the weights, the EMA weights and the optimizer's moments.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from blitznet.errors import CheckpointError, first_problem, shown
from blitznet.files.text_files import parse_json
from blitznet.model.checkpoint import read_tensors, write_safetensors
from blitznet.model_files import read_header

_KEY = "blitznet_training"
_REMEDY = "restore it from a copy, or delete it to begin the run again"
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam and AdamW, per parameter


def save_state(
    path: Path,
    model: nn.Module,
    averaged: nn.Module | None,
    optimizer: Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write the state of a run; `progress`, which has the key `step`, is stored as JSON."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_safetensors(path, contiguous, {_KEY: json.dumps(progress)})


class Progress(BaseModel):
    """The progress of a run.

    Attributes:
        step: number of steps taken.
        seconds: duration so far.
        recipe: fields of the recipe of these steps; None in states of earlier versions.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    step: int = Field(ge=0)
    seconds: float = Field(ge=0)
    recipe: dict[str, Any] | None = None


def read_progress(path: Path) -> dict[str, Any]:
    """Read the `progress` of `save_state`.

    Raises:
        CheckpointError: if the file is missing, damaged or not the state of a run.
    """
    metadata = read_header(path).metadata
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is not the state of a training run")
    content = parse_json(metadata[_KEY], path, CheckpointError)
    try:
        return Progress.model_validate(content).model_dump()
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged ({first_problem(error)}); {_REMEDY}") from None


def load_state(
    path: Path, model: nn.Module, averaged: nn.Module | None, optimizer: Optimizer
) -> None:
    """Load a saved state into new objects of the same recipe.

    Raises:
        CheckpointError: if the state is damaged, or belongs to another network or optimizer.
    """
    found: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
    for name, tensor in read_tensors(path).items():
        part, _, rest = name.partition(".")
        if part not in found:
            raise CheckpointError(f"{path} holds {shown(name)}, not part of a state; {_REMEDY}")
        found[part][rest] = tensor
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    indices = {name.partition(".")[0] for name in found["optimizer"]}
    expected: dict[str, Mapping[str, Tensor]] = {
        "model": model.state_dict(),
        "averaged": averaged.state_dict() if averaged is not None else {},
        "optimizer": {
            f"{index}.{name}": parameter if name in _MOMENTS else torch.zeros(())
            for index, parameter in enumerate(trained)
            if str(index) in indices
            for name in ("step", *_MOMENTS)
        },
    }
    if any(_shapes(found[part]) != _shapes(expected[part]) for part in found):
        raise CheckpointError(
            f"{path} is the state of another network or optimizer; resume with the recipe and the "
            "settings that the run began with"
        )
    model.load_state_dict(found["model"])
    if averaged is not None:
        averaged.load_state_dict(found["averaged"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in found["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
