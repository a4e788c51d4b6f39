"""Lottery tickets with distilled data in Keras 3: `import kerasticket as kt`.

Public names are loaded on first use, so that `import kerasticket` itself costs milliseconds. Layers,
initializers and optimizers register with Keras as soon as Keras is imported (before or after this package),
which is what lets plain `keras.saving.load_model` open a ticket.
"""

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:  # what editors and type checkers see; a test holds it to the tables below
    from kerasticket import analysis as analysis
    from kerasticket import data as data
    from kerasticket import distillation as distillation
    from kerasticket import experiments as experiments
    from kerasticket import layers as layers
    from kerasticket import models as models
    from kerasticket import pruning as pruning
    from kerasticket import training as training
    from kerasticket.experiments import figures as figures
    from kerasticket.experiments.run import Run as Run
    from kerasticket.pruning import callbacks as callbacks
    from kerasticket.pruning.compaction import compact as compact
    from kerasticket.pruning.summary import summary as summary
    from kerasticket.tickets.importing import import_ticket as import_ticket
    from kerasticket.tickets.mask_files import load_masks as load_masks
    from kerasticket.tickets.mask_files import save_masks as save_masks
    from kerasticket.tickets.masking import get_mask as get_mask
    from kerasticket.tickets.masking import get_params as get_params
    from kerasticket.tickets.masking import masked as masked
    from kerasticket.tickets.masking import set_mask as set_mask
    from kerasticket.tickets.masking import set_params as set_params
    from kerasticket.tickets.masking import sparsity as sparsity
    from kerasticket.tickets.masking import strip as strip
    from kerasticket.tickets.sparse_files import load_sparse as load_sparse
    from kerasticket.tickets.sparse_files import save_sparse as save_sparse
    from kerasticket.tickets.ticket import Ticket as Ticket
    from kerasticket.training import optimizers as optimizers

__version__ = "0.1.0"

_MODULES = {  # public name -> the module that it is
    "analysis": "kerasticket.analysis",
    "callbacks": "kerasticket.pruning.callbacks",
    "data": "kerasticket.data",
    "distillation": "kerasticket.distillation",
    "experiments": "kerasticket.experiments",
    "figures": "kerasticket.experiments.figures",
    "layers": "kerasticket.layers",
    "models": "kerasticket.models",
    "optimizers": "kerasticket.training.optimizers",
    "pruning": "kerasticket.pruning",
    "training": "kerasticket.training",
}
_NAMES = {  # public name -> the module that has it
    "Run": "kerasticket.experiments.run",
    "Ticket": "kerasticket.tickets.ticket",
    "compact": "kerasticket.pruning.compaction",
    "get_mask": "kerasticket.tickets.masking",
    "get_params": "kerasticket.tickets.masking",
    "import_ticket": "kerasticket.tickets.importing",
    "load_masks": "kerasticket.tickets.mask_files",
    "load_sparse": "kerasticket.tickets.sparse_files",
    "masked": "kerasticket.tickets.masking",
    "save_masks": "kerasticket.tickets.mask_files",
    "save_sparse": "kerasticket.tickets.sparse_files",
    "set_mask": "kerasticket.tickets.masking",
    "set_params": "kerasticket.tickets.masking",
    "sparsity": "kerasticket.tickets.masking",
    "strip": "kerasticket.tickets.masking",
    "summary": "kerasticket.pruning.summary",
}

__all__ = ["__version__", *sorted(_MODULES | _NAMES)]


if not TYPE_CHECKING:  # it would make every misspelled name Any

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            value = importlib.import_module(_MODULES[name])
        elif name in _NAMES:
            value = getattr(importlib.import_module(_NAMES[name]), name)
        else:
            raise AttributeError(f"module 'kerasticket' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__


@wrapt.when_imported("keras")
def _register_with_keras(keras: Any) -> None:
    for module in ("layers", "tickets.weight_files", "models", "training.optimizers"):
        importlib.import_module(f"kerasticket.{module}")
