"""Findings that concern several images, what is remembered, and what is left out."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from blitznet.data.check import before_training
from blitznet.data.check.before_training import find_errors, fingerprint
from blitznet.data.check.check import (
    check_data,
    find_near_duplicates,
    find_same_pictures,
    open_data,
)
from blitznet.data.check.picture_check import PictureRecord
from blitznet.data.check.report import report_lines
from blitznet.data.check.sheet import CELL, draw_sheet
from blitznet.data.check.skipped import (
    SKIPPED_FILE,
    require_skippable,
    skipped_lines,
    without_skipped,
    write_skipped,
)
from blitznet.data.description import DataDescription, read_description
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource, Subset
from blitznet.errors import InputError
from blitznet.model_info import BLITZNET300_MOBILE
from fixtures.make_fixtures import VOC_MINI

DATA = Path("data.yaml")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `voc_mini`: four images to train on, two to measure on; an own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(VOC_MINI, "VOC")
    Path("VOC/ImageSets/Main/train.txt").write_text("000001\n000002\n000003\n000005\n")
    Path("VOC/ImageSets/Main/val.txt").write_text("000004\n000006\n")
    return tmp_path


def describe(**entry: Any) -> DataDescription:
    voc = {"format": "voc", "root": "VOC", "masks": "SegmentationClass"} | entry
    content = {
        "classes": "voc",
        "train": [voc | {"image_set": "Main/train"}],
        "val": [voc | {"image_set": "Main/val"}],
    }
    DATA.write_text(yaml.safe_dump(content))
    return read_description(DATA)


def named(
    split: str, name: str, pixels: str, number: int = 1, look: np.ndarray | None = None
) -> PictureRecord:
    return PictureRecord(split, number, 0, Path(name), pixel_hash=pixels.encode(), look=look)


def told(findings: Any) -> list[tuple[str, bool, str]]:
    return [(f.split, f.is_error, str(f)) for f in findings]


def test_a_picture_that_is_trained_and_measured_on_is_an_error_of_the_copy_in_train() -> None:
    pictures = [named("train", "a", "x"), named("val", "b", "x"), named("test", "c", "x")]
    assert told(find_same_pictures(pictures)) == [
        ("train", True, "a: is the same image as b in val; keep one"),
        ("test", False, "c: is the same image as b in val"),
    ]


def test_a_picture_twice_within_a_split_is_a_warning_of_the_later_copy() -> None:
    pictures = [
        named("train", "a", "x"),
        named("train", "b", "y"),
        named("train", "c", "x"),
        named("train", "a", "x", number=2),
    ]
    assert told(find_same_pictures(pictures)) == [
        ("train", False, "c: is the same image as a"),
        ("train", False, "a: again as in source 1"),
    ]


def test_unreadable_pictures_are_not_the_same() -> None:
    pictures = [PictureRecord("train", 1, 0), PictureRecord("val", 1, 0)]
    assert list(find_same_pictures(pictures)) == []


def test_a_near_duplicate_in_another_split_is_named_first_and_equal_ones_not_at_all() -> None:
    look = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    pictures = [
        named("train", "a", "x", look=look),
        named("val", "b", "y", look=look + 1),
        named("val", "c", "z", look=look),
        named("val", "d", "z", look=look),
        named("val", "e", "w"),
    ]
    assert told(find_near_duplicates(pictures)) == [
        ("val", False, "b: looks like a in train"),
        ("val", False, "c: looks like a in train"),
    ]


@pytest.mark.usefixtures("workplace")
def test_the_counts_are_those_of_the_drawn_pictures() -> None:
    report = check_data(open_data(describe(), DATA), BLITZNET300_MOBILE)
    train, val = (report.statistics[split].to_dict() for split in ("train", "val"))
    counts = ("pictures", "pictures_with_boxes", "pictures_with_maps", "pictures_with_both")
    assert [train[count] for count in counts] == [4, 4, 3, 3]
    assert {name: n for name, n in train["boxes"].items() if n} == {
        "aeroplane": 1,
        "bottle": 1,
        "car": 1,
        "cat": 1,
        "person": 1,
        "tvmonitor": 1,
    }
    assert (val["boxes"]["sheep"], val["boxes_ignored"]) == (1, 2)
    maps = [np.asarray(Image.open(f"VOC/SegmentationClass/00000{n}.png")) for n in (1, 2, 3)]
    labelled = sum(int((ids != 255).sum()) for ids in maps)
    assert train["pixel_shares"]["car"] == int((maps[1] == 7).sum()) / labelled
    assert train["void_share"] == sum(int((ids == 255).sum()) for ids in maps) / (3 * 64 * 48)
    absent = [f.text for f in report.of_kind("class-absent") if f.split == "val"]
    assert len(absent) == 20 - 3
    assert "no box and no pixel is labelled 'cat'" in absent
    assert report.errors == []


# Python 3.12 and later warn when a process with threads, as torch's, forks.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("workplace")
def test_worker_processes_find_the_same() -> None:
    Path("VOC/JPEGImages/000002.jpg").write_bytes(b"")
    opened = open_data(describe(), DATA)
    alone, shared = (check_data(opened, BLITZNET300_MOBILE, n).to_dict() for n in (0, 2))
    assert alone == shared
    assert alone["errors"] == 1


@pytest.mark.usefixtures("workplace")
def test_a_source_that_cannot_be_opened_leaves_the_others_to_be_checked() -> None:
    describe()
    text = DATA.read_text().replace("Main/train", "Main/nothing")
    DATA.write_text(text)
    Path("VOC/JPEGImages/000006.jpg").unlink()
    report = check_data(open_data(read_description(DATA), DATA))
    assert [line for line in report_lines(report) if line.startswith("error: ")] == [
        "error: data.yaml, train, source 1: VOC/ImageSets/Main/nothing.txt does not exist",
        "error: VOC/JPEGImages/000006.jpg: no such file",
    ]
    with pytest.raises(InputError, match=r"^data\.yaml, train, source 1: "):
        require_skippable(report.errors)


@pytest.mark.usefixtures("workplace")
def test_the_sheet_holds_a_cell_a_readable_picture_and_is_always_the_same() -> None:
    Path("VOC/JPEGImages/000002.jpg").write_bytes(b"")
    opened = open_data(describe(), DATA)
    sheet = draw_sheet(opened.sources, opened.names)
    assert 4 * CELL[0] < sheet.width < 4 * CELL[0] + 60
    assert 2 * CELL[1] < sheet.height < 2 * CELL[1] + 100  # five images: two rows
    assert sheet.tobytes() == draw_sheet(opened.sources, opened.names).tobytes()


def test_warnings_are_cut_a_kind_and_errors_never() -> None:
    problems = [Problem("picture", f"{n}.jpg", "bad") for n in range(9)]
    problems += [Problem("tiny-box", f"{n}.xml", "tiny", is_error=False) for n in range(7)]
    problems += [Problem("empty-picture", "z.jpg", "empty", is_error=False)]
    opened = open_data(DataDescription(classes=["cat"], splits={}), DATA)  # type: ignore[arg-type]
    report = check_data(opened)
    report = type(report)("d", None, problems, {})
    lines = list(report_lines(report))
    assert lines[:9] == [f"error: {n}.jpg: bad" for n in range(9)]
    assert lines[9:] == [
        "warning: z.jpg: empty",
        *(f"warning: {n}.xml: tiny" for n in range(5)),
        "2 more warnings; --verbose lists all",
        "0 images checked: 9 errors, 8 warnings",
    ]
    assert len(list(report_lines(report, verbose=True))) == 18


def test_a_clean_result_is_remembered_until_something_changes(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []

    def counted(*arguments: Any, **options: Any) -> Any:
        checks.append(arguments)
        return check_data(*arguments, **options)

    monkeypatch.setattr(before_training, "check_data", counted)

    def num_checks() -> int:
        assert find_errors(describe(), DATA, ["train", "val"], workers=0) == []
        return len(checks)

    assert [num_checks(), num_checks()] == [1, 1]
    os.utime("VOC/JPEGImages/000003.jpg", ns=(1, 1))
    assert [num_checks(), num_checks()] == [2, 2]
    os.utime("VOC/SegmentationClass/000003.png", ns=(1, 1))
    assert num_checks() == 3
    path = Path("VOC/Annotations/000006.xml")
    path.write_text(path.read_text().replace("<xmin>4", "<xmin>5").replace(">3.6<", ">4.6<"))
    assert num_checks() == 4
    assert find_errors(describe(label_map={"dog": None}), DATA, ["train"], workers=0) == []
    assert len(checks) == 5
    shutil.rmtree(workplace / "cache")
    assert num_checks() == 6


@pytest.mark.usefixtures("workplace")
def test_errors_are_not_remembered() -> None:
    Path("VOC/JPEGImages/000003.jpg").write_bytes(b"")
    for _ in range(2):
        errors = find_errors(describe(), DATA, ["train", "val"], workers=0)
        assert told(errors) == [("train", True, "VOC/JPEGImages/000003.jpg: the file is empty")]
    Path("VOC/Annotations/000003.xml").unlink()
    assert fingerprint(open_data(describe(), DATA)) is None
    assert not Path("cache").exists()


@pytest.mark.usefixtures("workplace")
def test_a_cache_that_cannot_be_written_only_costs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", "file")
    assert find_errors(describe(), DATA, ["train"], workers=0) == []


def paths(sources: list[LabelSource]) -> list[str]:
    return [source.labels(i).picture.stem for source in sources for i in range(len(source))]


def test_what_a_run_leaves_out_is_recorded_with_the_reasons(workplace: Path) -> None:
    Path("VOC/JPEGImages/000003.jpg").write_bytes(b"")
    Path("VOC/Annotations/000001.xml").unlink()
    description = describe(weight=2.5)
    errors = find_errors(description, DATA, ["train", "val"], workers=0)
    write_skipped(workplace, errors, description)
    record = json.loads((workplace / SKIPPED_FILE).read_text())
    assert record["pictures"] == {"train": [4]}
    assert [picture["picture"] for picture in record["skipped"]] == [1, 3]
    assert list(skipped_lines(workplace)) == [
        "train, source 1, image 1: VOC/Annotations/000001.xml does not exist; every listed "
        "image needs an annotation",
        "VOC/JPEGImages/000003.jpg: the file is empty",
    ]
    left = without_skipped(description.open_split("train"), "train", workplace)
    assert paths(left) == ["000002", "000005"]
    assert isinstance(left[0], Subset)
    assert left[0].weight == 2.5
    assert paths(without_skipped(description.open_split("val"), "val", workplace)) == [
        "000004",
        "000006",
    ]


def test_a_record_of_other_data_or_of_everything_is_refused(workplace: Path) -> None:
    description = describe()
    problems = [
        Problem("picture", "x", "bad", split="train", source=1, index=index) for index in range(4)
    ]
    write_skipped(workplace, problems, description)
    sources = description.open_split("train")
    with pytest.raises(InputError, match=r"^every image of train has an error; see .*json$"):
        without_skipped(sources, "train", workplace)
    with pytest.raises(InputError, match=r"with \[4\] images, now there are \[3\]; start a new"):
        without_skipped([Subset(sources[0], [0, 1, 2])], "train", workplace)
    (workplace / SKIPPED_FILE).write_text("[]")
    with pytest.raises(InputError, match="is damaged; start a new run"):
        without_skipped(sources, "train", workplace)


def test_a_run_without_a_record_leaves_nothing_out(workplace: Path) -> None:
    sources = describe().open_split("train")
    assert without_skipped(sources, "train", workplace) == sources
    assert list(skipped_lines(workplace)) == []
