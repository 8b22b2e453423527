"""Folders of images with maps: values, palettes, colours, and maps that cannot be right."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES, voc_palette
from blitznet.data.description import DataDescription, read_description
from blitznet.data.map_codes import parse_colour
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError

SIZE = (60, 40)
ROAD, TREE = (128, 64, 128), (0, 128, 0)
COLOURS = "{'0,0,0': background, '#804080': road, '0, 128, 0': tree}"


def open_entry(folder: Path, **fields: str) -> LabelSource:
    fields = {"images": "images", "masks": "masks"} | fields
    entry = ", ".join(f"{key}: {value}" for key, value in fields.items())
    path = folder / "all.yaml"
    path.write_text(f"classes: [road, tree]\ntrain: [{{format: masks, {entry}}}]")
    return read_description(path).open_split("train")[0]


def draw_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (200, 180, 20)).save(path)
    return path


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def raises(text: str) -> pytest.RaisesExc[LabelError]:
    """The whole message, which is one line."""
    return pytest.raises(LabelError, match=f"^{re.escape(text)}$")


def drawn_ids() -> np.ndarray:
    """Road on the left, a disc of tree on the right."""
    picture = Image.new("L", SIZE, 0)
    ImageDraw.Draw(picture).rectangle((0, 10, 19, 39), fill=1)
    ImageDraw.Draw(picture).ellipse((30, 5, 55, 30), fill=2)
    return np.array(picture)


def drawn_colours() -> np.ndarray:
    return np.array([(0, 0, 0), ROAD, TREE], np.uint8)[drawn_ids()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image; a test makes its map."""
    draw_picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    return tmp_path


def read_map(folder: Path, **fields: str) -> np.ndarray:
    sample = open_entry(folder, **fields).read(0)
    assert sample.boxes is None
    assert sample.seg_map is not None
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
    picture = Image.fromarray(ids)
    picture.putpalette(voc_palette().ravel().tolist())
    assert picture.mode == "P"
    return picture


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
    picture = Image.fromarray(np.where(drawn_ids() > 0, 255, 0).astype(np.uint8))
    picture = picture.convert("1", dither=Image.Dither.NONE) if depth == "1" else picture
    if values == "{1: tree}":
        values = "{0: background, 1: tree}"
    picture.save(folder / "masks" / "a.png")
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
        LabelError, match=r"2 pixels have values that no class of the network stands for: 7, 8$"
    ):
        read_map(folder, values=values)


def test_a_label_map_joins_classes(folder: Path) -> None:
    save(drawn_ids(), folder / "masks" / "a.png")
    seg_map = read_map(
        folder, values="[background, street, tree]", label_map="{street: road, tree: null}"
    )
    assert seg_map.tolist() == np.array([0, 1, 0])[drawn_ids()].tolist()


def test_colours_are_classes(folder: Path) -> None:
    save(drawn_colours(), folder / "masks" / "a.png")
    assert read_map(folder, colours=COLOURS).tolist() == drawn_ids().tolist()


def test_a_palette_counts_by_its_colours_and_transparency_does_not_count(folder: Path) -> None:
    Image.fromarray(drawn_colours()).quantize(5).save(folder / "masks" / "a.png")
    with Image.open(folder / "masks" / "a.png") as stored:
        assert stored.mode == "P"
    assert read_map(folder, colours=COLOURS).tolist() == drawn_ids().tolist()
    alpha = np.zeros((*drawn_ids().shape, 1), np.uint8)
    save(np.concatenate([drawn_colours(), alpha], 2), folder / "masks" / "a.png")
    assert read_map(folder, colours=COLOURS).tolist() == drawn_ids().tolist()


def test_a_colour_can_be_void(folder: Path) -> None:
    pixels = drawn_colours()
    pixels[0, 0] = 224, 224, 192
    save(pixels, folder / "masks" / "a.png")
    assert read_map(folder, colours=COLOURS, ignore="['#e0e0c0']")[0, :2].tolist() == [255, 0]


