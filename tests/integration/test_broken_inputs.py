"""Broken inputs, and the line that users see for each."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from blitznet.cli import main
from fixtures.make_fixtures import VOC_MINI
from fixtures.tiny_run import tiny_recipe

JPEG = Path("VOC/JPEGImages/000001.jpg")
XML = Path("VOC/Annotations/000001.xml")
MAP = Path("VOC/SegmentationClass/000001.png")
LIST = Path("VOC/ImageSets/Main/train.txt")
DATA = Path("data.yaml")
COCO = Path("coco.json")
ROWS = Path("yolo/labels/000001.txt")
FORMATS = "JPEG, PNG, WEBP, TIFF, BMP, GIF, PPM, JPEG2000, AVIF, HEIF"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the same three images in VOC's, COCO's and YOLO's format, all valid."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(VOC_MINI, "VOC")
    LIST.write_text("000001\n000002\n000003\n")
    Path("VOC/ImageSets/Main/val.txt").write_text("000004\n000006\n")
    describe()
    coco = {
        "images": [
            {"id": 1, "file_name": "000001.jpg", "width": 64, "height": 48},
            {"id": 2, "file_name": "000002.jpg", "width": 64, "height": 48},
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "aeroplane"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 5, "bbox": [14, 12, 36, 16], "area": 576,
             "iscrowd": 0, "segmentation": [[14, 12, 50, 12, 50, 28, 14, 28]]},
            {"id": 8, "image_id": 2, "category_id": 3, "bbox": [4, 22, 32, 20], "area": 640,
             "iscrowd": 0, "segmentation": [[4, 22, 36, 22, 36, 42, 4, 42]]},
        ],
    }  # fmt: skip
    COCO.write_text(json.dumps(coco))
    for name, row in (("000001", "0 0.5 0.4 0.5 0.3\n"), ("000002", "1 0.3 0.6 0.5 0.4\n")):
        for folder in ("images", "labels"):
            Path("yolo", folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(f"VOC/JPEGImages/{name}.jpg", "yolo/images")
        Path(f"yolo/labels/{name}.txt").write_text(row)
    Path("yolo/names.txt").write_text("aeroplane\ncar\n")
    return tmp_path


def describe(classes: Any = "voc", **entry: Any) -> None:
    """Write data.yaml with one VOC source per split; `entry` changes that of train."""
    voc = {"format": "voc", "root": "VOC", "masks": "SegmentationClass"}
    train = voc | {"image_set": "Main/train"} | entry
    content = {"classes": classes, "train": [train], "val": [voc | {"image_set": "Main/val"}]}
    DATA.write_text(yaml.safe_dump(content))


def describe_coco() -> None:
    entry = {"format": "coco", "images": "VOC/JPEGImages", "annotations": "coco.json"}
    content = {"classes": "voc", "train": [entry | {"masks": "from_instances"}]}
    DATA.write_text(yaml.safe_dump(content))


def describe_yolo(**entry: Any) -> None:
    yolo = {"format": "yolo", "root": "yolo", "names": "yolo/names.txt"} | entry
    DATA.write_text(yaml.safe_dump({"classes": "voc", "train": [yolo]}))


def edit_coco(change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(COCO.read_text())
    change(content)
    COCO.write_text(json.dumps(content))


def box(**corners: str) -> None:
    """Change corners of the box 15 13 50 28."""
    text = XML.read_text()
    for edge, old in (("xmin", 15), ("ymin", 13), ("xmax", 50), ("ymax", 28)):
        new = corners.get(edge, str(old))
        assert f"<{edge}>{old}</{edge}>" in text
        text = text.replace(f"<{edge}>{old}</{edge}>", f"<{edge}>{new}</{edge}>")
    XML.write_text(text)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def draw_map(pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(MAP)


def turn_by_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(JPEG).save(JPEG, exif=exif)


def same_in_val_as_png() -> None:
    """A PNG with a JPEG's name: other bytes, the same pixels."""
    Image.open(JPEG).save("VOC/JPEGImages/000004.jpg", format="PNG")
    shutil.copy(XML, "VOC/Annotations/000004.xml")
    shutil.copy(MAP, "VOC/SegmentationClass/000004.png")


@dataclass(frozen=True)
class Case:
    """One broken input.

    Attributes:
        what: description.
        damage: changes the working folder.
        line: the expected message.
    """

    what: str
    damage: Callable[[], object]
    line: str


def save_map_as_jpeg() -> None:
    Image.open(MAP).convert("L").save(MAP, format="JPEG")


