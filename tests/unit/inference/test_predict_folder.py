"""The Python call behind `blitznet predict`; tests of the command check the files."""

import errno
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import av
import pytest
from PIL import Image

from blitznet.errors import ImageError, InputError
from blitznet.files.result_folder import locked
from blitznet.inference import line_file, result_writer
from blitznet.inference.predict_folder import Result, predict_to_folder
from blitznet.inference.sources import Source, Video
from blitznet.inference.video import predict_video
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.predict_frames import VideoOptions
from blitznet.scene import Scene
from result_files import files_in, read_records
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
    assert isinstance(bad.error, ImageError)
    assert str(bad).startswith("bad.jpg: not an image")
    assert (bad.record, bad.scene, bad.drawn) == (None, None, None)
    assert video.scene is None
    assert video.drawn == Path("out/clip.mp4")
    assert str(video).startswith("clip.mp4: 3 frames; ")
    assert json.loads(Path("out/videos.json").read_text()) == [video.record]
    assert str(gone) == "gone.mp4: no such file"
    lines = Path("out/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["a.png", *["clip.mp4"] * 3, "b.png"]


def steady(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without times."""
    return [{key: value for key, value in one.items() if key != "ms"} for one in records]


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Interrupt after so many lines."""
    append = line_file.json.dumps
    calls = 0

    def dumps(record: object) -> str:
        nonlocal calls
        calls += isinstance(record, dict) and "detections" in record
        if calls > after:
            raise KeyboardInterrupt
        return append(record)

    monkeypatch.setattr(line_file, "json", SimpleNamespace(dumps=dumps, loads=json.loads))


@pytest.mark.usefixtures("here")
def test_a_run_that_is_interrupted_keeps_its_lines_and_is_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [Path(f"{number}.png") for number in range(5)]
    for path in names:
        Image.new("RGB", (40, 30), "red").save(path)
    sources: list[Source] = [*names, Path("bad.jpg"), Video("clip.mp4"), Path("a.png")]
    settings: dict[str, Any] = {"save_masks": True, "formats": ("coco", "voc", "yolo")}
    settings["video"] = VideoOptions(max_frames=4)
    whole = run(*sources, **settings)
    expected = {name: (Path("out") / name).read_bytes() for name in files_in("out")}
    lines = steady(read_records("out"))
    for after in (0, 3, 5, 7, 9):
        shutil.rmtree("out")
        Path("out").mkdir()
        with monkeypatch.context() as patch:
            interrupt(patch, after)
            with pytest.raises(KeyboardInterrupt):
                run(*sources, **settings)
        assert steady(read_records("out")) == lines[:after]
        Path("out/.blitznet-1.part").touch()  # as a killed process leaves them
        with Path("out/predictions.jsonl").open("a") as file:
            file.write('{"source": "cut o')
        results = run(*sources, resume=True, **settings)
        assert [result.source for result in results] == [result.source for result in whole]
        images_before = min(after, 5) if after < 9 else 5
        assert sum(result.is_old for result in results) == images_before + (after >= 9)
        assert steady(read_records("out")) == lines
        for name in expected.keys() - {"predictions.jsonl", "videos.json"}:
            assert (Path("out") / name).read_bytes() == expected[name], name
        assert files_in("out") == sorted(expected)
    again = run(*sources, resume=True, **settings)
    assert [result.is_old for result in again] == [*[True] * 5, False, True, True]
    assert str(again[0]) == "0.png: done before"


@pytest.mark.usefixtures("here")
def test_a_folder_takes_the_results_of_one_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_writer, "locked", partial(locked, patience=0))
    first = predict_to_folder(colour_predictor(), [Path("a.png"), Path("b.png")], Path("out"))
    assert next(first).error is None
    with pytest.raises(InputError, match="out: another process is writing there"):
        run(Path("a.png"), resume=True)
    first.close()
    assert run(Path("a.png"), Path("b.png"), resume=True)[0].is_old


@pytest.mark.usefixtures("here")
def test_a_run_is_not_resumed_with_another_network_or_other_settings() -> None:
    run(Path("a.png"))
    for settings, text in [
        ({"score": 0.3}, "made with score 0.5, this run has 0.3"),
        ({"classes": ["red", "blue"]}, "made with classes none, this run has red, blue"),
        ({"save_masks": True}, "made with save_masks False, this run has True"),
    ]:
        with pytest.raises(InputError, match=f"out: its results were {text}; name another --out"):
            run(Path("a.png"), Path("b.png"), resume=True, **settings)
    other = predict_to_folder(colour_predictor(False), [Path("b.png")], Path("out"), resume=True)
    with pytest.raises(InputError, match="made with model colours@"):
        list(other)
    run(Path("a.png"), Path("b.png"), resume=True, mixed=True, score=0.3)
    assert [record["source"] for record in read_records("out")] == ["a.png", "b.png"]
    run(Path("a.png"), resume=True, score=0.3)  # the latest settings count
    run(Path("b.png"))
    assert [record["source"] for record in read_records("out")] == ["b.png"]
    shutil.rmtree("out")
    Path("out").mkdir()
    assert not run(Path("a.png"), resume=True)[0].is_old  # nothing there: it begins
    Path("out/settings.json").unlink()
    with pytest.raises(InputError, match="holds files, but no prediction to resume"):
        run(Path("a.png"), resume=True)


@pytest.mark.usefixtures("here")
def test_labels_of_an_earlier_run_stay_whatever_images_are_added() -> None:
    Path("more").mkdir()
    Image.new("RGB", (40, 30), "red").save("more/c.png")
    settings: dict[str, Any] = {"formats": ("coco", "voc", "yolo"), "resume": True}
    run(Path("a.png"), **settings)
    run(Path("b.png"), **settings)
    labels = Path("out/labels")
    coco = json.loads((labels / "coco/instances.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b.png"]
    assert [one["image_id"] for one in coco["annotations"]] == [1, 2]
    assert (labels / "voc/ImageSets/Main/default.txt").read_text() == "a\nb\n"
    listed = (labels / "yolo/train.txt").read_text().split()
    assert listed == ["./images/train/a.png", "./images/train/b.png"]
    before = {name: (Path("out") / name).read_bytes() for name in files_in("out")}
    with pytest.raises(InputError, match=r"common_folder .*, this run has .*more; name another"):
        run(Path("more/c.png"), **settings, mixed=True)
    with pytest.raises(InputError, match="formats coco, voc, yolo, this run has none; name anoth"):
        run(Path("a.png"), resume=True, mixed=True)
    assert {name: (Path("out") / name).read_bytes() for name in files_in("out")} == before


@pytest.mark.usefixtures("here")
def test_a_run_without_results_is_resumed_with_any_settings() -> None:
    run(Path("bad.jpg"), score=0.2)
    run(Path("a.png"), score=0.3, resume=True)
    assert [record["source"] for record in read_records("out")] == ["a.png"]


@pytest.mark.usefixtures("here")
def test_a_damaged_line_is_named() -> None:
    run(Path("a.png"))
    with Path("out/predictions.jsonl").open("a") as file:
        file.write("no JSON\n")
    with pytest.raises(InputError, match=r"predictions\.jsonl: line 2 is damaged"):
        run(Path("a.png"), resume=True)


@pytest.mark.usefixtures("here")
def test_a_disk_that_fills_ends_the_run_and_leaves_whole_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = Scene.draw

    def fill(scene: Scene, **options: bool) -> Image.Image:
        image = draw(scene, **options)
        if scene.source != "a.png":
            no_space = OSError(errno.ENOSPC, "No space left on device")
            monkeypatch.setattr(image, "save", Mock(side_effect=no_space))
        return image

    monkeypatch.setattr(Scene, "draw", fill)
    with pytest.raises(InputError, match=r"cannot be written \(No space left"):
        run(*[Path("a.png"), Path("b.png")] + [Path("c.png")] * 3)
    assert [record["source"] for record in read_records("out")] == ["a.png"]
    assert files_in("out") == ["a.jpg", "predictions.jsonl", "settings.json"]


@pytest.mark.usefixtures("here")
def test_nothing_else_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("c.png", "d.png"):
        Image.new("RGB", (40, 30), "red").save(name)
    draw = Scene.draw

    def fail(scene: Scene, **options: bool) -> Image.Image:
        if scene.source == "b.png":
            raise ZeroDivisionError("surprise")
        return draw(scene, **options)

    monkeypatch.setattr(Scene, "draw", fail)
    Path("out/c.jpg").mkdir()  # cannot be replaced
    monkeypatch.setattr(predict_video, "open_video", lambda *_: 1 / 0)
    sources: list[Source] = [*map(Path, ("a.png", "b.png", "c.png")), Video("x.mp4"), Path("d.png")]
    errors = [str(result.error) for result in run(*sources)]
    assert errors == [
        "None",
        "b.png: ZeroDivisionError: surprise",
        f"{Path('out/c.jpg')}: cannot be written (Is a directory)",
        "x.mp4: ZeroDivisionError: division by zero",
        "None",
    ]
    assert [record["source"] for record in read_records("out")] == ["a.png", "d.png"]


@pytest.mark.usefixtures("here")
def test_records_name_their_files_and_the_folders_of_the_input_stay() -> None:
    names = ["trip/a.png", "trip/a.gif", "trip/day1/b.png", "trip/day2/b.png", "trip/day2/B.gif"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "red").save(name)
    Path("trip/f.jpg").write_text("no image")
    run(Path("trip/f.jpg"), *map(Path, names), Path(names[0]), save_masks=True)
    assert len(read_records("out")) == len(names)
    records = {record["source"]: record for record in read_records("out")}
    drawn = ["a.png.jpg", "a.gif.jpg", "day1/b.jpg", "day2/b.png.jpg", "day2/B.gif.jpg"]
    assert [records[name]["drawn"] for name in names] == drawn
    for record in records.values():
        mask = Path(record["drawn"]).with_suffix(".png")
        assert record["seg_map"] == f"masks/{mask.as_posix()}"
        assert record["detections"][0]["label_id"] == 2
        for name in (record["seg_map"], record["drawn"]):
            with Image.open(Path("out") / name) as image:
                assert image.size == (record["width"], record["height"]) == (40, 30)


@pytest.mark.usefixtures("here")
def test_results_of_a_live_source_are_named_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(name: str, attempts: int) -> LiveVideo:
        source = av.open("testsrc=size=32x32:rate=25:duration=0.2", format="lavfi")
        return LiveVideo(source, Mock(side_effect=InputError("gone")), name, "10.0.0.5", attempts)

    monkeypatch.setattr(predict_video, "open_video", opened)
    Path("album").mkdir()
    shutil.copy("a.png", "album")
    sources: list[Source] = [Video("rtsp://10.0.0.5"), Path("album/a.png")]
    (alone,) = run(sources[0], video=VideoOptions(attempts=0))
    beside, image = run(*sources, video=VideoOptions(attempts=0))
    assert alone.drawn == beside.drawn == Path("out/10.0.0.5.mp4")
    assert image.drawn == Path("out/a.jpg")


@pytest.mark.usefixtures("here")
def test_an_image_of_several_frames_gets_a_note() -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "lime")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    moving, still = run(Path("moving.gif"), Path("a.png"))
    assert moving.note == "moving.gif: the first of 3 frames or pages was read"
    assert still.note is None
