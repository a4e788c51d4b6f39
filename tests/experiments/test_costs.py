"""What is left of a run costs: by numbers made by hand, and measured on a small one."""

import dataclasses

import pytest
import small_runs

from kerasticket.experiments.costs import Estimate, estimate
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.job import Job
from kerasticket.experiments.records import Trained
from kerasticket.files.json_files import write_json

pytestmark = pytest.mark.same_on_every_backend


def search(kind: str, index: int, cost: float, seed: int = 0) -> Job:
    arguments = {"seed": seed, "kind": kind, "index": index}
    return Job(
        f"{seed} {kind} {index}", "search", arguments, (), (f"{index}/round.json", f"{index}/ticket.keras"), cost
    )


TRAINING = Job("train", "train", {"seed": 0, "kind": "imp"}, (), ("trained.keras", "history.csv", "result.json"), 50.0)
JOBS = [*(search("imp", index, 100.0) for index in (1, 2)), search("synthetic", 1, 40.0), TRAINING]


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [
        (1, 145.0),  # all 290 images, of half a second each
        (2, 100.0),  # the two rounds of IMP, one after the other, take longer than half of all
        (9, 100.0),
    ],
)
def test_workers_share_all_but_the_rounds_of_a_search(workers, seconds):
    assert Estimate(JOBS, 0.5, "", workers, 10).seconds == seconds


def test_searches_of_two_seeds_do_not_wait_for_each_other():
    jobs = [search("imp", 1, 100.0, seed) for seed in (0, 1)]
    assert Estimate(jobs, 0.5, "", 2, 10).seconds == 50.0


def test_disk_is_that_of_tickets_and_trained_networks():
    assert Estimate(JOBS, 0.5, "", 1, 10).bytes == 3 * 10 + 10


def test_nothing_left_costs_nothing():
    done = Estimate([], 0.5, "", 2, 10)
    assert (done.seconds, done.bytes) == (0.0, 0)


def test_a_machine_is_measured_by_a_training_then_by_those_that_are_finished(tmp_path):
    experiment = Experiment.load(small_runs.SMALL.replace(out=str(tmp_path / "run"), epochs=5))
    before = estimate(experiment, workers=2)
    assert before.measured == "a training of 200 images"  # five passes, in fewer steps than are measured at most
    assert 0 < before.seconds_per_image < 1
    assert [job.action for job in before.jobs] == ["start", "search", "train", "train", "train"]
    assert not (tmp_path / "run").exists()
    for order, seconds in ((1, 30.0), (2, 10.0), (3, 20.0)):
        row = Trained("dense", 0, 0, order, 0.0, 0.4, 0.9, 0.3, 0, 0, seconds)
        write_json(experiment.run.result(0, "dense", 0, order), dataclasses.asdict(row))
    after = estimate(experiment, workers=2)
    assert after.seconds_per_image == 20 / (5 * 40)  # the median
    assert (after.measured, after.workers) == ("3 finished trainings", 2)
    experiment.start_ticket(0).save(tmp_path / "ticket.keras")
    assert after.bytes_per_network == (tmp_path / "ticket.keras").stat().st_size
