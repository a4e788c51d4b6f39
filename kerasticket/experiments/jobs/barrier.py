"""The error barrier between two trainings of a ticket that differ in data order alone."""

from kerasticket.analysis import Objective, linear_path
from kerasticket.experiments.events import Listener
from kerasticket.experiments.experiment import Experiment
from kerasticket.files.json_files import write_json
from kerasticket.models import saved
from kerasticket.tickets.masking import get_params

ALPHAS = 5  # points on the line; the paper has 11


def barrier(
    experiment: Experiment, listener: Listener, *, seed: int, kind: str, index: int, first: int, second: int
) -> None:
    """How much the loss, and the error, rise between two trained networks (Frankle et al. 2020, section 2).

    Writes the largest and the midpoint barrier of the test loss, in nats, and that of the error, in shares of 1.
    """
    run = experiment.run
    a, b = (get_params(saved.load(run.order(seed, kind, index, order) / "trained.keras")) for order in (first, second))
    model = experiment.model("imp")
    curve = linear_path(model, a, b, Objective(model, experiment.test), alphas=ALPHAS)
    write_json(
        run.barrier(seed, kind, index, first, second),
        {
            "kind": kind,
            "round": index,
            "init_seed": seed,
            "first_order": first,
            "second_order": second,
            "barrier": float(curve.barrier),
            "midpoint_barrier": float(curve.midpoint_barrier),
            "error_barrier": float(curve.error_barrier),
        },
    )
