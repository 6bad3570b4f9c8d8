"""The rows of a fit as every diagnostic picture needs them: points with standard errors, bounds with their two ends."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.plots.footer import has_moderators
from metamiq.plots.forest_rows import numbers, row_labels
from metamiq.plots.models import is_multilevel, is_posterior
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups

RowFit = PooledEffect | BoundedFit | MetaRegression


def drawn_from_fit(fit: object, what: str, *, groups: bool = False, models: bool = False) -> None:
    """Raise ValueError when anything but a fit of one effect per row is given.

    With `groups` subgroups will do, with `models` multilevel models and posteriors too.
    """
    if isinstance(fit, pd.DataFrame):
        raise ValueError(
            f"{what} is drawn from a fit, not from a table. Fit the table first, with metamiq.random_effects or "
            "random_effects_bounded."
        )
    if isinstance(fit, RowFit) or (groups and isinstance(fit, Subgroups)):
        return
    if models and (is_multilevel(fit) or is_posterior(fit)):
        return
    more = ", or from subgroups" if groups else ""
    if models:
        more += ", a multilevel model or a posterior"
    raise ValueError(
        f"{what} is drawn from a fit of metamiq.random_effects, fixed_effect, meta_regression or "
        f"random_effects_bounded{more}, not from {type(fit).__name__}."
    )


def weighted_by_inverse_variance(fit: RowFit, what: str) -> None:
    """Raise DataError for a mean with other weights, whose rows such a picture would show as they are not."""
    if isinstance(fit, PooledEffect) and fit.combine is not None:
        raise DataError(
            f"{what} needs a mean weighted by inverse variances, but this one ({fit.method}) has weights of its own. "
            "Draw it for metamiq.random_effects or fixed_effect of the same rows."
        )


def one_mean(fit: RowFit, what: str) -> None:
    """Raise DataError for a model with moderators, whose rows share no mean."""
    if has_moderators(fit):
        raise DataError(f"{what} needs one mean, but the model has moderators. Draw it for a fit without them.")


def effect_table(fit: RowFit) -> pd.DataFrame:
    """One row per effect, in input order.

    Returns
    -------
    DataFrame
        `label`; `kind` ("point" or "bound"); `yi` (NaN for bounds); `yi_low yi_high` (NaN for points); `sei`, for a
        bound the standard error that an estimate from such arms would have at the fitted mean; `weight`, shares of
        1 / (vi + tau2) for points, and as `BoundedFit.weights` has them where there are bounds; `n1i n2i`.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> table = effect_table(random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.01, 0.09]))
    >>> table["kind"].tolist(), [f"{x:.1f}" for x in table["sei"]]
    (['point', 'point', 'point'], ['0.2', '0.1', '0.3'])
    """
    effects = fit.effects
    yi, vi = numbers(effects, "yi"), numbers(effects, "vi")
    is_point = np.isfinite(yi) & np.isfinite(vi)
    n1, n2 = numbers(effects, "n1i"), numbers(effects, "n2i")
    if isinstance(fit, BoundedFit):
        x = np.ones((fit.k, 1)) if fit.design is None else fit.design.X
        vi = np.where(is_point, vi, 1 / n1 + 1 / n2 + (x @ fit.beta) ** 2 / (2 * (n1 + n2)))
    if isinstance(fit, MetaRegression):
        w = 1 / (vi + fit.tau2)
        weights = w / w.sum()
    else:
        weights = fit.weights
    return pd.DataFrame(
        {
            "label": row_labels(fit),
            "kind": np.where(is_point, "point", "bound"),
            "yi": np.where(is_point, yi, np.nan),
            "yi_low": np.where(is_point, np.nan, numbers(effects, "yi_low")),
            "yi_high": np.where(is_point, np.nan, numbers(effects, "yi_high")),
            "sei": np.sqrt(vi),
            "weight": weights,
            "n1i": n1,
            "n2i": n2,
        }
    )
