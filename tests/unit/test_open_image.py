"""Pictures opened before they are decoded: their size, and how they shrink while being decoded."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from blitznet.errors import PictureError
from blitznet.image import OpenPicture, read_picture

ORIENTATION = 0x0112


def draw_photo(path: Path, size: tuple[int, int], orientation: int | None = None) -> Path:
    """Smooth colours with a dark corner at the top left and one line along the right edge."""
    x, y = np.meshgrid(np.linspace(60, 250, size[0]), np.linspace(60, 250, size[1]))
    picture = Image.fromarray(np.stack((x, y, (x + y) / 2), axis=2).astype(np.uint8))
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] // 4, size[1] // 4), fill=(10, 20, 30))
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    picture.save(path, quality=95, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_shrunk_photo_is_the_whole_one_averaged(
    tmp_path: Path, reduction: int, orientation: int | None
) -> None:
    path = draw_photo(tmp_path / "a.jpg", (320, 192), orientation)
    whole = read_picture(path)
    opened = OpenPicture(path)
    assert opened.reductions == (1, 2, 4, 8)
    shrunk = opened.decode(reduction)
    assert (shrunk.width * reduction, shrunk.height * reduction) == whole.size == opened.size
    expected = np.asarray(whole.reduce(reduction)).astype(int)
    # The transform's low frequencies ring a little at the dark corner's edges.
    difference = abs(np.asarray(shrunk) - expected)
    assert difference.mean() < 1
    assert np.quantile(difference, 0.97) <= 3


def test_a_size_that_does_not_divide_is_rounded_up_and_covers_the_same_pixels(
    tmp_path: Path,
) -> None:
    path = draw_photo(tmp_path / "a.jpg", (325, 195))
    shrunk = np.asarray(OpenPicture(path).decode(4)).astype(int)
    assert shrunk.shape == (49, 82, 3)
    expected = np.asarray(read_picture(path).crop((0, 0, 324, 192)).reduce(4))
    difference = abs(shrunk[:48, :81] - expected)
    assert difference.mean() < 1


def test_a_turned_photo_shrinks_only_by_what_divides_its_sides(tmp_path: Path) -> None:
    # Else its last, incomplete row would come first and shift the others.
    assert OpenPicture(draw_photo(tmp_path / "a.jpg", (324, 196), 6)).reductions == (1, 2, 4)
    assert OpenPicture(draw_photo(tmp_path / "b.jpg", (325, 195), 3)).reductions == (1,)
    assert OpenPicture(draw_photo(tmp_path / "c.jpg", (325, 195), 1)).reductions == (1, 2, 4, 8)


def test_other_formats_and_specks_do_not_shrink(tmp_path: Path) -> None:
    assert OpenPicture(draw_photo(tmp_path / "a.png", (64, 64))).reductions == (1,)
    assert OpenPicture(draw_photo(tmp_path / "a.jpg", (50, 3))).reductions == (1, 2)


def test_a_grey_photo_shrinks_to_rgb(tmp_path: Path) -> None:
    Image.new("L", (64, 32), 77).save(tmp_path / "a.jpg")
    shrunk = OpenPicture(tmp_path / "a.jpg").decode(8)
    assert (shrunk.mode, shrunk.size) == ("RGB", (8, 4))
    assert np.unique(np.asarray(shrunk)).tolist() == [77]


def test_damage_behind_the_header_is_found_when_decoding(tmp_path: Path) -> None:
    path = draw_photo(tmp_path / "a.jpg", (320, 192))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PictureError, match=r"a\.jpg: damaged or cut off"):
        OpenPicture(path).decode(4)
