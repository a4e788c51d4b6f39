"""Messages through pipes, cut off anywhere."""

import io
import os

import pytest

from kerasticket.experiments.events import Event
from kerasticket.experiments.executors.link import Done, Link, Raised

pytestmark = pytest.mark.same_on_every_backend


def test_messages_arrive_in_order_and_then_the_end():
    reads, writes = os.pipe()
    sender, receiver = (
        Link(io.BytesIO(), os.fdopen(writes, "wb")),
        Link(os.fdopen(reads, "rb"), io.BytesIO()),
    )
    messages = [Event("note", text="first"), Raised("ValueError: no", "trace"), Done()]
    for message in messages:
        sender.send(message)
    assert [receiver.receive() for _ in messages] == messages
    sender.close()
    assert receiver.receive() is None
    receiver.close()


def test_a_message_that_a_kill_has_cut_is_the_end():
    whole = io.BytesIO()
    Link(io.BytesIO(), whole).send(Event("note", text="a line"))
    for length in range(len(whole.getvalue())):
        assert Link(io.BytesIO(whole.getvalue()[:length]), io.BytesIO()).receive() is None
