"""Both files of a figure, and none where there is no longer any."""

import matplotlib.pyplot as plt
import pytest

from kerasticket.experiments import figure_files

pytestmark = pytest.mark.same_on_every_backend


def test_a_figure_is_two_files_until_it_is_removed(tmp_path):
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    figure_files.save(figure, tmp_path, "figure")
    plt.close(figure)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert len(list(tmp_path.iterdir())) == 2
    figure_files.remove(tmp_path, "figure")
    figure_files.remove(tmp_path, "figure")
    assert not list(tmp_path.iterdir())
