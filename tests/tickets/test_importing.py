"""Tickets of others: names, layouts, masks of any kind, outputs equal to torch's, and what is refused."""

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.params import differing


def theirs_of(model: keras.Model, seed: int = 1) -> dict[str, np.ndarray]:
    """Other weights for a model, by our paths."""
    rng = np.random.default_rng(seed)
    return {
        path: array if array.dtype.kind == "i" else rng.uniform(0.1, 1, array.shape).astype(array.dtype)
        for path, array in kt.get_params(model).items()
    }


TORCH = {
    "conv/kernel": ("features.0.weight", (3, 2, 0, 1)),
    "conv/bias": ("features.0.bias", (0,)),
    "norm/gamma": ("features.1.weight", (0,)),
    "norm/beta": ("features.1.bias", (0,)),
    "norm/moving_mean": ("features.1.running_mean", (0,)),
    "norm/moving_variance": ("features.1.running_var", (0,)),
    "classifier/kernel": ("head.weight", (1, 0)),
    "classifier/bias": ("head.bias", (0,)),
}
NAMES = {"features.0": "conv", "features.1": "norm", "head": "classifier"}


def as_torch(arrays: dict[str, np.ndarray], ending: str = "") -> dict[str, np.ndarray]:
    """Arrays by our paths as a state_dict has them."""
    return {TORCH[p][0] + ending: a.transpose(TORCH[p][1]) for p, a in arrays.items() if p in TORCH}


def test_weights_and_masks_of_a_dict_make_a_ticket():
    model = kt.masked(nets.small_convnet())
    theirs, mask, before = theirs_of(model), nets.half_mask(model), kt.get_params(model)
    ticket = kt.import_ticket(model, theirs, mask)
    assert not differing(ticket.mask, mask)
    for path, array in ticket.params.items():
        expected = np.where(mask[path], theirs[path], 0) if path in mask else theirs[path]
        np.testing.assert_array_equal(array, expected)
    hidden = sum(int((~array).sum()) for array in mask.values())  # none of the weights was zero
    assert ticket.stages[0] == {
        "name": "imported",
        "layout": "keras",
        "zeroed": hidden,
        "first_round": 1,
        "last_round": 1,
    }
    assert all(((removed == 1) == ~mask[path]).all() for path, removed in ticket.removed_in.items())
    assert not differing(kt.get_params(model), before)
    ticket.apply(model)
    ticket.verify(model)


def test_files_give_what_dicts_give(tmp_path):
    model = kt.masked(nets.small_convnet())
    theirs, mask = theirs_of(model), nets.half_mask(model)
    np.savez(tmp_path / "weights.npz", **theirs)
    kt.save_masks(tmp_path / "packed.npz", mask)
    np.savez(tmp_path / "plain.npz", **{path: array.astype("float32") for path, array in mask.items()})
    expected = kt.import_ticket(model, theirs, mask)
    for name in ("packed.npz", "plain.npz"):
        found = kt.import_ticket(model, tmp_path / "weights.npz", str(tmp_path / name))
        assert not differing(found.params, expected.params)
        assert not differing(found.mask, expected.mask)


def test_what_is_not_given_is_the_models_own():
    model = kt.masked(nets.small_convnet())
    mask = nets.half_mask(model)
    only_mask = kt.import_ticket(model, mask={"conv/kernel": mask["conv/kernel"]})
    assert only_mask.mask["classifier/kernel"].all()
    np.testing.assert_array_equal(only_mask.params["classifier/kernel"], kt.get_params(model)["classifier/kernel"])
    kt.set_mask(model, mask)
    only_params = kt.import_ticket(model, theirs_of(model))
    assert not differing(only_params.mask, mask)
    revived = kt.import_ticket(model, theirs_of(model), {path: ~array for path, array in mask.items()})
    assert not differing(revived.mask, {path: ~array for path, array in mask.items()})


RENAMINGS = {
    "layers": NAMES,
    "arrays": {name: path for path, (name, _) in TORCH.items()},
    "function": lambda name: NAMES[name.rpartition(".")[0]] + "." + name.rpartition(".")[2],
}


@pytest.mark.parametrize("names", RENAMINGS)
def test_a_state_dict_is_read_by_its_names_and_layout(names):
    model = kt.masked(nets.small_convnet())
    theirs = theirs_of(model)
    state = as_torch(theirs) | {"features.1.num_batches_tracked": np.array(7)}
    if names == "arrays":
        state.pop("features.1.num_batches_tracked")
    ticket = kt.import_ticket(model, state, names=RENAMINGS[names], layout="torch")
    assert not differing(ticket.params, theirs)
    assert ticket.sparsity == 0


