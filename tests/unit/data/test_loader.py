"""Training samples: the same whoever draws them, each image once a pass, errors in one piece."""

import gc
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from blitznet.classes import VOC_CLASSES
from blitznet.data.labels import ClassTable, PictureLabels
from blitznet.data.loader import (
    TrainingSamples,
    batch_positions,
    collate_samples,
    training_batches,
)
from blitznet.data.source import Subset
from blitznet.data.ssd_policy import Augmentation
from blitznet.data.voc import VocEntry, VocSource
from blitznet.errors import InputError, WorkerError
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Batch, Sample
from fixtures.make_fixtures import VOC_MINI

NUM_PICTURES = 6

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def make_samples(root: Path = VOC_MINI, seed: int = 0, size: int = 32) -> TrainingSamples:
    entry = VocEntry(root=root, image_set="Main/trainval", masks="SegmentationClass")
    return TrainingSamples([entry.open(Path(), VOC_CLASSES)], size, Augmentation(), seed)


def make_batches(num_workers: int, seed: int = 0) -> list[Batch]:
    positions = batch_positions(0, 4, 3, rank=0, world_size=1)
    return list(training_batches(make_samples(seed=seed), positions, num_workers))


def assert_same_batches(a: Sequence[Batch], b: Sequence[Batch]) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.sources == other.sources
        for name in ("images", "boxes", "labels", "has_boxes", "seg_maps"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def is_same(a: Sample | InputError, b: Sample | InputError) -> bool:
    assert isinstance(a, Sample)
    assert isinstance(b, Sample)
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


def test_another_seed_gives_other_samples() -> None:
    # Of one image, so that what differs is more than the order.
    source = Subset(
        VocEntry(root=VOC_MINI, image_set="Main/trainval").open(Path(), VOC_CLASSES), [0]
    )
    one, other = (TrainingSamples([source], 32, Augmentation(), s) for s in (0, 1))
    assert not is_same(one[0], other[0])


def test_another_seed_gives_another_order() -> None:
    one, other = make_samples(seed=0), make_samples(seed=1)
    assert [one.order.picture_at(p) for p in range(6)] != [
        other.order.picture_at(p) for p in range(6)
    ]


def test_a_picture_looks_different_in_the_next_pass() -> None:
    samples = make_samples()
    first = {samples.order.picture_at(p): samples[p] for p in range(NUM_PICTURES)}
    second = {
        samples.order.picture_at(p): samples[p] for p in range(NUM_PICTURES, 2 * NUM_PICTURES)
    }
    assert not any(is_same(first[picture], second[picture]) for picture in first)


def test_every_pass_is_a_permutation_of_its_own() -> None:
    samples = make_samples()
    pictures = [samples.order.picture_at(position) for position in range(5 * NUM_PICTURES)]
    passes = [tuple(pictures[i : i + NUM_PICTURES]) for i in range(0, len(pictures), NUM_PICTURES)]
    assert all(sorted(one) == list(range(NUM_PICTURES)) for one in passes)
    assert len(set(passes)) == len(passes)


def test_a_pass_runs_through_all_sources() -> None:
    source = VocEntry(root=VOC_MINI, image_set="Main/trainval").open(Path(), VOC_CLASSES)
    samples = TrainingSamples([source, source], 32, Augmentation(), seed=0)
    assert len(samples.order) == 12
    assert sorted(samples.order.picture_at(position) for position in range(12)) == list(range(12))


def test_batches_of_one_process_follow_each_other() -> None:
    positions = list(batch_positions(2, 5, 4, rank=0, world_size=1))
    assert positions == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19]]


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_positions_of_all_ranks_together_are_those_of_one_process(world_size: int) -> None:
    ranks = [batch_positions(3, 6, 8, rank, world_size) for rank in range(world_size)]
    joined = [[p for part in parts for p in part] for parts in zip(*ranks, strict=True)]
    assert joined == list(batch_positions(3, 6, 8, rank=0, world_size=1))


@forks
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_picture_arrives_as_an_error_that_names_it(tmp_path: Path, num_workers: int) -> None:
    root = shutil.copytree(VOC_MINI, tmp_path / "VOC")
    broken = root / "Annotations" / "000004.xml"
    broken.write_text("<annotation>")
    samples = make_samples(root)
    step = [samples.order.picture_at(position) for position in range(NUM_PICTURES)].index(3) // 2
    positions = batch_positions(0, 3, 2, rank=0, world_size=1)
    batches = training_batches(samples, positions, num_workers)
    assert len(list(islice(batches, step))) == step
    with pytest.raises(InputError) as raised:
        next(batches)
    assert str(raised.value).startswith(f"{broken} cannot be read as XML: ")
    assert "\n" not in str(raised.value)


def test_steps_are_taken_as_they_are_needed() -> None:
    endless = batch_positions(0, 10**9, 2, rank=0, world_size=1)
    (batch,) = islice(training_batches(make_samples(), endless, 0), 1)
    assert len(batch.sources) == 2


class DeadlySource(VocSource):
    """One image ends the process that reads it, as running out of memory does."""

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        if self.ids[index] == "000004":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().labels(index)


@forks
@pytest.mark.slow  # torch looks after its workers every five seconds
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_worker_that_dies_is_an_error_of_one_line(num_workers: int) -> None:
    entry = VocEntry(root=VOC_MINI, image_set="Main/trainval")
    source = DeadlySource(entry, Path(), ClassTable(VOC_CLASSES))
    samples = TrainingSamples([source], 32, Augmentation(), seed=0)
    batches = training_batches(samples, batch_positions(0, 3, 2, 0, 1), num_workers)
    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(WorkerError) as raised:
        list(batches)
    assert signal.getsignal(signal.SIGCHLD) is handler
    assert re.fullmatch(
        r"a process that prepares images died \(DataLoader worker .+\); if memory ran out, use "
        "fewer --workers, else look for a damaged image with blitznet check-data",
        str(raised.value),
    )
    assert multiprocessing.active_children() == []


@forks
def test_closing_early_ends_the_workers() -> None:
    endless = batch_positions(0, 10**9, 2, rank=0, world_size=1)
    batches = training_batches(make_samples(), endless, 2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
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


def test_boxes_and_labels_are_padded_to_the_largest_picture() -> None:
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
