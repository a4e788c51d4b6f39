"""Positions: read, set, refused, and found in what a dataset was made of."""

import re

import numpy as np
import pytest
import tensorflow as tf
from numbered_images import numbered

from kerasticket.data import pipeline
from kerasticket.data.positions import Counter, Position, checked, move, pipelines_in

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("position", [(3, 1), [3, 1], Position(3, 1), np.array([3, 1])])
def test_a_position_is_a_pair_of_whole_numbers(position):
    assert checked(position) == Position(round=3, epoch=1)


@pytest.mark.parametrize("position", [3, (3,), (1, 2, 3), (0, -1), (0.0, 1), "01", None])
def test_other_positions_are_refused(position):
    batches = pipeline(numbered(3))
    with pytest.raises(ValueError, match=r"Expected \(round, epoch\).*Received: " + re.escape(repr(position))):
        batches.position = position
    assert batches.position == (0, 0)


def test_the_pipelines_of_a_dataset_are_found_and_moved():
    first, second, other = (pipeline(numbered(3)) for _ in range(3))
    both = tf.data.Dataset.zip(first.map(lambda x, y: x).take(1), second).repeat(2)
    assert pipelines_in(first) == [first]
    assert pipelines_in(both) == [first, second]
    move(both, 2, 5)
    assert [each.position for each in (first, second, other)] == [(2, 5), (2, 5), (0, 0)]


@pytest.mark.parametrize("data", [None, np.ones(3), [1], tf.data.Dataset.range(3)])
def test_other_data_have_none(data):
    assert pipelines_in(data) == []
    move(data, 1, 1)


def test_a_counter_gives_its_position_and_goes_on_to_the_next_epoch():
    counter = Counter()
    counter.next = Position(2, 5)
    assert [counter.take().tolist() for _ in range(3)] == [[2, 5], [2, 6], [2, 7]]
    assert counter.next == (2, 8)
