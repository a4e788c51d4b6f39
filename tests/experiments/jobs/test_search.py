"""One round of a search: what it leaves of both kinds, and that a round of IMP is a training of the ticket before."""

import numpy as np
import pytest
from tiny_experiments import do, left, tiny

import kerasticket as kt
from kerasticket.experiments.jobs.tickets import kept_after
from kerasticket.files.json_files import read_json
from kerasticket.models import saved

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Two rounds of IMP and one of a synthetic search; the events."""
    kinds = ("imp", "synthetic")
    made = tiny(tmp_path_factory.mktemp("search"), kinds=kinds, rounds=2, epochs=2, distilled_epochs=3)
    events = []
    names = ("start", "imp  search 1", "imp  search 2", "synthetic  search 1")
    do(made, *(f"seed 0  {name}" for name in names), listener=events.append)
    return made, events


def test_the_largest_weights_after_training_are_kept_at_their_initial_values(searched):
    run = searched[0].run
    dense, found = (kt.Ticket.load(run.ticket(0, *of)) for of in (("dense", 0), ("imp", 1)))
    trained = kt.get_params(saved.load(run.order(0, "dense", 0, 1) / "trained.keras"))
    sizes = np.sort(np.concatenate([abs(trained[path]).ravel() for path in dense.mask]))
    assert found.kept == kept_after(1, dense.total, 0.2) == dense.total - round(0.2 * dense.total)
    for path, mask in found.mask.items():
        np.testing.assert_array_equal(mask, abs(trained[path]) >= sizes[-found.kept])
        np.testing.assert_array_equal(found.params[path], np.where(mask, dense.params[path], 0))


def test_rounds_of_imp_are_kept_as_trainings_of_the_ticket_before(searched):
    run = searched[0].run
    rows = {(row["kind"], row["round"]): row for row in run.results()}
    assert set(rows) == {("dense", 0), ("imp", 1)}
    assert rows["dense", 0]["stored"] == 0
    assert rows["imp", 1]["stored"] == 2 * 40
    for index in (0, 1):
        record, of = read_json(run.record(0, "imp", index)), ("imp", 1) if index else ("dense", 0)
        assert record["evaluation"]["accuracy"] == rows[of]["accuracy"]
        assert record["sparsity"] == rows[of]["sparsity"] == kt.Ticket.load(run.ticket(0, *of)).sparsity


def test_a_synthetic_round_trains_no_network_that_is_kept(searched):
    run = searched[0].run
    assert not list(run.folder.glob("seed_0/synthetic/round_*/order_*"))
    history = (run.round(0, "synthetic", 0) / "history.csv").read_text().splitlines()
    assert int(history[-1].split(",")[1]) == 3  # passes
    assert kt.Ticket.load(run.ticket(0, "synthetic", 1)).stages[-1]["name"] == "synthetic"


def test_progress_adds_up_to_the_cost_of_the_jobs(searched):
    _, events = searched
    for name, cost in (("imp  search 1", 2 * 40), ("synthetic  search 1", 3 * 40)):
        told = [event for event in events if event.job == f"seed 0  {name}"]
        assert sum(event.amount for event in told if event.kind == "advance") == pytest.approx(cost)
        assert [event.kind for event in told][-1] == "note"


def test_a_result_that_is_there_is_not_written_again(searched):
    """A search that is done again for its ticket leaves the trainings as they are."""
    experiment, _ = searched
    run = experiment.run
    before = run.ticket(0, "imp", 2).read_bytes()
    run.ticket(0, "imp", 2).unlink()
    result = run.result(0, "imp", 1, 1)
    time = result.stat().st_mtime_ns
    assert next(iter(left(experiment))) == "seed 0  imp  search 2"
    do(experiment, "seed 0  imp  search 2")
    assert result.stat().st_mtime_ns == time
    assert run.ticket(0, "imp", 2).read_bytes() == before
