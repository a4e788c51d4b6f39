"""instability.py on a small run of digits: what it writes, what it skips, what it refuses."""

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest

import kerasticket as kt
from kerasticket.cli import hessian
from kerasticket.cli import prune as distilled_pruning
from kerasticket.cli import ratios as stability_ratios
from kerasticket.cli import stability as instability
from kerasticket.experiments import stability_report, trained_run
from kerasticket.experiments.config import Config
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]


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
    run = trained_run.TrainedRun.open(str(run_folder))
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


def test_hessian_table_is_of_the_networks_on_disk(run_folder, tmp_path, capsys):
    config = hessian.Config(str(run_folder), coordinates=20, images=16, data_orders=(2,), out=str(tmp_path))
    hessian.main(config)
    rows = rows_of(tmp_path / "hessian.csv")
    assert [(row["kind"], row["entries"], row["data_order"]) for row in rows] == [
        *(("dense", entries, "2") for entries in ("surviving", "all")),
        *(("imp", entries, "2") for entries in ("surviving", "all")),
    ]
    run = trained_run.TrainedRun.open(str(run_folder))
    of = next(of for of in run.trainings if of.kind == "imp")
    model = run.model(of)
    kt.set_params(model, run.params(of, 2))
    images = hessian.chosen_images(config, run)
    expected = kt.analysis.hessian_diagonal(model, images, coordinates=20, seed=0).statistics()
    assert float(rows[2]["mean"]) == pytest.approx(expected.mean, rel=1e-4)
    assert float(rows[2]["std"]) == pytest.approx(expected.std, rel=1e-4)
    assert 0 < float(rows[3]["mean"]) / float(rows[2]["mean"]) < 1  # pruned entries dilute it
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")}
    hessian.main(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")} == files
    assert "surviving entries" in capsys.readouterr().out


def test_hessian_settings_are_refused_before_any_work(run_folder, tmp_path):
    for options, match in (
        ({"coordinates": 0}, "--coordinates of at least 1"),
        ({"images": 1000}, "--images of at most 40"),
        ({"data_orders": (9,)}, "--data-orders among \\[1, 2\\]"),
    ):
        with pytest.raises(ValueError, match=match):
            hessian.main(hessian.Config(str(run_folder), out=str(tmp_path), **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", [instability, hessian])
def test_results_of_another_run_are_not_taken_for_those_of_this(script, run_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    stored = read_json(other / "config.json")
    write_json(other / "config.json", stored | {"learning_rate": 0.5})
    options = {"alphas": 2} if script is instability else {"coordinates": 2, "images": 4}
    script.main(script.Config(str(run_folder), out=str(tmp_path / "out"), **options))
    with pytest.raises(ValueError, match="another learning_rate"):
        script.main(script.Config(str(other), out=str(tmp_path / "out"), **options))


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


def test_ratios_of_synthetic_over_imp_tickets(tmp_path, capsys):
    run = tmp_path / "cifar"
    (run / "instability").mkdir(parents=True)
    (run / "config.json").write_text('{"epochs": 10, "distilled_epochs": 100}')
    results = [
        "kind,round,accuracy,stored",
        "imp,4,0.6,4000",
        "imp,4,0.8,4000",
        "synthetic,4,0.63,400",
        "imp,9,0.5,9000",
    ]
    (run / "results.csv").write_text("\n".join(results))
    heads = ["kind,round,split,sparsity,statistics,midpoint_barrier"]
    barriers = ["imp,4,train,0.59,interpolate,0.5", "synthetic,4,train,0.59,interpolate,0.1"]
    (run / "instability" / "barriers.csv").write_text("\n".join([*heads, *barriers, "imp,4,test,0.59,interpolate,9"]))
    stability_ratios.main(stability_ratios.Config((str(run),), out=str(tmp_path / "out")))
    (row,) = rows_of(tmp_path / "out" / "ratios.csv")
    assert float(row["accuracy_ratio"]) == pytest.approx(0.9)
    assert float(row["barrier_ratio"]) == pytest.approx(0.2)
    assert float(row["compression"]) == pytest.approx((4000 / 10) / (400 / 100))
    assert (tmp_path / "out" / "figure.png").exists()
    anew = [row.replace("interpolate", "reestimate").replace("0.1", "0.4") for row in barriers]
    (run / "instability" / "barriers.csv").write_text("\n".join([*heads, *barriers, *anew]))
    with pytest.raises(ValueError, match="--statistics among"):
        stability_ratios.main(stability_ratios.Config((str(run),)))
    (row,) = stability_ratios.ratios(run, (), "reestimate")
    assert row["barrier_ratio"] == pytest.approx(0.8)
    (run / "results.csv").unlink()
    with pytest.raises(ValueError, match="without results.csv"):
        stability_ratios.main(stability_ratios.Config((str(run),)))
    assert "x0.20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "options", "result"),
    [(instability, {"alphas": 2}, "curves.csv"), (hessian, {"coordinates": 3, "images": 8}, "hessian.csv")],
)
def test_a_full_disk_is_said_and_the_same_command_goes_on(script, options, result, run_folder, tmp_path, monkeypatch):
    wanted, config = tmp_path / "whole", script.Config(str(run_folder), out=str(tmp_path / "out"), **options)
    script.main(script.Config(str(run_folder), out=str(wanted), **options))
    writes, replace = [], os.replace

    def full(*paths):
        writes.append(paths)
        if len(writes) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"The disk is full: '.*' could not be written.*the same command again"):
            script.main(config)
    script.main(config)
    assert (tmp_path / "out" / result).read_text() == (wanted / result).read_text()
    assert sorted(path.name for path in wanted.iterdir()) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_results_that_are_deleted_on_the_way_are_missed(run_folder, tmp_path, monkeypatch):
    config = instability.Config(str(run_folder), alphas=2, out=str(tmp_path / "out"))
    between = instability.Lines.between

    def deleted(*arguments):
        shutil.rmtree(tmp_path / "out")
        return between(*arguments)

    monkeypatch.setattr(instability.Lines, "between", deleted)
    with pytest.raises(FileNotFoundError, match=r"out' was deleted, moved or emptied.*Run the same command again"):
        instability.main(config)
    assert not (tmp_path / "out").exists()
