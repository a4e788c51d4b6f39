"""Networks by name: ours in `MODELS`, or the caller's own function, "module:function"."""

import contextlib
import importlib
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerasticket.backend.keras_internals import names_from_the_start
from kerasticket.checks import check_choice
from kerasticket.models import MODELS

Builder = Callable[..., keras.Model]


def builder_of(model: str, what: str = "model") -> Builder:
    """The function that makes the networks of a name in `MODELS`, or of "module:function".

    >>> builder_of("convnet").__name__
    'convnet'

    Raises:
        ValueError: there is none; `what` is how the message calls the name.
    """
    if ":" in model:
        return imported(model)
    check_choice(model, MODELS, what)
    return MODELS[model]


def imported(name: str) -> Builder:
    """The function of "module:function"; modules in the current folder are found too.

    Raises:
        ValueError: there is no such module, or no such function in it.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # for good: what the module imports later must be found as well
    try:
        value = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"Expected a network as module:function of a module that can be imported. Received: '{name}': {error}."
        ) from error
    found = getattr(value, function, None)
    if not callable(found):
        raise ValueError(
            f"Expected a network as module:function. Received: '{name}', and {module} has no such function."
        )
    return found


def name_of(builder: Builder) -> str:
    """ "module:function" of a function, by which other processes import it."""
    return f"{getattr(builder, '__module__', '?')}:{getattr(builder, '__qualname__', '?')}"


def build(builder: Builder, input_shape: tuple[int, ...], num_classes: int, seed: int, width: int | None) -> Any:
    """A fresh network, whose automatic names are the same in every process.

    Args:
        builder: one of ours, or a function that gets those of `input_shape`, `num_classes`, `seed` and `width` that
            its parameters name. It is called with the random generators of Keras, NumPy and Python set to the seed,
            for initializers without one; those of NumPy and Python are put back, Keras' cannot be read.
        width: None: the builder's own.

    Raises:
        ValueError: what it gives is no built Keras model, or does not fit the images and their classes.
    """
    known = {"input_shape": input_shape, "num_classes": num_classes, "seed": seed, "width": width}
    parameters = inspect.signature(builder).parameters
    arguments = {name: value for name, value in known.items() if name in parameters and value is not None}
    ours = builder in MODELS.values()  # all of whose initializers have seeds
    with names_from_the_start(), contextlib.nullcontext() if ours else _seeded(seed):
        model = builder(**arguments)
    _check(model, builder, input_shape, num_classes)
    return model


def _check(model: Any, builder: Builder, input_shape: tuple[int, ...], num_classes: int) -> None:
    name = getattr(builder, "__name__", str(builder))
    if not isinstance(model, keras.Model) or not model.built:
        what = "one that is not built" if isinstance(model, keras.Model) else type(model).__name__
        raise ValueError(f"Expected a built keras.Model from the function '{name}'. Received: {what}.")
    takes, gives = _shape_of(model, "input_shape"), _shape_of(model, "output_shape")
    fits = takes is None or all(a in (None, b) for a, b in zip(takes[1:], input_shape, strict=False))
    if not fits or (takes is not None and len(takes) != len(input_shape) + 1):
        raise ValueError(
            f"Expected a network of '{name}' that takes the images, {input_shape}. Received: one of {takes[1:]}."
        )
    if gives is not None and gives[-1] not in (None, num_classes):
        raise ValueError(
            f"Expected a network of '{name}' with an output for each of {num_classes} classes. Received: {gives[-1]}."
        )


def _shape_of(model: keras.Model, which: str) -> Any:
    """None for subclassed models, which do not know, and for several inputs or outputs."""
    shape = getattr(model, which, None)
    return shape if isinstance(shape, tuple) and shape and not isinstance(shape[0], tuple) else None


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  (the user's function may draw from it)
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
