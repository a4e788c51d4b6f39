"""What the machine is, and whether it is idle: what a reader needs to judge a time that was measured on it."""

import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

IDLE = 0.15  # share of the cores that others may use


def machine() -> dict[str, Any]:
    """Versions, processor, GPU, and the load before anything was measured."""
    from kerasticket.files.environment import environment

    facts = {"features": features() or [], "threads": os.cpu_count(), "gpu": gpu(), "load_before": load()}
    return environment() | facts


@cache
def gpu() -> str | None:
    """Name of the first Nvidia GPU; None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return names[0].strip() if names else None


def features() -> list[str] | None:
    """Of the CPU, those that decide speed; None where /proc/cpuinfo does not tell."""
    if not os.path.exists("/proc/cpuinfo"):
        return None
    flags = Path("/proc/cpuinfo").read_text()
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]


def computes_in_bfloat16() -> bool:
    """Whether a GPU or the CPU has instructions for it; True where the machine does not tell."""
    flags = features()
    return flags is None or bool({"avx512_bf16", "amx_bf16"} & set(flags)) or gpu() is not None


def load() -> float | None:
    """Share of all cores in use during one second; None where /proc/stat does not tell."""

    def times() -> list[int]:
        return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]

    if not os.path.exists("/proc/stat"):
        return None
    before = times()
    time.sleep(1)
    passed = [after - start for after, start in zip(times(), before, strict=True)]
    return 1 - (passed[3] + passed[4]) / sum(passed)


def refuse_if_loaded(others: float | None) -> None:
    """Exits where others use more of the cores than `IDLE`; `others` is what `load` found."""
    if others is not None and others > IDLE:
        sys.exit(f"Others use {others:.0%} of the cores: nothing measured now would mean anything.")
