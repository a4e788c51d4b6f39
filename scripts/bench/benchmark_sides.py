"""One side of a benchmark, in a process of its own: builds its work, then does it once for each line on stdin.

`benchmark.py` starts several of these and lets them take turns. Not meant to be called by hand.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from kerasticket.backend.quiet import import_keras

SHAPE, CLASSES, BATCH = (32, 32, 3), 10, 64
MATCHED = 2560  # real images of a distillation
Work = Callable[[], None]  # one timed run


def synthetic_images(count: int):
    """Random bytes as an image set; speed does not depend on what the images show."""
    import numpy as np

    import kerasticket as kt

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    names = tuple(str(label) for label in range(CLASSES))
    return kt.data.ImageSet(images, labels, names, "random bytes", (0.5,) * 3, (0.25,) * 3)


def synthetic_distilled(decoded: int):
    """Random pixels as a distilled set of factor 2, which decodes to so many images."""
    import numpy as np

    import kerasticket as kt

    real = synthetic_images(decoded // 4)
    images = np.random.default_rng(0).random((decoded // 4, *SHAPE), dtype=np.float32)
    space = {"mean": real.mean, "std": real.std, "factor": 2}
    return kt.data.DistilledSet(images, real.labels, real.class_names, "random numbers", "random", **space)


def network(net: str, width: int, masked: bool = True):
    """A network of `kt.models`, if masked at 80% sparsity."""
    import numpy as np

    import kerasticket as kt

    model = kt.models.MODELS[net](SHAPE, CLASSES, width=width, seed=0)
    if masked:
        model = kt.masked(model)
        rng = np.random.default_rng(0)
        kt.set_mask(model, {path: rng.random(m.shape) < 0.2 for path, m in kt.get_mask(model).items()})
    return model


def through_fit(
    net: str, width: int, images: int, passes: int, *, policy: str = "float32", masked: bool = True,
    fused: str = "auto", batch_size: int = BATCH, rounds: int = 0, distilled: bool = False,
) -> Work:  # fmt: skip
    """Training by `fit` with the paper's augmentation, and the IMP callback if masked.

    `rounds` of pruning, of a Keras epoch each; 0: one epoch in the middle of a long round.
    """
    import_keras()
    import keras

    import kerasticket as kt
    from kerasticket.backend import fused as fused_operations

    keras.config.set_dtype_policy(policy)
    recipe = kt.training.Recipe(passes, batch_size, passes_per_epoch=passes, augmentation=kt.data.PAPER_CIFAR)
    pipeline = recipe.pipeline((synthetic_distilled if distilled else synthetic_images)(images), 0)
    model = network(net, width, masked)
    with fused_operations.mode(fused):
        recipe.compile(model, pipeline)

    def stop(epoch, logs) -> None:
        model.stop_training = True

    def work() -> None:
        imp = kt.callbacks.IterativeMagnitudePruning(
            rounds=max(1, rounds), epochs_per_round=1 if rounds else 1000, pipeline=pipeline
        )
        callbacks = [imp] if masked else []
        if not rounds:
            callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=stop))
        epochs = imp.total_epochs
        with fused_operations.mode(fused):
            model.fit(pipeline, epochs=epochs, callbacks=callbacks, verbose=0, shuffle=False)

    return work


def batches_alone(
    images: int, passes: int, *, epochs: int = 1, distilled: bool = False, graph: bool = False
) -> Work:  # fmt: skip
    """Epochs of a pipeline with the paper's augmentation that nobody trains on.

    `graph`: such batches by functions in tf.data's own graph, two at a time, in one order.
    """
    import_keras()
    import tensorflow as tf

    import kerasticket as kt

    recipe = kt.training.Recipe(passes, BATCH, passes_per_epoch=passes, augmentation=kt.data.PAPER_CIFAR)
    data = (synthetic_distilled if distilled else synthetic_images)(images)
    made = recipe.pipeline(data, 0)
    if graph:
        stream, options = made.stream, made.options()
        key, order = stream.begin(0, 0)
        numbers = tf.data.Dataset.range(stream.per_pass).repeat(passes)
        made = numbers.map(lambda i: stream.make_batch(key, order, i), num_parallel_calls=2).prefetch(2)
        made = made.with_options(options)

    def work() -> None:
        for _ in range(epochs):
            for _ in made:
                pass

    return work


def bare_loop(net: str, width: int, steps: int) -> Work:
    """The compiled step on one resident, prepared batch: no data, no callbacks, no epochs."""
    import_keras()
    import tensorflow as tf

    import kerasticket as kt

    recipe = kt.training.Recipe(1, BATCH, augmentation=kt.data.PAPER_CIFAR)
    pipeline = recipe.pipeline(synthetic_images(BATCH), 0)
    model = network(net, width)
    recipe.compile(model, pipeline)
    model.steps_per_execution = 1
    endless = tf.data.Dataset.from_tensors(next(iter(pipeline))).repeat()
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = iter(endless.with_options(options))
    step = model.make_train_function() or model.train_function

    def work() -> None:
        for _ in range(steps):
            logs = step(batches)
        float(logs["loss"])

    return work


def jax_loop(net: str, width: int, steps: int) -> Work:
    """Training as one would write it in plain JAX: one jitted step, on one resident, prepared batch."""
    import_keras()
    import jax
    import keras

    import kerasticket as kt

    recipe = kt.training.Recipe(1, BATCH, augmentation=kt.data.PAPER_CIFAR)
    pipeline = recipe.pipeline(synthetic_images(BATCH), 0)
    model = network(net, width)
    recipe.compile(model, pipeline)
    x, y = (jax.numpy.asarray(part) for part in next(pipeline.as_numpy_iterator()))
    optimizer, cross_entropy = model.optimizer, keras.losses.CategoricalCrossentropy(from_logits=True)
    optimizer.build(model.trainable_variables)

    def loss(weights, state, x, y):
        logits, state = model.stateless_call(weights, state, x, training=True)
        return cross_entropy(y, logits), state

    @jax.jit
    def step(weights, state, moments, x, y):
        (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(weights, state, x, y)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        return value, weights, state, moments

    start = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
    values = [[variable.value for variable in group] for group in start]

    def work() -> None:
        for _ in range(steps):
            value, *values[:] = step(*values, x, y)
        float(value)

    return work


def convolutions(width: int, steps: int, *, policy: str = "float32") -> Work:
    """The convolutions of a training step of ConvNet-3 alone, forward and backward, by TensorFlow's own kernels."""
    import_keras()
    import tensorflow as tf

    dtype = "bfloat16" if policy == "mixed_bfloat16" else "float32"
    shapes = ((32, 3), (16, width), (8, width))
    kernels = [tf.cast(tf.random.normal((3, 3, channels, width)), dtype) for _, channels in shapes]
    images = [tf.cast(tf.random.normal((BATCH, side, side, channels)), dtype) for side, channels in shapes]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch([kernels, images[1:]])  # the images themselves need no gradient
            outputs = [tf.nn.conv2d(x, k, 1, "SAME") for x, k in zip(images, kernels, strict=True)]
        return tape.gradient(outputs, [kernels, images[1:]], output_gradients=outputs)

    def work() -> None:
        for _ in range(steps):
            gradients = step()
        float(tf.cast(gradients[0][0][0, 0, 0, 0], "float32"))

    return work


