"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_tour_runs(monkeypatch, tmp_path):
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    (tour,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(tour, names)
    assert names["ticket"].kept == round(0.8**4 * names["ticket"].total)
    assert (tmp_path / "ticket.keras").exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:assets|scripts|tests)/[\w./-]+\w", README))))
def test_every_file_it_names_is_there(path):
    assert (ROOT / path).exists()
