"""Selection of real images, the baseline of every distillation: random, herding, k-center, EL2N, GraNd."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.data import Augmentation, DistilledSet, ImageSet, pipeline, random_real
from kerasticket.data.baselines import chosen_real
from kerasticket.distillation.method import Method, check_one_of, check_positive
from kerasticket.distillation.networks import fresh_helper, renew
from kerasticket.params import Params
from kerasticket.training.recipe import Recipe, train


@dataclasses.dataclass(frozen=True)
class Selector:
    """How images are chosen.

    Attributes:
        choose: from what was said of the images of one class, (n, values), to positions of so many among them.
        judge: from a trained network and n images to what it says of each, (n, values); None: nobody is asked.
    """

    choose: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
    judge: Callable[[keras.Model, ImageSet], np.ndarray] | None = None


def features(network: keras.Model, images: ImageSet) -> np.ndarray:
    """What the network's last layer gets, (n, features)."""
    before = keras.Model(network.inputs, network.layers[-1].input)
    return before.predict(pipeline(images, batch_size=256, shuffle=False), verbose=0).reshape(len(images), -1)


def errors(network: keras.Model, images: ImageSet) -> np.ndarray:
    """|softmax - one-hot label| of each image, (n, 1): EL2N (Paul et al. 2021, arXiv 2107.07075, definition 2.5)."""
    logits = network.predict(pipeline(images, batch_size=256, shuffle=False), verbose=0).astype(np.float64)
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    return np.linalg.norm(probability - np.eye(images.num_classes)[images.labels], axis=1, keepdims=True)


def gradient_norms(network: keras.Model, images: ImageSet) -> np.ndarray:
    """|gradient of an image's cross-entropy in all weights|, (n, 1): GraNd (Paul et al. 2021, definition 2.1).

    In inference mode, without augmentation. A backward pass for each image: `ops.vectorized_map` over 64 was not
    faster on two cores (ConvNet-3 of width 128 on CIFAR-10: 5 to 6 ms per image either way on TensorFlow and JAX;
    13 ms on torch, whose vmap refuses Keras' convolutions).
    """
    loss = autodiff.functional_loss(network, keras.losses.CategoricalCrossentropy(from_logits=True))
    slope = autodiff.gradient(loss)
    weights = [ops.convert_to_tensor(variable) for variable in network.trainable_variables]

    @autodiff.jit
    def squared_norm(weights, image, label):
        squares = [ops.sum(ops.square(ops.cast(each, "float32"))) for each in slope(weights, image, label)]
        return ops.sum(ops.stack(squares))

    # Each image twice, which is the same mean: of one alone, TensorFlow 2.21 with oneDNN crashes in the gradient of a
    # ResNet's convolutions, if it has more than one thread.
    norms = [
        ops.convert_to_numpy(squared_norm(weights, np.repeat(image, 2, axis=0), np.repeat(label, 2, axis=0)))
        for image, label in pipeline(images, batch_size=1, shuffle=False).as_numpy_iterator()
    ]
    return np.sqrt(np.array(norms, np.float64))[:, None]


