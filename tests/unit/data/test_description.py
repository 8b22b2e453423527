"""DATA.yaml: valid content, and messages for everything else."""

import re
from pathlib import Path

import pytest
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.description import read_description
from blitznet.data.source import locate
from blitznet.data.voc import VocEntry
from blitznet.errors import LabelError
from fixtures.make_fixtures import VOC_MINI, draw

ENTRY = "{format: voc, root: VOC, image_set: Main/trainval}"


def written(folder: Path, text: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(text)
    return path


def test_every_field_of_the_contract_is_read(tmp_path: Path) -> None:
    description = read_description(
        written(
            tmp_path,
            """
            classes: voc
            train:
              - {format: voc, root: VOC, image_set: Main/trainval, boxes: true, masks: Maps}
              - {format: voc, root: /abs, image_set: Main/train, boxes: false, masks: Maps}
            val:
              - {format: voc, root: VOC, image_set: Main/val}
            """,
        )
    )
    assert description.classes == VOC_CLASSES
    assert description.folder == tmp_path
    assert list(description.splits) == ["train", "val"]
    first, second = description.splits["train"]
    assert (first.root, first.image_set, first.boxes, first.masks) == (
        Path("VOC"),
        "Main/trainval",
        True,
        Path("Maps"),
    )
    assert (second.root, second.boxes) == (Path("/abs"), False)
    (only,) = description.splits["val"]
    assert (only.boxes, only.masks) == (True, None)


def test_paths_are_relative_to_the_file_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path,
        "classes: voc\n"
        "train: [{format: voc, root: data/VOC2012, image_set: Main/trainval, masks: Segm}]",
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "VOC2012").symlink_to(VOC_MINI)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = Path("..") / path.name
    with pytest.raises(LabelError, match=r"^.*/elsewhere/\.\./data/VOC2012/Segm does not exist"):
        read_description(path).open_split("train")


def test_an_unknown_split_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    description = read_description(
        written(tmp_path, f"classes: voc\ntrain: [{ENTRY}]\nval: [{ENTRY}]")
    )
    with pytest.raises(
        LabelError, match=r"^the data description has no split 'test'; there are train, val$"
    ):
        description.open_split("test")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", " is not a data description; it needs `classes` and splits such as `train`"),
        ("- a\n- b", " is not a data description; it needs `classes` and splits such as `train`"),
        ("train: []", " is not a data description; it needs `classes` and splits such as `train`"),
        ("classes: coco80", ": classes: give voc, coco or a list of names"),
        ("classes: []", ": classes: give voc, coco or a list of names"),
        ("classes: [1, 2]", ': classes: 1 is not text; write it in quotes, as "1"'),
        (f"classes: [{list(range(1000))}]", ": classes: [0, 1, 2, 3"),
        ("classes: [on, off]", ": classes: True is not text: YAML reads on, off, yes, no"),
        (f"classes: {[f'c{i}' for i in range(255)]}", ": classes: 255 classes; a network has"),
        ("classes: voc\ntrain: []\nval: 1.5", ": val is 1.5; give a list of sources, or a sh"),
        ("classes: ['']", ": classes: '' cannot be the name of a class: it is empty"),
        ("classes: [ignore]", ": classes: 'ignore' cannot be the name of a class: a label map"),
        ("classes: ['*']", ": classes: '*' cannot be the name of a class: a label map"),
        ("classes: ['a ']", ": classes: 'a ' cannot be the name of a class: it begins or ends"),
        (
            'classes: ["a\\nb"]',
            ": classes: 'a\\nb' cannot be the name of a class: it contains a line",
        ),
        ("classes: [a, a]", ": classes: class names must differ, and background is implied"),
        ("classes: [background]", ": classes: class names must differ, and background is implied"),
        ("classes: voc\ntrain: []", ": train: List should have at least 1 item"),
        ("classes: voc\ntrain: []\nval: 10%", ": val is '10%'; give a list of sources, or a sh"),
        ("classes: voc\ntrain: 5", ": train: a split is a list of sources, like [{format: yolo, "),
        ("classes: voc\nnc: 2\ntrain: []", ": nc: a split is a list of sources, like [{format"),
        ("classes: voc\n1: [{format: voc, root: a}]", ": 1, [key]: Input should be a valid string"),
        ("classes: voc\ntrain: [{root: a}]", ": train, source 1: format is one of coco, masks,"),
        ("classes: voc\ntrain: [{format: voc}]", ": train, source 1, root: Field required"),
        (
            "classes: voc\ntrain: [{format: kitti}]",
            ": train, source 1: format is one of coco, masks, sbd, voc, yo",
        ),
        (
            "classes: voc\ntrain: [{format: voc, root: a, image_set: b, mask: c}]",
            ": train, source 1: there is no key 'mask' in format voc; did you mean 'masks'?",
        ),
        (
            "classes: voc\ntrain: [{format: masks, images: a, mask: b}]",
            ": train, source 1: there is no key 'mask' in format masks; did you mean 'masks'?",
        ),
        (
            "classes: voc\ntrain: [{format: voc, root: a, image_set: b, boxes: false}]",
            ": train, source 1: a source to train with needs boxes: true, masks: FOLDER, or both",
        ),
        (
            "classes: voc\ntrain: [{format: masks, images: a, masks: b, colours: voc, "
            "void_missing: true}]",
            ": train, source 1: void_missing: compares maps with boxes; it needs boxes: true",
        ),
        (
            "classes: voc\nval: [{format: coco, images: a, annotations: b, boxes: false}]",
            ": val, source 1: a source to train with needs boxes: true, masks: FOLDER, or both",
        ),
    ],
)
def test_a_wrong_description_gets_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(LabelError) as raised:
        read_description(path)
    assert str(raised.value).startswith(f"{path}{problem}")
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"a: [", b"classes: 2001-99-99", b"\t- x"])
def test_a_file_that_is_no_yaml_gets_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=f"^{re.escape(str(path))} cannot be read as YAML: .+$"):
        read_description(path)


