"""A first use of the library on every backend, each in a process of its own: a smoke test of what the lanes test."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]
FIRST_USE = """
import keras, numpy as np
import kerasticket as kt

model = kt.masked(keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)]))
model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 6)).astype("float32"), rng.integers(0, 3, 64)
imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, fraction=0.5, epochs_per_round=1)
model.fit(x, y, epochs=imp.total_epochs, callbacks=[imp], verbose=0)
ticket = imp.tickets[2]
ticket.verify(model)
ticket.save("ticket.keras")
again = kt.Ticket.load("ticket.keras")
assert all((again.params[path] == array).all() for path, array in ticket.params.items())
assert again.kept == ticket.kept == round(ticket.total / 4)
curve = kt.analysis.linear_path(model, ticket.params, kt.get_params(model), (x, y))
assert abs(curve.barrier) < 1e-6
print("well on", keras.config.backend())
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_first_use(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FIRST_USE]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout.endswith(f"well on {backend}\n"), ran.stderr[-2000:]
