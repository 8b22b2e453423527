"""Reading picture files."""

from pathlib import Path

from PIL import Image, ImageOps


def read_picture(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")
