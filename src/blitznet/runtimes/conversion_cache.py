"""Converted networks, kept so that the second start is a quick one."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from blitznet.cache import cache_folder
from blitznet.model.blitznet import BlitzNet

Tell = Callable[[str], None]


def fingerprint(network: BlitzNet, purpose: str, packages: tuple[str, ...]) -> str:
    """What a conversion depends on, as a name of a folder.

    Args:
        network: its weights and its architecture count.
        purpose: what it is converted to.
        packages: whose versions count, besides blitznet and torch.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(network.config.model_dump_json().encode())
    for name in ("blitznet", "torch", *packages):
        digest.update(f"{name} {version(name)}\n".encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"{purpose}-{digest.hexdigest()}"


def find_converted(key: str) -> Path | None:
    """The folder of an earlier conversion, or None."""
    folder = _folder(key)
    return folder if folder.is_dir() else None


def keep_converted(
    key: str,
    convert: Callable[[Path], None],
    replace: bool = False,
    tell: Tell | None = None,
) -> Path:
    """The folder of a conversion, which is complete or not there.

    Args:
        key: see `fingerprint`.
        convert: writes files into the folder that it is given.
        replace: convert again even if there is one.
        tell: is told that there is something to wait for.

    Returns:
        A folder in the user's cache; where that cannot be written, one for this process alone.
    """
    folder = _folder(key)
    if folder.is_dir() and not replace:
        return folder
    if tell is not None:
        tell(f"converting the network to {key.rpartition('-')[0]}, which is kept for next time")
    temporary = folder.with_name(f".blitznet-{uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
    except OSError:  # a read-only home, as in containers
        temporary = folder = Path(tempfile.mkdtemp(prefix="blitznet-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        convert(temporary)
        if temporary != folder:
            _move(temporary, folder, replace)
    finally:
        if temporary != folder:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def forget_converted(key: str) -> None:
    """Remove a conversion, as one that cannot be read."""
    shutil.rmtree(_folder(key), ignore_errors=True)


def _folder(key: str) -> Path:
    return cache_folder() / "networks" / key


def _move(temporary: Path, folder: Path, replace: bool) -> None:
    """Another process may have been faster; what it made is as good."""
    if replace:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
