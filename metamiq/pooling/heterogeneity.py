"""How much the effects differ: I2, H2, and intervals for tau2.

Conventions follow metafor: I2 and H2 of a random-effects model compare tau2 with the *typical* sampling variance of
Higgins & Thompson (2002), eq. 9, here (k - p) / tr P with fixed-effect weights, so that they change with the
estimator of tau2; for a fixed-effect model they are functions of Q.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from metamiq.arguments import check_level
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.interval import Interval
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.wls import Array, Tables, fit, fit_tau2, tables


def typical_variance(t: Tables) -> Array:
    """The typical sampling variance s2, shape (B,): (k - p) / tr P, with weights 1 / vi.

    References
    ----------
    Higgins & Thompson (2002), eq. 9.

    Examples
    --------
    >>> print(f"{typical_variance(tables([0.1, 0.5, 0.9], [0.04, 0.02, 0.05]))[0]:.5f}")
    0.03455
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(t.dof / fit(t, 1.0 / t.vi).trP())


def i2_from_tau2(tau2: ArrayLike, s2: ArrayLike) -> Array:
    """I2 in percent: the share of tau2 in tau2 + s2.

    Examples
    --------
    >>> print(f"{i2_from_tau2(0.03, 0.01):.1f}")
    75.0
    """
    tau2, s2 = np.asarray(tau2, dtype=float), np.asarray(s2, dtype=float)
    with np.errstate(invalid="ignore"):
        # An infinite tau2 (the open end of an interval) is all of the variance.
        return np.asarray(np.where(np.isinf(tau2), 100.0, 100.0 * tau2 / (tau2 + s2)))


def h2_from_tau2(tau2: ArrayLike, s2: ArrayLike) -> Array:
    """H2, a ratio >= 1: (tau2 + s2) / s2.

    Examples
    --------
    >>> print(f"{h2_from_tau2(0.03, 0.01):.1f}")
    4.0
    """
    return np.asarray(np.asarray(tau2, dtype=float) / np.asarray(s2, dtype=float) + 1.0)


