"""JSON files: a failed write keeps the old one, damage and absent fields are told by the name of the file."""

import pytest

from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend


def test_a_failed_rewrite_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(TypeError):
        write_json(target, {"new": object()})
    assert read_json(target) == {"old": 1}


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "result.json").write_text('{"half":')
    with pytest.raises(ValueError, match="damaged"):
        read_json(tmp_path / "result.json")


def test_changed_json_is_told_and_fields_are_named(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"accuracy": 0.5})
    assert read_json(path) == {"accuracy": 0.5}
    with pytest.raises(ValueError, match="Expected the field 'loss' in '.*result.json'"):
        read_json(path)["loss"]
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match="result.json' is damaged JSON: it was changed after it was written"):
        read_json(path)
    path.write_text('{"accuracy": 0.6}')  # of before there were digests
    assert read_json(path) == {"accuracy": 0.6}
    for text, message in (("[1]", "an object with fields"), ("[" * 10**5, "too deeply"), ("{", "damaged JSON")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"result.json.*{message}"):
            read_json(path)
    with pytest.raises(ValueError, match="' is damaged JSON: it is a folder"):
        read_json(tmp_path)
