"""Studies: plans of jobs, where they run, runs on disk that resume, their frames and the figures of the paper."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers see; a test holds it to the table below
    from kerasticket.experiments import figures as figures
    from kerasticket.experiments.config import CONFIGS as CONFIGS
    from kerasticket.experiments.config import Config as Config
    from kerasticket.experiments.distilled_pruning import distilled_pruning as distilled_pruning
    from kerasticket.experiments.events import Event as Event
    from kerasticket.experiments.executors import FailedJobsError as FailedJobsError
    from kerasticket.experiments.frames import results as results
    from kerasticket.experiments.frames import summary as summary
    from kerasticket.experiments.job import Job as Job
    from kerasticket.experiments.plan import Sizes as Sizes
    from kerasticket.experiments.plan import plan as plan
    from kerasticket.experiments.run import Run as Run
    from kerasticket.experiments.sweep import sweep as sweep

# Loaded on first use: who asks for a configuration alone, as `--help` does, waits for neither Keras nor pandas.
_NAMES = {
    "CONFIGS": "config",
    "Config": "config",
    "Event": "events",
    "FailedJobsError": "executors",
    "Job": "job",
    "Run": "run",
    "Sizes": "plan",
    "distilled_pruning": "distilled_pruning",
    "plan": "plan",
    "results": "frames",
    "summary": "frames",
    "sweep": "sweep",
}

__all__ = ["figures", *sorted(_NAMES)]


if not TYPE_CHECKING:  # it would make every misspelled name Any

    def __getattr__(name: str) -> Any:
        if name == "figures":
            return importlib.import_module(f"{__name__}.figures")
        if name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value  # also where a submodule of that name has just taken its place
        return value

    class _Package(types.ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            """Importing a submodule would put it in the place of the function that has its name: that stays."""
            if not (name in _NAMES and isinstance(value, types.ModuleType)):
                super().__setattr__(name, value)

    sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return __all__
