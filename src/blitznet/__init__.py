"""BlitzNet: boxes of every object and the class of every pixel, from one network, in real time.

`load` gives a trained network that predicts, `build` an untrained one; see the README for both.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blitznet.errors import InputError
    from blitznet.inference.predictor import Predictor, load
    from blitznet.model.blitznet import BlitzNet, build
    from blitznet.scene import Scene

__version__ = "0.1.0"

# Where each public name lives, imported on first use: torch takes seconds, `--help` must not.
_HOMES = {
    "BlitzNet": "blitznet.model.blitznet",
    "InputError": "blitznet.errors",
    "Predictor": "blitznet.inference.predictor",
    "Scene": "blitznet.scene",
    "build": "blitznet.model.blitznet",
    "load": "blitznet.inference.predictor",
}

__all__ = ["BlitzNet", "InputError", "Predictor", "Scene", "build", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blitznet' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
