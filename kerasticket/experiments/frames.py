"""Results of a run as pandas frames, from its files alone."""

from pathlib import Path

import pandas as pd

from kerasticket.experiments.records import Trained
from kerasticket.experiments.run import Run

ORIGINS = ("dense", "start")
COLUMNS = tuple(Trained.__dataclass_fields__)


def results(folder: str | Path) -> pd.DataFrame:
    """A row for each finished training; columns as in `Trained`: kind, round, init_seed, data_order, sparsity, ...

    Args:
        folder: of a run, finished or not.

    Raises:
        ValueError: the folder is no run, or a file in it is damaged.

    Example:
        >>> import kerasticket as kt
        >>> frame = kt.experiments.results("runs/digits")  # doctest: +SKIP
        >>> frame[frame.kind == "synthetic"].groupby("sparsity").accuracy.agg(["mean", "std"])  # doctest: +SKIP
    """
    if not (Path(folder) / "config.json").exists():
        raise ValueError(f"Expected the folder of a run. Received: '{folder}', which has no config.json.")
    rows = pd.DataFrame(Run(Path(folder)).results(), columns=list(COLUMNS))
    return rows.astype({"round": int, "init_seed": int, "data_order": int, "stored": int, "decoded": int})


def barriers(folder: str | Path) -> pd.DataFrame:
    """A row for each barrier that a sweep has measured: kind, round, init_seed, both data orders, heights.

    Args:
        folder: of a run.
    """
    columns = ["kind", "round", "init_seed", "first_order", "second_order"]
    columns += ["barrier", "midpoint_barrier", "error_barrier"]
    rows = pd.DataFrame(Run(Path(folder)).barriers(), columns=columns)
    return rows.astype({"round": int, "init_seed": int, "midpoint_barrier": float})


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by kind and round: mean, sample standard deviation (NaN of one) and number of trainings.

    Args:
        frame: of `results`.

    Returns:
        Indexed by (kind, round), with columns sparsity, mean, std, count, stored, decoded.

    Example:
        >>> row = {"kind": "imp", "round": 1, "sparsity": 0.2, "stored": 9, "decoded": 9}
        >>> rows = [row | {"accuracy": accuracy} for accuracy in (0.5, 0.7)]
        >>> summary(pd.DataFrame(rows)).round(3).to_dict("records")
        [{'sparsity': 0.2, 'mean': 0.6, 'std': 0.141, 'count': 2, 'stored': 9, 'decoded': 9}]
    """
    groups = frame.groupby(["kind", "round"], sort=True)
    statistics = groups.accuracy.agg(["mean", "std", "count"])
    first = groups[["sparsity", "stored", "decoded"]].first()
    return pd.concat([first[["sparsity"]], statistics, first[["stored", "decoded"]]], axis=1)
