"""Tables of masks: what each row says, by hand and by the analysis that it is of."""

import itertools

import pytest
from small_runs import pruned

import kerasticket as kt
from kerasticket import masks
from kerasticket.analysis.mask_statistics import mask_overlap
from kerasticket.experiments.mask_tables import TABLES, Group
from kerasticket.experiments.settings import MaskSettings

pytestmark = pytest.mark.same_on_every_backend

SETTINGS = MaskSettings((), bins=4)


@pytest.fixture(scope="module")
def group(tmp_path_factory) -> Group:
    """Two tickets of one network, and one trained network of each."""
    folder = tmp_path_factory.mktemp("tickets")
    dense = kt.Ticket.dense(kt.masked(kt.models.MODELS["convnet"]((8, 8, 1), 10, width=4, seed=0)))
    dense.save(folder / "dense.keras")
    tickets, trained = {}, {}
    for name, noise in (("imp", 0.02), ("synthetic", 0.05)):
        ticket = pruned(dense, 1, noise, 1)
        ticket.save(folder / f"{name}.keras")
        ticket.save_trained(folder / f"{name}_trained.keras", ticket.params)
        tickets[name], trained[name, 1] = folder / f"{name}.keras", folder / f"{name}_trained.keras"
    return Group(0, 1, folder / "dense.keras", tickets, trained)


def masks_of(group: Group) -> list:
    return [kt.Ticket.load(path).mask for path in group.tickets.values()]


def test_layers_add_up_to_the_mask(group):
    rows = TABLES["masks"](group, SETTINGS)
    for name, mask in zip(group.tickets, masks_of(group), strict=True):
        of_ticket = [row for row in rows if row["kind"] == name]
        assert sum(row["kept"] for row in of_ticket) == masks.kept(mask)
        assert [row["layer"] for row in of_ticket] == list(mask)
    assert {(row["seed"], row["round"]) for row in rows} == {(0, 1)}


def test_the_first_row_of_a_pair_is_of_all_layers(group):
    first, *layers = TABLES["pairs"](group, SETTINGS)
    overlap = mask_overlap(*masks_of(group))
    assert (first["a"], first["b"], first["layer"]) == ("imp", "synthetic", "all")
    assert (first["iou"], first["both"], first["z"]) == (overlap.iou, overlap.overall.both, overlap.z)
    assert sum(row["both"] for row in layers) == first["both"]
    assert first["largest_sparsity_difference"] == max(row["sparsity_difference"] for row in layers)


def test_every_pruned_weight_is_in_a_bin(group):
    rows = [row for row in TABLES["magnitudes"](group, SETTINGS) if (row["kind"], row["layer"]) == ("imp", "all")]
    mask = masks_of(group)[0]
    assert len(rows) == SETTINGS.bins
    assert sum(row["pruned"] for row in rows) == masks.total(mask) - masks.kept(mask)
    assert all(low["high"] == high["low"] for low, high in itertools.pairwise(rows))


def test_two_trained_networks_have_their_distance(group):
    (row,) = TABLES["distances"](group, SETTINGS)
    assert (row["a"], row["order_a"], row["b"], row["order_b"]) == ("imp", 1, "synthetic", 1)
    assert 0 < row["kernels_cosine"] < 1


def test_without_a_start_there_are_no_magnitudes(group):
    bare = Group("", "", None, group.tickets)
    assert TABLES["magnitudes"](bare, SETTINGS) == []
    assert TABLES["distances"](bare, SETTINGS) == []
    assert TABLES["pairs"](bare, SETTINGS)[0]["ks"] == ""
