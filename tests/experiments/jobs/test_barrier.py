"""The barrier of two trainings is that of the line between the networks on disk."""

import pytest
from tiny_experiments import do, tiny

import kerasticket as kt
from kerasticket.experiments.events import ignore
from kerasticket.experiments.jobs.barrier import ALPHAS, barrier
from kerasticket.files.json_files import read_json
from kerasticket.models import saved

pytestmark = pytest.mark.same_on_every_backend

WHICH = {"seed": 0, "kind": "dense", "index": 0}
LAST = "logits/kernel"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """With a trained network and the same one with its units in reverse: as good, and far away."""
    made = tiny(tmp_path_factory.mktemp("barrier"), images_per_class=None, epochs=2)
    do(made, "seed 0  start", "seed 0  dense  round 0  order 2")
    ticket = made.start_ticket(0)
    trained = kt.get_params(saved.load(made.run.order(**WHICH, data_order=2) / "trained.keras"))
    into, bias, out = "hidden_1/kernel", "hidden_1/bias", "hidden_2/kernel"
    turned = {into: trained[into][:, ::-1], bias: trained[bias][::-1], out: trained[out][::-1]}
    ticket.save_trained(made.run.order(**WHICH, data_order=1) / "trained.keras", trained | turned)
    ticket.save_trained(made.run.order(**WHICH, data_order=3) / "trained.keras", trained | {LAST: -trained[LAST]})
    return made


def test_heights_are_those_of_the_line_on_the_test_images(experiment):
    barrier(experiment, ignore, **WHICH, first=1, second=2)
    found = read_json(experiment.run.barrier(**WHICH, first=1, second=2))
    a, b = (saved.load(experiment.run.order(**WHICH, data_order=order) / "trained.keras") for order in (1, 2))
    model = experiment.new_model(7)
    model.compile(loss=experiment.model("imp").loss, metrics=["accuracy"])
    test = kt.data.load("digits", "test")
    curve = kt.analysis.linear_path(model, kt.get_params(a), kt.get_params(b), test, alphas=ALPHAS)
    heights = {"barrier": curve.barrier, "midpoint_barrier": curve.midpoint_barrier}
    heights |= {"error_barrier": curve.error_barrier}
    assert {name: found[name] for name in heights} == pytest.approx(heights, rel=1e-4)
    assert min(found[name] for name in heights) > 0.01  # something was measured
    about = {"kind": "dense", "round": 0, "init_seed": 0, "first_order": 1, "second_order": 2}
    assert {name: found[name] for name in found if name not in heights} == about


def test_losses_of_the_ends_and_the_middle_give_the_midpoint_barrier(experiment):
    """By evaluating three networks with Keras."""
    barrier(experiment, ignore, **WHICH, first=1, second=2)
    found = read_json(experiment.run.barrier(**WHICH, first=1, second=2))
    paths = (experiment.run.order(**WHICH, data_order=order) / "trained.keras" for order in (1, 2))
    a, b = (kt.get_params(saved.load(path)) for path in paths)
    model, losses = experiment.model("imp"), []
    for alpha in (0.0, 0.5, 1.0):
        kt.set_params(model, {path: (1 - alpha) * a[path] + alpha * b[path] for path in a})
        losses.append(experiment.evaluate(model)["loss"])
    assert found["midpoint_barrier"] == pytest.approx(losses[1] - (losses[0] + losses[2]) / 2, rel=1e-3)


def test_no_barrier_lies_between_a_network_and_itself(experiment):
    barrier(experiment, ignore, **WHICH, first=1, second=1)
    found = read_json(experiment.run.barrier(**WHICH, first=1, second=1))
    assert found["barrier"] == pytest.approx(0, abs=1e-5)
    assert found["error_barrier"] == 0


def test_the_highest_point_is_an_end_where_only_the_last_layer_differs(experiment):
    """In which the loss is convex: above the mean of the ends by half of their difference, and below it in between."""
    barrier(experiment, ignore, **WHICH, first=2, second=3)
    found = read_json(experiment.run.barrier(**WHICH, first=2, second=3))
    losses = []
    for order in (2, 3):
        trained = saved.load(experiment.run.order(**WHICH, data_order=order) / "trained.keras")
        kt.set_params(experiment.model("imp"), kt.get_params(trained))
        losses.append(experiment.evaluate(experiment.model("imp"))["loss"])
    assert found["barrier"] == pytest.approx((losses[1] - losses[0]) / 2, rel=1e-3)
    assert found["midpoint_barrier"] < -0.1
