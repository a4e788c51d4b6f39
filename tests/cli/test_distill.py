"""`kerasticket distill`: presets, methods and their settings as flags."""

from pathlib import Path

import pytest

from kerasticket.cli.distill import main, parse
from kerasticket.experiments.events import Event
from kerasticket.experiments.jobs import distill as job

pytestmark = pytest.mark.same_on_every_backend


def test_settings_of_the_method_are_flags():
    config, settings = parse(
        ["--method", "dsa", "--ipc", "10", "--networks", "7", "--matching.no-flip", "--distance", "l1", "--seed", "4"]
    )
    assert (settings.networks, settings.iterations, settings.distance) == (7, 10, "l1")
    assert not settings.matching.flip
    assert settings.training.flip
    assert config.seed == 4


def test_presets_and_their_number_of_images():
    settings, method = parse(["--preset", "cifar10-cpu", "--ipc", "1"])
    assert (settings.dataset, settings.ipc, settings.test_width) == ("cifar10", 1, 128)
    assert method.learning_rate == 0.005  # which IDC scales with ipc


def test_help_of_a_method_has_its_settings_and_that_of_all_says_where_they_are(capsys):
    for arguments, there in (([], False), (["--method", "selection"], True)):
        with pytest.raises(SystemExit):
            parse([*arguments, "--help"])
        printed = capsys.readouterr().out
        assert ("--by" in printed) is there
        assert ("--method NAME --help" in printed) is not there


def test_the_file_and_the_minutes_are_said(monkeypatch, capsys):
    def made(settings, method, *, command, listener):
        listener(Event("note", text="teacher      98.00 %"))
        return Path("a.h5"), 1.25

    monkeypatch.setattr(job, "distill", made)
    main(*parse(["--ipc", "1"]), command="")
    assert capsys.readouterr().out == (
        "teacher      98.00 %\n1.2 minutes of distillation; set in a.h5, preview in a.png\n"
    )
