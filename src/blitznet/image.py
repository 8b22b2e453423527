"""Images are opened here, within limits: as a person sees them, or as they are stored.

As a person sees it, an image is upright, eight-bit RGB, one frame.
"""

import math
import os
import re
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from blitznet.errors import ImageError, cut
from blitznet.regular_file import MEGABYTE, open_regular, read_regular
from blitznet.sample_depth import describe_tiff, has_16_bit_colours, to_eight_bits, with_low_bytes


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The content of an image file that is not on disk; `name` is for messages."""

    content: bytes
    name: str


ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray | EncodedImage

# Of an image, unless a call allows more. A header that promises more is a mistake or an attack.
MAX_PIXELS = 100_000_000
# Their decoders take several times the memory of the image.
_COSTLY_FORMATS = frozenset({"WEBP", "JPEG2000", "AVIF", "HEIF"})

# From here on an image takes hundreds of megabytes, and a process decodes one at a time.
LARGE_PIXELS = 32_000_000
_ALONE = RLock()

# Of a progressive JPEG: every scan passes over all pixels, and encoders write about ten.
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 2_000_000_000
_MAX_SEGMENTS = 100_000
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")

# Of a TIFF; more pages are not counted. Pillow decodes strips and tiles one by one.
_MAX_PAGES = 1000
_MAX_TILES = 100_000

# What comes before the pixels of a GIF, JPEG or PNG; comments take many times their size.
_MAX_HEADER = 16 * MEGABYTE

# Of a header, and of all that follows: millions of tiny parts take minutes.
_MAX_HEADER_READS = 4096
_MAX_READS = 1_000_000

# Of a PPM in plain text, which Pillow reads in Python; a comment takes as long as a megabyte.
_MAX_PLAIN, _MAX_PLAIN_COMMENTS = 16 * MEGABYTE, 1000

# Entries of an EXIF block times its bytes.
_MAX_EXIF = 256 * MEGABYTE

# Rows that are converted at once where a whole image would be copied.
_BAND = 256

# Not every format that Pillow opens: EPS runs another program, TGA has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")

# What a folder is searched for. A file that is named directly may be called anything.
IMAGE_SUFFIXES = frozenset(
    """.avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff
    .webp""".split()  # noqa: SIM905
)

# What libjpeg can shrink by while it decodes.
_JPEG_REDUCTIONS = (1, 2, 4, 8)

GREY_BITS = "bits of a greyscale pixel"  # key of `Image.info`

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRANSPOSING = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


def read_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image and bring it into the form that a viewer would show.

    The orientation of the camera (EXIF) is applied, transparent parts become white, sixteen-bit and
    floating-point images are scaled to eight bits, and of several frames or pages the first is
    taken.

    Args:
        source: a file, its content, a Pillow image, or an array: uint8 (H, W, 3) RGB, (H, W, 4)
            RGBA, (H, W, 1) or (H, W) grey.
        max_pixels: checked before anything is decoded; half of them for the formats whose decoders
            take several times the memory of the image.

    Returns:
        Mode RGB; never the object that was given. `info["frames"]` counts those of a file that has
        several.

    Raises:
        ImageError: if it is missing, no image, damaged, or larger than `max_pixels`.
        TypeError: if `source` is none of these things.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = source_name(source) or "the given image"
        _require_sensible_size(source, name, max_pixels)
        image = _decode(source, name)
        return image.copy() if image is source else image
    if not isinstance(source, str | os.PathLike | EncodedImage):
        raise TypeError(
            "an image is a path, a PIL image or a uint8 array (H, W, 3) in RGB, "
            f"not {type(source).__name__}"
        )
    with _alone_if_large(_size_on_disk(source)):
        return OpenImage(source, max_pixels).decode()


class OpenImage:
    """An image file whose size is known and whose pixels are still to be decoded.

    Args:
        source: a path, whose file is read here, or the content of a file.
        max_pixels: as of `read_image`.

    Attributes:
        size: width and height of the upright image.
        reductions: what `decode` can shrink by, ascending, 1 first.

    Raises:
        ImageError: as `read_image`; for damage behind the header, `decode` does.
    """

    def __init__(self, source: str | os.PathLike[str] | EncodedImage, max_pixels: int = MAX_PIXELS):
        if not isinstance(source, EncodedImage):
            source = EncodedImage(_read(source, max_pixels), os.fspath(source))
        self._name = source.name
        image = _open(source.content, source.name, max_pixels)
        self._image: Image.Image = image
        self.reductions: tuple[int, ...] = (1,)
        if isinstance(image, JpegImageFile):
            turn = _turn(image)
            width, height = image.size
            self.size = (height, width) if turn in _TRANSPOSING else (width, height)
            # The last column and row of a shrunk image may lie partly beyond it. Turning would
            # move them to the front, where they shift the rest.
            self.reductions = tuple(
                reduction
                for reduction in _JPEG_REDUCTIONS
                if min(width, height) >= reduction
                and (turn is None or (width % reduction == 0 and height % reduction == 0))
            )
        else:  # some formats state the orientation behind the pixels
            reopen = partial(_open, source.content, source.name, max_pixels)
            frames = _count_frames(image, reopen)
            self._image = _decode(image, self._name, reopen)
            self._image.info["frames"] = frames
            self.size = self._image.size

    def decode(self, reduction: int = 1) -> Image.Image:
        """Pixels as of `read_image`, shrunk; to be called once.

        Args:
            reduction: one of `reductions`. Pixel i covers the pixels i * reduction up to
                (i + 1) * reduction of the whole image; the last one may reach beyond it.
        """
        if not isinstance(self._image, JpegImageFile):
            return self._image
        if reduction > 1:
            width, height = self._image.size
            self._image.draft(None, (width // reduction, height // reduction))
        return _decode(self._image, self._name)


def source_name(source: ImageSource) -> str | None:
    """What to call an image in messages and results; None for one that came without a file."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, EncodedImage):
        return source.name
    return str(getattr(source, "filename", "")) or None


