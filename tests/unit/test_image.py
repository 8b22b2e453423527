"""Images of every kind are read upright as RGB, and damaged ones are always reported."""

import os
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from blitznet.errors import ImageError
from blitznet.image import (
    EncodedImage,
    OpenImage,
    read_image,
    read_stored,
    source_name,
    stored_size,
)

# 2 x 3 different pixels, so that all orientations differ.
PIXELS = np.array(
    [
        [(255, 0, 0), (0, 255, 0), (0, 0, 255)],
        [(0, 0, 0), (120, 120, 120), (255, 255, 0)],
    ],
    dtype=np.uint8,
)

# What a camera stored under each orientation, in terms of the upright image (EXIF 2.32, 4.6.4 A).
STORED_AS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


def pixels_of(source: object) -> list[object]:
    image = read_image(source)  # type: ignore[arg-type]
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header states so many grey pixels, but which contains none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (header, b"IDAT" + zlib.compress(b"")):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_every_exif_orientation_comes_out_upright(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](PIXELS)))
    stored.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    assert pixels_of(path) == PIXELS.tolist()


def test_an_open_image_is_turned_upright_as_its_file_would_be(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(STORED_AS[6](PIXELS))).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert pixels_of(image) == PIXELS.tolist()
        assert image.size == (2, 3)  # the one that was given is as it was


def test_an_image_with_a_damaged_exif_block_is_read_as_it_lies(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk")
    assert pixels_of(tmp_path / "a.png") == PIXELS.tolist()


@pytest.mark.parametrize(
    ("mode", "value", "suffix", "seen"),
    [
        ("RGB", (10, 20, 30), ".png", (10, 20, 30)),
        ("L", 77, ".png", (77, 77, 77)),
        ("1", 1, ".png", (255, 255, 255)),
        ("LA", (77, 255), ".png", (77, 77, 77)),
        ("LA", (77, 0), ".png", (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), ".png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), ".png", (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), ".webp", (204, 204, 204)),
        ("CMYK", (0, 0, 0, 0), ".tif", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), ".tif", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), ".jpg", (0, 0, 0)),
        ("I;16", 257 * 77, ".png", (77, 77, 77)),
        ("I;16", 257 * 77, ".tif", (77, 77, 77)),
        ("I", 77, ".tif", (77, 77, 77)),
        ("I", 65535, ".tif", (255, 255, 255)),
        ("I", -5, ".tif", (0, 0, 0)),
        ("F", 0.2, ".tif", (51, 51, 51)),
        ("F", 255.0, ".tif", (255, 255, 255)),
        ("F", float("nan"), ".tif", (0, 0, 0)),
    ],
)
def test_every_pixel_format_becomes_the_colour_that_a_viewer_shows(
    tmp_path: Path, mode: str, value: object, suffix: str, seen: tuple[int, int, int]
) -> None:
    path = tmp_path / f"image{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.new(mode, (1, 1), value).save(path, **options)  # type: ignore[arg-type]
    assert pixels_of(path) == [[list(seen)]]


def test_wide_integers_keep_their_proportions() -> None:
    values = np.array([[0, 400_000, 2_000_000]], dtype=np.int32)
    assert pixels_of(Image.fromarray(values)) == [[[0] * 3, [51] * 3, [255] * 3]]


def test_sixteen_bit_colours_keep_their_upper_byte(tmp_path: Path) -> None:
    path = tmp_path / "deep.ppm"
    path.write_bytes(b"P6 1 1 65535\n" + struct.pack(">3H", 257 * 10, 257 * 20, 65535))
    assert pixels_of(path) == [[[10, 20, 255]]]


def test_a_palette_with_a_transparent_entry_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    assert pixels_of(tmp_path / "a.png") == [[[10, 20, 30], [255, 255, 255]]]


def test_arrays_are_taken_as_rgb_or_grey() -> None:
    assert pixels_of(PIXELS) == PIXELS.tolist()
    assert pixels_of(PIXELS[:, ::-1]) == PIXELS[:, ::-1].tolist()
    assert pixels_of(PIXELS[..., 0]) == np.repeat(PIXELS[..., :1], 3, axis=2).tolist()


