"""What compacting gains: parameters, multiply-accumulates, file size and CPU latency before and after.

    python scripts/bench/compact_table.py                            # minutes; have the machine to yourself

A ConvNet-3 and a ResNet-18 for CIFAR-10, half of whose channels are pruned, and as unstructured tickets of 95%
sparsity. Masks are of magnitude at initialization and weights untrained: size and speed depend on neither.
"channels" prunes half of the inputs of each kernel but the first, every kernel on its own; a channel of a ResNet's
residual stream then goes only where all kernels that read it agree. "coupled_channels" prunes half of the channels of
the network, each in all kernels that make or read it.

Latency is the median over --runs calls of `predict_on_batch` (without XLA on TensorFlow, which on CPUs is slower), of
the dense network (plain, nothing pruned), the pruned one (stripped, so that zeros are multiplied) and the compact one
in turn, with quartiles beside it. Files are those of `model.save`, and of `kt.save_sparse`, which has no architecture.
--csv has a row per network, structure and form.
"""

import argparse
import dataclasses
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import door, program
from kerasticket.pruning.text_tables import short, table

ROOT = Path(__file__).parents[2]
BATCHES = (1, 64)
FORMS = ("dense", "pruned", "compact")
NETWORKS = ("convnet", "resnet18")
STRUCTURES = ("channels", "coupled_channels", "weights")


@dataclasses.dataclass(frozen=True)
class Row:
    """One network in one form; `zeros` is the share of kernel entries that are, milliseconds are of a whole batch."""

    network: str
    structure: str
    form: str
    zeros: float
    units: int
    parameters: int
    macs: int
    keras_bytes: int
    sparse_bytes: int
    milliseconds_1: float
    milliseconds_64: float
    quartiles_1: str
    quartiles_64: str


def main(flags: list[str] | None = None) -> None:
    arguments = parse(flags)
    import_keras()
    from kerasticket.files.rows import write_rows

    cases = itertools.product(arguments.networks, arguments.structures)
    rows = [row for network, structure in cases for row in of_case(network, structure, arguments)]
    write_rows([dataclasses.asdict(row) for row in rows], arguments.csv)
    print("\n".join(printed(rows)))


def parse(flags: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=101, help="calls of each form and batch")
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--width", type=int, default=0, help="of the networks; 0: their own")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--csv", type=Path, default=ROOT / "assets" / "results" / "compact.csv")
    arguments = parser.parse_args(flags)
    if arguments.runs < 1:
        parser.error(f"Expected --runs of at least 1. Received: {arguments.runs}.")
    return arguments


def of_case(network: str, structure: str, arguments: argparse.Namespace) -> list[Row]:
    """The rows of one network, dense, pruned and compact."""
    import kerasticket as kt

    width = {"width": arguments.width} if arguments.width else {}
    dense = kt.models.MODELS[network]((arguments.side, arguments.side, 3), 10, seed=0, **width)
    masked = kt.masked(dense)
    kt.set_mask(masked, pruned_mask(masked, structure))
    compacted = kt.compact(masked)
    forms = dict(zip(FORMS, (dense, kt.strip(masked), compacted.model), strict=True))
    units = dict(zip(FORMS, (compacted.units[0], *compacted.units), strict=True))
    macs = dict(zip(FORMS, (compacted.macs[0], *compacted.macs), strict=True))
    sizes = {form: file_sizes(model) for form, model in forms.items()}
    times = {batch: latencies(forms, batch, arguments.runs) for batch in BATCHES}
    rows = []
    for form, model in forms.items():
        (median_1, quartiles_1), (median_64, quartiles_64) = (spread(times[batch][form]) for batch in BATCHES)
        counted = (zeros(kt.get_params(model)), units[form], model.count_params(), macs[form], *sizes[form])
        rows.append(Row(network, structure, form, *counted, median_1, median_64, quartiles_1, quartiles_64))
    return rows


def zeros(params: dict) -> float:
    """Share of the entries of kernels that are zero."""
    kernels = [array for array in params.values() if array.ndim > 1]
    return sum(int((array == 0).sum()) for array in kernels) / sum(array.size for array in kernels)


def pruned_mask(model, structure: str) -> dict:
    """Magnitude: half of the groups of each kernel, half of the channels of the network, or 95% of all weights."""
    from kerasticket.pruning.allocation import Allocation
    from kerasticket.tickets.masking import get_mask, get_params

    mask, params = get_mask(model), get_params(model)
    scores = {path: abs(params[path]) for path in mask}
    if structure == "weights":
        return Allocation().to_sparsity(model, scores, mask, 0.95)
    pruned = Allocation("layer", structure).to_sparsity(model, scores, mask, 0.5)
    first = next(iter(mask))
    return pruned if structure == "coupled_channels" else pruned | {first: mask[first]}


def file_sizes(model) -> tuple[int, int]:
    """Bytes of the `.keras` file and of the sparse one."""
    import kerasticket as kt

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        kt.save_sparse(Path(folder) / "weights.npz", model)
        return (Path(folder) / "model.keras").stat().st_size, (Path(folder) / "weights.npz").stat().st_size


def latencies(models: dict[str, Any], batch: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each call; the models take turns, so that a busy moment meets all of them."""
    import keras
    import numpy as np

    x = np.random.default_rng(0).normal(size=(batch, *models["dense"].input_shape[1:])).astype("float32")
    for model in models.values():
        model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
        for _ in range(3):
            model.predict_on_batch(x)
    found: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(runs):
        for name, model in models.items():
            started = time.perf_counter()
            model.predict_on_batch(x)
            found[name].append(1000 * (time.perf_counter() - started))
    return found


def spread(milliseconds: list[float]) -> tuple[float, str]:
    """Median, and the quartiles as text."""
    low, median, high = (sorted(milliseconds)[round(share * (len(milliseconds) - 1))] for share in (0.25, 0.5, 0.75))
    return round(median, 3), f"{low:.3f}-{high:.3f}"


def printed(rows: list[Row]) -> list[str]:
    """The table."""
    heads = ("network", "structure", "form", "zeros", "units", "parameters", "MACs", ".keras", "sparse file")
    lines: list[tuple[str, ...]] = [(*heads, *(f"ms, batch {batch}" for batch in BATCHES))]
    for row in rows:
        counted = f"{row.zeros:.1%}", f"{row.units:,}", f"{row.parameters:,}", short(row.macs)
        sizes = f"{short(row.keras_bytes)}B", f"{short(row.sparse_bytes)}B"
        times = f"{row.milliseconds_1:.2f}", f"{row.milliseconds_64:.2f}"
        lines.append((row.network, row.structure, row.form, *counted, *sizes, *times))
    return table(lines)


if __name__ == "__main__":
    with door():
        main()
