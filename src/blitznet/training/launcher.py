"""The processes of a run: find, launch and connect them, and explain when one is lost."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from subprocess import Popen
from threading import Thread
from time import sleep
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.launchers import subprocess_script
from torch import distributed

from blitznet.device import choose_device
from blitznet.errors import BlitzNetError, RecipeError, WorkerError
from blitznet.training.loop_options import FABRIC_PRECISION, usable_precision
from blitznet.training.recipe import Recipe

_TASKS_WAIT_S = 30  # how long the first process waits for the others
_FAILURE = "blitznet/failure"  # key in the store shared by the processes
_LOST = ("gloo", "closed by peer", "reset by peer", "refused", "NCCL", "Timed out", "timed out")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, found in the environment variables of their launcher.

    Attributes:
        rank: rank of this process.
        per_machine: number of processes on each machine.
        machines: number of machines.
        is_launched: whether a launcher starts all processes; if not, the first process starts the
            others.
        environment: Fabric's view of them.
    """

    rank: int
    per_machine: int
    machines: int
    is_launched: bool
    environment: ClusterEnvironment

    @property
    def count(self) -> int:
        """Number of processes on all machines."""
        return self.per_machine * self.machines

    @property
    def is_first(self) -> bool:
        """Whether this process prepares, measures and writes."""
        return self.rank == 0


def find_processes(devices: int) -> Processes:
    """Find the processes started by torchrun or SLURM; otherwise use `devices` on this machine.

    Raises:
        RecipeError: if the launcher's numbers do not fit, or SLURM's other tasks do not connect.
    """
    variables = os.environ
    if TorchElasticEnvironment.detect():
        machines = int(variables.get("GROUP_WORLD_SIZE", "1"))
        return _launched(TorchElasticEnvironment(), machines)
    # With one task, the default of `sbatch`, `devices` decides.
    if int(variables.get("SLURM_NTASKS", "1")) > 1 and SLURMEnvironment.detect():
        variables.setdefault("SLURM_NTASKS_PER_NODE", variables["SLURM_NTASKS"])  # for Fabric
        processes = _launched(SLURMEnvironment(), int(variables.get("SLURM_NNODES", "1")))
        if "SLURM_STEP_ID" not in variables:
            _require_all_tasks(processes)
        return processes
    environment = LightningEnvironment()
    is_launched = environment.creates_processes_externally
    return Processes(environment.local_rank(), devices, 1, is_launched, environment)


def _launched(environment: ClusterEnvironment, machines: int) -> Processes:
    world = environment.world_size()
    if world % machines:
        raise RecipeError(f"{world} processes cannot be shared evenly by {machines} machines")
    return Processes(environment.global_rank(), world // machines, machines, True, environment)


def launch(recipe: Recipe, accelerator: str, processes: Processes) -> Fabric:
    """Start or join the processes of a run, with the recipe's seed and precision."""
    precision = usable_precision(recipe.precision, choose_device(accelerator))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Fabric's own observer silently kills the first process when another one ends.
    subprocess_script._launch_process_observer = _end_if_one_never_connects
    fabric = Fabric(
        accelerator=accelerator,
        devices=processes.per_machine,
        num_nodes=processes.machines,
        precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
        plugins=processes.environment if processes.count > 1 else None,
    )
    if processes.count > 1:
        warnings.filterwarnings("ignore", ".*barrier.*", UserWarning)
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    return fabric


def _end_if_one_never_connects(child_processes: Sequence[Popen[bytes]]) -> None:
    """Watch the started processes until all are connected; end this one if another ends before.

    The main thread waits for connections in C++ for half an hour, where signals cannot reach it.
    """

    def watch() -> None:
        while not distributed.is_initialized():
            if any(child.poll() is not None for child in child_processes):
                for child in child_processes:
                    child.terminate()
                sys.stderr.write("blitznet: a process of this run ended before all connected\n")
                os._exit(1)
            sleep(0.2)

    Thread(target=watch, name="launch", daemon=True).start()


def _require_all_tasks(processes: Processes) -> None:
    """Require that all SLURM tasks connect: without srun, a script of `sbatch` runs only once.

    Raises:
        RecipeError: if the other tasks do not connect.
    """
    place, is_first = processes.environment, processes.is_first
    wait = timedelta(seconds=_TASKS_WAIT_S) if is_first else timedelta(minutes=5)
    try:
        distributed.TCPStore(  # type: ignore[attr-defined]
            place.main_address, place.main_port + 1, processes.count, is_first, wait
        )
    except RuntimeError:
        if not is_first:
            raise
        raise RecipeError(
            f"SLURM has {processes.count} tasks for this run but only one came in {_TASKS_WAIT_S} "
            f"s; start it by srun, or ask for one task and give --devices {processes.count}"
        ) from None


def report_failure(processes: Processes, error: BlitzNetError) -> None:
    """In a process that is not the first, pass the error on to the first one and exit silently.

    Raises:
        SystemExit: if this is not the first process; in the first, the caller raises `error`.
    """
    if processes.count == 1 or processes.is_first:
        return
    store = _store()
    if store is not None and not isinstance(error, WorkerError):
        store.set(_FAILURE, str(error))
    # The first process reports the error and fails; only torchrun must see this one fail, too.
    raise SystemExit(1 if processes.is_launched and "TORCHELASTIC_RUN_ID" in os.environ else 0)


def explain_lost_process(error: RuntimeError, run: Path | None) -> BlitzNetError | None:
    """Explain an error that occurred because another process ended; None for other errors.

    Args:
        error: error raised by a collective operation.
        run: folder of the run to resume.
    """
    text = str(error)
    if not (isinstance(error, distributed.DistError) or any(word in text for word in _LOST)):
        return None
    store = _store()
    with suppress(RuntimeError):  # the store ended with the first process
        if store is not None and store.check([_FAILURE]):
            return BlitzNetError(store.get(_FAILURE).decode())
    how = "" if run is None else f"; continue with blitznet train --resume {run}"
    return WorkerError(f"another process of this run has died (out of memory, or killed){how}")


def _store() -> Any:
    """The key-value store shared by the processes; None before they are connected."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    return distributed.distributed_c10d._get_default_store()