def test_what_comes_back_is_never_the_object_that_was_given() -> None:
    given = Image.fromarray(PIXELS)
    read_image(given).putpixel((0, 0), (9, 9, 9))
    assert given.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif", ".bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_an_error_and_not_half_an_image(
    tmp_path: Path, suffix: str, kept: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    noise(64, 48).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=r"cut\.\w+: (damaged|not an image)"):
        read_image(path)


def test_a_cut_progressive_jpeg_is_an_error_too(tmp_path: Path) -> None:
    stream = BytesIO()
    noise(64, 48).save(stream, "JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[: stream.tell() // 2])
    with pytest.raises(ImageError, match=r"a\.jpg: damaged or cut off"):
        read_image(tmp_path / "a.jpg")


def test_an_open_image_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    noise(64, 48).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    with (
        Image.open(BytesIO(content[: len(content) // 2])) as image,
        pytest.raises(ImageError, match="the given image: damaged or cut off"),
    ):
        read_image(image)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"Dear diary, today I was a text file.", "not an image; BlitzNet reads JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        (b"\xff\xd8\xff\xe0", "not an image|damaged"),
        (png_header(40_000, 25_000), "40000x25000 pixels, more than 100 million"),
        (png_header(10_000, 9_500), "damaged or cut off"),  # 95 million are allowed: no warning
        (png_header(2**31 - 1, 2**31 - 1), "2147483647x2147483647 pixels, more than 100 million"),
    ],
)
def test_what_is_no_usable_image_gets_one_clear_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=message) as error:
        read_image(tmp_path / "a.jpg")
    assert str(error.value).startswith(f"{tmp_path / 'a.jpg'}: ")
    assert "\n" not in str(error.value)


def test_missing_files_folders_and_impossible_names_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image("a\0b.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image("x" * 5000)


def test_the_limit_is_on_the_product_of_the_sides(tmp_path: Path) -> None:
    Image.new("RGB", (7, 1)).save(tmp_path / "a.png")
    for source in (Image.new("RGB", (7, 1)), tmp_path / "a.png"):
        assert read_image(source, 7).size == (7, 1)
        with pytest.raises(ImageError, match="7x1 pixels, more than"):
            read_image(source, 6)


def test_formats_with_costly_decoders_have_half_the_limit(tmp_path: Path) -> None:
    Image.new("RGB", (7, 1)).save(tmp_path / "a.webp")
    with pytest.raises(ImageError, match=r"7x1 pixels, more than .* for this kind of WEBP"):
        read_image(tmp_path / "a.webp", 13)
    assert read_image(tmp_path / "a.webp", 14).size == (7, 1)


def test_an_image_is_an_ordinary_file_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**40)
    for name, reason in [
        (tmp_path / "pipe.jpg", "a pipe or a device"),
        ("/dev/zero", "a pipe or a device"),
        ("/proc/self/mem", "the file is empty"),
        (tmp_path / "huge.jpg", "1048576 MB, more than 382 MB"),
        ("\ud800.jpg", "no file can have this name"),
    ]:
        for read in (read_image, read_stored):
            with pytest.raises(ImageError, match=reason):
                read(name)
        assert stored_size(name) == (0, 0)


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    stream = BytesIO()
    noise(64, 48).save(stream, "JPEG", progressive=True)
    whole = stream.getvalue()
    last = whole.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + whole[last:-2] * 99 + whole[-2:])
    with pytest.raises(ImageError, match="a JPEG of 101 scans or more"):
        read_image(tmp_path / "a.jpg")
    # Scans behind the end, as of a video that a phone appends, are not counted.
    (tmp_path / "b.jpg").write_bytes(whole + b"\xff\xda" * 200)
    assert read_image(tmp_path / "b.jpg").size == (64, 48)


