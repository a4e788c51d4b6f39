"""mask_statistics.py: tables of a run and of ticket files, figures and claims from the tables alone."""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.analysis.mask_statistics import mask_overlap
from kerasticket.cli import masks as mask_statistics
from kerasticket.cli.masks import Config
from kerasticket.experiments import figures, mask_report
from kerasticket.experiments.search import random_ticket
from kerasticket.files.json_files import write_json

pytestmark = pytest.mark.same_on_every_backend

FIGURES = ("layer_sparsity", "mask_independence", "pruned_magnitudes")


def pruned(start: kt.Ticket, index: int, noise: float, seed: int) -> kt.Ticket:
    """A ticket that keeps .8^index of the weights, the largest after noise has been added."""
    rng = np.random.default_rng(seed)
    scores = {path: abs(start.params[path] + noise * rng.normal(size=mask.shape)) for path, mask in start.mask.items()}
    mask = masks.keep_top(scores, start.mask, round(start.kept * 0.8**index))
    return start.pruned(mask, {"name": "test"}, round=start.round + index)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two seeds; IMP and synthetic tickets of rounds 1 and 2, a random one and trained networks of round 2."""
    run = kt.Run.open(tmp_path_factory.mktemp("runs") / "run", {"rounds": 2})
    for seed in (0, 1):
        dense = kt.Ticket.dense(kt.masked(kt.models.MODELS["convnet"]((8, 8, 1), 10, width=4, seed=seed)))
        dense.save(run.ticket(seed, "dense", 0))
        dense.save(run.ticket(seed, "imp", 0))
        for index in (1, 2):
            pruned(dense, index, 0.02, 1).save(run.ticket(seed, "imp", index))
            pruned(dense, index, 0.05, 2).save(run.ticket(seed, "synthetic", index))
        random_ticket(dense, pruned(dense, 2, 0.1, 3), seed).save(run.ticket(seed, "random", 2))
    for kind, orders in (("imp", (1, 2)), ("synthetic", (1,))):
        for order in orders:
            row = {"init_seed": 0, "round": 2, "kind": kind, "data_order": order}
            ticket = kt.Ticket.load(run.ticket(0, kind, 2))
            ticket.save_trained(run.order(0, kind, 2, order) / "trained.keras", ticket.params)
            write_json(run.result(0, kind, 2, order), row)
    return run


@pytest.fixture(scope="module")
def out(run):
    """The tables and figures of that run."""
    mask_statistics.main(Config((run.folder,)))
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


def test_figures_need_the_tables_alone(out, tmp_path):
    for name in ("masks", "pairs", "magnitudes"):
        (tmp_path / f"{name}.csv").write_bytes((out / f"{name}.csv").read_bytes())
    mask_report.draw(tmp_path)
    for name in FIGURES:
        assert (tmp_path / f"{name}.png").read_bytes() == (out / f"{name}.png").read_bytes()


def test_figures_show_the_rows(out):
    rows = [row for row in mask_report.read(out / "pairs.csv") if row["round"] == 2]
    upper, lower = figures.mask_independence(rows, "title").axes
    lines = {container.get_label(): container.lines[0] for container in lower.containers[:3]}
    wanted = [[row["phi"] for row in rows if (row["b"], row["layer"]) == ("synthetic", layer)] for layer in ("all",)]
    assert lines["imp, synthetic"].get_ydata()[0] == pytest.approx(np.mean(wanted))
    assert "IoU" in upper.get_ylabel()
    (axes,) = figures.layer_sparsity([row for row in mask_report.read(out / "masks.csv") if row["round"] == 1]).axes
    assert {line.get_label() for line in axes.get_lines()} >= {"ERK", "uniform"}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["conv_1", "conv_2", "conv_3", "logits"]


def test_the_last_round_is_judged_by_the_claims(out):
    pairs = [row for row in mask_report.read(out / "pairs.csv") if row["layer"] == "all"]
    lines = mask_report.claims(pairs, mask_report.read(out / "masks.csv"))
    phi = np.mean([row["phi"] for row in pairs if (row["round"], row["b"]) == (2, "synthetic")])
    assert "imp and synthetic are here at round 2" in lines[0]
    assert f"phi {phi:.3f}" in lines[1]
    assert "Does not agree: |phi| not below 0.1" in lines[1]
    assert "imp and random" in lines[3]
    assert not mask_report.claims([row for row in pairs if row["b"] == "random"], [])
    far = [row | {"phi": -0.05, "sparsity_difference": 0.5, "ks": 0.001} for row in pairs]
    verdicts = [
        line.rsplit(". ", 1)[1][:6] for line in mask_report.claims(far, mask_report.read(out / "masks.csv"))[1:]
    ]
    assert verdicts == ["Agrees", "Does n", "Agrees"]


def test_the_table_names_chance_and_seeds(out):
    pairs = [row for row in mask_report.read(out / "pairs.csv") if row["layer"] == "all"]
    table = mask_report.table(pairs, mask_report.read(out / "distances.csv"))
    cells = {column.header: list(column.cells) for column in table.columns}
    assert cells["round"] == ["1", "2", "2", "2"]
    assert cells["sparsity"] == ["20.05%", "35.99%", "35.99%", "35.99%"]  # 291 and 233 of 364
    assert all("±" in cell for cell in cells["phi"])
    assert cells["cosine, trained"][0] == cells["cosine, trained"][2] == "-"


def test_only_the_rounds_that_are_asked_for(run, tmp_path, no_figures):
    config = Config((run.folder,), out=tmp_path, rounds=(1,), trained=False, bins=3)
    mask_statistics.main(config)
    assert {row["round"] for row in rows_of(tmp_path / "masks.csv")} == {"1"}
    assert not (tmp_path / "distances.csv").exists()
    with pytest.raises(ValueError, match=r"--rounds of \[1, 2\].*\[5\]"):
        mask_statistics.main(dataclasses.replace(config, rounds=(1, 5)))


def test_ticket_files_are_compared_by_their_names(run, tmp_path, capsys):
    """Without --start there are no magnitudes, and nothing is left of an earlier call that had them."""
    paths = tuple(run.ticket(0, kind, 2) for kind in ("imp", "synthetic"))
    mask_statistics.main(Config(paths, out=tmp_path, start=run.ticket(0, "dense", 0)))
    assert {(row["a"], row["b"], row["round"]) for row in rows_of(tmp_path / "pairs.csv")} == {
        ("imp/round_02", "synthetic/round_02", "")
    }
    printed = capsys.readouterr().out
    assert "imp/round_02 and synthetic/round_02 are here:" in printed
    assert "KS / possible" in printed
    assert (tmp_path / "pruned_magnitudes.png").exists()
    mask_statistics.main(Config(paths, out=tmp_path))
    printed = capsys.readouterr().out
    assert "pass --start" in printed
    assert "KS / possible" not in printed
    assert not (tmp_path / "magnitudes.csv").exists()
    assert not (tmp_path / "pruned_magnitudes.png").exists()


def test_a_run_from_a_sparse_start_counts_what_the_start_keeps(run, tmp_path, no_figures):
    """Two masks drawn at random within a sparse one: independent there."""
    start = kt.Ticket.load(run.ticket(0, "imp", 2))
    other = kt.Run.open(tmp_path / "run", {})
    start.save(other.ticket(0, "start", 2))
    for kind, seed in (("imp", 1), ("synthetic", 2)):
        random_ticket(start, pruned(start, 1, 0.1, 0), seed).save(other.ticket(0, kind, 3))
    mask_statistics.main(Config((other.folder,)))
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
    mask_statistics.main(Config(paths, out=tmp_path / "out", start=run.ticket(0, "dense", 0)))
    rows = mask_report.read(tmp_path / "out/pairs.csv")
    assert math.isnan(next(row["phi"] for row in rows if row["layer"] == "conv_1/kernel"))
    assert math.isfinite(rows[0]["phi"])


def test_three_rounds_are_drawn_of_those_with_the_most_tickets():
    rows = [{"round": index} for index in (1, 2, 3, 4, 5, 6, 7) for _ in range(1 if index == 7 else 2)]
    drawn = [row["round"] for row in mask_report.of_few_rounds(rows)]
    assert drawn == [1, 1, 3, 3, 6, 6]
    assert mask_report.of_few_rounds(rows[:2]) == rows[:2]


def test_names_are_the_shortest_ends_that_differ():
    assert list(mask_statistics.names_of((Path("x/a.keras"), Path("y/b.keras")))) == ["a", "b"]
    paths = (Path("x/1/ticket.keras"), Path("y/1/ticket.keras"))
    assert list(mask_statistics.names_of(paths)) == ["x/1", "y/1"]


def test_bad_arguments_are_refused(run, tmp_path):
    ticket, other = run.ticket(0, "imp", 2), run.ticket(0, "imp", 1)
    empty = tmp_path / "empty"
    empty.mkdir()
    for config, message in (
        (Config((tmp_path / "absent",)), "that exist.*absent"),
        (Config(()), "one run folder, or two or more ticket files. Received: nothing"),
        (Config((ticket,)), "two or more ticket files"),
        (Config((run.folder, ticket)), "one run folder, or"),
        (Config((ticket, other)), "--out FOLDER"),
        (Config((ticket, ticket), out=tmp_path), "ticket files that differ"),
        (Config((ticket, other), out=tmp_path, rounds=(1,)), "--rounds are those of a run"),
        (Config((run.folder,), start=ticket), "--start goes with ticket files"),
        (Config((run.folder,), bins=0), "--bins of at least 1"),
        (Config((empty,)), "tickets of two kinds at one round"),
        (Config((ticket, other), out=tmp_path, start=other), "keep none that it prunes"),
    ):
        with pytest.raises(ValueError, match=message):
            mask_statistics.main(config)
