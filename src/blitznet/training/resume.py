"""The state of a run in one safetensors file, from which it resumes exactly.

Samples (`data.loader`) and learning rate of a step depend only on the seed and the step, so the
state consists of the weights, the EMA weights and the optimizer's moments.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from blitznet.errors import CheckpointError, first_problem, shown
from blitznet.files.text_files import parse_json
from blitznet.model.checkpoint import read_tensors, write_safetensors
from blitznet.model_files import STATE_KEY, read_header

_REMEDY = "restore it from a copy, or delete it to begin the run again"
_PARTS = ("model", "averaged", "optimizer")
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam and AdamW, per parameter


def save_state(
    path: Path,
    model: nn.Module,
    averaged: nn.Module | None,
    optimizer: Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write the state of a run; `progress`, which has the key `step`, is stored as JSON."""
    tensors = _tensors(model, averaged, optimizer)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_safetensors(path, contiguous, {STATE_KEY: json.dumps(progress)})


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


def read_progress(path: Path) -> Progress:
    """Read the `progress` of `save_state`.

    Raises:
        CheckpointError: if the file is missing, damaged or not the state of a run.
    """
    metadata, _ = read_header(path)
    if STATE_KEY not in metadata:
        raise CheckpointError(f"{path} is not the state of a training run")
    content = parse_json(metadata[STATE_KEY], path, CheckpointError)
    try:
        return Progress.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged ({first_problem(error)}); {_REMEDY}") from None


def load_state(
    path: Path, model: nn.Module, averaged: nn.Module | None, optimizer: Optimizer
) -> None:
    """Load a saved state into new objects of the same recipe.

    Raises:
        CheckpointError: if the state is damaged, or belongs to another network or optimizer.
    """
    found = read_tensors(path)
    for name in found:
        if name.partition(".")[0] not in _PARTS:
            raise CheckpointError(f"{path} holds {shown(name)}, not part of a state; {_REMEDY}")
    expected = _tensors(model, averaged, optimizer)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    indices = [i for i in range(len(trained)) if f"optimizer.{i}.step" in found]
    for index in indices:  # a new optimizer has no moments
        moments = dict.fromkeys(_MOMENTS, trained[index]) | {"step": torch.zeros(())}
        expected |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    if {n: t.shape for n, t in found.items()} != {n: t.shape for n, t in expected.items()}:
        raise CheckpointError(
            f"{path} is the state of another network or optimizer; resume with the recipe and the "
            "settings that the run began with"
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}

    model.load_state_dict(part("model."))
    if averaged is not None:
        averaged.load_state_dict(part("averaged."))
    state = {index: part(f"optimizer.{index}.") for index in indices}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _tensors(
    model: nn.Module, averaged: nn.Module | None, optimizer: Optimizer
) -> dict[str, Tensor]:
    """All tensors by name, with the prefixes model., averaged. and optimizer.INDEX."""
    parts = {"model": model.state_dict()}
    if averaged is not None:
        parts["averaged"] = averaged.state_dict()
    parts |= {f"optimizer.{i}": kept for i, kept in optimizer.state_dict()["state"].items()}
    return {f"{part}.{n}": t for part, tensors in parts.items() for n, t in tensors.items()}
