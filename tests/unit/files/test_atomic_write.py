import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from blitznet.errors import InputError
from blitznet.files.atomic_write import atomic_write, unfinished_files


def test_the_name_appears_only_when_the_content_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


def write_half(path: Path, error: BaseException) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), GeneratorExit()])
def test_after_an_error_the_old_file_is_still_there_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_full_disk_is_one_line_with_the_final_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt: cannot be written \(No space left"):
        write_half(tmp_path / "a.txt", OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt: cannot be written \(No such file"):
        write_half(tmp_path / "missing" / "a.txt", AssertionError("the block was left before"))


def test_unfinished_files_are_those_being_written_and_no_others(tmp_path: Path) -> None:
    (tmp_path / ".hidden.part").touch()
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.touch()
        assert unfinished_files(tmp_path) == [temporary]
    assert unfinished_files(tmp_path) == []


def test_what_safetensors_was_writing_when_it_was_killed_is_unfinished(tmp_path: Path) -> None:
    program = (
        "import resource, signal, numpy, safetensors.numpy\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"  # a file over the limit kills, then
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "safetensors.numpy.save_file({'a': numpy.zeros(1000)}, 'a.safetensors')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert done.returncode == -signal.SIGXFSZ
    (left,) = tmp_path.iterdir()
    assert left.name != "a.safetensors"
    assert unfinished_files(tmp_path) == [left]


# Writes NAME in a process whose files cannot grow beyond 10 000 bytes, and prints the error.
FULL = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from PIL import Image
from blitznet.errors import InputError
from blitznet.files.atomic_write import atomic_write

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # Python ignores SIGXFSZ
image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8))
for name in ("a.jpg", "a.png", "a.jsonl"):
    for _ in range(2):
        try:
            with atomic_write(Path(name)) as temporary:
                if name == "a.jsonl":
                    with temporary.open("w") as file:
                        file.writelines(["{}\\n"] * 10_000)
                else:
                    image.save(temporary, format="JPEG" if name == "a.jpg" else "PNG", quality=92)
        except InputError as error:
            print(error)
"""


def test_on_a_full_disk_no_format_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("old")
    command = [sys.executable, "-c", FULL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        name for name in ("a.jpg", "a.png", "a.jsonl") for _ in range(2)
    ]
    assert all("cannot be written" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_text() == "old"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_an_image_that_was_cut_short_in_silence_is_found(tmp_path: Path, image_format: str) -> None:
    def write(kept: int | None) -> None:
        with atomic_write(tmp_path / "a") as temporary:
            Image.new("RGB", (9, 9)).save(temporary, format=image_format)
            temporary.write_bytes(temporary.read_bytes()[:kept])

    for kept in (-1, -2, -20, 9):
        with pytest.raises(InputError, match=r"a: cannot be written \(cut short"):
            write(kept)
    write(None)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("old")
    (tmp_path / "a.txt").symlink_to(tmp_path / "victim")
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "victim").read_text() == "old"
    assert not (tmp_path / "a.txt").is_symlink()
