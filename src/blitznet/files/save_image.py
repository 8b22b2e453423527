"""Write images and figures."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blitznet.files.atomic_write import atomic_write
from blitznet.files.result_folder import ensure_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

_DPI = 110  # of figures


def save_image(path: Path, image: "Image.Image", sync: bool = True, **options: Any) -> None:
    """Write an image atomically; creates the folder if missing.

    Args:
        path: `NAME.jpg` for a JPEG, anything else for a PNG.
        image: any mode that the format has.
        sync: see `atomic_write`.
        options: of Pillow's writer.

    Raises:
        InputError: if it cannot be written.
    """
    ensure_folder(path.parent)
    with atomic_write(path, sync) as temporary:
        image.save(temporary, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)


def encode_png(image: "Image.Image", **options: int) -> bytes:
    """Content of a PNG file, with Pillow's options."""
    content = BytesIO()
    image.save(content, format="PNG", **options)
    return content.getvalue()


def save_figure(figure: "Figure", path: Path) -> None:
    """Save in the format of the suffix, cropped to the content; `$` does not start a formula."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    kind = path.suffix[1:].lower()
    with atomic_write(path) as temporary, rc_context({"text.parse_math": False}):
        figure.savefig(temporary, format=kind, dpi=_DPI, bbox_inches="tight")
