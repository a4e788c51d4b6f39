"""Presets of distilled pruning: each one is whole, and none needs Keras to be read."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import kerasticket as kt
from kerasticket.experiments.config import CONFIGS, Config

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("name", CONFIGS)
def test_presets_name_what_there_is(name):
    config = CONFIGS[name]
    assert config.model in kt.models.MODELS
    assert config.augmentation in {"none", *kt.data.RECIPES}
    assert config.rounds >= max(config.train_rounds or (1,))
    assert config.distilled.startswith("runs/") or (Path(__file__).parents[2] / config.distilled).exists()


def test_each_preset_has_a_folder_of_its_own():
    folders = [config.out for config in CONFIGS.values()]
    assert len(set(folders)) == len(folders)


def test_the_default_is_the_first_preset_and_cannot_be_changed():
    assert CONFIGS["digits"] == Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().rounds = 3


def test_no_keras_is_imported():
    code = "import sys, kerasticket.experiments.config as _; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
