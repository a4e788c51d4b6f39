"""Criteria made of gradients of the loss: SNIP, GraSP, saliency, movement."""

import inspect
from typing import Any

import keras
import numpy as np

from kerasticket.backend import autodiff
from kerasticket.masks import Mask, Scores
from kerasticket.params import Params
from kerasticket.pruning.criteria.network import batches, doubles, float32_at_least, kernels_of, loss_of_kernels
from kerasticket.training.recipe import compiled_loss

# Beside those that have a `from_logits`, which is False.
OF_PROBABILITIES = (keras.losses.KLDivergence, keras.losses.Poisson)
OF_PROBABILITIES_TOO = (keras.losses.kl_divergence, keras.losses.poisson)


def snip(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w dL/dw| over the sum of all: the effect on the loss of taking a connection away (Lee et al. 2019).

    Sums to 1 over the weights that are left, which does not change their order. Kernels alone are ranked; the
    authors (arXiv 1810.02340) rank biases as well, and use one mini-batch.

    Args:
        data: one mini-batch or more; the gradient is that of the mean loss over all of it.

    Raises:
        ValueError: no data, or a model that is not compiled.
    """
    scores = {path: np.abs(product) for path, product in _weight_times_gradient("snip", model, params, mask, data)}
    total = sum(float(array.sum()) for array in scores.values())
    return {path: array / total for path, array in scores.items()} if total > 0 else scores


def saliency(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w dL/dw|: how much the loss changes, to first order, if a weight is set to 0 (Molchanov et al. 2017, 2019).

    SNIP without the normalizer, so the order is the same; the name is that for trained networks.

    Args, errors: as `snip`.
    """
    return {path: np.abs(product) for path, product in _weight_times_gradient("saliency", model, params, mask, data)}


def movement(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """-w dL/dw: positive where a gradient step makes the weight larger (Sanh et al. 2020); one term of the sum.

    The authors (arXiv 2005.07683) add this up over the steps of a training. That is what
    `kerasticket.pruning.Movement` does, at the end of every epoch; this is a single such term.

    Args, errors: as `snip`.
    """
    return {path: -product for path, product in _weight_times_gradient("movement", model, params, mask, data)}


def grasp(model, params: Params, mask: Mask, data, rng: np.random.Generator, *, temperature: float = 200.0) -> Scores:
    """w (H g): what a weight adds to the gradient flow g'g, signed (Wang, Zhang & Grosse 2020).

    The authors' score (arXiv 2002.07376) is -w (H g), of which they remove the largest. Outputs are divided by
    `temperature`, 200 as in their code, whose batches are halves of one sample; here g is that of all data. They draw
    the classifier's weights anew before scoring; here all weights are judged as they are.

    Args:
        data: 25 examples per class in the paper.

    Raises:
        ValueError: no data, a model that is not compiled or whose loss takes probabilities, or, on TensorFlow, a layer
            of Keras whose second derivatives are wrong there.
    """
    autodiff.check_second_derivatives(model)
    if _takes_probabilities(compiled_loss(model)):
        raise ValueError(
            f"Criterion 'grasp' divides logits by {temperature:g}. Received: a loss that takes probabilities. "
            "End the model in logits and compile it with a loss with from_logits=True."
        )
    loss = loss_of_kernels(model, params, mask, temperature)
    examples = list(batches("grasp", data))
    slope = _mean(autodiff.gradient(loss), model, examples, params, mask)
    product = autodiff.hvp(loss)
    # The score is quadratic in the slope, which the temperature makes small: float32 could underflow.
    length = max(float(np.abs(array).max(initial=0)) for array in slope) or 1.0
    vector = [(array / length).astype(params[path].dtype) for array, path in zip(slope, mask, strict=True)]
    curved = _mean(lambda kernels, x, y: product(kernels, vector, x, y), model, examples, params, mask)
    weights = kernels_of(params, mask)
    return {path: w * h * length for path, w, h in zip(mask, weights, curved, strict=True)}


def _weight_times_gradient(criterion: str, model, params: Params, mask: Mask, data):
    loss = loss_of_kernels(model, params, mask)
    slope = _mean(autodiff.gradient(loss), model, list(batches(criterion, data)), params, mask)
    for path, kernel, gradient in zip(mask, kernels_of(params, mask), slope, strict=True):
        yield path, kernel * gradient


def _mean(function: autodiff.Function, model, examples: list[tuple[Any, Any]], params: Params, mask: Mask) -> list:
    """The mean over all examples of a function of (kernels, inputs, targets) that is a mean over each batch."""
    kernels, sizes = kernels_of(params, mask), [len(targets) for _, targets in examples]
    with float32_at_least(model):
        parts = [doubles(function(kernels, inputs, targets)) for inputs, targets in examples]
    weighted = [[part * (size / sum(sizes)) for part in batch] for batch, size in zip(parts, sizes, strict=True)]
    return [np.sum(column, axis=0) for column in zip(*weighted, strict=True)]


def _takes_probabilities(loss: Any) -> bool:
    if isinstance(loss, keras.losses.Loss):
        return isinstance(loss, OF_PROBABILITIES) or not getattr(loss, "from_logits", True)
    return loss in OF_PROBABILITIES_TOO or "from_logits" in inspect.signature(loss).parameters
