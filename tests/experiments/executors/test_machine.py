"""Features of CPUs from what Linux says of them."""

import platform

import pytest

from kerasticket.experiments.executors import machine

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 amx_tile sse4_2 fma nx\nflags\t\t: avx\n", "amx_tile avx2 fma sse4_2"),
        ("processor : 0\nFeatures\t: fp asimd sve crc32\n", "asimd sve"),
    ],
)
def test_flags_of_arithmetic_are_found(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.cpu_features() == expected


def test_systems_without_flags_have_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "absent")
    assert machine.cpu_features() == (platform.processor() or platform.machine())


def test_a_machine_does_not_differ_from_itself():
    here = machine.signature()
    assert {"keras", "numpy", "machine", "CPU features"} <= here.keys()
    assert machine.differences(here, here) == []
    assert machine.differences(here, here | {"numpy": "1.0"}) == [f"numpy 1.0 (here {here['numpy']})"]


def test_features_more_and_less_are_told():
    assert machine.differences({"CPU features": "a b"}, {"CPU features": "b c"}) == ["CPU without a", "CPU with c"]
    assert machine.differences({"CPU features": "a b"}, {"CPU features": "b"}) == ["CPU without a"]
    assert machine.differences({"CPU features": "a"}, {"CPU features": "a b"}) == ["CPU with b"]
