"""Selection of real images, the baseline of every distillation: random, herding, k-center, or by score (EL2N)."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from kerasticket.data import Augmentation, DistilledSet, ImageSet, pipeline
from kerasticket.data.baselines import chosen_real
from kerasticket.distillation.loop import Progress
from kerasticket.distillation.networks import fresh_network
from kerasticket.models import MODELS
from kerasticket.training import Recipe, train

# What a selection may look at, of the images of one class.
Selector = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


def at_random(features: np.ndarray, errors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Any of them."""
    return rng.choice(len(features), count, replace=False)


def herding(features: np.ndarray, errors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """One after the other, so that the mean of those taken comes nearest to the mean of all (Welling 2009)."""
    mean, total = features.mean(axis=0), np.zeros(features.shape[1])
    chosen: list[int] = []
    for taken in range(1, count + 1):
        distance = (((total + features) / taken - mean) ** 2).sum(axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total += features[chosen[-1]]
    return np.array(chosen)


def k_center(features: np.ndarray, errors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """First the one nearest to the mean, then the one farthest from all taken (Sener & Savarese 2018, greedy)."""
    distance = ((features - features.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(distance.argmin())]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((features - features[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def hardest(features: np.ndarray, errors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Those with the largest error, EL2N (Paul et al. 2021, "Deep Learning on a Data Diet")."""
    return np.argsort(-errors, kind="stable")[:count]


def easiest(features: np.ndarray, errors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Those with the smallest error: of a handful of images, typical ones teach more than hard ones."""
    return np.argsort(errors, kind="stable")[:count]


SELECTORS: dict[str, Selector] = {
    "random": at_random,
    "herding": herding,
    "k_center": k_center,
    "el2n": hardest,
    "el2n_lowest": easiest,
}


@dataclasses.dataclass(frozen=True)
class Selection:
    """Chooses real images of each class, by what networks that were trained for some epochs make of them.

    Attributes:
        by: a name in `SELECTORS`. Features are what a network's last layer gets; the EL2N error of an image is
            |softmax - one-hot label|, averaged over networks.
        networks: how many are trained; features are those of all, side by side.
        net_epochs: passes over the real data, 10 to 20 in Paul et al.
        net_learning_rate: of that training, SGD with momentum .9.
        training: its augmentation.
        model, width: the network, a name in `kerasticket.models.MODELS`.
    """

    by: str = "herding"
    networks: int = 1
    net_epochs: int = 10
    net_learning_rate: float = 0.01
    training: Augmentation | None = None
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        for name, known in (("by", list(SELECTORS)), ("model", list(MODELS))):
            if getattr(self, name) not in known:
                raise ValueError(f"Expected {name} among {known}. Received: {name}={getattr(self, name)!r}")
        for name in ("networks", "net_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} >= 1. Received: {name}={getattr(self, name)}")

    def distill(self, images: ImageSet, *, ipc: int, seed: int, progress: Progress | None = None) -> DistilledSet:
        """Selects `ipc` images of each class; a pure function of its arguments.

        Args:
            images: real training images.
            ipc: images per class.
            seed: of the networks, their data order, and random choices.
            progress: called after each network with (networks done, no images yet, 0).

        Raises:
            ValueError: a class has too few images.

        Example:

        >>> import kerasticket as kt
        >>> few = kt.data.load("digits", images_per_class=5)
        >>> Selection("k_center", net_epochs=1, width=4).distill(few, ipc=2, seed=0).images.shape
        (20, 16, 16, 1)
        """
        smallest = int(np.bincount(images.labels, minlength=images.num_classes).min())
        if not 1 <= ipc <= smallest:
            raise ValueError(f"Expected ipc in 1..{smallest}, the images of the smallest class. Received: ipc={ipc}")
        features, errors = self._judged(images, seed, progress)
        select, chosen = SELECTORS[self.by], []
        for label in range(images.num_classes):
            of_class = np.flatnonzero(images.labels == label)
            rng = np.random.default_rng([seed, label])
            chosen.append(of_class[select(features[of_class], errors[of_class], ipc, rng)])
        selected = chosen_real(images, np.concatenate(chosen))
        settings, seeds = dataclasses.asdict(self), {"distillation": seed}
        return dataclasses.replace(selected, method=self.by, settings=settings, seeds=seeds)

    def _judged(self, images: ImageSet, seed: int, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, features of all networks) and mean errors (n,)."""
        if self.by == "random":  # looks at neither
            return np.zeros((len(images), 1)), np.zeros(len(images))
        features, errors = [], np.zeros(len(images))
        for index in range(self.networks):
            of_network, logits = self._outputs(images, int(np.random.default_rng([seed, index]).integers(2**31)))
            probability = np.exp(logits - logits.max(axis=1, keepdims=True))
            probability /= probability.sum(axis=1, keepdims=True)
            one_hot = np.eye(images.num_classes)[images.labels]
            errors += np.linalg.norm(probability - one_hot, axis=1) / self.networks
            features.append(of_network.reshape(len(images), -1))
            if progress:
                progress(index + 1, np.empty((0, *images.input_shape), np.float32), 0.0)
        return np.concatenate(features, axis=1), errors

    def _outputs(self, images: ImageSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits of one network after its training."""
        network = fresh_network(self.model, self.width, images, seed)
        recipe = Recipe(self.net_epochs, learning_rate=self.net_learning_rate, augmentation=self.training)
        train(network, images, recipe, data_order=seed)
        both = keras.Model(network.inputs, [network.layers[-1].input, network.output])
        features, logits = both.predict(pipeline(images, batch_size=256, shuffle=False), verbose=0)
        return np.asarray(features, np.float64), np.asarray(logits, np.float64)
