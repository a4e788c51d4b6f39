"""One gradient matching under way: what is compared of real and synthetic images, and the step on the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.backend.precision import at_least_float32
from kerasticket.data import ImageSet, pipeline
from kerasticket.data.augmentation.presets import Augmentation, augment, cutmix, draw
from kerasticket.data.multi_formation import decode_cells
from kerasticket.distillation.networks import fresh_helper, network_state, restore_network
from kerasticket.params import Params
from kerasticket.tickets import masking, optimizer_state
from kerasticket.training.optimizers import SGD

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def squared(real, synthetic):
    """Sum of squared differences: IDC on CIFAR and SVHN."""
    return ops.sum(ops.square(real - synthetic))


def absolute(real, synthetic):
    """Sum of absolute differences: IDC on MNIST and ImageNet."""
    return ops.sum(ops.abs(real - synthetic))


def cosine(real, synthetic):
    """Sum over output units (the last axis) of 1 - cosine of the angle between their gradients: DC and DSA."""
    real, synthetic = (ops.reshape(each, (-1, each.shape[-1])) for each in (real, synthetic))
    lengths = _norm(real) * _norm(synthetic)
    return ops.sum(1 - ops.sum(real * synthetic, axis=0) / (lengths + 1e-6))


def _norm(columns):
    # The smallest number keeps the derivative finite where a unit has no gradient at all.
    return ops.sqrt(ops.sum(ops.square(columns), axis=0) + 1e-30)


def loss_gradients(network: keras.Model, classifier: bool) -> Callable:
    """What IDC, DC and DSA compare: the gradients of the loss in kernels, with or without the classifier's."""
    slope = autodiff.gradient(autodiff.functional_loss(network, LOSS, training=True))
    ranks = (2, 3, 4, 5) if classifier else (4, 5)
    matched = [i for i, variable in enumerate(network.trainable_variables) if len(variable.shape) in ranks]
    if not matched:
        raise ValueError("Expected a network with convolutions, such as 'convnet', or classifier=True.")

    def gradients(weights, images, targets):
        all_of_them = slope(weights, images, targets)
        return [all_of_them[i] for i in matched]

    return gradients


def mean_features(network: keras.Model, classifier: bool) -> Callable:
    """IDC's feature matching: the mean of what the last layer gets."""
    features = keras.Model(network.inputs, network.layers[-1].input)
    count = len(features.trainable_variables)

    def mean(weights, images, targets):
        values, _ = features.stateless_call(weights[:count], [], images, training=True)
        return [ops.mean(at_least_float32(values), axis=0)]

    return mean


DISTANCES: dict[str, Callable] = {"mse": squared, "l1": absolute, "cosine": cosine}
OBJECTIVES: dict[str, Callable] = {"gradients": loss_gradients, "features": mean_features}


