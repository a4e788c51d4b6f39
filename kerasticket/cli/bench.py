"""Speed and memory, measured side by side with plain PyTorch: `scripts/bench/benchmark.py` of a checkout."""

import importlib
import sys
from pathlib import Path

import kerasticket

CHECKOUT = Path(kerasticket.__file__).parents[1]


def run(arguments: list[str]) -> None:
    importlib.import_module(benchmark_of(CHECKOUT)).main(arguments)


def benchmark_of(checkout: Path) -> str:
    """The module of the benchmark, which can be imported from then on.

    Raises:
        ValueError: this package is installed without its checkout, and so without the peers that it is measured by.
    """
    script = checkout / "scripts" / "bench" / "benchmark.py"
    if not script.exists():
        raise ValueError(
            "Expected kerasticket to be installed from a checkout, whose scripts/bench has what it is measured by. "
            f"Received: the package in '{checkout}' alone. Take a checkout or the source archive of kerasticket and "
            "run `pip install -e .` in it."
        )
    sys.path.insert(0, str(script.parent))
    return script.stem
