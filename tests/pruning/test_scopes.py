"""Where a fraction is taken from: each scope by hand on two small kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket import masks
from kerasticket.pruning import scopes

pytestmark = pytest.mark.same_on_every_backend

# One of large scores, and one of small ones that is twice as large; as (inputs, units).
SCORES = {"a": np.array([[9.0, 8], [7, 6]]), "b": np.array([[1.0, 2, 3, 4], [5, 4, 3, 2]])}
WHOLE = {path: np.ones_like(array, bool) for path, array in SCORES.items()}


def pruned(scope: str, fraction: float, scores=SCORES, mask=WHOLE) -> dict[str, list]:
    found = scopes.get(scope)(scores, mask, fraction)
    assert masks.is_nested(found, mask)
    return {path: array.astype(int).tolist() for path, array in found.items()}


def test_each_scope_by_hand():
    """Of 12 weights half go: 6."""
    assert pruned("global", 0.5) == {"a": [[1, 1], [1, 1]], "b": [[0, 0, 0, 1], [1, 0, 0, 0]]}
    assert pruned("layer", 0.5) == {"a": [[1, 1], [0, 0]], "b": [[0, 0, 1, 1], [1, 1, 0, 0]]}
    assert pruned("uniform", 0.5) == pruned("layer", 0.5)
    assert pruned("unit", 0.5) == {"a": [[1, 1], [0, 0]], "b": [[0, 0, 1, 1], [1, 1, 0, 0]]}


def test_erk_leaves_more_of_the_smaller_kernel():
    """Shares go with (inputs + units) / (inputs units): 4 / 4 and 6 / 8, so 6 = e (4 + 6): 2.4 and 3.6."""
    assert {path: np.sum(array) for path, array in pruned("erk", 0.5).items()} == {"a": 2, "b": 4}


def test_lamp_divides_by_what_is_no_lower_in_the_layer():
    """Squares over sums of squares from there up: the largest of each layer is 1, whatever its size."""
    scores = {"a": np.array([[10.0, 20.0]]), "b": np.array([[0.1, 0.2]])}
    mask = {path: np.ones((1, 2), bool) for path in scores}
    assert pruned("lamp", 0.5, scores, mask) == {"a": [[0, 1]], "b": [[0, 1]]}
    assert pruned("global", 0.5, scores, mask) == {"a": [[1, 1]], "b": [[0, 0]]}
    with pytest.raises(ValueError, match=r"scores of at least 0. Received: negative ones at \['a'\]"):
        scopes.lamp(scores | {"a": -scores["a"]}, mask, 0.5)


def test_units_go_to_a_target_and_those_that_are_past_it_stay():
    mask = {"b": np.array([[0, 1, 1, 1], [0, 0, 1, 1]], bool)}
    found = scopes.each_unit_to({"b": SCORES["b"]}, mask, 0.5)["b"].astype(int).tolist()
    assert found == [[0, 1, 1, 1], [0, 0, 0, 0]]  # of the tie in unit 2 the first stays


def test_fractions_are_of_what_is_left():
    mask = {"a": np.array([[True, True], [False, False]]), "b": np.zeros((2, 4), bool)}
    assert pruned("global", 0.5, mask=mask) == {"a": [[1, 0], [0, 0]], "b": np.zeros((2, 4), int).tolist()}


def test_names_are_known_or_near():
    assert set(scopes.EACH_ON_ITS_OWN) | set(scopes.OF_KERNELS) <= set(scopes.SCOPES)
    with pytest.raises(ValueError, match="scope to be one of .*Did you mean 'global'"):
        scopes.get("globl")


def test_what_is_full_gives_its_share_to_others():
    assert scopes.apportion({"a": 3.0, "b": 1.0, "c": 1.0}, 5, {"a": 1, "b": 9, "c": 9}) == {"a": 1, "b": 2, "c": 2}
    assert scopes.apportion({"a": 0.5, "b": 0.5}, 1, {"a": 9, "b": 9}) == {"a": 1, "b": 0}  # ties by position


@given(quotas=st.lists(st.integers(0, 400), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_apportioned_numbers_add_up_and_stay_near_their_quotas(quotas, seed):
    rng = np.random.default_rng(seed)
    total = int(rng.integers(0, sum(quotas) + 1))
    shares = {str(i): total * quota / max(1, sum(quotas)) for i, quota in enumerate(quotas)}
    found = scopes.apportion(shares, total, {str(i): quota for i, quota in enumerate(quotas)})
    assert sum(found.values()) == total
    assert all(abs(found[path] - shares[path]) < 1 + 1e-9 for path in shares)
