"""Reads SBD's segmentation maps, which are MATLAB 5 files.

A general MATLAB reader would recurse as deeply and allocate as much memory as a file asks for.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from blitznet.errors import LabelError
from blitznet.files.regular_file import MEGABYTE, read_regular

# Maximum sizes of a file and of its decompressed content; maps of SBD have 10 kB and 300 kB.
_MAX_FILE, _MAX_CONTENT = MEGABYTE, 16 * MEGABYTE

_HEADER = 128  # bytes; the last two give the byte order: "IM" = little-endian, "MI" = big-endian
_BYTES, _MATRIX, _COMPRESSED = 2, 14, 15  # element types: miUINT8, miMATRIX, miCOMPRESSED
_STRUCT, _UINT8 = 2, 9  # array classes

Element = tuple[int, bytes]


def read_mat(path: Path) -> np.ndarray:
    """(H, W) uint8 class ids of VOC, from the struct GTcls of SBD's `cls/ID.mat`.

    Raises:
        LabelError: if the file is missing, damaged, or has no such map.
    """
    try:
        content = read_regular(path, _MAX_FILE)
        order = {b"IM": "<", b"MI": ">"}[content[_HEADER - 2 : _HEADER]]
        fields = _find_struct(content[_HEADER:], order)
        ids = None if fields is None else _read_bytes(fields[b"Segmentation"], order)
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist") from None
    except KeyError:
        text = "it is not a MATLAB 5 file, or has no Segmentation"
        raise LabelError(f"{path} cannot be read as SBD's .mat file: {text}") from None
    except (OSError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise LabelError(f"{path} cannot be read as SBD's .mat file: {error}") from None
    if fields is None:
        raise LabelError(f"{path} has no GTcls; maps are the files in the folder cls")
    if ids is None:
        raise LabelError(f"{path}: GTcls.Segmentation is not a (height, width) array of bytes")
    return ids


def _find_struct(content: bytes, order: str) -> dict[bytes, bytes] | None:
    """The fields of the struct GTcls by name; None if the file does not contain it."""
    for kind, data in _elements(content, order):
        if kind == _COMPRESSED:
            plain = zlib.decompressobj().decompress(data, _MAX_CONTENT)
            kind, data = next(_elements(plain, order), (0, b""))
        if kind != _MATRIX:
            raise ValueError("an element is not a matrix")
        (_, flags), _, (_, name), *rest = _elements(data, order)
        if name != b"GTcls":
            continue
        if struct.unpack_from(f"{order}I", flags)[0] & 0xFF != _STRUCT:
            raise ValueError("GTcls is not a struct")
        (_, length), (_, names), *values = rest
        width = max(1, struct.unpack(f"{order}i", length)[0])
        starts = range(0, len(names), width)
        keys = [names[start : start + width].rstrip(b"\0") for start in starts]
        return {key: value for key, (_, value) in zip(keys, values, strict=False)}
    return None


def _read_bytes(matrix: bytes, order: str) -> np.ndarray | None:
    """A 2-D matrix of bytes; None for any other matrix."""
    (_, flags), (_, dimensions), _, (kind, data), *_ = _elements(matrix, order)
    size = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if struct.unpack_from(f"{order}I", flags)[0] & 0xFF != _UINT8 or len(size) != 2:
        return None
    if kind != _BYTES or min(size) < 1 or size[0] * size[1] != len(data):
        raise ValueError(f"{len(data)} bytes for a matrix of {size[0]}x{size[1]}")
    return np.frombuffer(data, np.uint8).reshape(size, order="F").copy("C")


def _elements(content: bytes, order: str) -> Iterator[Element]:
    """Yield type and content of each element; the content is not parsed."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        start, end = position + 8, position + 8 + size
        if kind >> 16:  # small element: up to four bytes in the tag itself
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = position + 4, position + 4 + min(size, 4)
            position += 8
        else:
            position = end if kind == _COMPRESSED else end + -size % 8
        if end > len(content):
            raise ValueError("it is cut off, or damaged")
        yield kind, content[start:end]
