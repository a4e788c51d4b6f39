"""The learning rate from round to round: others may change it, if every round has the same."""

import warnings

import keras
import nets
import pytest

from kerasticket.pruning.rates import RateWatch

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def model() -> keras.Model:
    return nets.compile_for_test(nets.mlp(), keras.optimizers.SGD(0.1))


def rate(model: keras.Model, value: float) -> keras.Model:
    model.optimizer.learning_rate = value
    return model


def test_a_rate_that_stays_needs_no_word(model):
    watch = RateWatch(resumed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        watch.leave(model)
        for round in range(3):
            watch.check(model, round, 0, "start")


def test_rounds_with_one_course_are_told_of_once_and_others_refused(model):
    watch = RateWatch(resumed=False)
    watch.leave(model)
    watch.check(model, 0, 0, "start")
    with pytest.warns(UserWarning, match="sees the epochs of all rounds as one training.*round_callbacks="):
        watch.check(rate(model, 0.05), 0, 0, "end")
    watch.check(rate(model, 0.1), 1, 0, "start")
    watch.check(rate(model, 0.05), 1, 0, "end")
    watch.check(rate(model, 0.1), 2, 0, "start")
    with pytest.raises(ValueError, match=r"Expected round 2 at .*, 0\.05 at the end of its epoch 0. Received: 0\.025"):
        watch.check(rate(model, 0.025), 2, 0, "end")


def test_callbacks_of_the_rounds_may_change_it(model):
    watch = RateWatch(resumed=True)
    watch.leave(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        watch.check(rate(model, 0.05), 0, 0, "start", own=True)
        watch.check(model, 0, 0, "end")


def test_a_resumed_search_cannot_know_what_others_had_made_of_it(model):
    watch = RateWatch(resumed=True)
    watch.leave(model)
    with pytest.raises(ValueError, match="starts from a ticket at a later epoch cannot know"):
        watch.check(rate(model, 0.05), 1, 2, "start")
