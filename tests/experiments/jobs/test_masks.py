"""Tables and figures of the masks of a run and of ticket files."""

import csv
import dataclasses
import math
from pathlib import Path

import pytest
from small_runs import pruned, run_of_tickets

import kerasticket as kt
from kerasticket import masks
from kerasticket.analysis.mask_statistics import mask_overlap
from kerasticket.experiments import mask_report
from kerasticket.experiments.jobs.masks import mask_statistics, names_of
from kerasticket.experiments.search import random_ticket
from kerasticket.experiments.settings import MaskSettings

pytestmark = pytest.mark.same_on_every_backend

FIGURES = ("layer_sparsity", "mask_independence", "pruned_magnitudes")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of_tickets(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def out(run):
    """The tables and figures of that run."""
    mask_statistics(MaskSettings((run.folder,)))
    return run.folder / "mask_statistics"


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr(mask_report, "draw", lambda folder: None)


def test_all_tables_and_figures_are_written(out):
    names = {f"{name}.csv" for name in ("masks", "pairs", "magnitudes", "distances")}
    names |= {f"{name}.{ending}" for name in FIGURES for ending in ("png", "pdf")}
    assert {path.name for path in out.iterdir() if path.suffix != ".sha256"} == names
    assert all((out / name).stat().st_size > 500 for name in names)


def test_pairs_are_those_of_each_round(run, out):
    rows = [row for row in rows_of(out / "pairs.csv") if row["layer"] == "all"]
    found = [(row["round"], row["seed"], row["a"], row["b"]) for row in rows]
    of_two = [("imp", "synthetic"), ("imp", "random"), ("synthetic", "random")]
    expected = [("1", seed, *of_two[0]) for seed in "01"] + [("2", seed, *pair) for seed in "01" for pair in of_two]
    assert found == expected
    overlap = mask_overlap(*(kt.Ticket.load(run.ticket(1, kind, 2)).mask for kind in ("imp", "synthetic")))
    row = next(row for row in rows if (row["round"], row["seed"], row["b"]) == ("2", "1", "synthetic"))
    assert (float(row["iou"]), float(row["phi"]), float(row["z"])) == (overlap.iou, overlap.phi, overlap.z)
    layers = [row["layer"] for row in rows_of(out / "pairs.csv")][:5]
    assert layers == ["all", *overlap.layers]


def test_masks_and_magnitudes_add_up(run, out):
    ticket = kt.Ticket.load(run.ticket(0, "imp", 2))
    of_imp = {"seed": "0", "round": "2", "kind": "imp"}
    rows = [row for row in rows_of(out / "masks.csv") if of_imp.items() <= row.items()]
    assert sum(int(row["kept"]) for row in rows) == ticket.kept
    assert [int(row["outputs"]) for row in rows] == [4, 4, 4, 10]
    bins = [row for row in rows_of(out / "magnitudes.csv") if of_imp.items() <= row.items()]
    assert len(bins) == 5 * 30
    for layer in ("all", "conv_1/kernel"):
        mask = {"all": ticket.mask}.get(layer) or {layer: ticket.mask[layer]}
        assert sum(int(row["pruned"]) for row in bins if row["layer"] == layer) == masks.total(mask) - masks.kept(mask)


def test_distances_are_between_all_trained_networks_of_a_round(out):
    rows = rows_of(out / "distances.csv")
    nets = [(row["a"], row["order_a"], row["b"], row["order_b"]) for row in rows]
    assert nets == [("imp", "1", "imp", "2"), ("imp", "1", "synthetic", "1"), ("imp", "2", "synthetic", "1")]
    assert float(rows[0]["kernels_l2"]) == 0
    assert 0 < float(rows[1]["trainables_cosine"]) < 1


def test_only_the_rounds_that_are_asked_for(run, tmp_path, no_figures):
    settings = MaskSettings((run.folder,), out=tmp_path, rounds=(1,), trained=False, bins=3)
    mask_statistics(settings)
    assert {row["round"] for row in rows_of(tmp_path / "masks.csv")} == {"1"}
    assert not (tmp_path / "distances.csv").exists()
    with pytest.raises(ValueError, match=r"--rounds of \[1, 2\].*\[5\]"):
        mask_statistics(dataclasses.replace(settings, rounds=(1, 5)))


def test_ticket_files_are_compared_by_their_names(run, tmp_path):
    """Without --start there are no magnitudes, and nothing is left of an earlier call that had them."""
    paths = tuple(run.ticket(0, kind, 2) for kind in ("imp", "synthetic"))
    mask_statistics(MaskSettings(paths, out=tmp_path, start=run.ticket(0, "dense", 0)))
    assert {(row["a"], row["b"], row["round"]) for row in rows_of(tmp_path / "pairs.csv")} == {
        ("imp/round_02", "synthetic/round_02", "")
    }
    assert (tmp_path / "pruned_magnitudes.png").exists()
    mask_statistics(MaskSettings(paths, out=tmp_path))
    assert not (tmp_path / "magnitudes.csv").exists()
    assert not (tmp_path / "pruned_magnitudes.png").exists()


def test_a_run_from_a_sparse_start_counts_what_the_start_keeps(run, tmp_path, no_figures):
    """Two masks drawn at random within a sparse one: independent there."""
    start = kt.Ticket.load(run.ticket(0, "imp", 2))
    other = kt.Run.open(tmp_path / "run", {})
    start.save(other.ticket(0, "start", 2))
    for kind, seed in (("imp", 1), ("synthetic", 2)):
        random_ticket(start, pruned(start, 1, 0.1, 0), seed).save(other.ticket(0, kind, 3))
    mask_statistics(MaskSettings((other.folder,)))
    (row,) = (row for row in rows_of(other.folder / "mask_statistics/pairs.csv") if row["layer"] == "all")
    assert int(row["size"]) == start.kept
    assert abs(float(row["z"])) < 4


def test_layers_without_chance_are_drawn(run, tmp_path):
    """A layer that both masks keep whole has no phi: an empty place, without a warning."""
    dense = kt.Ticket.load(run.ticket(0, "dense", 0))
    for name in ("a", "b"):
        mask = pruned(dense, 2, 0.2, ord(name)).mask
        mask["conv_1/kernel"][:] = True
        dense.pruned(mask, {"name": name}).save(tmp_path / f"{name}.keras")
    paths = (tmp_path / "a.keras", tmp_path / "b.keras")
    mask_statistics(MaskSettings(paths, out=tmp_path / "out", start=run.ticket(0, "dense", 0)))
    rows = mask_report.read(tmp_path / "out/pairs.csv")
    assert math.isnan(next(row["phi"] for row in rows if row["layer"] == "conv_1/kernel"))
    assert math.isfinite(rows[0]["phi"])


def test_names_are_the_shortest_ends_that_differ():
    assert list(names_of((Path("x/a.keras"), Path("y/b.keras")))) == ["a", "b"]
    paths = (Path("x/1/ticket.keras"), Path("y/1/ticket.keras"))
    assert list(names_of(paths)) == ["x/1", "y/1"]


def test_bad_arguments_are_refused(run, tmp_path):
    ticket, other = run.ticket(0, "imp", 2), run.ticket(0, "imp", 1)
    empty = tmp_path / "empty"
    empty.mkdir()
    for settings, message in (
        (MaskSettings((tmp_path / "absent",)), "that exist.*absent"),
        (MaskSettings(()), "one run folder, or two or more ticket files. Received: nothing"),
        (MaskSettings((ticket,)), "two or more ticket files"),
        (MaskSettings((run.folder, ticket)), "one run folder, or"),
        (MaskSettings((ticket, other)), "--out FOLDER"),
        (MaskSettings((ticket, ticket), out=tmp_path), "ticket files that differ"),
        (MaskSettings((ticket, other), out=tmp_path, rounds=(1,)), "--rounds are those of a run"),
        (MaskSettings((run.folder,), start=ticket), "--start goes with ticket files"),
        (MaskSettings((run.folder,), bins=0), "--bins of at least 1"),
        (MaskSettings((empty,)), "tickets of two kinds at one round"),
        (MaskSettings((ticket, other), out=tmp_path, start=other), "keep none that it prunes"),
    ):
        with pytest.raises(ValueError, match=message):
            mask_statistics(settings)
