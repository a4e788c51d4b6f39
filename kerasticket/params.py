"""Arithmetic on `Params`: the weights of a network as a dict of NumPy arrays keyed by canonical path."""

from collections.abc import Sequence

import numpy as np

Params = dict[str, np.ndarray]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two arrays have one shape, one dtype and the same bits (-0.0 is not 0.0, NaN equals itself).

    >>> same_bits(np.zeros(2), np.zeros(2)), same_bits(np.zeros(1), -np.zeros(1))
    (True, False)
    """
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def differing(a: Params, b: Params) -> list[str]:
    """Paths whose arrays are not the same to the bit, or that only one side has, in the order of `a`, then `b`."""
    changed = [path for path in a if path not in b or not same_bits(a[path], b[path])]
    return changed + [path for path in b if path not in a]


def mismatch(received: Params, expected: Params, what: str) -> str | None:
    """One sentence on the first way in which paths or shapes differ from those expected; None if they agree.

    Args:
        received, expected: dicts of arrays (any objects with a `.shape`).
        what: names the received thing in the message ("the ticket").
    """
    unknown = [path for path in received if path not in expected]
    absent = [path for path in expected if path not in received]
    if unknown or absent:
        return (
            f"{what} has paths that the model lacks: {_few(unknown)}; "
            f"the model has paths that {what} lacks: {_few(absent)}."
        )
    for path, array in received.items():
        if tuple(array.shape) != tuple(expected[path].shape):
            return f"{what} has shape {tuple(array.shape)} at '{path}', the model {tuple(expected[path].shape)}."
    return None


def _few(paths: list[str], most: int = 4) -> str:
    if not paths:
        return "none"
    listed = ", ".join(f"'{path}'" for path in paths[:most])
    return listed + (f" and {len(paths) - most} more" if len(paths) > most else "")


def combine(nets: Sequence[Params], coefficients: Sequence[float]) -> Params:
    """The sum of coefficient times net, path by path, in the dtype of each array; whole numbers are the first net's.

    >>> combine([{"w": np.ones(2)}, {"w": np.arange(2.0)}], [1, 2])["w"]
    array([1., 3.])
    """
    return {path: _combined([net[path] for net in nets], coefficients) for path in nets[0]}


def interpolate(a: Params, b: Params, alpha: float) -> Params:
    """(1 - alpha) a + alpha b; 0 gives `a` and 1 gives `b`, both to the bit.

    >>> interpolate({"w": np.zeros(2)}, {"w": np.ones(2)}, 0.25)["w"]
    array([0.25, 0.25])
    """
    if alpha in (0, 1):
        return dict(b if alpha else a)
    return combine([a, b], [1 - alpha, alpha])


def dot(a: Params, b: Params) -> float:
    """Inner product over all floating arrays of `a`, summed in double precision.

    >>> dot({"w": np.ones(3)}, {"w": np.arange(3.0)})
    3.0
    """
    return float(sum(np.vdot(x.astype(float), b[path].astype(float)) for path, x in a.items() if is_float(x)))


def norm(a: Params) -> float:
    """Euclidean length over all floating arrays.

    >>> norm({"w": np.array([3.0, 4.0])})
    5.0
    """
    return dot(a, a) ** 0.5


def _combined(arrays: list[np.ndarray], coefficients: Sequence[float]) -> np.ndarray:
    if not is_float(arrays[0]):
        return arrays[0]
    terms = [array * array.dtype.type(c) for array, c in zip(arrays, coefficients, strict=True)]
    return sum(terms[1:], terms[0])


def is_kernel(path: str, array: np.ndarray) -> bool:
    """True for weights of two axes or more that are no biases or norms: those of attention have two axes as well.

    >>> is_kernel("attention/query/bias", np.zeros((2, 4)))
    False
    """
    return array.ndim > 1 and path.rpartition("/")[2] not in ("bias", "beta", "gamma")


def is_float(array: np.ndarray) -> bool:
    """True for floating numbers, bfloat16 among them."""
    return array.dtype.kind not in "biu"  # NumPy does not count bfloat16 among its floating types
