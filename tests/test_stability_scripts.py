"""instability.py on a small run of digits: what it writes, what it skips, what it refuses."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import distilled_pruning
import instability
import nets as trained_nets
import stability_report
from presets import Config

import kerasticket as kt
from kerasticket import figures

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """Dense and IMP networks of one pruning round, trained in two data orders; statistics play no part."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    config = Config(
        distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"),
        out=str(folder),
        images_per_class=4,
        model="lenet_300_100",
        width=None,
        init_seeds=(0,),
        data_orders=(1, 2),
        rounds=1,
        kinds=("imp",),
        epochs=1,
        augmentation="none",
    )
    distilled_pruning.main(config)
    return folder


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_curves_are_those_of_the_networks_on_disk(run_folder, tmp_path, capsys):
    config = instability.Config(str(run_folder), alphas=2, out=str(tmp_path))
    instability.main(config)
    rows = rows_of(tmp_path / "curves.csv")
    assert len(rows) == 2 * 2 * 3  # dense and imp, train and test, alphas 0, .5 and 1
    run = trained_nets.TrainedRun.open(str(run_folder))
    assert [of.kind for of in run.trainings] == ["dense", "imp"]
    of = next(of for of in run.trainings if of.kind == "imp")
    model = run.model(of)
    kt.set_params(model, run.params(of, 2))
    expected = kt.training.evaluate(model, run.images("test"))["loss"]
    (end,) = [row for row in rows if (row["kind"], row["split"], row["alpha"]) == ("imp", "test", "1.0")]
    assert float(end["loss"]) == pytest.approx(expected, rel=1e-5)
    before = (tmp_path / "curves.csv").read_bytes()
    monkey = instability.Lines.between
    instability.Lines.between = lambda *_: pytest.fail("evaluated again")
    try:
        instability.main(config)
    finally:
        instability.Lines.between = monkey
    assert (tmp_path / "curves.csv").read_bytes() == before
    assert {"barriers.csv", "figure.png", "figure.pdf"} <= {path.name for path in tmp_path.iterdir()}
    assert "midpoint" in capsys.readouterr().out


def test_what_a_run_lacks_is_refused(run_folder, tmp_path):
    for options, match in (
        ({"kinds": ("synthetic",)}, "--kinds among \\['dense', 'imp'\\]"),
        ({"rounds": (7,)}, "--rounds among \\[0, 1\\]"),
        ({"init_seeds": (3,)}, "--init-seeds among \\[0\\]"),
        ({"statistics": "none"}, "statistics"),
        ({"alphas": 1}, "alphas"),
    ):
        with pytest.raises(ValueError, match=match):
            instability.main(instability.Config(str(run_folder), out=str(tmp_path), **options))
    with pytest.raises(ValueError, match="run of distilled_pruning"):
        instability.main(instability.Config(str(tmp_path)))


def point(alpha: float, loss: float, seed: int = 0, **others) -> dict:
    base = {"kind": "imp", "round": 4, "init_seed": seed, "sparsity": 0.59, "first_order": 1, "second_order": 2}
    base |= {"split": "train", "statistics": "none", "mask_overlap": 1.0}
    return base | {"alpha": alpha, "loss": loss, "accuracy": 1 - loss / 10} | others


def test_barriers_are_means_over_lines():
    lines = ((0, (1.0, 2.0, 1.0)), (1, (1.0, 4.0, 3.0)))
    rows = [point(alpha, loss, seed) for seed, losses in lines for alpha, loss in zip((0, 0.5, 1), losses, strict=True)]
    (found,) = stability_report.barriers(rows)
    assert (found["inits"], found["pairs"]) == (2, 2)
    assert (found["midpoint_barrier"], found["barrier"]) == (1.5, 1.5)
    assert found["midpoint_barrier_std"] == pytest.approx(0.5**0.5)
    assert found["error_barrier"] == pytest.approx(0.15)
    assert not found["stable"]
    assert found["accuracy_ends"] == pytest.approx(1 - (1 + 2) / 20)


def test_the_figure_has_a_stack_per_kind_and_all_lines_in_one_panel():
    which = (("dense", 0), ("imp", 4), ("imp", 9))
    rows = [point(alpha, 1.0, kind=kind, round=index) for alpha in (0, 0.5, 1) for kind, index in which]
    figure = figures.linear_paths(rows)
    assert [axes.name for axes in figure.axes] == ["3d", "rectilinear"]
    assert len(figure.axes[0].lines) == 3
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["dense", "imp, 59%", "imp, 59%"]
    assert np.allclose(figure.axes[1].lines[0].get_xdata(), [0, 0.5, 1])
