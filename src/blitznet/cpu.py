"""Number of CPU cores that this process may use."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_limit: int | None = None


def limit_cores(count: int) -> None:
    """Limit this process to `count` cores.

    Call it in a worker that shares its machine, before it loads a network.
    """
    global _limit
    _limit = count
    os.environ["OMP_NUM_THREADS"] = str(count)  # read by PyTorch when it is imported


def is_limited() -> bool:
    """Whether `limit_cores` was called."""
    return _limit is not None


def usable_cores() -> int:
    """Minimum of the affinity mask, the container's quota and `limit_cores`, but at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    limits = (cores, _cgroup_quota(), _limit)
    return max(1, int(min(limit for limit in limits if limit is not None)))


def _cgroup_quota() -> float | None:
    """The container's CPU quota in cores (cgroup v2, then v1); None if there is no limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = " ".join((_CGROUP / name).read_text() for name in names).split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return None
