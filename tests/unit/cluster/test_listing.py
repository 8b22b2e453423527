import os
import tarfile
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from blitznet.cluster.listing import Item, cut, list_items
from blitznet.cluster.remote_files import read_content
from blitznet.errors import ImageError, InputError
from web_server import web_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in two folders, a hidden one, one with another name, and a link back."""
    root = tmp_path / "images"
    for name in ("b.jpg", "a.PNG", "sub/deep/c.webp", "sub/d.jpg", "._a.jpg", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / "sub/back").symlink_to(root)
    return root


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_folder_gives_images_by_name_then_those_below(folder: Path, prefix: str) -> None:
    source = f"{prefix}{folder}"
    ids = ["a.PNG", "b.jpg", "sub/d.jpg", "sub/deep/c.webp"]
    assert [item.id for item in list_items(source)] == ids
    assert [read_content(item.uri).decode() for item in list_items(source)] == ids


def test_a_remote_folder_is_walked_as_a_local_one(
    folder: Path,
) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for item in list_items(str(folder)):
        memory.pipe(f"/bucket/{item.id}", item.id.encode())
    found = list(list_items("memory://bucket/"))
    assert [item.id for item in found] == [item.id for item in list_items(str(folder))]
    assert found[2].uri == "memory://bucket/sub/d.jpg"
    assert read_content(found[2].uri) == b"sub/d.jpg"


def test_a_million_names_are_not_waited_for(tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    os.mkfifo(names)
    with os.fdopen(os.open(names, os.O_RDWR), "w") as writer:  # a list that never ends
        writer.write("a.jpg\nb.jpg\n" * 5000)
        writer.flush()
        found = list_items(str(names))
        assert [item.id for item in islice(found, 3)] == ["a.jpg", "b.jpg", "a.jpg"]


def test_patterns_mean_what_they_mean_to_predict(folder: Path) -> None:
    names = ("a.PNG", "b.jpg", "sub/d.jpg", "sub/deep/c.webp")
    found = sorted(item.id for item in list_items(f"{folder}/**/*"))
    assert found == [str(folder / name) for name in names]
    assert [item.id for item in list_items(f"{folder}/n*.txt")] == [str(folder / "notes.txt")]


def test_a_text_list_may_hold_anything_that_a_file_may_be_called(tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    names.write_bytes(b"\xef\xbb\xbfa b.jpg\r\n\n caf\xe9.jpg \ns3://bucket/c.jpg\na b.jpg")
    uris = [os.fsencode(item.uri) for item in list_items(str(names))]
    assert uris == [b"a b.jpg", b"caf\xe9.jpg", b"s3://bucket/c.jpg", b"a b.jpg"]


def test_a_parquet_list_may_bring_ids(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"path": ["a", "b"]}), tmp_path / "plain.parquet")
    table = pa.table({"uri": ["a", "b"], "id": [7, 8]})
    parquet.write_table(table, tmp_path / "ids.parquet")
    assert list(list_items(str(tmp_path / "plain.parquet"))) == [Item("a", "a"), Item("b", "b")]
    assert list(list_items(str(tmp_path / "ids.parquet"))) == [Item("7", "a"), Item("8", "b")]
    odd = pa.table({"path": [b"caf\xe9.jpg", None, b"b"], "id": [None, "x", "y"]})
    parquet.write_table(odd, tmp_path / "odd.parquet")
    name = os.fsdecode(b"caf\xe9.jpg")
    assert list(list_items(str(tmp_path / "odd.parquet"))) == [Item(name, name), Item("y", "b")]


def test_members_of_tar_files_are_read_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shard-0.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("0001.jpg", "0001.json", "0002.png"):
            (tmp_path / name).write_text(name)
            tar.add(tmp_path / name, name)
    ids = [item.id for item in list_items(f"{tmp_path}/*.tar")]
    assert ids == [f"{path}/0001.jpg", f"{path}/0002.png"]
    with web_server(tmp_path) as base:
        for source in (str(path), f"file://{path}", f"{base}shard-0.tar"):
            items = list(list_items(source))
            assert [item.id for item in items] == ["0001.jpg", "0002.png"]
            assert [read_content(item.uri) for item in items] == [b"0001.jpg", b"0002.png"]


def test_lists_come_from_a_web_server_too(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"path": ["a"]}), tmp_path / "list.parquet")
    (tmp_path / "list.txt").write_text("a\n")
    with web_server(tmp_path) as base:
        for name in ("list.parquet", "list.txt"):
            assert list(list_items(base + name)) == [Item("a", "a")]
        with pytest.raises(InputError, match="not a list; give"):  # but a page that names them
            list(list_items(base))
        with pytest.raises(InputError, match="HTTP Error 404"):
            list(list_items(f"{base}missing.parquet"))


def test_shards_are_cut_in_order() -> None:
    items = [Item(str(number), str(number)) for number in range(5)]
    assert list(cut(items, 2)) == [items[:2], items[2:4], items[4:]]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("missing", None, "no such file or folder"),
        ("list.parquet", b"PAR", "cannot be read"),
        ("list.txt", b"\x00\x01", "not a list"),
        ("index.html", b"<!DOCTYPE html>\n", "not a list"),
        ("a.tar", b"no tar", "cannot be read as a tar file"),
        ("no*match", None, None),
        ("ftq://host/a", None, "no file system for ftq://"),
    ],
)
def test_what_is_no_input_is_one_line(
    name: str, content: bytes | None, line: str | None, tmp_path: Path
) -> None:
    source = name if "://" in name else str(tmp_path / name)
    if content is not None:
        Path(source).write_bytes(content)
    if line is None:
        assert list(list_items(source)) == []
        return
    with pytest.raises(InputError, match=line) as caught:
        list(list_items(source))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(source)


def test_a_parquet_list_without_names_says_what_it_has(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"no column uri or path, but \['x'\]"):
        list(list_items(str(tmp_path / "x.parquet")))


def test_a_line_without_an_end_is_taken_in_parts(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a" * 150_000)
    assert [len(item.uri) for item in list_items(str(tmp_path / "list.txt"))] == [
        65_536, 65_536, 18_928
    ]  # fmt: skip


@pytest.mark.parametrize("place", [f"0+{10**18}", f"0+{10**30}", f"{10**30}+9"])
def test_a_member_that_no_tar_file_has_costs_itself_only(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(100))
    member = f"{tmp_path / 'a.tar'}#{place}"
    with suppress(ImageError):
        assert read_content(member) == bytes(100)
