"""Experts, whose training is left out here: recorded once, read epoch by epoch, and told apart."""

import dataclasses

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation import experts, record_experts

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=1)


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Numbers of the experts that were trained; the weight of expert n after epoch e is 10 n + e."""
    numbers: list[int] = []

    def train(self, number: int) -> list[dict]:
        numbers.append(number)
        return [{"w": np.array([10.0 * number + epoch])} for epoch in range(self.recipe.epochs + 1)]

    monkeypatch.setattr(experts._Trainer, "train", train)
    return numbers


def values(expert) -> list[float]:
    return [float(params["w"][0]) for params in expert]


def test_with_a_folder_and_without_they_are_the_same(digits, trained, tmp_path):
    for folder in (None, tmp_path):
        one, two = record_experts(digits, folder, count=2, epochs=2, width=4)
        assert (values(one), values(two)) == ([0, 1, 2], [10, 11, 12])
        assert len(one) == 3
        assert values(two[1:]) == [11, 12]
        assert float(two[-1]["w"][0]) == 12
        with pytest.raises(IndexError):
            two[3]


def test_those_on_disk_are_not_trained_again_and_each_is_told(digits, trained, tmp_path):
    told = []
    record_experts(digits, tmp_path, count=1, epochs=1, width=4, progress=told.append)
    found = record_experts(digits, tmp_path, count=3, epochs=1, width=4, progress=told.append)
    assert trained == [0, 1, 2]
    assert told == [1, 1, 2, 3]
    assert values(found[2]) == [20, 21]


def test_at_least_one_is_asked_for(digits):
    with pytest.raises(ValueError, match="at least 1 expert. Received: count=0"):
        record_experts(digits, count=0, epochs=1)


def test_other_images_of_the_same_name_are_told(digits, trained, tmp_path):
    record_experts(digits, tmp_path, count=1, epochs=1, width=4)
    other = dataclasses.replace(digits, images=255 - digits.images)
    with pytest.raises(ValueError, match="data_sha256 was"):
        record_experts(other, tmp_path, count=1, epochs=1, width=4)