def convolution(side: int, channels: int, steps: int, *, form: str) -> Work:
    """A 3x3 convolution of a batch with its two gradients, by TensorFlow's own kernels ("plain") or by "winograd"."""
    import_keras()
    import tensorflow as tf

    from kerasticket.backend.fused import winograd

    forms = {"plain": lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"), "winograd": winograd.convolution}
    images, kernel = tf.random.normal((BATCH, side, side, channels)), tf.random.normal((3, 3, channels, channels))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            outputs = forms[form](images, kernel)
        return tape.gradient(outputs, [images, kernel], output_gradients=images)

    def work() -> None:
        for _ in range(steps):
            gradients = step()
        float(gradients[1][0, 0, 0, 0])

    return work


def matching(width: int, ipc: int, *, policy: str = "float32") -> Work:
    """An inner iteration of IDC in its authors' settings: every class matched once, then training on 2,000 images."""
    import_keras()
    import itertools

    import keras

    import kerasticket as kt
    from kerasticket.distillation.matching import Matcher

    keras.config.set_dtype_policy(policy)
    real, method = synthetic_images(MATCHED), kt.distillation.GradientMatching(width=width)
    matcher, steps = Matcher(method, real, method.start(real, ipc, 0).images.copy(), ipc, 0), itertools.count()

    def work() -> None:
        matcher.step(next(steps))

    return work


def import_peers():
    """torch and the peers, whose tensors are made on the GPU if there is one."""
    import peers
    import torch

    torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    return torch, peers


def pytorch_matching(width: int, ipc: int) -> Work:
    """The peer of `matching`: see `peers.py`."""
    torch, peers = import_peers()
    real, labels = torch.randn(MATCHED, 3, 32, 32), torch.arange(MATCHED) % CLASSES
    peer = peers.Matching(peers.convnet(width), real, labels, ipc)

    def work() -> None:
        peer.iteration()

    return work


def curvature(width: int, coordinates: int):
    """A ConvNet-3's `Curvature` on 64 images, and random coordinates of it, boolean by path."""
    import_keras()
    import keras
    import numpy as np

    from kerasticket.analysis.curvature import Curvature

    model = network("convnet", width, masked=False)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).normal(size=(BATCH, *SHAPE)).astype("float32")
    hessian = Curvature(model, (images, np.eye(CLASSES, dtype="float32")[np.arange(BATCH) % CLASSES]))
    drawn = np.random.default_rng(0).permutation(hessian.size) < coordinates
    return hessian, hessian.split(drawn)


