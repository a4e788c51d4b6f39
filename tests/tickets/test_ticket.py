"""Tickets: exact through files, refused by other models, verified to the bit."""

import dataclasses
import functools
import io
import json
import zipfile

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.params import differing
from kerasticket.tickets import optimizer_state

STAGE = {"name": "imp", "criterion": "magnitude"}


@functools.cache
def trained(build, optimizer) -> tuple[kt.Ticket, keras.Model]:
    """A dense ticket at epoch 1 with warm optimizer slots, and its model, which all tests share."""
    model = nets.compile_for_test(kt.masked(build()), optimizer())
    x, y = nets.batch(model)
    model.fit(x, y, epochs=1, verbose=0)
    return kt.Ticket.dense(model, rewind_epoch=1, optimizer=optimizer_state.get_state(model)), model


def warm_ticket(build=nets.small_convnet, optimizer=keras.optimizers.Adam) -> tuple[kt.Ticket, keras.Model]:
    """It half-pruned, and the model at epoch 1, whatever an earlier test did to it."""
    dense, model = trained(build, optimizer)
    dense.apply(model)
    return dense.pruned(nets.half_mask(model), STAGE), model


def equal(a: kt.Ticket, b: kt.Ticket) -> bool:
    arrays = ("params", "mask", "removed_in", "optimizer")
    plain = ("rewind_epoch", "stages", "architecture")
    return not any(differing(getattr(a, name), getattr(b, name)) for name in arrays) and all(
        getattr(a, name) == getattr(b, name) for name in plain
    )


@pytest.mark.parametrize("build", [nets.small_convnet, nets.mlp, nets.nested])
def test_a_file_holds_all_of_it(build, tmp_path):
    ticket, _ = warm_ticket(build)
    ticket.save(tmp_path / "ticket.keras")
    assert equal(ticket, kt.Ticket.load(tmp_path / "ticket.keras"))
    assert [path.name for path in tmp_path.iterdir()] == ["ticket.keras"]


def test_plain_keras_opens_it_as_the_masked_network(tmp_path):
    ticket, model = warm_ticket()
    ticket.save(tmp_path / "ticket.keras")
    loaded = keras.saving.load_model(tmp_path / "ticket.keras")
    ticket.apply(model)
    x, _ = nets.batch(model)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert kt.sparsity(loaded) == ticket.sparsity


def test_apply_and_verify_cover_every_variable():
    ticket, model = warm_ticket()
    x, y = nets.batch(model)
    model.fit(x, y, epochs=1, verbose=0)
    ticket.apply(model)
    ticket.verify(model)
    assert all(not ticket.params[path][~mask].any() for path, mask in ticket.mask.items())
    assert not differing(optimizer_state.get_state(model), ticket.optimizer)


def test_applied_tickets_train_alike():
    ticket, model = warm_ticket()
    x, y = nets.batch(model)
    ends = []
    for _ in range(2):
        ticket.apply(model)
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
        ends.append(kt.get_params(model))
    assert not differing(*ends)  # dropout included: seed states are part of the ticket


TAMPER = {
    "weights of 'conv/kernel'": lambda model: nudge(model.get_layer("conv")._kernel),
    "weights of 'norm/moving_mean'": lambda model: nudge(model.get_layer("norm").moving_mean),
    "weights of 'drop/seed_generator_state'": lambda model: nudge(model.get_layer("drop").seed_generator.state),
    "mask of 'conv/kernel'": lambda model: model.get_layer("conv").mask.assign(np.ones((3, 3, 3, 4), bool)),
    "optimizer's 'iteration'": lambda model: model.optimizer.iterations.assign(7),
    "optimizer's 'conv/kernel:momentum'": lambda model: nudge(
        next(v for v in model.optimizer.variables if v.name == "conv_kernel_momentum")
    ),
}


def nudge(variable: keras.Variable) -> None:
    """Changes one element as little as its type allows."""
    array = np.array(keras.ops.convert_to_numpy(variable.value))
    flat = array.reshape(-1)
    flat[0] = np.nextafter(flat[0], np.float32(np.inf)) if array.dtype.kind == "f" else flat[0] + 1
    variable.assign(array)


@pytest.mark.parametrize("what", TAMPER)
def test_verify_names_a_single_changed_bit(what):
    ticket, model = warm_ticket()
    ticket.apply(model)
    TAMPER[what](model)
    with pytest.raises(ValueError, match=what):
        ticket.verify(model)


def test_verify_sees_a_pruned_weight_that_came_back():
    ticket, model = warm_ticket()
    ticket.apply(model)
    kernel = model.get_layer("conv")._kernel
    array = np.array(keras.ops.convert_to_numpy(kernel.value))
    array[~ticket.mask["conv/kernel"]] = 1e-30
    kernel.assign(array)
    with pytest.raises(ValueError, match="weights of 'conv/kernel'"):
        ticket.verify(model)


def test_a_ticket_at_initialization_gives_a_fresh_optimizer():
    ticket, model = warm_ticket()
    ticket = dataclasses.replace(ticket, optimizer={}, rewind_epoch=0)
    ticket.apply(model)
    state = optimizer_state.get_state(model)
    assert state["iteration"] == 0
    assert not any(array.any() for key, array in state.items() if ":" in key)
    ticket.verify(model)


