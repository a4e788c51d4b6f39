"""Models of every kind: masked, trained, saved, loaded here and on another backend, stripped."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import models_to_prune
import pytest
from models_to_prune import MODELS_TO_PRUNE, STEPS

ROOT = Path(__file__).parents[2]

BACKENDS = ("tensorflow", "jax", "torch")
SMALL = [name for name, model in MODELS_TO_PRUNE.items() if not model.slow]


def skip_if_missing(name: str) -> None:
    if MODELS_TO_PRUNE[name].missing():
        pytest.skip(MODELS_TO_PRUNE[name].missing())


@pytest.mark.parametrize("name", SMALL)
def test_every_step_of_a_small_model(name, tmp_path):
    skip_if_missing(name)
    assert tuple(models_to_prune.steps(name, tmp_path)) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS_TO_PRUNE)
def test_every_step_and_the_other_backends(name, tmp_path):
    skip_if_missing(name)
    assert tuple(models_to_prune.steps(name, tmp_path)) == STEPS
    code = f"import models_to_prune, pathlib; models_to_prune.load_elsewhere({name!r}, pathlib.Path({str(tmp_path)!r}))"
    others = [name for name in BACKENDS if name != keras.backend.backend() and importlib.util.find_spec(name)]
    for other in others:
        environment = os.environ | {"KERAS_BACKEND": other}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT / "scripts/bench", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert others
