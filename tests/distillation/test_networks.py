"""Networks for methods: sized by the images, renewed in place, and kept for a checkpoint."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation.networks import fresh_network, fresh_weights, network_state, renew, restore_network
from kerasticket.params import differing
from kerasticket.tickets import optimizer_state

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=1)


def step(model: keras.Model) -> None:
    gradients = [keras.ops.ones(variable.shape) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)


@pytest.fixture
def trained(digits) -> keras.Model:
    """After a step of an optimizer with momentum."""
    model = fresh_network("convnet", 2, digits, seed=0)
    nets.compile_for_test(model, keras.optimizers.SGD(0.1, momentum=0.9))
    step(model)
    return model


def test_networks_fit_the_images_and_only_convnets_have_a_width(digits):
    convnet, lenet = (fresh_network(name, 3, digits, seed=1) for name in ("convnet", "lenet_300_100"))
    assert convnet.input_shape == lenet.input_shape == (None, 16, 16, 1)
    assert convnet.output_shape == lenet.output_shape == (None, 10)
    assert convnet.get_layer("conv_1").filters == 3
    assert not differing(kt.get_params(convnet), kt.get_params(fresh_network("convnet", 3, digits, seed=1)))


def test_a_renewed_network_is_a_fresh_one_with_a_fresh_optimizer(digits, trained):
    fresh = fresh_network("convnet", 2, digits, seed=5)
    kernel = trained.get_layer("conv_1").kernel
    renew(trained, fresh)
    assert trained.get_layer("conv_1").kernel is kernel  # so that what was traced stays right
    assert not differing(kt.get_params(trained), kt.get_params(fresh))
    state = optimizer_state.get_state(trained)
    assert state["iteration"] == 0
    assert not any(array.any() for array in state.values())


def test_a_network_goes_on_from_its_state(trained):
    state = network_state(trained)
    assert {"weight:conv_1/kernel", "slot:conv_1/kernel:momentum", "slot:iteration"} <= state.keys()
    step(trained)
    expected = network_state(trained)
    restore_network(trained, state | {"images": np.zeros(3)})
    assert not differing(network_state(trained), state)
    step(trained)
    assert not differing(network_state(trained), expected)


def test_weights_of_layers_that_draw_by_themselves_cannot_be_drawn_anew():
    with pytest.raises(ValueError, match="kernels that SeededInitializer draws. Received: .*hidden/kernel"):
        fresh_weights(nets.mlp(), 0)
