"""PyTorch's compiler, loaded when it is called instead of when timm and torchvision are imported.

Both want one function of it, for models that are not ours. With it come sympy and Triton, and take
140 MiB and a good part of a start.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch.compiler

_UTILS = "torch._dynamo.utils"  # of the compiler; torchvision.ops.roi_align takes a function of it


@contextmanager
def compiler_when_called() -> Iterator[None]:
    """While timm or torchvision is imported: what they take of the compiler loads it later.

    Nothing else changes: whatever asks for more of the compiler gets the compiler.
    """
    if _UTILS in sys.modules:  # somebody has it already
        yield
        return
    utils, disable = _LateUtils(_UTILS), torch.compiler.disable
    sys.modules[_UTILS] = utils
    torch.compiler.disable = functools.partial(_disable, disable)
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_UTILS) is utils:
            del sys.modules[_UTILS]


class _LateUtils(ModuleType):
    """Stands for the compiler's module until one of its names is used."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """Whether a device can be compiled for; torchvision takes this name and calls it later."""
        return bool(import_module(_UTILS).is_compile_supported(device_type))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `inspect` asks every module for its file
            raise AttributeError(name)
        if sys.modules.get(_UTILS) is self:
            del sys.modules[_UTILS]
        return getattr(import_module(_UTILS), name)


def _disable(disable: Callable[..., Any], fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    """As `torch.compiler.disable`, which is `disable`, but plain functions find it when called."""
    if not inspect.isfunction(fn):
        return disable(fn, *args, **kwargs)

    @functools.wraps(fn)
    def late(*inputs: Any, **named: Any) -> Any:
        return disable(fn, *args, **kwargs)(*inputs, **named)

    return late
