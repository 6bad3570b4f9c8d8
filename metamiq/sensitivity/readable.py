"""Which rows a method for small-study effects reads, and when its answer must not be read.

Every result of this family carries `cautions`: sentences that its `summary` prints, so that no number goes without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import Array

FEW = 10  # Sterne et al. (2011): no test for funnel plot asymmetry below ten studies
NARROW = 2.0  # largest over smallest standard error


class Rows(NamedTuple):
    """The effect sizes and variances of a fit."""

    yi: Array
    vi: Array

    @property
    def sei(self) -> Array:
        """Standard errors."""
        return np.asarray(np.sqrt(self.vi))


def not_a_table(fit: object, method: str) -> None:
    """Raise ValueError when anything but a fit of one effect per row, which can be refitted, is given."""
    if isinstance(fit, pd.DataFrame):
        raise ValueError(
            f"{method} needs a fit, not a table. Fit the table first, with metamiq.random_effects or "
            "random_effects_bounded."
        )
    if not isinstance(fit, PooledEffect | MetaRegression | BoundedFit):
        raise ValueError(
            f"{method} needs a fit of metamiq.random_effects, fixed_effect, meta_regression or random_effects_bounded, "
            f"not {type(fit).__name__}: its model would not be the one that is refitted."
        )


def one_mean_of(fit: object, method: str, at_least: int = 3) -> Rows:
    """The effect sizes of a fit without moderators; raises as `rows_of`, and DataError when there are moderators."""
    rows = rows_of(fit, method, at_least)
    if isinstance(fit, MetaRegression):
        raise DataError(f"{method} needs one mean, but the model has moderators. Fit it with metamiq.random_effects.")
    return rows


def rows_of(fit: object, method: str, at_least: int = 3) -> Rows:
    """The effect sizes of a fit.

    Raises
    ------
    DataError
        If the fit rests on bounds, which have no effect size, or has fewer than `at_least` rows.
    ValueError
        If `fit` is no fit.
    """
    if isinstance(fit, BoundedFit):
        raise DataError(
            f"{method} needs an effect size and a sampling variance for every row, but {fit.k_bounds} of {fit.k} rows "
            "are bounds. Fit the points alone with metamiq.random_effects, and say that the bounds are left out."
        )
    if not isinstance(fit, PooledEffect | MetaRegression):
        raise ValueError(
            f"{method} needs a fit of metamiq.random_effects, fixed_effect or meta_regression, not "
            f"{type(fit).__name__}."
        )
    yi, vi = fit.source.yi, fit.source.vi
    known = np.isfinite(yi) & np.isfinite(vi)
    if not known.all():  # fits of counts keep rows without an effect size of their own
        yi, vi = yi[known], vi[known]
    if len(yi) < at_least:
        raise DataError(
            f"{method} needs at least {at_least} effect sizes, but there are {len(yi)}. Add studies, or leave it out."
        )
    return Rows(yi, vi)


def direction(estimate: float) -> int:
    """1 when the effect is positive or 0, else -1."""
    return -1 if estimate < 0 else 1


def significant(rows: Rows, sign: int, level: float = 0.95) -> NDArray[np.bool_]:
    """Whether each effect lies on the side `sign` with a two-sided p-value of 1 - level or less."""
    return np.asarray(sign * rows.yi / rows.sei >= special.ndtri(0.5 + level / 2))


def few(k: int, at_least: int = FEW) -> list[str]:
    """A caution when there are few effect sizes."""
    if k >= at_least:
        return []
    return [f"k = {k}: with fewer than {at_least} effect sizes this should not be read; its power is too low."]


def narrow(sei: Array) -> list[str]:
    """A caution when the standard errors are about the same."""
    ratio = float(sei.max() / sei.min())
    if ratio >= NARROW:
        return []
    return [
        f"The largest standard error is only {ratio:.2f} times the smallest: precision hardly differs, so nothing can "
        "be told from it."
    ]


def dependent(fit: PooledEffect | MetaRegression) -> list[str]:
    """A caution when studies give several effect sizes."""
    if fit.n_studies == fit.k:
        return []
    return [
        f"{fit.k} effect sizes come from {fit.n_studies} studies, but are taken as independent: p-values and intervals "
        "are too optimistic."
    ]


# Measures by what makes their standard error depend on the effect, and what avoids it.
_OF_COUNTS = ("OR", "RR", "PETO", "RD", "PHI", "YUQ", "YUY", "RTET", "PBIT", "OR2DL", "OR2DN")
_OF_MEANS = (
    *("SMD", "SMDH", "SMD1", "SMD1H", "SMCC", "SMCR", "SMCRH", "PPC_PRE", "PPC_POST", "PPC_ALL"),
    *("D2ORL", "D2ORN", "RPB", "RBIS", "ROM", "ROMC", "CVR"),
)
_OF_SINGLE_GROUPS = ("PR", "PLO", "PAS", "PFT")


def built_in(fit: PooledEffect | MetaRegression) -> list[str]:
    """A caution when the measure's standard error depends on the effect itself.

    References
    ----------
    Sterne et al. (2011) and Peters et al. (2006) for counts; Pustejovsky & Rodgers (2019) for standardised mean
    differences; Hunter et al. (2014) for proportions.
    """
    measure = fit.measure
    if measure in _OF_COUNTS:
        way_out = "the tests of Harbord and Peters avoid it"
    elif measure in (*_OF_MEANS, "PR", "PLO"):
        way_out = "Egger with 1/sqrt(n) (predictor='sqrtninv') avoids it where group sizes are known"
    elif measure in ("COR", "UCOR"):
        way_out = "Fisher's z, the measure ZCOR, avoids it"
    else:
        return []
    return [
        f"The standard error of the measure {measure} depends on the effect, which by itself makes a funnel "
        f"asymmetric; {way_out}."
    ]


def no_null(fit: PooledEffect | MetaRegression) -> list[str]:
    """A caution for methods that rest on p-values, when 0 is not the value of no effect."""
    if fit.measure not in _OF_SINGLE_GROUPS:
        return []
    return [
        f"0 is not the value of no effect on the scale of {fit.measure}, a proportion of single groups: nobody selects "
        "results by these p-values, and nothing can be told from them."
    ]


def heterogeneous(rows: Rows, limit: float = 50.0) -> list[str]:
    """A caution when the effects differ between studies, for methods that assume one effect."""
    w = 1.0 / rows.vi
    mean = float((w * rows.yi).sum() / w.sum())
    Q, dof = float((w * (rows.yi - mean) ** 2).sum()), len(w) - 1
    I2 = 100.0 * max(0.0, (Q - dof) / Q) if Q > 0 else 0.0
    if limit >= I2:
        return []
    return [f"The effects differ between studies (I2 = {I2:.0f}% by Q), which this method does not allow for."]


def lines(cautions: Sequence[str]) -> list[str]:
    """Cautions as lines of a summary."""
    return [f"Caution: {text}" for text in cautions]
