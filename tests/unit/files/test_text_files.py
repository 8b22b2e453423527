"""Foreign text, YAML and JSON: read within limits, or refused with one line."""

import os
from pathlib import Path

import pytest

from blitznet.errors import InputError, LabelError, shown
from blitznet.files.text_files import parse_yaml, read_json, read_text, read_yaml

# A billion values in 40 bytes a line.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_text_keeps_its_lines_whatever_ends_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffä\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a.txt") == "ä\nb\nc\n"


def test_what_is_no_ordinary_text_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "utf16").write_bytes("text".encode("utf-16"))
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2**40)
    (tmp_path / "lines").write_bytes(b"\n\x0c" * 1_600_000)
    for name, reason in [
        ("missing", "does not exist"),
        ("pipe", r"cannot be read \(a pipe or a device"),
        ("", r"is a folder; name a file in it"),
        ("utf16", "is not UTF-8 text"),
        ("large", r"cannot be read \(1048576 MB, more than 256 MB"),
        ("lines", "has more than 3000000 lines"),
        ("a\0b", "no file can have this name"),
        ("\ud800", "no file can have this name"),
        ("x" * 5000, "File name too long"),
    ]:
        with pytest.raises(LabelError, match=reason):
            read_text(tmp_path / name, LabelError)
    with pytest.raises(LabelError, match="a pipe or a device"):
        read_yaml(Path("/dev/zero"), LabelError)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than 50000 values"),
        ("a: &a {x: 1}\nb: {<<: [" + ",".join(["*a"] * 40_000) + "]}", "more than 50000 values"),
        ("a: &a [*a]", "an alias inside what it repeats"),
        ("[" * 5000, "too deeply nested"),
        ("{a: " * 5000, "too deeply nested"),
        ("- " * 300 + "a", "too deeply nested"),
        ("9" * 5000, "a number too long"),
        ("0x" + "f" * 100_000, "a number too long"),
        ("1" + ":1" * 100_000, "a number too long"),
        (r'"\ud800"', "half of a surrogate pair"),
        (r'"\0"', "or a null"),
        ("2001-99-99", "month must be in 1..12"),
        ("!!timestamp foo", "NoneType"),
        ("!!bool foo", "foo"),
        ("!!int ''", "index out of range"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable"),
        ("train: [a]\ntrain: [b]", "duplicate key train"),
        ("{a: {b: 1, b: 2}}", "duplicate key b"),
        ("a: 'b", "end of stream"),
        ("a: \x1b[2J", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_none_or_would_blow_up_is_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=f"(?s)a.yaml cannot be read as YAML: .*{reason}") as error:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_yaml_of_every_day_is_read_as_ever() -> None:
    text = "a: &a [1, 2.5, yes, ~, 2001-01-01]\nb: *a\nc: {<<: {x: 1}, y: 'é'}\nd: 1:30\n"
    read = parse_yaml(text)
    assert read["a"] == read["b"]
    assert read["a"][:4] == [1, 2.5, True, None]
    assert read["c"] == {"x": 1, "y": "é"}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "too deeply nested"),
        ('{"a":' * 100_000, "too deeply nested"),
        ("9" * 5000, "Exceeds the limit"),
        (r'{"a": "\ud800"}', "half of a surrogate pair"),
        (r'{"a": "\ud83d\u0041"}', "half of a surrogate pair"),
        (r'{"a": "\uDE00"}', "half of a surrogate pair"),
        (r'{"\u0000": 1}', "or a null"),
        ('{"a": 1', "Expecting"),
    ],
)
def test_json_that_is_none_or_would_blow_up_is_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabelError, match=f"a.json cannot be read as JSON: .*{reason}"):
        read_json(tmp_path / "a.json", LabelError)


def test_json_of_every_day_is_read_as_ever(tmp_path: Path) -> None:
    # Escaped backslashes, whole surrogate pairs, and the bytes of names that are no UTF-8.
    (tmp_path / "a.json").write_text(r'["C:\\ud800", "\ud83d\ude00", "\udce9", "\\\\u0000"]')
    assert read_json(tmp_path / "a.json") == ["C:\\ud800", "😀", "\udce9", "\\\\u0000"]


def test_messages_show_200_characters_of_what_came() -> None:
    assert shown("x" * 1000) == f"'{'x' * 195} ..."
    assert shown([1, 2]) == "[1, 2]"
    assert shown(10**5000) == "a int too large to show"
