"""Bars: drawn from the begin of a stretch of work to its end, with notes above them."""

import pytest

from kerasticket.cli.bars import Bars
from kerasticket.experiments.events import Event

pytestmark = pytest.mark.same_on_every_backend


def test_a_note_is_a_line_with_a_bar_and_without(capsys):
    with Bars() as bars:
        bars(Event("note", text="before"))
        bars(Event("begin", amount=4.0))
        bars(Event("advance", amount=3.0, text="imp, round 1"))
        bars(Event("note", text="in between"))
        bars(Event("done"))
        bars(Event("note", text="after"))
        bars(Event("note"))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line in ("before", "in between", "after")] == ["before", "in between", "after"]
    (bar,) = [line for line in lines if line.startswith("imp, round 1")]
    assert "75%" in bar


@pytest.mark.parametrize("end", ["done", "failed", "raise"])
def test_a_bar_ends_however_its_work_ends(end, capsys):
    bars = Bars()
    try:
        with bars:
            bars(Event("begin", amount=1.0))
            assert bars._bar is not None
            if end == "raise":
                raise KeyboardInterrupt
            bars(Event(end))
            assert bars._bar is None
    except KeyboardInterrupt:
        pass
    assert bars._bar is None


def test_a_second_stretch_has_a_bar_of_its_own(capsys):
    with Bars() as bars:
        for text in ("experts", "steps"):
            bars(Event("begin", amount=1.0))
            bars(Event("advance", amount=1.0, text=text))
            bars(Event("done"))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line] == ["experts", "steps"]