def taylor_diagonal(width: int, coordinates: int) -> Work:
    """What `kt.analysis.hessian_diagonal` does at each call, but for tracing, which is done once."""
    import numpy as np

    hessian, chosen = curvature(width, coordinates)
    from kerasticket.analysis.taylor import AlongLines

    ((inputs, targets, _),) = hessian.batches
    lines = AlongLines(hessian.model, hessian.loss, inputs, targets)

    def work() -> None:
        points = lines.points(inputs)
        for path, variable in hessian.variables.items():
            if chosen[path].any():
                lines.second(variable, np.flatnonzero(chosen[path]), points, targets)

    return work


def diagonal_by_products(width: int, coordinates: int) -> Work:
    """The same entries by compiled Hessian-vector products, one by one."""
    import numpy as np

    hessian, chosen = curvature(width, coordinates)

    def work() -> None:
        for position in np.flatnonzero(hessian.join(chosen)):
            hessian.product(np.eye(1, hessian.size, int(position))[0])

    return work


def pytorch_diagonal(width: int, coordinates: int) -> Work:
    """The peer: see `peers.py`."""
    torch, peers = import_peers()
    model = peers.convnet(width).eval()
    x, y = torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) % CLASSES
    positions = torch.randperm(sum(p.numel() for p in model.parameters()))[:coordinates].tolist()

    def work() -> None:
        peers.hessian_diagonal(model, x, y, positions)

    return work


def networks(width: int, images: int):
    """A compiled, masked ConvNet-3, data for it, and the weights of four networks under its mask."""
    import_keras()
    import keras
    import numpy as np

    import kerasticket as kt

    model, rng = network("convnet", width), np.random.default_rng(0)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    nets = [
        {path: array * (1 + 0.1 * rng.normal(size=array.shape)).astype("float32") for path, array in params.items()}
        for params in [kt.get_params(model)] * 4
    ]
    pixels = rng.normal(size=(images, *SHAPE)).astype("float32")
    return model, (pixels, np.eye(CLASSES, dtype="float32")[np.arange(images) % CLASSES]), nets


