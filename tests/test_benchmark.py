"""The benchmark: its arithmetic, its sides, and that the peers do the same work as this library."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark  # noqa: E402
import benchmark_sides  # noqa: E402


@pytest.mark.parametrize("name", benchmark.ROWS)
def test_rows_name_sides_that_exist(name):
    """Each ratio is of sides of its row, each side is one that a process can run."""
    _, sides, ratios, images = benchmark.ROWS[name]()
    measured = {side: {"seconds": 1.0} for side in sides}
    assert images > 0 or not ratios
    assert {kind for kind, _ in sides.values()} <= set(benchmark_sides.SIDES)
    assert all(benchmark.fastest(measured, side) for pair in ratios.values() for side in pair)


def test_the_fastest_of_a_group_counts():
    """The best PyTorch configuration and the faster precision are minima of their seconds."""
    seconds = {"float32": 3.0, "bfloat16": 2.0, "pytorch": 9.0, "pytorch compile": 1.0, "dense": 0.1}
    measured = {name: {"seconds": value} for name, value in seconds.items()}
    assert benchmark.fastest(measured, "*float") == 2.0
    assert benchmark.fastest(measured, "*pytorch") == 1.0
    assert benchmark.fastest(measured, "absent") is None


def test_peers_are_skipped_with_a_reason(monkeypatch):
    """Without torch, or without a compiler, the sides that need them say so."""
    _, sides, _, _ = benchmark.ROWS["convnet_w32"]()
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    kept, reasons = benchmark.available(sides)
    assert set(kept) == {"float32", "bfloat16", "plain", "dense"}
    assert set(reasons.values()) == {"torch is not installed"}


def test_a_loaded_machine_is_not_measured(monkeypatch):
    """It says how loaded it is, and stops."""
    monkeypatch.setattr(benchmark, "machine", lambda: {"load_before": 0.8})
    with pytest.raises(SystemExit, match="Others use 80% of the cores"):
        benchmark.measured_row("memory", runs=1)


def test_a_side_works_in_its_own_process():
    """Two lines in, two times out; the work is that of its arguments."""
    pytest.importorskip("torch")
    arguments = json.dumps({"net": "convnet", "width": 4, "images": 64, "passes": 1})
    command = [sys.executable, str(SCRIPTS / "benchmark_sides.py"), "pytorch", arguments]
    done = subprocess.run(command, input="run\nrun\n", capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert all(line["seconds"] > 0 and line["peak_gib"] > 0 for line in lines)


def test_fit_is_a_side():
    """It runs as often as asked, in the middle of a round or through whole ones."""
    for options in ({}, {"rounds": 1}, {"distilled": True}):
        work = benchmark_sides.through_fit("convnet", 4, 40, 1, **options)
        work()
        work()


@pytest.mark.skipif(keras.config.backend() != "jax", reason="it is JAX's plain loop")
def test_the_plain_loop_of_jax_learns():
    """It updates its weights in place of fit."""
    work = benchmark_sides.jax_loop("convnet", 4, 2)
    work()
    work()


@pytest.mark.parametrize("net", ["convnet", "resnet18"])
def test_the_peers_are_the_same_networks(net):
    """With this library's weights, a peer gives this library's logits to 1e-4 and has as many weights."""
    torch = pytest.importorskip("torch")
    import peers

    import kerasticket as kt

    model = kt.models.MODELS[net]((32, 32, 3), 10, width=8, seed=0)
    peer = peers.NETWORKS[net](8)
    ours = kernels_in_order(kt.get_params(model), net)
    theirs = [p for p in peer.parameters() if p.ndim > 1]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert sum(p.numel() for p in peer.parameters()) == trainable
    biases = {path: array for path, array in kt.get_params(model).items() if path.endswith("bias")}
    with torch.no_grad():
        for kernel, parameter in zip(ours, theirs, strict=True):
            order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
            kernel = kernel.transpose(order)
            if net == "convnet" and kernel.ndim == 2:  # flattened channels last here, channels first there
                kernel = kernel.reshape(10, 4, 4, 8).transpose(0, 3, 1, 2).reshape(10, -1)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        layers = [m for m in peer.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and m.bias is not None]
        for layer, bias in zip(layers, biases.values(), strict=True):
            layer.bias.copy_(torch.from_numpy(bias))
        x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
        expected = peer.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    logits = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def kernels_in_order(params, net):
    """Kernels in the order of torch's modules: a block's shortcut behind its convolutions."""
    kernels = {path: array for path, array in params.items() if path.endswith("kernel")}
    if net == "convnet":
        return list(kernels.values())
    rank = {"conv1": 0, "conv2": 1, "shortcut_conv": 2}

    def place(path):
        layer = path.split("/")[0]
        if layer.startswith("stage"):
            stage, block, part = layer.split("_", 2)
            return (1, stage, block, rank[part])
        return (0 if layer == "stem_conv" else 2, "", "", 0)

    return [kernels[path] for path in sorted(kernels, key=place)]
