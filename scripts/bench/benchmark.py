"""Speed and memory, measured side by side: this library, plain PyTorch, and what the machine could do.

    python scripts/bench/benchmark.py                                   # all rows, up to 5 minutes each
    python scripts/bench/benchmark.py --row convnet_w32 --runs 9 --json assets/results/benchmark.json
    KERAS_BACKEND=jax python scripts/bench/benchmark.py --row convnet_w32                    # the library on JAX

Every side of a row is a process of its own (`benchmark_sides.py`); they take turns, and what is reported are
ratios of median speeds. The peers (`peers.py`) do the same work in plain PyTorch, on the GPU if
there is one and on all cores if not, with the same batches and augmentation; without torch they are skipped. A row
is not begun while the machine is loaded. On a GPU the trainings are longer, as their steps are short.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import computes_in_bfloat16, gpu, machine, refuse_if_loaded

from kerasticket.cli.door import door, program
from kerasticket.experiments.executors.threads import environment_of

SCRIPTS = Path(__file__).parent
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")  # of this library's sides, where a row names no other
# What "the best PyTorch configuration" is the fastest of; "compile" needs a C++ compiler, "graphs" (CUDA's) a GPU.
PYTORCH = (
    *("channels_last", "compile", "channels_last compile", "graphs"),
    *("bfloat16", "bfloat16 compile", "bfloat16 channels_last compile", "bfloat16 graphs"),
)
TENSORFLOW_ALONE = ("bare_loop", "convolutions", "convolution")

# Pixels a side and channels of single convolutions: from one that takes Keras' own form to ones far from it.
SIZES = ((32, 32), (16, 64), (8, 128), (16, 128), (8, 256), (4, 512))
# Images in an inner iteration of IDC: of each class, and for the network's training.
MATCHED_REAL, MATCHED_DECODED, TRAINED = 64, 40, 31 * 64

Side = tuple[str, dict[str, Any]]  # a name in benchmark_sides.SIDES and its arguments
Row = tuple[str, dict[str, Side], dict[str, tuple[str, str]], int]
"""What it is; sides by name; ratios as (side, than side); images in a run, 0 where speed is not what is measured.

