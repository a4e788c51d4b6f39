"""Fields of a file are of the types that their record names."""

from typing import Any

import pytest

from kerasticket.files.typed import check

pytestmark = pytest.mark.same_on_every_backend

GOOD = [
    (3, int),
    (3, float),
    (0.5, float),
    (None, int | None),
    ([1, 2], tuple[int, ...]),
    ([], tuple[int, ...]),
    ([1, "a"], tuple[int, str]),
    ({"a": 1.5}, dict[str, float]),
    ([[1], [2, 3]], tuple[tuple[int, ...], ...]),
    (object(), Any),
    (True, bool),
]
BAD = [
    (True, int),  # Python counts it among the whole numbers
    (0.5, int),
    (2**63, int),
    (2**63, float),
    ("3", int),
    (None, str),
    ([1, "a"], tuple[int, ...]),
    ([1], tuple[int, str]),
    ("ab", tuple[str, ...]),
    ({"a": "b"}, dict[str, float]),
    ({1: 1.5}, dict[str, float]),
    ([], dict[str, float]),
    (1, bool),
]


@pytest.mark.parametrize(("value", "hint"), GOOD)
def test_values_of_their_type_pass(value, hint):
    check({"x": value, "another": object()}, {"x": hint}, "'a.json'")


@pytest.mark.parametrize(("value", "hint"), BAD)
def test_values_of_another_type_are_named(value, hint):
    with pytest.raises(ValueError, match=r"Expected x as .* in 'a.json'. Received: .*; the file is damaged"):
        check({"x": value}, {"x": hint}, "'a.json'")


def test_long_values_are_cut_in_the_message():
    with pytest.raises(ValueError, match=f"Expected x as int in 'a.json'. Received: '{'a' * 40}'; "):
        check({"x": "a" * 1000}, {"x": int}, "'a.json'")
