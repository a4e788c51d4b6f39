"""Files of Keras by others: what is right is opened and not compiled, what is not is refused by name."""

import hashlib
import json
import random

import keras
import mutants
import nets
import pytest

from kerasticket.models import saved
from kerasticket.models.paths import raw_params
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def path(tmp_path):
    model = nets.compile_for_test(nets.mlp())
    model.save(tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


def test_a_whole_file_opens_without_its_optimizer_and_without_moving_the_random_state(path):
    keras.utils.set_random_seed(0)
    before = random.getstate()
    with saved.opened(path) as members:
        saved.check(members)
    assert random.getstate() == before
    loaded = saved.load(path)
    assert not loaded.compiled
    assert not differing(raw_params(loaded), raw_params(keras.saving.load_model(path)))


def test_each_member_has_its_sha256(path):
    content = mutants.members(path.read_bytes())
    with saved.opened(path) as members:
        digests = saved.check(members)
    assert digests == {name: hashlib.sha256(each).hexdigest() for name, each in content.items()}


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "assets/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_members_that_lead_out_of_the_archive_are_refused(name, path):
    path.write_bytes(mutants.zipped(mutants.members(path.read_bytes()) | {name: b""}))
    with pytest.raises(ValueError, match="Expected a .keras file.*trained.keras.*members that lead out of it"):
        saved.load(path)


def test_code_in_a_config_is_not_run(path):
    found = mutants.members(path.read_bytes())
    config = json.loads(found["config.json"])
    code = {"class_name": "__lambda__", "config": {"value": "", "defaults": None, "closure": None}}
    config["config"]["layers"][1]["config"]["activation"] = code
    path.write_bytes(mutants.zipped(found | {"config.json": json.dumps(config).encode()}))
    with pytest.raises(ValueError, match=r"(?s)trained.keras.*(lambda|deserial)"):
        saved.load(path)


def test_a_config_that_asks_for_more_weights_than_the_file_has_is_not_built(tmp_path):
    from kerasticket.models import saved

    path = tmp_path / "trained.keras"
    nets.mlp().save(path)
    found = mutants.members(path.read_bytes())
    config = json.loads(found["config.json"])
    layer = next(layer for layer in config["config"]["layers"] if "units" in layer["config"])
    layer["config"]["units"] = 10**9
    path.write_bytes(mutants.zipped(found | {"config.json": json.dumps(config).encode()}))
    with pytest.raises(ValueError, match=r"trained.keras'.*its config asks for [\d,]+ weights"):
        saved.load(path)
