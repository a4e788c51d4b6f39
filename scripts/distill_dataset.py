"""Distils a data set and measures the result beside real images and the images that the method began with.

    python scripts/distill_dataset.py                                    # IDC, digits, 10 images per class
    python scripts/distill_dataset.py --method dm --iterations 1000      # by distribution matching (DM)
    python scripts/distill_dataset.py --ipc 1                            # digits, 1 image per class
    python scripts/distill_dataset.py --preset cifar10-quick             # CIFAR-10 on two cores in 20 minutes

Writes one HDF5 file with settings, seeds and measured accuracies in its attributes, and a preview picture.
"""

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path

from quiet import import_keras


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides the distilled set; every field is a flag."""

    dataset: str = "digits"
    """Name for kerasticket.data.load, or folder:PATH."""
    out: str = "assets/distilled/digits_ipc{ipc}.h5"
    """File to write; {ipc} is filled in."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    method: str = "idc"
    """idc (gradient matching) or dm (distribution matching)."""
    ipc: int = 10
    """Stored images per class."""
    factor: int = 2
    """Multi-formation: a stored image decodes into factor x factor images."""
    initialisation: str = "mix"
    """What the images begin with: mix (small real images in the cells), random (real images), noise."""
    resize: str = "area"
    """How the starting images are shrunk: nearest (IDC), area, bilinear."""
    distance: str = "l1"
    """Between gradients: mse (IDC on CIFAR), l1 (IDC on MNIST). Not of dm."""
    networks: int = 20
    """Fresh networks to match on, one after the other. Not of dm, which takes one per iteration."""
    iterations: int = 25
    """Matching steps: per network (idc), in all (dm)."""
    learning_rate: float = 0.0003
    """Of the images (idc); per image of a class, so it is not rescaled with ipc."""
    dm_learning_rate: float = 1.0
    """Of the images (dm), in normalised pixels."""
    real_batch: int = 64
    """Real images per class and matching step."""
    net_images: int = 512
    """Real images that the network is trained on per matching step. Not of dm."""
    width: int = 32
    """Filters of the ConvNet-3 that matches."""
    augmentation: str = "digits"
    """Of the networks' training: digits (no mirror, no CutMix; no cutout in matching either) or paper-cifar."""
    seed: int = 0
    nets: int = 5
    """Fresh networks per measured accuracy."""
    test_width: int = 32
    """Filters of the ConvNet-3 that tests."""
    test_epochs: int = 300
    """Passes over the decoded set per test network."""
    test_learning_rate: float = 0.01


PRESETS = {
    "digits": Config(),
    "cifar10-quick": Config(
        dataset="cifar10",
        out="runs/distilled/cifar10_ipc{ipc}.h5",
        resize="nearest",
        distance="mse",
        networks=20,
        iterations=40,
        learning_rate=0.05,
        real_batch=32,
        net_images=256,
        augmentation="paper-cifar",
        nets=3,
        test_epochs=100,
    ),
}


def parse(arguments: list[str]) -> Config:
    """`--preset NAME`, then any field as a flag."""
    import tyro

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--preset", default="digits", choices=PRESETS)
    known, rest = first.parse_known_args(arguments)
    heading = f"{__doc__}\nPresets (--preset NAME, default digits): {', '.join(PRESETS)}.\n"
    config = tyro.cli(Config, default=PRESETS[known.preset], args=rest, description=heading)
    if config.method not in ("idc", "dm"):
        raise ValueError(f"Expected --method idc or dm. Received: '{config.method}'.")
    if config.augmentation not in ("digits", "paper-cifar"):
        raise ValueError(f"Expected --augmentation digits or paper-cifar. Received: '{config.augmentation}'.")
    if config.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {config.nets}.")
    return config


def main(config: Config, command: str) -> None:
    import_keras()
    import kerasticket as kt
    from kerasticket.runs import atomic, check_writable

    path = Path(config.out.format(ipc=config.ipc))
    check_writable(path.parent)
    train = kt.data.load(config.dataset, "train", data_dir=config.data_dir)
    test = kt.data.load(config.dataset, "test", data_dir=config.data_dir)
    test_recipe(config)  # refuses bad values before the work
    started = time.perf_counter()
    distilled = distil(config, train)
    minutes = (time.perf_counter() - started) / 60
    settings = distilled.settings | {"minutes": round(minutes, 1), "cores": os.cpu_count()}
    distilled = dataclasses.replace(distilled, settings=settings, command=command)
    distilled.save(path)  # the work is safe; the measured accuracies follow
    dataclasses.replace(distilled, accuracy=measure(config, train, test, distilled)).save(path)
    from kerasticket import figures

    with atomic(path.with_suffix(".png")) as temporary:
        figures.image_grid(distilled.images, columns=config.ipc if config.ipc > 1 else 10).savefig(temporary, dpi=150)
    print(f"{minutes:.1f} minutes of distillation; set in {path}, preview in {path.with_suffix('.png')}")


def method(config: Config):
    """The distillation method that a configuration describes."""
    import kerasticket as kt

    without_cutout = kt.data.Augmentation(colour=True, one_of=("crop",), siamese=True)
    shared = ("factor", "initialisation", "resize", "iterations", "real_batch", "width")
    options = {name: getattr(config, name) for name in shared}
    options["matching"] = without_cutout if config.augmentation == "digits" else kt.data.MATCHING
    if config.method == "dm":
        options["learning_rate"] = config.dm_learning_rate
    else:
        options |= {name: getattr(config, name) for name in ("networks", "distance", "net_images", "learning_rate")}
        options["training"] = kt.data.RECIPES[config.augmentation]
    return kt.distillation.METHODS[config.method](**options)


def distil(config: Config, train):
    """Runs the method with a progress bar."""
    from progress import Progress

    total, step = (config.networks, "network") if config.method == "idc" else (config.iterations, "iteration")
    bar = Progress(total=total)
    with bar:
        return method(config).distill(
            train,
            ipc=config.ipc,
            seed=config.seed,
            progress=lambda done, images, loss: bar.advance(1, f"{step} {done}/{total}  loss {loss:.4g}"),
        )


def test_recipe(config: Config):
    """The training of the networks that measure a set."""
    import kerasticket as kt

    return kt.training.Recipe(
        epochs=config.test_epochs,
        learning_rate=config.test_learning_rate,
        augmentation=kt.data.RECIPES[config.augmentation],
        passes_per_epoch=config.test_epochs,
    )


def measure(config: Config, train, test, distilled) -> dict[str, dict]:
    """Accuracy of fresh networks trained on the set, on the images it began with, and on random real images."""
    import kerasticket as kt

    sets = {
        "distilled": distilled,
        config.initialisation: method(config).start(train, config.ipc, config.seed),
        "random_real": kt.data.random_real(train, config.ipc, config.seed),
    }
    measured = {}
    for name, images in sets.items():
        accuracy = kt.distillation.evaluate(
            images,
            test,
            build=lambda seed: kt.models.convnet(
                train.input_shape, train.num_classes, width=config.test_width, seed=seed
            ),
            recipe=test_recipe(config),
            seeds=range(config.nets),
        )
        print(f"{name:12} {accuracy}", flush=True)
        measured[name] = {"mean": accuracy.mean, "std": accuracy.std, "accuracies": accuracy.accuracies}
        measured[name] |= {"net": f"convnet w{config.test_width}", "epochs": config.test_epochs}
    return measured


if __name__ == "__main__":
    try:
        main(parse(sys.argv[1:]), command=" ".join(["python", *sys.argv]))
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
