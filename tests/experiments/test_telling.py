"""What a listener hears of a stretch of work."""

import pytest

from kerasticket.experiments.events import ignore
from kerasticket.experiments.telling import Stretch, stretch

pytestmark = pytest.mark.same_on_every_backend


def test_begin_and_end_frame_what_was_done():
    told = []
    with stretch(told.append, 10) as work:
        work.advance(3, "a")
        work.reach(4, "b")
        work.note("so far")
        work.reach(10, "c")
    assert [event.kind for event in told] == ["begin", "advance", "advance", "note", "advance", "done"]
    assert [event.amount for event in told] == [10, 3, 1, 0, 6, 0]
    assert [event.text for event in told] == ["", "a", "b", "so far", "c", ""]


def test_work_that_fails_is_told_and_its_error_raised():
    told = []
    with pytest.raises(KeyboardInterrupt), stretch(told.append, 10):
        raise KeyboardInterrupt
    assert [event.kind for event in told] == ["begin", "failed"]


def test_what_a_killed_process_did_comes_with_the_first_call():
    work = Stretch(ignore)
    work.reach(7, "")
    assert work.done == 7
