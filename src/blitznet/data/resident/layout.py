"""Where the decoded pictures and maps of a split will lie, and whether there is room for them."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from blitznet.data.geometry import PIXELS_TO_AVERAGE
from blitznet.data.source import LabelSource
from blitznet.data.ssd_policy import CROP_AREA, CROP_ASPECT
from blitznet.errors import InputError
from blitznet.image import OpenPicture
from blitznet.progress import with_progress

NO_MAP = -1

# Of the free memory; the network, its optimizer and its activations need some, too.
SHARE_FOR_PICTURES = 0.8

_CHANNELS = 3


@dataclass(frozen=True)
class Layout:
    """Every picture's place in one array of all pixels, every map's in one of all ids.

    Attributes:
        widths: (N,) int64, of the whole picture as a person sees it.
        heights: (N,) int64.
        reductions: (N,) int64, what the picture is shrunk by while it is decoded.
        picture_starts: (N + 1,) int64, index of its first pixel; the last one is their number.
        map_starts: (N,) int64, index of its map's first pixel; NO_MAP = it has none.
        num_map_pixels: of all maps.
    """

    widths: np.ndarray
    heights: np.ndarray
    reductions: np.ndarray
    picture_starts: np.ndarray
    map_starts: np.ndarray
    num_map_pixels: int

    @property
    def stored_widths(self) -> np.ndarray:
        """(N,) int64, of the shrunk pictures."""
        widths: np.ndarray = -(-self.widths // self.reductions)
        return widths

    @property
    def stored_heights(self) -> np.ndarray:
        """(N,) int64."""
        heights: np.ndarray = -(-self.heights // self.reductions)
        return heights

    @property
    def num_bytes(self) -> int:
        """Of all pictures and maps."""
        return int(self.picture_starts[-1]) * _CHANNELS + self.num_map_pixels


def measure(
    sources: Sequence[LabelSource], largest_size: int, threads: int, show_progress: bool = True
) -> Layout:
    """Read the headers of all pictures.

    Args:
        sources: concatenated.
        largest_size: the largest S that samples are drawn at.
        threads: that read.
        show_progress: to people.

    Raises:
        InputError: if a picture cannot be read, or a label file.
    """

    def measure_one(place: tuple[LabelSource, int]) -> tuple[int, int, int, bool]:
        source, index = place
        labels = source.labels(index)
        picture = OpenPicture(labels.picture)
        reduction = reduction_to_keep(picture.size, largest_size, picture.reductions)
        return *picture.size, reduction, labels.seg_map is not None

    places = [(source, index) for source in sources for index in range(len(source))]
    with ThreadPoolExecutor(threads) as pool:
        found: Iterator[tuple[int, int, int, bool]] = pool.map(measure_one, places)
        if show_progress:
            found = with_progress(found, len(places), "measuring pictures")
        rows = np.array(list(found), np.int64).reshape(-1, 4)
    return lay_out(*rows.T)


def lay_out(
    widths: np.ndarray, heights: np.ndarray, reductions: np.ndarray, has_map: np.ndarray
) -> Layout:
    """One picture after another; arguments are (N,) and as in `Layout`."""
    stored = -(-widths // reductions) * -(-heights // reductions)
    map_sizes = widths * heights * has_map
    map_starts = np.cumsum(map_sizes) - map_sizes
    return Layout(
        widths,
        heights,
        reductions,
        picture_starts=np.concatenate(([0], np.cumsum(stored))),
        map_starts=np.where(has_map, map_starts, NO_MAP),
        num_map_pixels=int(map_sizes.sum()),
    )


def reduction_to_keep(size: tuple[int, int], largest_size: int, reductions: Sequence[int]) -> int:
    """The most that a picture may be shrunk by once and for all.

    Even the smallest crop then has the pixels that `choose_reduction` wants it to keep.

    Args:
        size: width and height of the picture.
        largest_size: S.
        reductions: to choose from; holds 1.
    """
    of_a_crop = math.sqrt(size[0] * size[1] * CROP_AREA[0] * CROP_ASPECT[0])
    most = min(*size, of_a_crop) / (largest_size * PIXELS_TO_AVERAGE)
    return max((reduction for reduction in reductions if reduction <= most), default=1)


def require_room(layout: Layout, device: torch.device, free: int | None) -> None:
    """Raise InputError if the decoded set does not fit.

    Args:
        layout: of the set.
        device: where it shall lie, for the message.
        free: bytes there; None = unknown, then it is tried.
    """
    if free is None or layout.num_bytes <= free * SHARE_FOR_PICTURES:
        return
    raise InputError(
        f"the train split has {len(layout.widths)} pictures, which need "
        f"{size_text(layout.num_bytes)} decoded, and of {size_text(free)} free on {device} they "
        f"may take {SHARE_FOR_PICTURES:.0%}; use --input workers"
    )


def size_text(num_bytes: float) -> str:
    """For people: 10^6 or 10^9 bytes."""
    unit, name = (1e6, "MB") if num_bytes < 1e9 else (1e9, "GB")
    return f"{num_bytes / unit:.{1 if num_bytes < 10 * unit else 0}f} {name}"


def free_bytes(device: torch.device) -> int | None:
    """Memory that nobody uses; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if device.type == "cpu" and table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
