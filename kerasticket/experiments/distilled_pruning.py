"""The study of the paper: find tickets of each kind, train them on real data, keep every result."""

from collections.abc import Callable
from typing import Any

import keras

from kerasticket.checks import check_choice
from kerasticket.experiments.config import Config
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.executors import EXECUTORS, execute
from kerasticket.experiments.images import own_images
from kerasticket.experiments.report import write_report
from kerasticket.experiments.run import Run
from kerasticket.experiments.study import PruningStudy, Settings
from kerasticket.models.own import name_of


def distilled_pruning(
    config: Config,
    *,
    train: Any = None,
    test: Any = None,
    distilled: Any = None,
    model: Callable[..., keras.Model] | None = None,
    executor: str = "inline",
    listener: Listener = ignore,
    **options: Any,
) -> Run:
    """Compares synthetic, IMP and random tickets at every sparsity (McDermott & Parhi, arXiv 2503.17905, Fig. 2).

    What is finished in `config.out` stays; the same call goes on where it was killed.

    Args:
        config: everything that is a number or a name; `Config()` is digits in minutes, `CONFIGS` has presets.
        train, test: one's own images, (images, labels) or (images, labels, class names) of arrays as
            `kerasticket.data.ImageSet.from_arrays` takes them, or image sets; None: `config.dataset`.
        distilled: a `kerasticket.data.DistilledSet`; None: the file `config.distilled`.
        model: a function that gives a built `keras.Model` with logits. It gets those of `input_shape`, `num_classes`,
            `seed` and `width` that its parameters name. None: `config.model`.
        executor: "inline", "processes" or "ray".
        listener: gets an `Event` for whatever happens.
        **options: of the executor, such as `workers=2` and `threads=1`.

    Returns:
        The run: its `folder` has results.csv and the figure, `kerasticket.experiments.results(folder)` gives a frame.

    Raises:
        ValueError: settings, data or a network that do not fit, before any work is done.
        FailedJobsError: some jobs ended in errors; all that need nothing of them are done.

    Example:
        >>> import kerasticket as kt
        >>> run = kt.experiments.distilled_pruning(kt.experiments.Config(out="runs/mine"))  # doctest: +SKIP
        >>> kt.experiments.results(run.folder).groupby(["kind", "round"]).accuracy.mean()  # doctest: +SKIP
    """
    if model is not None:
        config = config.replace(model=name_of(model))
    check_choice(executor, EXECUTORS, "--executor")
    study = PruningStudy.open(Settings(config, own_images(train, test, distilled), model))
    return finish(study, executor, listener, **options)


def finish(study: PruningStudy, executor: str = "inline", listener: Listener = ignore, **options: Any) -> Run:
    """Does what is left of an open study, and writes its table and figure."""
    experiment, run = study.experiment, study.experiment.run
    try:
        execute([study], executor, listener, **options)
    finally:
        if run.results():
            write_report(run, f"{experiment.train.source}, {experiment.config.model}")
    experiment.close()
    return run
