"""Pipelines: one stream of batches per seed, wherever it is cut and whoever consumes it."""

import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_images import numbered, stream

from kerasticket.data import (
    PAPER_IMAGENET,
    Augmentation,
    DistilledSet,
    StreamedImages,
    load,
    mix,
    pipeline,
)
from kerasticket.data.pipeline import share

pytestmark = pytest.mark.same_on_every_backend  # tf.data makes the batches on all of them; see test_pipelines_in_fit.py

RECIPE = Augmentation(flip=True, one_of=("crop",), cutmix=0.5)


def same(first, second) -> bool:
    return all(
        a.shape == b.shape and (a == b).all() and (c == d).all() for (a, c), (b, d) in zip(first, second, strict=True)
    )


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    passes=st.integers(1, 3),
    seed=st.integers(0, 2**63 - 1),
    shuffle=st.booleans(),
)
def test_every_image_appears_exactly_once_per_pass(count, batch_size, passes, seed, shuffle):
    batches = pipeline(numbered(count), batch_size=batch_size, passes=passes, seed=seed, shuffle=shuffle)
    received = stream(batches)
    assert len(received) == batches.cardinality() == passes * -(-count // batch_size)
    shown = np.concatenate([images[:, 0, 0, 0] for images, _ in received]).round().astype(int)
    labels = np.concatenate([labels for _, labels in received])
    assert (labels.argmax(axis=1) == shown % 3).all()
    for one_pass in shown.reshape(passes, count):
        assert sorted(one_pass) == list(range(count))
        assert shuffle or list(one_pass) == list(range(count))


def test_images_are_normalized_and_labels_one_hot():
    digits = load("digits")
    images, labels = stream(pipeline(digits, shuffle=False, batch_size=1000))[0]
    np.testing.assert_allclose(images, (digits.to_float() - digits.mean[0]) / digits.std[0], atol=1e-5)
    assert (labels.dtype, labels.shape) == (np.float32, (1000, 10))
    assert (labels.argmax(axis=1) == digits.labels).all()


def test_the_stream_depends_on_seed_round_and_epoch_only():
    data = numbered(20)
    batches = pipeline(data, batch_size=8, seed=5, augmentation=RECIPE)
    first, second = stream(batches), stream(batches)
    again = pipeline(data, batch_size=8, seed=5, augmentation=RECIPE)
    assert same(stream(again), first)
    assert same(stream(again), second)
    assert not same(first, second)
    assert not same(stream(pipeline(data, batch_size=8, seed=6, augmentation=RECIPE)), first)
    assert not same(stream(pipeline(data, batch_size=8, seed=5 + 2**31, augmentation=RECIPE)), first)


def test_a_position_is_that_of_one_pipeline():
    moved, other = (pipeline(numbered(20), batch_size=8, seed=5, augmentation=RECIPE) for _ in range(2))
    streams = {}
    for position in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)):
        moved.position = position
        assert moved.position == position
        assert (moved.position.round, moved.position.epoch) == position
        streams[position] = stream(moved)
        assert moved.position == (position[0], position[1] + 1)
        assert other.position == (0, 0)
    for position, received in streams.items():
        assert [each for each in streams if same(streams[each], received)] == [position]
    assert same(stream(other), streams[0, 0])
    moved.position = 1, 0
    assert same(stream(moved), streams[1, 0])
    assert same(stream(moved), streams[1, 1])


def test_an_iteration_that_was_only_peeked_at_is_undone_by_its_position():
    batches = pipeline(numbered(20), batch_size=8, seed=5, augmentation=RECIPE)
    first = stream(batches)
    next(iter(batches))
    batches.position = 0, 0
    assert same(stream(batches), first)


def test_passes_may_be_grouped_into_epochs_in_any_way():
    data = numbered(11)
    together = stream(pipeline(data, batch_size=4, seed=2, augmentation=RECIPE, passes=4))
    single = pipeline(data, batch_size=4, seed=2, augmentation=RECIPE, passes=1)
    apart = [batch for _ in range(4) for batch in stream(single)]
    assert same(together, apart)
    double = pipeline(data, batch_size=4, seed=2, augmentation=RECIPE, passes=2)
    double.position = 0, 1
    assert same(stream(double), together[6:])