def test_provenance_says_which_round_of_which_stage_removed_a_weight(tmp_path):
    model = kt.masked(nets.mlp())
    first = {path: np.arange(mask.size).reshape(mask.shape) % 3 > 0 for path, mask in kt.get_mask(model).items()}
    second = {path: mask & (np.arange(mask.size).reshape(mask.shape) % 3 > 1) for path, mask in first.items()}
    ticket = kt.Ticket.dense(model).pruned(first, {"name": "synthetic"}).pruned(second, {"name": "imp"})
    ticket.save(tmp_path / "t.keras")
    loaded = kt.Ticket.load(tmp_path / "t.keras")
    np.testing.assert_array_equal(loaded.removed_in["hidden/kernel"].ravel()[:3], [1, 2, 0])
    stages = [(stage["name"], stage["first_round"], stage["last_round"]) for stage in loaded.stages]
    assert stages == [("synthetic", 1, 1), ("imp", 2, 2)]
    assert loaded.round == 2


def test_equal_stages_are_merged():
    model = kt.masked(nets.mlp())
    mask = kt.get_mask(model)
    ticket = kt.Ticket.dense(model).pruned(mask, STAGE).pruned(mask, STAGE)
    assert ticket.stages == ({**STAGE, "first_round": 1, "last_round": 2},)


def test_a_mask_that_revives_weights_is_refused():
    ticket, model = warm_ticket()
    with pytest.raises(ValueError, match="does not come back"):
        ticket.pruned({path: np.ones_like(mask) for path, mask in kt.get_mask(model).items()}, STAGE)


def test_another_model_is_refused_untouched():
    ticket, _ = warm_ticket()
    other = kt.masked(nets.mlp())
    before = kt.get_params(other)
    with pytest.raises(ValueError, match="another model's.*model lacks: 'conv/kernel'"):
        ticket.apply(other)
    assert not differing(before, kt.get_params(other))


def test_another_optimizer_is_refused_for_warm_slots():
    ticket, _ = warm_ticket(optimizer=keras.optimizers.Adam)
    model = nets.compile_for_test(kt.masked(nets.small_convnet()), keras.optimizers.Lion())
    with pytest.raises(ValueError, match="like the model.s Lion"):
        ticket.apply(model)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    ticket, model = warm_ticket()
    whole, path = tmp_path / "whole.keras", tmp_path / "bad.keras"
    ticket.save(whole)
    content = whole.read_bytes()
    model.save(tmp_path / "model.keras")
    for broken in (content[: len(content) // 2], b"", b"not a zip", (tmp_path / "model.keras").read_bytes()):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="Expected a ticket that Ticket.save wrote"):
            kt.Ticket.load(path)
    with pytest.raises(ValueError, match="Expected a ticket"):
        kt.Ticket.load(tmp_path / "absent.keras")


def test_arrays_in_a_file_are_never_unpickled(tmp_path):
    ticket, _ = warm_ticket()
    ticket.save(tmp_path / "t.keras")
    evil = tmp_path / "evil.keras"
    with zipfile.ZipFile(tmp_path / "t.keras") as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\x80\x04N." if name == "ticket.npz" else old.read(name))
    with pytest.raises(ValueError, match="Expected a ticket"):
        kt.Ticket.load(evil)


def test_another_ending_is_refused(tmp_path):
    ticket, _ = warm_ticket()
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        ticket.save(tmp_path / "ticket.h5")


def test_a_refused_optimizer_leaves_the_model_untouched():
    ticket, _ = warm_ticket()
    model = nets.compile_for_test(kt.masked(nets.small_convnet()), keras.optimizers.Lion())
    before = kt.get_params(model)
    with pytest.raises(ValueError, match="Lion"):
        ticket.apply(model)
    assert not differing(before, kt.get_params(model))
    assert kt.sparsity(model) == 0


def test_verify_sees_that_a_model_was_compiled_after_the_ticket_was_applied():
    ticket, _ = warm_ticket()
    model = kt.masked(nets.small_convnet())
    ticket.apply(model)
    ticket.verify(model)
    nets.compile_for_test(model, keras.optimizers.Adam())
    with pytest.raises(ValueError, match="optimizer's 'iteration'"):
        ticket.verify(model)


def test_warm_slots_in_bfloat16_survive_a_file(tmp_path):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        ticket, model = warm_ticket(nets.mlp)
    finally:
        keras.config.set_dtype_policy(previous)
    ticket.save(tmp_path / "ticket.keras")
    loaded = kt.Ticket.load(tmp_path / "ticket.keras")
    loaded.apply(model)
    loaded.verify(model)
    ticket.verify(model)


def test_a_mask_of_another_kind_is_refused():
    ticket, _ = warm_ticket(nets.mlp)
    mask = ticket.mask
    for wrong, message in (
        ({path: array[:1] for path, array in mask.items()}, "has shape"),
        ({path: array.astype(int) for path, array in mask.items()}, "not bool"),
        ({"other/kernel": mask["hidden/kernel"]}, "paths"),
    ):
        with pytest.raises(ValueError, match=message):
            ticket.pruned(wrong, STAGE)


@pytest.mark.parametrize("lost", ["rewind_epoch", "stages", "removed_in|conv/kernel", "seed|drop/seed_generator_state"])
def test_incomplete_files_are_refused(lost, tmp_path):
    ticket, _ = warm_ticket()
    ticket.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as old, zipfile.ZipFile(tmp_path / "bad.keras", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "ticket.json":
                content = json.dumps({k: v for k, v in json.loads(content).items() if k != lost}).encode()
            elif name == "ticket.npz":
                arrays = dict(np.load(io.BytesIO(content)))
                arrays.pop(lost, None)
                buffer = io.BytesIO()
                np.savez(buffer, **arrays)
                content = buffer.getvalue()
            new.writestr(name, content)
    with pytest.raises(ValueError, match="Expected a ticket that Ticket.save wrote"):
        kt.Ticket.load(tmp_path / "bad.keras")
