"""Sets that come with the package: by name, or as ever by path."""

from pathlib import Path

import pytest

import kerasticket as kt
from kerasticket.data import sets

pytestmark = pytest.mark.same_on_every_backend

ASSETS = Path(__file__).parents[2] / "assets" / "distilled"


def test_a_name_and_its_path_give_the_same_set():
    assert set(kt.data.distilled_sets()) >= {"digits_ipc1", "digits_ipc10", "cifar10_ipc1", "cifar10_ipc10"}
    for name in ("digits_ipc1", "digits_ipc10"):
        by_name, by_path = kt.data.DistilledSet.load(name), kt.data.DistilledSet.load(ASSETS / f"{name}.h5")
        assert by_name.images.tobytes() == by_path.images.tobytes()


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits_ipc1").mkdir()  # a folder, such as that of a run, is no set
    kt.data.DistilledSet.load("digits_ipc1").save(tmp_path / "digits_ipc10")
    assert len(kt.data.DistilledSet.load("digits_ipc10").images) == 10


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="Received: 'digits_icp10', which is neither. Did you mean 'digits_ipc10'"):
        kt.data.DistilledSet.load("digits_icp10")
    with pytest.raises(ValueError, match=r"mine\.h5, which does not exist"):
        kt.data.DistilledSet.load("mine.h5")


def test_the_wheel_has_every_set_of_the_checkout():
    pyproject = (ASSETS.parents[1] / "pyproject.toml").read_text()
    for file in ASSETS.glob("*.h5"):
        assert f'"kerasticket/assets/distilled/{file.name}"' in pyproject
    assert sets.located("a/b") == Path("a/b")


def test_a_path_within_a_checkout_is_found_outside_one(tmp_path, monkeypatch):
    """So that the presets' paths serve who has only the wheel, in any folder; a file that is there comes first."""
    monkeypatch.chdir(tmp_path)
    path = Path("assets/distilled/digits_ipc10.h5")
    assert sets.file_of(path).samefile(ASSETS / "digits_ipc10.h5")
    assert sets.file_of("assets/distilled/absent.h5") is None
    assert sets.file_of("absent") is None
    (tmp_path / path.parent).mkdir(parents=True)
    kt.data.DistilledSet.load("digits_ipc1").save(path)
    assert len(kt.data.DistilledSet.load(path).images) == 10
