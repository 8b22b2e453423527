"""Temporary folders are removed, others are not, and one process at a time writes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blitznet.errors import InputError
from blitznet.files.result_folder import locked, make_folder, require_usable, temporary_folder

KILLED = """
import os, signal
from pathlib import Path
from blitznet.files.result_folder import temporary_folder
with temporary_folder(Path(".")) as folder:
    (folder / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with temporary_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder != left
        with temporary_folder(tmp_path) as second:  # the first is in use
            assert sorted(tmp_path.iterdir()) == sorted([folder, second])
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / ".blitznet-mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/in-use").touch()
    (tmp_path / ".blitznet-link").symlink_to(tmp_path / "elsewhere")
    with temporary_folder(tmp_path):
        pass
    assert (tmp_path / "elsewhere/in-use").is_file()
    assert len(list(tmp_path.iterdir())) == 3


HOLDER = """
import sys
from pathlib import Path
from blitznet.files.result_folder import locked
with locked(Path(".")):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    holder = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(holder, cwd=tmp_path, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another process is writing there"):
            locked(tmp_path, patience=0.2).__enter__()
        process.kill()
        with locked(tmp_path):  # waits until the killed process has ended
            assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, patience=0):
        pass


def test_standard_output_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = "--out -: the results are files, which stdout cannot take; name a folder"
    for check in (require_usable, lambda out: make_folder(out, tmp_path, overwrite=True)):
        with pytest.raises(InputError) as raised:
            check(Path("-"))
        assert str(raised.value) == message
    assert not list(tmp_path.iterdir())
