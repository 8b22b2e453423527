"""Image folders with maps: values, palettes, colours, and invalid maps."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from blitznet.classes import IGNORE_INDEX, voc_palette
from blitznet.data.description import DataDescription
from blitznet.data.seg_map import parse_colour
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError
from fixtures.label_files import draw, opened, raises

SIZE = (60, 40)
ROAD, TREE = (128, 64, 128), (0, 128, 0)
COLOURS = "{'0,0,0': background, '#804080': road, '0, 128, 0': tree}"


def open_entry(folder: Path, **fields: str) -> LabelSource:
    fields = {"images": "images", "masks": "masks"} | fields
    entry = ", ".join(f"{key}: {value}" for key, value in fields.items())
    return opened(folder, f"format: masks, {entry}", "[road, tree]")


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def drawn_ids() -> np.ndarray:
    """A map with road on the left and a disc of tree on the right."""
    image = Image.new("L", SIZE, 0)
    ImageDraw.Draw(image).rectangle((0, 10, 19, 39), fill=1)
    ImageDraw.Draw(image).ellipse((30, 5, 55, 30), fill=2)
    return np.array(image)


def drawn_colours() -> np.ndarray:
    return np.array([(0, 0, 0), ROAD, TREE], np.uint8)[drawn_ids()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image; a test makes its map."""
    draw(tmp_path / "images" / "a.jpg", SIZE)
    (tmp_path / "masks").mkdir()
    return tmp_path


def read_map(folder: Path, **fields: str) -> np.ndarray:
    sample = open_entry(folder, **fields).read(0)
    assert sample.boxes is None
    assert sample.seg_map.dtype == np.uint8
    return sample.seg_map


VALUES = "{0: background, 1: road, 2: tree}"


@pytest.mark.parametrize("values", [VALUES, "[background, road, tree]"])
def test_pixel_values_are_classes(folder: Path, values: str) -> None:
    ids = drawn_ids()
    ids[0, 0] = 255
    save(ids, folder / "masks" / "a.png")
    assert read_map(folder, values=values).tolist() == ids.tolist()


def as_palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(voc_palette().ravel().tolist())
    assert image.mode == "P"
    return image


def with_alpha(ids: np.ndarray) -> Image.Image:
    return Image.merge("LA", (Image.fromarray(ids), Image.new("L", SIZE, 0)))


@pytest.mark.parametrize(
    ("make", "ending"),
    [
        (as_palette, "png"),
        (as_palette, "bmp"),
        (as_palette, "gif"),
        (Image.fromarray, "tif"),
        (with_alpha, "png"),
        (lambda ids: Image.fromarray(ids.astype(np.uint16)), "png"),
        (lambda ids: Image.fromarray(ids.astype(np.int32)), "tif"),
    ],
)
def test_values_are_read_as_stored_from_every_kind_of_file(
    folder: Path, make: object, ending: str
) -> None:
    make(drawn_ids()).save(folder / "masks" / f"a.{ending}")  # type: ignore[operator]
    assert read_map(folder, values=VALUES).tolist() == drawn_ids().tolist()


@pytest.mark.parametrize(
    ("values", "depth"),
    [("{0: background, 255: tree}", "L"), ("{0: background, 255: tree}", "1"), ("{1: tree}", "1")],
)
def test_a_map_of_two_values_may_be_black_and_white(folder: Path, values: str, depth: str) -> None:
    image = Image.fromarray(np.where(drawn_ids() > 0, 255, 0).astype(np.uint8))
    image = image.convert("1", dither=Image.Dither.NONE) if depth == "1" else image
    if values == "{1: tree}":
        values = "{0: background, 1: tree}"
    image.save(folder / "masks" / "a.png")
    expected = np.where(drawn_ids() > 0, 2, 0)
    assert read_map(folder, values=values).tolist() == expected.tolist()


def test_other_values_can_be_void_or_ignored_by_name(folder: Path) -> None:
    ids = drawn_ids()
    ids[0, :3] = 7, 8, 9
    save(ids, folder / "masks" / "a.png")
    values = "{0: background, 1: road, 2: tree, 9: ignore}"
    seg_map = read_map(folder, values=values, ignore="[7, 8]")
    assert seg_map[0, :4].tolist() == [255, 255, 255, 0]
    with pytest.raises(
        LabelError, match=r"2 pixels have values without a class of the network: 7, 8$"
    ):
        read_map(folder, values=values)


def test_a_label_map_joins_classes(folder: Path) -> None:
    save(drawn_ids(), folder / "masks" / "a.png")
    seg_map = read_map(
        folder, values="[background, street, tree]", label_map="{street: road, tree: null}"
    )
    assert seg_map.tolist() == np.array([0, 1, 0])[drawn_ids()].tolist()


