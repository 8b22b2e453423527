"""Checkpoints as exported files, kept in the cache so that the second start is a quick one."""

import atexit
import hashlib
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from blitznet.cache import cache_folder
from blitznet.errors import InputError
from blitznet.inference.engines.engine import OnMessage
from blitznet.temporary_folder import temporary_folder
from blitznet.text_files import read_json, read_text

_ORIGIN_FILE = "calibration.json"


def exported_checkpoint(checkpoint: Path, on_message: OnMessage | None = None) -> Path:
    """A checkpoint as ONNX, from the cache or made now. Needs PyTorch, onnx and onnxscript.

    Args:
        checkpoint: NAME.safetensors.
        on_message: receives one line if there is something to wait for.

    Raises:
        CheckpointError: if the checkpoint is unusable.
    """
    folder = _cached("onnx", checkpoint, ("torch", "onnx", "onnxscript"))
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


def quantized(exported: Path, calibrate: Path | None, on_message: OnMessage | None = None) -> Path:
    """An exported file with int8 convolutions for OpenVINO, from the cache or made now.

    Args:
        exported: NAME.onnx.
        calibrate: a data description, whose training images tell how large activations get; None
            = what was made at an earlier time.
        on_message: receives one line if there is something to wait for.

    Raises:
        InputError: if nothing was made earlier and no images are given, or NNCF is missing.
    """
    folder = _cached("openvino-int8", exported, ("openvino",))
    path, origin_file = folder / f"{exported.stem}.xml", folder / _ORIGIN_FILE
    if calibrate is None:
        if not path.is_file():
            raise InputError(
                "int8 has to be calibrated on images like those it will see; "
                "give some with --calibrate DATA.yaml, once for a network"
            )
        return path
    origin = {"data": str(calibrate.absolute()), "text": read_text(calibrate)}
    if not path.is_file() or not origin_file.is_file() or read_json(origin_file) != origin:
        from blitznet.exporting.openvino_file import write_openvino

        if on_message is not None:
            on_message(f"calibrating {exported.name} for int8; the result is cached")
        with temporary_folder(folder.parent) as parent:
            fresh = parent / folder.name
            fresh.mkdir()
            write_openvino(fresh / path.name, exported, calibrate)
            (fresh / _ORIGIN_FILE).write_text(json.dumps(origin))
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
    return path


def _cached(purpose: str, source: Path, packages: tuple[str, ...]) -> Path:
    """The folder for what is made of a file; where the cache cannot be written, a temporary one."""
    digest = hashlib.blake2b(source.read_bytes(), digest_size=16)
    for package in ("blitznet", *packages):
        digest.update(f"{package} {version(package)}\n".encode())
    try:
        folder = cache_folder() / "networks" / f"{purpose}-{digest.hexdigest()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # a home that is read-only, or none
        folder = Path(tempfile.mkdtemp(prefix="blitznet-")) / purpose
        folder.mkdir()
        atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    return folder
