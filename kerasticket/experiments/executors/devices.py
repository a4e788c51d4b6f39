"""Where workers compute: each with its share of the cores, or of the GPUs."""

import os
import subprocess

# Each takes memory of a GPU as it needs it, so that several fit on one.
GROWING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; no backend is started for that."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(filter(None, listed.splitlines())) if line.startswith("GPU")]


def assignments(workers: int | None, threads: int, workers_per_gpu: int, cores: int) -> list[dict[str, str]]:
    """The environment variables of each worker beside those of its threads.

    Args:
        workers: how many; None: `workers_per_gpu` for each GPU, without GPUs as many as the cores allow.
        threads: of each worker.
        workers_per_gpu: that share one GPU.
        cores: of this machine.

    Raises:
        ValueError: less than one of a kind, or more workers than the GPUs take.

    Example:
        >>> assignments(2, threads=1, workers_per_gpu=1, cores=2)  # on a machine without GPUs
        [{}, {}]
    """
    check_counts(workers, threads, workers_per_gpu)
    present = gpus()
    if not present:
        return [{}] * (workers or max(1, cores // threads))
    shared = [gpu for _ in range(workers_per_gpu) for gpu in present]  # every GPU has one before one has two
    if workers is not None and workers > len(shared):
        raise ValueError(
            f"Expected at most {len(shared)} --workers, {workers_per_gpu} for each of {len(present)} GPUs. Received: "
            f"{workers}. Let more of them share one with --workers-per-gpu, or hide the GPUs with {VISIBLE}=-1."
        )
    return [GROWING | {VISIBLE: gpu} for gpu in shared[:workers]]


def check_counts(workers: int | None, threads: int, workers_per_gpu: int) -> None:
    """Raises ValueError for less than one of a kind."""
    for name, value in (
        ("--workers", workers),
        ("--threads-per-worker", threads),
        ("--workers-per-gpu", workers_per_gpu),
    ):
        if value is not None and value < 1:
            raise ValueError(f"Expected {name} of at least 1. Received: {value}.")
