"""Walks through graphs: each call once, inputs first, and into nested models."""

import keras
import nets
import pytest
from keras import layers

from kerasticket.backend.keras_internals import calls
from kerasticket.models.graph.calls import check_graph, has_graph, shapes, through

pytestmark = pytest.mark.same_on_every_backend


def diamond() -> keras.Model:
    """Two ways of different length that meet, and a layer that is called on both of them."""
    inputs = keras.Input((4,), name="inputs")
    shared = layers.Dense(4, name="shared")
    long = layers.ReLU(name="relu")(shared(inputs))
    return keras.Model(inputs, layers.Add(name="add")([shared(long), inputs]), name="diamond")


def test_every_call_comes_once_and_behind_those_that_it_reads():
    order = list(calls(diamond()))
    assert [call.operation.name for call in order] == ["shared", "relu", "shared", "add"]
    known = {id(tensor) for tensor in diamond().inputs}
    model = diamond()
    known = {id(tensor) for tensor in model.inputs}
    for call in calls(model):
        assert {id(tensor) for tensor in call.input_tensors} <= known
        known |= {id(tensor) for tensor in call.output_tensors}


def test_values_go_along_all_ways():
    """The number of ways from the input, and the layers on the longest."""

    def visit(call, inputs):
        return [(sum(ways for ways, _ in inputs), 1 + max(length for _, length in inputs))]

    assert through(diamond(), [(1, 0)], visit) == [(2, 4)]


def test_nested_models_are_walked_and_their_inputs_told():
    entered, visited = [], []

    def visit(call, inputs):
        visited.append(call.operation.name)
        return [inputs[0] + 1]

    assert through(nets.nested(), [0], visit, entered.append) == [4]
    assert visited == ["shared", "shared", "hidden", "classifier"]
    assert entered == [[2]]


class OwnCall(keras.Model):
    """Functional, with a `call` that its graph does not show."""

    def call(self, x):
        return 2 * super().call(x)


def own_call() -> keras.Model:
    inputs = keras.Input((3,))
    return OwnCall(inputs, layers.Dense(2, name="out")(inputs), name="twice")


def test_only_graphs_that_tell_all_are_graphs():
    assert has_graph(nets.mlp())
    assert has_graph(nets.nested())
    assert not has_graph(own_call())
    assert not has_graph(nets.subclassed())
    assert not has_graph(layers.Dense(2))
    assert not has_graph(keras.Sequential([layers.Dense(2)]))  # not built


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (own_call, "Received: OwnCall 'twice', with a `call` of its own"),
        (nets.subclassed, "Received: Subclassed 'subclassed'"),
        (lambda: keras.Sequential([layers.Dense(2)], name="later"), "Received: Sequential 'later'"),
        (lambda: 3, "Received: int 3"),
    ],
)
def test_what_has_no_graph_is_refused(make, message):
    check_graph(nets.mlp())
    with pytest.raises(ValueError, match=f"Expected a built Sequential or functional model.*{message}"):
        check_graph(make())


def test_shapes_are_without_the_batch():
    assert shapes([keras.Input((None, 3)), keras.Input(())]) == [(None, 3), ()]
