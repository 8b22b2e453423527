"""Open files by path or URI, with pyarrow's and fsspec's file systems."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import pyarrow as pa
from pyarrow import fs

from blitznet.errors import ImageError, InputError
from blitznet.files.regular_file import MEGABYTE

_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_TAR_MEMBER = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL | re.IGNORECASE)
_HTTP_SECONDS = 60
_MAX_CONTENT = 512 * MEGABYTE  # maximum size of an image file

# Errors that file systems raise, including those of fsspec.
FILE_ERRORS = (OSError, UnicodeError, pa.ArrowException, HTTPException)


def is_uri(name: str) -> bool:
    """Whether this is a URI, not the path of a local file."""
    return bool(_URI.match(name))


def is_http(name: str) -> bool:
    """Whether this is an HTTP URL, which has no folders."""
    return urlsplit(name).scheme.lower() in ("http", "https")


def tar_member(path: str, offset: int, size: int) -> str:
    """Make a name by which `read_content` finds a member of an uncompressed tar file."""
    return f"{path}#{offset}+{size}"


def local_path(name: str) -> str | None:
    """Path of a local file given as path or `file:` URI; None for remote files."""
    if not is_uri(name):
        return name
    parts = urlsplit(name)
    is_here = parts.scheme.lower() == "file" and parts.netloc in ("", "localhost")
    return os.fsdecode(unquote(parts.path, errors="surrogateescape")) if is_here else None


def is_relative(name: str) -> bool:
    """Whether this is a local file with a relative path."""
    path = local_path(name)
    return path is not None and not Path(path).is_absolute()


def find_file_system(name: str) -> tuple[fs.FileSystem, str]:
    """Find the file system of a path or URI, and the path in it.

    Raises:
        InputError: if there is no file system for the scheme.
    """
    path = local_path(name)
    if path is not None:
        return fs.LocalFileSystem(), path
    scheme, host = urlsplit(name)[:2]
    try:
        file_system = _open_file_system(scheme.lower(), host)
    except (ImportError, *FILE_ERRORS, ValueError) as error:
        raise InputError(f"{name}: no file system for {scheme}:// ({reason_of(error)})") from None
    return file_system, name.partition("://")[2]


@lru_cache
def _open_file_system(scheme: str, host: str) -> fs.FileSystem:
    if scheme in ("s3", "gs", "gcs", "hdfs", "viewfs"):
        return fs.FileSystem.from_uri(f"{scheme}://{host}/")[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def open_file(name: str) -> BinaryIO:
    """Open the file at a path or URI for reading bytes; seekable except over HTTP.

    Raises:
        InputError: if there is no file system for the scheme.
        OSError: or another of FILE_ERRORS, if the file cannot be opened.
    """
    if is_http(name):
        return _open_http(name)
    path = local_path(name)
    if path is not None:
        return Path(path).open("rb")
    file_system, place = find_file_system(name)
    return io.BufferedReader(file_system.open_input_file(place))


def _open_http(name: str, start: int = 0) -> BinaryIO:
    request = Request(name, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urlopen(request, timeout=_HTTP_SECONDS)
    except HTTPError as error:
        error.close()
        raise
    if start and answer.status != HTTPStatus.PARTIAL_CONTENT:
        answer.read(start)  # the server ignores the range and sends the whole file
    file: BinaryIO = answer
    return file


def read_content(name: str) -> bytes:
    """Read the file at a path or URI, or a `tar_member`.

    Raises:
        ImageError: if it cannot be read.
    """
    member = _TAR_MEMBER.fullmatch(name)
    path, start, size = name, 0, _MAX_CONTENT + 1
    if member:
        path, start, size = member[1], int(member[2]), min(int(member[3]), size)
    try:
        with _open_http(path, start) if is_http(path) else open_file(path) as file:
            if not is_http(path):
                file.seek(start)
            content = file.read(size)
        if len(content) > _MAX_CONTENT:
            raise ImageError(f"{name}: more than {_MAX_CONTENT // MEGABYTE} MB")
        return content
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except InputError as error:
        raise ImageError(str(error)) from None
    except (*FILE_ERRORS, ValueError, OverflowError) as error:
        raise ImageError(f"{name}: cannot be read ({reason_of(error)})") from None


def is_content_elsewhere(name: str) -> bool:
    """Whether this must be read with `read_content`; local files are read by their path."""
    return local_path(name) is None or bool(_TAR_MEMBER.fullmatch(name))


@contextmanager
def file_errors(name: str, action: str = "read") -> Iterator[None]:
    """Raise InputError for an error of a file system while `name` is being read or written."""
    try:
        yield
    except FILE_ERRORS as error:
        raise InputError(f"{name}: cannot be {action} ({reason_of(error)})") from None


def reason_of(error: BaseException) -> str:
    """The system's message for an error, else its first line."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)  # pyarrow's own text is longer
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [type(error).__name__])[0][:200]
