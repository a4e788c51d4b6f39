"""Keras without TensorFlow's lines, and with Python's own errors."""

import os
import subprocess
import sys

import pytest

from kerasticket.backend.quiet import _no_stderr

pytestmark = pytest.mark.same_on_every_backend


def test_what_the_c_side_prints_is_not_seen_and_what_follows_is(capfd):
    with _no_stderr():
        os.write(2, b"of C++\n")
        sys.stderr.flush()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_errors_on_the_way_are_raised_and_stderr_is_back(capfd):
    with pytest.raises(ImportError, match="no such backend"), _no_stderr():
        raise ImportError("no such backend")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_importing_is_silent_and_turns_onednn_on_unless_told():
    code = """
import os
from kerasticket.backend.quiet import import_keras
import_keras()
import sys
assert "keras" in sys.modules
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