def at_random(judged: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Any of them."""
    return rng.choice(len(judged), count, replace=False)


def herding(judged: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """One after the other, so that the mean of those taken comes nearest to the mean of all (Welling 2009)."""
    mean, total = judged.mean(axis=0), np.zeros(judged.shape[1])
    chosen: list[int] = []
    for taken in range(1, count + 1):
        distance = (((total + judged) / taken - mean) ** 2).sum(axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total += judged[chosen[-1]]
    return np.array(chosen)


def k_center(judged: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """First the one nearest to the mean, then the one farthest from all taken (Sener & Savarese 2018, greedy)."""
    distance = ((judged - judged.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(distance.argmin())]
    nearest = np.full(len(judged), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((judged - judged[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def highest(judged: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Those with the largest mean score: the hard ones, which Paul et al. keep."""
    return np.argsort(-judged.mean(axis=1), kind="stable")[:count]


def lowest(judged: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Those with the smallest mean score: of a handful of images, typical ones teach more than hard ones."""
    return np.argsort(judged.mean(axis=1), kind="stable")[:count]


SELECTORS: dict[str, Selector] = {
    "random": Selector(at_random),
    "herding": Selector(herding, features),
    "k_center": Selector(k_center, features),
    "el2n": Selector(highest, errors),
    "el2n_lowest": Selector(lowest, errors),
    "grand": Selector(highest, gradient_norms),
    "grand_lowest": Selector(lowest, gradient_norms),
}


@dataclasses.dataclass(frozen=True)
class Selection(Method):
    """Chooses real images of each class, by what networks that were trained for some epochs make of them.

    Attributes:
        by: a name in `SELECTORS`.
        networks: how many are trained; the features of all count, side by side, or the means of their scores
            (Paul et al. 2021 take 10).
        net_epochs: passes over the real data. Scores are of early training: Paul et al. take 10 to 20 for EL2N.
            GraNd without training, also theirs, finds nothing (Kirsch 2023, arXiv 2303.14753).
        net_learning_rate: of that training, SGD with momentum .9.
        training: its augmentation.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function".

    A step is one network; the images after it are what the networks so far would choose, and its loss is 0.

    Example:

    >>> import kerasticket as kt
    >>> few = kt.data.load("digits", images_per_class=5)
    >>> Selection("k_center", net_epochs=1, width=4).distill(few, ipc=2, seed=0).images.shape
    (20, 16, 16, 1)
    """

    name: ClassVar[str] = "selection"
    extends: ClassVar[str] = "networks"
    by: str = "herding"
    networks: int = 1
    net_epochs: int = 10
    net_learning_rate: float = 0.01
    training: Augmentation | None = None
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        check_one_of(self, by=SELECTORS)
        check_positive(self, "networks", "net_epochs")

    @property
    def steps(self) -> int:
        """How often `progress` is called: once for each network."""
        return self.networks

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """What a selection is compared with: random real images."""
        return random_real(images, ipc, seed)

    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, "_Judgement"]:
        return self.start(images, ipc, seed), _Judgement(self, images, ipc, seed)


class _Judgement:
    """What the networks so far say of each image, and the choice that follows."""

    def __init__(self, settings: Selection, real: ImageSet, ipc: int, seed: int):
        self.settings, self.real, self.ipc, self.seed = settings, real, ipc, seed
        self.selector = SELECTORS[settings.by]
        self.judged = np.empty((len(real), 0), np.float32)
        self.images = np.empty((0, *real.input_shape), np.float32)
        self.network: keras.Model | None = None  # one for all trainings, compiled by the first

    def state(self) -> Params:
        return {"images": self.images, "judged": self.judged}

    def restore(self, state: Params) -> None:
        self.images, self.judged = state["images"], state["judged"]

    def step(self, index: int) -> float:
        """Asks network `index` and chooses anew; there is no loss."""
        if self.selector.judge:
            values = self.selector.judge(self._trained(index), self.real)
            self.judged = np.concatenate([self.judged, values.astype(np.float32)], axis=1)
        chosen = np.concatenate([self._chosen(label) for label in range(self.real.num_classes)])
        self.images = chosen_real(self.real, chosen).images
        return 0.0

    def _trained(self, index: int) -> keras.Model:
        seed = int(np.random.default_rng([self.seed, index]).integers(2**31))
        fresh = fresh_helper(self.settings.model, self.settings.width, self.real, seed)
        if self.network is None:
            self.network = fresh
        else:
            renew(self.network, fresh)
        recipe = Recipe(
            self.settings.net_epochs,
            learning_rate=self.settings.net_learning_rate,
            augmentation=self.settings.training,
        )
        train(self.network, self.real, recipe, data_order=seed)
        return self.network

    def _chosen(self, label: int) -> np.ndarray:
        """Positions of the chosen images of one class."""
        of_class = np.flatnonzero(self.real.labels == label)
        rng = np.random.default_rng([self.seed, label])
        return of_class[self.selector.choose(self.judged[of_class].astype(np.float64), self.ipc, rng)]
