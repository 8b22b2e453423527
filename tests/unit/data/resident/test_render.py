"""Pictures and maps made on the device are those that Pillow makes, and slow loops."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from blitznet.classes import IGNORE_INDEX
from blitznet.data.geometry import FILL_COLOUR, View, view_sample, whole_view
from blitznet.data.photometric import draw_distortion
from blitznet.data.pieces import Piece
from blitznet.data.resident import render as render_module
from blitznet.data.resident.layout import lay_out
from blitznet.data.resident.plan import Plan, plan_batch
from blitznet.data.resident.render import join_tiles, render
from blitznet.data.resident.store import Store
from blitznet.data.resident.stored_labels import StoredPicture
from blitznet.data.ssd_policy import Augmentation, Change, apply_change, draw_view
from blitznet.structures import Batch, Sample
from reference.resample_loops import bilinear_view, nearest_view

CPU = torch.device("cpu")


def noise(width: int, height: int, has_map: bool = True) -> Sample:
    """A picture and a map of noise with one box."""
    rng = np.random.default_rng(width * height)
    return Sample(
        image=rng.integers(0, 256, (height, width, 3), np.uint8),
        boxes=np.float32([[0, 0, width, height]]),
        labels=np.ones(1, np.int64),
        difficult=np.zeros(1, bool),
        seg_map=rng.integers(0, 21, (height, width), np.uint8) if has_map else None,
        source=f"{width}x{height}",
    )


def store_of(samples: list[Sample], device: torch.device = CPU) -> Store:
    """A store of decoded samples."""
    sizes = np.array([sample.size for sample in samples])
    has_map = np.array([sample.seg_map is not None for sample in samples])
    layout = lay_out(*sizes.T, np.ones_like(has_map, np.int64), has_map)
    pixels = [sample.image.reshape(-1, 3) for sample in samples]
    maps = [sample.seg_map.ravel() for sample in samples if sample.seg_map is not None]
    return Store(
        pixels=torch.from_numpy(np.concatenate(pixels)).to(device),
        map_ids=torch.from_numpy(np.concatenate([np.zeros(0, np.uint8), *maps])).to(device),
        layout=layout,
        sources=(),
        fill=torch.tensor(FILL_COLOUR, dtype=torch.uint8, device=device),
    )


def plan_of(samples: list[Sample], changes: list[Change], size: int, store: Store) -> Plan:
    """One whole picture a sample."""
    stored = [
        StoredPicture(number, s.size, s.boxes, s.labels, s.difficult, s.source, None)
        for number, s in enumerate(samples)
    ]
    pieces = [[Piece(one, c, size)] for one, c in zip(stored, changes, strict=True)]
    return plan_batch(store.layout, pieces)


def render_views(samples: list[Sample], views: list[View], size: int) -> Batch:
    store = store_of(samples)
    return render(plan_of(samples, [Change(view, None) for view in views], size, store), store)


VIEWS = [
    View(0, 0, 23, 17),
    View(-9.3, -4.1, 40.2, 21.5, flip=True),  # zoomed out: shrunk, grey all around
    View(3.25, 2.5, 11.5, 9.75),  # enlarged
    View(3.0, -60.0, 20.0, 17.0, flip=True),  # each axis its own scale
    View(-30.0, 0.0, -2.0, 17.0),  # beside the picture
]


def test_every_pixel_is_what_slow_loops_say() -> None:
    samples = [noise(23, 17)] * len(VIEWS)
    batch = render_views(samples, VIEWS, 16)
    for index, view in enumerate(VIEWS):
        image = batch.images[index].permute(1, 2, 0).numpy()
        expected = bilinear_view(samples[0].image, view, 16, FILL_COLOUR)
        np.testing.assert_allclose(image, expected, atol=0.501)  # rounded, once
        assert samples[0].seg_map is not None
        expected_map = nearest_view(samples[0].seg_map, view, 16, IGNORE_INDEX)
        np.testing.assert_array_equal(batch.seg_maps[index].numpy(), expected_map)


def test_a_view_of_the_same_size_is_the_picture_itself() -> None:
    sample = noise(24, 24)
    batch = render_views([sample], [whole_view(24, 24)], 24)
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), sample.image)
    np.testing.assert_array_equal(batch.seg_maps[0].numpy(), sample.seg_map)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 99), st.integers(1, 99), st.integers(8, 50))
def test_drawn_views_look_as_pillow_makes_them(
    seed: int, width: int, height: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = [noise(width, height), noise(height, width, has_map=False)]
    views = [draw_view(sample.size, sample.boxes, Augmentation(), rng) for sample in samples]
    batch = render_views(samples, views, size)
    for index, (sample, view) in enumerate(zip(samples, views, strict=True)):
        expected = view_sample(sample, view, size, 2.0)
        image = batch.images[index].permute(1, 2, 0).numpy()
        # Pillow rounds twice, after columns and after rows.
        np.testing.assert_allclose(image, expected.image.astype(float), atol=2)
        assert abs(image - expected.image.astype(float)).mean() < 0.5
        expected_map = np.uint8(IGNORE_INDEX) if expected.seg_map is None else expected.seg_map
        assert (batch.seg_maps[index].numpy() == expected_map).all()
        assert expected.boxes is not None
        kept = batch.boxes[index, : len(expected.boxes)].numpy()
        np.testing.assert_array_equal(kept, expected.boxes)


@pytest.mark.parametrize("seed", range(6))
def test_colours_are_distorted_as_pillow_does_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample, size = noise(40, 30), 24
    change = Change(draw_view(sample.size, None, Augmentation(), rng), draw_distortion(rng))
    store = store_of([sample])
    batch = render(plan_of([sample], [change], size, store), store)
    expected = apply_change(sample, change, size).image.astype(float)
    difference = abs(batch.images[0].permute(1, 2, 0).numpy() - expected)
    # A grey level of the picture before may be another one, and grows by at most 1.5 x 1.5 and hue.
    assert difference.max() <= 5
    assert difference.mean() < 0.7


def test_pictures_rendered_one_by_one_are_those_rendered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples, views = [noise(23, 17), noise(90, 40), noise(5, 70)], VIEWS[:3]
    at_once = render_views(samples, views, 16)
    monkeypatch.setattr(render_module, "PIXELS_AT_ONCE", 1)
    one_by_one = render_views(samples, views, 16)
    assert (at_once.images.int() - one_by_one.images.int()).abs().max() <= 1  # sums' order
    assert torch.equal(at_once.seg_maps, one_by_one.seg_maps)


def test_half_precision_is_a_grey_level_off_at_most() -> None:
    samples = [noise(230, 170)] * len(VIEWS)
    views = [View(v.x1 * 10, v.y1 * 10, v.x2 * 10, v.y2 * 10, v.flip) for v in VIEWS]
    store = store_of(samples)
    (tiles,) = plan_of(samples, [Change(view, None) for view in views], 32, store).tiles
    half, full = (
        render_module.resample_some(tiles, store, slice(0, 5), dtype).int()
        for dtype in (torch.float16, torch.float32)
    )
    assert (half - full).abs().max() <= 1
    assert (half != full).float().mean() < 0.25


def test_tiles_are_joined_in_reading_order() -> None:
    tiles = torch.arange(8).view(8, 1, 1, 1).expand(8, 2, 3, 1)[:, :, :2]
    joined = join_tiles(tiles, 2)
    assert joined.shape == (2, 4, 4, 1)
    assert joined[1, :, :, 0].tolist() == [[4, 4, 5, 5]] * 2 + [[6, 6, 7, 7]] * 2


class Waits(TorchDispatchMode):
    """Notes the operations that would have the processor wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        shapes_by_value = torch.Tag.dynamic_output_shape in function.tags
        if torch.Tag.data_dependent_output in function.tags or shapes_by_value:
            self.seen.append(str(function))
        return function(*args, **kwargs or {})


