"""The fast lane: what it chooses of a file, and that each room is in it."""

from pathlib import Path
from types import SimpleNamespace

import lanes
import pytest

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[1]
A, B = "tests/a/test_a.py::test_", "kerasticket/b.py::b."


def chosen(names: list[str], seconds: dict[str, float]) -> set[str]:
    return lanes.fast([SimpleNamespace(nodeid=name) for name in names], seconds)


def test_the_quickest_of_a_file_run_within_its_budget():
    seconds = {f"{A}slow": 5.0, f"{A}x": 0.5, f"{A}quick": 0.6}
    names = [f"{A}slow", f"{A}x[1]", f"{A}x[2]", f"{A}quick"]
    assert lanes.BUDGET == 1.5
    assert chosen(names, seconds) == {f"{A}x[1]", f"{A}x[2]"}
    assert chosen([*names, f"{A}new"], seconds) == {f"{A}x[1]", f"{A}x[2]", f"{A}new"}


def test_a_file_of_tests_keeps_its_quickest_unless_that_is_long():
    assert chosen([f"{A}1", f"{A}2"], {f"{A}1": 4.0, f"{A}2": 3.0}) == {f"{A}2"}
    assert chosen([f"{A}1"], {f"{A}1": lanes.MOST + 1}) == set()
    assert chosen([f"{B}1"], {f"{B}1": 3.0}) == set()


def test_durations_and_budgets_name_files_that_are_there():
    seconds = lanes.read_durations()
    assert len(seconds) > 1000
    rooms = {name.split("/")[1] for name in seconds if name.startswith("tests/")}
    assert rooms >= {path.name for path in (ROOT / "kerasticket").iterdir() if (path / "__init__.py").exists()}
    assert all((ROOT / file).exists() for file in lanes.BUDGETS)
