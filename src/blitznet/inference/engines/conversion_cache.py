"""Converted networks, kept so that the second start is a quick one."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from filelock import FileLock, Timeout

from blitznet.cache import cache_folder
from blitznet.model.blitznet import BlitzNet

Tell = Callable[[str], None]
Network = TypeVar("Network")

_TEMPORARY = ".blitznet-{}.part"


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
    temporary = folder.with_name(_TEMPORARY.format(uuid4().hex))
    lock = _lock_of(temporary)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(folder.parent)
        lock.acquire()
        temporary.mkdir()
    except (OSError, NotImplementedError):  # a home that is read-only, or has no locks
        temporary = folder = Path(tempfile.mkdtemp(prefix="blitznet-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        convert(temporary)
        if temporary != folder:
            _move(temporary, folder, replace)
    finally:
        if temporary != folder:
            shutil.rmtree(temporary, ignore_errors=True)
        if lock.is_locked:
            _release(lock)
    return folder


def read_cached(
    key: str,
    convert: Callable[[Path], None],
    read: Callable[[Path], Network],
    tell: Tell | None = None,
) -> Network:
    """A conversion; made, and made again if it has become unreadable in the cache.

    Args:
        key: see `fingerprint`.
        convert: see `keep_converted`.
        read: opens what is in the folder that it is given; RuntimeError if that is damaged.
        tell: is told that there is something to wait for.
    """
    try:
        return read(keep_converted(key, convert, tell=tell))
    except RuntimeError:
        forget_converted(key)
        return read(keep_converted(key, convert, tell=tell))


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


def _lock_of(temporary: Path) -> FileLock:
    """Held by the process that converts there, and let go when that ends, however it ends."""
    return FileLock(f"{temporary}.lock")


def _release(lock: FileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _remove_unfinished(networks: Path) -> None:
    """Remove what processes that were killed had half converted, and nothing of living ones."""
    left = {*networks.glob(_TEMPORARY.format("*"))}
    left |= {lock.with_suffix("") for lock in networks.glob(_TEMPORARY.format("*") + ".lock")}
    for temporary in left:
        lock = _lock_of(temporary)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(temporary, ignore_errors=True)
        _release(lock)
