"""Files that an earlier version of the library wrote give back, to the bit, what they were given."""

from pathlib import Path

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.analysis.results import Diagonal, Surface
from kerasticket.models.paths import SEED_STATE
from kerasticket.params import same_bits

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = ("image_model", "text_model")


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "expected.npz") as arrays:
        return dict(arrays)


def check(expected: dict[str, np.ndarray], name: str, arrays: dict[str, np.ndarray], ignored: str = " ") -> None:
    """Keras does not store the seed state of a recurrent cell without dropout: `ignored` names such variables."""
    wanted = {key.removeprefix(f"{name}:"): array for key, array in expected.items() if key.startswith(f"{name}:")}
    assert wanted.keys() == arrays.keys()
    assert wanted
    for key, array in wanted.items():
        assert ignored in key or same_bits(array, np.asarray(arrays[key])), key


@pytest.mark.parametrize("name", MODELS)
def test_a_ticket(name, expected):
    ticket = kt.Ticket.load(GOLDEN / f"{name}_ticket.keras")
    check(expected, f"{name}:params", ticket.params)
    check(expected, f"{name}:mask", ticket.mask)
    check(expected, f"{name}:optimizer", ticket.optimizer)
    ticket.verify(ticket.model())


@pytest.mark.parametrize("name", MODELS)
def test_a_masked_model(name, expected):
    model = keras.saving.load_model(GOLDEN / f"{name}.keras")
    check(expected, f"{name}:params", kt.get_params(model), ignored=SEED_STATE)
    check(expected, f"{name}:mask", kt.get_mask(model))


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_a_masked_model(name, expected):
    model = kt.masked(kt.strip(keras.saving.load_model(GOLDEN / f"{name}.keras")))
    model.load_weights(GOLDEN / f"{name}.weights.h5")
    check(expected, f"{name}:params", kt.get_params(model), ignored=SEED_STATE)
    check(expected, f"{name}:mask", kt.get_mask(model))


@pytest.mark.parametrize("name", MODELS)
def test_masks_and_sparse_weights(name, expected):
    check(expected, f"{name}:mask", kt.load_masks(GOLDEN / f"{name}_masks.npz"))
    sparse = kt.load_sparse(GOLDEN / f"{name}_sparse.npz")
    check(expected, f"{name}:params", sparse.params)
    check(expected, f"{name}:mask", sparse.mask)


@pytest.mark.parametrize("name", ["hard", "soft"])
def test_a_distilled_set(name, expected):
    distilled = kt.data.DistilledSet.load(GOLDEN / f"{name}.h5")
    check(expected, name, {"images": distilled.images, "labels": distilled.labels})
    assert distilled.space == ("normalized" if name == "hard" else "unit")


def test_results_of_an_analysis(expected):
    surface = Surface.load(GOLDEN / "surface.h5")
    check(expected, "surface", {"loss": surface.loss, "coordinates": surface.coordinates})
    assert surface.filter_normalized
    check(expected, "diagonal", Diagonal.load(GOLDEN / "diagonal.h5").values)
