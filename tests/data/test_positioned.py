"""The dataset with a position is one like any other to TensorFlow and Keras."""

import pytest
import tensorflow as tf
from numbered_images import numbered, stream

from kerasticket.data import pipeline
from kerasticket.data.positioned import Pipeline

pytestmark = pytest.mark.same_on_every_backend


def test_a_pipeline_is_a_dataset():
    batches = pipeline(numbered(20), batch_size=8, passes=2)
    assert isinstance(batches, Pipeline)
    assert isinstance(batches, tf.data.Dataset)
    assert [spec.shape.as_list() for spec in batches.element_spec] == [[None, 4, 4, 3], [None, 3]]
    assert len(batches) == batches.cardinality() == 6
    assert not batches.options().autotune.enabled


def test_what_is_derived_follows_its_position():
    batches = pipeline(numbered(20), batch_size=8, seed=1)
    derived = batches.map(lambda images, labels: images).take(2)
    batches.position = 1, 2
    expected = stream(batches)
    batches.position = 1, 2
    assert [images.tobytes() for images in stream(derived)] == [images.tobytes() for images, _ in expected[:2]]
    assert batches.position == (1, 3)
