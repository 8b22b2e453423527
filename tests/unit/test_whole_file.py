import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blitznet.errors import InputError
from blitznet.whole_file import unfinished_files, whole_file


def test_the_name_appears_only_when_the_content_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "whole"


def write_half(path: Path, error: BaseException) -> None:
    with whole_file(path) as temporary:
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
    with whole_file(tmp_path / "a.txt") as temporary:
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
