"""Figures as files: each as PNG to look at and as PDF to print."""

from pathlib import Path

from matplotlib.figure import Figure

from kerasticket.files.atomic import atomic

ENDINGS = ("png", "pdf")


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes NAME.png and NAME.pdf."""
    for ending in ENDINGS:
        with atomic(folder / f"{name}.{ending}") as temporary:
            figure.savefig(temporary, dpi=150, format=ending)


def remove(folder: Path, name: str) -> None:
    """Deletes both, of an earlier call that had more to draw."""
    for ending in ENDINGS:
        (folder / f"{name}.{ending}").unlink(missing_ok=True)
