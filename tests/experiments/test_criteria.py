"""The plan of a comparison of criteria, by the names of its jobs."""

import pytest
from tiny_experiments import tiny

from kerasticket.experiments import criteria
from kerasticket.experiments.criteria import CRITERIA, CriteriaStudy
from kerasticket.experiments.schedule import Schedule
from kerasticket.experiments.study import Settings

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def study(tmp_path):
    made = tiny(tmp_path / "run", init_seeds=(0, 1), data_orders=(1,), rounds=3, train_rounds=(2, 3))
    return CriteriaStudy(made, 1, ("snip", "random"))


def test_imp_has_the_first_seeds_and_every_criterion_has_all(study):
    pruned = {f"{criterion}  mask {index}" for criterion in ("snip", "random") for index in (2, 3)}
    trained = {f"{criterion}  round {index}  order 1" for criterion in ("snip", "random") for index in (2, 3)}
    imp = {"imp  search 1", "imp  search 2", "imp  search 3", "imp  round 3  order 1"}  # searches train all others
    expected = {f"seed {seed}  {name}" for seed in (0, 1) for name in ({"start"} | pruned | trained)}
    expected |= {f"seed 0  {name}" for name in imp} | {"seed 1  dense  round 0  order 1"}
    names = [job.name for job in study.jobs()]
    assert set(names) == expected
    assert len(names) == len(expected)


def test_what_jobs_need_is_made_by_those_before_them(study):
    made = set()
    for job in study.jobs():
        assert set(job.needs) <= made, job.name
        made |= set(job.makes)


def test_masks_need_the_start_alone(study):
    schedule = Schedule([study])
    assert schedule.take().job.name == "seed 0  start"
    (mask,) = [job for job in study.jobs() if job.name == "seed 0  snip  mask 2"]
    assert mask.needs == ("seed_0/dense/round_00/ticket.keras",)
    assert mask.makes == ("seed_0/snip/round_02/ticket.keras",)
    assert mask.arguments == {"seed": 0, "criterion": "snip", "index": 2}


def test_finished_jobs_are_not_planned(study):
    start, *others = study.jobs()
    path = study.folder / start.makes[0]
    path.parent.mkdir(parents=True)
    path.touch()
    assert study.jobs() == others


def test_workers_are_made_of_the_configuration(study):
    assert study.settings == Settings(study.experiment.config)
    assert study.worker().experiment is study.experiment


def test_the_command_has_the_same_criteria():
    """Which it names without Keras."""
    from kerasticket.cli import criteria

    assert criteria.CRITERIA == CRITERIA


def test_what_was_deleted_while_it_worked_is_told(study, monkeypatch):
    monkeypatch.setattr(criteria, "execute", lambda *studies, **options: None)  # as if nothing had stayed
    with pytest.raises(
        FileNotFoundError, match=r"results are not where they were written.*'seed 0  start'.*same command"
    ):
        criteria.finish(study)
