"""Events: what they are made of, and the listener of who does not want to know."""

import dataclasses
import time

import pytest

from kerasticket.experiments.events import KINDS, Event, ignore

pytestmark = pytest.mark.same_on_every_backend


def test_an_event_knows_when_it_was():
    before = time.time()
    event = Event("advance", amount=64.0, text="epoch 1/2")
    assert before <= event.time <= time.time()
    assert (event.job, event.worker) == ("", "")


def test_events_stay_as_they_were():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Event("note").text = "other"


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_does_not_want_to_know_hears_nothing(kind, capsys):
    assert ignore(Event(kind, text="something")) is None
    assert capsys.readouterr() == ("", "")
