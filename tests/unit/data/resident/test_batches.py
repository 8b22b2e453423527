"""Batches from a store are those from files, at every position, whoever makes them."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from blitznet.data.loader import TrainingSamples, batch_positions, training_batches
from blitznet.data.resident.batches import decoded_batches, rendered_batches
from blitznet.data.resident.layout import measure
from blitznet.data.resident.store import Store, load_store
from blitznet.structures import Batch
from fixtures.mixed_sources import mixed_samples, mixed_sources

SIZE, BATCH, STEPS = 48, 4, 8

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")

Maker = Callable[[TrainingSamples, Store, Iterator[list[int]], int], Iterator[Batch]]


@pytest.fixture(scope="module")
def store() -> Store:
    """Of all kinds of pictures."""
    sources = mixed_sources()
    return load_store(sources, measure(sources, SIZE, 2), torch.device("cpu"), threads=2)


def positions(first: int = 0) -> Iterator[list[int]]:
    return batch_positions(first, STEPS, BATCH, rank=0, world_size=1)


def from_files(samples: TrainingSamples) -> list[Batch]:
    return list(training_batches(samples, positions(), 0))


def assert_same_labels(batch: Batch, expected: Batch) -> None:
    assert batch.sources == expected.sources
    for name in ("boxes", "labels", "has_boxes", "seg_maps", "known_classes"):
        value, wanted = getattr(batch, name), getattr(expected, name)
        assert (value is None) == (wanted is None)
        assert value is None or torch.equal(value, wanted), name


@pytest.mark.parametrize(
    ("size", "strengths"), [(SIZE, {}), (33, {}), (32, {"photometric": False})]
)
def test_a_rendered_batch_is_that_from_files_up_to_rounding(
    store: Store, size: int, strengths: dict[str, Any]
) -> None:
    samples = mixed_samples(size, **strengths)
    made = list(rendered_batches(samples, store, positions(), 0))
    for batch, expected in zip(made, from_files(samples), strict=True):
        assert_same_labels(batch, expected)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        difference = (batch.images.int() - expected.images.int()).abs().float()
        assert difference.mean() < 0.3
        assert difference.max() <= 5


def test_a_decoded_batch_is_that_from_files_to_the_last_bit(store: Store) -> None:
    samples = mixed_samples()
    made = list(decoded_batches(samples, store, positions(), 0))
    for batch, expected in zip(made, from_files(samples), strict=True):
        assert_same_labels(batch, expected)
        assert torch.equal(batch.images, expected.images)


@forks
@pytest.mark.parametrize("make", [rendered_batches, decoded_batches])
def test_neither_workers_nor_the_first_step_change_a_batch(store: Store, make: Maker) -> None:
    alone = list(make(mixed_samples(), store, positions(), 0))[3:]
    resumed = list(make(mixed_samples(), store, positions(first=3), 2))
    for one, other in zip(alone, resumed, strict=True):
        assert_same_labels(one, other)
        assert torch.equal(one.images, other.images)
    assert multiprocessing.active_children() == []


@forks
def test_closing_early_ends_the_workers(store: Store) -> None:
    batches = rendered_batches(mixed_samples(), store, positions(), 2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_workers_that_do_not_fork_share_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = mixed_sources()
    own = load_store(sources, measure(sources, SIZE, 2), torch.device("cpu"), threads=1)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    decoded_batches(mixed_samples(), own, positions(), 0)
    assert not own.pixels.is_shared()
    before = own.pixels.clone()
    decoded_batches(mixed_samples(), own, positions(), 1)
    assert own.pixels.is_shared()
    assert own.map_ids.is_shared()
    np.testing.assert_array_equal(own.pixels.numpy(), before.numpy())
