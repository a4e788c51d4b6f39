"""Lottery tickets with distilled data in Keras 3: `import kerasticket as kt`.

Public names are loaded on first use, so that `import kerasticket` itself costs milliseconds. Layers,
initialisers and optimizers register with Keras as soon as Keras is imported (before or after this package),
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
    "figures": "kerasticket.figures",
    "layers": "kerasticket.layers",
    "models": "kerasticket.models",
    "optimizers": "kerasticket.optimizers",
    "training": "kerasticket.training",
    "Ticket": "kerasticket.tickets",
    "import_ticket": "kerasticket.foreign",
    "save_masks": "kerasticket.npz",
    "load_masks": "kerasticket.npz",
    "Run": "kerasticket.runs",
    "masked": "kerasticket.masking",
    "strip": "kerasticket.masking",
    "get_mask": "kerasticket.masking",
    "set_mask": "kerasticket.masking",
    "get_params": "kerasticket.masking",
    "set_params": "kerasticket.masking",
    "sparsity": "kerasticket.masking",
    "summary": "kerasticket.model_summary",
    "compact": "kerasticket.compaction",
    "save_sparse": "kerasticket.sparse_files",
    "load_sparse": "kerasticket.sparse_files",
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
        "kerasticket.layers.weight_files",
        "kerasticket.models",
        "kerasticket.optimizers",
    ):
        importlib.import_module(module)
