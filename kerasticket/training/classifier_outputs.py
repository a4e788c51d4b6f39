"""What a classifier ends in: logits, or the probabilities of a softmax or of sigmoids. Its loss must be of the same.

A last layer with one of the usual activations tells. Where an end is an operation or a line in a `call`, the network is
shown some random inputs: a softmax's outputs sum to 1, those of sigmoids lie in [0, 1], and logits do neither.
"""

import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.backend import fused
from kerasticket.backend.autodiff import mode
from kerasticket.backend.keras_internals import maker_of

LOGITS, SOFTMAX, SIGMOIDS = "logits", "a softmax", "sigmoids"
_PROBES = 8
_TOLERANCE = {"float16": 0.01, "bfloat16": 0.05}  # of sums that should be 1
_BY_NAME = ("categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy")  # of probabilities
_known: "weakref.WeakKeyDictionary[keras.Model, str]" = weakref.WeakKeyDictionary()


def end_of(model: keras.Model, shape: tuple[int | None, ...] | None = None) -> str | None:
    """`LOGITS`, `SOFTMAX` or `SIGMOIDS`; None of a network that has several inputs, or whose output is no table.

    A network is looked at once. Those that end in log-softmax end in logits: a softmax leaves them as they are.

    Args:
        shape: of one input, where the network does not know it.

    Example:

    >>> end_of(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax", name="dense")]))
    'a softmax'
    """
    if model not in _known:
        told = _told(model)
        outputs = _outputs(model, shape) if told is None else None
        if told is None and outputs is None:
            return None
        _known[model] = told or _kind(outputs)
    return _known[model]


def check_loss(model: keras.Model, shape: tuple[int | None, ...] | None = None) -> None:
    """Raises ValueError if a model is compiled with Keras' cross-entropy for logits and has none, or the reverse.

    Args:
        shape: as for `end_of`.
    """
    wanted = _wants_logits(getattr(model, "loss", None))
    end = None if wanted is None else end_of(model, shape)
    if end is not None and wanted != (end == LOGITS):
        raise ValueError(
            f"Expected a loss for what the network ends in. Received: '{model.name}', which ends in {end}, compiled "
            f"with a loss for {'logits' if wanted else 'probabilities'} (from_logits={wanted}). Compile it with "
            f"from_logits={not wanted}, or leave it without compile: its recipe takes the right loss."
        )


def cross_entropy(
    model: keras.Model, shape: tuple[int | None, ...] | None, labels: tuple[int | None, ...] | None
) -> keras.losses.Loss:
    """The categorical cross-entropy for what the network ends in.

    Args:
        shape, labels: of one input and of its labels, where they are known.

    Raises:
        ValueError: the network has another number of outputs, or ends in sigmoids.
    """
    end = end_of(model, shape)
    outputs = getattr(model, "output_shape", None)
    (classes,) = labels if labels is not None and len(labels) == 1 else (None,)
    if classes is not None and isinstance(outputs, tuple) and len(outputs) == 2 and outputs[1] != classes:
        raise ValueError(
            f"Expected a network with an output for each of the {classes} classes. Received: '{model.name}' with "
            f"output shape {outputs}. Replace its last layer; one sigmoid for two classes becomes two logits."
        )
    if end == SIGMOIDS:
        raise ValueError(
            f"Expected a network that ends in logits or in a softmax. Received: '{model.name}', whose outputs lie in "
            "[0, 1] and do not sum to 1, as those of sigmoids. Take the activation off its last layer, or compile it "
            "yourself with the loss that you mean."
        )
    return keras.losses.CategoricalCrossentropy(from_logits=end != SOFTMAX)


def _wants_logits(loss: Any) -> bool | None:
    """Whether a loss is Keras' cross-entropy for logits (True) or for probabilities (False); None: another one."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        (loss,) = loss
    if isinstance(loss, str):
        return False if loss in _BY_NAME else None
    named = ("CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy")
    known = tuple(getattr(keras.losses, name) for name in named)
    return bool(getattr(loss, "from_logits", False)) if isinstance(loss, known) else None


def _told(model: keras.Model) -> str | None:
    """What the last layer of a functional model says that it ends in, if it says so."""
    outputs: list[Any] = list(getattr(model, "outputs", None) or ())
    last: Any = maker_of(outputs[0]) if len(outputs) == 1 else None
    if isinstance(last, keras.Model):
        return _told(last)
    if type(last) is keras.layers.Softmax or len(getattr(outputs[0] if outputs else None, "shape", ())) != 2:
        return SOFTMAX if type(last) is keras.layers.Softmax and last.axis in (-1, 1) else None
    known = {keras.activations.softmax: SOFTMAX, keras.activations.sigmoid: SIGMOIDS}
    if isinstance(last, keras.layers.Dense):
        known[keras.activations.linear] = LOGITS
    return known.get(last.activation) if isinstance(last, (keras.layers.Dense, keras.layers.Activation)) else None


def _outputs(model: keras.Model, shape: tuple[int | None, ...] | None) -> np.ndarray | None:
    """What the network says of random inputs, (probes, outputs)."""
    known = getattr(model, "input_shape", None) if model.built else None
    if isinstance(known, tuple) and known and None not in known[1:]:
        shape = known[1:]
    if shape is None or None in shape or isinstance(known, (list, dict)):
        return None
    # Large inputs as well: outputs that stay in [0, 1] then are held there.
    sizes = [int(size) for size in shape if size is not None]
    probes = np.random.default_rng(0).standard_normal((_PROBES, *sizes)).astype(np.float32)
    probes[_PROBES // 2 :] *= 10
    kind = model.inputs[0].dtype if getattr(model, "inputs", None) else "float32"
    inputs = ops.convert_to_tensor(probes if "float" in str(kind) else (probes > 0), kind)
    with fused.mode("never"):  # nothing is to be compiled for them
        outputs = model(inputs, **mode(model, False))
    return outputs if hasattr(outputs, "shape") and len(outputs.shape) == 2 else None


def _kind(outputs: Any) -> str:
    tolerance = _TOLERANCE.get(keras.backend.standardize_dtype(outputs.dtype), 1e-3)
    values = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    if not ((values >= 0).all() and (values <= 1).all() and values.any()):
        return LOGITS
    sums_to_one = values.shape[1] > 1 and np.allclose(values.sum(axis=1), 1, atol=tolerance)
    return SOFTMAX if sums_to_one else SIGMOIDS
