"""The same ticket gives the same bytes, whenever it is saved and wherever its objects lie in memory."""

import json
import time
import zipfile

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.tickets import same_bytes

pytestmark = pytest.mark.same_on_every_backend

YEAR = 365 * 86_400


def network(policies: int = 2) -> keras.Model:
    """Dense layers of fixed weights that share their policies in pairs, and of which the last has one of its own."""
    shared = [keras.DTypePolicy("float32") for _ in range(policies)]
    layers = [keras.layers.Dense(3, kernel_initializer="ones", name=f"dense_{i}", dtype=shared[i // 2]) for i in (0, 1)]
    layers += [keras.layers.Dense(3, kernel_initializer="ones", name=f"dense_{i}", dtype=shared[-1]) for i in (2, 3)]
    return keras.Sequential([keras.Input((3,), name="x"), *layers], name="shares")


def ticket() -> kt.Ticket:
    return kt.Ticket.dense(kt.masked(network()))


def config_of(path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(same_bytes.CONFIG))


def shared_ids(config) -> list[int]:
    """All ids of shared objects, in the order in which they come."""
    if isinstance(config, list):
        return [number for value in config for number in shared_ids(value)]
    if not isinstance(config, dict):
        return []
    own = [config[same_bytes.SHARED]] if same_bytes.SHARED in config else []
    return own + [number for value in config.values() for number in shared_ids(value)]


def test_a_ticket_of_a_network_that_is_built_anew_a_year_later_has_the_same_bytes(tmp_path, monkeypatch):
    first, now, kept = ticket(), time.time, []
    first.save(tmp_path / "first.keras")
    monkeypatch.setattr(time, "time", lambda: now() + YEAR)
    kept.append(ticket())  # alive, so that what is built next lies elsewhere in memory
    ticket().save(tmp_path / "second.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()


def test_trained_networks_have_the_same_bytes_too(tmp_path, monkeypatch):
    now = time.time
    for name in ("first", "second"):
        monkeypatch.setattr(time, "time", lambda: now() + YEAR * (name == "second"))  # noqa: B023
        made = ticket()
        made.save_trained(tmp_path / f"{name}.keras", {path: array + 1 for path, array in made.params.items()})
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()


def test_no_member_and_no_metadata_has_a_date(tmp_path):
    ticket().save(tmp_path / "ticket.keras")
    with zipfile.ZipFile(tmp_path / "ticket.keras") as archive:
        assert {member.date_time for member in archive.infolist()} == {same_bytes.EPOCH}
        metadata = json.loads(archive.read(same_bytes.METADATA))
    assert metadata == {"keras_version": keras.__version__}


def test_keras_opens_what_was_rewritten_with_equal_outputs(tmp_path):
    model = kt.masked(nets.small_convnet())
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    same_bytes.rewrite(path)
    assert path.read_bytes() != before
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    rewritten = path.read_bytes()
    same_bytes.rewrite(path)
    assert path.read_bytes() == rewritten


def test_shared_objects_are_numbered_as_they_come_and_stay_shared(tmp_path):
    path = tmp_path / "model.keras"
    network().save(path)
    addresses = shared_ids(config_of(path))
    same_bytes.rewrite(path)
    numbers = shared_ids(config_of(path))
    assert max(addresses) > 1000  # of memory: without them this test has nothing to see
    assert list(dict.fromkeys(numbers)) == list(range(len(set(addresses))))
    pairs = set(zip(addresses, numbers, strict=True))
    assert len(pairs) == len(set(addresses)) == len(set(numbers)) == 2
