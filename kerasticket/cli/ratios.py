"""Synthetic tickets over IMP tickets, in accuracy and in barrier, for many runs in one picture (paper, Fig. 6).

    python scripts/instability.py runs/cifar10-cpu
    python scripts/instability.py runs/digits
    python scripts/stability_ratios.py runs/cifar10-cpu runs/digits --out runs/ratios

Reads results.csv and instability/barriers.csv of each run; writes ratios.csv and, from it, the figure. A ratio of
barriers means something only where the barrier of IMP is clearly above zero: the others are listed, not drawn.
"""

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import RatioSettings


def main(settings: RatioSettings) -> None:
    import_keras()
    from kerasticket.experiments.ratios import stability_ratios

    made = stability_ratios(settings)
    for row in made.rows:
        left_out = "" if row["drawn"] else f"   not drawn: IMP's barrier is {row['imp_barrier']:.3f}"
        print(
            f"{row['run']:24} round {row['round']:2}  accuracy x{row['accuracy_ratio']:.3f}  "
            f"barrier x{row['barrier_ratio']:.2f}  compression x{row['compression']:.0f}{left_out}"
        )
    drawn = " and the figure lie" if any(row["drawn"] for row in made.rows) else ", and nothing is drawn. It lies"
    print(f"ratios.csv{drawn} in {made.folder.resolve()}")


def run(arguments: list[str]) -> None:
    main(read(RatioSettings, arguments, __doc__))
