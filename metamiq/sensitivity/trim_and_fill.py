"""Trim and fill: what the mean would be if the funnel's missing studies mirrored those that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import batch
from metamiq.pooling.interval import Interval
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array, tables
from metamiq.sensitivity import readable
from metamiq.sensitivity.small_study import egger_test
from metamiq.wording import in_short, p_text

# The model that trims, and the model that pools the filled table; None: the fit's own.
MODELS: dict[str, tuple[str | None, str | None]] = {
    "own": (None, None),
    "fixed": ("FE", "FE"),
    "random": ("random", "random"),
    "fixed-random": ("FE", "random"),
}
SIDES = ("left", "right")
STEPS = 200


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrimAndFill:
    """The estimated number of missing studies, and the fit with their mirror images."""

    k0: int
    k0_se: float
    k0_p: float  # of no missing studies; NaN except for R0
    side: str  # where studies are missing
    estimator: str
    model: str
    filled: pd.DataFrame  # yi, vi and the row that each mirrors
    original: PooledEffect = field(repr=False)
    fit: PooledEffect = field(repr=False)
    cautions: tuple[str, ...]

    @property
    def estimate(self) -> float:
        """The mean of observed and filled studies."""
        return self.fit.estimate

    @property
    def se(self) -> float:
        """Its standard error."""
        return self.fit.se

    @property
    def tau2(self) -> float:
        """tau2 of observed and filled studies."""
        return self.fit.tau2

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the mean of observed and filled studies."""
        return self.fit.ci(level)

    @property
    def ci_low(self) -> float:
        """Lower end of the confidence interval."""
        return self.fit.ci_low

    @property
    def ci_high(self) -> float:
        """Upper end of the confidence interval."""
        return self.fit.ci_high

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        percent = f"{100 * self.fit.level:g}%"
        p = "" if np.isnan(self.k0_p) else f", {p_text(self.k0_p, 4)} for none"
        return "\n".join(
            [
                f"Trim and fill ({self.estimator}, model {self.model}): {self.k0} "
                f"{'study' if self.k0 == 1 else 'studies'} (SE {self.k0_se:.2f}{p}) "
                f"estimated to be missing on the {self.side}",
                f"mean {self.original.estimate:.4f} ({percent} CI {self.original.ci_low:.4f} to "
                f"{self.original.ci_high:.4f}), with them {self.estimate:.4f} ({self.ci_low:.4f} to "
                f"{self.ci_high:.4f})",
                *readable.lines(self.cautions),
            ]
        )


class _Missing(NamedTuple):
    k0: float
    variance: float


def trim_and_fill(fit: PooledEffect, estimator: str = "L0", side: str | None = None, model: str = "own") -> TrimAndFill:
    r"""Duval and Tweedie's trim and fill.

    The k0 most extreme studies on one side are left out, the mean is estimated without them, and k0 is estimated
    again from the signed ranks of all deviations from that mean, until k0 stays. With :math:`S` the sum of the ranks
    of deviations on the far side and :math:`\gamma` the length of the rightmost run of such ranks:

    .. math:: L_0 = \frac{4 S - k (k + 1)}{2 k - 1}, \qquad R_0 = \gamma - 1, \qquad
              Q_0 = k - \tfrac12 - \sqrt{2 k^2 - 4 S + \tfrac14}

    Then the mirror images of the k0 studies are filled in and the table is pooled again.

    Parameters
    ----------
    fit : PooledEffect
        The fit to adjust.
    estimator : {"L0", "R0", "Q0"}
        Estimator of the number of missing studies.
    side : {"left", "right"}, optional
        Where studies are missing. By default on the left when Egger's regression under the fit's own model has a
        positive slope, else on the right.
    model : {"own", "fixed", "random", "fixed-random"}
        Model that trims and pools: the fit's own; the fixed-effect model; the random-effects model (the fit's
        estimator of tau2, or REML); the fixed-effect model trims and the random-effects model pools. The test is
        always the fit's own.

    Returns
    -------
    TrimAndFill
        `k0 side estimate ci_low ci_high filled`. `k0_p` (R0 only) is the probability of so many or more when none are
        missing. Of equal effects, the later row is left out first.

    Raises
    ------
    DataError
        If there are bounds, fewer than three rows, or weights other than inverse variances.
    ConvergenceError
        If k0 does not settle, or the estimator is undefined for these ranks.
    ValueError
        If an option is not one of those above.

    References
    ----------
    Duval & Tweedie (2000a, 2000b); Peters, Sutton, Jones, Abrams & Rushton (2007) for the choice of models.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.2, 0.25, 0.5, 0.9, 0.8], vi=[0.01, 0.01, 0.02, 0.04, 0.09, 0.08])
    >>> adjusted = trim_and_fill(fit, estimator="R0")
    >>> print(f"{adjusted.k0} on the {adjusted.side}: {adjusted.original.estimate:.3f} -> {adjusted.estimate:.3f}")
    2 on the left: 0.358 -> 0.230
    """
    if estimator not in _ESTIMATORS:
        raise ValueError(f"estimator must be one of 'L0', 'Q0', 'R0', not {estimator!r}.")
    if side is not None and side not in SIDES:
        raise ValueError(f"side must be 'left' or 'right', not {side!r}.")
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(map(repr, sorted(MODELS)))}, not {model!r}.")
    rows = readable.rows_of(fit, "Trim and fill")
    if not isinstance(fit, PooledEffect) or fit.combine is not None:
        raise DataError("Trim and fill needs one mean with inverse-variance weights. Fit it with random_effects.")
    trim, pool = (_method(fit, choice) for choice in MODELS[model])
    if side is None:
        slope = egger_test(fit, model="mixed").intercept if np.ptp(rows.vi) > 0 else 1.0
        side = "right" if slope < 0 else "left"
    # Studies missing on the left leave an excess on the right: work with that side up.
    up = 1.0 if side == "left" else -1.0
    order = np.argsort(up * rows.yi, kind="stable")
    k0, variance, mean = _settle(up * rows.yi[order], rows.vi[order], estimator, trim)
    extreme = order[len(order) - k0 :]
    filled = pd.DataFrame({"yi": 2 * up * mean - rows.yi[extreme], "vi": rows.vi[extreme]})
    filled.insert(0, "mirrors", [fit.source.labels()[i] for i in extreme])
    refit = random_effects(
        yi=np.concatenate([rows.yi, filled["yi"]]),
        vi=np.concatenate([rows.vi, filled["vi"]]),
        method=pool,
        test=fit.test,
        level=fit.level,
        pi_method=fit.pi_method,
    )
    cautions = [
        "The filled studies are a device, not data: this is a check of how far the mean depends on funnel asymmetry.",
        *readable.few(fit.k),
        *readable.narrow(rows.sei),
        *readable.heterogeneous(rows),
        *readable.dependent(fit),
        *readable.built_in(fit),
    ]
    return TrimAndFill(
        k0=k0,
        k0_se=float(np.sqrt(variance)),
        k0_p=0.5 ** (k0 + 1) if estimator == "R0" else np.nan,
        side=side,
        estimator=estimator,
        model=model,
        filled=filled,
        original=fit,
        fit=refit,
        cautions=tuple(cautions),
    )


