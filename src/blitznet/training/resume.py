"""The state of a run in one safetensors file, from which it resumes as if it had never stopped.

The samples of a step depend on the seed and the step alone (`data.loader`), and so does the
learning rate, so weights, averaged weights and the optimizer's moments are all there is.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from blitznet.errors import CheckpointError
from blitznet.model.checkpoint import write_safetensors
from blitznet.model_files import read_metadata

_KEY = "blitznet_training"


def save_state(
    path: Path,
    model: nn.Module,
    averaged: nn.Module | None,
    optimizer: Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write the state of a run; `progress` is JSON kept beside the tensors, with the key `step`."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_safetensors(path, contiguous, {_KEY: json.dumps(progress)})


def read_progress(path: Path) -> dict[str, Any]:
    """What `save_state` was given as `progress`.

    Raises:
        CheckpointError: if the file is missing, damaged or not the state of a run.
    """
    metadata = read_metadata(path)
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is not the state of a training run")
    progress: dict[str, Any] = json.loads(metadata[_KEY])
    return progress


def load_state(
    path: Path, model: nn.Module, averaged: nn.Module | None, optimizer: Optimizer
) -> None:
    """Put a saved state back into freshly built objects of the same recipe.

    Raises:
        CheckpointError: if the state is of another network or optimizer.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
    for name, tensor in load_file(path).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    _require_same(path, parts["model"], model.state_dict())
    _require_same(path, parts["averaged"], averaged.state_dict() if averaged is not None else {})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    _require_same(
        path,
        {str(index): values["exp_avg"] for index, values in state.items()},
        {str(index): parameter for index, parameter in enumerate(trained) if index in state},
    )
    model.load_state_dict(parts["model"])
    if averaged is not None:
        averaged.load_state_dict(parts["averaged"])
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _require_same(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Names and shapes; torch's own error has a line per tensor."""
    if {n: t.shape for n, t in found.items()} != {n: t.shape for n, t in expected.items()}:
        raise CheckpointError(
            f"{path} is the state of another network or optimizer; resume with the recipe and the "
            "settings that the run began with"
        )
