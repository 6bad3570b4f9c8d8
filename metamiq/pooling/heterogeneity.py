"""How much the effects differ: I2, H2, and intervals for tau2.

Conventions follow metafor: I2 and H2 of a random-effects model compare tau2 with the *typical* sampling variance of
Higgins & Thompson (2002), eq. 9, here (k - p) / tr P with fixed-effect weights, so that they change with the
estimator of tau2; for a fixed-effect model they are functions of Q.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.quadratic_form import cdf as quadratic_form_cdf
from metamiq.pooling.wls import Array, Tables, fit, fit_tau2, tables


class Interval(NamedTuple):
    """Two ends of an interval."""

    low: float
    high: float


def typical_variance(t: Tables) -> Array:
    """The typical sampling variance s2, shape (B,): (k - p) / tr P, with weights 1 / vi.

    References
    ----------
    Higgins & Thompson (2002), eq. 9.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(t.dof / fit(t, 1.0 / t.vi).trP())


def i2_from_tau2(tau2: ArrayLike, s2: ArrayLike) -> Array:
    """I2 in percent: the share of tau2 in tau2 + s2."""
    tau2 = np.asarray(tau2, dtype=float)
    with np.errstate(invalid="ignore"):
        # An infinite tau2 (the open end of an interval) is all of the variance.
        return np.asarray(np.where(np.isinf(tau2), 100.0, 100.0 * tau2 / (tau2 + s2)))


def h2_from_tau2(tau2: ArrayLike, s2: ArrayLike) -> Array:
    """H2, a ratio >= 1: (tau2 + s2) / s2."""
    return np.asarray(np.asarray(tau2, dtype=float) / s2 + 1.0)


