"""Tables and maps of surfaces that are made by hand."""

import numpy as np
import pytest

from kerasticket.analysis.results import Surface
from kerasticket.experiments import landscape_report as report

pytestmark = pytest.mark.same_on_every_backend


def surface(top: float = 4.0) -> Surface:
    """Three networks in the plane, and four points around them; the last has no finite loss."""
    places = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    loss = np.array([1.0, 2.0, 3.0, top, np.inf])
    nets = {"positions": places[:3], "distances": np.array([0.0, 0.0, 5.0])}
    nets |= {"net_loss": loss[:3], "net_accuracy": np.full(3, 0.9)}
    return Surface("paper", "none", places, loss, loss / 10, **nets, lengths=(2.0, 3.0), cosine=0.25)


def about(kind: str, index: int) -> dict:
    return {"kind": kind, "round": index, "init_seed": 0, "sparsity": 0.2 * index, "networks": "0 1 2"}


@pytest.fixture
def folder(tmp_path):
    """Dense and IMP surfaces, as the study leaves them."""
    for name, kind, index in (("dense", "dense", 0), ("imp", "imp", 1)):
        report.record(tmp_path, name, about(kind, index), surface())
        surface().save(tmp_path / f"{name}.h5")
    return tmp_path


def test_a_row_holds_losses_of_the_networks_and_of_finite_points(folder):
    (row,) = [row for row in report.read(folder) if row["name"] == "imp"]
    numbers = {name: float(row[name]) for name in report.NUMBERS}
    assert (numbers["network_loss"], numbers["lowest_loss"], numbers["highest_loss"]) == (2.0, 1.0, 4.0)
    assert (numbers["median_loss"], numbers["cosine"], row["points"]) == (2.5, 0.25, "5")


def test_a_surface_that_is_made_again_has_one_row(folder):
    report.record(folder, "imp", about("imp", 1), surface(top=8.0))
    rows = [row for row in report.read(folder) if row["name"] == "imp"]
    assert [row["highest_loss"] for row in rows] == ["8.0"]


def test_networks_stand_at_their_places():
    rows = report.networks(surface(), ["0", "4", "9"])
    assert [(row["w"], row["network"], row["x"], row["y"]) for row in rows] == [
        (0, "0", 1.0, 0.0),
        (1, "4", -1.0, 0.0),
        (2, "9", 0.0, 1.0),
    ]
    assert [row["in_plane"] for row in rows] == [True, True, False]


def test_points_are_rows_of_numbers():
    assert report.points(surface())[1] == {"x": -1.0, "y": 0.0, "loss": 2.0, "accuracy": 0.2}


def test_surfaces_of_other_networks_are_not_taken_for_these(folder):
    report.check_networks(folder, {"imp": "0 1 2", "synthetic": "0 1"})
    with pytest.raises(ValueError, match="holds imp of networks 0 1 2, not 3 4 5"):
        report.check_networks(folder, {"imp": "3 4 5"})


def test_maps_have_the_start_beside_each_round(folder, monkeypatch):
    drawn = []
    landscapes = report.figures.landscapes
    monkeypatch.setattr(
        report.figures, "landscapes", lambda panels, *names: drawn.append(list(panels)) or landscapes(panels, *names)
    )
    rows = report.write_report(folder, "digits, convnet")
    assert [row["name"] for row in rows] == ["dense", "imp"]
    assert drawn == [["dense", f"{report.figures.STYLES['imp']['label']}, 20.0%"]] * 2
    names = {f"{quantity}_round_01_seed_0.{ending}" for quantity in report.QUANTITIES for ending in ("png", "pdf")}
    assert {path.name for path in folder.glob("*_round_*")} == names


def test_a_table_of_another_kind_is_refused(folder):
    (folder / "surfaces.csv.sha256").unlink()
    numbers = ",".join(("sparsity", *report.NUMBERS))
    (folder / "surfaces.csv").write_text(f"name,{numbers}\nimp,{','.join('1' * (1 + len(report.NUMBERS)))}\n")
    with pytest.raises(ValueError, match=r"Expected the columns .*surfaces.csv"):
        report.read(folder)
