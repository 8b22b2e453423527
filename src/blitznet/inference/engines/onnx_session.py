"""ONNX files in ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path, providers: Sequence[Any]) -> "onnxruntime.InferenceSession":
    """A file, ready to run.

    Args:
        path: of the file.
        providers: what runs it, the best first, as ONNX Runtime takes them.

    Raises:
        RuntimeError: if the file is damaged or cannot be run there.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone; warnings are of optimizations that do not apply
    try:
        return onnxruntime.InferenceSession(path, options, list(providers))
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    ) as error:
        raise RuntimeError(str(error)) from None
