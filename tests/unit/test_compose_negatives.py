"""tools/compose_negatives.py, on drawn cut-outs and backgrounds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import compose_negatives as tool
from blitznet.data.description import read_description
from fixtures.label_files import assert_same_files


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    """A red cut-out of 40x20 pixels within a transparent border, and a blue background."""
    thing = np.zeros((40, 60, 4), np.uint8)
    thing[10:30, 10:50] = 255, 0, 0, 255
    Image.fromarray(thing).save(tmp_path / "thing.png")
    Image.new("RGB", (90, 60), (0, 0, 255)).save(tmp_path / "sky.png")
    for name, text in (("things.txt", "thing.png\n"), ("places.txt", "sky.png\n")):
        (tmp_path / name).write_text(text)
    return tmp_path / "things.txt", tmp_path / "places.txt"


def test_the_result_is_a_source_of_images_without_objects(
    lists: tuple[Path, Path], tmp_path: Path
) -> None:
    tool.compose_negatives(*lists, tmp_path / "negatives", number=12)
    description = tmp_path / "data.yaml"
    source = next(line for line in str(tool.__doc__).splitlines() if line.startswith("{"))
    description.write_text(f"classes: [cat]\ntrain: [{source}]\n")
    (opened,) = read_description(description).open_split("train")
    samples = [opened.read(index) for index in range(len(opened))]
    assert len(samples) == 12
    for sample in samples:
        assert sample.boxes is not None
        assert sample.seg_map is not None
        assert sample.boxes.shape == (0, 4)
        assert sample.seg_map.shape == sample.image.shape[:2]
        assert sample.image.shape[1::-1] in tool.SIZES
        assert not sample.seg_map.any()
    shares = [(np.argmax(sample.image, axis=2) == 0).mean() for sample in samples]
    assert min(shares) < 0.01  # none
    assert max(shares) > 0.1


def test_images_depend_on_the_seed_alone(lists: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        tool.compose_negatives(*lists, tmp_path / name, number=2, seed=seed)
    assert_same_files(tmp_path / "one", tmp_path / "two")
    image = "JPEGImages/negative_0000.jpg"
    assert (tmp_path / "one" / image).read_bytes() != (tmp_path / "three" / image).read_bytes()
