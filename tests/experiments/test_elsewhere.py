"""What a configuration names, for a machine that has it somewhere else."""

from pathlib import Path

import pytest

from kerasticket.experiments.config import Config
from kerasticket.experiments.elsewhere import elsewhere, files_of
from kerasticket.experiments.study import Settings

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def here(tmp_path):
    for name in ("set.h5", "first.keras", "arrays.npz", "images/train/cat/1.png", "classes/dog/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "images" / "train" / "dog").symlink_to(tmp_path / "classes" / "dog")
    return tmp_path


def carried(config, folder):
    """The configuration elsewhere, where its files are now."""
    settings = Settings(config)
    for name, path in settings.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    return settings.elsewhere(folder, folder / "run").config


def test_sets_tickets_and_arrays_travel(here, tmp_path):
    config = Config(dataset=f"npz:{here}/arrays.npz", distilled=f"{here}/set.h5", start=f"{here}/first.keras", width=7)
    there = carried(config, tmp_path / "there")
    assert Path(there.distilled).read_text() == "set.h5"
    assert Path(there.start).read_text() == "first.keras"
    assert Path(there.dataset.removeprefix("npz:")).read_text() == "arrays.npz"
    assert (there.out, there.width) == (str(tmp_path / "there" / "run"), 7)
    assert all(f"{tmp_path}/there/" in path for path in (there.distilled, there.start, there.dataset))
    assert {Path(there.distilled).suffix, Path(there.start).suffix} == {".h5", ".keras"}


@pytest.mark.parametrize("prefix", ["folder", "imagenet10"])
def test_folders_travel_with_linked_classes(here, tmp_path, prefix):
    there = carried(Config(dataset=f"{prefix}:{here}/images", distilled="none"), tmp_path / "there")
    kind, _, folder = there.dataset.partition(":")
    assert kind == prefix
    assert Path(folder, "train", "cat", "1.png").read_text() == "images/train/cat/1.png"
    assert Path(folder, "train", "dog", "2.png").read_text() == "classes/dog/2.png"


def test_a_set_that_is_absent_here_is_absent_there(tmp_path):
    """Whatever lies at that path on the other machine."""
    config = Config(distilled=str(tmp_path / "absent.h5"))
    assert files_of(config) == {}
    (tmp_path / "absent.h5").touch()
    assert not Path(elsewhere(config, tmp_path / "there", tmp_path / "run").distilled).exists()
    assert elsewhere(config, tmp_path, tmp_path).dataset == "digits"