def test_vocs_own_colours_have_a_name(tmp_path: Path) -> None:
    draw_picture(tmp_path / "images" / "a.jpg")
    ids = np.zeros(SIZE[::-1], np.uint8)
    ids[0, :22] = [*range(21), IGNORE_INDEX]
    save(voc_palette()[ids], tmp_path / "masks" / "a.png")
    entry = {"format": "masks", "images": "images", "masks": "masks", "colours": "voc"}
    description = DataDescription(classes="voc", splits={"train": [entry]}, folder=tmp_path)
    seg_map = description.open_split("train")[0].read(0).seg_map
    assert seg_map is not None
    assert seg_map.tolist() == ids.tolist()


def test_vocs_own_values_have_a_name(tmp_path: Path) -> None:
    draw_picture(tmp_path / "images" / "a.jpg")
    ids = np.full(SIZE[::-1], VOC_CLASSES.index("cat"), np.uint8)
    save(ids, tmp_path / "masks" / "a.png")
    entry = {"format": "masks", "images": "images", "masks": "masks", "values": "voc"}
    description = DataDescription(classes=["dog", "cat"], splits={"train": [entry]})
    source = description.model_copy(update={"folder": tmp_path}).open_split("train")[0]
    assert np.unique(source.read(0).seg_map).tolist() == [2]


def test_maps_are_found_in_nested_folders_and_whatever_their_ending(folder: Path) -> None:
    draw_picture(folder / "images" / "sub" / "b.c.webp")
    save(drawn_ids(), folder / "masks" / "a.png")
    Image.fromarray(drawn_ids()).save(folder / "masks" / "a2.png")
    (folder / "masks" / "sub").mkdir()
    Image.fromarray(drawn_ids()).save(folder / "masks" / "sub" / "b.c.bmp")
    source = open_entry(folder, values=VALUES)
    assert [source.labels(i).picture.name for i in range(2)] == ["a.jpg", "b.c.webp"]
    assert all(source.read(i).seg_map is not None for i in range(2))


def test_a_picture_without_a_map_has_none(folder: Path) -> None:
    draw_picture(folder / "images" / "b.jpg")
    save(drawn_ids(), folder / "masks" / "b.png")
    source = open_entry(folder, values=VALUES)
    assert source.read(0).seg_map is None
    assert source.read(1).seg_map is not None


def test_a_suffix_tells_maps_from_pictures_in_one_folder(folder: Path) -> None:
    save(drawn_ids(), folder / "images" / "a_mask.png")
    draw_picture(folder / "images" / "b.png")
    source = open_entry(folder, masks="images", values=VALUES, suffix="_mask")
    assert len(source) == 2
    seg_map = source.read(0).seg_map
    assert seg_map is not None
    assert seg_map.tolist() == drawn_ids().tolist()


def test_one_folder_for_both_needs_a_suffix(folder: Path) -> None:
    with raises(
        f"{folder / 'images'}: images and maps are in one folder; say how the names of maps "
        "end, as suffix: _mask"
    ):
        open_entry(folder, masks="images", values=VALUES)


def test_a_value_without_a_name_and_one_with_a_name_that_no_class_has_are_shown(
    folder: Path,
) -> None:
    ids = drawn_ids()
    ids[0, :2] = 3, 4
    path = save(ids, folder / "masks" / "a.png")
    with raises(
        f"{path}: 2 pixels have values that no class of the network stands for: 3 (sky), 4"
    ):
        read_map(folder, values="[background, road, tree, sky]")


def test_a_value_beyond_eight_bits_is_unknown(folder: Path) -> None:
    ids = drawn_ids().astype(np.uint16)
    ids[0, 0] = 257
    path = save(ids, folder / "masks" / "a.png")
    with raises(f"{path}: 1 pixels have values that no class of the network stands for: 257"):
        read_map(folder, values=VALUES)


