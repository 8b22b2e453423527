"""Watched folders: each image once, when it is complete."""

from pathlib import Path

import pytest
from PIL import Image

import blitznet.inference.watch_folder
from blitznet.inference.watch_folder import watch_folder


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.inference.watch_folder, "PERIOD", 0.02)
    monkeypatch.setattr(blitznet.inference.watch_folder, "PATIENCE", 0.5)


def image_bytes(folder: Path) -> bytes:
    path = folder / "hidden.bmp"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def test_images_come_once_and_not_before_they_are_whole(tmp_path: Path) -> None:
    content = image_bytes(tmp_path)
    (tmp_path / "a.bmp").write_bytes(content)
    (tmp_path / "b.bmp").write_bytes(content[:5000])
    (tmp_path / "notes.txt").write_text("no image")
    images = watch_folder(tmp_path, idle_seconds=0.3)
    assert next(images).name == "a.bmp"
    with (tmp_path / "b.bmp").open("ab") as file:
        file.write(content[5000:])
    assert next(images).name == "b.bmp"
    (tmp_path / "c.bmp").write_bytes(content)
    assert [path.name for path in images] == ["c.bmp"]


def test_what_never_becomes_an_image_is_given_out_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    assert [path.name for path in watch_folder(tmp_path, idle_seconds=0.1)] == ["a.jpg"]


def test_an_image_that_was_taken_away_may_come_back(tmp_path: Path) -> None:
    content = image_bytes(tmp_path)
    images = watch_folder(tmp_path, idle_seconds=0.5)
    for _ in range(2):
        (tmp_path / "a.bmp").write_bytes(content)
        assert next(images).name == "a.bmp"
        (tmp_path / "a.bmp").unlink()
        (tmp_path / "b.bmp").write_bytes(content)
        assert next(images).name == "b.bmp"
        (tmp_path / "b.bmp").unlink()


def test_it_ends_when_asked_and_when_the_folder_goes(tmp_path: Path) -> None:
    assert list(watch_folder(tmp_path, should_stop=lambda: True)) == []
    assert list(watch_folder(tmp_path / "gone")) == []
