"""List the images that the user names, lazily."""

import glob
import os
import tarfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from io import BytesIO
from itertools import islice, takewhile
from pathlib import Path
from typing import Literal, NamedTuple

from pyarrow import fs, parquet

from blitznet.cluster.remote_files import (
    FILE_ERRORS,
    file_errors,
    find_file_system,
    is_http,
    is_uri,
    local_path,
    open_file,
    reason_of,
    tar_member,
)
from blitznet.errors import InputError
from blitznet.image import IMAGE_SUFFIXES

_COLUMNS = ("uri", "path")
_SUFFIXES = IMAGE_SUFFIXES | {".tar"}
_ROWS_AT_ONCE = 10_000
_MAX_LINE = 65_536  # bytes; longer lines are not paths, and are split


class Item(NamedTuple):
    """An image to predict.

    Attributes:
        id: unique in the input, the same in every run.
        uri: its location: a path, a URI, or a `tar_member`. Paths may be invalid text.
    """

    id: str
    uri: str


Shard = list[Item]


def list_items(source: str) -> Iterator[Item]:
    """Find images lazily.

    Args:
        source: a folder, searched recursively, with ids relative to it; a glob pattern; a text file
            with a path or URI per line; a Parquet file with a column `uri` or `path` and optionally
            `id`; or a WebDataset tar file. A tar file in any of these stands for its images. The
            default id is the path or URI.

    Yields:
        Images in order, sorted by name within a folder; duplicates in a list are kept.

    Raises:
        InputError: if the source does not exist or cannot be read; may be raised while iterating.
    """
    with file_errors(source):
        path = local_path(source)
        if path is not None and not is_uri(source) and not os.path.lexists(path):
            if glob.has_magic(path):
                return _open_tars(Item(match, match) for match in _matches(path))
            raise InputError(f"{source}: no such file or folder")
        if path is not None and Path(path).is_dir():
            return _open_tars(_walk_local(path))
        if path is None and not is_http(source):
            file_system, place = find_file_system(source)
            info = file_system.get_file_info(place)
            if info.type == fs.FileType.Directory:
                return _open_tars(_walk(file_system, place, source))
            if info.type == fs.FileType.NotFound:
                raise InputError(f"{source}: no such file or folder")
    suffix = Path(source).suffix.lower()
    if suffix == ".tar":
        return _list_tar(source, "")
    if suffix in IMAGE_SUFFIXES:
        return iter([Item(source, source)])
    return _open_tars(_read_parquet(source) if suffix == ".parquet" else _read_text(source))


def cut(items: Iterable[Item], size: int) -> Iterator[Shard]:
    """Split into shards of `size` images; the last one may be smaller."""
    iterator = iter(items)
    while shard := list(islice(iterator, size)):
        yield shard


def _open_tars(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        if item.uri.lower().endswith(".tar"):
            yield from _list_tar(item.uri, f"{item.id}/")
        else:
            yield item


def _matches(pattern: str) -> Iterator[str]:
    """Match a pattern like `blitznet predict`: `*.dat` matches any file, `*` only images.

    Links to a parent folder are skipped, because `**` would follow them in circles.
    """
    is_any = bool(Path(pattern).suffix)
    num_fixed = len(list(takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)))

    resolve = lru_cache(1000)(Path.resolve)

    @lru_cache
    def leads_back(folder: Path) -> bool:
        above = [folder, *folder.parents][: len(folder.parts) - num_fixed + 1]
        return len(set(map(resolve, above))) < len(above)

    for match in glob.iglob(pattern, recursive=True):  # noqa: PTH207  # lazy, keeps paths as given
        path = Path(match)
        if (is_any or _is_wanted(match)) and path.is_file() and not leads_back(path.parent):
            yield match


def _is_wanted(name: str) -> bool:
    """Whether a file is an image or tar file by its name; see `sources.is_image`."""
    stem, suffix = os.path.splitext(os.path.basename(name))  # noqa: PTH119,PTH122  # a million times
    return suffix.lower() in _SUFFIXES and not stem.startswith(".")


def _walk_local(folder: str) -> Iterator[Item]:
    """See `_walk`. Links to folders are not followed, because they may be circular."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({reason_of(error)})") from None

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(filter(_is_wanted, files)):
            path = os.path.join(parent, name)  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                yield Item(path[len(folder) :].lstrip("/"), path)


def _walk(file_system: fs.FileSystem, place: str, source: str) -> Iterator[Item]:
    """Yield the images of a folder, then those of its subfolders, one folder at a time."""
    root, below = place.strip("/"), [place]
    while below:
        selector = fs.FileSelector(below.pop())
        with file_errors(source):
            found = sorted(file_system.get_file_info(selector), key=lambda info: info.path)
        for info in found:
            if info.type == fs.FileType.File and _is_wanted(info.path):
                name = info.path.strip("/")[len(root) :].lstrip("/")
                yield Item(name, f"{source.rstrip('/')}/{name}")
        below += [one.path for one in reversed(found) if one.type == fs.FileType.Directory]


def _read_text(source: str) -> Iterator[Item]:
    with file_errors(source), open_file(source) as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b"")):
            start = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            name = os.fsdecode(start.strip())
            if "\0" in name or (number == 0 and name.startswith("<")):  # or a web page
                raise InputError(f"{source}: not a list; give a text file with a path per line")
            if name:
                yield Item(name, name)


def _read_parquet(source: str) -> Iterator[Item]:
    with file_errors(source), open_file(source) as file:
        table = parquet.ParquetFile(BytesIO(file.read()) if is_http(source) else file)
        names = table.schema_arrow.names
        uri = next((name for name in _COLUMNS if name in names), None)
        if uri is None:
            raise InputError(f"{source}: no column {' or '.join(_COLUMNS)}, but {names}")
        id_ = "id" if "id" in names else uri
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=list({id_, uri})):
            for one, where in zip(batch[id_].to_pylist(), batch[uri].to_pylist(), strict=True):
                if where:  # skip nulls, like blank lines
                    yield Item(_as_name(where if one is None else one), _as_name(where))


def _as_name(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def _list_tar(source: str, prefix: str) -> Iterator[Item]:
    """List a tar file's images without unpacking it."""
    try:
        # Over HTTP, the whole file is downloaded; elsewhere, the content of images is skipped.
        mode: Literal["r|", "r:"] = "r|" if is_http(source) else "r:"
        with open_file(source) as file, tarfile.open(fileobj=file, mode=mode) as tar:
            for member in tar:
                if member.isfile() and _is_wanted(member.name):
                    uri = tar_member(source, member.offset_data, member.size)
                    yield Item(prefix + member.name, uri)
                tar.members.clear()  # type: ignore[attr-defined]  # would keep a million
    except (tarfile.TarError, *FILE_ERRORS) as error:
        raise InputError(f"{source}: cannot be read as a tar file ({reason_of(error)})") from None
