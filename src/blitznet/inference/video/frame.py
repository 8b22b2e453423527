"""One picture of a video, and when it is shown."""

from dataclasses import dataclass
from fractions import Fraction

from PIL import Image


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame as a person sees it.

    Attributes:
        image: upright RGB.
        index: its number among the frames that could be decoded, from 0 on.
        pts: when it is shown, in units of `time_base`; greater than that of the frame before.
        time_base: seconds.
    """

    image: Image.Image
    index: int
    pts: int
    time_base: Fraction

    @property
    def time(self) -> float:
        """When it is shown, seconds from the start of the video."""
        return float(self.pts * self.time_base)