class Matcher:
    """The images, their momentum, and one network that is drawn anew, trained and matched on."""

    def __init__(self, settings: Any, real: ImageSet, images: np.ndarray, ipc: int, seed: int):
        self.settings, self.real, self.images, self.ipc, self.seed = settings, real, images, ipc, seed
        self.velocity = np.zeros_like(images)
        self.of_class = [np.flatnonzero(real.labels == label) for label in range(real.num_classes)]
        self.mean, self.std = np.asarray(real.mean, np.float32), np.asarray(real.std, np.float32)
        self.rate = settings.learning_rate * (self.std**2 if settings.normalized_rate else 1)
        self.network = self._fresh_network(0)
        if self.network.non_trainable_variables:
            raise ValueError(
                f"Expected a network without moving statistics, such as 'convnet'. Received: model={settings.model!r}"
            )
        optimizer = SGD(settings.net_learning_rate, momentum=settings.net_momentum, l2=settings.net_l2)
        self.network.compile(optimizer, LOSS)
        optimizer_state.build(self.network)
        self.fresh_optimizer = optimizer_state.fresh_state(self.network)
        self.compared = OBJECTIVES[settings.objective](self.network, settings.classifier)
        self.distance_and_gradient = autodiff.jit(self._distance_and_gradient)
        # Real batches are asked for by number, so that a resumed distillation sees the same.
        self.batches = pipeline(real, batch_size=settings.net_batch, seed=seed, augmentation=settings.training).stream

    def state(self) -> Params:
        return {"images": self.images, "velocity": self.velocity} | network_state(self.network)

    def restore(self, state: Params) -> None:
        self.images, self.velocity = state["images"], state["velocity"]
        restore_network(self.network, state)

    def step(self, index: int) -> float:
        """Matches all classes once, then trains the network; a fresh one every `iterations` steps."""
        number, iteration = divmod(index, self.settings.iterations)
        early = self.settings.early_images // self.settings.net_batch
        each = self.settings.net_images // self.settings.net_batch
        if iteration == 0:
            masking.set_params(self.network, masking.get_params(self._fresh_network(number)))
            optimizer_state.set_state(self.network, self.fresh_optimizer)
            np.clip(self.images, 0, 1, out=self.images)
            self._train_on_real(number * early + index * each, early)
        loss = self._match(np.random.default_rng([self.seed, number, iteration]))
        self._train_on_real((number + 1) * early + index * each, each)
        self._train_on_synthetic(np.random.default_rng([self.seed, number, iteration, 1]))
        return loss

    def _match(self, rng: np.random.Generator) -> float:
        """One step on the images of each class; the mean distance.

        In IDC classes take turns, and the others coast on their momentum meanwhile; in DC all step at once.
        """
        together, distances = np.zeros_like(self.images), []
        for label in range(self.real.num_classes):
            mine = slice(label * self.ipc, (label + 1) * self.ipc)
            distance, gradient = self._match_class(label, rng)
            distances.append(distance)
            if self.settings.together:
                together[mine] = gradient
            else:
                self.velocity *= self.settings.momentum
                self.velocity[mine] += gradient
                self.images -= self.rate * self.velocity
        if self.settings.together:
            self.velocity = self.settings.momentum * self.velocity + together
            self.images -= self.rate * self.velocity
        return float(np.mean(distances))

    def _match_class(self, label: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
        settings = self.settings
        count = min(settings.real_batch, len(self.of_class[label]))
        chosen = rng.choice(self.of_class[label], count, replace=False)
        decoded = self.ipc * settings.factor**2
        kept = np.sort(rng.choice(decoded, min(decoded, settings.decoded_batch), replace=False))
        parameters = draw(np, settings.matching, lambda *shape: rng.random(shape, np.float32), 1)
        images = self.images[label * self.ipc : (label + 1) * self.ipc]
        real = self.real.to_float(chosen)
        weights = [variable.value for variable in self.network.trainable_variables]
        one_hot = np.eye(self.real.num_classes, dtype=np.float32)[label]
        distance, gradient = self.distance_and_gradient(images, kept, weights, real, one_hot, parameters)
        return float(ops.convert_to_numpy(distance)), ops.convert_to_numpy(gradient)

    def _distance_and_gradient(self, images, kept, weights, real, one_hot, parameters):
        """Distance between what real and synthetic images of a class give, and its derivative in the stored images."""
        distance = DISTANCES[self.settings.distance]

        def of_class(pixels):
            prepared = augment(ops, self.settings.matching, self._normalized(pixels), parameters)
            return self.compared(weights, prepared, ops.broadcast_to(one_hot, (pixels.shape[0], one_hot.shape[0])))

        wanted = [ops.stop_gradient(each) for each in of_class(real)]

        def mismatch(stored):
            decoded = ops.take(decode_cells(ops, stored, self.settings.factor), kept, axis=0)
            pairs = zip(wanted, of_class(decoded), strict=True)
            return sum(distance(*pair) for pair in pairs)

        return autodiff.value_and_gradient(mismatch)(images)

    def _normalized(self, pixels):
        return ops.divide(ops.subtract(pixels, self.mean), self.std)  # torch tensors do not mix with NumPy arrays

    def _train_on_real(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            images, labels = self.batches.batch(0, number, first + count)
            self.network.train_on_batch(images.numpy(), labels.numpy())

    def _train_on_synthetic(self, rng: np.random.Generator) -> None:
        """DC and DSA train the network on the synthetic images alone."""
        if not self.settings.synthetic_passes:
            return
        settings, classes = self.settings, self.real.num_classes
        images = decode_cells(np, np.clip(self.images, 0, 1), settings.factor).astype(np.float32, copy=False)
        images = (images - self.mean) / self.std
        labels = np.tile(np.repeat(np.eye(classes, dtype=np.float32), self.ipc, axis=0), (settings.factor**2, 1))
        for _ in range(settings.synthetic_passes):
            order = rng.permutation(len(images))
            for first in range(0, len(order), settings.net_batch):
                chosen = order[first : first + settings.net_batch]
                self.network.train_on_batch(*augmented(settings.training, images[chosen], labels[chosen], rng))

    def _fresh_network(self, number: int) -> keras.Model:
        network_seed = int(np.random.default_rng([self.seed, number, 1]).integers(2**31))
        return fresh_helper(self.settings.model, self.settings.width, self.real, network_seed)


def augmented(recipe: Augmentation | None, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator):
    """Normalized images and labels of one batch after augmentation, drawn from `rng`."""
    if recipe is None:
        return images, labels
    parameters = draw(np, recipe, lambda *shape: rng.random(shape, np.float32), len(images))
    tensors: tuple[Any, Any] = augment(ops, recipe, ops.convert_to_tensor(images), parameters), labels
    if recipe.cutmix:
        tensors = cutmix(ops, recipe, tensors[0], ops.convert_to_tensor(labels), parameters)
    return tuple(ops.convert_to_numpy(each) for each in tensors)
