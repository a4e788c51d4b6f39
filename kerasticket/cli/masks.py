"""What the masks of IMP, of distilled data and of chance have in common: overlap, layers, initial magnitudes.

    python scripts/mask_statistics.py runs/digits                                     # a run of distilled_pruning.py
    python scripts/mask_statistics.py runs/cifar10-cpu --rounds 4 9 --out masks
    python scripts/mask_statistics.py a.keras b.keras --start dense.keras --out masks  # tickets of one model

Measures what McDermott & Parhi (arXiv 2503.17905, sections 4 and 7) say of these masks: that they are nearly
independent, have extremely similar sparsity per layer, and prune weights of the same magnitudes at initialization.
Writes tables (CSV) and, from them alone, figures (PNG and PDF); trains nothing, seconds per ticket.
"""

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import MaskSettings


def main(settings: MaskSettings) -> None:
    import_keras()
    from kerasticket.cli.mask_table import show
    from kerasticket.experiments.jobs.masks import mask_statistics

    with Bars() as bars:
        out = mask_statistics(settings, bars)
    show(out)
    if not (out / "magnitudes.csv").exists():
        print("Initial magnitudes are not measured: pass --start, the ticket that pruning started from.")
    print(f"\nTables and figures: {out.resolve()}")


def run(arguments: list[str]) -> None:
    main(read(MaskSettings, arguments, __doc__))
