"""Lottery tickets with distilled data in Keras 3: `import kerasticket as kt`.

Public names are loaded on first use, so that `import kerasticket` itself costs milliseconds. Layers,
initializers and optimizers register with Keras as soon as Keras is imported (before or after this package),
which is what lets plain `keras.saving.load_model` open a ticket.
"""

import importlib

import wrapt

__version__ = "0.1.0"

# public name -> the module that defines it; a name that equals the module's last part is the module itself
_PUBLIC = {
    "analysis": "kerasticket.analysis",
    "callbacks": "kerasticket.pruning.callbacks",
    "data": "kerasticket.data",
    "distillation": "kerasticket.distillation",
    "figures": "kerasticket.experiments.figures",
    "layers": "kerasticket.layers",
    "models": "kerasticket.models",
    "optimizers": "kerasticket.training.optimizers",
    "training": "kerasticket.training",
    "Ticket": "kerasticket.tickets.ticket",
    "import_ticket": "kerasticket.tickets.importing",
    "save_masks": "kerasticket.tickets.mask_files",
    "load_masks": "kerasticket.tickets.mask_files",
    "Run": "kerasticket.experiments.run",
    "masked": "kerasticket.tickets.masking",
    "strip": "kerasticket.tickets.masking",
    "get_mask": "kerasticket.tickets.masking",
    "set_mask": "kerasticket.tickets.masking",
    "get_params": "kerasticket.tickets.masking",
    "set_params": "kerasticket.tickets.masking",
    "sparsity": "kerasticket.tickets.masking",
    "summary": "kerasticket.pruning.summary",
    "compact": "kerasticket.pruning.compaction",
    "save_sparse": "kerasticket.tickets.sparse_files",
    "load_sparse": "kerasticket.tickets.sparse_files",
}
_MODULES = {"analysis", "callbacks", "data", "distillation", "figures", "layers", "models", "optimizers", "training"}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kerasticket' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


@wrapt.when_imported("keras")
def _register_with_keras(keras) -> None:
    for module in (
        "kerasticket.layers",
        "kerasticket.tickets.weight_files",
        "kerasticket.models",
        "kerasticket.training.optimizers",
    ):
        importlib.import_module(module)
