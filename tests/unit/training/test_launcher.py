"""Finding the processes of a run and their launcher."""

import multiprocessing
import os
import signal
import sys
import threading
from subprocess import Popen

import pytest

from blitznet.errors import RecipeError
from blitznet.training import launcher
from blitznet.training.launcher import find_processes

SLURM = {
    "SLURM_NTASKS": "2",
    "SLURM_JOB_NAME": "train.sh",
    "SLURM_JOB_ID": str(os.getpid()),
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that a job of two tasks sees, under a number of its own."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)


def test_a_script_of_sbatch_does_not_wait_for_tasks_that_nobody_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launcher, "_TASKS_WAIT_S", 1)
    with pytest.raises(RecipeError, match="2 tasks for this run but only one came in 1 s; start i"):
        find_processes(2)


def test_one_task_of_sbatch_starts_its_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "1")
    found = find_processes(2)
    assert (found.rank, found.count, found.is_launched) == (0, 2, False)


def test_tasks_of_srun_are_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    for rank in range(2):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        found = find_processes(1)
        assert (found.rank, found.count, found.is_launched) == (rank, 2, True)


def _join(rank: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_PROCID", str(rank))
        assert find_processes(1).rank == rank


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_tasks_that_come_together_find_each_other() -> None:
    fork = multiprocessing.get_context("fork")
    tasks = [fork.Process(target=_join, args=(rank,)) for rank in range(2)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    assert [task.exitcode for task in tasks] == [0, 0]


def test_a_process_that_ends_before_it_connects_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(launcher.os, "_exit", lambda code: code == 1 and ended.set())
    monkeypatch.setattr(launcher.distributed, "is_initialized", ended.is_set)
    children = [Popen([sys.executable, "-c", code]) for code in ("", "import time; time.sleep(60)")]
    launcher._end_if_one_never_connects(children)
    for thread in threading.enumerate():
        if thread.name == "launch":
            thread.join(30)
    assert ended.is_set()
    assert children[1].wait() == -signal.SIGTERM
    assert capsys.readouterr().err.endswith("ended before all connected\n")
