"""Presets of distillation: every one has every method."""

import dataclasses

import pytest

import kerasticket as kt
from kerasticket.experiments.distillation_presets import method_of
from kerasticket.experiments.settings import DISTILLATIONS, METHODS

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("preset", DISTILLATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_has_every_method(preset, method):
    settings = method_of(preset, method, 3)
    expected = {"dc": "idc", "dsa": "idc", "tesla": "mtt"}.get(method, method)
    assert settings.name == expected
    assert getattr(settings, "form", None) == {"mtt": "unrolled", "tesla": "constant-memory"}.get(method)
    if preset == "cifar10-paper":  # as published, but for IDC's rate, which it scales with ipc
        published = {"dc": kt.distillation.dc, "dsa": kt.distillation.dsa}.get(method)
        plain = published(3) if published else kt.distillation.METHODS[expected]()
        plain = dataclasses.replace(plain, form=settings.form) if method == "tesla" else plain
        rate = {"learning_rate": pytest.approx(0.0015)} if method == "idc" else {}
        assert dataclasses.asdict(settings) == dataclasses.asdict(plain) | rate
