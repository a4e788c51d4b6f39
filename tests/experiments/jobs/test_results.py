"""What is kept of a training, and the images that finding a ticket has used, counted by hand."""

import types
from pathlib import Path

import pytest

from kerasticket.experiments.config import Config
from kerasticket.experiments.jobs.results import images_used, keep, line
from kerasticket.experiments.run import Run
from kerasticket.files.json_files import read_json
from kerasticket.pruning.round import Round

pytestmark = pytest.mark.same_on_every_backend

CONFIG = Config(epochs=6, distilled_epochs=4)


def experiment(config=CONFIG, first_round=0, start_epoch=None, folder=Path("absent")):
    """100 real images; 10 distilled ones, each of which decodes to four."""
    return types.SimpleNamespace(
        config=config,
        first_round=first_round,
        start=None if start_epoch is None else types.SimpleNamespace(rewind_epoch=start_epoch),
        distilled=types.SimpleNamespace(images=range(10), factor=2),
        train=range(100),
        run=Run(folder),
    )


@pytest.mark.parametrize(
    ("options", "kind", "rounds", "expected"),
    [
        ({}, "dense", 0, (0, 0)),
        ({}, "random", 3, (0, 0)),
        ({}, "synthetic", 3, (10 * 4 * 3, 40 * 4 * 3)),
        ({}, "imp", 1, (600, 600)),
        ({}, "imp", 3, (1800, 1800)),
        # Rewound to epoch 2: the first round trains for all six, the others for four each.
        ({"config": CONFIG.replace(rewind_epoch=2)}, "imp", 1, (600, 600)),
        ({"config": CONFIG.replace(rewind_epoch=2)}, "imp", 3, (600 + 400 + 400, 1400)),
        # From a ticket of five rounds: of the sixth and seventh alone.
        ({"first_round": 5, "start_epoch": 0}, "imp", 7, (1200, 1200)),
        ({"first_round": 5, "start_epoch": 0}, "synthetic", 7, (10 * 4 * 2, 40 * 4 * 2)),
        ({"first_round": 5, "start_epoch": 0}, "imp", 5, (0, 0)),
        # From one at epoch 1 of 6: the first training lacks that epoch.
        ({"first_round": 5, "start_epoch": 1}, "imp", 6, (500, 500)),
        (
            {"first_round": 5, "start_epoch": 1, "config": CONFIG.replace(rewind_epoch=1)},
            *("imp", 7, (500 + 500, 1000)),
        ),
    ],
)
def test_images_used_by_hand(options, kind, rounds, expected):
    assert images_used(experiment(**options), kind, rounds) == expected


class Written:
    """Writes down what is saved, in the order of it, in place of a ticket or a history."""

    def __init__(self, order: list[str]):
        self.order = order

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.order.append(path.name)

    def save_trained(self, path: Path, trained: str) -> None:
        assert trained == "the trained params"
        self.save(path)


@pytest.mark.parametrize("kept", [True, False])
def test_the_result_is_written_last_and_the_network_if_it_is_wanted(kept, tmp_path):
    order: list[str] = []
    where = experiment(CONFIG.replace(keep_trained=kept), folder=tmp_path)
    record = Round(2, 0.36, 64, 100, 0.25, 0.9, 1.5, {"loss": 0.5, "accuracy": 0.75})
    result = where.run.result(4, "imp", 2, 1)

    class Checked(Written):
        def save(self, path: Path) -> None:
            assert not result.exists()
            super().save(path)

    keep(where, 4, "imp", Checked(order), 1, record, "the trained params", Checked(order))
    assert order == (["trained.keras"] if kept else []) + ["history.csv"]
    about = {"kind": "imp", "round": 2, "init_seed": 4, "data_order": 1, "sparsity": 0.36, "seconds": 1.5}
    numbers = {"loss": 0.5, "accuracy": 0.75, "train_loss": 0.25, "stored": 1200, "decoded": 1200}
    assert read_json(result) == about | numbers


def test_a_line_says_what_was_trained_and_how_well():
    text = line(3, "imp", 2, 0.36, {"accuracy": 0.875}, 12.34)
    assert " ".join(text.split()) == "seed 3 imp round 2 sparsity 36.00% test accuracy 87.50% 12.3 s"
