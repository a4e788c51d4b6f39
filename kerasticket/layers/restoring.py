"""A model that is changed for a while is given back as it was, whatever happens: an error, an interrupt."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerasticket.backend.keras_internals import all_layers, has_value
from kerasticket.backend.variables import array_of

Changes = Iterable[tuple[Any, str, Any]]
_ABSENT = object()


@contextlib.contextmanager
def lent(model: keras.Model | None = None, changes: Changes = ()) -> Iterator[None]:
    """Lends a model, with some attributes of its layers exchanged meanwhile.

    The attributes are put back in any case. If what is done with the model raises, all of it is: weights, masks, seed
    states, statistics and optimizer variables to the bit, which layers and variables train, and the attributes of
    layers (activations, dtype policies, classes). So it is for what leaves a model as it is: a training that is
    interrupted has changed it for good.

    Args:
        model: costs a copy of its variables; None within a traced function, where they have no values, and for what
            exchanges attributes alone.
        changes: (object, attribute, value) each. They are set past Keras, which would track them, and only where the
            object itself holds the attribute, or its class does as a plain attribute: a property without a setter
            shows what another object holds.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="relu", name="out")])
    >>> try:
    ...     with lent(model, [(model.layers[0], "activation", None)]):
    ...         _ = model.layers[0].kernel.assign([[1.0], [1.0]])
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     model.layers[0].activation.__name__, float(model.layers[0].kernel[0, 0]) == 1
    ('relu', False)
    """
    before = _State(model) if model is not None else None
    undo: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, value in changes:
            if not isinstance(getattr(type(owner), name, None), property):
                undo.append((owner, name, vars(owner).get(name, _ABSENT)))
                object.__setattr__(owner, name, value)
        yield
    except BaseException:
        _put_back(undo)
        if before:
            before.restore()
        raise
    else:
        _put_back(undo)


def _put_back(undo: list[tuple[Any, str, Any]]) -> None:
    for owner, name, value in reversed(undo):
        if value is not _ABSENT:
            object.__setattr__(owner, name, value)
        elif name in vars(owner):
            object.__delattr__(owner, name)


class _State:
    """Everything of a model that may be changed and put back, as it is now."""

    def __init__(self, model: keras.Model):
        optimizer = getattr(model, "optimizer", None)
        known = [*model.variables, *getattr(model, "metrics_variables", ()), *getattr(optimizer, "variables", ())]
        # On JAX, `fit` holds the values itself within an epoch.
        self.variables = {id(v): v for v in known if has_value(v)}
        self.arrays = {number: array_of(variable) for number, variable in self.variables.items()}
        self.trains = {number: variable.trainable for number, variable in self.variables.items()}
        self.layers = [(one, type(one), dict(vars(one))) for one in all_layers(model)]

    def restore(self) -> None:
        for layer, kind, attributes in self.layers:
            if type(layer) is not kind:
                object.__setattr__(layer, "__class__", kind)
            changed = [name for name, value in attributes.items() if vars(layer).get(name, _ABSENT) is not value]
            added = [name for name in vars(layer) if name not in attributes]
            _put_back([(layer, name, attributes.get(name, _ABSENT)) for name in (*changed, *added)])
        for number, variable in self.variables.items():
            if not _holds(variable, self.arrays[number]):
                variable.assign(self.arrays[number])
            if variable.trainable != self.trains[number]:
                variable.trainable = self.trains[number]


def _holds(variable: keras.Variable, array: np.ndarray) -> bool:
    """Whether the variable has this value to the bit; on JAX an interrupted `evaluate` leaves it without any."""
    if not has_value(variable):
        return False
    now = array_of(variable)
    return now.dtype == array.dtype and now.tobytes() == array.tobytes()
