"""`kerasticket criteria`: every criterion at IMP's numbers of weights, resumed after a kill, bad input refused."""

import csv
import dataclasses
from pathlib import Path

import pytest

import kerasticket as kt
from kerasticket.cli import criteria
from kerasticket.experiments.config import CRITERIA_CONFIGS
from kerasticket.experiments.jobs.tickets import kept_after
from kerasticket.experiments.study import ExperimentWorker

pytestmark = pytest.mark.same_on_every_backend

SMALL = dataclasses.replace(
    CRITERIA_CONFIGS["digits"],
    model="lenet_300_100",
    width=None,
    images_per_class=10,
    rounds=3,
    train_rounds=(1, 3),
    epochs=2,
    init_seeds=(0, 1),
    augmentation="none",
)
CRITERIA = ("snip", "magnitude", "random")


def call(folder: Path, **changes) -> list[dict]:
    """Runs the command with one seed of IMP; the rows that it wrote."""
    criteria.main(dataclasses.replace(SMALL, out=str(folder), **changes), 1, CRITERIA)
    with open(folder / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("criteria") / "run"
    return folder, call(folder)


def test_every_criterion_is_trained_at_imps_numbers_of_weights(run):
    folder, rows = run
    found = {(row["kind"], row["round"], row["init_seed"]) for row in rows}
    expected = {("dense", "0", seed) for seed in "01"} | {("imp", index, "0") for index in "13"}
    expected |= {(kind, index, seed) for kind in CRITERIA for index in "13" for seed in "01"}
    assert found == expected
    assert len(rows) == len(found)
    by_round = {index: {row["sparsity"] for row in rows if row["round"] == index} for index in "13"}
    assert all(len(sparsities) == 1 for sparsities in by_round.values())
    kept = {kind: kt.Ticket.load(folder / f"seed_0/{kind}/round_03/ticket.keras").kept for kind in ("imp", *CRITERIA)}
    total = kt.Ticket.load(folder / "seed_0/dense/round_00/ticket.keras").total
    assert set(kept.values()) == {kept_after(3, total, SMALL.fraction)}


def test_the_rounds_of_the_presets_prune_80_90_and_98_percent():
    for config in CRITERIA_CONFIGS.values():
        kept = [kept_after(index, 10**6, config.fraction) for index in config.train_rounds]
        assert [round(100 * (1 - count / 10**6)) for count in kept] == [80, 90, 98]


def test_imp_is_rewound_and_the_others_start_at_initialization(run):
    folder, _ = run
    epochs = {kind: kt.Ticket.load(folder / f"seed_0/{kind}/round_03/ticket.keras").rewind_epoch for kind in CRITERIA}
    assert set(epochs.values()) == {0}
    assert kt.Ticket.load(folder / "seed_0/imp/round_03/ticket.keras").rewind_epoch == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_rows(run, tmp_path, monkeypatch):
    _, expected = run
    train = kt.training.train

    def kill(model, data, recipe, **options):
        if list((tmp_path / "run").glob("seed_1/snip/round_01/order_1")):
            raise KeyboardInterrupt
        return train(model, data, recipe, **options)

    with monkeypatch.context() as patched:
        patched.setattr(kt.training, "train", kill)
        with pytest.raises(KeyboardInterrupt):
            call(tmp_path / "run")
    results = "accuracy", "loss", "kind", "round", "init_seed", "sparsity"
    again = call(tmp_path / "run")
    assert [[row[name] for name in results] for row in again] == [[row[name] for name in results] for row in expected]
    monkeypatch.setattr(kt.training, "train", None)  # nothing is left to train
    assert call(tmp_path / "run") == again


def test_the_table_has_a_line_per_kind(run):
    folder, rows = run
    lines = (folder / "table.md").read_text().splitlines()
    assert lines[2] == "| ticket | seeds | 20.57% | 49.88% |"
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["dense", "imp", *sorted(CRITERIA)]
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["2", "1", "2", "2", "2"]
    (only,) = [100 * float(row["accuracy"]) for row in rows if row["kind"] == "imp" and row["round"] == "3"]
    assert lines[5].split("|")[4].strip() == f"{only:.2f}"
    assert (folder / "figure.png").stat().st_size > 10_000


ROWS = [
    {"kind": "dense", "sparsity": 0.0, "accuracy": 0.95, "init_seed": 0},
    {"kind": "imp", "sparsity": 0.8, "accuracy": 0.9, "init_seed": 0},
    {"kind": "imp", "sparsity": 0.8, "accuracy": 0.8, "init_seed": 1},
    {"kind": "snip", "sparsity": 0.9, "accuracy": 0.5, "init_seed": 0},
]


def test_cells_hold_mean_and_sample_deviation_or_nothing():
    assert criteria.table(ROWS, "digits").splitlines()[4:] == [
        "| dense | 1 | 95.00 | 95.00 |",
        "| imp | 2 | 85.00 ± 7.07 | - |",
        "| snip | 1 | - | 50.00 |",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--criteria", "snipp"], "Did you mean 'snip'"),
        (["--criteria", "snip", "snip"], "--criteria to be distinct"),
        (["--images-per-class", "9"], "--images-per-class of at least 10, which criteria look at. Received: 9"),
        (["--imp-seeds", "4"], r"--imp-seeds in 1\.\.3. Received: 4"),
        (["--kinds", "random"], "neither --kinds nor --start"),
        (["--dry-run"], "no --dry-run here"),
        (["--preset", "cifar10"], "Did you mean 'cifar10-cpu'"),
        (["--train-rounds", "99"], "Expected --train-rounds within"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(flags, message, tmp_path, monkeypatch):
    monkeypatch.setattr(ExperimentWorker, "run", None)
    with pytest.raises(ValueError, match=message):
        criteria.main(*criteria.read_arguments([*flags, "--out", str(tmp_path / "run")]))
    assert not (tmp_path / "run").exists()
