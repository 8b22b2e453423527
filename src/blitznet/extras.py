"""Optional dependencies."""

import os
import sys
from importlib.util import find_spec

from blitznet.errors import InputError

# OpenVINO and NNCF send usage data to Google Analytics through this package, if installed.
_REPORTER = "openvino_telemetry"

_TRAINING = ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript")


def require(module: str, extra: str, what: str) -> None:
    """Check that an optional package is installed, and turn off its telemetry.

    Args:
        module: name of the module to import later.
        extra: extra of this package that installs it.
        what: the feature that needs it, for the message.

    Raises:
        InputError: if it is not installed.
    """
    if find_spec(module) is None:
        raise InputError(
            f"{what} needs {module}, which is not installed; run: pip install 'blitznet[{extra}]'"
        )
    if module in ("openvino", "nncf") and _REPORTER not in sys.modules:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # import fails
    if module == "ray":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def require_training(what: str) -> None:
    """Check that all packages of the extra `train` are installed.

    Raises:
        InputError: if one is not.
    """
    for module in _TRAINING:
        require(module, "train", what)
