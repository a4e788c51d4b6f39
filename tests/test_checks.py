"""Choosing by name: what is known, and what was probably meant."""

import pytest

from kerasticket.checks import check_choice, check_seed, choose, suggestion

pytestmark = pytest.mark.same_on_every_backend

TABLE = {"random": 1, "magnitude": 2}


def test_a_known_name_gives_its_entry():
    assert choose("magnitude", TABLE, "criterion") == 2
    check_choice("magnitude", TABLE, "criterion")


@pytest.mark.parametrize(
    "check",
    [
        lambda name: choose(name, TABLE, "--criterion"),
        lambda name: check_choice(name, ("random", "magnitude"), "--criterion"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(check):
    expected = r"Expected --criterion to be one of \['magnitude', 'random'\]. Received: --criterion="
    with pytest.raises(ValueError, match=expected + "'magnitud'. Did you mean 'magnitude'\\?"):
        check("magnitud")
    for other in ("x", None, 3, ["random"], {}):
        with pytest.raises(ValueError, match=expected):
            check(other)


def test_names_far_from_all_suggest_nothing():
    assert suggestion("qqq", TABLE) == ""


def test_seeds_are_whole_numbers_from_0_on():
    check_seed(0)
    for seed in (-1, 0.5, None, "1"):
        with pytest.raises(ValueError, match=r"whole number of at least 0. Received: seed="):
            check_seed(seed)
