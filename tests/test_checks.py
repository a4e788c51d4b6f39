"""Variants are chosen by name, and what is near a wrong one is suggested."""

import numpy as np
import pytest

from kerasticket.checks import check_seed, choose, suggestion

pytestmark = pytest.mark.same_on_every_backend
TABLE = {"magnitude": 1, "random": 2, "snip": 3}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "snipp",
            r"criterion to be one of \['magnitude', 'random', 'snip'\]. .*='snipp'. Did you mean 'snip'",
        ),
        ("zzz", r"Received: criterion='zzz'.$"),
        (None, "Received: criterion=None"),
        (["snip"], r"Received: criterion=\['snip'\]"),
    ],
)
def test_another_name_is_refused_with_those_there_are(name, message):
    with pytest.raises(ValueError, match=message):
        choose(name, TABLE, "criterion")


def test_each_name_gives_its_entry():
    assert [choose(name, TABLE, "criterion") for name in TABLE] == [1, 2, 3]


def test_the_nearest_name_comes_first_and_far_ones_not_at_all():
    assert suggestion("lenet_5", ["lenet_300", "lenet5", "alexnet"]).startswith(" Did you mean 'lenet5'")
    assert suggestion("a", ["zzz"]) == ""


@pytest.mark.parametrize("seed", [-1, 0.0, "1", None, np.float32(1)])
def test_seeds_are_whole_numbers_of_at_least_0(seed):
    check_seed(0)
    with pytest.raises(ValueError, match="a whole number of at least 0. Received: seed="):
        check_seed(seed)
