"""Encoded image files (JPEG, PNG, ...) to uint8 arrays of one size, all at once or as a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kerasticket.data.images import (
    ImageSet,
    aligned_empty,
    check_labels,
    check_normalization,
    choose_per_class,
    make_plain,
)
from kerasticket.data.tensorflow_ops import plain, tensorflow


def decode(encoded, height: int, width: int, channels: int):
    """One encoded image as a uint8 TensorFlow tensor (height, width, channels).

    An image of another size has its sides scaled (bilinear, antialiased) until it just covers the target,
    and is cropped at the center. Of an animation the first frame counts.
    """
    tf = tensorflow()
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    image.set_shape((None, None, channels))
    size = tf.shape(image)[:2]
    fits = tf.reduce_all(tf.equal(size, [height, width]))
    image = tf.cond(fits, lambda: image, lambda: _cover(image, size, height, width))
    image.set_shape((height, width, channels))
    return image


def _cover(image, size, height: int, width: int):
    tf = tensorflow()
    target = tf.constant([height, width], tf.float32)
    scale = tf.reduce_max(target / tf.cast(size, tf.float32))
    scaled = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), [height, width])
    image = tf.image.resize(tf.cast(image, tf.float32), scaled, antialias=True)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    image = image[top : top + height, left : left + width]
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def decoded_shapes(paths: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(height, width, channels) of image files one after the other, as they are stored.

    Raises:
        ValueError: a file, which is named, cannot be read as an image.
    """
    tf = tensorflow()

    def shape(path):
        return tf.shape(tf.io.decode_image(tf.io.read_file(path), expand_animations=False))

    shapes = tf.data.Dataset.from_tensor_slices(list(paths)).map(plain(shape), tf.data.AUTOTUNE)
    done = 0
    try:
        for height, width, channels in shapes.as_numpy_iterator():
            done += 1
            yield int(height), int(width), int(channels)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{paths[done]} cannot be read as an image: it is empty, damaged, of another type than its name says, or a "
            "link that leads nowhere. Mend or delete it."
        ) from error


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Real images that do not fit in memory: files (or encoded bytes) that a pipeline decodes as it goes.

    Attributes:
        files: (n,) objects, all paths (str) or all encoded images (bytes).
        labels: int64, (n,), positions in `class_names`.
        class_names, source, mean, std: as in `ImageSet`.
        input_shape: (height, width, channels) that every image is brought to by `decode`.

    Raises:
        ValueError: if the fields disagree.
    """

    files: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        make_plain(self)
        if not len(self.files) or {type(file) for file in self.files} not in ({str}, {bytes}):
            raise ValueError(
                f"files must be all paths (str) or all encoded images (bytes), at least one: {self.source!r}"
            )
        check_labels(self.labels, len(self.files), self.class_names)
        check_normalization(self.mean, self.std, self.input_shape[-1])

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def subset(self, images_per_class: int, seed: int) -> "StreamedImages":
        """The same data with `images_per_class` seeded random images of each class, in the data's order."""
        chosen = choose_per_class(self.labels, self.class_names, images_per_class, seed)
        source = f"{self.source}, {images_per_class} per class, seed {seed}"
        return replace(self, files=self.files[chosen], labels=self.labels[chosen], source=source)

    def read(self, file):
        """The decoded uint8 TensorFlow tensor of one entry of `files`; for use inside tf.data."""
        tf = tensorflow()
        encoded = tf.io.read_file(file) if isinstance(self.files[0], str) else file
        return decode(encoded, *self.input_shape)

    def check_readable(self, positions: Iterable[int]) -> None:
        """Raises ValueError, naming it, if a file of these cannot be read as an image."""
        for position in positions:
            file = self.files[position]
            try:
                self.read(file)
            except tensorflow().errors.OpError as error:
                name = file if isinstance(file, str) else f"image {position}"
                raise ValueError(f"{self.source}: {name} cannot be read as an image: {error.message[:200]}") from error

    def to_memory(self) -> ImageSet:
        """All images decoded, as an `ImageSet`.

        Raises:
            ValueError: if a file cannot be read as an image.
        """
        tf = tensorflow()
        files = tf.data.Dataset.from_tensor_slices(list(self.files))
        try:
            images = fill(files.map(plain(self.read), tf.data.AUTOTUNE), len(self), self.input_shape, self.source)
        except ValueError:
            self.check_readable(range(len(self)))
            raise
        return ImageSet(images, self.labels, self.class_names, self.source, self.mean, self.std)


def fill(decoded, count: int, shape: tuple[int, int, int], source: str) -> np.ndarray:
    """The `count` images of a tf.data pipeline as one uint8 array (count, *shape), without a second copy.

    Raises:
        ValueError: if an image cannot be decoded.
    """
    images = aligned_empty((count, *shape))
    start = 0
    try:
        for batch in decoded.batch(256).prefetch(2).as_numpy_iterator():
            images[start : start + len(batch)] = batch
            start += len(batch)
    except tensorflow().errors.OpError as error:
        raise ValueError(f"{source}: image {start} or one soon after it cannot be decoded: {error.message}") from error
    return images
