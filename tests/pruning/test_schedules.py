"""Schedules: the numbers of every shape by hand, when updates are due, the picture, what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.pruning.schedules import SHAPES, Schedule, polynomial

HALFWAY = {"one_shot": 0.84, "constant": 0.84, "linear": 0.42, "cubic": 0.84 * 7 / 8, "exponential": 0.6}


@pytest.mark.parametrize("shape", SHAPES)
def test_half_way_by_hand(shape):
    assert Schedule(0.84, begin=2, end=6, shape=shape).at(4) == pytest.approx(HALFWAY[shape])


def test_cubic_is_equation_one_of_zhu_and_gupta():
    schedule = Schedule(0.9, begin=10, end=60, frequency=10, unit="step", initial=0.2)
    for t in range(10, 61, 10):
        assert schedule.at(t) == pytest.approx(0.9 + (0.2 - 0.9) * (1 - (t - 10) / (60 - 10)) ** 3)


def test_polynomials_and_functions_are_shapes():
    assert Schedule(0.8, end=2, shape=polynomial(1)).at(1) == pytest.approx(0.4)
    assert Schedule(0.8, end=2, shape=lambda x, initial, target: target * x**2).at(1) == pytest.approx(0.2)


def test_exponential_prunes_the_same_fraction_every_time():
    schedule = Schedule(1 - 0.8**5, end=5, shape="exponential")
    np.testing.assert_allclose([1 - schedule.at(t) for t in range(6)], 0.8 ** np.arange(6))


@pytest.mark.parametrize("shape", SHAPES)
@given(
    begin=st.integers(0, 20),
    length=st.integers(0, 20),
    frequency=st.integers(1, 7),
    target=st.floats(0.1, 0.99),
    initial=st.floats(0.0, 0.1),
)
@settings(max_examples=20, deadline=None)
def test_schedules_rise_from_initial_to_target_and_end_there(shape, begin, length, frequency, target, initial):
    schedule = Schedule(target, begin, begin + length, frequency, shape=shape, initial=initial)
    values = [schedule.at(t) for t in range(begin + length + 3)]
    assert values[:begin] == [0.0] * begin
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(values))
    assert values[begin + length :] == [target] * 3
    updates, time = [], schedule.next_update(-1)
    while time is not None:
        updates.append(time)
        time = schedule.next_update(time)
    assert updates == sorted({*range(begin, begin + length, frequency), begin + length})


def test_a_one_shot_needs_no_end():
    schedule = Schedule(0.5, begin=3, shape="one_shot")
    assert (schedule.end, schedule.next_update(-1), schedule.next_update(3)) == (3, 3, None)


def test_targets_by_pattern_rise_together():
    assert Schedule({"conv*": 0.8, "*": 0.4}, end=2, shape="linear").at(1) == {"conv*": 0.4, "*": 0.2}


def test_the_picture_is_the_schedule():
    axes = Schedule(0.8, begin=2, end=6, frequency=2).plot(until=10).axes[0]
    steps, points = axes.lines
    np.testing.assert_allclose(points.get_xydata(), [[2, 0], [4, 70], [6, 80]])
    np.testing.assert_allclose(steps.get_xydata(), [[0, 0], [2, 0], [4, 70], [6, 80], [10, 80]])
    assert axes.get_xlabel() == "epoch"
    by_pattern = Schedule({"conv*": 0.8, "*": 0.4}, end=2).plot().axes[0]
    assert [text.get_text() for text in by_pattern.get_legend().get_texts()] == ["conv*", "*"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1.0, "end": 2}, r"sparsity in \[0, 1\).*1\.0"),
        ({"target": {"conv": 1.5}, "end": 2}, r"sparsity in \[0, 1\).*1\.5"),
        ({"target": {}, "end": 2}, "0 <= initial <= target.*target={}"),
        ({"target": 0.5, "end": 2, "initial": 0.6}, "0 <= initial <= target.*initial=0.6"),
        ({"target": 0.5}, "0 <= begin <= end.*end=None"),
        ({"target": 0.5, "begin": 3, "end": 2}, "0 <= begin <= end.*begin=3, end=2"),
        ({"target": 0.5, "end": 2, "frequency": 0}, "frequency >= 1.*frequency=0"),
        ({"target": 0.5, "end": 2.5}, "whole numbers.*end=2.5"),
        ({"target": 0.5, "end": 2, "unit": "batch"}, "'epoch' or 'step'.*'batch'"),
        ({"target": 0.5, "end": 2, "shape": "cubik"}, "Did you mean 'cubic'"),
    ],
)
def test_bad_schedules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


def test_a_power_is_positive():
    with pytest.raises(ValueError, match="power above 0.*power=0"):
        polynomial(0)
