"""Arithmetic on `Params`: the weights of a network as a dict of NumPy arrays keyed by canonical path."""

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
