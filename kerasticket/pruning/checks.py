"""What callbacks that prune ask of a model before any training."""

import keras

from kerasticket.backend import distribution
from kerasticket.tickets import masking


def check_model(model: keras.Model) -> None:
    """Raises ValueError unless the model is masked and has an optimizer without moving averages of the weights.

    And where `fit` on several devices would train them one by one, or could not.
    """
    masking.require_masked(model)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            f"Expected a model with an optimizer. Received: '{model.name}', which has none. Compile the model with an "
            "optimizer: model.compile(optimizer, loss)."
        )
    distribution.check_training(model)
    if getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False):
        raise ValueError(
            "Expected an optimizer without use_ema, whose averages replace the weights and would bring pruned ones "
            f"back. Received: {type(optimizer).__name__}(use_ema=True)."
        )