In a ratio "*float" is the faster of float32 and bfloat16, "*pytorch" the fastest of PyTorch's.
"""


def against_pytorch(net: str, width: int, images: int, passes: int) -> Row:
    size = {"net": net, "width": width, "images": images, "passes": passes}
    sides: dict[str, Side] = {
        "float32": ("through_fit", size),
        "bfloat16": ("through_fit", size | {"policy": "mixed_bfloat16"}),
        "plain": ("through_fit", size | {"fused": "never"}),
        "pytorch": ("pytorch", size),
    }
    sides |= {f"pytorch {options}": ("pytorch", size | {"options": options}) for options in PYTORCH}
    ratios = {
        "float32 / PyTorch float32": ("float32", "pytorch"),
        "bfloat16 / PyTorch float32": ("bfloat16", "pytorch"),
        "faster of the two / best PyTorch": ("*float", "*pytorch"),
        "with / without fused operations, 20 steps at once": ("float32", "plain"),
    }
    return f"training steps through fit, {net} of width {width}, batch 64", sides, ratios, images * passes


def masking(net: str, width: int, images: int, passes: int) -> Row:
    """A training so long that what a `fit` with the callback does once, 0.1 s, vanishes in it as it does in use."""
    size = {"net": net, "width": width, "images": images, "passes": passes}
    sides: dict[str, Side] = {"masked": ("through_fit", size), "dense": ("through_fit", size | {"masked": False})}
    about = f"training steps through fit, with masks and the IMP callback and without, {net} of width {width}, float32"
    return about, sides, {"masked / dense": ("masked", "dense")}, images * passes


def distilled_round() -> Row:
    size = {"net": "convnet", "width": 32, "images": 320, "passes": 40, "distilled": True}
    sides: dict[str, Side] = {
        "fit": ("through_fit", size),
        "bare loop": ("bare_loop", {"net": "convnet", "width": 32, "steps": 200}),
    }
    return "a distilled round of 320 decoded images, width 32", sides, {"fit / bare loop": ("fit", "bare loop")}, 12_800


def pipeline() -> Row:
    """Real images in one long epoch; a distilled set in short ones, where what an epoch costs shows."""
    sides: dict[str, Side] = {}
    ratios = {}
    for name, size in (
        ("real", {"images": 2560, "passes": 4}),
        ("distilled", {"images": 320, "passes": 4, "distilled": True}),
    ):
        epochs = 10_240 // (size["images"] * size["passes"])
        sides[f"{name}, alone"] = ("batches_alone", size | {"epochs": epochs})
        sides[f"{name}, graph"] = ("batches_alone", size | {"epochs": epochs, "graph": True})
        fit = {"net": "convnet", "width": 32} | size | {"passes": size["passes"] * epochs}
        sides[f"{name}, fit"] = ("through_fit", fit)
        ratios[f"pipeline alone / fit, {name}"] = (f"{name}, alone", f"{name}, fit")
        ratios[f"pipeline / in tf.data's own graph, {name}"] = (f"{name}, alone", f"{name}, graph")
    return "batches with the paper's augmentation alone, and in fit, width 32", sides, ratios, 10_240


def backends() -> Row:
    passes = 40 if gpu() else 6
    size = {"net": "convnet", "width": 32, "images": 640, "passes": passes}
    sides: dict[str, Side] = {
        "jax": ("through_fit", size | {"backend": "jax"}),
        "plain JAX": ("jax_loop", {"net": "convnet", "width": 32, "steps": 10 * passes, "backend": "jax"}),
        "torch": ("through_fit", size | {"backend": "torch"}),
        "torch, plain norms": ("through_fit", size | {"backend": "torch", "fused": "never"}),
        "pytorch": ("pytorch", size),
    }
    ratios = {
        "fit / jitted loop, JAX": ("jax", "plain JAX"),
        "fit / plain loop, PyTorch": ("torch", "pytorch"),
        "with / without fused operations, torch": ("torch", "torch, plain norms"),
    }
    return "training steps through fit on the other backends, width 32", sides, ratios, 640 * passes


def roofline() -> Row:
    sides: dict[str, Side] = {}
    ratios = {}
    for name, policy in (("float32", "float32"), ("bfloat16", "mixed_bfloat16")):
        size = {"net": "convnet", "width": 128, "images": 640, "passes": 2, "policy": policy}
        sides[name] = ("through_fit", size)
        sides[f"{name} convolutions"] = ("convolutions", {"width": 128, "steps": 20, "policy": policy})
        ratios[f"{name} step / its convolutions alone"] = (name, f"{name} convolutions")
    return "share of the convolutions' own speed, width 128", sides, ratios, 1280


def winograd() -> Row:
    sides: dict[str, Side] = {}
    ratios = {}
    for side, channels in SIZES:
        size, name = {"side": side, "channels": channels, "steps": 50}, f"{channels} channels, {side}x{side}"
        for form in ("winograd", "plain"):
            sides[f"{name}, {form}"] = ("convolution", size | {"form": form})
        ratios[f"Winograd / oneDNN, {name}"] = (f"{name}, winograd", f"{name}, plain")
    return "3x3 convolutions with their gradients, 64 images, float32", sides, ratios, 50 * 64


def hessian() -> Row:
    size = {"width": 32, "coordinates": 100}
    sides: dict[str, Side] = {
        "Taylor mode": ("taylor_diagonal", size),
        "products": ("diagonal_by_products", size),
        "pytorch": ("pytorch_diagonal", size),
    }
    ratios = {
        "Taylor mode / products one by one": ("Taylor mode", "products"),
        "Taylor mode / PyTorch, a backward pass each": ("Taylor mode", "pytorch"),
    }
    return "100 entries of the Hessian's diagonal, ConvNet-3 of width 32, 64 images", sides, ratios, 6400


def path() -> Row:
    size = {"width": 32, "images": 1000, "points": 11}
    sides: dict[str, Side] = {
        "path": ("along_path", size),
        "plane": ("over_plane", size),
        "evaluate": ("keras_evaluate", size),
    }
    ratios = {"path / evaluate": ("path", "evaluate"), "plane / evaluate": ("plane", "evaluate")}
    return "11 points of a linear path or a plane, ConvNet-3 of width 32, 1,000 images", sides, ratios, 11_000


def idc() -> Row:
    size = {"width": 128, "ipc": 10}
    sides: dict[str, Side] = {
        "float32": ("matching", size),
        "bfloat16": ("matching", size | {"policy": "mixed_bfloat16"}),
        "pytorch": ("pytorch_matching", size),
    }
    ratios = {
        "float32 / PyTorch float32": ("float32", "pytorch"),
        "bfloat16 / PyTorch float32": ("bfloat16", "pytorch"),
    }
    images = 10 * (MATCHED_REAL + MATCHED_DECODED) + TRAINED
    return "inner iteration of IDC, CIFAR-10 at 10 images per class, factor 2, width 128", sides, ratios, images


def idc_flop() -> float:
    """Of that iteration's convolutions: 3 forward passes' worth for a gradient, 9 where it is differentiated again."""
    return convnet_flop(128) * (10 * (3 * MATCHED_REAL + 9 * MATCHED_DECODED) + 3 * TRAINED)


def convnet_flop(width: int) -> float:
    """Multiplications and additions in the convolutions of ConvNet-3 for one image of 32 x 32 x 3."""
    return sum(2 * 9 * channels * width * side**2 for side, channels in ((32, 3), (16, width), (8, width)))


def memory() -> Row:
    cpu = {"net": "convnet", "width": 32, "images": 10_000, "passes": 1}
    full = {"net": "convnet", "width": 128, "images": 50_000, "passes": 1, "policy": "mixed_bfloat16"}
    sides: dict[str, Side] = {"cifar10-cpu": ("through_fit", cpu), "full set, width 128": ("through_fit", full)}
    return "peak resident memory of an epoch", sides, {}, 0


def study() -> Row:
    """Ten trainings and a search; trainings per hour are ten times what is told as speed."""
    size = {"images_per_class": 200, "epochs": 8, "width": 32}
    sides: dict[str, Side] = {
        "inline": ("study", size | {"executor": "inline", "threads": 2}),
        "processes": ("study", size | {"executor": "processes", "threads": 1}),
    }
    peer = {"net": "convnet", "width": 32, "images": 2000, "passes": 8, "trainings": 10}
    for options in ("", *PYTORCH):
        sides[f"pytorch {options}".strip()] = ("pytorch_pair", peer | {"options": options})
    ratios = {
        "two processes of one thread / one of two": ("processes", "inline"),
        "two processes / best PyTorch, two at a time, without a search": ("processes", "*pytorch"),
    }
    about = "ten trainings and a search of the CIFAR-10 CPU profile (200 images per class, 8 epochs), with starting"
    return about, sides, ratios, 10 * 2000 * 8


ROWS = {
    "convnet_w128": lambda: against_pytorch("convnet", 128, 640, 40 if gpu() else 4),
    "convnet_w32": lambda: against_pytorch("convnet", 32, 2560, 10 if gpu() else 4),
    "resnet18": lambda: against_pytorch("resnet18", 32, 640, 20 if gpu() else 3),
    "masking_w128": lambda: masking("convnet", 128, 640, 40 if gpu() else 10),
    "masking_w32": lambda: masking("convnet", 32, 2560, 12),
    "masking_resnet18": lambda: masking("resnet18", 32, 640, 5),
    "distilled_round": distilled_round,
    "pipeline": pipeline,
    "backends": backends,
    "roofline": roofline,
    "winograd": winograd,
    "idc": idc,
    "hessian": hessian,
    "path": path,
    "memory": memory,
    "study": study,
}
ONCE = ("memory", "study")  # each run is a start, so that nothing is warm before
FLOP = {"idc": idc_flop}  # of a run, where the arithmetic is known


class Process:
    """A side at work in its own process."""

    def __init__(self, side: Side) -> None:
        name, arguments = side[0], dict(side[1])
        environment = os.environ | {"KERAS_BACKEND": arguments.pop("backend", BACKEND)}
        if threads := arguments.pop("threads", None):
            environment |= environment_of(threads)
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the sides share the GPU's memory
        command = [sys.executable, str(SCRIPTS / "benchmark_sides.py"), name, json.dumps(arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment,
        )  # fmt: skip

    def run(self) -> dict[str, float]:
        """Does the work once; raises RuntimeError if the process has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print("run", file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise RuntimeError(f"The side died: {self.process.args!r}. Run that command by hand.") from error

    def end(self) -> None:
        self.process.communicate()


def measure(
    sides: Mapping[str, Side], runs: int, warm: int, died: dict[str, str] | None = None
) -> dict[str, dict[str, float]]:
    """Median seconds and peak memory of each side: all compile at once, warm up one by one, then take turns.

    A side whose first run fails is noted in `died` and left out; without `died` it raises RuntimeError.
    """
    processes = {name: Process(side) for name, side in sides.items()}
    try:
        with ThreadPoolExecutor() as compiling:
            first_runs = {name: compiling.submit(process.run) for name, process in processes.items() if warm}
        for name, first in first_runs.items():
            if died is not None and first.exception() is not None:
                died[name] = str(first.exception())
                processes.pop(name).end()
            else:
                first.result()
        for process in processes.values():
            for _ in range(warm - 1):
                process.run()
        results: dict[str, list[dict[str, float]]] = {name: [] for name in processes}
        turns, rng = list(processes), random.Random(0)
        for _ in range(runs):
            # Who came before matters: its threads spin on, and the cores keep their clock for a while.
            rng.shuffle(turns)
            for name in turns:
                results[name].append(processes[name].run())
    finally:
        for process in processes.values():
            process.end()
    return {
        name: {
            "seconds": statistics.median(run["seconds"] for run in each),
            "fastest": min(run["seconds"] for run in each),
            "slowest": max(run["seconds"] for run in each),
            "peak_gib": each[-1]["peak_gib"],
        }
        for name, each in results.items()
    }


def measured_row(name: str, runs: int, loaded: bool = False) -> dict[str, Any]:
    """Sides, speeds and ratios of one row, as JSON."""
    about = machine()
    if not loaded:
        refuse_if_loaded(about["load_before"])
    meaning, sides, ratios, images = ROWS[name]()
    sides, skipped = available(sides)
    measured = measure(sides, 1 if name == "memory" else runs, 0 if name in ONCE else 3, died=skipped)
    row: dict[str, Any] = {"meaning": meaning, "sides": measured, "skipped": skipped, "ratios": {}, "machine": about}
    for label, pair in ratios.items():
        ours, theirs = (fastest(measured, side) for side in pair)
        if ours and theirs:
            row["ratios"][label] = theirs / ours
    for side in measured.values() if images else ():
        side["images_per_second"] = images / side["seconds"]
    for side in measured.values() if name in FLOP else ():
        side["gflop_per_second"] = FLOP[name]() / side["seconds"] / 1e9
    return row


def fastest(measured: Mapping[str, Mapping[str, float]], side: str) -> float | None:
    """Seconds of a side; "*float" and "*pytorch" are the fastest of several."""
    groups = {"*float": [name for name in measured if name in ("float32", "bfloat16")]}
    groups["*pytorch"] = [name for name in measured if name.startswith("pytorch")]
    names = [name for name in groups.get(side, [side]) if name in measured]
    return min((measured[name]["seconds"] for name in names), default=None)


def available(sides: dict[str, Side]) -> tuple[dict[str, Side], dict[str, str]]:
    """The sides that can run here, and why the others cannot."""
    reasons = {}
    for name, (kind, arguments) in sides.items():
        module = "torch" if kind.startswith("pytorch") else arguments.get("backend", BACKEND)
        if importlib.util.find_spec(module) is None:
            reasons[name] = f"{module} is not installed"
        elif kind in TENSORFLOW_ALONE and module != "tensorflow":
            reasons[name] = "written for TensorFlow"
        elif "graphs" in arguments.get("options", "") and gpu() is None:
            reasons[name] = "CUDA graphs need a GPU"
        elif "compile" in arguments.get("options", "") and not (shutil.which("c++") or shutil.which("g++")):
            reasons[name] = "torch.compile needs a C++ compiler"
        elif "bfloat16" in arguments.get("policy", "") + arguments.get("options", "") and not computes_in_bfloat16():
            reasons[name] = "bfloat16 is emulated here, ten times slower"
    return {name: side for name, side in sides.items() if name not in reasons}, reasons


def start_seconds(runs: int) -> float:
    """Median seconds of `distilled_pruning.py --help`."""
    command = [sys.executable, str(SCRIPTS.parent / "distilled_pruning.py"), "--help"]
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def report(name: str, row: Mapping[str, Any]) -> None:
    print(f"\n{name}: {row['meaning']}")
    for side, values in row["sides"].items():
        speed = f"{values['images_per_second']:8.0f} images/s" if "images_per_second" in values else " " * 17
        speed += f"   {values['seconds']:7.3f} s"
        spread = f"({values['fastest']:.3f} to {values['slowest']:.3f})"
        flop = f"   {values['gflop_per_second']:.0f} GFLOP/s" if "gflop_per_second" in values else ""
        print(f"  {side:32} {speed} {spread}   peak {values['peak_gib']:.2f} GiB{flop}")
    for side, reason in row["skipped"].items():
        print(f"  {side:32} skipped: {reason}")
    for label, ratio in row["ratios"].items():
        print(f"  {label:40} {ratio:.2f}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--row", choices=ROWS, action="append", help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (medians of)")
    parser.add_argument("--json", help="file for the results; rows in it that are not measured now stay")
    parser.add_argument("--loaded", action="store_true", help="measure even if the machine is not idle")
    options = parser.parse_args(arguments)
    from kerasticket.files.json_files import write_json

    about = machine()
    told = ("tensorflow", "keras", "jax", "torch", "threads", "features", "gpu")
    print(", ".join(f"{key} {about[key]}" for key in told if about.get(key)))
    start = start_seconds(options.runs)
    print(f"distilled_pruning.py --help starts and ends in {start:.2f} s")
    rows: dict[str, Any] = {}
    if options.json and os.path.exists(options.json):
        rows = json.loads(Path(options.json).read_text())["rows"]
    for name in options.row or ROWS:
        rows[name] = measured_row(name, options.runs, options.loaded) | {"runs": options.runs}
        report(name, rows[name])
        if options.json:
            write_json(options.json, {"help_seconds": start, "rows": dict(sorted(rows.items()))})
    if options.json:
        print(f"Results: {options.json}")


if __name__ == "__main__":
    with door():
        main()
