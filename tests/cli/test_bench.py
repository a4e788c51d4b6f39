"""`kerasticket bench`: the benchmark of the checkout, or how to get one."""

import sys
from pathlib import Path

import benchmark
import pytest

from kerasticket.cli import bench

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]


def test_flags_are_those_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    called = []
    monkeypatch.setattr(benchmark, "main", called.append)
    bench.run(["--row", "memory", "--runs", "1"])
    assert called == [["--row", "memory", "--runs", "1"]]
    assert sys.path[0] == str(ROOT / "scripts" / "bench")


def test_an_unknown_row_is_refused_by_it(capsys):
    with pytest.raises(SystemExit) as left:
        bench.run(["--row", "memry"])
    assert left.value.code
    assert "memry" in capsys.readouterr().err


def test_without_a_checkout_it_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    with pytest.raises(ValueError, match=r"Received: the package in '.*' alone. Take a checkout .*pip install -e"):
        bench.run([])