def test_a_palette_image_without_its_palette_is_damaged(tmp_path: Path) -> None:
    content = png_header(2, 3)
    content = content[:25] + b"\x03" + content[26:29] + struct.pack(
        ">I", zlib.crc32(content[12:25] + b"\x03" + content[26:29])
    )  # fmt: skip
    pixels = b"IDAT" + zlib.compress(b"\0\0\1" * 3)
    content += struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
    (tmp_path / "a.png").write_bytes(content + b"\0\0\0\0IEND\xae\x42\x60\x82")
    for read in (read_image, read_stored):
        with pytest.raises(ImageError, match=r"a\.png: damaged"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("source", [None, 3, b"a.jpg", [1, 2], PIXELS / 255.0, PIXELS.astype(int)])
def test_what_is_no_image_at_all_is_a_type_error(source: object) -> None:
    with pytest.raises(TypeError, match="uint8"):
        read_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 8, 8), (1, 2, 3, 3), (3,), (0, 5, 3), (5, 0)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"\(H, W, 3\)"):
        read_image(np.zeros(shape, dtype=np.uint8))


def test_arrays_with_alpha_or_one_channel_are_read_as_such_files_are() -> None:
    alpha = np.zeros((2, 3, 4), np.uint8)
    alpha[:, 1:, 3] = 255
    assert np.asarray(read_image(alpha))[0].tolist() == [[255] * 3, [0] * 3, [0] * 3]
    grey = read_image(np.full((2, 3, 1), 7, np.uint8))
    assert (grey.mode, grey.getpixel((0, 0))) == ("RGB", (7, 7, 7))


