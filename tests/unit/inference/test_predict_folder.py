"""The Python call behind `blitznet predict`; the files are tested with the command."""

import json
from pathlib import Path

import pytest
from PIL import Image

from blitznet.errors import PictureError
from blitznet.inference.predict_folder import Result, predict_to_folder
from blitznet.inference.sources import Source, Video
from blitznet.inference.video.predict_frames import VideoOptions
from synthetic_video import write_video
from tiny_network import colour_predictor


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a.png and b.png, clip.mp4, bad.jpg, and an empty folder `out`."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "red").save(name)
    Path("bad.jpg").write_text("no image")
    write_video(Path("clip.mp4"), range(0, 400, 40))
    Path("out").mkdir()
    return tmp_path


def run(*sources: Source, **settings: object) -> list[Result]:
    predictor = colour_predictor()
    return list(predict_to_folder(predictor, sources, Path("out"), **settings))  # type: ignore[arg-type]


@pytest.mark.usefixtures("here")
def test_every_source_gives_a_result_in_order() -> None:
    sources: list[Source] = [
        Path("a.png"),
        Path("bad.jpg"),
        Video("clip.mp4"),
        Video("gone.mp4"),
        Path("b.png"),
    ]
    image, bad, video, gone, last = results = run(*sources, video=VideoOptions(max_frames=3))
    assert [result.source for result in results] == sources
    assert str(image) == "a.png: 1 x green; pixels 100% red"
    assert image.scene is not None
    assert image.scene.size == (40, 30)
    assert image.drawn == Path("out/a.jpg")
    assert last.record is not None
    assert last.record["source"] == "b.png"
    assert isinstance(bad.error, PictureError)
    assert str(bad).startswith("bad.jpg: not an image")
    assert (bad.record, bad.scene, bad.drawn) == (None, None, None)
    assert video.scene is None
    assert video.drawn == Path("out/clip.mp4")
    assert str(video).startswith("clip.mp4: 3 frames; ")
    assert json.loads(Path("out/videos.json").read_text()) == [video.record]
    assert str(gone) == "gone.mp4: no such file"
    lines = Path("out/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["a.png", *["clip.mp4"] * 3, "b.png"]


@pytest.mark.usefixtures("here")
def test_a_run_that_is_left_in_the_middle_leaves_whole_images_alone() -> None:
    sources = [Path("a.png")] * 10
    results = predict_to_folder(colour_predictor(), sources, Path("out"))
    assert next(results).drawn == Path("out/a.jpg")
    results.close()
    assert not Path("out/predictions.jsonl").exists()
    for path in Path("out").iterdir():
        with Image.open(path) as image:
            image.load()