def test_up_to_three_unknown_colours_are_shown_the_most_frequent_first(folder: Path) -> None:
    pixels = drawn_colours()
    for index, colour in enumerate([(255, 0, 0), (1, 2, 3), (0, 0, 255), (0, 255, 255)]):
        pixels[32:40, 20 + 9 * index : 20 + 8 * index + 9] = colour
    path = save(pixels, folder / "masks" / "a.png")
    sizes = [8 * 9, 8 * 8, 8 * 7, 8 * 6]
    with raises(
        f"{path}: {sum(sizes)} pixels have colours that no class of the network stands for: "
        "#ff0000, #010203, #0000ff and 1 more"
    ):
        read_map(folder, colours=COLOURS)


def test_a_colour_whose_name_no_class_has_is_shown_with_it(folder: Path) -> None:
    pixels = drawn_colours()
    pixels[0, :5] = 70, 130, 180
    path = save(pixels, folder / "masks" / "a.png")
    with raises(
        f"{path}: 5 pixels have colours that no class of the network stands for: #4682b4 (sky)"
    ):
        read_map(folder, colours=COLOURS.replace("}", ", '#4682b4': sky}"))


SMOOTHED = "it looks anti-aliased or saved as JPEG; save maps as PNG and resize them by nearest"


def test_a_smoothed_map_of_colours_is_said_to_be_one(folder: Path) -> None:
    large = Image.fromarray(drawn_colours()).resize((240, 160), Image.Resampling.NEAREST)
    smooth = large.resize(SIZE, Image.Resampling.LANCZOS)
    smooth.save(folder / "masks" / "a.png")
    known = (np.asarray(smooth)[:, :, None] == [(0, 0, 0), ROAD, TREE]).all(axis=3).any(axis=2)
    with raises(
        f"{folder / 'masks' / 'a.png'}: {(~known).sum()} pixels have colours that no class has: "
        f"{SMOOTHED}"
    ):
        read_map(folder, colours=COLOURS)


