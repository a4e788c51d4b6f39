"""Ranks within groups, by hand and against a sort of each group alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.pruning.ranking import rank_in_groups

pytestmark = pytest.mark.same_on_every_backend


def test_ranks_within_groups_by_hand():
    scores, kept = np.array([[5, 1], [5, 2], [7, 3]]), np.array([[True, True], [True, False], [True, True]])
    groups = np.array([[0, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(rank_in_groups(scores, kept, groups), [[1, 1], [2, 2], [0, 0]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 4))
def test_each_group_has_all_ranks_once_in_the_order_of_kept_then_score_then_position(seed, size, groups):
    rng = np.random.default_rng(seed)
    scores, kept, group = rng.integers(0, 4, size), rng.random(size) < 0.6, rng.integers(0, groups, size)
    ranks = rank_in_groups(scores, kept, group)
    for number in np.unique(group):
        members = np.flatnonzero(group == number).tolist()
        expected = sorted(members, key=lambda i: (not kept[i], -scores[i], i))
        assert [int(ranks[i]) for i in expected] == list(range(len(members)))
