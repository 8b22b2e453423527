"""Decoded pictures, maps and labels are those of the files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.class_table import ClassTable
from blitznet.data.labels import PictureLabels
from blitznet.data.resident.layout import NO_MAP, measure
from blitznet.data.resident.store import load_store
from blitznet.data.source import LabelSource
from blitznet.data.voc import VocSource
from blitznet.errors import InputError
from fixtures.make_fixtures import VOC_MINI
from fixtures.mixed_sources import mixed_sources

CPU = torch.device("cpu")


def test_everything_lies_where_the_layout_says() -> None:
    sources = mixed_sources()
    store = load_store(sources, layout := measure(sources, 48, 2), CPU, threads=2)
    number = 0
    for source, stored in zip(sources, store.sources, strict=True):
        assert len(source) == len(stored)
        for index in range(len(source)):
            sample, kept = source.read(index), stored.open(index)
            assert (kept.number, kept.size, kept.source) == (number, sample.size, sample.source)
            start, end = layout.picture_starts[number : number + 2]
            pixels = store.pixels[start:end].numpy()
            np.testing.assert_array_equal(pixels, sample.image.reshape(-1, 3))
            start = layout.map_starts[number]
            assert (start == NO_MAP) == (sample.seg_map is None)
            if sample.seg_map is not None:
                ids = store.map_ids[start : start + sample.seg_map.size].numpy()
                np.testing.assert_array_equal(ids, sample.seg_map.ravel())
            assert (kept.boxes is None) == (sample.boxes is None)
            for name in ("boxes", "labels", "difficult", "known_classes"):
                np.testing.assert_array_equal(getattr(kept, name), getattr(sample, name))
            number += 1
    assert number == len(layout.widths)


def test_the_store_holds_as_many_bytes_as_were_told_before() -> None:
    sources = mixed_sources()
    store = load_store(sources, layout := measure(sources, 48, 2), CPU, threads=2)
    assert store.pixels.numel() + store.map_ids.numel() == layout.num_bytes


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    root = shutil.copytree(VOC_MINI, tmp_path / "VOC")
    broken = root / "JPEGImages" / "000003.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    source = VocSource(root, "Main/trainval", ClassTable(VOC_CLASSES), True, None)
    layout = measure([source], 48, threads=2)
    with pytest.raises(InputError, match=rf"^{broken}: damaged or cut off"):
        load_store([source], layout, CPU, threads=2)


class OnePicture(LabelSource):
    """A picture file without labels but one box-less statement."""

    def __init__(self, path: Path):
        self.table = ClassTable(VOC_CLASSES)
        self.path = path

    def __len__(self) -> int:
        return 1

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        del index
        return PictureLabels(self.path, ())


@pytest.mark.parametrize(("suffix", "side"), [("jpg", 100), ("png", 200)])
def test_a_jpeg_with_pixels_to_spare_is_shrunk_while_it_is_decoded(
    tmp_path: Path, suffix: str, side: int
) -> None:
    colours = np.linspace(0, 255, 200).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.repeat(np.repeat(colours[None], 200, 0)[..., None], 3, 2)).save(path)
    sources = [OnePicture(path)]
    layout = measure(sources, 16, threads=1)
    store = load_store(sources, layout, CPU, threads=1)
    assert store.pixels.shape == (side * side, 3)
    expected = colours.reshape(side, -1).mean(axis=1)
    row = store.pixels[:side, 0].numpy()
    np.testing.assert_allclose(row, expected, atol=3)  # JPEG's losses
    assert store.sources[0].open(0).size == (200, 200)