def test_content_is_read_as_its_file_is(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    content = EncodedImage((tmp_path / "a.png").read_bytes(), "stdin")
    assert read_image(content).tobytes() == read_image(tmp_path / "a.png").tobytes()
    assert source_name(content) == "stdin"
    with pytest.raises(ImageError, match="stdin: not an image"):
        read_image(EncodedImage(b"text", "stdin"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("mode", ["grey", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bit_files_are_scaled_by_the_bits_that_they_use(
    tmp_path: Path, bits: int, mode: str, compression: str | None
) -> None:
    tifffile = pytest.importorskip("tifffile")
    full = (1 << bits) - 1
    shape = (8, 9) if mode == "grey" else (8, 9, len(mode))
    values = np.random.default_rng(0).integers(0, full + 1, shape).astype(np.uint16)
    values[0] = full  # of the alpha channel, too: opaque
    options = {"photometric": "minisblack" if mode == "grey" else "rgb", "compression": compression}
    if mode == "RGBA":
        values[..., 3] = full
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    read = np.asarray(read_image(tmp_path / "a.tif")).astype(float)
    expected = values[..., None] if mode == "grey" else values[..., :3]
    assert np.abs(read - expected * (255 / full)).max() <= (1 if bits == 16 else 0.51)


@pytest.mark.parametrize(
    ("shape", "kind", "described"),
    [
        ((4, 5), "float64", "1 channel of float64"),
        ((4, 5, 3), "float32", "3 channels of float32"),
        ((4, 5), "complex64", "1 channel of complex64"),
    ],
)
def test_a_tiff_that_cannot_be_read_is_called_what_it_is(
    tmp_path: Path, shape: tuple[int, ...], kind: str, described: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    colours = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, kind), photometric=colours)
    with pytest.raises(ImageError, match=f"a.tif: a TIFF of {described}, which cannot be read"):
        read_image(tmp_path / "a.tif")


def test_the_preview_in_a_raw_photo_is_not_taken_for_it(tmp_path: Path) -> None:
    Image.new("RGB", (16, 12)).save(tmp_path / "a.tif", tiffinfo={254: 1})
    (tmp_path / "a.tif").rename(tmp_path / "a.nef")
    with pytest.raises(
        ImageError, match=r"a\.nef: its first image is a preview, as in raw photos;"
    ):
        read_image(tmp_path / "a.nef")


def test_photos_of_an_iphone_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    stored, content = Image.new("RGB", (64, 32), "red"), BytesIO()
    stored.paste("blue", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, which the decoder applies
    pillow_heif.from_pillow(stored).save(content, quality=-1, exif=exif.tobytes())
    photo = EncodedImage(content.getvalue(), "IMG_1.HEIC")
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ImageError) as raised:
            read_image(photo)
    assert str(raised.value).startswith("IMG_1.HEIC: a HEIF image; run: pip install 'blitznet[hei")
    image = read_image(photo)
    assert image.size == (32, 64)
    assert image.getpixel((16, 8)) == pytest.approx((0, 0, 255), abs=3)
    assert image.getpixel((16, 56)) == pytest.approx((255, 0, 0), abs=3)
    with pytest.raises(ImageError, match=r"more than 0\.001 million for this kind of HEIF"):
        read_image(photo, 2000)
    without_exif = BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 32), "red")).save(without_exif, quality=-1)
    assert read_image(EncodedImage(without_exif.getvalue(), "a.heic")).size == (64, 32)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged PNG image (broken PNG file"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "damaged HEIF image ("),
    ],
)
def test_an_image_of_a_known_kind_is_not_called_no_image(content: bytes, problem: str) -> None:
    with pytest.raises(ImageError) as raised:
        read_image(EncodedImage(content, "a.jpg"))
    assert str(raised.value).startswith(f"a.jpg: {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            (259, 3, 1, 1),
            (259, 3, 1, 33005),
            "a TIFF of 1 channel of uint8 in compression 33005, which cannot be read; save it "
            "without compression as 8-bit or 16-bit integers, or as one channel of float32",
        ),
        ((257, 4, 1, 8), (257, 4, 1, 9), "a TIFF that lacks strips or tiles; save it with all"),
        # Strips that a sparse file of GDAL's does not store are at offset 0.
        ((0, 0, 138, 174), (0, 0, 138, 0), "a TIFF that lacks strips or tiles; save it with all"),
    ],
    ids=["compression", "short", "sparse"],
)
def test_what_a_tiff_of_another_tool_lacks_is_said(
    tmp_path: Path, old: tuple[int, ...], new: tuple[int, ...], problem: str
) -> None:
    Image.new("L", (9, 8)).save(tmp_path / "a.tif", tiffinfo={278: 4})  # rows of a strip
    before, after = (struct.pack("<HHII", *values) for values in (old, new))
    content = (tmp_path / "a.tif").read_bytes()
    assert content.count(before) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(before, after))
    with pytest.raises(ImageError) as raised:
        read_image(tmp_path / "a.tif")
    assert str(raised.value).startswith(f"{tmp_path / 'a.tif'}: {problem}")


@pytest.mark.parametrize(
    ("name", "frames"),
    [("a.gif", 3), ("a.webp", 3), ("a.tif", 3), ("a.png", 3), ("b.gif", 1), ("b.png", 1)],
)
def test_the_first_of_several_frames_is_read_and_they_are_counted(
    tmp_path: Path, name: str, frames: int
) -> None:
    first, *others = (Image.new("RGB", (9, 8), colour) for colour in ("red", "lime", "blue"))
    first.save(tmp_path / name, save_all=True, append_images=others[: frames - 1], quality=100)
    image = read_image(tmp_path / name)
    assert image.info["frames"] == frames
    assert np.abs(np.subtract(image.getpixel((4, 4)), (255, 0, 0))).max() < 4


def test_pages_of_a_tiff_are_counted_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = (Image.new("RGB", (9, 8), colour) for colour in ("red", "lime", "blue"))
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    monkeypatch.setattr("blitznet.image_file._MAX_PAGES", 2)
    image = read_image(tmp_path / "a.tif")
    assert image.info["frames"] == 2
    assert image.getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("image_format", ["GIF", "JPEG", "PNG"])