def i2_from_q(Q: ArrayLike, dof: ArrayLike) -> Array:
    """I2 in percent from Q, at least 0; NaN where Q has no degrees of freedom.

    References
    ----------
    Higgins & Thompson (2002), eq. 10.
    """
    Q, dof = np.asarray(Q, dtype=float), np.asarray(dof, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        i2 = np.where(Q > 0, 100.0 * np.maximum(Q - dof, 0.0) / Q, 0.0)
    return np.asarray(np.where(dof > 0, i2, np.nan))


def higgins_thompson_interval(Q: float, k: int, level: float = 0.95) -> Interval:
    """Test-based interval of I2 (percent) from Q alone.

    ln H has standard error (ln Q - ln(k - 1)) / (2 (sqrt(2Q) - sqrt(2k - 3))) when Q > k, and
    sqrt((1 - 1 / (3 (k - 2)^2)) / (2 (k - 2))) otherwise.

    References
    ----------
    Higgins & Thompson (2002), appendix A2; Borenstein et al. (2009), chapter 16.

    Examples
    --------
    >>> low, high = higgins_thompson_interval(12.00535867, 6)
    >>> print(f"{low:.2f} {high:.3f}")
    0.00 83.127
    """
    if k < 3:
        return Interval(np.nan, np.nan)
    if k < Q:
        se = 0.5 * (np.log(Q) - np.log(k - 1)) / (np.sqrt(2 * Q) - np.sqrt(2 * k - 3))
    else:
        se = np.sqrt((1 - 1 / (3 * (k - 2) ** 2)) / (2 * (k - 2)))
    half = special.ndtri(0.5 + level / 2) * se
    log_h = 0.5 * np.log(max(Q, 1e-300) / (k - 1))
    ends = [max(0.0, 100 * (1 - np.exp(-2 * (log_h + side * half)))) for side in (-1, 1)]
    return Interval(*ends)


TAU2_INTERVALS = ("QP", "PL", "GENQ")


def tau2_interval(
    yi: ArrayLike,
    vi: ArrayLike,
    X: ArrayLike | None = None,
    *,
    level: float = 0.95,
    interval: str = "QP",
    method: str = "REML",
    weights: ArrayLike | None = None,
) -> Interval:
    """Confidence interval for tau2.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances.
    X : array_like, shape (k, p), optional
        Design with its intercept column; None for a mean only.
    level : float
        Coverage, between 0 and 1.
    interval : {"QP", "PL", "GENQ"}
        Q-profile; profile likelihood (of ML when `method` is "ML", else restricted); generalised Q with `weights`
        (None: 1 / vi, the Biggerstaff-Jackson interval for DL).
    method : str
        Which likelihood "PL" profiles.

    Returns
    -------
    Interval
        Ends at or above 0. Both are 0 when even tau2 = 0 leaves less variation than expected (a Q-profile or
        generalised Q interval may then be the single point 0); NaN when k - p is 0.

    References
    ----------
    QP: Viechtbauer (2007), section 3.5. PL: Hardy & Thompson (1996). GENQ: Jackson (2013); Biggerstaff & Jackson
    (2008).

    Examples
    --------
    >>> low, high = tau2_interval([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03])
    >>> print(f"{low:.3f} {high:.3f}")
    0.000 1.461
    """
    if interval not in TAU2_INTERVALS:
        raise ValueError(f"interval must be one of 'GENQ', 'PL', 'QP', not {interval!r}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}.")
    t = tables(yi, vi, X)
    if t.dof[0] <= 0:
        return Interval(np.nan, np.nan)
    tail = (1 - level) / 2
    if interval == "PL":
        return _profile_likelihood(t, level, method)
    if interval == "QP":
        target = np.array([special.chdtri(t.dof[0], tail), special.chdtri(t.dof[0], 1 - tail)])

        def q(tau2: float) -> float:
            return float(fit_tau2(t, np.array([tau2])).yPy()[0])

        return Interval(*(_falling_root(lambda x, c=c: q(x) - c, t) for c in target))  # type: ignore[misc]
    a = 1.0 / t.vi if weights is None else np.atleast_2d(np.asarray(weights, dtype=float))
    if not (np.isfinite(a).all() and (a > 0).all()):
        raise DataError("weights must be finite and greater than 0. Leave out rows that should not count.")
    x = np.ones((t.yi.shape[1], 1)) if t.X is None else t.X[0]
    observed = float(fit(t, a).yPy()[0])

    def upper_tail(tau2: float) -> float:
        return 1.0 - quadratic_form_cdf(observed, a[0], t.vi[0] + tau2, x)

    # The upper tail grows with tau2: too small below the interval, too large above.
    return Interval(*(_falling_root(lambda z, c=c: c - upper_tail(z), t) for c in (tail, 1 - tail)))  # type: ignore[misc]


def _falling_root(f: Callable[[float], float], t: Tables) -> float:
    """Where a decreasing function of tau2 crosses 0; 0 if it starts below."""
    if f(0.0) <= 0:
        return 0.0
    high = max(float(t.vi.max()), 1e-300)
    for _ in range(2000):
        if f(high) <= 0:
            return float(optimize.brentq(f, 0.0, high, xtol=1e-300, rtol=8.9e-16, maxiter=500))
        high *= 4.0
    raise ConvergenceError("The upper end of the tau2 interval must be finite, but no bound could be found.")


def _profile_likelihood(t: Tables, level: float, method: str) -> Interval:
    kind = "ML" if method == "ML" else "REML"
    peak = float(estimators.estimate(t, kind)[0])
    top = float(estimators.loglik(t, np.array([peak]), kind)[0])
    drop = special.chdtri(1, 1 - level) / 2

    def depth(tau2: float) -> float:
        return float(estimators.loglik(t, np.array([tau2]), kind)[0]) - top + drop

    low = 0.0
    if peak > 0 and depth(0.0) < 0:
        low = float(optimize.brentq(depth, 0.0, peak, xtol=1e-300, rtol=8.9e-16, maxiter=500))
    high = max(2 * peak, float(t.vi.max()))
    for _ in range(2000):
        if depth(high) < 0:
            break
        high *= 4.0
    else:
        raise ConvergenceError("The upper end of the tau2 interval must be finite, but no bound could be found.")
    return Interval(low, float(optimize.brentq(depth, peak, high, xtol=1e-300, rtol=8.9e-16, maxiter=500)))


__all__ = [
    "Interval",
    "h2_from_tau2",
    "higgins_thompson_interval",
    "i2_from_q",
    "i2_from_tau2",
    "tables",
    "tau2_interval",
    "typical_variance",
]
