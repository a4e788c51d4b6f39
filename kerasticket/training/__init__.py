"""Training by a recipe, and evaluation: `kt.training`.

Names are loaded on first use: Keras' layers and optimizers register when Keras is imported, and must not wait for data.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasticket.training.recipe import EpochLog, History, Recipe, compiled_loss, evaluate, train

__all__ = ["EpochLog", "History", "Recipe", "compiled_loss", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kerasticket.training' has no attribute {name!r}")
    from kerasticket.training import recipe

    return getattr(recipe, name)
