"""Threads of this process and of workers."""

import pytest

from kerasticket.experiments.executors import threads

pytestmark = pytest.mark.same_on_every_backend


def test_threads_are_those_of_the_environment_else_one_for_each_core(monkeypatch):
    for name, value in threads.environment_of(3).items():
        monkeypatch.setenv(name, value)
    assert threads.threads_here() == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert threads.threads_here() == threads.cores() >= 1