def _method(fit: PooledEffect, choice: str | None) -> str:
    if choice == "random":
        return "REML" if fit.method == "FE" else fit.method
    return fit.method if choice is None else choice


def _settle(yi: Array, vi: Array, estimator: str, method: str) -> tuple[int, float, float]:
    """k0, its variance and the trimmed mean, of effects in ascending order with studies missing on the left."""
    k, k0, seen = len(yi), 0, set[int]()
    for _ in range(STEPS):
        kept = slice(0, k - k0)
        mean = float(batch.core(tables(yi[kept], vi[kept]), method, "z").beta[0, 0])
        deviation = yi - mean
        ranks = np.empty(k)
        ranks[np.argsort(np.abs(deviation), kind="stable")] = np.arange(1, k + 1)
        above = deviation > 0
        missing = _ESTIMATORS[estimator](k, float(ranks[above].sum()), ranks[~above])
        if not np.isfinite(missing.k0):
            raise ConvergenceError(f"{estimator} is undefined for these ranks; use the estimator 'L0' or 'R0'.")
        new = max(0, int(np.rint(missing.k0)))
        if new == k0:
            return k0, missing.variance, mean
        if new in seen:
            raise ConvergenceError(
                f"The number of missing studies must settle, but it goes round between {new} and {k0}. "
                "Use another estimator."
            )
        if new >= k:
            raise ConvergenceError(f"{estimator} would trim all {k} studies; use another estimator.")
        seen.add(k0)
        k0 = new
    raise ConvergenceError(f"The number of missing studies did not settle in {STEPS} steps; use another estimator.")


def _variance_of_ranks(k: int, k0: float) -> float:
    """Variance of S with k0 studies missing (Duval & Tweedie 2000a)."""
    quartic = k * (k + 1) * (2 * k + 1) + 10 * k0**3 + 27 * k0**2 + 17 * k0
    return (quartic - 18 * k * k0**2 - 18 * k * k0 + 6 * k**2 * k0) / 24


def _l0(k: int, S: float, below: Array) -> _Missing:
    k0 = (4 * S - k * (k + 1)) / (2 * k - 1)
    at = max(0.0, k0)
    return _Missing(k0, 16 * _variance_of_ranks(k, at) / (2 * k - 1) ** 2)


def _r0(k: int, S: float, below: Array) -> _Missing:
    run = k - (float(below.max()) if len(below) else 0.0)
    return _Missing(run - 1, 2 * max(0.0, run - 1) + 2)


def _q0(k: int, S: float, below: Array) -> _Missing:
    square = 2 * k**2 - 4 * S + 0.25
    if square < 0:
        return _Missing(np.nan, np.nan)
    k0 = k - 0.5 - float(np.sqrt(square))
    at = max(0.0, k0)
    return _Missing(k0, 4 * _variance_of_ranks(k, at) / ((k - 0.5) ** 2 - at * (2 * k - at - 1)))


_ESTIMATORS: dict[str, Callable[[int, float, Array], _Missing]] = {"L0": _l0, "Q0": _q0, "R0": _r0}
