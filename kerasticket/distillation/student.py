"""A student's steps on synthetic images, and how the place where they end depends on the images and the rate.

Step i goes from w_i to w_(i+1) = w_i - rate * g_i, g_i the gradient of the loss at w_i. With v_N the derivative of a
distance in the end w_N, the chain rule gives, backwards through the steps,

    d distance / d images -= rate * d<g_i, v_(i+1)> / d images
    d distance / d rate   -= <g_i, v_(i+1)>
    v_i = v_(i+1) - rate * d<g_i, v_(i+1)> / d w_i.

Only the weights w_i are kept, and one step's graph is alive at a time: memory does not grow with the steps'
activations, nor the time to compile with their number. `FORMS` are ways to go one step back.
"""

import functools
from collections.abc import Callable
from typing import Any

from keras import ops

from kerasticket.backend import autodiff


def unrolled(slope: Callable) -> Callable:
    """The chain rule as above: MTT's gradient (Cazenavette et al. 2022, algorithm 1), exact.

    MTT's code gets it from the graph of all steps, in memory that grows with them; here gradients are computed twice.
    """

    def along(images_and_weights, vector, batch):
        images, weights = images_and_weights
        return _dot(slope(weights, images, batch), vector)

    derivative = autodiff.value_and_gradient(along)

    def back(images, weights, vector, rate, batch):
        product, (in_images, in_weights) = derivative([images, weights], vector, batch)
        return product, in_images, _moved(vector, in_weights, rate)

    return back


def constant_memory(slope: Callable) -> Callable:
    """The same with v_i = v_N: TESLA (Cui et al. 2023, section 3.2), which drops what a step does to later ones.

    It needs no derivative in the weights. The rate's derivative is the closed form 2 <G, rate * G + target - start> /
    ||start - target||^2, G the sum of all g_i, which ignores the same.
    """

    def along(images, weights, vector, batch):
        return _dot(slope(weights, images, batch), vector)

    derivative = autodiff.value_and_gradient(along)

    def back(images, weights, vector, rate, batch):
        product, in_images = derivative(images, weights, vector, batch)
        return product, in_images, vector

    return back


FORMS: dict[str, Callable] = {"unrolled": unrolled, "constant-memory": constant_memory}


class Student:
    """Matches where SGD on images leads from a start with a target.

    Args:
        loss: (weights, images, batch) -> scalar, twice differentiable; `batch` is all else that a step depends on.
        form: a name in `FORMS`.
    """

    def __init__(self, loss: Callable, form: str):
        slope = autodiff.gradient(loss)

        def advance(weights, images, rate, batch):
            return _moved(weights, slope(weights, images, batch), rate)

        self._advance = autodiff.jit(advance)
        self._back = autodiff.jit(FORMS[form](slope))
        self._distance = autodiff.jit(autodiff.value_and_gradient(distance))

    def match(self, start: list, target: list, images, rate, batches: list) -> tuple[Any, Any, Any]:
        """The distance after one step per batch, and its derivatives in the images and in the rate.

        Args:
            start, target: weights, ordered as the network's trainable variables.
            images: as the loss takes them.
            rate: of SGD, scalar.
            batches: one for each step.
        """
        path = [start]
        for batch in batches:
            path.append(self._advance(path[-1], images, rate, batch))
        value, vector = self._distance(path.pop(), start, target)
        in_images, in_rate = ops.zeros_like(images), 0.0
        for weights, batch in zip(reversed(path), reversed(batches), strict=True):
            product, of_step, vector = self._back(images, weights, vector, rate, batch)
            in_images, in_rate = in_images - rate * of_step, in_rate - product
        return value, in_images, in_rate


def distance(end: list, start: list, target: list):
    """||end - target||^2 / ||start - target||^2 over all weights (MTT, equation 2)."""
    return _squared(end, target) / _squared(start, target)


def _squared(left: list, right: list):
    return functools.reduce(ops.add, [ops.sum(ops.square(a - b)) for a, b in zip(left, right, strict=True)])


def _dot(left: list, right: list):
    return functools.reduce(ops.add, [ops.sum(a * b) for a, b in zip(left, right, strict=True)])


def _moved(weights: list, slopes: list, rate) -> list:
    return [weight - rate * slope for weight, slope in zip(weights, slopes, strict=True)]