def read_stored(path: str | os.PathLike[str]) -> ImageFile:
    """An image as its file stores it, for segmentation maps: values are not touched.

    Its `info` has the bits of a greyscale pixel under GREY_BITS, as Pillow stretches 2 and 4 bits.

    Raises:
        ImageError: as `read_image`, and if there are several frames or pages.
    """
    name = os.fspath(path)
    reopen = partial(_open, _read(path, MAX_PIXELS), name, MAX_PIXELS)
    image = reopen()
    if (frames := _count_frames(image, reopen)) > 1:
        raise ImageError(f"{name}: holds {frames} frames or pages; a segmentation map is one")
    raw_mode = str(image.tile[0].args)[:6] if image.mode == "L" and image.tile else ""
    image.info[GREY_BITS] = 2 if "L;2" in raw_mode else 4 if "L;4" in raw_mode else 8
    try:
        image.load()
    except Exception as error:  # see `_damage`
        raise _damage(name, error) from error
    if image.mode == "P" and image.palette is None:
        raise ImageError(f"{name}: damaged (a palette image without its palette)")
    return image


def stored_size(source: ImageSource) -> tuple[int, int]:
    """Width and height before the camera's orientation is applied, from the header alone.

    Returns:
        (0, 0) for what cannot be read.
    """
    if isinstance(source, Image.Image):
        return source.size
    if isinstance(source, np.ndarray):
        return (source.shape[1], source.shape[0]) if source.ndim > 1 else (0, 0)
    try:
        if isinstance(source, EncodedImage):
            return _read_header(BytesIO(source.content), source.name).size
        if not isinstance(source, str | os.PathLike):
            return 0, 0
        file, _ = open_regular(source, _max_file(MAX_PIXELS))
        with file:
            return _read_header(file, os.fspath(source)).size
    except (OSError, ImageError):
        return 0, 0


