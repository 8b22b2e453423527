"""`predict --format` and `eval --submission`, with the results read back by our readers."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import blitznet
from blitznet.classes import VOC_CLASSES
from blitznet.cli import main
from blitznet.data.description import read_description
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.scene import Scene
from fixtures.make_fixtures import VOC_MINI
from tiny_network import NAMES, tiny_model

SCORE = "0.2"


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with three images in `album`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album").mkdir()
    for width, name in [(40, "a.jpg"), (50, "two words.png"), (60, "c.jpg")]:
        pixels = np.random.default_rng(width).integers(0, 256, (36, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "album" / name)
    return tmp_path


def predict(checkpoint: str, *arguments: str) -> int:
    options = ["--model", checkpoint, "--device", "cpu", "--no-draw", "--score", SCORE]
    return main(["predict", *options, *arguments])


def scenes(checkpoint: str) -> list[Scene]:
    predictor = blitznet.load(checkpoint, device="cpu")
    paths = ["album/a.jpg", "album/c.jpg", "album/two words.png"]
    return [predictor.predict(path, score=float(SCORE)) for path in paths]


def assert_read_back(
    folder: Path, entry: dict[str, object], expected: list[Scene], atol: float
) -> None:
    """A data description with this source must read the predicted objects."""
    description = {"classes": list(NAMES[1:]), "test": [entry]}
    (folder / "read.yaml").write_text(yaml.safe_dump(description))
    (source,) = read_description(folder / "read.yaml").open_split("test")
    samples = {Path(sample.source).name: sample for sample in map(source.read, range(len(source)))}
    assert len(samples) == len(expected) > 0
    for scene in expected:
        assert scene.source is not None
        sample = samples[Path(scene.source).name]
        assert sample.boxes is not None
        assert len(scene.boxes) > 0
        np.testing.assert_allclose(sample.boxes, scene.boxes, atol=atol)
        np.testing.assert_array_equal(sample.labels, scene.labels)
        if entry["format"] == "voc":
            np.testing.assert_array_equal(sample.seg_map, scene.seg_map)


def test_our_readers_give_back_what_was_found(checkpoint: str, album: Path) -> None:
    pytest.importorskip("skimage")
    assert predict(checkpoint, "album", "--format", "coco,voc", "--format", "yolo") == 0
    labels = album / "runs/predict/labels"
    expected = scenes(checkpoint)

    coco = {"format": "coco", "images": str(album / "album"), "boxes": True}
    coco["annotations"] = str(labels / "coco/instances.json")
    assert_read_back(album, coco, expected, atol=0.011)  # corner and size are rounded

    shutil.copytree("album", labels / "voc/JPEGImages")
    voc = {"format": "voc", "root": str(labels / "voc"), "image_set": "Main/default"}
    voc |= {"masks": "SegmentationClass", "mask_values": dict(enumerate(NAMES))}
    assert_read_back(album, voc, expected, atol=0.00501)

    shutil.copytree("album", labels / "yolo/images/train")
    yolo = {"format": "yolo", "data": str(labels / "yolo/data.yaml"), "split": "train"}
    assert_read_back(album, yolo, expected, atol=1e-4)


def test_images_of_one_name_keep_their_folders_in_every_format(
    checkpoint: str, album: Path
) -> None:
    (album / "other").mkdir()
    shutil.copy("album/a.jpg", "other/a.jpg")
    arguments = ["album/a.jpg", "other/a.jpg", "--format", "coco,voc,yolo", "--out", "out"]
    assert predict(checkpoint, *arguments) == 0
    coco = json.loads(Path("out/labels/coco/instances.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["album/a.jpg", "other/a.jpg"]
    voc = Path("out/labels/voc")
    assert (voc / "ImageSets/Main/default.txt").read_text() == "album/a\nother/a\n"
    assert (voc / "Annotations/other/a.xml").is_file()
    train = Path("out/labels/yolo/train.txt").read_text()
    assert train == "./images/train/album/a.jpg\n./images/train/other/a.jpg\n"


def test_an_image_that_cannot_be_read_is_in_no_list(checkpoint: str, album: Path) -> None:
    (album / "album/b.jpg").write_text("no image")
    assert predict(checkpoint, "album", "--format", "voc", "--out", "out") == 1
    listed = Path("out/labels/voc/ImageSets/Main/default.txt").read_text()
    assert listed == 'a\nc\n"two words"\n'


@pytest.fixture
def voc_checkpoint(tmp_path: Path) -> str:
    """Untrained, with VOC's classes."""
    names = VOC_CLASSES
    model = tiny_model(num_classes=len(names))
    path = tmp_path / "tiny voc.safetensors"
    save_checkpoint(path, model, CheckpointInfo(model=model.config, names=names))
    return str(path)


def test_a_split_without_labels_is_submitted(
    voc_checkpoint: str, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"format": "voc", "root": str(VOC_MINI), "image_set": "Main/trainval", "boxes": False}
    Path("data.yaml").write_text(yaml.safe_dump({"classes": "voc", "test": [entry]}))
    evaluate = ["eval", voc_checkpoint, "--data", "data.yaml", "--split", "test"]
    evaluate += ["--device", "cpu", "--workers", "0"]

    assert main(evaluate) == 1
    assert "the split 'test' has no labels to measure with" in capsys.readouterr().err

    assert main([*evaluate, "--submission", "voc", "--out", "out"]) == 0
    assert capsys.readouterr().out == "Files for the voc server: out\n"
    assert not Path("out/metrics.json").exists()
    with tarfile.open("out/results.tgz") as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    assert len(files) == 20 + 6
    for number in range(1, 7):
        name = f"results/VOC2012/Segmentation/comp6_test_cls/00000{number}.png"
        assert name in files
        with (
            Image.open(Path("out") / name) as stored,
            Image.open(VOC_MINI / f"JPEGImages/00000{number}.jpg") as image,
        ):
            assert stored.size == image.size


def test_a_labelled_split_is_measured_and_submitted(voc_checkpoint: str, album: Path) -> None:
    entry = {"format": "voc", "root": str(VOC_MINI), "image_set": "Main/trainval"}
    Path("data.yaml").write_text(yaml.safe_dump({"classes": "voc", "val": [entry]}))
    evaluate = ["eval", voc_checkpoint, "--data", "data.yaml", "--submission", "voc"]
    assert main([*evaluate, "--device", "cpu", "--workers", "0", "--out", "out"]) == 0
    assert json.loads(Path("out/metrics.json").read_text())["pictures"] == 6
    assert Path("out/results.tgz").is_file()
