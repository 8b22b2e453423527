"""Modes of input give the same batches, or say why they cannot."""

import pytest
import torch

from blitznet.data import input_mode
from blitznet.data.input_mode import InputMode, open_batches
from blitznet.data.loader import batch_positions
from blitznet.errors import InputError
from blitznet.structures import Batch
from fixtures.mixed_sources import mixed_samples


def batches_of(mode: InputMode, processes: int = 1) -> list[Batch]:
    positions = batch_positions(0, 3, 4, rank=0, world_size=1)
    cpu = torch.device("cpu")
    return list(open_batches(mode, mixed_samples(), positions, 0, cpu, 48, processes))


def test_both_modes_give_the_same_batches() -> None:
    for one, other in zip(batches_of("workers"), batches_of("device"), strict=True):
        assert one.sources == other.sources
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.seg_maps, other.seg_maps)


def test_processes_share_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_mode, "free_bytes", lambda _: 400_000)
    batches_of("device")
    with pytest.raises(InputError, match=r"of 0\.1 MB free on cpu .*; use --input workers$"):
        batches_of("device", processes=4)
