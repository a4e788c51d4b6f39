"""Loss landscapes: loss and accuracy on a plane through weight space, at many points, resumable."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.analysis.connectivity import check_statistics, evaluate
from kerasticket.analysis.objective import Evaluation, Objective
from kerasticket.analysis.planes import PLANES, Bounds, Plane, random_direction
from kerasticket.analysis.results import IN_PLANE, Surface
from kerasticket.analysis.statistics import has_statistics
from kerasticket.checks import check_choice
from kerasticket.files.checkpoint import Checkpoint
from kerasticket.params import Params

FEWEST_POINTS = 4


def loss_plane(
    model: keras.Model,
    nets: Sequence[Params],
    data: Any,
    *,
    kind: str = "paper",
    points: int = 10_000,
    layout: str = "uniform",
    filter_normalize: bool = True,
    statistics: str = "interpolate",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Surface:
    """Loss and accuracy on a plane, as Figure 5 of McDermott & Parhi (arXiv 2503.17905).

    Kinds of plane, by what they take; more nets than that are projected onto it:
    - "paper": four nets of one ticket and the data orders 0 to 3. Center (w0 + w1) / 2, axes (w0 - w1) / 2 and
      (w3 - w2) / 2, the latter made orthogonal and as long (in the authors' code it is neither); x and y in -2..2.
    - "through_three": three nets, which all lie in the picture (Garipov et al. 2018, arXiv 1802.10026).
    - "random": one net and two random directions (Li et al. 2018, arXiv 1712.09913); x and y in -1..1.

    All weights and, with "interpolate", moving statistics follow the coordinates linearly, beyond the nets too.
    Whole numbers and seed states are those of the first net. What is zero in all nets is zero in the whole plane.

    Args:
        model: built and compiled; it is left as it is.
        nets: `kerasticket.get_params` of trained networks.
        data: a pair (inputs, targets) of arrays, a finite tf.data pipeline, an image set, or an `Objective` (which
            has a batch size to choose). The paper takes all training images without augmentation.
        points: how many; for a grid a square number.
        layout: "uniform" draws the points evenly over the square, as the paper does; "grid".
        filter_normalize: of random directions: scale each filter, or just the whole, to the length of the net's.
        statistics: "interpolate" as the authors' code, or "reestimate": over `data`, at each point and for each net.
        seed: of the points and of random directions.
        checkpoint: file in which a killed evaluation is kept, at most a minute old; the same call goes on from there.
        progress: called with the number of points that are done after each of them.

    Returns:
        The points in the order in which they were drawn, behind those of the nets that lie in the plane.

    Raises:
        ValueError: as `Objective`; unknown options; too few points or nets; nets of another model, not finite, or on
            one line; variances that become negative beyond the nets; a checkpoint of another landscape.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    >>> model.compile(loss="mean_squared_error")
    >>> nets = [{"out/kernel": np.array(w, "float32")[:, None], "out/bias": np.zeros(1, "float32")}
    ...     for w in ([0, 0], [1, 0], [0, 1])]
    >>> data = np.eye(2, dtype="float32"), np.zeros((2, 1), "float32")
    >>> surface = loss_plane(model, nets, data, kind="through_three", points=4, layout="grid")
    >>> surface.positions.tolist(), surface.loss[:3].tolist()
    ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 0.5, 0.5])
    """
    check_options(kind, points=points, layout=layout, statistics=statistics, seed=seed)
    if len(nets) < PLANES[kind][0]:
        raise ValueError(f"Expected at least {PLANES[kind][0]} nets for kind={kind!r}. Received: {len(nets)}.")
    objective = data if isinstance(data, Objective) else Objective(model, data)
    for index, net in enumerate(nets):
        objective.check(net, f"net {index}")
    drawn = np.random.default_rng([seed, 0])
    plane = PLANES[kind][1](nets, lambda: random_direction(model, nets[0], drawn, filter_normalize=filter_normalize))
    if statistics == "interpolate":
        _check_variances(plane)
    coordinates = LAYOUTS[layout](points, plane.bounds, np.random.default_rng([seed, 1]))

    own = np.array([evaluate(objective, net, statistics) for net in nets])
    settings = {"kind": kind, "points": points, "layout": layout, "filter_normalize": filter_normalize, "seed": seed}
    settings |= {"statistics": statistics} | _contents(nets, objective, own)
    values = resumable(
        lambda index: evaluate(objective, plane.point(*coordinates[index]), statistics),
        points,
        kept_in(checkpoint, settings) if checkpoint else None,
        progress,
    )
    positions, distances = (np.array(each) for each in zip(*map(plane.project, nets), strict=True))
    anchors = distances <= IN_PLANE * max(plane.lengths)
    return Surface(
        kind=kind,
        statistics=statistics if has_statistics(model) else "none",
        coordinates=np.concatenate([positions[anchors], coordinates]),
        loss=np.concatenate([own[anchors, 0], values[:, 0]]),
        accuracy=np.concatenate([own[anchors, 1], values[:, 1]]),
        positions=positions,
        distances=distances,
        net_loss=own[:, 0],
        net_accuracy=own[:, 1],
        lengths=plane.lengths,
        cosine=plane.cosine,
        filter_normalized=filter_normalize and kind == "random",
    )


def uniform(points: int, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """Points drawn evenly from the rectangle, (points, 2)."""
    low, high = zip(*bounds, strict=True)
    return rng.uniform(low, high, (points, 2))


def grid(points: int, bounds: Bounds, _: np.random.Generator) -> np.ndarray:
    """A square number of points on a grid that reaches the edges, (points, 2); x runs fastest."""
    x, y = np.meshgrid(*(np.linspace(low, high, math.isqrt(points)) for low, high in bounds))
    return np.stack([x.ravel(), y.ravel()], 1)


LAYOUTS: dict[str, Callable[[int, Bounds, np.random.Generator], np.ndarray]] = {"uniform": uniform, "grid": grid}


def resumable(
    function: Callable[[int], Evaluation],
    count: int,
    checkpoint: Checkpoint | None,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """The values of a function at 0 ... count - 1, (count, 2), kept in a file on the way."""
    values = _begun(checkpoint)[:count]
    done = len(values)
    values = np.concatenate([values, np.full((count - done, 2), np.nan)])
    try:
        while done < count:
            values[done] = function(done)
            done += 1
            if checkpoint and checkpoint.due:
                checkpoint.save({"values": values[:done]})
            if progress:
                progress(done)
    finally:
        if checkpoint:
            checkpoint.save({"values": values[:done]})
    return values


def kept_in(path: str | Path, settings: dict[str, Any]) -> Checkpoint:
    """The file of one landscape."""
    return Checkpoint(path, settings, what="landscape", alike={"net_loss": _close})


def _begun(checkpoint: Checkpoint | None) -> np.ndarray:
    """What an earlier call has found, (n, 2)."""
    saved = checkpoint and checkpoint.load()
    if not checkpoint or not saved:
        return np.zeros((0, 2))
    values = saved.arrays.get("values", np.zeros(0))
    if values.shape[1:] != (2,) or values.dtype != float:
        raise checkpoint.damaged(f"values of {values.dtype} and shape {values.shape}, expected (n, 2)")
    return values


def _close(before: Any, now: list[float]) -> bool:
    """Another machine may differ in the last digits of a loss, another loss or network in the first."""
    numbers = isinstance(before, list) and all(isinstance(each, float) for each in before)
    return numbers and len(before) == len(now) and bool(np.allclose(before, now, rtol=1e-4, equal_nan=True))


def _contents(nets: Sequence[Params], objective: Objective, own: np.ndarray) -> dict[str, Any]:
    """What tells nets and data, and by the nets' losses network and loss, from others."""
    digests = [hashlib.sha256(b"".join(path.encode() + net[path].tobytes() for path in sorted(net))) for net in nets]
    data = hashlib.sha256()
    for batch in objective.batches:
        for part in batch:
            data.update(ops.convert_to_numpy(part).tobytes())
    return {
        "nets": [digest.hexdigest()[:16] for digest in digests],
        "data": data.hexdigest()[:16],
        "batch_sizes": sorted({len(inputs) for inputs, _ in objective.batches}),
        "backend": keras.config.backend(),
        "net_loss": own[:, 0].tolist(),
    }


