"""Where decoded pictures lie, how far they are shrunk, and what is said if they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blitznet.data.geometry import choose_reduction
from blitznet.data.resident.layout import (
    NO_MAP,
    free_bytes,
    lay_out,
    measure,
    reduction_to_keep,
    require_room,
    size_text,
)
from blitznet.data.source import Subset
from blitznet.data.ssd_policy import Augmentation, draw_view
from blitznet.errors import InputError
from fixtures.mixed_sources import mixed_sources

REDUCTIONS = (1, 2, 4, 8)


def test_pictures_and_maps_lie_one_behind_the_other() -> None:
    layout = lay_out(
        widths=np.array([4, 7, 5]),
        heights=np.array([3, 5, 2]),
        reductions=np.array([1, 2, 1]),
        has_map=np.array([1, 0, 1]),
    )
    assert layout.stored_widths.tolist() == [4, 4, 5]
    assert layout.stored_heights.tolist() == [3, 3, 2]
    assert layout.picture_starts.tolist() == [0, 12, 24, 34]
    assert layout.map_starts.tolist() == [0, NO_MAP, 12]
    assert layout.num_map_pixels == 22
    assert layout.num_bytes == 3 * 34 + 22


def test_sources_are_measured_in_their_order_without_decoding() -> None:
    sources = mixed_sources()
    layout = measure(sources, 300, threads=2)
    samples = [source.read(index) for source in sources for index in range(len(source))]
    assert list(zip(layout.widths, layout.heights, strict=True)) == [s.size for s in samples]
    assert (layout.map_starts != NO_MAP).tolist() == [s.seg_map is not None for s in samples]
    assert set(layout.reductions) == {1}


def test_no_pictures_need_no_room() -> None:
    layout = measure([Subset(mixed_sources()[0], [])], 300, threads=1)
    assert layout.num_bytes == 0
    assert len(layout.widths) == 0


@settings(max_examples=50)
@given(
    st.integers(16, 9000),
    st.integers(16, 9000),
    st.sampled_from([32, 300, 512]),
    st.integers(0, 2**32),
)
def test_no_view_misses_the_pixels_that_a_picture_is_stored_without(
    width: int, height: int, size: int, seed: int
) -> None:
    kept = reduction_to_keep((width, height), size, REDUCTIONS)
    view = draw_view((width, height), None, Augmentation(), np.random.default_rng(seed))
    assert choose_reduction(view, size, REDUCTIONS) >= kept


def test_phone_photographs_are_halved_and_those_of_voc_kept() -> None:
    assert reduction_to_keep((4032, 3024), 300, REDUCTIONS) == 2
    assert reduction_to_keep((500, 375), 300, REDUCTIONS) == 1
    assert reduction_to_keep((4032, 3024), 300, (1,)) == 1


def test_a_set_that_does_not_fit_is_told_with_what_it_needs() -> None:
    layout = lay_out(*np.array([[500], [400], [1], [1]]))
    assert layout.num_bytes == 800_000
    device = torch.device("cuda", 0)
    require_room(layout, device, 1_000_000)
    require_room(layout, device, None)
    with pytest.raises(InputError) as raised:
        require_room(layout, device, 999_999)
    assert str(raised.value) == (
        "the train split has 1 pictures, which need 0.8 MB decoded, and of 1.0 MB free on cuda:0 "
        "they may take 80%; use --input workers"
    )


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(123_456, "0.1 MB"), (56.7e6, "57 MB"), (9_312_000_000, "9.3 GB"), (23.6e9, "24 GB")],
)
def test_sizes_have_two_digits(num_bytes: int, text: str) -> None:
    assert size_text(num_bytes) == text


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux says it there")
def test_free_memory_is_told_in_bytes() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free < 2**50
    assert free_bytes(torch.device("meta")) is None
