"""What the README shows runs as it stands."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasticket as kt

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(block: str, folder: Path) -> dict:
    """Runs a block in a folder that has the assets, with a model and data of the reader at hand."""
    (folder / "assets").symlink_to(ROOT / "assets")
    stack = [keras.Input((6,)), keras.layers.Dense(8, activation="relu", name="hidden")]
    model = keras.Sequential([*stack, keras.layers.Dense(5, activation="softmax", name="classifier")], name="yours")
    rng = np.random.default_rng(0)
    names = {"keras": keras, "kt": kt, "model": model, "x": rng.normal(size=(32, 6)), "y": rng.integers(0, 5, 32)}
    exec(block, names)
    return names


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_every_block_of_python_runs(block, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = run(block, tmp_path)
    if "IterativeMagnitudePruning" in block:
        assert names["ticket"].kept == round(0.8**4 * names["ticket"].total)
        assert (tmp_path / "ticket.keras").exists()
    if "GradualPruning" in block:
        assert kt.sparsity(names["model"]) == pytest.approx(0.9, abs=0.01)
        plain = keras.saving.load_model(tmp_path / "pruned.keras")
        assert {type(layer) for layer in plain.layers} == {keras.layers.Dense}
        zeros = sum(int((kernel == 0).sum()) for path, kernel in kt.get_params(plain).items() if "kernel" in path)
        assert zeros == round(0.9 * (6 * 8 + 8 * 5))


def test_the_tour_is_among_them():
    assert any("IterativeMagnitudePruning" in block for block in BLOCKS)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:assets|scripts|tests)/[\w./-]+\w", README))))
def test_every_file_it_names_is_there(path):
    assert (ROOT / path).exists()
