from codecs import BOM_UTF8
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from blitznet.errors import InputError
from blitznet.image import EncodedImage
from blitznet.inference import sources
from blitznet.inference.sources import (
    Source,
    Video,
    WatchedFolder,
    find_given,
    find_sources,
    has_many_images,
)


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with images, other files and folders; the files are empty."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "album/b.jpg",
        "album/A.PNG",
        "album/notes.txt",
        "album/._b.jpg",
        "album/inner/c.webp",
        "album/folder.jpg/d.tif",
        "empty/readme.md",
        "x[1].jpg",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    ("sources", "images"),
    [
        (["album/b.jpg"], ["album/b.jpg"]),
        (["album"], ["album/A.PNG", "album/b.jpg"]),
        (["album/*"], ["album/A.PNG", "album/b.jpg"]),
        (["album/*.txt"], ["album/notes.txt"]),
        (["album/notes.txt"], ["album/notes.txt"]),
        (["album/**/*.t*"], ["album/folder.jpg/d.tif", "album/notes.txt"]),
        (["album/i*/**"], ["album/inner/c.webp"]),
        (["x[1].jpg"], ["x[1].jpg"]),
        (["album/b.jpg", "album"], ["album/b.jpg", "album/A.PNG", "album/b.jpg"]),
    ],
)
def test_files_folders_and_patterns_give_images_in_order(
    sources: list[str], images: list[str]
) -> None:
    assert find_sources(sources) == ([Path(name) for name in images], [])


@pytest.mark.usefixtures("album")
def test_a_dash_reads_a_list_of_anything_from_its_lines() -> None:
    lines = b"album/inner\n\n  x[1].jpg \ngone.jpg\n"
    for mark in (b"", BOM_UTF8):
        images, problems = find_sources(["album/b.jpg", "-"], BytesIO(mark + lines))
        assert images == [Path("album/b.jpg"), Path("album/inner/c.webp"), Path("x[1].jpg")]
        assert problems == ["gone.jpg: no such file or folder"]


@pytest.mark.usefixtures("album")
def test_every_source_without_images_gets_a_line_and_the_others_go_on() -> None:
    images, problems = find_sources(
        ["gone.jpg", "empty", "*.gif", "-", "", "x" * 5000, "album/b.jpg", "http://host/a.jpg"]
    )
    assert images == [Path("album/b.jpg")]
    assert [line.split(": ")[1].split(";")[0] for line in problems] == [
        "no such file or folder",
        "no images in this folder",
        "no image matches this pattern",
        "nothing named",
        "nothing named",
        "cannot be read (File name too long)",
        "images on the web are not downloaded",
    ]
    assert not any("\n" in line for line in problems)


@pytest.mark.usefixtures("album")
def test_null_bytes_may_separate_names_that_are_no_text() -> None:
    names = [b"album/b.jpg", b"x[1].jpg", b"gone-\xff.jpg"]
    images, problems = find_sources(["-"], BytesIO(b"\0".join(names) + b"\0"))
    assert images == [Path("album/b.jpg"), Path("x[1].jpg")]
    assert problems == ["gone-\udcff.jpg: no such file or folder"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_dash_may_be_an_image(image_format: str) -> None:
    content = BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(content, format=image_format)
    (image,), problems = find_sources(["-"], BytesIO(content.getvalue()))
    assert isinstance(image, EncodedImage)
    assert (image.content, image.name, problems) == (content.getvalue(), "stdin", [])


def test_standard_input_is_not_read_unless_a_dash_asks_for_it(album: Path) -> None:
    stdin = BytesIO(b"album/b.jpg")
    find_sources([str(album / "album")], stdin)
    assert stdin.tell() == 0


def test_standard_input_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_MAX_STDIN", 2_000_000)
    with Path("/dev/zero").open("rb") as endless:
        found, problems = find_sources(["-"], endless)
    assert found == []
    assert problems == ["-: standard input has more than 2 MB; give files or folders"]


@pytest.mark.usefixtures("album")
def test_videos_cameras_and_urls_stand_among_the_images() -> None:
    for name in ("album/clip.MP4", "album/._clip.mp4", "7"):
        Path(name).touch()
    found, problems = find_sources(["album", "0", "7", "rtsp://host/yard", "album/*.MP4"])
    assert problems == []
    assert found == [
        Path("album/A.PNG"),
        Path("album/b.jpg"),
        Video(str(Path("album/clip.MP4"))),
        Video("0"),
        Path("7"),  # a file of that name
        Video("rtsp://host/yard"),
        Video(str(Path("album/clip.MP4"))),
    ]


@pytest.mark.usefixtures("album")
def test_one_folder_can_be_watched() -> None:
    nothing = BytesIO()
    assert find_given(["empty"], True, 3, nothing) == ([WatchedFolder(Path("empty"), 3)], [])
    assert find_given(["x[1].jpg"], False, None, nothing) == ([Path("x[1].jpg")], [])
    for named in (["album", "empty"], ["album/b.jpg"], ["gone"]):
        with pytest.raises(InputError, match="--watch takes one folder"):
            find_given(named, True, None, nothing)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([Path("a.jpg")], False),
        ([Path("a.jpg"), Path("b.jpg")], True),
        ([Video("clip.mp4")], True),
        ([Video("0")], False),
        ([Video("rtsp://host/yard")], False),
        ([WatchedFolder(Path("inbox"))], False),
    ],
)
def test_throughput_matters_for_many_images_alone(sources: list[Source], expected: bool) -> None:
    assert has_many_images(sources) == expected
