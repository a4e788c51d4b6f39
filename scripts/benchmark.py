"""What masks, rewinds and `fit` cost, as ratios of medians measured in one process.

    python scripts/benchmark.py                        # all rows
    python scripts/benchmark.py --row masked_step --runs 9 --json benchmark.json

Runs alternate between the two sides of each ratio. A loaded machine is named in the output; do not trust
ratios from one.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping

from quiet import import_keras

SHAPE, CLASSES, BATCH = (32, 32, 3), 10, 64


def alternate(sides: Mapping[str, Callable[..., float]], runs: int) -> dict[str, float]:
    """Median seconds of each side; every side runs once untimed, then all take turns."""
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            seconds[name].append(side())
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def synthetic_images(count: int):
    """Random bytes as an image set; speed does not depend on what the images show."""
    import numpy as np

    import kerasticket as kt

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    names = tuple(str(label) for label in range(CLASSES))
    return kt.data.ImageSet(images, labels, names, "random bytes", (0.5,) * 3, (0.25,) * 3)


def network(width: int, masked: bool, recipe, data):
    """A compiled ConvNet-3, with or without masks (80% sparse), and its pipeline."""
    import numpy as np

    import kerasticket as kt

    model = kt.models.convnet(SHAPE, CLASSES, width=width, seed=0)
    if masked:
        model = kt.masked(model)
        rng = np.random.default_rng(0)
        kt.set_mask(model, {path: rng.random(m.shape) < 0.2 for path, m in kt.get_mask(model).items()})
    pipeline = recipe.pipeline(data, 0)
    recipe.compile(model, pipeline)
    return model, pipeline


def masked_step(runs: int, width: int) -> dict:
    """Training through `fit`: dense Keras model against the same model masked; paper's augmentation."""
    import kerasticket as kt

    data = synthetic_images(20 * BATCH)
    recipe = kt.training.Recipe(epochs=10, augmentation=kt.data.PAPER_CIFAR)
    sides = {}
    for name, masked in (("dense", False), ("masked", True)):
        model, pipeline = network(width, masked, recipe, data)
        sides[name] = lambda model=model, pipeline=pipeline: timed(
            lambda: model.fit(pipeline, epochs=1, verbose=0, shuffle=False)
        )
    seconds = alternate(sides, runs)
    rate = {f"{name}_images_per_second": len(data) / value for name, value in seconds.items()}
    return {"ratio": seconds["dense"] / seconds["masked"], "meaning": "masked speed / dense speed"} | rate


def prune_and_rewind(runs: int, width: int) -> dict:
    """Scores, mask, rewind and optimizer reset at the end of a round, against a round of the CPU profile."""
    import kerasticket as kt

    recipe = kt.training.Recipe(epochs=20, augmentation=kt.data.PAPER_CIFAR)
    data = synthetic_images(20 * BATCH)
    model, pipeline = network(width, True, recipe, data)
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=runs + 1, epochs_per_round=1)
    ends, epochs = [], []

    class Clock(kt.callbacks.IterativeMagnitudePruning):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            epochs.append(time.perf_counter() - self.begun)
            ends.append(timed(lambda: super(Clock, self).on_epoch_end(epoch, logs)))

    clock = Clock(rounds=runs + 1, epochs_per_round=1)
    model.fit(pipeline, epochs=imp.total_epochs, callbacks=[clock], shuffle=False, verbose=0)
    end, epoch = statistics.median(ends[1:]), statistics.median(epochs[1:])
    per_round = epoch / len(data) * 10_000 * 20  # 10,000 images, 20 epochs: the CPU profile
    return {"ratio": end / per_round, "meaning": "pruning and rewinding / round", "seconds": end, "round": per_round}


def distilled_round(runs: int, width: int) -> dict:
    """A round of 1,000 passes over 400 decoded images: `fit` with the callback against a bare loop of its step."""
    import kerasticket as kt

    data = synthetic_images(400)
    recipe = kt.training.Recipe(epochs=40, passes_per_epoch=20, augmentation=kt.data.PAPER_CIFAR)
    model, pipeline = network(width, True, recipe, data)
    steps = int(pipeline.cardinality()) * recipe.keras_epochs

    def through_fit() -> float:
        imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, epochs_per_round=recipe.keras_epochs)
        options = {"callbacks": [imp], "shuffle": False, "verbose": 0}
        return timed(lambda: model.fit(pipeline, epochs=imp.total_epochs, **options))

    through_fit()
    batch = next(iter(pipeline))
    bare = bare_loop(model, batch, steps)
    seconds = alternate({"fit": through_fit, "bare": bare}, runs)
    rates = {f"{name}_steps_per_second": steps / value for name, value in seconds.items()}
    return {"ratio": seconds["bare"] / seconds["fit"], "meaning": "fit speed / bare loop speed"} | rates


def bare_loop(model, batch, steps: int) -> Callable[[], float]:
    """The same compiled step on one resident, prepared batch: no data, no callbacks, no epochs."""
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise SystemExit("The row distilled_round compares with TensorFlow's compiled step; run it on tensorflow.")
    endless = iter(tf.data.Dataset.from_tensors(batch).repeat())
    step = model.make_train_function() or model.train_function

    def loop() -> float:
        return timed(lambda: [step(endless) for _ in range(steps)])

    return loop


ROWS = {"masked_step": masked_step, "prune_and_rewind": prune_and_rewind, "distilled_round": distilled_round}


def machine() -> dict:
    """What a reader needs to judge the numbers."""
    from kerasticket.runs import environment

    flags = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            flags = file.read()
    features = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return environment() | {"processor": platform.processor(), "features": features, "load_before": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=ROWS, action="append", help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="timed runs per side (medians of)")
    parser.add_argument("--width", type=int, default=32, help="filters of the ConvNet-3")
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    import_keras()
    about = machine()
    if about["load_before"] > 0.5:
        print(f"WARNING: the machine is loaded ({about['load_before']:.1f}): trust no ratio.", file=sys.stderr)
    results = {name: ROWS[name](options.runs, options.width) for name in options.row or ROWS}
    for name, row in results.items():
        values = "  ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float))
        print(f"{name:18} {values}   ({row['meaning']})")
    if options.json:
        from kerasticket.runs import write_json

        write_json(options.json, {"machine": about, "width": options.width, "runs": options.runs, "rows": results})


if __name__ == "__main__":
    main()
