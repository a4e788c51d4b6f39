"""The fast lane of tests: of each file as many tests as its budget allows, the quickest first.

`tests/durations.csv` has the seconds that each test took on TensorFlow (`pytest --record-durations`); tests that are
not in it, such as new ones, always run. Every file of tests keeps its quickest one, unless that takes over `MOST`
seconds, so that every room is covered; doctests of the package run within the budget.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest

DURATIONS = Path(__file__).parents[1] / "durations.csv"
BUDGET = 1.5  # seconds of a test file in the fast lane
MOST = 6.0
BUDGETS = {  # of files that need more, or that tell most in less
    "tests/end_to_end/test_other_backends.py": 60.0,
    "tests/end_to_end/test_readme.py": 10.0,
    "tests/layers/test_masked.py": 6.0,
    "tests/pruning/test_iterative.py": 6.0,
    "tests/tickets/test_ticket.py": 6.0,
}


def without_parameters(nodeid: str) -> str:
    return re.sub(r"\[.*\]$", "", nodeid, flags=re.DOTALL)


def read_durations(path: Path = DURATIONS) -> dict[str, float]:
    """Mean seconds of each test function, over its parameters."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {row["test"]: float(row["seconds"]) for row in csv.DictReader(file)}


def fast(items: list[pytest.Item], seconds: dict[str, float]) -> set[str]:
    """Node ids of the tests that the fast lane runs."""
    by_file: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_file[item.nodeid.partition("::")[0]].append(item)
    chosen = set()
    for file, tests in by_file.items():
        left = BUDGETS.get(file, BUDGET)
        limit = MOST if file.startswith("tests/") else 0.0
        took = {item.nodeid: seconds.get(without_parameters(item.nodeid), 0.0) for item in tests}
        # Stable, so that of equally quick tests the first ones run: the same choice on every machine.
        for number, nodeid in enumerate(sorted(took, key=took.__getitem__)):
            left -= took[nodeid]
            if left < 0 and (number or took[nodeid] > limit):
                break
            chosen.add(nodeid)
    return chosen


class Recorder:
    """Adds up what setup, call and teardown of each test took, and writes it when the session ends."""

    def __init__(self, path: Path):
        self.path = path
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.skipped:
            self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        grouped = defaultdict(list)
        for nodeid, seconds in self.seconds.items():
            grouped[without_parameters(nodeid)].append(seconds)
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["test", "seconds"])
            writer.writerows([name, f"{sum(each) / len(each):.2f}"] for name, each in sorted(grouped.items()))
