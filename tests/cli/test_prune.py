"""The main script, end to end on a small run of real digits: results, resuming, refusing, being killed."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.cli import prune as distilled_pruning
from kerasticket.experiments.config import CONFIGS, Config
from kerasticket.experiments.experiment import Experiment
from kerasticket.files.json_files import read_json
from kerasticket.params import differing

ROOT = Path(__file__).parents[2]

SMALL = Config(
    distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"),
    images_per_class=10,
    width=4,
    rounds=3,
    epochs=2,
    distilled_epochs=4,
    init_seeds=(0, 1),
)


def small(folder: Path, **changes) -> Config:
    return dataclasses.replace(SMALL, out=str(folder), **changes)


def tickets(folder: Path) -> dict[str, kt.Ticket]:
    paths = sorted(folder.glob("seed_*/*/round_*/ticket.keras"))
    return {str(path.relative_to(folder)): kt.Ticket.load(path) for path in paths}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    distilled_pruning.main(small(folder))
    return folder


def test_a_run_leaves_every_result(whole_run):
    run = kt.Run.open(whole_run, read_json(whole_run / "config.json"))
    rows = run.results()
    found = [(row["init_seed"], row["kind"], row["round"]) for row in rows]
    kinds = [("dense", 0), *((kind, index) for kind in ("imp", "random", "synthetic") for index in (1, 2, 3))]
    assert sorted(found) == sorted((seed, *kind) for seed in (0, 1) for kind in kinds)
    for name in ("results.csv", "figure.png", "figure.pdf", "environment.json"):
        assert (whole_run / name).stat().st_size > 100
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    for row in rows:
        history = run.order(row["init_seed"], row["kind"], row["round"], 1) / "history.csv"
        assert [line.split(",")[1] for line in history.read_text().splitlines()] == ["passes", "2"]


def test_only_imp_needs_no_distilled_set(tmp_path):
    distilled_pruning.main(small(tmp_path, kinds=("imp",), distilled="absent.h5", rounds=1, init_seeds=(0,)))
    assert len(kt.Run(tmp_path).results()) == 2


@pytest.mark.same_on_every_backend
def test_whitened_distilled_images_go_with_whitened_real_ones(tmp_path):
    """A set in ZCA space prunes networks that are trained and tested in that space."""
    digits = kt.data.load("digits")
    zca = kt.data.ZCA.fit(digits)
    real = kt.data.DistilledSet.load(SMALL.distilled)
    about = {"space": "zca", "zca": zca.described, "factor": 1}
    dataclasses.replace(real, images=zca.whitened(real.images), **about).save(tmp_path / "zca.h5")
    options = {"distilled": str(tmp_path / "zca.h5"), "rounds": 1, "init_seeds": (0,), "kinds": ("synthetic",)}
    config = small(tmp_path / "run", **options)
    experiment = Experiment.open(config)
    np.testing.assert_array_equal(experiment.train.images, zca.whiten(digits.subset(10, 0)).images)
    assert experiment.test.space == "zca"
    distilled_pruning.main(config)
    assert {row["kind"] for row in kt.Run(tmp_path / "run").results()} == {"dense", "synthetic"}


@pytest.mark.same_on_every_backend
def test_the_command_that_a_preset_names_makes_the_set_that_it_needs(tmp_path):
    from kerasticket.cli import distill as distill_dataset
    from kerasticket.experiments import images

    wanted = dataclasses.replace(CONFIGS["imagenette"], distilled=str(tmp_path / "absent.h5"))
    with pytest.raises(ValueError, match="no such file") as error:
        images._load_distilled(wanted)
    flags = str(error.value).partition("distill_dataset.py ")[2].split()
    made, _ = distill_dataset.parse(flags)
    assert (made.dataset, made.image_size, made.out) == ("imagenette", 128, wanted.distilled)
    assert made.augmentation == wanted.augmentation


def test_tickets_share_the_initialization_and_the_sparsities(whole_run):
    found = tickets(whole_run)
    dense = found["seed_0/dense/round_00/ticket.keras"]
    for kind in ("imp", "synthetic", "random"):
        for index in (1, 2, 3):
            ticket = found[f"seed_0/{kind}/round_{index:02d}/ticket.keras"]
            assert ticket.kept == found[f"seed_0/imp/round_{index:02d}/ticket.keras"].kept
            for path, mask in ticket.mask.items():
                np.testing.assert_array_equal(ticket.params[path], np.where(mask, dense.params[path], 0))
    other = found["seed_1/dense/round_00/ticket.keras"]
    assert differing(dense.params, other.params)


def test_images_used_are_counted_as_the_paper_does(whole_run):
    rows = {(row["kind"], row["round"]): row for row in kt.Run(whole_run).results() if row["init_seed"] == 0}
    assert rows["imp", 2]["stored"] == rows["imp", 2]["decoded"] == 2 * 2 * 100
    assert (rows["synthetic", 3]["stored"], rows["synthetic", 3]["decoded"]) == (3 * 4 * 10, 3 * 4 * 40)
    assert rows["random", 3]["stored"] == rows["dense", 0]["stored"] == 0


def test_trained_networks_are_kept_sparse_and_have_the_reported_accuracy(whole_run):
    run = kt.Run(whole_run)
    for kind, index in (("dense", 0), ("imp", 2), ("synthetic", 3)):
        model = keras.saving.load_model(run.order(0, kind, index, 1) / "trained.keras")
        ticket = kt.Ticket.load(run.ticket(0, kind, index))
        params = kt.get_params(model)
        assert not any(params[path][~mask].any() for path, mask in ticket.mask.items())
        model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        accuracy = kt.training.evaluate(model, kt.data.load("digits", "test"))["accuracy"]
        assert accuracy == pytest.approx(read_json(run.result(0, kind, index, 1))["accuracy"], abs=1e-6)


@pytest.mark.same_on_every_backend
def test_a_finished_run_is_not_redone_and_a_longer_one_goes_on(whole_run, tmp_path):
    times = {path: path.stat().st_mtime_ns for path in whole_run.glob("seed_*/**/*.*")}
    distilled_pruning.main(small(whole_run))
    assert times == {path: path.stat().st_mtime_ns for path in whole_run.glob("seed_*/**/*.*")}
    shorter = tmp_path / "shorter"
    distilled_pruning.main(small(shorter, rounds=2, init_seeds=(0,), kinds=("synthetic", "random")))
    distilled_pruning.main(small(shorter, rounds=3, init_seeds=(0,), kinds=("synthetic", "random")))
    ours, theirs = tickets(shorter), tickets(whole_run)
    for path, ticket in ours.items():
        assert not differing(ticket.mask, theirs[path].mask)
        assert not differing(ticket.params, theirs[path].params)
    whole = {(row["kind"], row["round"], row["init_seed"]): row for row in kt.Run(whole_run).results()}
    for row in kt.Run(shorter).results():
        assert row["accuracy"] == whole[row["kind"], row["round"], row["init_seed"]]["accuracy"]


@pytest.mark.same_on_every_backend
def test_another_configuration_is_refused(whole_run):
    with pytest.raises(ValueError, match="width was 4, is now 8"):
        distilled_pruning.main(small(whole_run, width=8))


@pytest.mark.same_on_every_backend
def test_imp_from_a_synthetic_ticket_rewound_to_an_epoch(whole_run, tmp_path):
    start = kt.Run(whole_run).ticket(0, "synthetic", 2)
    config = small(tmp_path / "syn2-imp", start=str(start), kinds=("imp",), init_seeds=(0,), rounds=4, rewind_epoch=1)
    distilled_pruning.main(config)
    last = kt.Ticket.load(kt.Run(tmp_path / "syn2-imp").ticket(0, "imp", 4))
    assert [(stage["name"], stage["last_round"]) for stage in last.stages] == [("synthetic", 2), ("imp", 4)]
    assert last.rewind_epoch == 1
    rows = {(row["kind"], row["round"]): row for row in kt.Run(tmp_path / "syn2-imp").results()}
    assert set(rows) == {("start", 2), ("imp", 3), ("imp", 4)}
    assert rows["start", 2]["sparsity"] == pytest.approx(0.36, abs=0.01)
    assert (rows["imp", 3]["stored"], rows["imp", 4]["stored"]) == (2 * 100, 2 * 100 + 100)  # k = 1 of 2 epochs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "digit"}, "digits"),
        ({"model": "convnets"}, "--model to be one of"),
        ({"augmentation": "strong"}, "--augmentation to be one of"),
        ({"precision": "float16"}, "--precision to be one of"),
        ({"kinds": ("imp", "snip")}, "--kinds among"),
        ({"init_seeds": ()}, "--init-seeds"),
        ({"distilled": "absent.h5"}, "no such file"),
        ({"start": "absent.keras", "init_seeds": (0,)}, "Expected a ticket"),
        ({"image_size": 8}, "shape|size"),
        ({"fraction": 1.5}, r"\(0, 1\)"),
        ({"rewind_epoch": 2}, "rewind_epoch"),
        ({"rounds": 0}, "rounds"),
        ({"train_rounds": (2, 4)}, r"--train-rounds within 1\.\.3.*4"),
        ({"data_orders": (1, -1)}, "none negative"),
        ({"init_seeds": (0, 0)}, r"--init-seeds to be distinct. Received: \(0, 0\)"),
        ({"data_orders": (1, 2, 1)}, "--data-orders to be distinct"),
        ({"kinds": ("imp", "imp")}, "--kinds to be distinct"),
        ({"epochs": 0}, "--epochs of at least 1"),
        ({"learning_rate": -1.0}, "learning_rate > 0"),
        ({"kinds": ("random",)}, "one of the first two"),
        ({"out": "/proc/nowhere"}, "folder that can be written to"),
    ],
)
def test_bad_input_is_refused_before_any_training(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        distilled_pruning.main(dataclasses.replace(small(tmp_path / "run"), **changes))
    assert not list(tmp_path.glob("run/*"))


COMMAND = [
    "--images-per-class",
    "10",
    "--width",
    "4",
    "--rounds",
    "3",
    "--epochs",
    "6",
    "--distilled-epochs",
    "40",
    "--init-seeds",
    "0",
    "--kinds",
    "imp",
    "synthetic",
    "--train-rounds",
    "3",
    "--distilled",
    "assets/distilled/digits_ipc1.h5",
]


def start_script(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "scripts/distilled_pruning.py", *COMMAND, "--out", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, **quiet)


def killed_run(folder: Path, rng: random.Random, seconds: float, most: int) -> int:
    """Runs the script, killed at random moments but not too often, until it ends; returns the number of kills."""
    kills, finished = 0, {}
    while True:
        process = start_script(folder)
        if kills == most:
            process.wait()
        else:
            time.sleep(rng.uniform(0.2, 1.0) * seconds)
        if process.poll() is not None:
            assert process.returncode == 0
            return kills
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        for path, stamp in finished.items():
            assert path.stat().st_mtime_ns == stamp, f"{path} was made again"
        finished = {path: path.stat().st_mtime_ns for path in folder.glob("seed_*/*/round_*/ticket.keras")}


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_in_the_same_masks(kills, tmp_path):
    started = time.perf_counter()
    assert start_script(tmp_path / "whole").wait() == 0
    seconds, rng, landed, attempt = time.perf_counter() - started, random.Random(kills), 0, 0
    while landed < kills:
        folder, attempt = tmp_path / f"killed_{attempt}", attempt + 1
        landed += killed_run(folder, rng, seconds, kills - landed)
        killed, whole = tickets(folder), tickets(tmp_path / "whole")
        assert killed.keys() == whole.keys()
        for path, ticket in whole.items():
            assert not differing(ticket.mask, killed[path].mask)
            assert not differing(ticket.params, killed[path].params)
        for row, expected in zip(kt.Run(folder).results(), kt.Run(tmp_path / "whole").results(), strict=True):
            assert {**row, "seconds": 0} == {**expected, "seconds": 0}
    print(f"{landed} kills in {attempt} runs")