def test_thousands_are_set_apart(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    save(noise, folder / "masks" / "a.png")
    with pytest.raises(
        LabelError, match=r": 2 400 pixels have colours that no class has: it looks"
    ):
        read_map(folder, colours=COLOURS)


def test_a_map_that_was_a_jpeg_once_is_said_to_be_one(folder: Path) -> None:
    Image.fromarray(drawn_colours()).save(folder / "a.jpg", quality=75)
    with Image.open(folder / "a.jpg") as lossy:
        lossy.save(folder / "masks" / "a.png")
    with pytest.raises(LabelError, match=rf"pixels have colours that no class has: {SMOOTHED}$"):
        read_map(folder, colours=COLOURS)


def test_a_smoothed_map_of_values_is_said_to_be_one(folder: Path) -> None:
    ids = Image.fromarray(drawn_ids() * np.uint8(100)).resize((90, 60), Image.Resampling.BICUBIC)
    ids.resize(SIZE, Image.Resampling.BICUBIC).save(folder / "masks" / "a.png")
    with pytest.raises(
        LabelError, match=rf": \d+ pixels have values that no class has: {SMOOTHED}$"
    ):
        read_map(folder, values="{0: background, 100: road, 200: tree}")


def test_forgotten_classes_are_not_taken_for_smoothing(folder: Path) -> None:
    ids = np.repeat(np.arange(4, 10, dtype=np.uint8), 10)[None].repeat(40, 0)
    path = save(ids, folder / "masks" / "a.png")
    with raises(
        f"{path}: 2 400 pixels have values that no class of the network stands for: "
        "4, 5, 6 and 3 more"
    ):
        read_map(folder, values=VALUES)
    path = save(voc_palette()[ids], folder / "masks" / "a.png")
    with pytest.raises(LabelError, match=r"no class of the network stands for: #.+ and 3 more"):
        read_map(folder, colours=COLOURS.replace("'0, 128, 0': tree", "'1,1,1': tree"))


@pytest.mark.parametrize("field", [{"values": VALUES}, {"colours": COLOURS}])
def test_a_map_that_is_a_jpeg_is_refused(folder: Path, field: dict[str, str]) -> None:
    path = folder / "masks" / "a.jpg"
    Image.fromarray(drawn_ids()).save(path)
    with raises(f"{path} is a JPEG, which changes values; save maps as PNG"):
        read_map(folder, **field)


@pytest.mark.parametrize(
    ("field", "mode", "wanted"),
    [
        ({"values": VALUES}, "RGB", "a map is a palette or greyscale PNG of class ids"),
        ({"colours": COLOURS}, "I;16", "a coloured map is an RGB PNG"),
    ],
)
def test_a_map_of_the_other_kind_is_refused(
    folder: Path, field: dict[str, str], mode: str, wanted: str
) -> None:
    path = folder / "masks" / "a.png"
    Image.new(mode, SIZE).save(path)
    with raises(f"{path} has mode {mode}; {wanted}"):
        read_map(folder, **field)


def test_a_damaged_map_is_named(folder: Path) -> None:
    path = save(drawn_colours(), folder / "masks" / "a.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(LabelError, match=f"^{re.escape(str(path))} cannot be read as an image: "):
        read_map(folder, colours=COLOURS)


def test_maps_without_pictures_are_refused(folder: Path) -> None:
    save(drawn_ids(), folder / "masks" / "z.png")
    with raises(
        f"no map in {folder / 'masks'} is called as an image: a.png would be one; check `masks`"
    ):
        open_entry(folder, values=VALUES)


def test_folders_that_are_missing_or_empty_are_named(folder: Path) -> None:
    with raises(f"{folder / 'nowhere'} does not exist; check `images`"):
        open_entry(folder, values=VALUES, images="nowhere")
    with raises(f"{folder / 'nowhere'} does not exist; check `masks`"):
        open_entry(folder, values=VALUES, masks="nowhere")
    with raises(f"{folder / 'masks'} holds no image; check `masks`"):
        open_entry(folder, values=VALUES)
    with raises(f"{folder / 'all.yaml'} is a file, not a folder; check `images`"):
        open_entry(folder, values=VALUES, images="all.yaml")


def test_two_pictures_or_two_maps_that_differ_in_their_ending_only_are_refused(
    folder: Path,
) -> None:
    first = save(drawn_ids(), folder / "masks" / "a.bmp")
    save(drawn_ids(), folder / "masks" / "a.png")
    with raises(f"{first} and a.png differ in their ending only; rename or remove one"):
        open_entry(folder, values=VALUES)
    draw_picture(folder / "images" / "a.png")
    with raises(
        f"{folder / 'images' / 'a.jpg'} and a.png differ in their ending only; rename or remove one"
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
        ({"colours": "{red: road}"}, '\'red\' is no colour; write "#800000" or "128,0,0"'),
        (
            {"colours": "{'1,1,1': road}", "ignore": "[255]"},
            '\'255\' is no colour; write "#800000" or "128,0,0"',
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


@pytest.mark.parametrize("text", ["", "#80000", "800000", "256,0,0", "1,2", "1,2,3,4", "-1,0,0"])
def test_anything_else_is_no_colour(text: str) -> None:
    with pytest.raises(LabelError, match="is no colour"):
        parse_colour(text)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "a folder of maps needs values: or colours:, and not both"),
        ({"values": ["road"], "colours": "voc"}, "a folder of maps needs values: or colours:"),
        ({"values": ["road"], "boxes": True}, "Input should be False"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(
    entry: dict[str, object], problem: str
) -> None:
    entry = {"format": "masks", "images": "i", "masks": "m"} | entry
    with pytest.raises(ValueError, match=re.escape(problem)):
        DataDescription(classes=["road"], splits={"train": [entry]})
