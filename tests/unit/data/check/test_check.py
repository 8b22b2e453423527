"""Findings that involve several images, and skipped images."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data import labels
from blitznet.data.check.check import (
    SKIPPED_FILE,
    check_data,
    find_near_duplicates,
    find_same_images,
    without_skipped,
    write_skipped,
)
from blitznet.data.check.check_report import TITLES, CheckReport, report_lines
from blitznet.data.check.image_check import ImageRecord
from blitznet.data.check.plots import CELL, draw_sheet
from blitznet.data.description import DataDescription, read_description
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource
from blitznet.errors import InputError
from blitznet.model_info import BLITZNET300_MOBILE
from fixtures.make_fixtures import VOC_MINI

DATA = Path("data.yaml")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `voc_mini`: four images for training, two for evaluation."""
    monkeypatch.chdir(tmp_path)
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
    split: str, name: str, pixels: str, number: int = 1, thumbnail: np.ndarray | None = None
) -> ImageRecord:
    return ImageRecord(
        split, number, 0, Path(name), pixel_hash=pixels.encode(), thumbnail=thumbnail
    )


def told(findings: Any) -> list[tuple[str, bool, str]]:
    return [(f.split, f.is_error, str(f)) for f in findings]


def test_an_image_that_is_trained_and_measured_on_is_an_error_of_the_copy_in_train() -> None:
    images = [named("train", "a", "x"), named("val", "b", "x"), named("test", "c", "x")]
    assert told(find_same_images(images)) == [
        ("train", True, "a: is the same image as b in val; keep one"),
        ("test", False, "c: is the same image as b in val"),
    ]


def test_an_image_twice_within_a_split_is_a_warning_of_the_later_copy() -> None:
    images = [
        named("train", "a", "x"),
        named("train", "b", "y"),
        named("train", "c", "x"),
        named("train", "a", "x", number=2),
    ]
    assert told(find_same_images(images)) == [
        ("train", False, "c: is the same image as a"),
        ("train", False, "a: listed again, as in source 1"),
    ]


def test_unreadable_images_are_not_the_same() -> None:
    images = [ImageRecord("train", 1, 0), ImageRecord("val", 1, 0)]
    assert list(find_same_images(images)) == []


def test_a_near_duplicate_in_another_split_is_named_first_and_equal_ones_not_at_all() -> None:
    thumbnail = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    images = [
        named("train", "a", "x", thumbnail=thumbnail),
        named("val", "b", "y", thumbnail=thumbnail + 1),
        named("val", "c", "z", thumbnail=thumbnail),
        named("val", "d", "z", thumbnail=thumbnail),
        named("val", "e", "w"),
    ]
    assert told(find_near_duplicates(images)) == [
        ("val", False, "b: looks like a in train"),
        ("val", False, "c: looks like a in train"),
    ]


@pytest.mark.usefixtures("workplace")
def test_the_counts_are_those_of_the_drawn_images() -> None:
    report = check_data(describe(), DATA, model=BLITZNET300_MOBILE)
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
    assert [text.count(",") for text in absent] == [20 - 3 - 1]
    assert ", cat, " in absent[0]
    assert report.errors == []


# Python 3.12 and later warn when a process with threads, as torch's, forks.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("workplace")
def test_worker_processes_find_the_same() -> None:
    Path("VOC/JPEGImages/000002.jpg").write_bytes(b"")
    alone, shared = (
        check_data(describe(), DATA, None, BLITZNET300_MOBILE, workers).to_dict()
        for workers in (0, 2)
    )
    assert alone == shared
    assert alone["errors"] == 1


@pytest.mark.usefixtures("workplace")
def test_a_source_that_cannot_be_opened_leaves_the_others_to_be_checked() -> None:
    describe()
    text = DATA.read_text().replace("Main/train", "Main/nothing")
    DATA.write_text(text)
    Path("VOC/JPEGImages/000006.jpg").unlink()
    report = check_data(read_description(DATA), DATA)
    assert [line for line in report_lines(report) if line.startswith("error: ")] == [
        "error: data.yaml, train, source 1: VOC/ImageSets/Main/nothing.txt does not exist",
        "error: VOC/JPEGImages/000006.jpg: no such file",
    ]


