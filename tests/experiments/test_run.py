"""Runs on disk: whole files only, the same configuration only, nothing foreign overwritten."""

import json

import pytest

from kerasticket.experiments.run import Run
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend


def test_the_same_configuration_continues(tmp_path):
    Run.open(tmp_path / "run", {"rounds": 3, "seeds": (1, 2)})
    again = Run.open(tmp_path / "run", {"rounds": 3, "seeds": (1, 2)})
    assert json.loads((again.folder / "environment.json").read_text())["python"]


def test_another_configuration_is_refused_with_the_fields(tmp_path):
    Run.open(tmp_path / "run", {"rounds": 3, "l2": 0.1})
    with pytest.raises(ValueError, match=r"l2 was 0\.1, is now 0\.2.*--force"):
        Run.open(tmp_path / "run", {"rounds": 3, "l2": 0.2})


def test_free_fields_may_change(tmp_path):
    Run.open(tmp_path / "run", {"rounds": 3}, free=("rounds",))
    Run.open(tmp_path / "run", {"rounds": 5}, free=("rounds",))
    assert read_json(tmp_path / "run" / "config.json")["rounds"] == 5


def test_keys_of_later_versions_bind_once_they_are_known(tmp_path):
    Run.open(tmp_path / "run", {"rounds": 3})
    Run.open(tmp_path / "run", {"rounds": 3, "data": "a"}, later=("data",))
    assert read_json(tmp_path / "run" / "config.json")["data"] == "a"
    with pytest.raises(ValueError, match="data was 'a', is now 'b'"):
        Run.open(tmp_path / "run", {"rounds": 3, "data": "b"}, later=("data",))


def test_force_starts_again_but_never_deletes_a_folder_that_is_no_run(tmp_path):
    run = Run.open(tmp_path / "run", {"rounds": 3})
    (run.folder / "ticket").touch()
    Run.open(tmp_path / "run", {"rounds": 4}, force=True)
    assert not (run.folder / "ticket").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").touch()
    with pytest.raises(ValueError, match="which is no run"):
        Run.open(tmp_path / "home", {"rounds": 3}, force=True)
    assert (tmp_path / "home" / "precious").exists()


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder that can be written to"):
        Run.open(tmp_path / "file" / "run", {})


def test_results_come_in_a_fixed_order(tmp_path):
    run = Run.open(tmp_path / "run", {})
    for seed, index in ((1, 2), (0, 10), (0, 2)):
        write_json(run.result(seed, "imp", index, 1), {"seed": seed, "round": index})
    assert [(row["seed"], row["round"]) for row in run.results()] == [(0, 2), (0, 10), (1, 2)]


def test_what_a_kill_leaves_behind_does_not_lock_the_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".4711.config.json").write_text("half")
    (folder / ".4711.probe").touch()
    Run.open(folder, {"rounds": 3})
    Run.open(folder, {"rounds": 3})


def test_a_file_in_the_place_of_a_run_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="folder that can be written to"):
        Run.open(tmp_path / "run", {})


def test_force_keeps_what_another_program_has_configured(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="which is no run"):
        Run.open(tmp_path, {}, force=True)
    assert (tmp_path / "config.json").exists()


def test_tickets_are_listed_in_order(tmp_path):
    run = Run.open(tmp_path / "run", {})
    keys = [(0, "dense", 0), (0, "imp", 2), (0, "imp", 10), (10, "random", 1), (2, "synthetic", 1)]
    for key in keys:
        write_json(run.ticket(*key), {})
    write_json(run.record(0, "imp", 3), {})
    assert run.tickets() == sorted(keys)
