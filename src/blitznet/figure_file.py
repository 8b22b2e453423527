"""Save matplotlib figures to files."""

from pathlib import Path
from typing import TYPE_CHECKING

from blitznet.files.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110


def save_figure(figure: "Figure", path: Path) -> None:
    """Save in the format of the suffix, cropped to the content; `$` does not start a formula."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    kind = path.suffix[1:].lower()
    with atomic_write(path) as temporary, rc_context({"text.parse_math": False}):
        figure.savefig(temporary, format=kind, dpi=_DPI, bbox_inches="tight")
