"""Foreign names as file names and on terminals."""

import pytest

from blitznet.files.plain_names import file_name, printable


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("street 12 (é)", "street 12 (é)"),
        ("../../x", "-..-x"),
        ("/etc/passwd", "-etc-passwd"),
        ("a\\b\0c\nd\x1b[2J", "a-b-c-d-[2J"),
        ("\ud800", "-"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("x" * 251, "x" * 200),
        ("é" * 125, "é" * 100),
    ],
)
def test_file_names_have_no_folders_and_fit(text: str, name: str) -> None:
    assert file_name(text) == name
    assert file_name(name) == name


def test_names_are_printed_without_effect_on_a_terminal() -> None:
    assert printable("straße 日本 😀.jpg") == "straße 日本 😀.jpg"
    assert printable("a\x1b[31mb\nc\rd\x9be\u2028\u202ef") == (
        r"a\x1b[31mb\nc\rd\x9be\u2028\u202ef"
    )
    assert printable("\ud800\udce9") == r"\ud800\udce9"
