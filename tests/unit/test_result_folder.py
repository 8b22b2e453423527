"""Folders for work in progress go away, sooner or later, and nobody else's do."""

import signal
import subprocess
import sys
from pathlib import Path

from blitznet.temporary_folder import temporary_folder

KILLED = """
import os, signal
from pathlib import Path
from blitznet.temporary_folder import temporary_folder
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
