"""metamiq: from what trial reports print to a pooled answer that anyone can audit.

    >>> import metamiq as mm

Numbers travel one road: CSV folder -> Dataset -> table with ``yi``, ``vi`` -> fit -> table, picture or verdict.
Each public name is loaded when it is first used, so that importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metamiq.datasets import available_datasets, load_dataset, read_dataset, read_table
    from metamiq.effects.continuous import hedges_g
    from metamiq.effects.dropout import dropout_counts
    from metamiq.effects.measures import effect_sizes
    from metamiq.effects.trials import excluded_trials, trial_effects
    from metamiq.errors import ConvergenceError, DataError
    from metamiq.pooling import batch
    from metamiq.pooling.bounded import random_effects_bounded
    from metamiq.pooling.counts import mantel_haenszel, peto
    from metamiq.pooling.models import fixed_effect, random_effects
    from metamiq.pooling.regression import meta_regression, screen_moderators
    from metamiq.pooling.subgroups import subgroups
    from metamiq.verdicts import audit

__version__ = "0.1.0"

# Where each public name lives. A name missing here is not part of the interface.
_HOME = {
    "ConvergenceError": "errors",
    "DataError": "errors",
    "audit": "verdicts",
    "available_datasets": "datasets",
    "dropout_counts": "effects.dropout",
    "effect_sizes": "effects.measures",
    "excluded_trials": "effects.trials",
    "fixed_effect": "pooling.models",
    "hedges_g": "effects.continuous",
    "load_dataset": "datasets",
    "mantel_haenszel": "pooling.counts",
    "meta_regression": "pooling.regression",
    "peto": "pooling.counts",
    "random_effects": "pooling.models",
    "random_effects_bounded": "pooling.bounded",
    "read_dataset": "datasets",
    "read_table": "datasets",
    "screen_moderators": "pooling.regression",
    "subgroups": "pooling.subgroups",
    "trial_effects": "effects.trials",
}
_MODULES = {"batch": "pooling.batch", "plots": "plots"}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"metamiq.{_MODULES[name]}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"metamiq.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'metamiq' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
