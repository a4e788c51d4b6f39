"""What stands behind a result: installed versions, the backend in use, the command."""

import json
import sys
from importlib import metadata

import keras
import pytest

from kerasticket.files import environment as module
from kerasticket.files.environment import environment

pytestmark = pytest.mark.same_on_every_backend


def test_versions_and_backend_are_those_in_use(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/hessian.py", "--out", "x"])
    found = environment()
    assert found["keras"] == keras.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["backend"] == keras.config.backend()
    assert found["command"] == "scripts/hessian.py --out x"
    assert json.loads(json.dumps(found)) == found


def test_what_is_not_installed_is_not_named(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package-of-ours"))
    monkeypatch.delitem(sys.modules, "keras")
    found = environment()
    assert found["numpy"] == metadata.version("numpy")
    assert "no-such-package-of-ours" not in found
    assert found["backend"] == "not imported"
