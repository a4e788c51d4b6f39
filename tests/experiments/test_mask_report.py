"""Figures and claims, from the tables of masks alone."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import run_of_tickets

from kerasticket.experiments import figures, mask_report
from kerasticket.experiments.jobs.masks import mask_statistics
from kerasticket.experiments.settings import MaskSettings

pytestmark = pytest.mark.same_on_every_backend

FIGURES = ("layer_sparsity", "mask_independence", "pruned_magnitudes")


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """The tables and figures of a run."""
    run = run_of_tickets(tmp_path_factory.mktemp("runs") / "run")
    return mask_statistics(MaskSettings((run.folder,)))


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


def test_three_rounds_are_drawn_of_those_with_the_most_tickets():
    rows = [{"round": index} for index in (1, 2, 3, 4, 5, 6, 7) for _ in range(1 if index == 7 else 2)]
    drawn = [row["round"] for row in mask_report.of_few_rounds(rows)]
    assert drawn == [1, 1, 3, 3, 6, 6]
    assert mask_report.of_few_rounds(rows[:2]) == rows[:2]
