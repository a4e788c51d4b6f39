"""What every builder refuses before it builds anything."""

import keras


def check_classifier(input_shape: tuple[int, ...], num_classes: int, **sizes: int) -> None:
    """Raises ValueError for fewer than 2 classes, a shape with unknown axes, or any of `sizes` below 1."""
    if not all(isinstance(length, int) and length >= 1 for length in input_shape):
        raise ValueError(
            f"Expected an input_shape of positive integers, without the batch axis. Received: {input_shape}"
        )
    if num_classes < 2:
        raise ValueError(f"Expected num_classes >= 2, one logit per class. Received: num_classes={num_classes}")
    for argument, value in sizes.items():
        if value < 1:
            raise ValueError(f"Expected {argument} >= 1. Received: {argument}={value}")


def check_image_classifier(input_shape: tuple[int, ...], num_classes: int, smallest: int, **sizes: int) -> None:
    """As `check_classifier`; also for what is no image, or one of less than `smallest` pixels a side."""
    check_classifier(input_shape, num_classes, **sizes)
    if len(input_shape) != 3:
        raise ValueError(f"Expected input_shape=(height, width, channels). Received: input_shape={input_shape}")
    if min(input_shape[:2]) < smallest:
        raise ValueError(
            f"Expected images of at least {smallest}x{smallest} pixels, as each pooling or stride halves: "
            f"give larger images, or a model that halves them less often. Received: input_shape={input_shape}"
        )
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Expected images with channels last: call keras.config.set_image_data_format('channels_last') "
            f"first. Received: {keras.config.image_data_format()!r}"
        )
