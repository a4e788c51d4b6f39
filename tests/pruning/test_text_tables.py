"""Tables whose columns stand below each other, and numbers and names that fit them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasticket.pruning.text_tables import short, shortened, table

pytestmark = pytest.mark.same_on_every_backend
CELLS = st.text("abc/_1", min_size=1, max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_columns_begin_at_one_place(rows):
    lines = table(rows)
    second = max(len(row[0]) for row in rows) + 2
    third = second + max(len(row[1]) for row in rows) + 2
    for line, row in zip(lines, rows, strict=True):
        assert (line[:second].strip(), line[second:third].strip(), line[third:]) == row
        assert line == line.rstrip()


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b"), ("c",)])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (1e6, "1.00M"), (2.5e9, "2.50G"), (0.4, "0"), (None, "unknown")],
)
def test_numbers_have_units_of_thousands(number, text):
    assert short(number) == text


@given(st.text("ab/", min_size=1, max_size=40), st.integers(6, 20))
def test_names_are_their_own_end_and_fit(name, most):
    found = shortened(name, most)
    assert len(found) <= most
    assert name.endswith(found.removeprefix(".../"))
    assert (found == name) == (len(name) <= most)