def test_weight_orig_and_weight_mask_are_one_pruned_weight():
    model = kt.masked(nets.small_convnet())
    theirs, mask = theirs_of(model), nets.half_mask(model)
    state = as_torch(theirs)
    for path, (name, axes) in TORCH.items():
        if path in mask:
            state[f"{name}_orig"] = state.pop(name)
            state[f"{name}_mask"] = mask[path].transpose(axes).astype("float32")
    ticket = kt.import_ticket(model, state, names=NAMES, layout="torch")
    expected = kt.import_ticket(model, theirs, mask)
    assert not differing(ticket.params, expected.params)
    assert not differing(ticket.mask, mask)


def one(layer: keras.Layer, shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(shape, name="inputs")
    return keras.Model(inputs, layer(inputs), name="one")


KINDS = {
    "Dense": (lambda: one(layers.Dense(4, name="layer"), (3,)), (4, 3)),
    "Conv1D": (lambda: one(layers.Conv1D(4, 2, name="layer"), (9, 3)), (4, 3, 2)),
    "Conv2D": (lambda: one(layers.Conv2D(4, (2, 5), name="layer"), (9, 9, 3)), (4, 3, 2, 5)),
    "grouped Conv2D": (lambda: one(layers.Conv2D(4, 2, groups=2, name="layer"), (9, 9, 6)), (4, 3, 2, 2)),
    "Conv3D": (lambda: one(layers.Conv3D(4, 2, name="layer"), (5, 5, 5, 3)), (4, 3, 2, 2, 2)),
    "Conv2DTranspose": (lambda: one(layers.Conv2DTranspose(4, (2, 5), name="layer"), (5, 5, 3)), (3, 4, 2, 5)),
    "DepthwiseConv2D": (
        lambda: one(layers.DepthwiseConv2D((2, 5), depth_multiplier=2, name="layer"), (9, 9, 3)),
        (6, 1, 2, 5),
    ),
    "Embedding": (lambda: one(layers.Embedding(7, 4, name="layer"), (3,)), (7, 4)),
}


def in_keras(kind: str, array: np.ndarray) -> np.ndarray:
    """Each number brought to its place by its indices, written out."""
    if kind == "Embedding":
        return array
    if kind == "DepthwiseConv2D":
        ours = np.zeros((*array.shape[2:], 3, 2), array.dtype)
        for index in np.ndindex(array.shape):
            ours[(*index[2:], index[0] // 2, index[0] % 2)] = array[index]
        return ours
    ours = np.zeros((*array.shape[2:], array.shape[1], array.shape[0]), array.dtype)
    for index in np.ndindex(array.shape):
        ours[(*index[2:], index[1], index[0])] = array[index]
    return ours


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_with_a_known_layout(kind):
    build, shape = KINDS[kind]
    model = kt.masked(build(), where="layer")
    rng = np.random.default_rng(0)
    state = {"layer.weight": rng.normal(size=shape).astype("float32")}
    mask = {"layer.weight_mask": rng.random(shape) < 0.5}
    if "layer/bias" in kt.get_params(model):
        state["layer.bias"] = np.zeros(4 if kind != "DepthwiseConv2D" else 6, "float32")
    ticket = kt.import_ticket(model, state, mask, layout="torch")
    (path,) = ticket.mask
    np.testing.assert_array_equal(ticket.mask[path], in_keras(kind, mask["layer.weight_mask"]))
    expected = in_keras(kind, np.where(mask["layer.weight_mask"], state["layer.weight"], 0))
    np.testing.assert_array_equal(ticket.params[path], expected)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="builds its networks in torch")
@pytest.mark.parametrize("transposed", [False, True])
def test_a_network_that_torch_has_pruned_gives_the_same_outputs(transposed):
    import torch
    from torch import nn
    from torch.nn.utils import prune

    torch.manual_seed(0)
    head = nn.ConvTranspose2d(4, 5, 3) if transposed else nn.Conv2d(4, 5, 3)
    theirs = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), head).eval()
    with torch.no_grad():
        theirs[1].running_mean.uniform_(-1, 1)
        theirs[1].running_var.uniform_(0.5, 2)
    for module in (theirs[0], theirs[3]):
        prune.l1_unstructured(module, "weight", 0.6)
    kind = layers.Conv2DTranspose if transposed else layers.Conv2D
    stack = [layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(epsilon=1e-5, name="norm"), layers.ReLU()]
    ours = keras.Sequential([keras.Input((8, 8, 3)), *stack, kind(5, 3, name="head")], name="ours")
    model = kt.masked(ours)
    names = {"0": "conv", "1": "norm", "3": "head"}
    ticket = kt.import_ticket(model, theirs.state_dict(), names=names, layout="torch")
    ticket.apply(model)
    assert ticket.sparsity == pytest.approx(0.6, abs=0.005)
    assert ticket.stages[0]["zeroed"] == ticket.total - ticket.kept
    x = torch.randn(2, 3, 8, 8, device="cpu")
    expected = theirs(x).detach().numpy().transpose(0, 2, 3, 1)
    found = model.predict(x.numpy().transpose(0, 2, 3, 1), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def wrong(**change):
    """Arguments for a small dense net, one thing wrong."""
    params = {"hidden/kernel": np.ones((6, 8)), "hidden/bias": np.ones(8)}
    params |= {"classifier/kernel": np.ones((8, 5)), "classifier/bias": np.ones(5)}
    return {"params": params | change.pop("arrays", {})} | change


def without(*paths: str):
    return {path: array for path, array in wrong()["params"].items() if path not in paths}


REFUSED = {
    "an unknown path": (wrong(arrays={"hiden/kernel": np.ones(1)}), "'hiden/kernel'. Did you mean 'hidden/kernel'"),
    "one that is like none": (wrong(arrays={"xyz": np.ones(1)}), r"'xyz'. There are: \['hidden/kernel'"),
    "a lacking path": ({"params": without("hidden/bias")}, r"none for \['hidden/bias'\].*get_params"),
    "another shape": (wrong(arrays={"hidden/bias": np.ones(7)}), r"shape \(8,\) for 'hidden/bias'.*shape \(7,\)"),
    "torch's shape": (wrong(arrays={"hidden/kernel": np.ones((8, 6))}), "like a torch layout: pass layout='torch'"),
    "our shape as torch's": (
        wrong(arrays={"hidden/kernel": np.ones((6, 8)), "classifier/kernel": np.ones((5, 8))}, layout="torch"),
        "like a keras layout: pass layout='keras'",
    ),
    "values between": ({"mask": {"hidden/kernel": np.full((6, 8), 0.5)}}, r"0 and 1, at 'hidden/kernel'.*\[0.5\]"),
    "a mask that is none": ({"mask": {"hidden/bias": np.ones(8)}}, "'hidden/bias', which has none.*where="),
    "a doubled path": (
        wrong(arrays={"again/bias": np.ones(8)}, names={"again": "hidden"}),
        "one array for 'hidden/bias'. Received: 'hidden/bias' and 'again/bias'",
    ),
    "a name that is not used": (wrong(names={"hiden": "hidden"}), r"names=\['hiden'\]. Did you mean 'hidden"),
    "an unknown layout": (wrong(layout="tourch"), "layout='tourch'. Did you mean 'torch'"),
    "objects": (wrong(arrays={"hidden/bias": np.array([None] * 8)}), "real numbers at 'hidden/bias'.*object"),
    "what is no dict": ({"params": [np.ones(3)]}, "dict of arrays or the path.*list.*state_dict"),
    "an absent file": ({"params": "absent.npz"}, "Expected an .npz file of plain arrays"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        kt.import_ticket(kt.masked(nets.mlp()), **arguments)


def test_a_layer_whose_layout_is_not_known_is_refused():
    model = kt.masked(one(layers.EinsumDense("abc,cd->abd", (3, 4), name="layer"), (3, 6)))
    with pytest.raises(ValueError, match="layout in torch is known.*'layer/kernel' of EinsumDense"):
        kt.import_ticket(model, {"layer.weight": np.ones((4, 6))}, layout="torch")


def test_an_array_may_be_left_out():
    model = kt.masked(nets.mlp())
    theirs = wrong(arrays={"extra/kernel": np.ones(3)})["params"]
    assert kt.import_ticket(model, theirs, names={"extra": None}).sparsity == 0
    assert kt.import_ticket(model, theirs, names={"extra/kernel": None}).sparsity == 0


def test_weights_that_are_zero_where_they_were_pruned_say_the_mask_themselves():
    model = kt.masked(nets.mlp())
    mask = nets.half_mask(model)
    theirs = {p: np.where(mask[p], a, 0) if p in mask else a for p, a in theirs_of(model).items()}
    found = kt.import_ticket(model, theirs, {name: array != 0 for name, array in theirs.items() if array.ndim > 1})
    assert not differing(found.mask, mask)
    assert found.stages[0]["zeroed"] == 0
