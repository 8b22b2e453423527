"""Reading and writing TorchScript, which PyTorch keeps but no longer recommends."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from blitznet.model_files import METADATA_KEY


@contextmanager
def without_deprecation() -> Iterator[None]:
    """PyTorch warns at every use that torch.export is the newer way, which we offer as ONNX."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        yield


def load_torchscript(path: Path) -> tuple[torch.jit.ScriptModule, str]:
    """The module, on the CPU, and its metadata, which may be empty.

    Raises:
        RuntimeError: if the file is damaged or of another kind.
    """
    extra: dict[str, str | bytes] = {METADATA_KEY: ""}
    with without_deprecation():
        module = torch.jit.load(path, "cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    text = extra[METADATA_KEY]
    return module, text.decode() if isinstance(text, bytes) else text


def save_torchscript(module: torch.jit.ScriptModule, path: Path, text: str) -> None:
    """With metadata."""
    with without_deprecation():
        torch.jit.save(module, path, _extra_files={METADATA_KEY: text})
