"""Open image files within limits: parse the header without decoding the pixels."""

import math
import os
import re
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from blitznet.errors import ImageError, ImageFormatError, cut
from blitznet.files.regular_file import MEGABYTE
from blitznet.sample_depth import describe_tiff, has_16_bit_colours

# Formats whose decoders take several times the memory of the image.
_COSTLY_FORMATS = frozenset({"WEBP", "JPEG2000", "AVIF", "HEIF"})

# Limits for JPEG: every scan of a progressive file visits all pixels; encoders write about ten.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 2_000_000_000
_MAX_SEGMENTS = 100_000
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")

_KIND_OF_IMAGE, _PREVIEW = 254, 1  # a TIFF tag, and its bit for reduced images

# Maximum number of TIFF pages to count, and of strips or tiles, which Pillow decodes one by one.
_MAX_PAGES = 1000
_MAX_TILES = 100_000

# Maximum bytes before the pixels of a GIF, JPEG or PNG; comments take many times their size.
_MAX_HEADER = 16 * MEGABYTE

# Maximum number of reads for the header, and for the rest: millions of tiny parts take minutes.
_MAX_HEADER_READS = 4096
_MAX_READS = 1_000_000

# Limits for plain-text PPM, which Pillow parses in Python; a comment takes as long as a megabyte.
_MAX_PLAIN, _MAX_PLAIN_COMMENTS = 16 * MEGABYTE, 1000

_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1")

# Some of Pillow's formats are left out: EPS runs another program, TGA has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")


def open_image_file(content: bytes, name: str, max_pixels: int) -> ImageFile:
    """Parse the header of an image file and check its limits; the pixels are not decoded.

    Args:
        content: content of the file.
        name: for messages.
        max_pixels: limit; half as many for formats whose decoders take several times the memory.

    Raises:
        ImageError: if it is not an image, damaged, or beyond a limit.
    """
    if len(content) > _MAX_HEADER and content.startswith((b"GIF8", b"\xff\xd8", b"\x89PNG")):
        read_image_header(BytesIO(content[:_MAX_HEADER]), name)
    is_plain = content.startswith((b"P1", b"P2", b"P3"))
    if is_plain and (len(content) > _MAX_PLAIN or content.count(b"#") > _MAX_PLAIN_COMMENTS):
        raise ImageError(f"{name}: a plain-text PPM that takes too long to read; save it as PNG")
    image = read_image_header(BytesIO(content), name)
    require_sensible_size(image, name, max_pixels)
    if len(image.tile) > _MAX_TILES:
        raise ImageError(f"{name}: {len(image.tile)} strips or tiles; save it again with fewer")
    if getattr(image, "tag_v2", {}).get(_KIND_OF_IMAGE, 0) & _PREVIEW:
        raise ImageError(f"{name}: its first image is a preview, as in raw photos; save it as JPEG")
    if image.format == "TIFF" and _stored_pixels(image) < image.width * image.height:
        raise ImageError(f"{name}: a TIFF that lacks strips or tiles; save it with all of them")
    if isinstance(image, JpegImageFile):
        _require_few_scans(content, image.size, name)
    return image


def read_image_header(file: BinaryIO, name: str) -> ImageFile:
    """Read only the header of an image.

    Replaces `Image.open`, which warns above 89 million pixels and refuses 179 million; that limit
    can only be changed for the whole process.

    Raises:
        ImageFormatError: if it is not an image, or in a format that is not read.
        ImageError: if its header is damaged.
    """
    Image.init()
    stream: Any = _BoundedFile(file)
    stream.seek(0)
    stream.allow(_MAX_HEADER_READS)
    prefix = stream.read(16)
    if not prefix:
        raise ImageError(f"{name}: the file is empty")
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        _register_heif(name)
    damaged = ""
    for image_format in FORMATS:
        reader, accepts = Image.OPEN.get(image_format, (None, None))
        if reader is None or (accepts and accepts(prefix) is not True):
            continue
        stream.seek(0)
        try:
            image = reader(stream, name)
        except (SyntaxError, LookupError, TypeError, struct.error) as error:
            if accepts:  # if it recognised the first bytes; without them, another format
                damaged = f"damaged {image_format} image ({cut(str(error))})"
            continue
        except Exception as error:  # see `damage`
            text = cut(str(error))
            raise ImageError(f"{name}: damaged {image_format} image ({text})") from error
        if isinstance(image, ImageFile):
            stream.allow(_MAX_READS, of_decoder=True)
            return image
    if kind := describe_tiff(stream):
        raise ImageFormatError(
            f"{name}: a TIFF of {kind}, which cannot be read; save it without compression "
            "as 8-bit or 16-bit integers, or as one channel of float32"
        )
    if damaged:
        raise ImageError(f"{name}: {damaged}")
    known = ", ".join(one for one in FORMATS if one in Image.OPEN or one == "HEIF")
    raise ImageFormatError(f"{name}: not an image; BlitzNet reads {known}")


