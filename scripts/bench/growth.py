"""Time against width, batch size, rounds and images: does anything grow faster than the work?

    python scripts/bench/growth.py    # on an idle machine; writes growth.png and growth.csv in assets

Each point is a process of its own and the median of `--runs` runs through `fit` with masks, augmentation and
the IMP callback, ConvNet-3 in float32. Only the matrix work of wider layers may grow faster than proportionally.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmark import Side, measure
from machine import load, refuse_if_loaded

from kerasticket.cli.door import door, program
from kerasticket.files.rows import write_rows

ASSETS = Path(__file__).parents[2] / "assets"
BASE = {"net": "convnet", "width": 32, "images": 1280, "passes": 1}
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "width": ("width", (16, 32, 64, 128)),
    "batch size": ("batch_size", (16, 32, 64, 128, 256)),
    "images": ("images", (1280, 2560, 5120, 10240)),
    "rounds": ("rounds", (1, 2, 4, 8)),
}


def main(runs: int, loaded: bool) -> None:
    if not loaded:
        refuse_if_loaded(load())
    rows: list[dict[str, Any]] = []
    for axis, (argument, values) in AXES.items():
        sides: dict[str, Side] = {str(value): ("through_fit", BASE | {argument: value}) for value in values}
        for value, side in measure(sides, runs, warm=2).items():
            rows.append({"axis": axis, "value": int(value), "seconds": side["seconds"]})
            print(f"{axis:12} {value:>6}  {side['seconds']:.3f} s", flush=True)
    from kerasticket.experiments import figures
    from kerasticket.files.atomic import atomic

    write_rows(rows, ASSETS / "results" / "growth.csv")
    with atomic(ASSETS / "figures" / "growth.png") as temporary:
        figures.growth(rows).savefig(temporary, dpi=150)
    print(f"\n{ASSETS / 'results' / 'growth.csv'}\n{ASSETS / 'figures' / 'growth.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loaded", action="store_true", help="measure even if the machine is not idle")
    options = parser.parse_args()
    with door():
        main(options.runs, options.loaded)
