"""What a study leaves stays as it was."""

import dataclasses

import pytest

from kerasticket.experiments.outcome import Outcome

pytestmark = pytest.mark.same_on_every_backend


def test_an_outcome_names_its_folder_and_cannot_be_changed(tmp_path):
    made = Outcome(tmp_path, "digits, convnet", [{"round": 1}])
    assert (made.folder, made.title, made.rows) == (tmp_path, "digits, convnet", [{"round": 1}])
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.title = "other"
