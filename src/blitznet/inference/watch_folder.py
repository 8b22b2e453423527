"""Watch a folder and yield every new image once, when it is complete."""

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from blitznet.errors import ImageError
from blitznet.image import read_image
from blitznet.inference.sources import is_image

# Polling interval, seconds. A file that did not change between two polls may be complete.
PERIOD = 0.5
# Seconds without a change after which a file is final, even if it is not a complete image.
PATIENCE = 10.0


def watch_folder(
    folder: Path, idle_seconds: float | None = None, should_stop: Callable[[], bool] = lambda: False
) -> Generator[Path]:
    """Yield the images of a folder, both existing and arriving ones, older files first.

    An image is yielded once, until its file is removed: when the file has stopped changing and can
    be decoded, or has not changed for PATIENCE seconds. Stops when the folder is removed.

    Args:
        folder: folder to watch, without its subfolders.
        idle_seconds: stop when no image arrives for this long; None = never.
        should_stop: polled often; stop when it returns True.

    Yields:
        Paths with an image suffix; damaged files are included.
    """
    done: set[str] = set()
    growing: dict[str, tuple[tuple[int, int], float]] = {}  # by name: state, and since when
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
    """List images with modification time and size; skips files that disappear meanwhile."""
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
