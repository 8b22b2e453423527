"""A store in main memory as a source of samples: as from files, without decoding."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from blitznet.data.loader import TrainingSamples, make_sample
from blitznet.data.resident.layout import NO_MAP
from blitznet.data.resident.store import Store
from blitznet.data.resident.stored_labels import StoredSource
from blitznet.data.source import UnreadSample
from blitznet.errors import InputError
from blitznet.structures import Sample


class DecodedPicture:
    """Pixels in a store, as an `OpenPicture` has them; see there.

    Args:
        pixels: (h, w, 3) uint8, the picture shrunk by `reduction`.
        size: width and height of the whole picture.
        reduction: the only one that it can be had at.
    """

    def __init__(self, pixels: np.ndarray, size: tuple[int, int], reduction: int):
        self.size = size
        self.reductions = (reduction,)
        self._pixels = pixels

    def decode(self, reduction: int = 1) -> Image.Image:
        """The picture as it lies there."""
        assert reduction in self.reductions
        return Image.fromarray(self._pixels)


class DecodedSource:
    """Pictures with labels from a store.

    Args:
        store: in main memory.
        source: one of its sources.
    """

    def __init__(self, store: Store, source: StoredSource):
        self._store = store
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def open(self, index: int) -> UnreadSample:
        """See `LabelSource`; nothing can be wrong any more."""
        stored, layout = self._source.open(index), self._store.layout
        number, (width, height) = stored.number, stored.size
        start, end = layout.picture_starts[number : number + 2]
        rows = layout.stored_heights[number]
        pixels = self._store.pixels[start:end].numpy().reshape(rows, -1, 3)
        seg_map, map_start = None, layout.map_starts[number]
        if map_start != NO_MAP:
            ids = self._store.map_ids[map_start : map_start + width * height]
            seg_map = ids.numpy().reshape(height, width)
        return UnreadSample(
            picture=DecodedPicture(pixels, stored.size, int(layout.reductions[number])),
            boxes=stored.boxes,
            labels=stored.labels,
            difficult=stored.difficult,
            seg_map=seg_map,
            source=stored.source,
            known_classes=stored.known_classes,
        )


class DecodedSamples(Dataset[Sample | InputError]):
    """The samples of a run by position, their pictures from a store in main memory.

    Args:
        samples: of the run; the files that they read are not touched.
        store: of their pictures. Worker processes share it.
    """

    def __init__(self, samples: TrainingSamples, store: Store):
        self._samples = samples
        self._sources: Sequence[DecodedSource] = [DecodedSource(store, s) for s in store.sources]

    def __getitem__(self, position: int) -> Sample | InputError:
        return make_sample(self._samples.draw(position, self._sources))
