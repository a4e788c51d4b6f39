"""Checkpoints: back to the bit, of one computation alone, and whole whoever is killed."""

import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as extra

from kerasticket.files import checkpoint as checkpoint_file
from kerasticket.files.checkpoint import Checkpoint

pytestmark = pytest.mark.same_on_every_backend

IDENTITY = {"seed": 3, "rate": 0.1, "shape": (16, 16), "model": None}
ARRAYS = {"state:images": np.linspace(0, 1, 7, dtype=np.float32), "0|a/kernel": np.eye(3, dtype=bool)}


def of(path, identity=IDENTITY, **options):
    return Checkpoint(path, identity, **{"what": "distillation", "state": {"done": int}} | options)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "new" / "state.npz"
    of(path).save(ARRAYS, {"done": 5})
    return path


def same(left, right):
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape)
        assert array.tobytes() == right[name].tobytes()


def test_what_was_saved_comes_back(saved):
    arrays, state = of(saved).load()
    same(arrays, ARRAYS)
    assert state == {"done": 5}
    assert [path.name for path in saved.parent.iterdir()] == ["state.npz"]


def test_nothing_comes_of_no_file(saved):
    of(saved).discard()
    assert of(saved).load() is None
    of(saved).discard()


def test_arrays_can_be_read_in_part(saved):
    assert list(of(saved).load("0|").arrays) == ["0|a/kernel"]


DTYPES = st.one_of(
    extra.boolean_dtypes(), extra.integer_dtypes(), extra.floating_dtypes(), extra.complex_number_dtypes()
)
ANY = extra.arrays(DTYPES, extra.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
NAMES = st.text("ab/|:_.é0 ", min_size=1, max_size=8)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=st.dictionaries(NAMES, ANY, max_size=3), done=st.integers(-(2**62), 2**62), columns=st.booleans())
def test_any_arrays_come_back_to_the_bit(arrays, done, columns, tmp_path):
    """Of any type, byte order, shape and layout; NaN with its bits."""
    arrays = {name: np.asfortranarray(array) if columns else array for name, array in arrays.items()}
    of(tmp_path / "any.npz").save(arrays, {"done": done})
    found = of(tmp_path / "any.npz").load()
    same(found.arrays, arrays)
    assert found.state == {"done": done}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed was 3, is now 4"),
        ({"seed": 4, "rate": 0.2}, "rate was 0.1, is now 0.2; seed was 3, is now 4"),
        ({"shape": (16, 8)}, r"shape was \[16, 16\], is now \[16, 8\]"),
        ({"width": 4}, "width was None, is now 4"),
        ({"width": None}, "width was None, is now None"),
    ],
)
def test_another_identity_is_refused_by_name(changes, message, saved):
    with pytest.raises(ValueError, match=f"Received: that of another distillation: {message}. Go back.*or delete"):
        of(saved, IDENTITY | changes).load()


def test_a_field_that_the_file_alone_has_is_refused(saved):
    with pytest.raises(ValueError, match="rate was 0.1, is now None"):
        of(saved, {name: value for name, value in IDENTITY.items() if name != "rate"}).load()


def test_values_that_mean_the_same_are_taken(saved):
    close = {"rate": lambda before, now: abs(before - now) < 0.01}
    assert of(saved, IDENTITY | {"rate": 0.1001}, alike=close).load().state == {"done": 5}
    with pytest.raises(ValueError, match="rate was 0.1, is now 0.2"):
        of(saved, IDENTITY | {"rate": 0.2}, alike=close).load()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(content: bytes) -> bytes:
    """One bit of the images, under the checksum of the archive too."""
    place = content.find(np.float32(1).tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, changed, lambda content: b"", lambda content: b"half"])
def test_damaged_files_are_refused(damage, saved):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match=r"state of this distillation in '.*state.npz'.*damaged file.*Delete it"):
        of(saved).load()


@pytest.mark.parametrize(
    "content",
    [
        {"about": np.array("[]")},
        {"about": np.array("{")},
        {"images": np.ones(2)},
        {"about": np.array('{"seed": 3, "rate": 0.1, "shape": [16, 16], "model": null, "done": "five"}')},
        {
            "about": np.array('{"seed": 3, "rate": 0.1, "shape": [16, 16], "model": null, "done": 5}'),
            "images": np.array(["a"]),
        },
    ],
)
def test_archives_of_something_else_are_refused(content, saved):
    np.savez(saved, **content)
    with pytest.raises(ValueError, match=r"state.npz'.*damaged"):
        of(saved).load()


@pytest.mark.parametrize(
    ("arrays", "state"), [({}, {}), ({}, {"done": 1, "more": 2}), ({"about": np.ones(1)}, {"done": 1})]
)
def test_what_could_not_be_read_is_not_saved(arrays, state, saved):
    with pytest.raises(ValueError, match=r"Expected a state of \['done'\]"):
        of(saved).save(arrays, state)
    same(of(saved).load().arrays, ARRAYS)


def test_state_and_identity_share_no_field(tmp_path):
    with pytest.raises(ValueError, match=r"Received: \['seed'\] of both"):
        of(tmp_path / "state.npz", state={"seed": int})


@pytest.mark.parametrize("place", ["numpy.savez", "os.replace"])
def test_a_process_killed_while_writing_leaves_the_old_state(place, saved):
    program = f"""
        import os, numpy, unittest.mock
        from kerasticket.files.checkpoint import Checkpoint

        def kill(target, *more, **arrays):
            if "savez" in "{place}":
                target.write(b"PK half of it")
                target.flush()
            os._exit(9)

        checkpoint = Checkpoint({str(saved)!r}, {IDENTITY!r}, state={{"done": int}})
        with unittest.mock.patch("{place}", kill):
            checkpoint.save({{"more": numpy.ones(9)}}, {{"done": 6}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, timeout=60)
    assert done.returncode == 9
    assert len(list(saved.parent.iterdir())) == 2  # the temporary file, which nobody reads
    arrays, state = of(saved).load()
    same(arrays, ARRAYS)
    assert state == {"done": 5}


def test_a_checkpoint_is_due_each_minute(tmp_path, monkeypatch):
    checkpoint = of(tmp_path / "state.npz")
    assert not checkpoint.due
    later = time.monotonic() + checkpoint_file.SECONDS_BETWEEN_CHECKPOINTS
    monkeypatch.setattr(time, "monotonic", lambda: later + 1)
    assert checkpoint.due
    checkpoint.save({}, {"done": 1})
    assert not checkpoint.due
