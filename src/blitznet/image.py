"""Open images within limits: as a viewer shows them, or as they are stored.

A viewer shows one frame, upright, in eight-bit RGB.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import Literal

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from blitznet.errors import ImageError
from blitznet.files.regular_file import MEGABYTE, open_regular, read_regular
from blitznet.image_file import (
    count_frames,
    damage,
    open_image_file,
    read_image_header,
    require_sensible_size,
)
from blitznet.sample_depth import to_eight_bits, with_low_bytes


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Content of an image file that is not on disk; `name` is used in messages."""

    content: bytes
    name: str


ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray | EncodedImage

# Default limit. A header that declares more pixels is a mistake or an attack.
MAX_PIXELS = 100_000_000
# Larger images take hundreds of megabytes, so a process decodes only one of them at a time.
LARGE_PIXELS = 32_000_000
_ALONE = RLock()

# Maximum of the number of EXIF entries times the size of the EXIF block in bytes.
_MAX_EXIF = 256 * MEGABYTE

# Number of rows to convert at once, to avoid copying the whole image.
_BAND = 256

# Suffixes to look for in a folder. A file that is given by name may have any suffix.
IMAGE_SUFFIXES = frozenset(
    """.avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff
    .webp""".split()  # noqa: SIM905
)

# Factors by which libjpeg can shrink an image while decoding.
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
    """Decode an image to RGB, as a viewer would show it.

    Applies the EXIF orientation, turns transparent areas white, scales 16-bit and floating-point
    images to eight bits, and takes the first of several frames or pages.

    Args:
        source: a file, its content, a Pillow image, or an array: uint8 (H, W, 3) RGB, (H, W, 4)
            RGBA, (H, W, 1) or (H, W) grey.
        max_pixels: limit, checked before decoding; half as many for formats whose decoders take
            several times the memory of the image.

    Returns:
        A new image in mode RGB; `info["frames"]` is the number of frames of a file.

    Raises:
        ImageError: if it is missing, not an image, damaged, or larger than `max_pixels`.
        TypeError: if `source` has another type.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = source_name(source) or "the given image"
        require_sensible_size(source, name, max_pixels)
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
    """An image file whose header has been parsed; `decode` decodes its pixels.

    Args:
        source: a path, whose file is read here, or the content of a file.
        max_pixels: see `read_image`.

    Attributes:
        size: width and height of the upright image.
        reductions: factors by which `decode` can shrink the image, ascending from 1.

    Raises:
        ImageError: see `read_image`; damage after the header is raised by `decode`.
    """

    def __init__(self, source: str | os.PathLike[str] | EncodedImage, max_pixels: int = MAX_PIXELS):
        if not isinstance(source, EncodedImage):
            source = EncodedImage(_read(source, max_pixels), os.fspath(source))
        self._name = source.name
        image = open_image_file(source.content, source.name, max_pixels)
        self._image: Image.Image = image
        self.reductions: tuple[int, ...] = (1,)
        if isinstance(image, JpegImageFile):
            turn = _turn(image)
            width, height = image.size
            self.size = (height, width) if turn in _TRANSPOSING else (width, height)
            # The last column and row of a shrunk image may extend beyond the original. A rotation
            # would move them to the front and so shift the image.
            self.reductions = tuple(
                reduction
                for reduction in _JPEG_REDUCTIONS
                if min(width, height) >= reduction
                and (turn is None or (width % reduction == 0 and height % reduction == 0))
            )
        else:  # some formats store the orientation after the pixels
            reopen = partial(open_image_file, source.content, source.name, max_pixels)
            frames = count_frames(image, reopen)
            self._image = _decode(image, self._name, reopen)
            self._image.info["frames"] = frames
            self.size = self._image.size

    def decode(self, reduction: int = 1) -> Image.Image:
        """Decode the pixels like `read_image`, optionally shrunk. May be called only once.

        Args:
            reduction: one of `reductions`. Pixel i covers pixels i * reduction to
                (i + 1) * reduction of the full image; the last one may extend beyond it.
        """
        if not isinstance(self._image, JpegImageFile):
            return self._image
        if reduction > 1:
            width, height = self._image.size
            self._image.draft(None, (width // reduction, height // reduction))
        return _decode(self._image, self._name)


def source_name(source: ImageSource) -> str | None:
    """Name of an image for messages and results; None if it did not come from a file."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, EncodedImage):
        return source.name
    return str(getattr(source, "filename", "")) or None


