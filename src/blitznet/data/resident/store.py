"""All pictures and maps of a split, decoded once, on the device that trains."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from blitznet.data.geometry import FILL_COLOUR, Objects
from blitznet.data.resident.layout import NO_MAP, Layout
from blitznet.data.resident.stored_labels import StoredSource
from blitznet.data.source import LabelSource
from blitznet.progress import with_progress


@dataclass(frozen=True)
class Store:
    """Pixels on the device, labels beside the processor.

    Attributes:
        pixels: (P, 3) uint8 RGB, all pictures row by row, one after another.
        map_ids: (M,) uint8 class ids, 255 = void, all maps likewise.
        layout: where each of them is.
        sources: the labels, in the order that the pictures came in.
        fill: (3,) uint8, `FILL_COLOUR`, there because to copy it every time would wait.
    """

    pixels: Tensor
    map_ids: Tensor
    layout: Layout
    sources: tuple[StoredSource, ...]
    fill: Tensor

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.pixels.device


def load_store(
    sources: Sequence[LabelSource],
    layout: Layout,
    device: torch.device,
    threads: int,
    show_progress: bool = True,
) -> Store:
    """Decode every picture and map.

    Args:
        sources: concatenated.
        layout: of them.
        device: for the pixels.
        threads: that decode; libjpeg and zlib let others work meanwhile.
        show_progress: to people.

    Raises:
        InputError: for the first picture that cannot be used.
    """
    num_pixels = int(layout.picture_starts[-1])
    pixels = torch.empty((num_pixels, 3), dtype=torch.uint8, device=device)
    map_ids = torch.empty(layout.num_map_pixels, dtype=torch.uint8, device=device)

    def load(place: tuple[int, LabelSource, int]) -> tuple[str, Objects]:
        number, source, index = place
        sample = source.open(index)
        picture = np.array(sample.picture.decode(int(layout.reductions[number])))
        start, end = layout.picture_starts[number : number + 2]
        pixels[start:end].copy_(torch.from_numpy(picture.reshape(-1, 3)))
        start = layout.map_starts[number]
        if start != NO_MAP:
            assert sample.seg_map is not None
            ids = torch.from_numpy(np.array(sample.seg_map).reshape(-1))
            map_ids[start : start + len(ids)].copy_(ids)
        return sample.source, Objects(sample.boxes, sample.labels, sample.difficult)

    places = [(source, index) for source in sources for index in range(len(source))]
    numbered = [(number, *place) for number, place in enumerate(places)]
    pool = ThreadPoolExecutor(threads)
    try:
        loaded: Iterator[tuple[str, Objects]] = pool.map(load, numbered)
        if show_progress:
            loaded = with_progress(loaded, len(numbered), "decoding pictures", has_speed=True)
        rows = list(loaded)
    finally:
        pool.shutdown(cancel_futures=True)  # of the rest, where one picture cannot be used
    ends = list(accumulate(map(len, sources)))
    stored = (
        StoredSource(
            end - len(source),
            [name for name, _ in rows[end - len(source) : end]],
            [objects for _, objects in rows[end - len(source) : end]],
            source.table.known,
            layout,
        )
        for source, end in zip(sources, ends, strict=True)
    )
    fill = torch.tensor(FILL_COLOUR, dtype=torch.uint8, device=device)
    return Store(pixels, map_ids, layout, tuple(stored), fill)
