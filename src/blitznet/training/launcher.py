"""The processes of a run: who started them, which one this is, and what is said if one is lost."""

import logging
import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.launchers import subprocess_script
from torch import distributed

from blitznet.errors import BlitzNetError, RecipeError, WorkerError

_ROLL_CALL_S = 30  # that the first process waits for the others
_FAILURE = "blitznet/failure"  # key in the store that the processes share
_LOST = ("gloo", "closed by peer", "reset by peer", "refused", "NCCL", "Timed out", "timed out")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, found in the variables of who launched them.

    Attributes:
        rank: of this one.
        per_machine: how many run on each machine.
        machines: how many there are.
        is_launched: whether this one was started for the run by something else; the first one
            starts the others otherwise.
        environment: Fabric's view of them.
    """

    rank: int
    per_machine: int
    machines: int
    is_launched: bool
    environment: ClusterEnvironment

    @property
    def count(self) -> int:
        """Of all machines."""
        return self.per_machine * self.machines

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prepares, measures and writes."""
        return self.rank == 0


def find_processes(devices: int) -> Processes:
    """Ask torchrun, then SLURM; without them, `devices` on this machine.

    Raises:
        RecipeError: if a launcher does not say enough, or SLURM's other tasks do not come.
    """
    variables = os.environ
    if TorchElasticEnvironment.detect():
        machines = int(variables.get("GROUP_WORLD_SIZE", "1"))
        return _launched(TorchElasticEnvironment(), machines)
    # One task is what `sbatch` gives a script by default: `devices` counts then.
    if int(variables.get("SLURM_NTASKS", "1")) > 1 and SLURMEnvironment.detect():
        variables.setdefault("SLURM_NTASKS_PER_NODE", variables["SLURM_NTASKS"])  # Fabric asks
        processes = _launched(SLURMEnvironment(), int(variables.get("SLURM_NNODES", "1")))
        if "SLURM_STEP_ID" not in variables:
            _call_roll(processes)
        return processes
    environment = LightningEnvironment()
    is_launched = environment.creates_processes_externally
    return Processes(environment.local_rank(), devices, 1, is_launched, environment)


def _launched(environment: ClusterEnvironment, machines: int) -> Processes:
    world = environment.world_size()
    if world % machines:
        raise RecipeError(f"{world} processes cannot be shared evenly by {machines} machines")
    return Processes(environment.global_rank(), world // machines, machines, True, environment)


def launch_fabric(processes: Processes, accelerator: str, precision: str) -> Fabric:
    """Start or join the processes of a run.

    Raises:
        WorkerError: if they do not find each other.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Fabric's own observer kills the first process when another one ends, without a word.
    subprocess_script._launch_process_observer = lambda child_processes: None  # noqa: ARG005
    fabric = Fabric(
        accelerator=accelerator,
        devices=processes.per_machine,
        num_nodes=processes.machines,
        precision=precision,  # type: ignore[arg-type]
        plugins=processes.environment if processes.count > 1 else None,
    )
    if processes.count > 1:
        warnings.filterwarnings("ignore", ".*barrier.*", UserWarning)
    fabric.launch()
    return fabric


def _call_roll(processes: Processes) -> None:
    """A script of `sbatch` sees the number of tasks too, but is alone where srun does not start it.

    Raises:
        RecipeError: if the others do not come.
    """
    place, is_first = processes.environment, processes.is_first
    wait = timedelta(seconds=_ROLL_CALL_S) if is_first else timedelta(minutes=5)
    try:
        distributed.TCPStore(  # type: ignore[attr-defined]
            place.main_address, place.main_port + 1, processes.count, is_first, wait
        )
    except RuntimeError:
        if not is_first:
            raise
        raise RecipeError(
            f"SLURM has {processes.count} tasks for this run and only one came in {_ROLL_CALL_S} "
            f"s; start it by srun, or ask for one task and give --devices {processes.count}"
        ) from None


def leave_failure(processes: Processes, error: BlitzNetError) -> None:
    """Tell the first process why another one fails, and end that one without a word.

    Raises:
        SystemExit: if this is not the first process; after that `error` is for the caller to raise.
    """
    if processes.count == 1 or processes.is_first:
        return
    store = _store()
    if store is not None and not isinstance(error, WorkerError):
        store.set(_FAILURE, str(error))
    # The first process ends for the reason that it reads, and its launcher looks at that one.
    raise SystemExit(1 if processes.is_launched and "TORCHELASTIC_RUN_ID" in os.environ else 0)


def explain_loss(error: RuntimeError, run: Path | None) -> BlitzNetError | None:
    """A message for an error that occurs because another process ended; None for other errors.

    Args:
        error: that a collective operation raised.
        run: folder of the run, to continue from.
    """
    text = str(error)
    is_lost = isinstance(error, distributed.DistError) or any(w in text for w in _LOST)
    if not is_lost or isinstance(error, BlitzNetError):
        return None
    store = _store()
    try:
        if store is not None and store.check([_FAILURE]):
            return BlitzNetError(store.get(_FAILURE).decode())
    except RuntimeError:  # it went with the first process
        pass
    how = "" if run is None else f"; continue with blitznet train --resume {run}"
    return WorkerError(f"another process of this run has died (out of memory, or killed){how}")


def _store() -> Any:
    """What the processes share beside collective operations; None before they have met."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    return distributed.distributed_c10d._get_default_store()
