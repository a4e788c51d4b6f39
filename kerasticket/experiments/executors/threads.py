"""How many threads a process computes with: part of what decides the last bits of a result."""

import os

VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC")  # the last: XLA


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_here() -> int:
    """Threads that this process computes with, as its environment says; else a thread for each core."""
    return int(os.environ.get(VARIABLES[0]) or 0) or cores()


def environment_of(threads: int) -> dict[str, str]:
    """Environment variables by which the three backends compute with so many threads, once they start."""
    return dict.fromkeys(VARIABLES, str(threads))
