"""Where a distilled set is written, and what may take its place."""

import dataclasses
from pathlib import Path

import pytest

import kerasticket as kt
from kerasticket.experiments.set_file import check_replaceable, path_of
from kerasticket.experiments.settings import DistillationSettings

pytestmark = pytest.mark.same_on_every_backend


def test_files_are_named_by_data_set_and_not_overwritten_by_others(tmp_path):
    """`selection` says nothing of a file's bytes: what a set was made from does."""
    settings = DistillationSettings("folder:my/pets", ipc=2)
    method = kt.distillation.Selection(networks=5)
    assert path_of(settings) == Path("assets/distilled/folder_my_pets_ipc2.h5")
    assert path_of(DistillationSettings()) == Path("assets/distilled/digits_ipc10.h5")
    train, path = kt.data.load("digits", images_per_class=5), tmp_path / "set.h5"

    def check(data=train, sha="1", made=method):
        check_replaceable(path, settings, made, data, sha)

    check()  # there is none
    about = dataclasses.asdict(method) | {"data_sha256": "1", "precision": "float32"}
    old = dataclasses.replace(kt.data.random_real(train, 2), method="selection", settings=about)
    dataclasses.replace(old, seeds={"distillation": 0}).save(path)
    check()
    check(made=dataclasses.replace(method, networks=method.networks + 1))  # goes on
    with pytest.raises(ValueError, match=r"data_sha256 was '1', is now '2'. Choose another --out, or pass --overwrite"):
        check(sha="2")
    with pytest.raises(ValueError, match=r"source was 'digits:1.0.0/train, 5 per class, seed 0', is now 'pets'"):
        check(dataclasses.replace(train, source="pets"))
    with pytest.raises(ValueError, match=r"networks was \d+, is now 1\."):
        check(made=dataclasses.replace(method, networks=1))
    path.write_bytes(b"no set")
    with pytest.raises(ValueError, match="is no distilled set"):
        check()