def test_pixels_that_begin_far_behind_are_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str
) -> None:
    content = BytesIO()
    Image.new("L", (9, 8)).save(content, image_format)
    begin = content.getvalue().index(
        {"GIF": b",", "JPEG": b"\xff\xdb", "PNG": b"IDAT"}[image_format]
    )
    begin -= 4 * (image_format == "PNG")  # a chunk begins with its length
    text = b"\0\0\0\0teSt" + zlib.crc32(b"teSt").to_bytes(4)
    comments = {"GIF": b"\x21\xfe\x01a\0", "JPEG": b"\xff\xfe\0\x03a", "PNG": text}
    before, after = content.getvalue()[:begin], content.getvalue()[begin:]
    (tmp_path / "a").write_bytes(before + 500 * comments[image_format] + after)
    monkeypatch.setattr("blitznet.image_file._MAX_HEADER", 10_000)
    assert read_image(tmp_path / "a").size == (9, 8)
    monkeypatch.setattr("blitznet.image_file._MAX_HEADER", 1000)
    with pytest.raises(ImageError, match=r"a: not an image|a: damaged"):
        read_image(tmp_path / "a")


def jpeg_bytes(**options: Any) -> bytes:
    content = BytesIO()
    Image.new("RGB", (9, 8)).save(content, "JPEG", **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "inserted",
    [b"\xff" * 100_000, b"\xff\xe1\0\x0cExif\0\0MM\0*" * 5000, b"\xff\xfe\0\x02" * 5000],
    ids=["markers", "EXIF blocks", "comments"],
)
def test_a_jpeg_header_of_too_many_parts_is_refused(tmp_path: Path, inserted: bytes) -> None:
    content = jpeg_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:2] + inserted + content[2:])
    with pytest.raises(ImageError, match=r"a\.jpg: damaged JPEG image \(too many parts\)"):
        read_image(tmp_path / "a.jpg")
    assert stored_size(tmp_path / "a.jpg") == (0, 0)


