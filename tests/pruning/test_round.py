"""The record of a round: fixed, and the same through JSON."""

import dataclasses
import json

import pytest

from kerasticket.pruning.round import Round

pytestmark = pytest.mark.same_on_every_backend
ROUND = Round(1, 0.2, 80, 100, 0.3, 0.9, 1.5)


def test_a_record_goes_through_json():
    evaluated = dataclasses.replace(ROUND, evaluation={"accuracy": 0.97})
    for record in (ROUND, evaluated):
        assert Round(**json.loads(json.dumps(dataclasses.asdict(record)))) == record


def test_a_record_is_fixed_and_shares_nothing_with_others():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROUND.kept = 0
    ROUND.evaluation["accuracy"] = 1.0
    assert Round(1, 0.2, 80, 100, 0.3, 0.9, 1.5).evaluation == {}
    ROUND.evaluation.clear()
