"""Fits that are drawn as a forest and as nothing else: multilevel models and posteriors.

They are told by name: drawing another fit must not load their modules, which takes longer than the drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from metamiq.pooling.bayes import BayesianEffect
    from metamiq.pooling.multilevel_fit import MultilevelFit

_MULTILEVEL = {
    "three-level": "Three-level mean",
    "che": "Mean of correlated effects",
    "ce": "Mean of correlated effects",
}


def is_multilevel(fit: object) -> TypeIs[MultilevelFit]:
    """Whether `fit` is from `metamiq.multilevel`."""
    return _is(fit, "multilevel_fit", "MultilevelFit")


def is_posterior(fit: object) -> TypeIs[BayesianEffect]:
    """Whether `fit` is from `metamiq.bayes_random_effects`."""
    return _is(fit, "bayes", "BayesianEffect")


def _is(fit: object, module: str, name: str) -> bool:
    return type(fit).__name__ == name and type(fit).__module__ == f"metamiq.pooling.{module}"


def mean_name(fit: MultilevelFit | BayesianEffect, level: float) -> str:
    """The label of the pooled row."""
    if is_multilevel(fit):
        return _MULTILEVEL[fit.structure]
    return f"Posterior mean, {100 * level:g}% credible interval"
