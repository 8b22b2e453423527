"""Weights, rare classes and limits: counts of how often images are drawn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from blitznet.classes import VOC_CLASSES
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel
from blitznet.data.sampling import DrawOrder, draw_frequencies
from blitznet.data.source import LabelSource
from blitznet.data.voc import VocEntry
from fixtures.make_fixtures import VOC_MINI

TABLE = ClassTable(("background", "cat", "dog", "bus"))


def named_objects(*classes: list[str], weight: float = 1.0) -> LabelSource:
    """A source of images with nothing but classes."""

    def labels(names: list[str]) -> ImageLabels:
        objects = (ObjectLabel(name, (0, 0, 9, 9), "a.xml", "") for name in names)
        return ImageLabels(Path("a.jpg"), tuple(objects))

    return LabelSource(classes, labels, TABLE, weight)


def drawn(order: DrawOrder, passes: int) -> Counter[int]:
    return Counter(order.image_at(position) for position in range(passes * len(order)))


@pytest.mark.parametrize("count", [1, 7, 1000, 4139])
def test_with_equal_frequencies_every_pass_is_a_permutation(count: int) -> None:
    order = DrawOrder(np.full(count, 0.3), seed=3)
    for start in (0, count, 5 * count):
        positions = range(start, start + count)
        assert sorted(order.image_at(p) for p in positions) == list(range(count))


def test_whole_numbers_of_draws_come_exactly_so_often_in_every_pass() -> None:
    order = DrawOrder(np.array([3.0, 1.0, 1.0, 1.0, 1.5, 0.5, 0, 0]), seed=0)
    for start in range(0, 80, 8):
        counts = Counter(order.image_at(p) for p in range(start, start + 8))
        assert [counts[i] for i in range(4)] == [3, 1, 1, 1]
        assert counts[4] in (1, 2)
        assert counts[6] == counts[7] == 0


def test_over_many_passes_the_shares_are_those_of_the_frequencies() -> None:
    frequencies = np.random.default_rng(0).uniform(0.1, 4, 50)
    counts = drawn(DrawOrder(frequencies, seed=0), passes=400)
    expected = frequencies / frequencies.sum() * 400 * 50
    # A count differs from its share by less than one draw a pass: its variance is at most a quarter
    # of the passes, so five deviations are 50.
    np.testing.assert_allclose([counts[i] for i in range(50)], expected, rtol=0, atol=50)


def test_seed_and_position_alone_decide() -> None:
    frequencies = np.array([1.0, 2.5, 0.7, 1.1])
    order, fresh = DrawOrder(frequencies, 5), DrawOrder(frequencies, 5)
    forwards = [order.image_at(p) for p in range(40)]
    assert [fresh.image_at(p) for p in reversed(range(40))] == forwards[::-1]
    assert [DrawOrder(frequencies, 6).image_at(p) for p in range(40)] != forwards


def test_sources_are_drawn_by_weight() -> None:
    sources = [named_objects(*[[]] * 2), named_objects(*[[]] * 3, weight=2.5)]
    assert draw_frequencies(sources).tolist() == [1, 1, 2.5, 2.5, 2.5]


def test_rare_classes_are_drawn_by_the_square_root_of_what_is_missing() -> None:
    # Of ten images eight show a cat, two a dog, one of them a bus, too.
    source = named_objects(*[["cat"]] * 8, ["dog", "dog"], ["dog", "bus"])
    expected = [1.0] * 8 + [np.sqrt(0.4 / 0.2), np.sqrt(0.4 / 0.1)]
    np.testing.assert_allclose(draw_frequencies([source], 0.4), expected, rtol=1e-12)
    assert draw_frequencies([source], 0.1).tolist() == [1] * 10


def test_weights_and_balance_multiply() -> None:
    sources = [named_objects(["cat"], ["cat"], ["cat"]), named_objects(["dog"], weight=3)]
    assert draw_frequencies(sources, 1.0).tolist() == pytest.approx([(4 / 3) ** 0.5] * 3 + [6])


def test_an_image_without_boxes_shows_the_classes_of_its_map() -> None:
    entry = VocEntry(root=VOC_MINI, image_set="Segmentation/trainval")
    by_boxes = entry.open(Path(), VOC_CLASSES)
    maps_alone = entry.model_copy(update={"boxes": False, "masks": Path("SegmentationClass")})
    by_maps = maps_alone.open(Path(), VOC_CLASSES)
    assert draw_frequencies([by_maps], 0.9).tolist() == draw_frequencies([by_boxes], 0.9).tolist()


def test_unknown_names_are_left_to_the_reader() -> None:
    assert draw_frequencies([named_objects(["cat"], ["unicorn"])], 1.0).tolist() == pytest.approx(
        [2**0.5, 1]
    )


def test_a_cap_takes_the_same_images_every_time_and_keeps_weight_and_classes() -> None:
    def entry(cap: int | None) -> VocEntry:
        return VocEntry(
            format="voc", root=VOC_MINI, image_set="Main/trainval", weight=2, max_pictures=cap
        )

    capped, again = (entry(3).open(Path(), VOC_CLASSES) for _ in range(2))
    assert len(capped) == 3
    images = [capped.labels(i).path for i in range(3)]
    assert images == [again.labels(i).path for i in range(3)]
    assert len(set(images)) == 3
    assert capped.weight == 2
    assert capped.read(1).source == str(images[1])
    assert len(entry(99).open(Path(), VOC_CLASSES)) == len(entry(None).open(Path(), VOC_CLASSES))