PICTURES = [
    Case("an empty image", lambda: cut(JPEG, 0), f"{JPEG}: the file is empty"),
    Case(
        "a text file called .jpg",
        lambda: JPEG.write_text("no image at all"),
        f"{JPEG}: not an image; BlitzNet reads {FORMATS}",
    ),
    Case(
        "an image cut off in the middle",
        lambda: cut(JPEG, 1500),
        f"{JPEG}: damaged or cut off (image file is truncated (8 bytes not processed))",
    ),
    Case(
        "an image cut off in its header",
        lambda: cut(JPEG, 100),
        f"{JPEG}: damaged JPEG image (Truncated File Read)",
    ),
    Case("a missing image", JPEG.unlink, f"{JPEG}: no such file"),
    Case(
        "a folder in place of an image",
        lambda: (JPEG.unlink(), JPEG.mkdir()),
        f"{JPEG}: a folder, not an image",
    ),
    Case(
        "an image whose header promises too much",
        lambda: JPEG.write_bytes(b"P6\n40000 40000\n255\n" + bytes(100)),
        f"{JPEG}: 40000x40000 pixels, more than 100 million; make it smaller, "
        "or predict with --max-megapixels",
    ),
    Case(
        "a camera's orientation that the labels ignore",
        turn_by_exif,
        f"{JPEG}: the camera's orientation (EXIF) turns it to 48x64, its labels are for 64x48 as "
        "stored; turn the pixels and remove the tag, or label it upright",
    ),
    Case(
        "an image of val in train, saved in another format",
        same_in_val_as_png,
        f"{JPEG}: is the same image as VOC/JPEGImages/000004.jpg in val; keep one",
    ),
]
LABELS = [
    Case(
        "an empty annotation",
        lambda: cut(XML, 0),
        f"train, source 1, image 1: {XML} cannot be read as XML: "
        "no element found: line 1, column 0",
    ),
    Case(
        "an annotation in an unknown encoding",
        lambda: XML.write_text('<?xml version="1.0" encoding="klingon"?><annotation/>'),
        f"train, source 1, image 1: {XML} cannot be read as XML: unknown encoding: klingon",
    ),
    Case(
        "a missing annotation",
        XML.unlink,
        f"train, source 1, image 1: {XML} does not exist; every listed image needs an annotation",
    ),
    Case(
        "an object without a name",
        lambda: edit(XML, "<name>aeroplane</name>", ""),
        f"{XML}, object 1: an object needs a class name",
    ),
    Case(
        "a misspelt class",
        lambda: edit(XML, "aeroplane", "airoplane"),
        f"{XML}, object 1: unknown class 'airoplane'; did you mean 'aeroplane'?",
    ),
    Case(
        "an object without a box",
        lambda: edit(XML, "bndbox", "box"),
        f"{XML}, object 1: bndbox needs the numbers xmin, ymin, xmax, ymax",
    ),
    Case(
        "a corner that is not a number",
        lambda: box(xmin="nan"),
        f"{XML}, object 1: box [nan, 13.0, 50.0, 28.0] is not finite",
    ),
    Case(
        "a box with its corners exchanged",
        lambda: box(xmin="50", xmax="15"),
        f"{XML}, object 1: box [50.0, 13.0, 15.0, 28.0] has no area",
    ),
    Case(
        "a box beyond the right edge",
        lambda: box(xmax="90"),
        f"{XML}, object 1: box [15.0, 13.0, 90.0, 28.0] reaches beyond the image of 64x48 pixels",
    ),
]
MAPS = [
    Case(
        "a map of another size",
        lambda: draw_map(np.zeros((24, 32), np.uint8)),
        f"{MAP}: is 32x24 but its image is 64x48; a map needs the size of its image",
    ),
    Case(
        "a map with an id beyond the classes",
        lambda: draw_map(np.full((48, 64), 21, np.uint8)),
        f"{MAP}: 3072 pixels have values without a class of the network: 21",
    ),
    Case(
        "a map saved as JPEG",
        save_map_as_jpeg,
        f"{MAP}: is a JPEG, which changes values; save maps as PNG",
    ),
    Case(
        "a map that is cut off",
        lambda: cut(MAP, 900),
        f"{MAP}: damaged or cut off (image file is truncated)",
    ),
]
SOURCES = [
    Case(
        "an image set that does not exist",
        LIST.unlink,
        f"data.yaml, train, source 1: {LIST} does not exist",
    ),
    Case(
        "a folder of maps that does not exist",
        lambda: describe(masks="Segmentation"),
        "data.yaml, train, source 1: CWD/VOC/Segmentation does not exist; check `masks`",
    ),
    Case(
        "labels_only with a class that the network lacks",
        lambda: describe(labels_only=["cat", "dgo"]),
        "data.yaml, train, source 1: labels_only: unknown class 'dgo'; did you mean 'dog'?",
    ),
    Case(
        "a label map onto a class that the network lacks",
        lambda: describe(label_map={"kitty": "catt"}),
        "data.yaml, train, source 1: label_map: unknown class 'catt'; did you mean 'cat'?",
    ),
    Case(
        "a COCO file that is cut off",
        lambda: (describe_coco(), COCO.write_text('{"images": [')),
        "data.yaml, train, source 1: coco.json cannot be read as JSON: "
        "Expecting value: line 1 column 13 (char 12)",
    ),
    Case(
        "YOLO images without any labels",
        lambda: (describe_yolo(), shutil.rmtree("yolo/labels")),
        "data.yaml, train, source 1: no image has a label file: yolo/labels/000001.txt "
        "would be that of yolo/images/000001.jpg; check `labels`, or make an empty file for an "
        "image without objects",
    ),
]
OBJECTS = [
    Case(
        "a COCO category that the network lacks",
        lambda: (describe_coco(), edit_coco(lambda c: c["categories"][1].update(name="airplane"))),
        "coco.json, annotation 7: unknown class 'airplane'; did you mean 'aeroplane'?",
    ),
    Case(
        "a COCO box of three numbers",
        lambda: (describe_coco(), edit_coco(lambda c: c["annotations"][0].update(bbox=[1, 2, 3]))),
        "coco.json, annotation 7: bbox is [1, 2, 3]; it needs four numbers x, y, width, height",
    ),
    Case(
        "a COCO run-length code for another size",
        lambda: (
            describe_coco(),
            edit_coco(
                lambda c: c["annotations"][0].update(
                    segmentation={"size": [10, 10], "counts": [100]}
                )
            ),
        ),
        f"{JPEG}: coco.json, annotation 7: its run-length code is for height and width [10, 10], "
        "its image has [48, 64]",
    ),
    Case(
        "a YOLO box in pixels",
        lambda: (describe_yolo(), ROWS.write_text("0 32 20 36 16\n")),
        f"{ROWS}, line 1: 36 is not a fraction; divide x by the width of the image and y by its "
        "height",
    ),
]
DESCRIPTIONS = [
    Case(
        "a missing description",
        DATA.unlink,
        "data.yaml does not exist",
    ),
    Case(
        "a description that is no YAML",
        lambda: DATA.write_text("classes: [cat"),
        "data.yaml cannot be read as YAML: while parsing a flow sequence at "
        "line 1, column 10: classes: [cat ^ expected ',' or ']', but got '<stream end>' at "
        "line 1, column 14: classes: [cat ^",
    ),
    Case(
        "an unknown format",
        lambda: describe(format="pascal"),
        "data.yaml: train, source 1: format is one of coco, masks, sbd, voc, yolo, got {'format': "
        "'pascal', 'image_set': 'Main/train', 'masks': 'SegmentationClass', 'root': 'VOC'}",
    ),
    Case(
        "an unknown key",
        lambda: describe(mask="SegmentationClass"),
        "data.yaml: train, source 1: there is no key 'mask' in format voc; did you mean 'masks'? "
        "there are boxes, corners, exclude, format, image_set, label_map, labels_only, "
        "mask_colours, mask_values, masks, max_pictures, part, refined_masks, root, sbd, "
        "void_missing, weight",
    ),
    Case(
        "a cap of no images",
        lambda: describe(max_pictures=0),
        "data.yaml: train, source 1, max_pictures: "
        "Input should be greater than or equal to 1, got 0",
    ),
]


