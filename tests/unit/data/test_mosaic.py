"""Four samples as one: pixels, boxes and maps stay together."""

from pathlib import Path

import numpy as np
import pytest

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data import loader
from blitznet.data.loader import TrainingSamples
from blitznet.data.mosaic import mosaic
from blitznet.data.ssd_policy import Augmentation
from blitznet.data.voc import VocEntry
from blitznet.structures import Sample
from fixtures.make_fixtures import VOC_MINI


def tile(value: int, boxes: list[list[float]] | None = None, has_map: bool = True) -> Sample:
    """A sample of 10 x 10 pixels with one value in image and map."""
    return Sample(
        image=np.full((10, 10, 3), value, np.uint8),
        boxes=None if boxes is None else np.float32(boxes).reshape(-1, 4),
        labels=np.full(len(boxes or ()), value, np.int64),
        difficult=np.full(len(boxes or ()), value == 3, bool),
        seg_map=np.full((10, 10), value, np.uint8) if has_map else None,
        source=f"image {value}",
    )


def test_tiles_lie_in_reading_order_and_their_boxes_with_them() -> None:
    box = [1.0, 2.0, 3.0, 4.0]
    whole = mosaic([tile(1, [box]), tile(2, []), tile(3, [box]), tile(4, [box, box])])
    expected = np.repeat(np.repeat([[1, 2], [3, 4]], 10, axis=0), 10, axis=1)
    assert np.array_equal(whole.image, np.stack([expected] * 3, axis=2))
    assert np.array_equal(whole.seg_map, expected)
    assert whole.boxes.tolist() == [
        [1, 2, 3, 4],
        [1, 12, 3, 14],
        [11, 12, 13, 14],
        [11, 12, 13, 14],
    ]
    assert whole.boxes.dtype == np.float32
    assert whole.labels.tolist() == [1, 3, 4, 4]
    assert whole.difficult.tolist() == [False, True, False, False]
    assert whole.source == "image 1"


def test_a_tile_without_a_map_is_void_where_another_has_one() -> None:
    whole = mosaic([tile(1), tile(2, has_map=False), tile(3), tile(4)])
    assert whole.boxes is None
    assert (whole.seg_map[:10, 10:] == IGNORE_INDEX).all()
    assert (whole.seg_map == IGNORE_INDEX).sum() == 100
    assert mosaic([tile(n, has_map=False) for n in range(4)]).seg_map is None


def samples(probability: float, size: int = 32) -> TrainingSamples:
    source = VocEntry(root=VOC_MINI, image_set="Main/trainval").open(Path(), VOC_CLASSES)
    augmentation = Augmentation(zoom_out_probability=0, mosaic_probability=probability)
    return TrainingSamples([source], size, augmentation, seed=0)


def test_mosaics_are_as_often_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(number: int, probability: float, size: int = 32) -> float:
        made: list[int] = []
        monkeypatch.setattr(loader, "mosaic", lambda tiles: made.append(len(tiles)) or tiles[0])
        drawn = samples(probability, size)
        for position in range(number):
            drawn[position]
        assert set(made) <= {4}
        return len(made) / number

    assert (share(20, 0), share(20, 1)) == (0, 1)
    assert share(150, 0.3) == pytest.approx(0.3, abs=0.12)  # three standard deviations
    assert share(20, 1, size=33) == 0  # no two halves


def test_mosaics_repeat() -> None:
    one, again, another = samples(1)[7], samples(1)[7], samples(1)[8]
    assert np.array_equal(one.image, again.image)
    assert not np.array_equal(one.image, another.image)
    assert one.image.shape == (32, 32, 3)


def test_boxes_of_a_mosaic_do_not_cross_its_seams() -> None:
    drawn = samples(1)
    for position in range(20):
        sample = drawn[position]
        assert len(sample.boxes) > 0
        start, end = sample.boxes[:, :2] // 16, np.ceil(sample.boxes[:, 2:] / 16) - 1
        assert np.array_equal(start, end)
