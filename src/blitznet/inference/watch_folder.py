"""A folder that is being filled: every image once, when it is complete."""

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from blitznet.errors import ImageError
from blitznet.image import read_image
from blitznet.inference.sources import is_image

# How often the folder is read, seconds. A file that is the same twice may be complete.
PERIOD = 0.5
# A file that has not changed for this many seconds gets no more, even if it is no whole image.
PATIENCE = 10.0


def watch_folder(
    folder: Path, idle_seconds: float | None = None, should_stop: Callable[[], bool] = lambda: False
) -> Generator[Path]:
    """The images of a folder, those that are there and those that arrive.

    An image is given out once for as long as it lies there: when its file no longer changes and
    can be decoded, or has not changed for PATIENCE seconds; older files first.

    Args:
        folder: folders inside it are left out.
        idle_seconds: ends when nothing arrived for this long; None = never. It also ends when the
            folder is removed.
        should_stop: asked often; ends when it is true.

    Yields:
        Images, and files that are none in spite of their names.
    """
    done: set[str] = set()
    growing: dict[str, tuple[tuple[int, int], float]] = {}  # by name: state and since when
    last_news = monotonic()
    while not should_stop() and folder.is_dir():
        present = _images_by_age(folder)
        done.intersection_update(path.name for path, _ in present)
        for path, state in present:
            if path.name in done:
                continue
            now = monotonic()
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


def _images_by_age(folder: Path) -> list[tuple[Path, tuple[int, int]]]:
    """Images, each with the time of its last change and its size; without those that are gone."""
    found = []
    with suppress(OSError):  # the folder may be gone
        for path in folder.iterdir():
            with suppress(OSError):  # so may a file
                stat = path.stat()
                if is_image(path):
                    found.append((path, (stat.st_mtime_ns, stat.st_size)))
    return sorted(found, key=lambda item: (item[1][0], item[0].name))


def _is_whole(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True