def read_stored(path: str | os.PathLike[str]) -> ImageFile:
    """Read a segmentation map with its values unchanged.

    `info[GREY_BITS]` is the number of bits per greyscale pixel: Pillow stretches 2 and 4 bits to 8.

    Raises:
        ImageError: see `read_image`; also if the file has several frames or pages.
    """
    name = os.fspath(path)
    reopen = partial(open_image_file, _read(path, MAX_PIXELS), name, MAX_PIXELS)
    image = reopen()
    if (frames := count_frames(image, reopen)) > 1:
        raise ImageError(f"{name}: has {frames} frames or pages; a segmentation map has one")
    raw_mode = str(image.tile[0].args)[:6] if image.mode == "L" and image.tile else ""
    image.info[GREY_BITS] = 2 if "L;2" in raw_mode else 4 if "L;4" in raw_mode else 8
    try:
        image.load()
    except Exception as error:  # see `damage`
        raise damage(name, error) from error
    if image.mode == "P" and image.palette is None:
        raise ImageError(f"{name}: damaged (a palette image without its palette)")
    return image


def stored_size(source: ImageSource) -> tuple[int, int]:
    """Read width and height from the header, before the EXIF orientation is applied.

    Returns:
        (0, 0) if the image cannot be read.
    """
    if isinstance(source, Image.Image):
        return source.size
    if isinstance(source, np.ndarray):
        return (source.shape[1], source.shape[0]) if source.ndim > 1 else (0, 0)
    try:
        if isinstance(source, EncodedImage):
            return read_image_header(BytesIO(source.content), source.name).size
        if not isinstance(source, str | os.PathLike):
            return 0, 0
        file, _ = open_regular(source, _max_file(MAX_PIXELS))
        with file:
            return read_image_header(file, os.fspath(source)).size
    except (OSError, ImageError):
        return 0, 0


def _read(path: str | os.PathLike[str], max_pixels: int) -> bytes:
    name = os.fspath(path)
    try:
        return read_regular(path, _max_file(max_pixels))
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: a folder, not an image") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from None


def _decode(
    image: Image.Image, name: str, reopen: Callable[[], ImageFile] | None = None
) -> Image.Image:
    """Decode to upright RGB; returns the same object if nothing had to change.

    Args:
        image: opened image.
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
    except Exception as error:  # see `damage`
        raise damage(name, error) from error


def _alone_if_large(num_bytes: int) -> AbstractContextManager[object]:
    """Lock for large images and files, so that only one at a time takes up memory."""
    return _ALONE if num_bytes > 3 * LARGE_PIXELS else nullcontext()


def _size_on_disk(source: str | os.PathLike[str] | EncodedImage) -> int:
    if isinstance(source, EncodedImage):
        return 0
    try:
        return Path(source).stat().st_size
    except (OSError, ValueError):
        return 0


def _max_file(max_pixels: int) -> int:
    """Maximum file size in bytes: that many pixels as uncompressed RGBA, plus a margin."""
    return 4 * max_pixels + MEGABYTE


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Transpose operation for the EXIF orientation; None if EXIF is missing or damaged."""
    exif = (image.info.get("exif") or b"").removeprefix(b"Exif\0\0")  # None in HEIF
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"
    start = int.from_bytes(exif[4:8], order)
    if int.from_bytes(exif[start : start + 2], order) * len(exif) > _MAX_EXIF:
        return None  # Pillow reads every entry, and each may span the whole block
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - see `damage`
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Paste onto white in bands of rows; copying the whole image would take too much memory."""
    paper = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _BAND):
        band = image.crop((0, top, image.width, min(top + _BAND, image.height)))
        band = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        paper.paste(band, (0, top), band)
    return paper


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
    """Resize to the network's input, stretched and anti-aliased, as in training and evaluation.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
