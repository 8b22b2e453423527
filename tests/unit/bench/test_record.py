"""The file of the speed benchmark comes back as it was, and others are refused in one line."""

from pathlib import Path

import pytest

from blitznet.bench.record import read_record, write_record
from blitznet.errors import InputError
from speed_records import make_record, make_row


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [make_row("a", 10), make_row("b", 20, kind="peer", tasks="map", anchors=None)]
    record = make_record(rows, left_out={"tensorrt": "not installed"})
    path = tmp_path / "results" / "bench.json"
    write_record(path, record)
    assert read_record(path) == record
    assert path.read_text().count("\n") == 1
    assert list(path.parent.iterdir()) == [path]


def test_the_best_row_of_a_network_is_its_fastest_and_not_that_of_two() -> None:
    fast = make_row("a", 5, batch=8)
    slow = make_row("a", 10)
    record = make_record([slow, fast, make_row("a", 1, kind="two networks"), make_row("b", 1)])
    assert record.best("a") == fast
    assert record.best("a", batch=1) == slow
    assert record.best("c") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("{}", "is no record of blitznet bench: machine: Field required"),
        ("no json", "is no record of blitznet bench"),
        ('{"bench": "data"}', "is no record of blitznet bench: bench"),
    ],
)
def test_what_is_no_record_is_one_line(tmp_path: Path, text: str | None, complaint: str) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint) as caught:
        read_record(path)
    assert "blitznet bench --json" in str(caught.value)
    assert "\n" not in str(caught.value)
