"""Scale images of more than eight bits per channel to eight, or describe unsupported TIFFs."""

from collections.abc import Callable, Sequence
from sys import byteorder
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ImageFile import ImageFile

# Maxima of 8, 10, 12, 14 and 16 bits; cameras, scanners and microscopes store them all in 16 bits.
_FULL_RANGES = (255, 1023, 4095, 16383, 65535)

# Pillow decodes only the high byte of 16-bit colours; with the byte order swapped, the low one.
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if byteorder == "little" else "L"}
_COLOURS_OF_16_BITS = tuple(f"{mode};16" for mode in ("RGB", "RGBA", "RGBX"))

_BAND = 256  # rows

_BITS, _COMPRESSION, _SAMPLES, _KIND = 258, 259, 277, 339  # tags of TIFF 6.0
_KINDS = {1: "uint", 2: "int", 3: "float", 5: "complex int", 6: "complex"}


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale integers or floats to uint8.

    Files do not state their white level. It is taken to be the smallest of 1 (floating point only)
    and the maxima of 8, 10, 12, 14 and 16 bits that is not below the brightest value, else the
    brightest value itself.

    Args:
        values: (H, W) or (H, W, C), uint16, int32 or float32.

    Returns:
        Array of the same shape; the high byte if all 16 bits are in use.
    """
    if values.dtype.itemsize == 2 and values.max() > _FULL_RANGES[-2]:
        return (values >> 8).astype(np.uint8)
    ranges = (1, 255, 65535) if values.dtype.kind == "f" else _FULL_RANGES
    # In bands of rows, because copies of a whole image would take several times its memory.
    bands = [values[top : top + _BAND] for top in range(0, len(values), _BAND)]
    brightest = max(float(_finite(band).max()) for band in bands)
    full = next((top for top in ranges if brightest <= top), brightest)
    scaled = ((_finite(band).clip(0, full) * (255 / full)).round() for band in bands)
    return np.concatenate([band.astype(np.uint8) for band in scaled])


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)


def has_16_bit_colours(image: Image.Image) -> bool:
    """Whether an opened file stores 16-bit colours that `with_low_bytes` can scale."""
    orders = [str(_as_tuple(tile.args)[0]) for tile in getattr(image, "tile", ()) if tile.args]
    return bool(orders) and all(order[:-1] in _COLOURS_OF_16_BITS for order in orders)


def with_low_bytes(
    image: Image.Image, tiles: Sequence[Any], reopen: Callable[[], ImageFile]
) -> Image.Image:
    """Scale 16-bit colours that use at most 14 bits to eight; return other images unchanged.

    Args:
        image: decoded image.
        tiles: `image.tile` before decoding.
        reopen: opens the same image again.

    Returns:
        The image itself, or a new one of the same size and mode.
    """
    orders = [str(_as_tuple(tile.args)[0]) for tile in tiles]
    if not orders or not all(order[:-1] in _COLOURS_OF_16_BITS for order in orders):
        return image
    high = np.asarray(image)
    if high[..., :3].max() > _FULL_RANGES[-2] >> 8:
        return image
    other = reopen()
    other.tile = [
        tile._replace(args=(order[:-1] + _OTHER_ORDER[order[-1]], *_as_tuple(tile.args)[1:]))
        for tile, order in zip(tiles, orders, strict=True)
    ]
    values = high.astype(np.uint16) << 8 | np.asarray(other)
    parts = [to_eight_bits(part) for part in (values[..., :3], values[..., 3:]) if part.size]
    return Image.fromarray(np.concatenate(parts, axis=2))


def _as_tuple(arguments: Any) -> tuple[Any, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def describe_tiff(file: BinaryIO) -> str | None:
    """Describe a TIFF's content, such as `3 channels of float32`; None if it is not a TIFF.

    A compression that Pillow does not know is included.
    """
    try:
        file.seek(0)
        header = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(header.next)
        header.load(file)
        bits, kind = header.get(_BITS, (1,)), header.get(_KIND, (1,))
        samples, compression = header.get(_SAMPLES, 1), header.get(_COMPRESSION, 1)
        is_known = compression in TiffImagePlugin.COMPRESSION_INFO
        return (
            f"{samples} channel{'s' * (samples != 1)} of {_KINDS.get(kind[0], 'unknown')}{bits[0]}"
            f"{'' if is_known else f' in compression {compression}'}"
        )
    except Exception:  # noqa: BLE001 - damaged files can raise anything
        return None