def test_colours_are_classes_or_void(folder: Path) -> None:
    pixels, expected = drawn_colours(), drawn_ids()
    pixels[0, 0], expected[0, 0] = (224, 224, 192), 255
    save(pixels, folder / "masks" / "a.png")
    seg_map = read_map(folder, colours=COLOURS, ignore="['#e0e0c0']")
    assert seg_map.tolist() == expected.tolist()


def test_a_palette_counts_by_its_colours_and_transparency_does_not_count(folder: Path) -> None:
    Image.fromarray(drawn_colours()).quantize(5).save(folder / "masks" / "a.png")
    with Image.open(folder / "masks" / "a.png") as stored:
        assert stored.mode == "P"
    assert read_map(folder, colours=COLOURS).tolist() == drawn_ids().tolist()
    alpha = np.zeros((*drawn_ids().shape, 1), np.uint8)
    save(np.concatenate([drawn_colours(), alpha], 2), folder / "masks" / "a.png")
    assert read_map(folder, colours=COLOURS).tolist() == drawn_ids().tolist()


@pytest.mark.parametrize("key", ["values", "colours"])
def test_vocs_own_values_and_colours_have_a_name(tmp_path: Path, key: str) -> None:
    draw(tmp_path / "images" / "a.jpg", SIZE)
    ids = np.zeros(SIZE[::-1], np.uint8)
    ids[0, :22] = [*range(21), IGNORE_INDEX]
    save(ids if key == "values" else voc_palette()[ids], tmp_path / "masks" / "a.png")
    entry = {"format": "masks", "images": "images", "masks": "masks", key: "voc"}
    description = DataDescription(classes="voc", splits={"train": [entry]}, folder=tmp_path)
    seg_map = description.open_split("train")[0].read(0).seg_map
    assert seg_map.tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("unknown", "fields", "problem"),
    [
        ([3, 4], {"values": "[background, road, tree, sky]"}, "2 pixels have values {}3 (sky), 4"),
        ([257], {"values": VALUES}, "1 pixels have values {}257"),
        (
            [9] * 9 + [8] * 8 + [7] * 7 + [6] * 6,
            {"values": VALUES},
            "30 pixels have values {}9, 8, 7 and 1 more; if it was smoothed or a JPEG, save a "
            "PNG and resize it by nearest neighbour",
        ),
        ([(1, 2, 3), (255, 0, 0)], {"colours": COLOURS}, "2 pixels have colours {}#010203, #ff000"),
        (
            [(70, 130, 180)] * 5,
            {"colours": COLOURS.replace("}", ", '#4682b4': sky}")},
            "5 pixels have colours {}#4682b4 (sky)",
        ),
    ],
)
def test_values_and_colours_that_stand_for_nothing_are_shown(
    folder: Path, unknown: list[Any], fields: dict[str, str], problem: str
) -> None:
    pixels = drawn_colours() if "colours" in fields else drawn_ids().astype(np.uint16)
    pixels[0, : len(unknown)] = unknown
    path = save(pixels, folder / "masks" / "a.png")
    text = problem.format("without a class of the network: ")
    with raises(f"{path}: {text}", is_whole=False):
        read_map(folder, **fields)


@pytest.mark.parametrize(
    ("field", "mode", "name", "problem"),
    [
        ({"values": VALUES}, "L", "a.jpg", "is a JPEG, which changes values; save maps as PNG"),
        ({"colours": COLOURS}, "L", "a.jpg", "is a JPEG, which changes values; save maps as PNG"),
        (
            {"values": VALUES},
            "RGB",
            "a.png",
            "has mode RGB; a map is a palette or greyscale PNG of class ids; for colours write "
            "mask_colours: {COLOUR: CLASS} (format masks: colours)",
        ),
        ({"colours": COLOURS}, "I;16", "a.png", "has mode I;16; a map is an RGB PNG"),
    ],
)
def test_a_map_of_another_kind_is_refused(
    folder: Path, field: dict[str, str], mode: str, name: str, problem: str
) -> None:
    path = folder / "masks" / name
    Image.new(mode, SIZE).save(path)
    with raises(f"{path} {problem}"):
        read_map(folder, **field)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"images": "nowhere"}, "nowhere does not exist; check `images`"),
        ({"masks": "nowhere"}, "nowhere does not exist; check `masks`"),
        ({"images": "data.yaml"}, "data.yaml is a file, not a folder; check `images`"),
        ({"masks": "empty"}, "empty holds no image; check `masks`"),
        ({"masks": "images"}, "images: images and maps are in one folder; say how the names of"),
        ({}, "has the name of an image, such as a.png; check `masks`, or add suffix: "),
    ],
)
def test_folders_that_cannot_be_used_are_named(
    folder: Path, fields: dict[str, str], problem: str
) -> None:
    (folder / "empty").mkdir()
    save(drawn_ids(), folder / "masks" / "z.png")
    with pytest.raises(LabelError, match=re.escape(problem)):
        open_entry(folder, **{"values": VALUES} | fields)