def i2_from_q(Q: ArrayLike, dof: ArrayLike) -> Array:
    """I2 in percent from Q, at least 0: 100 (Q - dof) / Q. NaN where Q has no degrees of freedom.

    References
    ----------
    Higgins & Thompson (2002).

    Examples
    --------
    >>> print(f"{i2_from_q(12.00535867, 5):.2f}")
    58.35
    """
    Q, dof = np.asarray(Q, dtype=float), np.asarray(dof, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        i2 = np.where(Q > 0, 100.0 * np.maximum(Q - dof, 0.0) / Q, 0.0)
    return np.asarray(np.where(dof > 0, i2, np.nan))


def higgins_thompson_interval(Q: float, k: int, level: float = 0.95) -> Interval:
    """Test-based interval of I2 (percent) from Q alone.

    ln H has standard error (ln Q - ln(k - 1)) / (2 (sqrt(2Q) - sqrt(2k - 3))) when Q > k, and
    sqrt((1 - 1 / (3 (k - 2)^2)) / (2 (k - 2))) otherwise.

    Parameters
    ----------
    Q : float
        Cochran's Q, >= 0.
    k : int
        Number of effect sizes.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    Interval
        Ends in percent, at least 0; NaN when k is below 3.

    References
    ----------
    Higgins & Thompson (2002); Borenstein et al. (2009), chapter 16.

    Examples
    --------
    >>> low, high = higgins_thompson_interval(12.00535867, 6)
    >>> print(f"{low:.2f} {high:.3f}")
    0.00 83.127
    """
    check_level(level)
    if k < 3 or np.isnan(Q):
        return Interval(np.nan, np.nan)
    if k < Q:
        se = 0.5 * (np.log(Q) - np.log(k - 1)) / (np.sqrt(2 * Q) - np.sqrt(2 * k - 3))
    else:
        se = np.sqrt((1 - 1 / (3 * (k - 2) ** 2)) / (2 * (k - 2)))
    half = special.ndtri(0.5 + level / 2) * se

    def i2(side: int) -> float:  # 1 - 1 / H^2, with H^2 = Q / (k - 1)
        if Q <= 0:
            return 0.0
        return float(max(0.0, -100.0 * np.expm1(-np.log(Q / (k - 1)) - 2 * side * half)))

    return Interval(i2(-1), i2(1))


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
    r"""Confidence interval for tau2.

    * "QP", Q-profile: the tau2 at which :math:`\sum (y_i - \hat\mu)^2 / (v_i + \tau^2)` equals the upper and the lower
      quantile of chi-squared with k - p degrees of freedom.
    * "PL", profile likelihood: the tau2 at which the log-likelihood lies half a chi-squared quantile below its maximum.
    * "GENQ", generalised Q: as QP, but with fixed weights :math:`a_i`, and with the exact distribution of
      :math:`\sum a_i (y_i - \hat\mu_a)^2` at each tau2.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances.
    X : array_like, shape (k, p), optional
        Design with its intercept column; None for a mean only.
    level : float
        Coverage, between 0 and 1.
    interval : {"QP", "PL", "GENQ"}
        Which of the three.
    method : str
        "PL" profiles the likelihood when this is "ML", and the restricted likelihood otherwise.
    weights : array_like, shape (k,), optional
        Weights of "GENQ", > 0; 1 / vi by default, which gives the interval of Biggerstaff & Jackson for DL.

    Returns
    -------
    Interval
        Ends at or above 0. Both are 0 when even tau2 = 0 leaves less variation than expected (a Q-profile or
        generalised Q interval may then be the single point 0); NaN when k - p is 0.

    Raises
    ------
    DataError
        If a yi or vi cannot be used, weights are not positive, or X has not full column rank.
    ConvergenceError
        If an end cannot be found.

    References
    ----------
    QP: Viechtbauer (2007), section 3.5. PL: Hardy & Thompson (1996). GENQ: Jackson (2013); Biggerstaff & Jackson
    (2008); with moderators Jackson et al. (2014).

    Examples
    --------
    >>> y, v = [0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03]
    >>> for interval in ("QP", "PL", "GENQ"):
    ...     low, high = tau2_interval(y, v, interval=interval)
    ...     print(f"{interval} {low:.3f} {high:.3f}")
    QP 0.000 1.751
    PL 0.000 0.998
    GENQ 0.000 1.383
    """
    if interval not in TAU2_INTERVALS:
        raise ValueError(f"interval must be one of 'GENQ', 'PL', 'QP', not {interval!r}.")
    check_level(level)
    t = tables(yi, vi, X)
    if t.dof[0] <= 0:
        return Interval(np.nan, np.nan)
    a = 1.0 / t.vi if weights is None else np.atleast_2d(np.asarray(weights, dtype=float))
    if a.shape != t.vi.shape or not (np.isfinite(a).all() and (a > 0).all()):
        raise DataError(
            f"weights must be {t.vi.shape[1]} finite numbers greater than 0, one per effect size. "
            "Leave out rows that should not count."
        )
    observed = float(fit(t, a).yPy()[0])
    if np.isnan(observed):
        raise DataError("X must have full column rank, but its columns depend on each other. Drop a moderator.")
    tail = (1 - level) / 2
    if interval == "PL":
        return _profile_likelihood(t, level, "ML" if method == "ML" else "REML")
    if interval == "QP":

        def excess_q(tau2: float, target: float) -> float:
            return float(fit_tau2(t, np.array([tau2])).yPy()[0]) - target

        low = _falling_root(excess_q, float(special.chdtri(t.dof[0], tail)), t)
        return Interval(low, _falling_root(excess_q, float(special.chdtri(t.dof[0], 1 - tail)), t))
    x = np.ones((t.yi.shape[1], 1)) if t.X is None else t.X[0]

    def lack(tau2: float, target: float) -> float:
        # The upper tail of the observed Q grows with tau2: too small below the interval, too large above.
        both = tails(observed, a[0], t.vi[0] + tau2, x)
        return target - both.upper if target < 0.5 else both.lower - (1.0 - target)

    return Interval(_falling_root(lack, tail, t), _falling_root(lack, 1 - tail, t))


def _falling_root(f: Callable[[float, float], float], target: float, t: Tables) -> float:
    """Where a decreasing function f(tau2, target) crosses 0; 0 if it starts below."""
    if f(0.0, target) <= 0:
        return 0.0
    high = float(t.vi.max())
    for _ in range(500):
        if f(high, target) <= 0:
            return float(optimize.brentq(f, 0.0, high, args=(target,), xtol=1e-300, rtol=8.9e-16, maxiter=2000))
        high *= 4.0
    raise ConvergenceError("The upper end of the tau2 interval must be finite, but no bound could be found.")


def _profile_likelihood(t: Tables, level: float, kind: str) -> Interval:
    peak = float(estimators.estimate(t, kind)[0])
    top = float(estimators.loglik(t, np.array([peak]), kind)[0])
    drop = float(special.chdtri(1, 1 - level)) / 2

    def depth(tau2: float) -> float:
        return float(estimators.loglik(t, np.array([tau2]), kind)[0]) - top + drop

    low = 0.0
    if peak > 0 and depth(0.0) < 0:
        low = float(optimize.brentq(depth, 0.0, peak, xtol=1e-300, rtol=8.9e-16, maxiter=2000))
    high = max(2 * peak, float(t.vi.max()))
    for _ in range(500):
        if depth(high) < 0:
            return Interval(low, float(optimize.brentq(depth, peak, high, xtol=1e-300, rtol=8.9e-16, maxiter=2000)))
        high *= 4.0
    raise ConvergenceError("The upper end of the tau2 interval must be finite, but no bound could be found.")
