r"""Estimators of the between-study variance tau2, one function each, for many tables at once.

Three families share their formulas:

* *moment* estimators (HE, HS, HSk, SJ, DL, two-step, GENQ) put fixed weights :math:`a_i` into
  :math:`Q_a = y'P_a y` and solve :math:`E(Q_a) = \operatorname{tr}(P_a V) + \tau^2 \operatorname{tr}(P_a)`;
* *likelihood* estimators (ML, REML) solve the score equation, :math:`y'PPy = \sum w_i` or
  :math:`y'PPy = \operatorname{tr} P` with :math:`w_i = 1 / (v_i + \tau^2)`;
* *Q-based* estimators (PM = EB, PMM) solve :math:`y'Py = c`, the mean or the median of chi-squared with k - p
  degrees of freedom.

Estimates are truncated at zero, and NaN where k - p is zero: one study holds no information about tau2.

References
----------
DerSimonian & Laird (1986); DerSimonian & Kacker (2007), general method of moments; Hedges & Olkin (1985);
Hunter & Schmidt (2004) and Brannick, Potter & Benitez (2019), HSk; Sidik & Jonkman (2005); Viechtbauer (2005),
REML and standard errors; Paule & Mandel (1982); Morris (1983), EB; Jackson (2013), general Q; Viechtbauer (2021),
median-unbiased PMM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from metamiq.errors import DataError
from metamiq.pooling.equations import EQUATION, solve
from metamiq.pooling.equations import loglik as loglik
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.wls import Array, Fit, Tables, fit, fit_tau2, fixed_effect_fit, row_sum, tables


def _positive(tau2: Array, t: Tables) -> Array:
    return np.asarray(np.where(t.dof > 0, np.maximum(tau2, 0.0), np.nan))


class Moment(NamedTuple):
    """A moment estimator: tau2 = (y'P_a y - c) / g, whose variance follows from that of y'P_a y."""

    f: Fit
    c: Array
    g: Array

    def tau2(self) -> Array:
        """The estimate before truncation at zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self.f.yPy() - self.c) / self.g)

    def se(self, tau2: Array, t: Tables) -> Array:
        """Its standard error when the variances are vi + tau2."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.sqrt(2.0 * self.f.trPDPD(t.vi + tau2[:, None])) / self.g)


def _general_q(t: Tables, a: Array) -> Moment:
    f = fit(t, a)
    return Moment(f, f.trPD(t.vi), f.trP())


def _dl(t: Tables, f0: Fit) -> Moment:
    return Moment(f0, t.dof, f0.trP())


def _he(t: Tables) -> Moment:
    f = fit(t, np.ones_like(t.vi))
    return Moment(f, f.trPD(t.vi), t.dof)


def _hs(t: Tables, f0: Fit, small_sample: bool = False) -> Moment:
    s = f0.sums()[0]
    if not small_sample:
        return Moment(f0, t.k, s)
    # (Q k / (k - p) - k) / sum(w), written as (Q - c) / g.
    with np.errstate(divide="ignore", invalid="ignore"):
        return Moment(f0, t.dof, s * t.dof / t.k)


def _sj(t: Tables) -> Moment:
    mean = row_sum(t, np.broadcast_to(t.yi, t.n.shape if t.n is not None else t.yi.shape)) / t.k
    crude = row_sum(t, (t.yi - mean[:, None]) ** 2) / t.k
    # With no spread at all the weights are undefined, and so is not the answer: tau2 = 0 whatever they are.
    flat = crude <= 0
    a = 1.0 / (t.vi / np.where(flat, 1.0, crude)[:, None] + 1.0)
    return Moment(fit(t, a), np.zeros(t.size), np.where(flat, np.inf, t.dof))


def _two_step(t: Tables, first: Moment) -> Moment:
    return _general_q(t, 1.0 / (t.vi + _positive(first.tau2(), t)[:, None]))


# Each takes the tables and their fixed-effect fit, which a caller usually has at hand.
MOMENT: dict[str, Callable[[Tables, Fit], Moment]] = {
    "DL": _dl,
    "HE": lambda t, f0: _he(t),
    "HS": _hs,
    "HSk": lambda t, f0: _hs(t, f0, small_sample=True),
    "SJ": lambda t, f0: _sj(t),
    "DL2": lambda t, f0: _two_step(t, _dl(t, f0)),
    "CA2": lambda t, f0: _two_step(t, _he(t)),
}


METHODS = ("DL", "HE", "HS", "HSk", "SJ", "ML", "REML", "EB", "PM", "PMM", "DL2", "CA2")


def estimate(t: Tables, method: str, f0: Fit | None = None) -> Array:
    """tau2 of each table by the named method, shape (B,); `f0` is the fixed-effect fit, if it is there already."""
    if f0 is None:
        f0 = fixed_effect_fit(t)
    if method in MOMENT:
        return _positive(MOMENT[method](t, f0).tau2(), t)
    if method in EQUATION:
        return solve(t, method, f0)
    raise ValueError(f"method must be one of {', '.join(map(repr, sorted(METHODS)))}, not {method!r}.")


def standard_error(t: Tables, method: str, tau2: Array) -> Array:
    """Standard error of tau2, shape (B,): from the information for ML and REML, else from the variance of Q.

    For PM, EB and PMM it is sqrt(2 k^2 / (k - p)) / sum(w): the variance of Q is 2 (k - p), and its slope tr P is
    taken as that of equal weights, (k - p) / k sum(w), as Morris (1983) does.

    References
    ----------
    Viechtbauer (2005), section 3.
    """
    if method in MOMENT:
        return MOMENT[method](t, fixed_effect_fit(t)).se(tau2, t)
    f = fit_tau2(t, tau2)
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "ML":
            return np.asarray(np.sqrt(2.0 / f.sums()[1]))
        if method == "REML":
            return np.asarray(np.sqrt(2.0 / f.trPP()))
        return np.asarray(np.sqrt(2.0 * t.k**2 / t.dof) / f.sums()[0])


def general_q(yi: ArrayLike, vi: ArrayLike, X: ArrayLike | None = None, *, weights: ArrayLike) -> Array | float:
    """The generalised Q moment estimator with chosen weights (GENQ).

    References
    ----------
    DerSimonian & Kacker (2007), eq. 6; Jackson (2013).

    Examples
    --------
    >>> print(f"{general_q([0.1, 0.5, 0.9], [0.04, 0.02, 0.05], weights=[1, 1, 1]):.4f}")
    0.1233
    """
    t = tables(yi, vi, X)
    return _like_input(_positive(_general_q(t, _checked_weights(weights, t)).tau2(), t), yi)


def general_q_median(
    yi: ArrayLike, vi: ArrayLike, X: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> float:
    """The median-unbiased generalised Q estimator (GENQM): tau2 at which the observed Q_a is the median of its law.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances of one table.
    X : array_like, shape (k, p), optional
        Design with its intercept column.
    weights : array_like, shape (k,), optional
        Weights a of Q_a, > 0; 1 / vi by default.

    Returns
    -------
    float
        0 when Q_a is below its median at tau2 = 0; NaN when k - p is 0 or X has not full rank.

    References
    ----------
    Viechtbauer (2021), European Congress of Methodology; the distribution of Q_a: Jackson (2013).

    Examples
    --------
    >>> print(f"{general_q_median([0.1, 0.5, 0.9], [0.04, 0.02, 0.05]):.4f}")
    0.1461
    """
    t = tables(yi, vi, X)
    a = 1.0 / t.vi if weights is None else _checked_weights(weights, t)
    observed = float(fit(t, a).yPy()[0])
    if t.dof[0] <= 0 or np.isnan(observed):
        return np.nan
    x = np.ones((t.yi.shape[1], 1)) if t.X is None else t.X[0]

    def excess(tau2: float) -> float:
        return 0.5 - tails(observed, a[0], t.vi[0] + tau2, x).upper

    if excess(0.0) <= 0:
        return 0.0
    high = float(t.vi.max())
    while excess(high) > 0:
        high *= 4.0
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-300, rtol=8.9e-16))


def _checked_weights(weights: ArrayLike, t: Tables) -> Array:
    a = np.atleast_2d(np.asarray(weights, dtype=float))
    if a.shape[1] != t.yi.shape[1]:
        raise DataError(f"weights must have one value per effect size ({t.yi.shape[1]}), but {a.shape[1]} came.")
    if not (np.isfinite(a).all() and (a > 0).all()):
        raise DataError("weights must be finite and greater than 0. Leave out rows that should not count.")
    return a


def _like_input(result: Array, yi: ArrayLike) -> Array | float:
    return float(result[0]) if np.ndim(yi) < 2 else result


def _over_arrays(method: str) -> Callable[..., Array | float]:
    def estimator(yi: ArrayLike, vi: ArrayLike, X: ArrayLike | None = None) -> Array | float:
        return _like_input(estimate(tables(yi, vi, X), method), yi)

    estimator.__name__ = method
    estimator.__doc__ = f"tau2 by {method}: yi and vi of shape (k,) or (B, k), X of shape (k, p)."
    return estimator


TAU2: dict[str, Callable[..., Array | float]] = {method: _over_arrays(method) for method in METHODS}
