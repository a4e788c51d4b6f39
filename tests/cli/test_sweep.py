"""`kerasticket sweep`: its grid, its presets, what it refuses, and what it prints."""

import importlib
import os
import subprocess
import sys

import pandas as pd
import pytest
import small_runs

from kerasticket.cli import sweep
from kerasticket.cli.execution import Execution
from kerasticket.experiments import points
from kerasticket.experiments.config import CONFIGS
from kerasticket.experiments.executors import EXECUTORS

pytestmark = pytest.mark.same_on_every_backend

SET = ["--set", "learning_rate=.01,.03", "--set", "width=8"]


class StoppedError(Exception):
    """An executor was called; nothing more is wanted."""


def test_each_set_is_a_field_of_the_grid_and_all_other_flags_are_the_studys():
    config, values, execution = sweep.read_arguments(
        [*SET, "--preset", "cifar10-cpu", "--epochs", "3", "--workers", "2"]
    )
    assert values == {"learning_rate": (0.01, 0.03), "width": (8,)}
    assert config == sweep.PRESETS["cifar10-cpu"].replace(epochs=3)
    assert execution == Execution(workers=2)


@pytest.mark.parametrize("name", CONFIGS)
def test_presets_have_folders_of_their_own_and_two_data_orders(name):
    preset = sweep.PRESETS[name]
    assert preset.out == f"runs/sweep-{name}"
    assert len(set(preset.data_orders)) == 2
    assert preset.data_orders[0] == CONFIGS[name].data_orders[0]  # in which is searched
    assert preset.replace(out="", data_orders=()) == CONFIGS[name].replace(out="", data_orders=())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "at least one field to sweep, such as --set"),
        (["--set", "width"], "--set field=value,value. Received: 'width'"),
        (["--set", "width=8", "--set", "width=16"], "each field once in --set. Received: width twice"),
        (["--set", "widht=8"], "Did you mean 'width'"),
        (["--set", "rounds=1,2"], "--set to be one of"),
        (["--set", "width=8,8"], "distinct values of width"),
        (["--set", "epochs=two"], "Expected int as epochs"),
        ([*SET, "--dry-run"], "no --dry-run here"),
        ([*SET, "--preset", "digit"], "Did you mean 'digits'"),
    ],
)
def test_bad_flags_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        sweep.read_arguments(flags)


def test_bad_flags_are_refused_in_a_line_before_keras_is_there():
    program = "import sys; from kerasticket.cli import sweep\ntry: sweep.run(['--set', 'epochs=two'])\n"
    program += "except ValueError: print('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_flags_reach_the_executor(tmp_path, monkeypatch, capsys):
    called = {}

    def stop(studies, listener, **options):
        called.update(options, folder=studies[0].folder)
        raise StoppedError

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(EXECUTORS, "processes", stop)
    small = ["--images-per-class", "4", "--model", "lenet_300_100", "--width", "None", "--kinds", "imp"]
    small += ["--distilled", small_runs.SMALL.distilled, "--out", str(tmp_path / "sweep")]
    with pytest.raises(StoppedError):
        sweep.run([*small, "--set", "epochs=1,2", "--executor", "processes", "--workers", "3"])
    assert (called["workers"], called["folder"]) == (3, tmp_path / "sweep")
    assert capsys.readouterr().out.startswith("2 points\n")
    assert (tmp_path / "sweep" / "events.jsonl").exists()


@pytest.mark.parametrize("barrier", [0.25, None])
def test_means_of_the_last_round_are_printed(barrier, tmp_path, monkeypatch, capsys):
    study = importlib.import_module("kerasticket.experiments.sweep")
    rows = [
        {"epochs": epochs, "kind": "imp", "round": round, "accuracy": 0.5 + 0.1 * round, "midpoint_barrier": barrier}
        for epochs in (1, 2)
        for round in (1, 2)
    ]
    table = pd.DataFrame(rows).astype({"midpoint_barrier": float})
    config = small_runs.SMALL.replace(out=str(tmp_path), width=None)
    grid = tuple(points.points(config, {"epochs": (1, 2)}))
    opened = type("Opened", (), {"about": lambda self: ["digits"]})()
    made = study.Sweep(tmp_path, grid, (opened,), None)
    monkeypatch.setattr(study.Sweep, "open", lambda *given: made)
    monkeypatch.setattr(study, "finish", lambda *given, **options: table)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    sweep.main(config, {"epochs": (1, 2)})
    printed = capsys.readouterr().out
    assert ("midpoint_barrier" in printed) == (barrier is not None)
    assert "0.7" in printed
    assert "0.6" not in printed
