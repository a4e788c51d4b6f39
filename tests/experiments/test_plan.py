"""The plan of a run: which jobs there are, in which order, and that finished ones are not planned."""

import dataclasses
import subprocess
import sys
import time

import pytest

from kerasticket.experiments.config import CONFIGS, Config
from kerasticket.experiments.plan import Sizes, plan
from kerasticket.experiments.schedule import Schedule

pytestmark = pytest.mark.same_on_every_backend

CONFIG = Config(init_seeds=(0,), rounds=2, data_orders=(1, 2), epochs=3, distilled_epochs=5)
SIZES = Sizes(train=100, distilled=40)


class Planned:
    """The plan as a study, whose jobs nobody does."""

    settings = None

    def __init__(self, config, folder):
        self.config, self.folder = config, folder

    def jobs(self):
        return plan(self.config, self.folder, SIZES)


def make(folder, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_jobs_of_a_run(tmp_path):
    jobs = {job.name: job for job in plan(CONFIG, tmp_path, SIZES)}
    on_the_way = {"seed 0  dense  round 0  order 1", "seed 0  imp  round 1  order 1"}  # IMP trains these anyway
    trained = {
        f"seed 0  {kind}  round {index}  order {order}"
        for kind, index in [
            ("dense", 0),
            *((kind, index) for kind in ("imp", "synthetic", "random") for index in (1, 2)),
        ]
        for order in (1, 2)
    }
    made = {f"seed 0  {kind}  search {index}" for kind in ("imp", "synthetic") for index in (1, 2)}
    made |= {"seed 0  start", "seed 0  random  mask 1", "seed 0  random  mask 2"}
    assert set(jobs) == made | trained - on_the_way
    assert jobs["seed 0  imp  search 1"].cost == 300
    assert jobs["seed 0  synthetic  search 2"].cost == 200
    assert jobs["seed 0  synthetic  search 2"].needs == (
        "seed_0/dense/round_00/ticket.keras",
        "seed_0/synthetic/round_01/ticket.keras",
    )
    assert jobs["seed 0  imp  search 2"].makes[-2:] == (
        "seed_0/imp/round_01/order_1/result.json",
        "seed_0/imp/round_02/ticket.keras",
    )


def test_planning_twice_gives_the_same_and_touches_nothing(tmp_path):
    assert plan(CONFIG, tmp_path / "run", SIZES) == plan(CONFIG, tmp_path / "run", SIZES)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", [CONFIG, *CONFIGS.values()], ids=["small", *CONFIGS])
def test_doing_the_jobs_one_by_one_leaves_fewer_each_time_and_then_none(config, tmp_path):
    config = dataclasses.replace(config, init_seeds=config.init_seeds[:1])
    left = plan(config, tmp_path, SIZES)
    while left:
        job = left[0]
        assert all((tmp_path / name).exists() for name in job.needs), f"{job.name} stands before what it needs"
        for name in job.makes:
            make(tmp_path, name)
        now = plan(config, tmp_path, SIZES)
        assert now == left[1:]
        left = now


def test_a_ticket_that_is_gone_is_searched_for_again_from_the_one_before(tmp_path):
    for job in plan(CONFIG, tmp_path, SIZES):
        for name in job.makes:
            make(tmp_path, name)
    (tmp_path / "seed_0/imp/round_01/ticket.keras").unlink()
    assert [job.name for job in plan(CONFIG, tmp_path, SIZES)] == ["seed 0  imp  search 1"]


def test_a_start_ticket_shifts_the_rounds(tmp_path):
    config = dataclasses.replace(CONFIG, start="syn2.keras", rounds=4, kinds=("imp",))
    jobs = plan(config, tmp_path, dataclasses.replace(SIZES, first_round=2))
    assert [job.name for job in jobs][:3] == ["seed 0  start", "seed 0  imp  search 3", "seed 0  imp  search 4"]
    assert jobs[1].needs == ("seed_0/start/round_02/ticket.keras",)


def test_ten_thousand_jobs_are_planned_in_two_seconds(tmp_path):
    config = dataclasses.replace(CONFIG, init_seeds=tuple(range(100)), rounds=15)
    started = time.process_time()
    schedule = Schedule([Planned(config, tmp_path)])
    assert time.process_time() - started < 2
    assert len(schedule) > 10_000


def test_planning_needs_no_keras():
    program = "import sys, kerasticket as kt; kt.experiments.plan; print('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