def test_a_jpeg_of_too_many_segments_behind_its_header_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = jpeg_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 1000 * b"\xff\xe5\0\x02" + content[-2:])
    assert read_image(tmp_path / "a.jpg").size == (9, 8)
    monkeypatch.setattr("blitznet.image_file._MAX_SEGMENTS", 1000)
    with pytest.raises(ImageError, match=r"a\.jpg: a JPEG of too many parts"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("limit", ["_MAX_PLAIN", "_MAX_PLAIN_COMMENTS"])
def test_an_image_in_plain_text_has_limits(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    content = EncodedImage(b"P3 2 1 255\n# red\n255 0 0\n# blue\n0 0 255\n", "a.ppm")
    assert read_image(content).getpixel((1, 0)) == (0, 0, 255)
    monkeypatch.setattr(f"blitznet.image_file.{limit}", 1)
    with pytest.raises(ImageError, match=r"a\.ppm: a plain-text PPM that takes too long"):
        read_image(content)


def test_tags_of_a_tiff_that_name_the_same_bytes_are_not_all_read(tmp_path: Path) -> None:
    size = 1_000_000
    tags = [struct.pack("<HHII", 40_000 + number, 2, size, 8) for number in range(100)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (tmp_path / "a.tif").write_bytes(head + b"".join(tags) + bytes(4 + size))
    # Pillow 13 has a limit of its own.
    with pytest.raises(ImageError, match=r"a\.tif: damaged .*\((too many|Tag data larger)"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_of_too_many_strips_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (9, 8)).save(tmp_path / "a.tif", tiffinfo={278: 1})  # rows of a strip
    monkeypatch.setattr("blitznet.image_file._MAX_TILES", 8)
    assert read_image(tmp_path / "a.tif").size == (9, 8)
    monkeypatch.setattr("blitznet.image_file._MAX_TILES", 7)
    with pytest.raises(ImageError, match=r"a\.tif: 8 strips or tiles; save it again"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_frames_are_counted_as_far_as_reads_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, *others = (Image.new("RGB", (9, 8), (10 * number, 0, 0)) for number in range(20))
    first.save(tmp_path / name, save_all=True, append_images=others)
    assert read_image(tmp_path / name).info["frames"] == 20
    monkeypatch.setattr("blitznet.image_file._MAX_READS", 60)
    image = read_image(tmp_path / name)
    assert 1 < image.info["frames"] < 20
    assert image.getpixel((4, 4)) == (0, 0, 0)


def test_an_exif_block_that_would_take_too_much_memory_turns_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = EncodedImage(jpeg_bytes(exif=exif), "a.jpg")
    assert read_image(content).size == (8, 9)
    monkeypatch.setattr("blitznet.image._MAX_EXIF", 10)
    assert read_image(content).size == (9, 8)


def test_the_second_image_of_a_phones_photo_is_no_frame(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (9, 8), colour) for colour in ("red", "lime"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert "frames" not in read_image(tmp_path / "a.jpg").info


def test_names_come_from_paths_and_files(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    assert source_name("b.png") == "b.png"
    assert source_name(tmp_path / "a.png") == str(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert source_name(image) == str(tmp_path / "a.png")
    assert source_name(Image.fromarray(PIXELS)) is None
    assert source_name(PIXELS) is None


@pytest.mark.slow
@pytest.mark.parametrize("size", [(8000, 6000), (10_000, 9_500)])
def test_huge_images_are_read_whole_and_without_a_warning(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, "green")
    image.putpixel((size[0] - 1, size[1] - 1), (255, 0, 0))
    image.save(tmp_path / "huge.png", compress_level=1)
    del image
    read = read_image(tmp_path / "huge.png")
    assert read.size == size
    assert read.getpixel((size[0] - 1, size[1] - 1)) == (255, 0, 0)


def draw_photo(path: Path, size: tuple[int, int], orientation: int | None = None) -> Path:
    """Smooth colours with a dark corner at the top left and one line along the right edge."""
    x, y = np.meshgrid(np.linspace(60, 250, size[0]), np.linspace(60, 250, size[1]))
    image = Image.fromarray(np.stack((x, y, (x + y) / 2), axis=2).astype(np.uint8))
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 4, size[1] // 4), fill=(10, 20, 30))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, quality=95, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_shrunk_photo_is_the_whole_one_averaged(
    tmp_path: Path, reduction: int, orientation: int | None
) -> None:
    path = draw_photo(tmp_path / "a.jpg", (320, 192), orientation)
    whole = read_image(path)
    opened = OpenImage(path)
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
    shrunk = np.asarray(OpenImage(path).decode(4)).astype(int)
    assert shrunk.shape == (49, 82, 3)
    expected = np.asarray(read_image(path).crop((0, 0, 324, 192)).reduce(4))
    difference = abs(shrunk[:48, :81] - expected)
    assert difference.mean() < 1


def test_a_turned_photo_shrinks_only_by_what_divides_its_sides(tmp_path: Path) -> None:
    # Else its last, incomplete row would come first and shift the others.
    assert OpenImage(draw_photo(tmp_path / "a.jpg", (324, 196), 6)).reductions == (1, 2, 4)
    assert OpenImage(draw_photo(tmp_path / "b.jpg", (325, 195), 3)).reductions == (1,)
    assert OpenImage(draw_photo(tmp_path / "c.jpg", (325, 195), 1)).reductions == (1, 2, 4, 8)


def test_other_formats_and_specks_do_not_shrink(tmp_path: Path) -> None:
    assert OpenImage(draw_photo(tmp_path / "a.png", (64, 64))).reductions == (1,)
    assert OpenImage(draw_photo(tmp_path / "a.jpg", (50, 3))).reductions == (1, 2)


def test_a_grey_photo_shrinks_to_rgb(tmp_path: Path) -> None:
    Image.new("L", (64, 32), 77).save(tmp_path / "a.jpg")
    shrunk = OpenImage(tmp_path / "a.jpg").decode(8)
    assert (shrunk.mode, shrunk.size) == ("RGB", (8, 4))
    assert np.unique(np.asarray(shrunk)).tolist() == [77]


def test_damage_behind_the_header_is_found_when_decoding(tmp_path: Path) -> None:
    path = draw_photo(tmp_path / "a.jpg", (320, 192))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.jpg: damaged or cut off"):
        OpenImage(path).decode(4)
