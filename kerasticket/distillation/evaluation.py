"""How good a distilled set is: the test accuracy of fresh networks that were trained on it."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kerasticket import masking, optimizer_state
from kerasticket.data import DistilledSet, ImageSet, pipeline
from kerasticket.training import Recipe, train
from kerasticket.training import evaluate as test_metrics


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Test accuracies of several networks, in [0, 1]; `std` is the sample standard deviation (n - 1)."""

    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.std:.2f} % ({len(self.accuracies)} networks)"


def evaluate(
    data: DistilledSet | ImageSet,
    test: ImageSet | DistilledSet,
    *,
    build: Callable[[int], keras.Model],
    recipe: Recipe,
    seeds: Sequence[int] = (0, 1, 2),
) -> Accuracy:
    """Trains one fresh network per seed on `data` and tests it on all of `test`; last weights count.

    Args:
        data: what to train on.
        test: real images; for a set in ZCA space whitened ones (`ZCA.whiten`).
        build: from a seed to a network with fresh weights; the same architecture each time.
        recipe: of the training.
        seeds: one network each, its weights and its data order.

    Raises:
        ValueError: `data` does not match `test` in classes, shape or space, or there are no seeds.
    """
    if not seeds:
        raise ValueError("Expected at least one seed. Received: none.")
    if isinstance(data, DistilledSet):
        data.check_matches(test)
    model = build(seeds[0])
    recipe.compile(model, recipe.pipeline(data, seeds[0]))
    tested = pipeline(test, batch_size=256, shuffle=False)
    return Accuracy(tuple(_accuracy(model, build(seed), data, tested, recipe, seed) for seed in seeds))


def _accuracy(model, fresh, data, test, recipe: Recipe, seed: int) -> float:
    """One network; its weights go into the compiled model, so that all of them share one trace."""
    masking.set_params(model, masking.get_params(fresh))
    if model.optimizer.built:
        optimizer_state.set_state(model, optimizer_state.fresh_state(model))
    train(model, data, recipe, data_order=seed)
    return test_metrics(model, test)["accuracy"]
