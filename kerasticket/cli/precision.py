"""What another precision (or backend, or machine) changes: two runs of `distilled_pruning.py`, side by side.

    python scripts/distilled_pruning.py --data-orders 1 2 --train-rounds 4 9 --out runs/float32
    python scripts/distilled_pruning.py --data-orders 1 2 --train-rounds 4 9 --out runs/bfloat16 --precision mixed_bfloat16
    python scripts/compare_runs.py runs/float32 runs/bfloat16 --csv assets/results/precision.csv
    python scripts/distilled_pruning.py --data-orders 2 1 --train-rounds 4 9 --out runs/order2
    python scripts/compare_runs.py runs/float32 runs/order2 --csv assets/results/data_order.csv

Per kind and round, mean and sample std over the seeds that both have: overlap of the two runs' masks (IoU, beside
that of two seeds of the first run), test accuracy, and the midpoint barrier in train loss between two data orders.
The last two commands give what to judge a precision by: what another data order of the search changes.
"""  # noqa: E501  (commands that can be pasted)

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program


def main(first: Path, second: Path, csv_path: Path | None) -> None:
    import_keras()
    from kerasticket.experiments.run_comparison import compare_runs

    made = compare_runs(first, second, csv_path)
    print(f"differ in: {', '.join(made.differing) or 'nothing'}")
    table = Table(title=f"{first.name} and {second.name}, {len(made.seeds)} seeds")
    for heading in made.rows[0]:
        table.add_column(heading, justify="right")
    for each in made.rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in each.values()))
    Console(width=150).print(table)


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    main(options.first, options.second, options.csv)
