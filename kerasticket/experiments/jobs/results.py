"""What is kept of a training: its history, the trained network, and a row of numbers."""

import dataclasses

from kerasticket import training
from kerasticket.experiments.config import SEARCHED
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.records import Trained
from kerasticket.files.json_files import write_json
from kerasticket.params import Params
from kerasticket.pruning.round import Round
from kerasticket.tickets.ticket import Ticket


def keep(
    experiment: Experiment,
    seed: int,
    kind: str,
    ticket: Ticket,
    data_order: int,
    record: Round,
    trained: Params,
    history: training.History,
) -> None:
    """Writes history, trained network, then the result; the result's presence says that all are whole."""
    stored, decoded = images_used(experiment, kind, record.index)
    result = Trained(
        kind=kind,
        round=record.index,
        init_seed=seed,
        data_order=data_order,
        sparsity=record.sparsity,
        loss=record.evaluation["loss"],
        accuracy=record.evaluation["accuracy"],
        train_loss=record.loss,
        stored=stored,
        decoded=decoded,
        seconds=record.seconds,
    )
    folder = experiment.run.order(seed, kind, record.index, data_order)
    if experiment.config.keep_trained:
        ticket.save_trained(folder / "trained.keras", trained)
    history.save(folder / "history.csv")
    write_json(experiment.run.result(seed, kind, record.index, data_order), dataclasses.asdict(result))


def images_used(experiment: Experiment, kind: str, rounds: int) -> tuple[int, int]:
    """Images that finding a ticket has used: stored x epochs x rounds, and the same after decoding.

    Of searches that begin with --start, without what that ticket has used.
    """
    if kind not in SEARCHED:
        return 0, 0
    config, trainings = experiment.config, rounds - experiment.first_round
    if kind == "synthetic":
        assert experiment.distilled is not None
        stored = len(experiment.distilled.images) * config.distilled_epochs * trainings
        return stored, stored * experiment.distilled.factor**2
    before = experiment.start.rewind_epoch if experiment.start else 0
    saved = before + config.rewind_epoch * (trainings - 1) if trainings else 0
    images = len(experiment.train) * (config.epochs * trainings - saved)
    return images, images


def line(seed: int, kind: str, index: int, sparsity: float, evaluation: dict[str, float], seconds: float) -> str:
    """A training in one line, for a reader."""
    return (
        f"seed {seed}  {kind:16} round {index:2}  sparsity {sparsity:6.2%}  "
        f"test accuracy {evaluation['accuracy']:6.2%}  {seconds:6.1f} s"
    )
