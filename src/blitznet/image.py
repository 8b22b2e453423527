"""Any image as a person sees it: upright, eight-bit RGB, one frame."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from blitznet.errors import PictureError

PictureSource = str | os.PathLike[str] | Image.Image | np.ndarray

# The largest phone sensors give 200 million; a header that promises more is a mistake or an attack.
MAX_PIXELS = 200_000_000

# Not every format that Pillow opens: EPS runs another program, TGA has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")

# What a folder is searched for. A file that is named directly may be called anything.
PICTURE_SUFFIXES = frozenset(
    """.avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff
    .webp""".split()  # noqa: SIM905
)

# What Pillow's decoders raise on damaged files, besides the warnings where those are errors.
_DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, MemoryError,
    struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip

# What libjpeg can shrink by while it decodes.
_JPEG_REDUCTIONS = (1, 2, 4, 8)

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


def read_picture(source: PictureSource) -> Image.Image:
    """Decode an image and bring it into the form that a viewer would show.

    The orientation of the camera (EXIF) is applied, transparent parts become white, sixteen-bit and
    floating-point images are scaled to eight bits, and of an animation the first frame is taken.

    Args:
        source: a file, a Pillow image, or an array, uint8 (H, W, 3) RGB or (H, W) grey.

    Returns:
        Mode RGB; never the object that was given.

    Raises:
        PictureError: if it is missing, no image, damaged, or larger than MAX_PIXELS.
        TypeError: if `source` is none of these things.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        image = _decode(source, source_name(source) or "the given image")
        return image.copy() if image is source else image
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "an image is a path, a PIL image or a uint8 array (H, W, 3) in RGB, "
            f"not {type(source).__name__}"
        )
    return OpenPicture(source).decode()


class OpenPicture:
    """An image file whose size is known and whose pixels are still to be decoded.

    Args:
        path: of the file, which is read here.

    Attributes:
        size: width and height as a person sees it.
        reductions: what `decode` can shrink by, ascending, 1 first.

    Raises:
        PictureError: as `read_picture`; for damage behind the header, `decode` does.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._name = os.fspath(path)
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError:
            raise PictureError(f"{self._name}: no such file") from None
        except IsADirectoryError:
            raise PictureError(f"{self._name}: a folder, where one image was wanted") from None
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            reason = getattr(error, "strerror", None) or error
            raise PictureError(f"{self._name}: cannot be read ({reason})") from None
        image = _open(BytesIO(content), self._name)
        self._image: Image.Image = image
        self.reductions: tuple[int, ...] = (1,)
        if isinstance(image, JpegImageFile):
            _require_sensible_size(image, self._name)
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
            self._image = _decode(image, self._name)
            self.size = self._image.size

    def decode(self, reduction: int = 1) -> Image.Image:
        """Pixels as of `read_picture`, shrunk; to be called once.

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


def source_name(source: PictureSource) -> str | None:
    """What to call an image in messages and results; None for one that came without a file."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "filename", "")) or None


def _open(stream: BinaryIO, name: str) -> ImageFile:
    """The format's reader with its header parsed.

    As `Image.open`, which however warns from 89 million pixels on and refuses 179 million; changing
    that limit would change it for the whole process.
    """
    Image.init()
    prefix = stream.read(16)
    if not prefix:
        raise PictureError(f"{name}: the file is empty")
    for image_format in FORMATS:
        reader, accepts = Image.OPEN.get(image_format, (None, None))
        if reader is None or (accepts and accepts(prefix) is not True):
            continue
        stream.seek(0)
        try:
            image = reader(stream, name)
        except (SyntaxError, LookupError, TypeError, struct.error):
            continue  # these say "not mine", as in Image.open
        except _DECODING_ERRORS as error:
            raise PictureError(f"{name}: damaged {image_format} image ({error})") from error
        if isinstance(image, ImageFile):
            return image
    raise PictureError(f"{name}: not an image; BlitzNet reads {', '.join(FORMATS)}")


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Upright RGB pixels of an opened image; the same object if nothing had to change."""
    _require_sensible_size(image, name)
    try:
        image.load()
        turn = _turn(image)
        image = _to_rgb(image)
        return image.transpose(turn) if turn is not None else image
    except _DECODING_ERRORS as error:
        raise PictureError(f"{name}: damaged or cut off ({error})") from error


def _require_sensible_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{name}: {width}x{height} pixels, more than {MAX_PIXELS // 10**6} million; "
            "make it smaller first"
        )
    if width * height == 0:
        raise PictureError(f"{name}: an image without pixels ({width}x{height})")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, from its EXIF block; None where that is missing or damaged."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODING_ERRORS:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """(H, W) of uint16, int32 or float32 to uint8.

    Sixteen-bit files use their full range. Wider types do not say theirs: it is the smallest of 1
    (floating point), 255 and 65535 that holds the brightest pixel, else the brightest pixel.
    """
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    ranges = (1, 255, 65535) if values.dtype.kind == "f" else (255, 65535)
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    brightest = float(values.max())
    full = next((top for top in ranges if brightest <= top), brightest)
    return (values.clip(0, full) * (255 / full)).round().astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise TypeError(
            f"an array is uint8 with values 0..255, not {array.dtype}; "
            "multiply images in 0..1 by 255 and convert them"
        )
    is_rgb, is_grey = array.ndim == 3 and array.shape[2] == 3, array.ndim == 2
    if not (is_rgb or is_grey) or array.size == 0:
        raise PictureError(
            f"an array has shape (H, W, 3) in RGB order, or (H, W) if grey, not {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def resize_to_input(image: Image.Image, size: int) -> np.ndarray:
    """What the network gets to see: stretched and anti-aliased, as in training and evaluation.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def open_content(content: bytes, name: str) -> Image.Image:
    """An image of which the header has been read, no more; `read_picture` takes it.

    Args:
        content: of the file.
        name: what to call it in messages.

    Raises:
        PictureError: if it is no image, or its header is damaged.
    """
    return _open(BytesIO(content), name)
