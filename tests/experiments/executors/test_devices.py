"""Which worker computes where, with GPUs that are made up."""

import pytest

from kerasticket.experiments.executors import devices

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def places(monkeypatch, visible: str, **options) -> list[str]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    arguments = {"workers": None, "threads": 1, "workers_per_gpu": 1, "cores": 8} | options
    return [place[devices.VISIBLE] for place in devices.assignments(**arguments)]


def test_one_worker_for_each_gpu(monkeypatch):
    assert places(monkeypatch, "0,1,5") == ["0", "1", "5"]
    assert places(monkeypatch, "0,1,5", workers=2) == ["0", "1"]


def test_workers_that_share_gpus_are_spread_first_and_grow_their_memory(monkeypatch):
    assert places(monkeypatch, "0,1", workers_per_gpu=2) == ["0", "1", "0", "1"]
    assert places(monkeypatch, "0,1", workers_per_gpu=2, workers=3) == ["0", "1", "0"]
    (first, *_) = devices.assignments(None, 1, 2, 8)
    assert first["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert first["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_more_workers_than_gpus_take_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"at most 2 --workers.*Received: 3.*--workers-per-gpu"):
        places(monkeypatch, "0,1", workers=3)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_without_gpus_as_many_as_the_cores_allow(monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert devices.assignments(None, 2, 1, 8) == [{}] * 4
    assert devices.assignments(None, 16, 1, 8) == [{}]
    assert devices.assignments(3, 16, 1, 8) == [{}] * 3


def test_gpus_are_counted_without_a_backend(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\necho 'GPU 1: NVIDIA H200 (UUID: GPU-2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert devices.gpus() == ["0", "1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert devices.gpus() == []