def _register_heif(name: str) -> None:
    """Let Pillow read HEIF.

    Raises:
        ImageFormatError: if the package for it is not installed.
    """
    if "HEIF" not in Image.OPEN:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise ImageFormatError(
                f"{name}: a HEIF image; run: pip install 'blitznet[heif]', or save it as JPEG"
            ) from None
        register_heif_opener()


class _BoundedFile:
    """A file that raises an error after a number of reads or bytes.

    A header may refer to the same bytes thousands of times.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._reads_left, self._bytes_left = 0, 0.0

    def allow(self, reads: int, *, of_decoder: bool = False) -> None:
        """Reset the number of reads left, and of bytes: unlimited for a decoder."""
        self._reads_left = reads
        self._bytes_left = math.inf if of_decoder else self._size + _MAX_HEADER

    def read(self, size: int = -1) -> bytes:
        """Read like a file; raise OSError beyond the limits."""
        content = self._file.read(size)
        self._reads_left -= 1
        self._bytes_left -= len(content)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise OSError("too many parts")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def require_sensible_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise ImageError for an image with no pixels or too many; see `open_image_file`."""
    width, height = image.size
    is_costly = image.format in _COSTLY_FORMATS or has_16_bit_colours(image)
    if is_costly:
        max_pixels //= 2
    if width * height > max_pixels:
        kind = f" for this kind of {image.format}" if is_costly else ""
        raise ImageError(
            f"{name}: {width}x{height} pixels, more than {max_pixels / 10**6:g} million{kind}; "
            "make it smaller, or predict with --max-megapixels"
        )
    if width * height == 0:
        raise ImageError(f"{name}: an image without pixels ({width}x{height})")


def _stored_pixels(image: ImageFile) -> int:
    """Pixels of all strips and tiles; those at offset 0 are left out of a sparse file."""
    pixels = 0
    for codec, extents, offset, _ in image.tile:
        left, top, right, bottom = extents or (0, 0, *image.size)
        if offset or codec == "libtiff":
            pixels += (right - left) * (bottom - top)
    return pixels


def _require_few_scans(content: bytes, size: tuple[int, int], name: str) -> None:
    """Count the scans of a JPEG by its markers; a few hundred take minutes to decode."""
    scans, segments, position = 0, 0, 2
    while 0 <= position < len(content) - 4 and content[position + 1] != _END_OF_IMAGE:
        if content[position + 1] == _START_OF_SCAN:
            scans += 1
        segments += 1
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
        marker = _MARKER.search(content, position)
        position = marker.start() if marker else len(content)
        if scans > _MAX_SCANS or scans * size[0] * size[1] > _MAX_SCANNED_PIXELS:
            raise ImageError(f"{name}: a JPEG of {scans} scans or more; save it again as usual")
        if segments > _MAX_SEGMENTS:
            raise ImageError(f"{name}: a JPEG of too many parts; save it again as usual")


def count_frames(image: ImageFile, reopen: Callable[[], ImageFile]) -> int:
    """Count frames or pages; previews next to a photo (MPO, HEIF) do not count.

    GIF and TIFF are scanned until the end, damage or too many parts; TIFF up to _MAX_PAGES.
    """
    if image.format == "HEIF":
        return 1
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    image = reopen()  # Pillow cannot always seek back
    file: Any = image.fp
    file.allow(_MAX_READS)
    try:
        if image.format == "GIF":
            return int(getattr(image, "n_frames", 1))
        while image.tell() < _MAX_PAGES - 1:  # Pillow's own count takes quadratic time
            image.seek(image.tell() + 1)
    except Exception:  # noqa: BLE001 - see `damage`
        pass
    return image.tell() + 1


def damage(name: str, error: Exception) -> ImageError:
    """Make the error for a file that its decoder fails on.

    Decoders raise anything on damaged files, including AssertionError and MemoryError.
    """
    text = cut(str(error))
    if not isinstance(error, OSError | SyntaxError | ValueError | EOFError | Warning):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ImageError(f"{name}: damaged or cut off ({text})")