def by_name(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.what for case in cases])


def check(*arguments: str) -> int:
    return main(
        ["check-data", "data.yaml", "-m", "blitznet300-mobile", "--workers", "0", *arguments]
    )


def test_the_sound_data_has_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    for write in (describe, describe_coco, describe_yolo):
        write()
        assert check() == 0, capsys.readouterr().out
        assert "error: " not in capsys.readouterr().out


@by_name(PICTURES + LABELS + MAPS + SOURCES + OBJECTS)
def test_check_data_has_one_line_for(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.damage()
    assert check() == 1
    output = capsys.readouterr()
    assert output.err == ""
    errors = [line for line in output.out.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {case.line.replace('CWD', str(Path.cwd()))}"]


@by_name(DESCRIPTIONS)
def test_no_description_is_read_from(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.damage()
    assert check() == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"blitznet: {case.line}\n"


@by_name(PICTURES[:4])
def test_predict_says_the_same_of(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.damage()
    assert main(["predict", str(JPEG), "VOC/JPEGImages/000002.jpg", "--device", "cpu"]) == 1
    assert f"blitznet: {case.line}\n" == capsys.readouterr().err


@by_name([LABELS[0], LABELS[4], MAPS[0]])
def test_train_does_not_start_with(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yaml").write_text(yaml.safe_dump(tiny_recipe().model_dump(mode="json")))
    case.damage()
    command = ["train", "recipe.yaml", "--data", "data.yaml", "--device", "cpu", "--workers", "0"]
    assert main(command) == 1
    assert capsys.readouterr().err == (
        f"blitznet: data.yaml has 1 error, the first: {case.line}; see all with blitznet "
        "check-data data.yaml, or skip those images with --skip-bad\n"
    )
    assert not Path("runs").exists()


def test_a_wrong_ending_and_a_missing_map_are_no_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.open(JPEG).save(JPEG, format="PNG")
    MAP.unlink()
    assert check() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "a library cannot be loaded (libtorch_cpu.so: failed to map segment from shared object)"
            "; free memory, or reinstall it",
        ),
        (
            MemoryError(),
            "out of memory; free some, or use smaller images, batches or networks",
        ),
    ],
)
def test_too_little_memory_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(main.__globals__, "app", fail)
    assert main(["models"]) == 1
    assert capsys.readouterr().err == f"blitznet: {line}\n"