@pytest.mark.usefixtures("workplace")
def test_the_sheet_holds_a_cell_a_readable_image_and_is_always_the_same() -> None:
    Path("VOC/JPEGImages/000002.jpg").write_bytes(b"")
    sources = check_data(describe(), DATA).sources
    sheet = draw_sheet(sources, VOC_CLASSES)
    assert 4 * CELL[0] < sheet.width < 4 * CELL[0] + 60
    assert 2 * CELL[1] < sheet.height < 2 * CELL[1] + 100  # five images: two rows
    assert sheet.tobytes() == draw_sheet(sources, VOC_CLASSES).tobytes()


def test_the_same_finding_is_one_line_and_five_of_a_kind_are_shown() -> None:
    problems = [Problem("tiny-box", f"{n}.xml", f"tiny {n}", is_error=False) for n in range(7)]
    problems += [Problem("picture", f"{n}.jpg", "bad") for n in range(9)]
    problems += [Problem("empty-picture", "z.jpg", "empty", is_error=False)]
    report = CheckReport("d", None, problems, {})
    assert list(report_lines(report)) == [
        "error: 0.jpg: bad (and 8 more: 1.jpg, 2.jpg, ...)",
        *(f"warning: {n}.xml: tiny {n}" for n in range(5)),
        "warning: z.jpg: empty",
        "2 more findings; --verbose lists all",
        "0 images checked: 9 errors, 8 warnings",
    ]
    first, *others = report_lines(report, verbose=True)
    assert first.endswith("(and 8 more: " + ", ".join(f"{n}.jpg" for n in range(1, 9)) + ")")
    assert len(others) == 9


def paths(sources: list[LabelSource]) -> list[str]:
    return [source.labels(i).path.stem for source in sources for i in range(len(source))]


def test_what_a_run_leaves_out_is_recorded_with_the_reasons(workplace: Path) -> None:
    Path("VOC/JPEGImages/000003.jpg").write_bytes(b"")
    Path("VOC/Annotations/000001.xml").unlink()
    description = describe(weight=2.5)
    errors = check_data(description, DATA).errors
    write_skipped(workplace, errors, description)
    record = json.loads((workplace / SKIPPED_FILE).read_text())
    assert record["pictures"] == {"train": [4]}
    assert [image["picture"] for image in record["skipped"]] == [1, 3]
    assert [image["why"] for image in record["skipped"]] == [
        "train, source 1, image 1: VOC/Annotations/000001.xml does not exist; every listed "
        "image needs an annotation",
        "VOC/JPEGImages/000003.jpg: the file is empty",
    ]
    left = without_skipped(description.open_split("train"), "train", workplace)
    assert paths(left) == ["000002", "000005"]
    assert left[0].weight == 2.5
    assert paths(without_skipped(description.open_split("val"), "val", workplace)) == [
        "000004",
        "000006",
    ]


def test_a_record_of_other_data_or_of_everything_is_refused(workplace: Path) -> None:
    description = describe()
    every = description.open_split("train")
    assert without_skipped(every, "train", workplace) == every  # without a record
    problems = [
        Problem("picture", "x", "bad", split="train", source=1, index=index) for index in range(4)
    ]
    write_skipped(workplace, problems, description)
    sources = description.open_split("train")
    with pytest.raises(InputError, match=r"^every image of train has an error; see .*json$"):
        without_skipped(sources, "train", workplace)
    with pytest.raises(InputError, match=r"with \[4\] images, now there are \[3\]; start a new"):
        without_skipped([sources[0].subset([0, 1, 2])], "train", workplace)
    (workplace / SKIPPED_FILE).write_text("[]")
    with pytest.raises(InputError, match="is damaged; start a new run"):
        without_skipped(sources, "train", workplace)


def test_every_kind_of_problem_has_a_title() -> None:
    files = Path(labels.__file__).parent.rglob("*.py")
    code = "".join(path.read_text() for path in files)
    kinds = set(re.findall(r'[Pp]roblem\(\s*"([a-z-]+)"', code))
    assert kinds == set(TITLES)
