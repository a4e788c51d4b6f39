"""Movement pruning's score, added up over a training: a callback that is a criterion as well."""

import warnings

import keras
import numpy as np

from kerasticket.masks import Mask, Scores
from kerasticket.params import Params, differing
from kerasticket.pruning import criteria
from kerasticket.tickets import masking


class Movement(keras.callbacks.Callback):
    """The sum of -w dL/dw over the epochs since the last pruning (Sanh et al. 2020).

    The authors (arXiv 2005.07683) add a term per step, from that step's batch, and let weights under the mask train on.
    Here it is a term per epoch, over all of `data` at the end of it, in inference mode: the same on every backend, and
    little work if `data` is a sample.

    Args:
        data: as of the criterion `movement`.

    A further `fit` with this callback goes on with the sum, if the weights are those that the last one left.

    Raises:
        ValueError: asked for scores before an epoch has ended, or for those of other kernels.

    Warns:
        UserWarning: training begins at a later epoch, and the terms of those before it are not there: no file has them.

    Put it before the callback that prunes:

    >>> inputs, targets = np.ones((8, 4)), np.ones((8, 2))
    >>> movement = Movement((inputs, targets))
    >>> from kerasticket.pruning.iterative import IterativeMagnitudePruning
    >>> callbacks = [movement, IterativeMagnitudePruning(rounds=2, epochs_per_round=3, criterion=movement)]
    """

    __name__ = "movement_over_epochs"

    def __init__(self, data):
        super().__init__()
        self.data = data
        self._sums: Scores = {}
        self._left: Params | None = None  # the weights after the last term

    def on_train_begin(self, logs=None):
        self._runs = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._runs and (self._left is None or differing(masking.get_params(self.model), self._left)):
            self._sums = {}
            if epoch:
                warnings.warn(
                    f"Movement has no scores of the epochs before {epoch}, which are in no file: the next pruning "
                    "ranks weights by the epochs from there on.",
                    UserWarning,
                    stacklevel=2,
                )
        self._runs = True

    def on_epoch_end(self, epoch, logs=None):
        mask, self._left = masking.get_mask(self.model), masking.get_params(self.model)
        term = criteria.movement(self.model, self._left, mask, self.data, np.random.default_rng(0))
        self._sums = {path: self._sums.get(path, 0.0) + array for path, array in term.items()}

    def __call__(self, model: keras.Model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
        """The sums so far, which then begin anew."""
        if self._sums.keys() != mask.keys():
            raise ValueError(
                "Expected an epoch of training to add up scores over. Received: none since the last pruning. Put the "
                "Movement callback before the one that prunes, and prune after at least one epoch."
            )
        sums, self._sums = self._sums, {}
        return sums
