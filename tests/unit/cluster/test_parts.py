from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from blitznet.cluster import parts as module
from blitznet.cluster.parts import Parts
from blitznet.cluster.rows import SCHEMA, error_row, to_columns
from blitznet.errors import InputError
from blitznet.files.result_folder import locked

SETTINGS = {"model": "tiny@0", "score": 0.5, "engine": "torch", "save_masks": False}


def table(*ids: str) -> pa.Table:
    columns = to_columns([error_row("none") | {"id": id_} for id_ in ids])
    return pa.table(columns, schema=SCHEMA)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["local", "memory"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Parts:
    out = str(tmp_path / "out")
    opened = Parts(out if request.param == "local" else f"memory:/{out}")
    opened.prepare(SETTINGS)
    return opened


def test_what_is_written_is_found_again(parts: Parts) -> None:
    names = {parts.write(0, table("a", "b")), parts.write(1, table("c"))}
    assert len(names) == 2
    assert sorted(parts.done_ids()) == ["a", "b", "c"]
    assert parts.settings() == SETTINGS


def test_a_part_that_is_written_again_replaces_itself(parts: Parts) -> None:
    assert parts.write(0, table("a", "b")) == parts.write(0, table("a", "b"))
    assert parts.write(0, table("a")) != parts.write(0, table("b"))
    assert sorted(parts.done_ids()) == ["a", "a", "b", "b"]


def test_a_changed_setting_is_refused_unless_told(parts: Parts) -> None:
    parts.require_usable(SETTINGS, mixed=False)
    with pytest.raises(InputError, match=r"holds rows of score 0\.5, not 0\.4; .* add --mixed"):
        parts.require_usable(SETTINGS | {"score": 0.4}, mixed=False)
    parts.require_usable(SETTINGS | {"score": 0.4}, mixed=True)


def test_a_damaged_part_is_done_again(tmp_path: Path) -> None:
    parts = Parts(str(tmp_path))
    whole, cut = parts.write(0, table("a")), parts.write(1, table("b"))
    (tmp_path / cut).write_bytes((tmp_path / cut).read_bytes()[:50])
    assert list(parts.done_ids()) == ["a"]
    assert names_in(tmp_path) == [whole]


def test_other_tools_read_the_folder_and_nothing_else_is_in_it(tmp_path: Path) -> None:
    parts = Parts(str(tmp_path))
    parts.prepare(SETTINGS)
    (tmp_path / ".blitznet-1.part").touch()  # of a worker that was killed
    parts.prepare(SETTINGS)
    name = parts.write(3, table("a", "b"))
    assert names_in(tmp_path) == ["_batch.json", name]
    assert dataset.dataset(tmp_path).schema.equals(SCHEMA)
    assert parquet.read_table(tmp_path)["id"].to_pylist() == ["a", "b"]


def test_a_part_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    parts = Parts(str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        parts.write(0, table("a"))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "foreign", "no json"])
def test_an_unusable_folder_is_one_line(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.touch()
    else:
        out.mkdir()
        (out / ("mine.txt" if kind == "foreign" else "_batch.json")).write_text("{")
    with pytest.raises(InputError, match=r"cannot be|not empty|is a file") as caught:
        Parts(str(out)).require_usable(SETTINGS, mixed=False)
    assert "\n" not in str(caught.value)


def test_one_run_at_a_time_writes_into_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "locked", partial(locked, patience=0))
    out = str(tmp_path / "out")
    busy = pytest.raises(InputError, match="another process is writing there")
    with Parts(out).locked(), busy, Parts(out).locked():
        pass
    with Parts(out).locked():
        Parts(out).require_usable(SETTINGS, mixed=False)
