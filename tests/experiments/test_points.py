"""Points of a sweep: the grid, what is read of flags, and which jobs of two points make the same files."""

import itertools
from pathlib import Path

import pytest

from kerasticket.experiments import points
from kerasticket.experiments.config import FREE, Config
from kerasticket.experiments.plan import Planner, Sizes
from kerasticket.experiments.run import Run

pytestmark = pytest.mark.same_on_every_backend

CONFIG = Config(init_seeds=(0,), data_orders=(1, 2), rounds=1)
GROUPS = {*points.NETWORK, *points.PRUNING, *points.DISTILLED, *points.REAL}
# Every kind of job that a sweep has, and a job of that kind.
JOBS = {
    "start": "seed 0  start",
    "imp": "seed 0  imp  search 1",
    "synthetic": "seed 0  synthetic  search 1",
    "random": "seed 0  random  mask 1",
    "train dense": "seed 0  dense  round 0  order 2",
    "train imp": "seed 0  imp  round 1  order 1",
    "train synthetic": "seed 0  synthetic  round 1  order 1",
    "train random": "seed 0  random  round 1  order 1",
    "barrier dense": "seed 0  dense  round 0  barrier 1 2",
    "barrier synthetic": "seed 0  synthetic  round 1  barrier 1 2",
}
EVERY = frozenset(JOBS)
REAL = EVERY - {"start", "synthetic"}  # all that is trained on real data, or has the mask of what was
ON_SYNTHETIC = frozenset({"synthetic", "train synthetic", "barrier synthetic"})
PRUNED = EVERY - {"start", "train dense", "barrier dense"}
# Which jobs another value of a field must change, by hand.
DEPEND = {
    **dict.fromkeys(("dataset", "image_size", "model", "width", "start", "precision"), EVERY),
    "distilled": ON_SYNTHETIC,
    **dict.fromkeys(("distilled_epochs", "distilled_learning_rate"), ON_SYNTHETIC),
    **dict.fromkeys(("fraction", "rewind_scope", "scope", "criterion"), PRUNED),
    **dict.fromkeys(("batch_size", "momentum", "l2", "augmentation"), EVERY - {"start"}),
    **dict.fromkeys(("images_per_class", "epochs", "learning_rate"), REAL),
    "rewind_epoch": {"imp", "train imp"},
}
# Which jobs it must not change: what a sweep over it saves.
SHARED = {
    **dict.fromkeys(("distilled_epochs", "distilled_learning_rate"), EVERY - ON_SYNTHETIC - {"random", "train random"}),
    **dict.fromkeys(("fraction", "rewind_scope", "scope", "criterion"), EVERY - PRUNED),
    **dict.fromkeys(("batch_size", "momentum", "l2", "augmentation"), frozenset({"start"})),
    **dict.fromkeys(("images_per_class", "epochs", "learning_rate", "rewind_epoch"), frozenset({"start", "synthetic"})),
}


def other(value):
    """A value of the same type."""
    if isinstance(value, str):
        return f"{value}, another"
    return (value or 0) + 1


def keys(config: Config) -> dict[str, tuple]:
    """What the files of each kind of job depend on."""
    planner = Planner(CONFIG, Run(Path("absent")), Sizes(train=100, distilled=40))
    barriers = [planner.barrier(0, "dense", 0, 1, 2), planner.barrier(0, "synthetic", 1, 1, 2)]
    jobs = {job.name: job for job in (*planner.every(0), *barriers)}
    return {kind: points.common(config, jobs[name]) for kind, name in JOBS.items()}


def test_the_grid_has_all_combinations_in_folders_of_their_own():
    grid = points.points(Config(out="sweeps/one"), {"width": (8, None), "model": ("convnet", "my/nets:build")})
    assert [point.values for point in grid] == [
        {"width": width, "model": model} for width, model in itertools.product((8, None), ("convnet", "my/nets:build"))
    ]
    assert [point.name for point in grid][1:3] == ["width=8,model=my_nets:build", "width=None,model=convnet"]
    assert [Path(point.config.out).parent for point in grid] == [Path("sweeps/one")] * 4
    assert grid[3].config == Config(width=None, model="my/nets:build", out=grid[3].config.out)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=.01,1e-3,1", ("learning_rate", (0.01, 0.001, 1.0))),
        ("epochs=2, 4", ("epochs", (2, 4))),
        ("width=8,none,None", ("width", (8, None, None))),
        ("augmentation=none,digits", ("augmentation", ("none", "digits"))),
        ("start=none", ("start", (None,))),
    ],
)
def test_values_are_read_as_their_fields_have_them(text, expected):
    assert points.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "field=value,value. Received: 'learning_rate'"),
        ("learning_rate=", "field=value,value"),
        ("epochs=2.5", "Expected int as epochs in --set. Received: '2.5'"),
        ("epochs=2,", "Expected int as epochs in --set. Received: ''"),
        ("epochs=none", "Expected int as epochs"),
        ("width=wide", "Expected int or NoneType as width"),
        ("init_seeds=a", "Expected --set to be one of.*Received: --set='init_seeds'"),
        ("learning_rates=1", "Did you mean 'learning_rate'"),
    ],
)
def test_text_that_is_no_value_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        points.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"at least one field to sweep.*Received: none"),
        ({"learning_rates": (0.1,)}, "Did you mean 'learning_rate'"),
        *(({name: (1,)}, "--set to be one of") for name in FREE),
        ({"epochs": ()}, r"distinct values of epochs. Received: \(\)"),
        ({"epochs": (2, 2)}, "distinct values of epochs"),
        ({"l2": (1, 1.0)}, "distinct values of l2"),
        ({"epochs": (2, "3")}, "Expected int as epochs. Received: '3'"),
        ({"epochs": (2.5,)}, "Expected int as epochs. Received: 2.5"),
        ({"model": ("a/b", "a_b")}, "name a folder for each point. Received: two of 'model=a_b'"),
    ],
)
def test_bad_grids_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        points.points(Config(), values)


def test_no_field_is_forgotten_where_points_are_told_apart():
    """A new field of Config must be named among what jobs depend on, or points would copy files of others."""
    assert set(points.SWEPT) == GROUPS - {"data_orders"}
    assert set(points.SWEPT) == set(DEPEND), "say by hand which jobs the new field changes"


@pytest.mark.parametrize("field", points.SWEPT)
def test_jobs_that_depend_on_a_field_have_other_keys_and_what_it_cannot_change_is_shared(field):
    here, there = keys(CONFIG), keys(CONFIG.replace(**{field: other(getattr(CONFIG, field))}))
    differing = {kind for kind in JOBS if here[kind] != there[kind]}
    assert DEPEND[field] <= differing
    assert not SHARED.get(field, frozenset()) & differing


def test_different_jobs_of_one_point_never_share_a_key():
    config = CONFIG.replace(init_seeds=(0, 1), rounds=3)
    planner = Planner(config, Run(Path("absent")), Sizes(train=100, distilled=40))
    jobs = [job for seed in config.init_seeds for job in planner.every(seed)]
    assert len({points.common(config, job) for job in jobs}) == len(jobs)
