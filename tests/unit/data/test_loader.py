"""Training samples: the same in any process, each image once per pass, errors passed on."""

import errno
import gc
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from blitznet.classes import VOC_CLASSES
from blitznet.data import loader
from blitznet.data.labels import ImageLabels
from blitznet.data.loader import (
    TrainingSamples,
    batch_positions,
    collate_samples,
    prepare_ahead,
)
from blitznet.data.source import ImageFiles
from blitznet.data.ssd_policy import Augmentation
from blitznet.data.voc import VocEntry
from blitznet.errors import InputError, WorkerError
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Batch, Sample
from fixtures.make_fixtures import VOC_MINI

NUM_IMAGES = 6

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def make_samples(root: Path = VOC_MINI, seed: int = 0, size: int = 32) -> TrainingSamples:
    entry = VocEntry(root=root, image_set="Main/trainval", masks="SegmentationClass")
    return TrainingSamples([entry.open(Path(), VOC_CLASSES)], size, Augmentation(), seed)


def make_batches(num_workers: int, seed: int = 0) -> list[Batch]:
    positions = batch_positions(0, 4, 3, rank=0, world_size=1)
    return list(prepare_ahead(make_samples(seed=seed), positions, collate_samples, num_workers))


def assert_same_batches(a: Sequence[Batch], b: Sequence[Batch]) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.sources == other.sources
        for name in ("images", "boxes", "labels", "has_boxes", "seg_maps"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def is_same(a: Sample | InputError, b: Sample | InputError) -> bool:
    return a.source == b.source and np.array_equal(a.image, b.image)


@forks
@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_workers_changes_nothing(num_workers: int) -> None:
    assert_same_batches(make_batches(num_workers), make_batches(0))


def test_a_sample_depends_on_seed_and_position_alone() -> None:
    samples, fresh = make_samples(), make_samples()
    forwards = [samples[position] for position in range(14)]
    backwards = [fresh[position] for position in reversed(range(14))]
    assert all(map(is_same, forwards, reversed(backwards)))
    other = make_samples(seed=1)
    assert not any(map(is_same, forwards, (other[position] for position in range(14))))


def test_an_image_looks_different_in_the_next_pass() -> None:
    samples = make_samples()
    first = {samples.order.image_at(p): samples[p] for p in range(NUM_IMAGES)}
    second = {samples.order.image_at(p): samples[p] for p in range(NUM_IMAGES, 2 * NUM_IMAGES)}
    assert not any(is_same(first[image], second[image]) for image in first)


def test_a_pass_runs_through_all_sources() -> None:
    source = VocEntry(root=VOC_MINI, image_set="Main/trainval").open(Path(), VOC_CLASSES)
    samples = TrainingSamples([source, source], 32, Augmentation(), seed=0)
    assert len(samples.order) == 12
    assert sorted(samples.order.image_at(position) for position in range(12)) == list(range(12))


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_positions_of_all_ranks_together_are_those_of_one_process(world_size: int) -> None:
    ranks = [batch_positions(3, 6, 8, rank, world_size) for rank in range(world_size)]
    assert next(iter(ranks[0])) == list(range(24, 24 + 8 // world_size))
    ranks = [batch_positions(3, 6, 8, rank, world_size) for rank in range(world_size)]
    joined = [[p for part in parts for p in part] for parts in zip(*ranks, strict=True)]
    assert joined == list(batch_positions(3, 6, 8, rank=0, world_size=1))


@forks
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_image_arrives_as_an_error_that_names_it(tmp_path: Path, num_workers: int) -> None:
    root = shutil.copytree(VOC_MINI, tmp_path / "VOC")
    broken = root / "Annotations" / "000004.xml"
    broken.write_text("<annotation>")
    samples = make_samples(root)
    step = [samples.order.image_at(position) for position in range(NUM_IMAGES)].index(3) // 2
    positions = batch_positions(0, 3, 2, rank=0, world_size=1)
    batches = prepare_ahead(samples, positions, collate_samples, num_workers)
    assert len(list(islice(batches, step))) == step
    with pytest.raises(InputError) as raised:
        next(batches)
    assert str(raised.value).startswith(f"{broken} cannot be read as XML: ")
    assert "\n" not in str(raised.value)


def test_steps_are_taken_as_they_are_needed() -> None:
    endless = batch_positions(0, 10**9, 2, rank=0, world_size=1)
    (batch,) = islice(prepare_ahead(make_samples(), endless, collate_samples, 0), 1)
    assert len(batch.sources) == 2


@forks
@pytest.mark.slow  # torch checks its workers every five seconds
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_worker_that_dies_is_an_error_of_one_line(num_workers: int) -> None:
    source = VocEntry(root=VOC_MINI, image_set="Main/trainval").open(Path(), VOC_CLASSES)

    def read_labels(files: ImageFiles) -> ImageLabels:
        if files.name == "000004":  # like running out of memory
            os.kill(os.getpid(), signal.SIGKILL)
        return source.read_labels(files)

    deadly = replace(source, read_labels=read_labels)
    samples = TrainingSamples([deadly], 32, Augmentation(), seed=0)
    positions = batch_positions(0, 3, 2, 0, 1)
    batches = prepare_ahead(samples, positions, collate_samples, num_workers)
    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(WorkerError) as raised:
        list(batches)
    assert signal.getsignal(signal.SIGCHLD) is handler
    assert re.fullmatch(
        r"a data-loading process died \(DataLoader worker .+\); if memory ran out, use "
        "fewer --workers, else look for a damaged image with blitznet check-data",
        str(raised.value),
    )
    assert multiprocessing.active_children() == []


@forks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_of_processes_leaves_the_workers(number: signal.Signals) -> None:
    endless = batch_positions(0, 10**9, 2, rank=0, world_size=1)
    batches = prepare_ahead(make_samples(), endless, collate_samples, 1, prefetch=1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, number)
    assert len(list(islice(batches, 5))) == 5
    batches.close()
    gc.collect()
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_while_it_hands_over_a_batch_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hand_over() -> Iterator[Batch]:
        yield from ()
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(loader, "_start", lambda _: hand_over())
    with pytest.raises(WorkerError, match=r"died \(Connection reset by peer\); if memory ran out"):
        next(prepare_ahead(make_samples(), [[0]], collate_samples, 1))


@forks
def test_more_workers_than_cores_are_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._utils, "cpu_count", lambda: 1)
    assert len(make_batches(num_workers=2)) == 4


@forks
def test_shared_memory_that_is_full_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def share(tensor: Tensor) -> Tensor:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", share)
    with pytest.raises(InputError) as raised:
        next(prepare_ahead(make_samples(), [[0]], collate_samples, 1))
    assert str(raised.value) == (
        "a batch cannot be handed over (unable to allocate shared memory(shm): No space left on "
        "device (28)); use fewer --workers, or allow more shared memory (docker run --shm-size 2g) "
        "or more open files (ulimit -n)"
    )


def test_workers_that_cannot_be_started_are_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def queue() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.multiprocessing, "Queue", queue)
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with pytest.raises(InputError) as raised:
        next(prepare_ahead(make_samples(), [[0]], collate_samples, 1))
    assert str(raised.value) == (
        "worker processes cannot be started (No space left on device); use --workers 0, or make "
        "room in /dev/shm"
    )
    del raised
    gc.collect()
    assert complaints == []


def test_an_error_of_the_code_itself_is_not_taken_for_a_dead_worker() -> None:
    class Broken(Dataset[int]):
        def __getitem__(self, position: int) -> int:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        next(prepare_ahead(Broken(), [[0]], list, 0))


@forks
def test_closing_early_ends_the_workers() -> None:
    endless = batch_positions(0, 10**9, 2, rank=0, world_size=1)
    batches = prepare_ahead(make_samples(), endless, collate_samples, 2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    gc.collect()
    assert multiprocessing.active_children() == []


SIDE = 3  # of the samples to collate


def labelled(
    boxes: list[list[float]] | None,
    labels: tuple[int, ...] = (),
    difficult: tuple[bool, ...] = (),
    seg_value: int | None = None,
    colour: int = 0,
    source: str = "",
) -> Sample:
    return Sample(
        image=np.full((SIDE, SIDE, 3), (colour, colour + 1, colour + 2), np.uint8),
        boxes=None if boxes is None else np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.array(difficult, bool),
        seg_map=None if seg_value is None else np.full((SIDE, SIDE), seg_value, np.uint8),
        source=source,
    )


def test_boxes_and_labels_are_padded_to_the_largest_image() -> None:
    batch = collate_samples(
        [
            labelled([[0, 0, 1, 2]], (4,), (False,)),
            labelled([[0, 1, 2, 3], [1, 1, 3, 2]], (5, 6), (False, False)),
        ]
    )
    assert batch.boxes.tolist() == [[[0, 0, 1, 2], [0, 0, 0, 0]], [[0, 1, 2, 3], [1, 1, 3, 2]]]
    assert batch.labels.tolist() == [[4, PADDING_LABEL], [5, 6]]
    assert (batch.boxes.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
    assert batch.has_boxes.tolist() == [True, True]


def test_a_difficult_box_keeps_its_place_with_the_label_to_ignore() -> None:
    batch = collate_samples([labelled([[0, 0, 1, 2], [0, 1, 2, 3]], (4, 5), (True, False))])
    assert batch.boxes.tolist() == [[[0, 0, 1, 2], [0, 1, 2, 3]]]
    assert batch.labels.tolist() == [[IGNORE_LABEL, 5]]


def test_no_objects_and_no_box_labels_are_different_things() -> None:
    batch = collate_samples([labelled([]), labelled(None, seg_value=1)])
    assert batch.has_boxes.tolist() == [True, False]
    assert batch.boxes.shape == (2, 0, 4)
    assert batch.labels.shape == (2, 0)


def test_a_missing_map_is_void_everywhere() -> None:
    batch = collate_samples([labelled([], seg_value=7), labelled([])])
    assert batch.seg_maps.tolist() == [[[7] * SIDE] * SIDE, [[255] * SIDE] * SIDE]
    assert batch.seg_maps.dtype == torch.uint8


def test_images_become_channels_first_in_shape_and_stay_channels_last_in_memory() -> None:
    batch = collate_samples([labelled([], colour=10, source="a"), labelled([], source="b")])
    assert batch.images.shape == (2, 3, SIDE, SIDE)
    assert batch.images.dtype == torch.uint8
    assert batch.images[0, :, 0, 0].tolist() == [10, 11, 12]
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.sources == ("a", "b")
