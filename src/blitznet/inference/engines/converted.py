"""Convert checkpoints to exported files, and cache them for a fast second start."""

import atexit
import hashlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from blitznet.files.result_folder import temporary_folder
from blitznet.inference.engines.engine import OnMessage

CACHE_VARIABLE = "BLITZNET_CACHE"


def exported_checkpoint(checkpoint: Path, on_message: OnMessage | None = None) -> Path:
    """Convert a checkpoint to ONNX, or find it in the cache. Needs PyTorch, onnx and onnxscript.

    Args:
        checkpoint: NAME.safetensors.
        on_message: receives a line if the conversion has to run.

    Raises:
        CheckpointError: if the checkpoint is unusable.
    """
    folder = _cached(checkpoint)
    path = folder / f"{checkpoint.stem}.onnx"
    if not path.is_file():
        from blitznet.exporting.onnx_file import export_onnx
        from blitznet.model.checkpoint import load_checkpoint

        network, info = load_checkpoint(checkpoint)
        if on_message is not None:
            on_message(f"converting {checkpoint.name} to ONNX; the file is cached")
        with temporary_folder(folder) as fresh:
            export_onnx(fresh / path.name, network, info)
            (fresh / path.name).replace(path)
    return path


def _cached(checkpoint: Path) -> Path:
    """Cache folder for a checkpoint, or a temporary folder if the cache is not writable."""
    digest = hashlib.blake2b(checkpoint.read_bytes(), digest_size=16)
    for package in ("blitznet", "torch", "onnx", "onnxscript"):
        digest.update(f"{package} {version(package)}\n".encode())
    try:
        own, base = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
        cache = Path(own) if own else Path(base or Path.home() / ".cache") / "blitznet"
        folder = cache / "networks" / f"onnx-{digest.hexdigest()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # the home folder is read-only or missing
        folder = Path(tempfile.mkdtemp(prefix="blitznet-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
