"""Inputs of `predict`: one image or several."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from blitznet.errors import InputError
from blitznet.image import EncodedImage, ImageSource
from blitznet.inference.sources import find_sources, is_url

if TYPE_CHECKING:
    import torch

    ImageInput: TypeAlias = ImageSource | bytes | bytearray | BinaryIO | torch.Tensor


def several_images(source: object) -> Iterable[Any] | None:
    """Expand a source that holds several images; None for any other.

    Args:
        source: several images are a list, tuple or iterator of images, an array or tensor of four
            dimensions, a folder, or a pattern such as `trip/**/*.jpg`.

    Raises:
        InputError: if a folder or pattern has no images.
    """
    if isinstance(source, list | tuple):
        return source
    if getattr(source, "ndim", None) == 4:
        assert isinstance(source, Iterable)
        return iter(source)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        is_pattern = glob.has_magic(name) and not os.path.lexists(name)
        if not (is_pattern or os.path.isdir(name) or is_url(name)):  # noqa: PTH112
            return None
        found, problems = find_sources([name])
        images = [path for path in found if isinstance(path, Path)]
        if not images:
            raise InputError(next(iter(problems), f"{name}: a video; use predict_video"))
        return images
    return source if isinstance(source, Iterator) and not hasattr(source, "read") else None


def as_image(source: Any) -> ImageSource:
    """Convert bytes, open files and tensors for `read_image`; return anything else unchanged.

    Args:
        source: tensors are (3, H, W), (1, H, W) or (H, W, 3), uint8, or floating point in 0..1.

    Raises:
        TypeError: if a tensor's values are out of range.
    """
    if isinstance(source, bytes | bytearray):
        return EncodedImage(bytes(source), "the given bytes")
    if not isinstance(source, np.ndarray) and callable(getattr(source, "read", None)):
        return EncodedImage(source.read(), stream_name(source) or "the given file")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return _as_array(source)
    image: ImageSource = source
    return image


def stream_name(source: object) -> str | None:
    """File name of an open file; None if it has none."""
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


def _as_array(tensor: "torch.Tensor") -> np.ndarray:
    if tensor.is_floating_point():
        low, high = (float(edge) for edge in tensor.aminmax()) if tensor.numel() else (0, 0)
        if not 0 <= low <= high <= 1:
            raise TypeError(
                f"a tensor of floats is an image with values in 0..1, got {low:g}..{high:g}; give "
                "it before normalisation, or as uint8"
            )
        tensor = (tensor.float() * 255).round().byte()
    array: np.ndarray = tensor.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return array