def test_positions_run_through_the_sources_one_after_another() -> None:
    six, five = (
        VocEntry(root=VOC_MINI, image_set=f"{kind}/trainval").open(Path(), VOC_CLASSES)
        for kind in ("Main", "Segmentation")
    )
    found = [locate([six, five, six], position) for position in range(17)]
    assert found == [
        *((six, i) for i in range(6)),
        *((five, i) for i in range(5)),
        *((six, i) for i in range(6)),
    ]
    with pytest.raises(IndexError):
        locate([six, five, six], 17)


def test_a_split_to_predict_on_needs_no_labels(tmp_path: Path) -> None:
    text = "classes: voc\ntest: [{format: voc, root: a, image_set: b, boxes: false}]"
    (entry,) = read_description(written(tmp_path, text)).entries("test")
    assert not entry.is_labelled


def test_a_share_of_the_training_images_can_be_set_apart(tmp_path: Path) -> None:
    draw(tmp_path / "VOC")
    described = "classes: voc\ntrain: [{format: voc, root: VOC}]\n"
    (everything,) = read_description(written(tmp_path, described)).open_split("train")
    description = read_description(written(tmp_path, f"{described}val: 0.34\n"))
    (train,), (val,) = (description.open_split(split) for split in ("train", "val"))
    ids = [[one.image_id(i) for i in range(len(one))] for one in (train, val, everything)]
    assert len(val) == round(0.34 * len(everything)) > 0
    assert sorted(ids[0] + ids[1]) == ids[2]
    (again,) = description.open_split("val")
    assert [again.image_id(i) for i in range(len(again))] == ids[1]


@pytest.mark.parametrize("limit", ["part: [0.5, 1]", "max_pictures: 3"])
def test_what_is_set_apart_is_a_share_of_a_limited_source(tmp_path: Path, limit: str) -> None:
    draw(tmp_path / "VOC")
    described = f"classes: voc\ntrain: [{{format: voc, root: VOC, {limit}}}]\n"
    (everything,) = read_description(written(tmp_path, described)).open_split("train")
    description = read_description(written(tmp_path, f"{described}val: 0.34\n"))
    (train,), (val,) = (description.open_split(split) for split in ("train", "val"))
    assert [len(one) for one in (everything, train, val)] == [3, 2, 1]
    ids = [[one.image_id(i) for i in range(len(one))] for one in (train, val, everything)]
    assert sorted(ids[0] + ids[1]) == ids[2]


def test_a_data_yaml_of_ultralytics_is_a_description(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "labels").mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / split / "images/a.png")
        (tmp_path / split / "labels/a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    text = "train: train/images\nval: val/images\ntest:\nnc: 2\nnames: {0: cat, 1: dog}\n"
    description = read_description(written(tmp_path, text))
    assert description.classes == ("background", "cat", "dog")
    assert list(description.splits) == ["train", "val"]
    sample = description.open_split("val")[0].read(0)
    assert sample.labels.tolist() == [2]
    assert sample.seg_map is None

    (tmp_path / "train/labels/a.txt").write_text("0 0 0 1 0 1 1\n")
    text = "train: train/images\nval: 0.5\nnames: [cat, dog]\n"
    Image.new("RGB", (9, 9), "red").save(tmp_path / "train/images/b.png")
    description = read_description(written(tmp_path, text))
    (train,), (val,) = (description.open_split(split) for split in ("train", "val"))
    assert (len(train), len(val)) == (1, 1)
    maps = [one.read(0).seg_map for one in (train, val)]
    assert {int(one.max()) for one in maps if one is not None} == {0, 1}  # the polygon, nothing
