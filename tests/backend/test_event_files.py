"""Event files, read back by TensorFlow's own reader, which checks each record's checksum."""

import numpy as np
import pytest
from event_reader import read

from kerasticket.backend.event_files import BINS, EventWriter

pytestmark = pytest.mark.same_on_every_backend


def test_scalars_come_back_by_tag_and_step(tmp_path):
    with EventWriter(tmp_path / "deep" / "logs") as writer:
        for step in (0, 7):
            writer.scalar("sparsity", 0.1 + step, step)
        writer.scalar("other", -1, 7)
    found = {key: float(value) for key, value in read(tmp_path / "deep" / "logs").items()}
    assert found == pytest.approx({("sparsity", 0): 0.1, ("sparsity", 7): 7.1, ("other", 7): -1})


def test_what_was_flushed_is_there_before_the_end(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalar("a", 1.0, 0)
    writer.flush()
    assert list(read(tmp_path)) == [("a", 0)]
    writer.close()


def test_histograms_count_into_bins_of_equal_width(tmp_path):
    values = np.concatenate([np.zeros(5), [1.0], np.full(3, 3.0)])
    with EventWriter(tmp_path) as writer:
        writer.histogram("kept/a", values, step=2)
    left, right, count = read(tmp_path)["kept/a", 2].T
    assert len(count) == BINS
    np.testing.assert_allclose(right - left, 3 / BINS)
    np.testing.assert_allclose(left[1:], right[:-1])
    assert {index: int(n) for index, n in enumerate(count) if n} == {0: 5, 10: 1, 29: 3}


def test_an_emptied_layer_and_broken_weights_have_histograms_too(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.histogram("kept/empty", np.zeros(0), step=0)
        writer.histogram("kept/one", np.ones(3), step=0)
        writer.histogram("kept/broken", np.array([1.0, np.nan, np.inf]), step=0)
    counts = {tag: value[:, 2].sum() for (tag, _), value in read(tmp_path).items()}
    assert counts == {"kept/empty": 0, "kept/one": 3, "kept/broken": 1}
