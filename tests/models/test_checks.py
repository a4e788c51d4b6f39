"""What builders refuse, each with what was expected and what was received."""

import pytest

from kerasticket.models import checks, convnet
from kerasticket.models.checks import check_classifier, check_image_classifier

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((None, 8, 3), 10), r"positive integers, without the batch axis. Received: \(None, 8, 3\)"),
        (((8, 0), 10), r"positive integers.*Received: \(8, 0\)"),
        (((8.0,), 10), "positive integers"),
        (((8, 8, 3), 1), "num_classes >= 2, one logit per class. Received: num_classes=1"),
    ],
)
def test_classifiers_have_known_sizes_and_two_classes(arguments, message):
    check_classifier((8,), 2, width=1)
    with pytest.raises(ValueError, match=message):
        check_classifier(*arguments)
    with pytest.raises(ValueError, match=message):
        check_image_classifier(*arguments, 4)


def test_every_size_is_named():
    with pytest.raises(ValueError, match="Expected depth >= 1. Received: depth=0"):
        check_classifier((8,), 2, width=1, depth=0)


def test_the_shorter_side_of_an_image_counts():
    check_image_classifier((4, 9, 1), 2, 4)
    for shape in ((3, 9, 1), (9, 3, 1)):
        with pytest.raises(ValueError, match=r"at least 4x4 pixels.*larger images.*Received: input_shape=\([39], [39]"):
            check_image_classifier(shape, 2, 4)


def test_shapes_that_are_no_images_are_refused():
    """Height, width, channels: no more, no less."""
    with pytest.raises(ValueError, match="height, width, channels"):
        convnet((32, 32))


def test_channels_first_is_refused(monkeypatch):
    """Keras would silently read channels as height."""
    monkeypatch.setattr(checks.keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="channels last"):
        convnet()
