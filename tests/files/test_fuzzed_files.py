"""Mutants of every kind of file, in a process of their own: refused by name, or read as written; never more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.same_on_every_backend
KINDS = 15


def fuzz(folder: Path, seed: int, count: int, seconds: float) -> int:
    """How many mutants were read or refused as they must be."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "tests" / "helpers" / "fuzz_files.py"), str(folder), str(seed), str(count)]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"ended by {done.returncode} after {found[-1:]}: {done.stderr[-2000:]}"
    assert len(found) == KINDS
    assert not [(each["kind"], each["wrong"]) for each in found if each["wrong"]]
    assert all(each["refused"] for each in found)
    return sum(each["refused"] + each["read"] for each in found)


def test_mutants_of_all_kinds_are_refused_or_read_as_written(tmp_path):
    assert fuzz(tmp_path, seed=0, count=12, seconds=300) == 12 * KINDS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_mutants(seed, tmp_path):
    assert fuzz(tmp_path, seed, count=120, seconds=1200) == 120 * KINDS