def test_another_process_sees_the_same_batches_and_may_exit_in_the_middle_of_an_epoch():
    code = (
        "import hashlib, sys\n"
        "from kerasticket.data import DIGITS, load, pipeline\n"
        "batches = pipeline(load('digits', images_per_class=4), seed=9, augmentation=DIGITS, passes=2)\n"
        "batches.position = 3, 7\n"
        "digest = hashlib.sha256()\n"
        "for images, labels in batches.as_numpy_iterator():\n"
        "    digest.update(images.tobytes() + labels.tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    leaving = code + "given_up = iter(pipeline(load('digits'), passes=50))\nnext(given_up)"
    there = subprocess.run(
        [sys.executable, "-c", leaving], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    namespace: dict = {}
    printed: list[str] = []
    exec(code.replace("print(", "output("), namespace | {"output": printed.append})
    assert printed == [there.strip()]


def test_iterators_that_are_given_up_or_interleaved_disturb_nothing():
    batches = pipeline(numbered(40), batch_size=1, seed=5)
    expected = stream(batches)
    for _ in range(30):
        next(iter(batches))
    batches.position = 0, 0
    first = batches.as_numpy_iterator()
    start = [next(first) for _ in range(20)]
    batches.position = 0, 0
    second = batches.as_numpy_iterator()
    pairs = list(zip(first, second, strict=False))
    assert same(start + [one for one, _ in pairs], expected)
    assert same([other for _, other in pairs], expected[:20])


def test_two_pipelines_of_one_seed_interleaved_disturb_nothing():
    """Batch by batch, at different epochs of the same data."""
    first, second = (pipeline(numbered(40), batch_size=2, seed=5, augmentation=RECIPE) for _ in range(2))
    epochs = [stream(first) for _ in range(3)]
    first.position = second.position = 0, 0
    assert same(stream(second), epochs[0])
    pairs = list(zip(first.as_numpy_iterator(), second.as_numpy_iterator(), strict=True))
    assert same([one for one, _ in pairs], epochs[0])
    assert same([other for _, other in pairs], epochs[1])
    assert (first.position, second.position) == ((0, 1), (0, 2))


def test_pipelines_in_two_threads_disturb_nothing():
    """Each moved to its own rounds while the other is read."""
    made = [pipeline(numbered(60), batch_size=4, seed=5, augmentation=RECIPE, passes=2) for _ in range(2)]

    def read(batches, rounds):
        received = []
        for round in rounds:
            batches.position = round, 0
            received += [*stream(batches), *stream(batches)]
        return received

    orders = [range(4), range(3, -1, -1)]
    alone = [read(batches, rounds) for batches, rounds in zip(made, orders, strict=True)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(read, made, orders))
    assert all(map(same, together, alone))
    assert not same(*alone)


def test_forgotten_pipelines_free_their_images():
    data = numbered(3)
    images = weakref.ref(data.images.base)
    batches = pipeline(data, augmentation=RECIPE)
    del data
    derived = batches.take(1)
    del batches
    gc.collect()
    assert len(list(derived)) == 1  # a dataset made from it still needs it
    del derived
    gc.collect()
    assert images() is None


def test_a_pipeline_is_saved_and_read_again_without_python(tmp_path):
    import tensorflow as tf

    batches = pipeline(numbered(20), batch_size=8, seed=5, augmentation=RECIPE, passes=2)
    batches.save(str(tmp_path / "epoch"))
    batches.position = 0, 0
    read = tf.data.Dataset.load(str(tmp_path / "epoch"))
    assert same(stream(read), stream(batches))
    assert b"PyFunc" not in read._as_serialized_graph().numpy()


def test_a_pipeline_is_no_graph_for_another_process():
    """As its docstring says."""
    assert b"PyFunc" in functions_of(pipeline(numbered(20), batch_size=8))


def functions_of(dataset) -> bytes:
    graphs = b""
    while dataset is not None:
        graphs += b"".join(each.function.graph.as_graph_def().SerializeToString() for each in dataset._functions())
        dataset = getattr(dataset, "_input_dataset", None)
    return graphs


def test_shards_share_the_batches():
    batches = pipeline(numbered(20), batch_size=4, seed=5, augmentation=RECIPE)
    whole = stream(batches)
    for index in range(2):
        batches.position = 0, 0
        assert same(stream(batches.shard(2, index)), whole[index::2])


def test_strategies_of_one_process_share_each_batch():
    """On two devices, an epoch after the other; in a process of its own, as devices are made at the start."""
    code = (
        "import numpy as np, tensorflow as tf\n"
        "from kerasticket.data import DIGITS, load, pipeline\n"
        "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0],"
        " [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "batches = pipeline(load('digits', images_per_class=4), batch_size=8, seed=9, augmentation=DIGITS)\n"
        "epochs = [list(batches.as_numpy_iterator()) for _ in range(2)]\n"
        "batches.position = 0, 0\n"
        "shared = strategy.experimental_distribute_dataset(batches)\n"
        "for epoch in epochs:\n"
        "    for (x, y), (images, labels) in zip(shared, epoch, strict=True):\n"
        "        parts = [part.numpy() for part in strategy.experimental_local_results(x)]\n"
        "        assert [len(part) for part in parts] == [4, 4]\n"
        "        assert (np.concatenate(parts) == images).all()\n"
        "print('shared')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["shared"], done.stderr[-2000:]


def test_an_iterator_outlives_its_name():
    iterator = iter(pipeline(numbered(9), batch_size=2))
    gc.collect()
    assert len(list(iterator)) == 5


def test_images_are_shared_with_tensorflow_not_copied():
    data = numbered(5)
    tensor = share(data.images)
    data.images[0] = 77
    assert (tensor.numpy()[0] == 77).all()
    unaligned = np.zeros(65, np.uint8)[1:].reshape(1, 8, 8, 1)
    unaligned = unaligned if unaligned.ctypes.data % 64 else np.zeros(66, np.uint8)[2:].reshape(1, 8, 8, 1)
    assert (share(unaligned).numpy() == unaligned).all()


def test_no_image_becomes_a_constant_of_the_graph():
    data, sizes = load("digits"), []
    dataset = pipeline(data, augmentation=RECIPE)
    while dataset is not None:
        sizes += [function.function.graph.as_graph_def().ByteSize() for function in dataset._functions()]
        dataset = getattr(dataset, "_input_dataset", None)
    assert 0 < max(sizes) < data.images.nbytes / 2


def test_a_distilled_set_is_decoded_and_normalized_with_its_own_constants():
    distilled = mix(load("digits"), images_per_class=1, factor=2)
    images, labels = stream(pipeline(distilled, shuffle=False, batch_size=64))[0]
    decoded, decoded_labels = distilled.decode()
    np.testing.assert_allclose(images, (decoded - distilled.mean[0]) / distilled.std[0], atol=1e-5)
    assert (labels.argmax(axis=1) == decoded_labels).all()


def test_soft_labels_and_other_spaces_pass_through():
    soft = np.array([[0.25, 0.75], [1, 0]], np.float32)
    stored = np.linspace(-1, 1, 2 * 16, dtype=np.float32).reshape(2, 4, 4, 1)
    space = {"space": "normalized", "mean": (0.5,), "std": (0.25,)}
    distilled = DistilledSet(stored, soft, ("a", "b"), "mine:1.0/train", "by hand", **space)
    images, labels = stream(pipeline(distilled, shuffle=False))[0]
    assert (images == stored).all()
    assert (labels == soft).all()
    with pytest.raises(ValueError, match=r"jitter, lighting need images in \[0, 1\].*'normalized'"):
        pipeline(distilled, augmentation=PAPER_IMAGENET)


def test_streamed_images_give_the_same_batches_as_images_in_memory(tmp_path):
    import tensorflow as tf

    held = numbered(7)
    encoded = np.array([tf.io.encode_png(image).numpy() for image in held.images], dtype=object)
    rest = (held.labels, held.class_names, held.source, held.mean, held.std)
    streamed = StreamedImages(encoded, *rest, held.input_shape)
    paths = [str(tmp_path / f"{i}.png") for i in range(7)]
    for path, content in zip(paths, encoded, strict=True):
        tf.io.write_file(path, content)
    filed = StreamedImages(np.array(paths, dtype=object), *rest, held.input_shape)
    expected = stream(pipeline(held, batch_size=4, seed=1, augmentation=RECIPE))
    assert same(stream(pipeline(streamed, batch_size=4, seed=1, augmentation=RECIPE)), expected)
    assert same(stream(pipeline(filed, batch_size=4, seed=1, augmentation=RECIPE)), expected)


def test_a_file_that_is_no_image_is_named(tmp_path):
    """Streamed and in memory; of a million files, nobody would find it."""
    tf = pytest.importorskip("tensorflow")
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for path in paths:
        Path(path).write_bytes(tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy())
    Path(paths[4]).write_bytes(b"no picture")
    labels = np.arange(6) % 2
    data = StreamedImages(np.array(paths, object), labels, ("cat", "dog"), "mine", (0.5,) * 3, (0.5,) * 3, (8, 8, 3))
    with pytest.raises(Exception, match=r"mine: .*4\.png cannot be read as an image"):
        list(pipeline(data, batch_size=2))
    with pytest.raises(ValueError, match=r"mine: .*4\.png cannot be read as an image"):
        data.to_memory()


def test_streams_are_freed_without_the_help_of_the_collector():
    gc.disable()
    try:
        batches = pipeline(numbered(3))
        assert len(list(batches)) == 1
        stream_of = weakref.ref(batches.stream)
        del batches
        assert stream_of() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size and passes must be at least 1"),
        ({"passes": 0}, "batch_size and passes must be at least 1"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        pipeline(numbered(3), **arguments)


def test_other_data_are_refused():
    with pytest.raises(ValueError, match=r"data must be an ImageSet.*Received: list"):
        pipeline([1, 2])


def test_importing_the_room_is_light():
    code = "import sys, kerasticket.data; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
