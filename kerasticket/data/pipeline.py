"""A tf.data pipeline whose every batch is a pure function of (seed, round, pass, position in the pass).

A *pass* shows every image once, in its own order; one iteration over the dataset, which is one Keras epoch,
is `passes` passes. Which passes they are is not hidden state of an iterator but the pipeline's `position`,
(round, epoch), that each new iteration reads and advances by one epoch. A plain `fit` therefore needs nothing; a
resumed or many-round training sets it in `on_epoch_begin`, before Keras makes the epoch's iterator. It must do so
from the first epoch: on some backends Keras peeks at one batch before training, which advances the position. Keras
tells callbacks nothing of `fit`'s data, so they are given the pipeline.
"""

import dataclasses
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasticket.data.augmentation import presets
from kerasticket.data.augmentation.presets import Augmentation
from kerasticket.data.distilled import DistilledSet
from kerasticket.data.images import ImageSet
from kerasticket.data.positions import Counter
from kerasticket.data.sources.decoding import StreamedImages
from kerasticket.data.tensorflow_ops import plain, tensorflow, tensorflow_namespace

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasticket.data.positioned import Pipeline

Data = ImageSet | StreamedImages | DistilledSet
# Philox gives the same numbers wherever it runs, where "auto" may choose another generator.
GENERATOR = "philox"
CORES = min(8, os.cpu_count() or 1)
WORKERS = ThreadPoolExecutor(CORES, thread_name_prefix="kerasticket-data")
# Batches made in advance; one of 64 images of 224 x 224 has 38 MB.
AHEAD = CORES + 2


def pipeline(
    data: Data,
    *,
    batch_size: int = 64,
    seed: int = 0,
    shuffle: bool = True,
    augmentation: Augmentation | None = None,
    passes: int = 1,
) -> "Pipeline":
    """Batches for `fit` and `evaluate` on any Keras backend.

    The pipeline is a tf.data.Dataset: `map`, `take`, `save`, `shard` and, in one process, tf.distribute's strategies
    take it. Its batches are made by Python, a call for each: functions in tf.data's own graph would be built anew
    for every epoch, which takes longer than an epoch of distilled data, and would round otherwise. So it cannot
    leave its process: not as a graph, not to tf.data's service, not to a worker of another process; its iterator
    cannot be put in a checkpoint (set `position` instead). `shard` makes all batches and drops those of the others.
    What must travel, `save`: it writes the next epoch, and `tf.data.Dataset.load` reads it without Python.

    Trainings do not disturb each other, in threads either, if each has a pipeline of its own.

    Args:
        data: real images, in memory or streamed, or a distilled set, which is decoded first.
        batch_size: images per batch; the last batch of a pass may be smaller, as torch's DataLoader has it.
        seed: of order, augmentation and CutMix: "the data order" of instability analysis.
        shuffle: a new order for each pass; else the order of the data.
        augmentation: a recipe, or None.
        passes: passes over the data per iteration, so per Keras epoch. For data of a few batches many passes
            per epoch avoid Keras' per-epoch cost; the stream of batches is the same however it is grouped.

    Returns:
        A tf.data.Dataset with a `position`, of (images float32 (n, height, width, channels), labels float32
        (n, classes)): images normalized with the data's own mean and std (distilled data of another space than
        "unit": as they are), labels one-hot or soft. Its cardinality is passes * ceil(images / batch_size); pass
        `shuffle=False` to `fit`. `position` is the (round, epoch) of the next iteration and can be set: batches
        depend on nothing but it, the seed and their number.

    Raises:
        ValueError: sizes below 1, a negative seed, or an augmentation in [0, 1] of data that are not.

    Example:
        >>> from kerasticket.data.sources.real import load
        >>> batches = pipeline(load("digits"), batch_size=64, passes=2)
        >>> int(batches.cardinality()), batches.element_spec[0].shape.as_list()
        (32, [None, 16, 16, 1])
        >>> first = next(iter(batches))[0].numpy()
        >>> batches.position
        Position(round=0, epoch=1)
        >>> batches.position = 0, 0
        >>> bool((next(iter(batches))[0].numpy() == first).all())
        True
    """
    _check(data, batch_size, seed, augmentation, passes)
    tf = tensorflow()
    from kerasticket.data.positioned import Pipeline

    stream = Stream(data, batch_size, seed, shuffle, augmentation)
    count = passes * stream.per_pass
    take, make = weak(stream.counter.take), weak(stream.batch)
    shapes = (None, *data.input_shape), (None, data.num_classes)

    def batch(at, i):
        start = at[1] * count
        made = tf.py_function(make, [at[0], start + i, start + count], [tf.float32, tf.float32])
        return tuple(tf.ensure_shape(each, shape) for each, shape in zip(made, shapes, strict=True))

    batches = _places(take, count).map(plain(batch)).apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # see Stream
    # There is nothing to tune, and an iterator that is tuned waits, when it is given up, for the tuner's next
    # turn: TensorFlow 2.21 doubles the time between turns, so a fit could take twice its time.
    options.autotune.enabled = False
    return Pipeline(batches.with_options(options), stream)