def check_options(kind: str, *, points: int, layout: str, statistics: str, seed: int) -> None:
    """Raises ValueError for what `loss_plane` does not take, whatever the nets are."""
    check_choice(kind, PLANES, "kind")
    check_choice(layout, LAYOUTS, "layout")
    check_statistics(statistics)
    if points < FEWEST_POINTS:
        raise ValueError(f"Expected at least {FEWEST_POINTS} points. Received: points={points}.")
    if layout == "grid" and math.isqrt(points) ** 2 != points:
        near = math.isqrt(points) ** 2
        raise ValueError(f"Expected a square number of points for a grid, as {near}. Received: points={points}.")
    if seed < 0:
        raise ValueError(f"Expected a seed of at least 0. Received: seed={seed}.")


def _check_variances(plane: Plane) -> None:
    """Raises ValueError if a moving variance becomes negative in the plane, which it does first in a corner."""
    corners = [plane.point(x, y) for x in plane.bounds[0] for y in plane.bounds[1]]
    variances = [path for path in plane.like if path.endswith("/moving_variance")]
    negative = [path for path in variances if any((corner[path] < 0).any() for corner in corners)]
    if negative:
        raise ValueError(
            f"Expected moving variances that stay positive in the whole plane. Received: {negative}, which become "
            "negative beyond the nets. Pass statistics='reestimate'."
        )
