import os
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ray")

from blitznet.cluster.batch_report import BatchReport
from blitznet.cluster.listing import Item
from blitznet.cluster.parts import id_digest
from blitznet.cluster.predict_batch import (
    _new_shards,
    _parse_workers,
    _require_descriptors,
    predict_batch,
)
from blitznet.errors import InputError


@pytest.mark.parametrize(
    ("workers", "found"), [(None, (1, None)), (4, (1, 4)), ("4", (1, 4)), ("2:8", (2, 8))]
)
def test_workers_are_a_number_or_a_range(
    workers: str | int | None, found: tuple[int, int | None]
) -> None:
    assert _parse_workers(workers) == found


@pytest.mark.parametrize("workers", ["0", "8:2", "2:", "many", -1])
def test_other_workers_are_refused(workers: str | int) -> None:
    with pytest.raises(InputError, match=f"a number or MINIMUM:MAXIMUM, .* got {workers!r}"):
        _parse_workers(workers)


@pytest.mark.parametrize("name", ["limit", "shard_size", "cpus_per_worker"])
def test_nothing_is_no_number(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        predict_batch(tmp_path, tmp_path / "out", **{name: 0})  # type: ignore[arg-type]


def test_a_later_run_cuts_its_input_alike() -> None:
    names = ["0", "1", "2", "3", "4", "5", "6", "6", "caf\udce9.jpg", "8", "caf\\udce9.jpg"]
    seen = set(map(id_digest, ("3", "4", "5")))
    shards = _new_shards([Item(name, name) for name in names], seen, 3)
    found = [(index, [item.id for item in shard]) for index, shard in shards]
    assert found == [(0, ["0", "1", "2"]), (2, ["6", "caf\udce9.jpg"]), (3, ["8"])]
    assert len(seen) == 9


def test_a_report_is_one_line() -> None:
    report = BatchReport(100, 900, Counter(damaged=9), Counter(a=450, b=450), seconds=10)
    assert str(report) == (
        "900 images done, 100 before, 9 errors; 90.0 images/s, 45.0 of each of 2 workers"
    )
    assert str(BatchReport(3)) == "0 images done, 3 before, 0 errors"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_too_few_files_for_ray_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(OSError, match=r"^only 64 files may be open; try `ulimit -n 256`$"):
        _require_descriptors()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))  # no limit
    _require_descriptors()
