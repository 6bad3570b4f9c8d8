"""Publication bias at its worst: the mean of the results that nobody had a reason to favour."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from metamiq.errors import DataError
from metamiq.pooling.interval import Interval
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.tails import critical_value
from metamiq.wording import count, in_short

MODELS = ("fixed", "robust")
LARGEST = 1e6  # selection ratios searched


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Corrected:
    """The mean if affirmative results were `ratio` times more likely to be published."""

    ratio: float
    estimate: float
    se: float
    dof: float | None

    def ci(self, level: float = 0.95) -> Interval:
        """Confidence interval of the mean."""
        half = float(critical_value(level, self.dof)) * self.se
        return Interval(self.estimate - half, self.estimate + half)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WorstCase:
    """The mean of nonaffirmative studies alone, and how severe bias must be to explain the mean away."""

    fit: PooledEffect = field(repr=False)  # of the nonaffirmative studies
    original: PooledEffect = field(repr=False)
    k_affirmative: int
    k_nonaffirmative: int
    side: int  # 1: positive results are affirmative
    q: float
    s_value: float
    s_value_ci: float
    model: str
    tau2: float
    level: float
    cautions: tuple[str, ...]

    @property
    def estimate(self) -> float:
        """The worst-case mean."""
        return self.fit.estimate

    @property
    def se(self) -> float:
        """Its standard error."""
        return self.fit.se

    @property
    def ci_low(self) -> float:
        """Lower end of its confidence interval."""
        return self.fit.ci(self.level).low

    @property
    def ci_high(self) -> float:
        """Upper end of its confidence interval."""
        return self.fit.ci(self.level).high

    def corrected(self, ratio: float) -> Corrected:
        """The mean if affirmative results were `ratio` times (>= 1) more likely to be published than others."""
        if not ratio >= 1:
            raise ValueError(f"ratio must be 1 or greater, not {ratio!r}.")
        rows = readable.rows_of(self.original, "The worst case")
        affirmative = readable.significant(rows, self.side, 0.95)
        return _corrected(rows, affirmative, ratio, self.tau2, self.model)

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        percent = f"{100 * self.level:g}%"
        return "\n".join(
            [
                f"Worst case of publication bias: {self.k_affirmative} affirmative and {self.k_nonaffirmative} "
                f"nonaffirmative results; mean of all {self.original.estimate:.4f}",
                f"mean of the nonaffirmative ones {self.estimate:.4f} ({percent} CI {self.ci_low:.4f} to "
                f"{self.ci_high:.4f})",
                f"S-value: affirmative results must be {_times(self.s_value)} more likely to be published to bring the "
                f"mean to {self.q:g}, {_times(self.s_value_ci)} to bring its interval there",
                *readable.lines(self.cautions),
            ]
        )


def _times(ratio: float) -> str:
    return "infinitely many times (no ratio suffices)" if np.isinf(ratio) else f"{ratio:.2f} times"


def worst_case(fit: PooledEffect, q: float = 0.0, *, model: str = "robust", level: float | None = None) -> WorstCase:
    r"""Sensitivity to publication bias that favours affirmative results.

    A result is affirmative when it has the sign of the mean and a two-sided p-value below 0.05. If affirmative results
    are :math:`\eta` times more likely to be published, the mean with weights :math:`\eta w_i` for nonaffirmative and
    :math:`w_i` for affirmative results is unbiased; as :math:`\eta \to \infty`, only nonaffirmative results remain.
    The S-value is the :math:`\eta` that brings the mean (or the nearer end of its interval) to q.

    Parameters
    ----------
    fit : PooledEffect
        The fit of all results.
    q : float
        The value to which the mean is to be brought, on the scale of yi.
    model : {"robust", "fixed"}
        Weights :math:`1 / (v_i + \tau^2)`, with tau2 of the fit and a robust (CR2) variance with
        Satterthwaite degrees of freedom; or :math:`1 / v_i` with their own variance and the normal distribution.
    level : float, optional
        Coverage of intervals; the fit's own by default.

    Returns
    -------
    WorstCase
        `estimate`, from the fit's own model on the nonaffirmative results; `s_value`, `s_value_ci`: 1 when no bias is
        needed, infinite when no bias suffices; `corrected(ratio)`.

    Raises
    ------
    DataError
        If there are bounds, or no nonaffirmative results.

    References
    ----------
    Mathur & VanderWeele (2020).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> yi, vi = [0.1, 0.02, 0.45, 0.5, 0.9, 0.8, 0.3], [0.01, 0.01, 0.02, 0.04, 0.09, 0.08, 0.06]
    >>> result = worst_case(random_effects(yi=yi, vi=vi))
    >>> print(f"{result.original.estimate:.3f} -> {result.estimate:.3f}, S = {result.s_value:.1f}")
    0.365 -> 0.078, S = inf
    """
    if model not in MODELS:
        raise ValueError(f"model must be 'fixed' or 'robust', not {model!r}.")
    rows = readable.rows_of(fit, "The worst case")
    level = fit.level if level is None else level
    if not isinstance(fit, PooledEffect) or fit.combine is not None:
        raise DataError("The worst case needs one mean with inverse-variance weights. Fit it with random_effects.")
    side = readable.direction(fit.estimate)
    affirmative = readable.significant(rows, side, 0.95)
    others = ~affirmative
    if not others.any():
        raise DataError(
            f"The worst case rests on nonaffirmative results, but all {fit.k} are significant in the direction of the "
            "mean. It cannot be used here."
        )
    tau2 = 0.0 if model == "fixed" or np.isnan(fit.tau2) else fit.tau2
    known = np.isfinite(fit.source.yi) & np.isfinite(fit.source.vi)
    worst = random_effects(
        fit.effects[known][others].assign(yi=rows.yi[others], vi=rows.vi[others]),
        method=fit.method,
        test=fit.test,
        level=level,
    )
    cautions = [
        *readable.few(fit.k),
        *(
            [f"The worst case rests on {count(int(others.sum()), 'nonaffirmative result')} only."]
            if others.sum() < 5
            else []
        ),
        *readable.dependent(fit),
        *readable.no_null(fit),
        "Results are taken to be selected by their p-value and direction only, all affirmative ones alike.",
    ]
    return WorstCase(
        fit=worst,
        original=fit,
        k_affirmative=int(affirmative.sum()),
        k_nonaffirmative=int(others.sum()),
        side=side,
        q=float(q),
        s_value=_s_of_mean(rows, affirmative, tau2, side, q),
        s_value_ci=_s_of_interval(rows, affirmative, tau2, side, q, model, level),
        model=model,
        tau2=tau2,
        level=level,
        cautions=tuple(cautions),
    )


def _corrected(rows: readable.Rows, affirmative: NDArray[np.bool_], ratio: float, tau2: float, model: str) -> Corrected:
    yi, vi = rows
    base = 1.0 / (vi + tau2)
    w = np.where(affirmative, 1.0, ratio) * base
    h = w / w.sum()
    mean = float(h @ yi)
    if model == "fixed":
        return Corrected(ratio=ratio, estimate=mean, se=float(np.sqrt((h * h) @ vi)), dof=None)
    se, dof = _robust(yi - mean, h, vi + tau2)
    return Corrected(ratio=ratio, estimate=mean, se=se, dof=dof)


def _robust(residuals: Array, h: Array, phi: Array) -> tuple[float, float]:
    """CR2 standard error of a weighted mean and its degrees of freedom, when rows have working variances `phi`.

    The residuals have working covariance M = phi_i [i = j] - g_i - g_j + c with g = h phi and c = sum h^2 phi.
    """
    g, c = h * phi, float(h @ (h * phi))
    own = phi - 2 * g + c
    d = h * h * phi / own
    s0, s1, s2 = d.sum(), d @ g, d @ (g * g)
    off = c * c * s0**2 - 4 * c * s0 * s1 + 2 * s0 * s2 + 2 * s1**2
    square = off + (d * d) @ (own**2 - (c - 2 * g) ** 2)
    return float(np.sqrt(d @ residuals**2)), float((d @ own) ** 2 / square)


def _s_of_mean(rows: readable.Rows, affirmative: NDArray[np.bool_], tau2: float, side: int, q: float) -> float:
    """The ratio at which the mean is q, in closed form."""
    w = 1.0 / (rows.vi + tau2)
    above = side * (w * (rows.yi - q))
    total, rest = float(above.sum()), float(above[~affirmative].sum())
    if total <= 0:
        return 1.0
    return np.inf if rest >= 0 else float(-above[affirmative].sum() / rest)


def _s_of_interval(
    rows: readable.Rows, affirmative: NDArray[np.bool_], tau2: float, side: int, q: float, model: str, level: float
) -> float:
    """The first ratio at which the end of the interval nearer to q reaches it."""

    def gap(log_ratio: float) -> float:
        ci = _corrected(rows, affirmative, float(np.exp(log_ratio)), tau2, model).ci(level)
        return ci.low - q if side > 0 else q - ci.high

    if gap(0.0) <= 0:
        return 1.0
    grid = np.linspace(0.0, np.log(LARGEST), 200)
    for low, high in itertools.pairwise(grid):
        if gap(high) <= 0:
            return float(np.exp(optimize.brentq(gap, low, high, xtol=1e-13)))
    return np.inf
