"""The table of compact networks, at a tiny size: what was removed, and rows that agree with it."""

import csv

import compact_table
import pytest

import kerasticket as kt

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "compact.csv"
    flags = ["--runs", "2", "--side", "8", "--width", "8", "--networks", "convnet", "--structures", "coupled_channels"]
    compact_table.main([*flags, "--csv", str(path)])
    with open(path, newline="") as file:
        return {row["form"]: row for row in csv.DictReader(file)}


def test_every_form_has_a_row(rows):
    assert list(rows) == list(compact_table.FORMS)
    assert all(float(row[f"milliseconds_{batch}"]) > 0 for row in rows.values() for batch in (1, 64))


def test_numbers_fall_as_they_should(rows):
    dense, pruned, compact = (rows[form] for form in compact_table.FORMS)
    assert float(dense["zeros"]) == 0 < float(pruned["zeros"])
    assert dense["parameters"] == pruned["parameters"]
    assert int(compact["parameters"]) < 0.5 * int(dense["parameters"])
    assert int(compact["macs"]) < 0.5 * int(dense["macs"])
    for size in ("keras_bytes", "sparse_bytes"):
        assert int(compact[size]) < int(dense[size])


@pytest.mark.parametrize(("structure", "zeros"), [("weights", 0.95), ("channels", (576 + 320) / 2 / (216 + 576 + 320))])
def test_the_other_masks_prune_what_they_say(structure, zeros):
    model = kt.masked(kt.models.convnet((8, 8, 3), 10, width=8, depth=2, seed=0))
    kt.set_mask(model, compact_table.pruned_mask(model, structure))
    assert compact_table.zeros(kt.get_params(model)) == pytest.approx(zeros, abs=1e-3)


@pytest.mark.parametrize("network", ["convnet", "resnet18"])
def test_coupled_masks_take_half_of_the_channels(network):
    model = kt.masked(kt.models.MODELS[network]((8, 8, 3), 10, width=4, seed=0))
    kt.set_mask(model, compact_table.pruned_mask(model, "coupled_channels"))
    compacted = kt.compact(model)
    *hidden, logits = compacted.layers
    assert all(line.units[1] == line.units[0] // 2 for line in hidden)
    assert logits.units == (10, 10)


def test_bad_flags_are_refused(capsys):
    for flags, message in ((["--runs", "0"], "Expected --runs of at least 1"), (["--networks", "vgg"], "vgg")):
        with pytest.raises(SystemExit):
            compact_table.parse(flags)
        assert message in capsys.readouterr().err
