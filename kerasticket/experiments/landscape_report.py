"""Tables and maps of a folder of surfaces, made from its files alone."""

from pathlib import Path
from typing import Any

import numpy as np

from kerasticket.analysis.results import Surface
from kerasticket.experiments import figure_files, figures
from kerasticket.files.rows import read_rows, write_rows

ORIGINS = ("dense", "start", "networks")
QUANTITIES = ("loss", "accuracy")
TEXTS = {"name", "kind", "round", "init_seed", "networks", "points"}
NUMBERS = ("network_loss", "lowest_loss", "median_loss", "highest_loss", "length_x", "length_y", "cosine")


def record(out: Path, name: str, about: dict[str, Any], surface: Surface) -> None:
    """Writes the points and the networks of a surface as CSV, and its row of surfaces.csv."""
    write_rows(points(surface), out / f"{name}_points.csv")
    write_rows(networks(surface, about["networks"].split()), out / f"{name}_networks.csv")
    rows = [row for row in read(out) if row["name"] != name]
    write_rows([*rows, {"name": name} | about | summary(surface)], out / "surfaces.csv")


def check_networks(out: Path, wanted: dict[str, str]) -> None:
    """Raises ValueError if a surface that is there is of other networks than it would be now."""
    for row in read(out):
        if row["networks"] != wanted.get(row["name"], row["networks"]):
            raise ValueError(
                f"'{out}' holds {row['name']} of networks {row['networks']}, not {wanted[row['name']]}. Pass the "
                "former as --data-orders, choose another --out, or pass --force to delete it and start again."
            )


def write_report(out: Path, title: str) -> list[dict[str, Any]]:
    """Draws all surfaces of a folder; their rows of surfaces.csv."""
    rows = [row for row in read(out) if (out / f"{row['name']}.h5").exists()]
    draw(out, rows, title)
    return rows


def draw(out: Path, rows: list[dict[str, Any]], title: str) -> None:
    """One figure per round, initialization and quantity; the network at the start is in each."""
    tickets = [row for row in rows if row["kind"] not in ORIGINS]
    for index, seed in sorted({(row["round"], row["init_seed"]) for row in tickets or rows}):
        group = [row for row in rows if row["init_seed"] == seed and (row["round"] == index or row["kind"] in ORIGINS)]
        group.sort(key=lambda row: [*ORIGINS, *figures.KINDS].index(row["kind"]))
        panels = {panel_title(row): Surface.load(out / f"{row['name']}.h5") for row in group}
        for quantity in QUANTITIES:
            figure = figures.landscapes(panels, quantity, f"{title}: train {quantity}, init seed {seed}")
            figure_files.save(figure, out, f"{quantity}_round_{int(index):02d}_seed_{seed}")


def panel_title(row: dict[str, Any]) -> str:
    if row["kind"] in ORIGINS:
        return row["kind"]
    return f"{figures.STYLES[row['kind']]['label']}, {float(row['sparsity']):.1%}"


def read(out: Path) -> list[dict[str, Any]]:
    """The rows of surfaces.csv, as text."""
    rows = read_rows(out / "surfaces.csv", None, {"sparsity": float} | dict.fromkeys(NUMBERS, float))
    for row in rows:
        if not row.keys() >= TEXTS:
            path = out / "surfaces.csv"
            raise ValueError(f"Expected the columns {sorted(TEXTS)} in '{path}'. Received: {list(row)}.")
    return rows


def summary(surface: Surface) -> dict[str, Any]:
    """One number each; the losses of points are of those where it is finite."""
    loss = surface.loss[np.isfinite(surface.loss)]
    return {
        "plane": surface.kind,
        "statistics": surface.statistics,
        "points": len(surface.loss),
        "length_x": surface.lengths[0],
        "length_y": surface.lengths[1],
        "cosine": surface.cosine,
        "network_loss": float(surface.net_loss.mean()),
        "network_accuracy": float(surface.net_accuracy.mean()),
        "lowest_loss": float(loss.min()),
        "median_loss": float(np.median(loss)),
        "highest_loss": float(loss.max()),
    }


def points(surface: Surface) -> list[dict[str, float]]:
    columns = {"x": surface.coordinates[:, 0], "y": surface.coordinates[:, 1]}
    columns |= {"loss": surface.loss, "accuracy": surface.accuracy}
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def networks(surface: Surface, names: list[str]) -> list[dict[str, Any]]:
    """Position, distance from the plane, and own loss of each network; w0, w1, ... are their names in the figures."""
    columns = {
        "w": list(range(len(names))),
        "network": names,
        "x": surface.positions[:, 0].tolist(),
        "y": surface.positions[:, 1].tolist(),
        "distance": surface.distances.tolist(),
        "in_plane": surface.in_plane.tolist(),
        "loss": surface.net_loss.tolist(),
        "accuracy": surface.net_accuracy.tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