def weak(method: Callable) -> Callable:
    """A bound method that does not keep its object alive.

    TensorFlow keeps every function given to `py_function` until the process ends, and would keep all images.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments):
        alive = reference()
        if alive is None:
            raise ReferenceError("Expected a pipeline that is still there. Received: batches of one that is gone.")
        return alive(*arguments)

    return call


def _check(data: Data, batch_size: int, seed: int, augmentation: Augmentation | None, passes: int) -> None:
    if not isinstance(data, Data):
        raise ValueError(f"data must be an ImageSet, StreamedImages or DistilledSet. Received: {type(data).__name__}")
    if batch_size < 1 or passes < 1:
        raise ValueError(f"batch_size and passes must be at least 1. Received: {batch_size=}, {passes=}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must lie in 0..2**63 - 1. Received: {seed}")
    if augmentation is not None and augmentation.unit_steps and _space(data) != "unit":
        raise ValueError(
            f"{', '.join(augmentation.unit_steps)} need images in [0, 1]. Received: a distilled set in space "
            f"{_space(data)!r}; use a recipe without them."
        )


def _space(data: Data) -> str:
    return data.space if isinstance(data, DistilledSet) else "unit"


def _count(data: Data) -> int:
    return data.decoded_count if isinstance(data, DistilledSet) else len(data)


def _places(take: Callable, count: int) -> "tf.data.Dataset":
    """((round, epoch), i) for the `count` batches of the iteration that is beginning."""
    tf = tensorflow()
    data = tf.data.Dataset

    def start(_):
        return tf.ensure_shape(tf.py_function(take, [], tf.int64), (2,))

    def enumerated(at):
        return data.zip(data.from_tensors(at).repeat(count), data.range(count))

    return data.from_tensors(0).map(plain(start)).flat_map(plain(enumerated))


class Stream:
    """All batches there can be, any of them computed from its place, in functions that are traced once.

    tf.data would build the same functions anew for every epoch, which takes longer (.3 s for the paper's
    recipe) than an epoch of distilled data does; so its graph holds only a call into Python. Nor does it make
    batches ahead, as its threads would then call Python while the interpreter exits, which hangs (and so does
    a `.prefetch()` after it); `WORKERS` do that, which Python joins before it exits.
    """

    def __init__(
        self, data: Data, batch_size: int, seed: int, shuffle: bool, augmentation: Augmentation | None
    ) -> None:
        tf = tensorflow()
        self.counter = Counter()
        self.count, self.batch_size, self.shuffle = _count(data), batch_size, shuffle
        self.per_pass = -(-self.count // batch_size)
        self.seed = (seed & 0x7FFFFFFF, seed >> 31)
        self.files = data if isinstance(data, StreamedImages) else None
        with tf.device("CPU:0"):
            self.make = _batch_maker(data, augmentation)
        number, key = tf.TensorSpec((), tf.int64), tf.TensorSpec((2,), tf.int64)
        order = tf.TensorSpec((self.count,), tf.int64)
        self._begin = tf.function(self._key_and_order, autograph=False).get_concrete_function(number, number)
        self._batch = tf.function(self.make_batch, autograph=False).get_concrete_function(key, order, number)
        # Batches of two passes that follow each other may be made at the same time.
        self.begin = lru_cache(maxsize=4)(weak(self._begin_pass))
        self.lock, self.coming = Lock(), dict[tuple[int, int], Future]()

    def batch(self, round, number, end):
        """Batch `number` of a round, counted over all its passes; those up to `end` are begun in advance."""
        wanted, end = (int(round), int(number)), int(end)
        with self.lock:
            if len(self.coming) > 4 * AHEAD:  # an iteration was given up
                for future in self.coming.values():
                    future.cancel()
                self.coming.clear()
            for place in range(wanted[1], min(wanted[1] + AHEAD, end)):
                if (wanted[0], place) not in self.coming:
                    self.coming[wanted[0], place] = WORKERS.submit(self.compute, wanted[0], place)
            made = self.coming.pop(wanted)
        return made.result()

    def compute(self, round: int, number: int):
        """Images and labels of one batch."""
        tf = tensorflow()
        key, order = self.begin(round, number // self.per_pass)
        place = number % self.per_pass
        try:
            return self._batch(key, order, tf.constant(place, tf.int64))
        except tf.errors.OpError:
            if self.files is not None:
                self.files.check_readable(order.numpy()[place * self.batch_size : (place + 1) * self.batch_size])
            raise

    def _begin_pass(self, round: int, number: int):
        tf = tensorflow()
        return self._begin(tf.constant(round, tf.int64), tf.constant(number, tf.int64))

    def _key_and_order(self, round, number):
        tf = tensorflow()
        with tf.device("CPU:0"):
            key = fold_in(fold_in(tf.constant(self.seed, tf.int64), round), number)
            order = tf.range(self.count, dtype=tf.int64)
            if self.shuffle:
                order = tf.random.experimental.stateless_shuffle(order, fold_in(key, 0), alg=GENERATOR)
        return key, order

    def make_batch(self, key, order, i):
        """Batch `i` of the pass with this key and order, as TensorFlow operations."""
        with tensorflow().device("CPU:0"):
            return self.make(fold_in(key, i + 1), order[i * self.batch_size : (i + 1) * self.batch_size])


def fold_in(key, number):
    """A new random key (2,) from a key and an integer."""
    return tensorflow().random.experimental.stateless_fold_in(key, number, alg=GENERATOR)


def _batch_maker(data: Data, augmentation: Augmentation | None) -> Callable:
    """A function of (key, positions) that makes one batch."""
    tf = tensorflow()
    read_images, read_labels = _readers(data)
    space = (tuple(data.mean), tuple(data.std)) if _space(data) == "unit" else None
    if augmentation is None:
        return lambda key, chosen: (normalized(widened(read_images(chosen)), space), read_labels(chosen))
    draw, augment = traced_draws(augmentation), compiled_augmentation(augmentation, space)
    return lambda key, chosen: augment(draw(key, tf.shape(chosen)[0]), read_images(chosen), read_labels(chosen))


Space = tuple[tuple[float, ...], tuple[float, ...]] | None  # mean and std that images in [0, 1] are normalized with


def widened(images):
    """Images in [0, 1] from bytes; others as they are."""
    tf = tensorflow()
    return tf.cast(images, tf.float32) / 255 if images.dtype == tf.uint8 else images


def normalized(images, space: Space):
    """Images in the space that networks see."""
    return images if space is None else (images - np.asarray(space[0], np.float32)) / np.asarray(space[1], np.float32)


@lru_cache(maxsize=16)
def traced_draws(augmentation: Augmentation) -> Callable:
    """A function of (key, number of images) to the uniform draws of a batch; pipelines that agree share it.

    Apart from the augmentation, as XLA's own generator gives other numbers.
    """
    tf, xp = tensorflow(), tensorflow_namespace()

    def run(key, count):
        draws = Draws(key)
        with tf.device("CPU:0"):
            presets.draw(xp, augmentation, draws, count)  # its result is not used, and TensorFlow leaves it out
        return draws.drawn

    return tf.function(run, autograph=False)


@lru_cache(maxsize=16)
def compiled_augmentation(augmentation: Augmentation, space: Space) -> Callable:
    """A function of (uniform draws, images as read, labels), compiled by XLA; pipelines that agree share it."""
    tf, xp = tensorflow(), tensorflow_namespace()
    # Three loops, as XLA would compute the colors anew for each pixel that a rotation reads, and the rotation
    # for each that CutMix does.
    colors = dataclasses.replace(augmentation, one_of=(), cutout=False)
    moves = dataclasses.replace(augmentation, flip=False, color=False)

    def compiled(step):
        def run(drawn, images, *labels):  # drawing is arithmetic too, on uniform numbers
            return step(presets.draw(xp, augmentation, replay(drawn), tf.shape(images)[0]), images, *labels)

        return tf.function(run, autograph=False, jit_compile=True)

    @compiled
    def color(parameters, images):
        images = presets.augment_unit(xp, augmentation, widened(images), parameters)
        return presets.augment(xp, colors, normalized(images, space), parameters)

    @compiled
    def move(parameters, images):
        return presets.augment(xp, moves, images, parameters)

    @compiled
    def mix(parameters, images, labels):
        return presets.cutmix(xp, augmentation, images, labels, parameters)

    def augment(drawn, images, labels):
        images = move(drawn, color(drawn, images))
        return mix(drawn, images, labels) if augmentation.cutmix else (images, labels)

    return augment


class Draws:
    """Uniform draws from [0, 1) that depend on a key and on how many draws came before; they are kept."""

    def __init__(self, key) -> None:
        self.key, self.drawn = key, list[Any]()

    def __call__(self, *shape):
        key = fold_in(self.key, len(self.drawn) + 1)
        self.drawn.append(tensorflow().random.stateless_uniform(shape, key, alg=GENERATOR))
        return self.drawn[-1]


def replay(drawn: list) -> Callable:
    """The same draws once more, in their order."""
    rest = iter(drawn)
    return lambda *shape: next(rest)


def _readers(data: Data) -> tuple[Callable, Callable]:
    """Functions from positions to images (uint8, or float32 as stored) and labels (float32, one-hot or soft)."""
    tf = tensorflow()
    if isinstance(data, DistilledSet):
        decoded, decoded_labels = data.decode()
        images = tf.convert_to_tensor(decoded)
        return lambda chosen: tf.gather(images, chosen), _label_reader(decoded_labels, data.num_classes)
    read_bytes = _streamed(data) if isinstance(data, StreamedImages) else _held(data)
    return read_bytes, _label_reader(data.labels, data.num_classes)


def _label_reader(labels: np.ndarray, num_classes: int) -> Callable:
    tf = tensorflow()
    held = tf.convert_to_tensor(labels)
    if labels.ndim == 2:
        return lambda chosen: tf.gather(held, chosen)
    return lambda chosen: tf.one_hot(tf.gather(held, chosen), num_classes)


def _held(data: ImageSet) -> Callable:
    tf = tensorflow()
    images = share(data.images)
    return lambda chosen: tf.gather(images, chosen)


def _streamed(data: StreamedImages) -> Callable:
    tf = tensorflow()
    files = tf.constant(list(data.files))
    one = tf.TensorSpec(data.input_shape, tf.uint8)
    return lambda chosen: tf.map_fn(data.read, tf.gather(files, chosen), fn_output_signature=one)


def share(array: np.ndarray):
    """A TensorFlow tensor of a uint8 array, in the same memory where its address allows, else a copy.

    TensorFlow kernels abort the process on memory that is not aligned, which DLPack does not check.
    """
    tf = tensorflow()
    if array.ctypes.data % 64 or not array.flags.c_contiguous or not array.flags.writeable:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def check_pair(batch: Any, who: str) -> None:
    """Raises ValueError unless a batch is a pair (inputs, targets); `who` begins the message."""
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        number = len(batch) if isinstance(batch, (tuple, list)) else 1
        raise ValueError(
            f"{who} pairs (inputs, targets). Received: batches of {number}. Sample weights are not used: map them "
            "away; where nothing looks at the targets, give any."
        )