@pytest.mark.slow  # to enter the mode, torch loads its compiler
def test_the_processor_never_looks_at_what_the_device_has() -> None:
    samples, rng = [noise(23, 17), noise(40, 30)], np.random.default_rng(0)
    store = store_of(samples)
    changes = [Change(view, draw_distortion(rng)) for view in VIEWS[:2]]
    plan = plan_of(samples, changes, 16, store)
    with Waits() as waits:
        render(plan, store)
    assert waits.seen == []
    with Waits() as waits:
        store.pixels.max().item()
    assert waits.seen != []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_and_is_never_waited_for() -> None:
    samples, rng = [noise(230, 170), noise(400, 300)], np.random.default_rng(0)
    changes = [Change(View(-20, -10, 210, 180, True), draw_distortion(rng))] * 2
    store, device = store_of(samples), torch.device("cuda", 0)
    plan = plan_of(samples, changes, 96, store)
    expected = render(plan, store)
    on_gpu, pinned = store_of(samples, device), plan.pin_memory()
    render(pinned.to(device), on_gpu)  # the first time cuBLAS may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = render(pinned.to(device), on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    difference = (batch.images.cpu().int() - expected.images.int()).abs().float()
    assert difference.mean() < 0.3
    assert torch.equal(batch.seg_maps.cpu(), expected.seg_maps)


def test_a_plan_moves_to_another_device_as_a_whole() -> None:
    store = store_of([noise(8, 8)])
    plan = plan_of([noise(8, 8)], [Change(whole_view(8, 8), None)], 8, store)
    moved = plan.to(torch.device("meta"))
    parts = (moved, moved.tiles[0], moved.tiles[0].x, moved.tiles[0].y)
    values = [value for part in parts for value in vars(part).values()]
    assert {value.device.type for value in values if isinstance(value, torch.Tensor)} == {"meta"}
