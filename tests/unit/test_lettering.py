"""No letter is drawn as an empty box."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

import blitznet.lettering
from blitznet.lettering import _has_all, lettering, to_ascii


@pytest.fixture
def _without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without fonts except Pillow's."""
    blitznet.lettering._system_font.cache_clear()
    monkeypatch.setattr(blitznet.lettering, "_font_names", tuple)


def test_ascii_is_written_in_pillows_own_font() -> None:
    font, text = lettering("dog 0.97", 20)
    assert text == "dog 0.97"
    assert font is lettering("cat", 20)[0]


def test_other_letters_take_a_font_that_has_them() -> None:
    pytest.importorskip("matplotlib")  # which brings one
    for text in ("Hündin", "кошка", "Ελλάδα", "łódź"):
        font, shown = lettering(text, 20)
        assert shown == text
        assert isinstance(font, ImageFont.FreeTypeFont)
        assert _has_all(font, text)
        looks = {font.getmask(letter).getbbox() is not None for letter in text}
        assert looks == {True}


@pytest.mark.usefixtures("_without_fonts")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hündin 0.9", "Hundin 0.9"),
        ("łódź", "lodz"),
        ("Straße, Æsir", "Strasse, AEsir"),
        ("狗", "\\u72d7"),
        ("two\nlines\ud800", "two lines "),
    ],
)
def test_without_such_a_font_they_become_ascii(text: str, shown: str) -> None:
    font, text = lettering(text, 20)
    assert text == shown
    assert font is lettering("cat", 20)[0]
    ImageDraw.Draw(Image.new("RGB", (9, 9))).text((0, 9), text, font=font, anchor="lm")


def test_a_composed_and_a_decomposed_letter_have_one_twin() -> None:
    assert to_ascii("é") == to_ascii("e\u0301") == "e"


def test_a_damaged_font_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(b"no font")
    blitznet.lettering._system_font.cache_clear()
    monkeypatch.setattr(blitznet.lettering, "_font_names", lambda: (str(tmp_path / "a.ttf"),))
    assert lettering("é", 11)[1] == "e"
