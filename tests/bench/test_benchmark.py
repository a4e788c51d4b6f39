"""The benchmark: its arithmetic, its sides, and that the peers do the same work as this library."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import benchmark
import benchmark_sides
import keras
import machine
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"


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
    monkeypatch.setattr(machine, "features", lambda: ["amx_bf16"])
    monkeypatch.setattr(benchmark, "BACKEND", "tensorflow")
    kept, reasons = benchmark.available(sides)
    assert set(kept) == {"float32", "bfloat16", "plain"}
    assert set(reasons.values()) == {"torch is not installed"}


def test_what_is_emulated_is_skipped(monkeypatch):
    """A CPU without bfloat16 instructions would make the row last an hour and say nothing."""
    monkeypatch.setattr(machine, "features", lambda: ["avx2"])
    monkeypatch.setattr(machine, "gpu", lambda: None)
    monkeypatch.setattr(benchmark, "BACKEND", "tensorflow")
    kept, reasons = benchmark.available(benchmark.ROWS["roofline"]()[1])
    assert set(kept) == {"float32", "float32 convolutions"}
    assert all("emulated" in reason for reason in reasons.values())


def test_what_is_of_tensorflow_is_skipped_on_other_backends(monkeypatch):
    monkeypatch.setattr(benchmark, "BACKEND", "jax")
    kept, reasons = benchmark.available(benchmark.ROWS["distilled_round"]()[1])
    expected = {"bare loop": "written for TensorFlow"} if importlib.util.find_spec("jax") else {}
    assert expected.items() <= reasons.items()
    assert "bare loop" not in kept


def test_cuda_graphs_are_skipped_without_a_gpu(monkeypatch):
    monkeypatch.setattr(machine, "gpu", lambda: None)
    monkeypatch.setattr(benchmark, "gpu", lambda: None)
    kept, reasons = benchmark.available(benchmark.ROWS["convnet_w32"]()[1])
    assert not any("graphs" in name for name in kept)
    assert {"pytorch graphs", "pytorch bfloat16 graphs"} <= set(reasons)


def test_a_loaded_machine_is_not_measured(monkeypatch):
    """It says how loaded it is, and stops."""
    monkeypatch.setattr(machine, "load", lambda: 0.8)
    with pytest.raises(SystemExit, match="Others use 80% of the cores"):
        benchmark.measured_row("memory", runs=1)


@pytest.mark.same_on_every_backend
def test_a_side_works_in_its_own_process():
    """Two lines in, two times out; the work is that of its arguments."""
    pytest.importorskip("torch")
    arguments = json.dumps({"net": "convnet", "width": 4, "images": 64, "passes": 1})
    command = [sys.executable, str(SCRIPTS / "benchmark_sides.py"), "pytorch", arguments]
    done = subprocess.run(command, input="run\nrun\n", capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert all(line["seconds"] > 0 and line["peak_gib"] > 0 for line in lines)


@pytest.mark.same_on_every_backend
def test_a_side_that_dies_is_named_and_left_out():
    """So that a configuration of PyTorch that does not run here costs its own number alone."""
    died: dict[str, str] = {}
    assert benchmark.measure({"bad": ("nothing", {})}, runs=1, warm=1, died=died) == {}
    assert "Run that command by hand" in died["bad"]
    with pytest.raises(RuntimeError, match="side died"):
        benchmark.measure({"bad": ("nothing", {})}, runs=1, warm=1)


@pytest.mark.same_on_every_backend
def test_the_start_of_the_main_command_is_measured():
    assert 0 < benchmark.start_seconds(runs=1) < 60


@pytest.mark.same_on_every_backend
def test_fit_is_a_side():
    """It runs as often as asked, in the middle of a round or through whole ones."""
    for options in ({}, {"rounds": 1}, {"distilled": True}):
        work = benchmark_sides.through_fit("convnet", 4, 40, 1, **options)
        work()
        work()


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("options", [{}, {"graph": True}, {"distilled": True}, {"distilled": True, "graph": True}])
def test_batches_alone_are_a_side(options, monkeypatch):
    """As many batches of 64 as images, passes and epochs say, made again and again."""
    from kerasticket.data.pipeline import Stream

    made, original = [], Stream.compute
    monkeypatch.setattr(Stream, "compute", lambda *place: made.append(place[1:]) or original(*place))
    work = benchmark_sides.batches_alone(80, 3, epochs=2, **options)
    work()
    work()
    assert len(set(made)) == (0 if "graph" in options else 2 * 3 * 2 * 2)


def test_the_row_of_the_pipeline_has_equal_work():
    _, sides, _, images = benchmark.ROWS["pipeline"]()
    for kind, size in sides.values():
        assert size["images"] * size["passes"] * size.get("epochs", 1) == images, kind


@pytest.mark.same_on_every_backend
def test_points_of_a_path_are_a_side():
    for side in ("along_path", "keras_evaluate", "over_plane"):
        benchmark_sides.SIDES[side](4, 40, 8)()


@pytest.mark.same_on_every_backend
def test_single_convolutions_are_sides(monkeypatch):
    from kerasticket.backend.fused import winograd

    seen, original = [], winograd.convolution
    monkeypatch.setattr(winograd, "convolution", lambda x, kernel: seen.append(tuple(x.shape)) or original(x, kernel))
    for form in ("plain", "winograd"):
        assert seen == []
        benchmark_sides.convolution(4, 2, 2, form=form)()
    assert seen == [(64, 4, 4, 2)]


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("kind", ["matching", "pytorch_matching"])
def test_an_inner_iteration_of_idc_is_a_side(kind):
    if kind.startswith("pytorch"):
        pytest.importorskip("torch")
    benchmark_sides.SIDES[kind](4, 1)()


@pytest.mark.same_on_every_backend
def test_the_peer_matches_the_same_gradients():
    """With this library's weights, mismatch and its derivative in the stored images are this library's, to 1e-4."""
    pytest.importorskip("torch")
    import peers

    import kerasticket as kt
    from kerasticket.distillation.matching import Matcher

    rng, real = np.random.default_rng(0), benchmark_sides.synthetic_images(80)
    real = dataclasses.replace(real, mean=(0.0,) * 3, std=(1.0,) * 3)
    plain = kt.data.Augmentation(siamese=True)
    method = kt.distillation.GradientMatching(width=8, real_batch=8, net_images=0, matching=plain, training=None)
    stored = rng.random((20, 32, 32, 3), np.float32)
    matcher = Matcher(method, real, stored, 2, 0)
    ours = matcher._match_class(3, rng)

    peer = peers.convnet(8)
    give_weights(peer, matcher.network, "convnet")
    images, mine = (channels_first(each) for each in (real.images[real.labels == 3] / np.float32(255), stored[6:8]))
    mine.requires_grad_()
    theirs = peers.mismatch(peer, images, peers.decode(mine), 3)
    theirs.backward()
    assert ours[0] == pytest.approx(float(theirs.detach()), rel=1e-4)
    expected = mine.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours[1], expected, atol=1e-4 * abs(expected).max())


def test_the_arithmetic_of_idc_by_hand():
    """Multiplications and additions of the three layers; 552 and 192 forward passes of an image for class and batch."""
    forward = 2 * (1024 * 128 * 27 + 256 * 128 * 1152 + 64 * 128 * 1152)
    assert benchmark.convnet_flop(128) == forward
    assert benchmark.idc_flop() == forward * (10 * 552 + 31 * 192)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="it is JAX's plain loop")
def test_the_plain_loop_of_jax_learns():
    """It updates its weights in place of fit."""
    work = benchmark_sides.jax_loop("convnet", 4, 2)
    work()
    work()


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("net", ["convnet", "resnet18"])
def test_the_peers_are_the_same_networks(net):
    """With this library's weights, a peer gives this library's logits to 1e-4 and has as many weights."""
    torch = pytest.importorskip("torch")
    import peers

    import kerasticket as kt

    model = kt.models.MODELS[net]((32, 32, 3), 10, width=8, seed=0)
    peer = peers.NETWORKS[net](8)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert sum(p.numel() for p in peer.parameters()) == trainable
    give_weights(peer, model, net)
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        expected = peer.eval()(channels_first(x)).numpy()
    logits = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def channels_first(images):
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def give_weights(peer, model, net):
    """Gives a peer of `peers.NETWORKS` the kernels and biases of this library's network."""
    import torch

    import kerasticket as kt

    params = kt.get_params(model)
    biases = [array for path, array in params.items() if path.endswith("bias")]
    theirs = [p for p in peer.parameters() if p.ndim > 1]
    with torch.no_grad():
        for kernel, parameter in zip(kernels_in_order(params, net), theirs, strict=True):
            kernel = kernel.transpose((3, 2, 0, 1) if kernel.ndim == 4 else (1, 0))
            if net == "convnet" and kernel.ndim == 2:  # flattened channels last here, channels first there
                kernel = kernel.reshape(10, 4, 4, 8).transpose(0, 3, 1, 2).reshape(10, -1)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        layers = [m for m in peer.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and m.bias is not None]
        for layer, bias in zip(layers, biases, strict=True):
            layer.bias.copy_(torch.from_numpy(bias))


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


@pytest.mark.same_on_every_backend
def test_diagonals_are_sides():
    """Taylor mode and products give as many entries as asked, again and again."""
    for kind in ("taylor_diagonal", "diagonal_by_products"):
        work = benchmark_sides.SIDES[kind](4, 5)
        work()
        work()


@pytest.mark.same_on_every_backend
def test_the_peer_of_the_hessian_is_right():
    """Against torch's own dense Hessian, of a linear softmax classifier."""
    torch = pytest.importorskip("torch")
    import peers

    x, y = torch.randn(6, 4), torch.arange(6) % 3
    model = torch.nn.Linear(4, 3)
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(flat):
        return torch.nn.functional.cross_entropy(x @ flat[:12].reshape(3, 4).T + flat[12:], y)

    dense = torch.autograd.functional.hessian(loss, weights)
    positions = [14, 0, 7]
    expected = [float(dense[i, i]) for i in positions]
    np.testing.assert_allclose(peers.hessian_diagonal(model, x, y, positions), expected, rtol=1e-4)
