"""Optional dependencies."""

import os
import sys
from importlib.util import find_spec

from blitznet.errors import InputError

# OpenVINO and NNCF report their users to Google Analytics through this package, if there is one.
_REPORTER = "openvino_telemetry"

_TRAINING = ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript")


def require(module: str, extra: str, what: str) -> None:
    """Make sure that an optional package is there before it is imported, and tells nobody.

    Args:
        module: its name in an import.
        extra: of this package, that installs it.
        what: is wanted and needs it, for the message.

    Raises:
        InputError: if it is not installed.
    """
    if find_spec(module) is None:
        raise InputError(
            f"{what} needs {module}, which is not installed; run: pip install 'blitznet[{extra}]'"
        )
    if module in ("openvino", "nncf") and _REPORTER not in sys.modules:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # Python's way to say: not there
    if module == "ray":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def require_training(what: str) -> None:
    """Make sure that all packages of the extra `train` are there.

    Raises:
        InputError: if one is not installed.
    """
    for module in _TRAINING:
        require(module, "train", what)