def test_maps_are_found_in_nested_folders_and_whatever_their_ending(folder: Path) -> None:
    draw(folder / "images" / "sub" / "b.c.webp", SIZE)
    save(drawn_ids(), folder / "masks" / "a.png")
    Image.fromarray(drawn_ids()).save(folder / "masks" / "a2.png")
    (folder / "masks" / "sub").mkdir()
    Image.fromarray(drawn_ids()).save(folder / "masks" / "sub" / "b.c.bmp")
    draw(folder / "images" / "z.jpg", SIZE)
    source = open_entry(folder, values=VALUES)
    assert source.read(2).seg_map is None
    assert [source.labels(i).path.name for i in range(2)] == ["a.jpg", "b.c.webp"]
    assert all(source.read(i).seg_map is not None for i in range(2))


def test_a_suffix_tells_maps_from_images_in_one_folder(folder: Path) -> None:
    save(drawn_ids(), folder / "images" / "a_mask.png")
    draw(folder / "images" / "b.png", SIZE)
    source = open_entry(folder, masks="images", values=VALUES, suffix="_mask")
    assert len(source) == 2
    seg_map = source.read(0).seg_map
    assert seg_map.tolist() == drawn_ids().tolist()


def test_two_images_or_two_maps_that_differ_in_their_ending_only_are_refused(
    folder: Path,
) -> None:
    first = save(drawn_ids(), folder / "masks" / "a.bmp")
    save(drawn_ids(), folder / "masks" / "a.png")
    with raises(f"{first} and a.png differ only in their ending; rename or remove one"):
        open_entry(folder, values=VALUES)
    draw(folder / "images" / "a.png", SIZE)
    with raises(
        f"{folder / 'images' / 'a.jpg'} and a.png differ only in their ending; rename or remove one"
    ):
        open_entry(folder, values=VALUES)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"values": "{256: road}"}, "map value 256 is not in 0..255"),
        (
            {"values": "{1: road}", "ignore": "[1]"},
            "value 1 (road) of the maps is also in `ignore`",
        ),
        (
            {"values": "{1: road}", "ignore": "['#010101']"},
            "ignore: ['#010101'] holds colours, but the maps hold values",
        ),
        (
            {"colours": "{'1,1,1': road}", "ignore": "['#010101']"},
            "colour #010101 (road) of the maps is also in `ignore`",
        ),
        ({"colours": "{red: road}"}, '\'red\' is not a colour; write "#800000" or "128,0,0"'),
        (
            {"colours": "{'1,1,1': road}", "ignore": "[255]"},
            '\'255\' is not a colour; write "#800000" or "128,0,0"',
        ),
        ({"values": "{}"}, "the values of the maps have no names"),
        ({"colours": "{}"}, "the maps have 0 named colours; 1 to 255 can be read"),
    ],
)
def test_codes_that_cannot_be_are_refused(
    folder: Path, fields: dict[str, str], problem: str
) -> None:
    save(drawn_ids(), folder / "masks" / "a.png")
    with raises(problem):
        open_entry(folder, **fields)


@pytest.mark.parametrize(
    ("text", "colour"),
    [("#8000fF", 0x8000FF), ("128,0,255", 0x8000FF), (" 1, 2 ,3 ", 0x010203)],
)
def test_a_colour_is_written_in_hexadecimal_or_as_three_numbers(text: str, colour: int) -> None:
    assert parse_colour(text) == colour
    for other in ("", "#80000", "800000", "256,0,0", "1,2", "1,2,3,4", "-1,0,0"):
        with pytest.raises(LabelError, match="is not a colour"):
            parse_colour(other)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "a folder of maps needs either values: {0: CLASS, ...} or colours:"),
        ({"values": ["road"], "colours": "voc"}, "a folder of maps needs either values: "),
        ({"values": ["road"], "boxes": True}, "Input should be False"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(
    entry: dict[str, object], problem: str
) -> None:
    entry = {"format": "masks", "images": "i", "masks": "m"} | entry
    with pytest.raises(ValueError, match=re.escape(problem)):
        DataDescription(classes=["road"], splits={"train": [entry]})
