"""evaluate_distilled.py: one row per set and control, kept beside those of earlier runs."""

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import evaluate_distilled  # noqa: E402

SET = str(ROOT / "assets/distilled/digits_ipc1.h5")
SMALL = evaluate_distilled.Config((SET,), width=4, epochs=2, nets=2)


def test_each_set_stands_beside_its_controls(tmp_path):
    """Distilled, random real and mix; a second call adds its rows."""
    config = dataclasses.replace(SMALL, csv=str(tmp_path / "rows.csv"))
    evaluate_distilled.main(config)
    evaluate_distilled.main(dataclasses.replace(config, controls=False))
    with open(config.csv, newline="") as file:
        rows = list(csv.DictReader(file))
    name = Path(SET).name
    assert [row["set"] for row in rows] == [name, f"random_real beside {name}", f"mix beside {name}", name]
    assert rows[0]["mean"] == rows[3]["mean"]  # the same networks, the same numbers
    assert [row["decoded"] for row in rows] == ["40", "10", "40", "40"]
    assert all(0 <= float(row["mean"]) <= 1 for row in rows)


def test_sets_of_others_are_imported(tmp_path):
    """And judged in their own space, here ZCA."""
    import kerasticket as kt

    digits = kt.data.load("digits")
    whitened = kt.data.ZCA.fit(digits).whiten(digits.subset(2, 0))
    np.savez(tmp_path / "set.npz", images=whitened.images, labels=whitened.labels)
    imported = dataclasses.replace(
        SMALL,
        paths=(str(tmp_path / "set.npz"),),
        format="arrays",
        space="zca",
        controls=False,
        csv=str(tmp_path / "c.csv"),
    )
    evaluate_distilled.main(imported)
    assert "zca" in (tmp_path / "c.csv").read_text()
    evaluate_distilled.main(dataclasses.replace(imported, controls=True))
    with open(imported.csv, newline="") as file:
        assert [row["space"] for row in csv.DictReader(file)] == ["zca"] * 3  # the control is whitened too


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--augmentation of"):
        evaluate_distilled.main(dataclasses.replace(SMALL, augmentation="rain"))
    with pytest.raises(ValueError, match="--model of"):
        evaluate_distilled.main(dataclasses.replace(SMALL, model="perceptron"))
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="of other columns"):
        evaluate_distilled.main(dataclasses.replace(SMALL, csv=str(other)))
    with pytest.raises(ValueError, match="--nets of at least 2"):
        evaluate_distilled.main(dataclasses.replace(SMALL, nets=1))