class _FewReads:
    """A file that ends in an error after a number of reads or bytes.

    A header may name the same bytes thousands of times.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._reads_left, self._bytes_left = 0, 0.0

    def allow(self, reads: int, *, of_decoder: bool = False) -> None:
        """Allow this number of reads from now on; bytes again only for a decoder."""
        self._reads_left = reads
        self._bytes_left = math.inf if of_decoder else self._size + _MAX_HEADER

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        content = self._file.read(size)
        self._reads_left -= 1
        self._bytes_left -= len(content)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise OSError("too many parts")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _read(path: str | os.PathLike[str], max_pixels: int) -> bytes:
    name = os.fspath(path)
    try:
        return read_regular(path, _max_file(max_pixels))
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: a folder, where one image was wanted") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from None


def _open(content: bytes, name: str, max_pixels: int) -> ImageFile:
    """A file with its header parsed, within all limits, its pixels still to be decoded."""
    if len(content) > _MAX_HEADER and content.startswith((b"GIF8", b"\xff\xd8", b"\x89PNG")):
        _read_header(BytesIO(content[:_MAX_HEADER]), name)
    is_plain = content.startswith((b"P1", b"P2", b"P3"))
    if is_plain and (len(content) > _MAX_PLAIN or content.count(b"#") > _MAX_PLAIN_COMMENTS):
        raise ImageError(f"{name}: a plain-text PPM that takes too long to read; save it as PNG")
    image = _read_header(BytesIO(content), name)
    _require_sensible_size(image, name, max_pixels)
    if len(image.tile) > _MAX_TILES:
        raise ImageError(f"{name}: {len(image.tile)} strips or tiles; save it again with fewer")
    if isinstance(image, JpegImageFile):
        _require_few_scans(content, image.size, name)
    return image


def _read_header(file: BinaryIO, name: str) -> ImageFile:
    """The format's reader.

    As `Image.open`, which however warns from 89 million pixels on and refuses 179 million; changing
    that limit would change it for the whole process.
    """
    Image.init()
    stream: Any = _FewReads(file)
    stream.seek(0)
    stream.allow(_MAX_HEADER_READS)
    prefix = stream.read(16)
    if not prefix:
        raise ImageError(f"{name}: the file is empty")
    for image_format in FORMATS:
        reader, accepts = Image.OPEN.get(image_format, (None, None))
        if reader is None or (accepts and accepts(prefix) is not True):
            continue
        stream.seek(0)
        try:
            image = reader(stream, name)
        except (SyntaxError, LookupError, TypeError, struct.error):
            continue  # these say "not mine", as in Image.open
        except Exception as error:  # see `_damage`
            text = cut(str(error))
            raise ImageError(f"{name}: damaged {image_format} image ({text})") from error
        if isinstance(image, ImageFile):
            stream.allow(_MAX_READS, of_decoder=True)
            return image
    if kind := describe_tiff(stream):
        raise ImageError(
            f"{name}: a TIFF of {kind}, which cannot be read; save it as 8-bit or 16-bit integers, "
            "or as one channel of float32"
        )
    raise ImageError(f"{name}: not an image; BlitzNet reads {', '.join(FORMATS)}")


def _decode(
    image: Image.Image, name: str, reopen: Callable[[], ImageFile] | None = None
) -> Image.Image:
    """Upright RGB pixels of an opened image; the same object if nothing had to change.

    Args:
        image: opened.
        name: for messages.
        reopen: opens the file again, for images that are decoded twice.
    """
    try:
        with _alone_if_large(3 * image.width * image.height):
            tiles = list(getattr(image, "tile", ()))
            image.load()
            turn = _turn(image)
            if reopen is not None:
                image = with_low_bytes(image, tiles, reopen)
            image = _to_rgb(image)
            return image.transpose(turn) if turn is not None else image
    except Exception as error:  # see `_damage`
        raise _damage(name, error) from error


def _damage(name: str, error: Exception) -> ImageError:
    """What to say of a file that broke its decoder.

    Decoders raise anything on damaged files, AssertionError and MemoryError among them.
    """
    text = cut(str(error))
    if not isinstance(error, OSError | SyntaxError | ValueError | EOFError | Warning):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ImageError(f"{name}: damaged or cut off ({text})")


def _alone_if_large(num_bytes: int) -> AbstractContextManager[object]:
    """Wait until no other image or file of this size is being decoded or held.

    Several at once would take the memory of all of them.
    """
    return _ALONE if num_bytes > 3 * LARGE_PIXELS else nullcontext()


def _size_on_disk(source: str | os.PathLike[str] | EncodedImage) -> int:
    if isinstance(source, EncodedImage):
        return 0
    try:
        return Path(source).stat().st_size
    except (OSError, ValueError):
        return 0


def _max_file(max_pixels: int) -> int:
    """Bytes that store this many pixels as uncompressed RGBA, and a little more."""
    return 4 * max_pixels + MEGABYTE


def _require_sensible_size(image: Image.Image, name: str, max_pixels: int) -> None:
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


def _require_few_scans(content: bytes, size: tuple[int, int], name: str) -> None:
    """Count the scans of a JPEG by its markers; some hundred take minutes to decode."""
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


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, from its EXIF block; None where that is missing or damaged."""
    exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"
    start = int.from_bytes(exif[4:8], order)
    if int.from_bytes(exif[start : start + 2], order) * len(exif) > _MAX_EXIF:
        return None  # Pillow reads all of its entries, each of which may be the whole block
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - see `_damage`
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """In bands of rows, as the copies of a whole one would take several times its memory."""
    paper = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND):
        band = image.crop((0, top, image.width, min(top + _BAND, image.height)))
        band = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        paper.paste(band, (0, top), band)
    return paper


def _count_frames(image: ImageFile, reopen: Callable[[], ImageFile]) -> int:
    """Frames or pages; previews beside a photo (MPO, HEIF) are none.

    A GIF or TIFF is gone through, a TIFF up to _MAX_PAGES; both up to damage, or to too many parts.
    """
    if image.format == "HEIF":
        return 1
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    image = reopen()  # Pillow cannot always go back
    file: Any = image.fp
    file.allow(_MAX_READS)
    try:
        if image.format == "GIF":
            return int(getattr(image, "n_frames", 1))
        while image.tell() < _MAX_PAGES - 1:  # Pillow's own count takes quadratic time
            image.seek(image.tell() + 1)
    except Exception:  # noqa: BLE001 - see `_damage`
        pass
    return image.tell() + 1


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise TypeError(
            f"an array is uint8 with values 0..255, not {array.dtype}; "
            "multiply images in 0..1 by 255 and convert them"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    is_colour = array.ndim == 3 and array.shape[2] in (3, 4)
    if not (is_colour or array.ndim == 2) or array.size == 0:
        raise ImageError(
            "an array has shape (H, W, 3) in RGB order, (H, W, 4) in RGBA or (H, W) if grey, "
            f"not {array.shape}"
        )
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def resize_to_input(image: Image.Image, size: int) -> np.ndarray:
    """What the network gets to see: stretched and anti-aliased, as in training and evaluation.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def open_content(content: bytes, name: str) -> Image.Image:
    """An image of which the header has been read, no more; `read_image` takes it.

    Args:
        content: of the file.
        name: what to call it in messages.

    Raises:
        ImageError: if it is no image, or its header is damaged.
    """
    return _read_header(BytesIO(content), name)