def along_path(width: int, images: int, points: int) -> Work:
    """`kt.analysis.linear_path` on an objective that is there already, as several pairs of networks use it."""
    model, data, nets = networks(width, images)
    import numpy as np

    import kerasticket as kt

    objective, alphas = kt.analysis.Objective(model, data), np.linspace(0, 1, points).tolist()

    def work() -> None:
        kt.analysis.linear_path(model, nets[0], nets[1], objective, alphas=alphas)

    return work


def over_plane(width: int, images: int, points: int) -> Work:
    """`kt.analysis.loss_plane` on an objective that is there already; four of the points are the networks."""
    model, data, nets = networks(width, images)
    import kerasticket as kt

    objective = kt.analysis.Objective(model, data)

    def work() -> None:
        kt.analysis.loss_plane(model, nets, objective, points=points - len(nets))

    return work


def keras_evaluate(width: int, images: int, points: int) -> Work:
    """`model.evaluate` of Keras as often as a path has points, on a dataset that is in memory in batches."""
    model, (inputs, targets), _ = networks(width, images)
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(256).cache().prefetch(2)

    def work() -> None:
        for _ in range(points):
            model.evaluate(data, verbose=0)

    return work


def pytorch(net: str, width: int, images: int, passes: int, *, options: str = "") -> Work:
    """The peer: see `peers.py`."""
    torch, peers = import_peers()
    pixels = torch.randn(images, 3, 32, 32)
    labels = torch.nn.functional.one_hot(torch.arange(images) % CLASSES, CLASSES).float()
    training = peers.Training(peers.NETWORKS[net](width), pixels, labels, options=options)

    def work() -> None:
        for _ in range(passes):
            training.epoch()

    return work


def study(executor: str, images_per_class: int, epochs: int, width: int) -> Work:
    """Ten trainings and a search of distilled pruning on random bytes; two workers share the cores, or one has all.

    Each run begins a new folder, and starts and ends its workers.
    """
    import_keras()
    import tempfile

    import kerasticket as kt

    config = kt.experiments.CONFIGS["cifar10-cpu"].replace(
        kinds=("synthetic",), rounds=1, train_rounds=None, data_orders=(1, 2, 3, 4, 5), width=width, epochs=epochs,
        distilled_epochs=epochs, images_per_class=None, keep_trained=False,
    )  # fmt: skip
    own: dict[str, Any] = {"train": synthetic_images(10 * images_per_class), "test": synthetic_images(1000)}
    own["distilled"] = synthetic_distilled(400)

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"executor": executor, "workers": 2}
            kt.experiments.distilled_pruning(config.replace(out=f"{folder}/run"), **own, **options)

    return work


def pytorch_pair(net: str, width: int, images: int, passes: int, trainings: int, *, options: str = "") -> Work:
    """The peer's trainings, two processes of one thread at a time."""
    import os
    import subprocess

    arguments = json.dumps({"net": net, "width": width, "images": images, "passes": passes, "options": options})
    command = [sys.executable, __file__, "pytorch", arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def work() -> None:
        pair = [
            subprocess.Popen(command, text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            for _ in range(2)
        ]
        for process in pair:
            process.communicate("run\n" * (trainings // 2))
            if process.returncode:
                raise RuntimeError(f"{command} ended with {process.returncode}")

    return work


SIDES: dict[str, Callable[..., Work]] = {
    function.__name__: function
    for function in (
        *(
            through_fit,
            batches_alone,
            bare_loop,
            jax_loop,
            convolutions,
            convolution,
            matching,
            taylor_diagonal,
            diagonal_by_products,
        ),
        *(along_path, over_plane, keras_evaluate),
        *(study, pytorch, pytorch_pair, pytorch_matching, pytorch_diagonal),
    )
}


def main() -> None:
    """Arguments: a side, and its keyword arguments as JSON. Prints JSON lines: seconds, and peak memory so far."""
    name, arguments = sys.argv[1:]
    work = SIDES[name](**json.loads(arguments))
    for _ in sys.stdin:
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        # Of this process or the largest of those that it started; KiB on Linux.
        peak = (
            max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
        )
        print(json.dumps({"seconds": seconds, "peak_gib": peak}), flush=True)


if __name__ == "__main__":
    main()
