"""One thread: a fixed order of summation, and no threads when a test forks. A small network."""

from collections.abc import Iterator

import pytest
import torch

from fixtures.tiny_run import use_small_network


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Same as `OMP_NUM_THREADS=1`, during a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `SmallNetwork`."""
    use_small_network(monkeypatch)
