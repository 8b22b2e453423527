"""A folder that fills: every picture once, when it is complete."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

from blitznet.errors import PictureError
from blitznet.image import read_picture
from blitznet.inference.sources import is_picture

# How often the folder is looked at, seconds. A file that is the same twice may be complete.
PERIOD = 0.5
# A file that has not changed for so long gets no more, even if it is no whole picture.
PATIENCE = 10.0


def growing_folder(
    folder: Path,
    idle_seconds: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Pictures of a folder, those that are there and those that come.

    A picture is given out once for as long as it lies there: when its file no longer changes and
    can be decoded, or has not changed for PATIENCE seconds. Those of one look come in the order
    of their age.

    Args:
        folder: folders inside it are not looked into.
        idle_seconds: ends when nothing came for so long; None = never. It also ends when the
            folder goes.
        should_stop: asked often; ends when it is true.

    Yields:
        Pictures, and files that are none in spite of their names.
    """
    done: set[str] = set()
    growing: dict[str, tuple[tuple[int, int], float]] = {}  # by name: state and since when
    last_news = monotonic()
    while not should_stop() and folder.is_dir():
        present = [path for path in _files(folder) if is_picture(path)]
        done.intersection_update(path.name for path in present)
        for path in present:
            if path.name in done:
                continue
            state, now = _state(path), monotonic()
            if state is None:
                continue
            before, since = growing.get(path.name, (None, now))
            if before != state:
                growing[path.name] = state, now
                last_news = now
            elif _is_whole(path) or now - since >= PATIENCE:
                done.add(path.name)
                del growing[path.name]
                yield path
                last_news = monotonic()
                if should_stop():
                    return
        if idle_seconds is not None and not growing and monotonic() - last_news >= idle_seconds:
            return
        sleep(PERIOD)


def _files(folder: Path) -> list[Path]:
    """By age, then name; none where a file or the folder went while it was looked at."""
    try:
        return sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
    except OSError:
        return []


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; None for a file that has gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _is_whole(path: Path) -> bool:
    try:
        read_picture(path)
    except PictureError:
        return False
    return True
