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
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.wls import Array, Fit, Tables, dot, fit, fit_tau2, row_sum, tables


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


def _dl(t: Tables) -> Moment:
    f = fit(t, 1.0 / t.vi)
    return Moment(f, t.dof, f.trP())


def _he(t: Tables) -> Moment:
    f = fit(t, np.ones_like(t.vi))
    return Moment(f, f.trPD(t.vi), t.dof)


def _hs(t: Tables, small_sample: bool = False) -> Moment:
    f = fit(t, 1.0 / t.vi)
    s = row_sum(t, f.w)
    if not small_sample:
        return Moment(f, t.k, s)
    # (Q k / (k - p) - k) / sum(w), written as (Q - c) / g.
    with np.errstate(divide="ignore", invalid="ignore"):
        return Moment(f, t.dof, s * t.dof / t.k)


def _sj(t: Tables) -> Moment:
    mean = row_sum(t, np.broadcast_to(t.yi, t.n.shape if t.n is not None else t.yi.shape)) / t.k
    crude = row_sum(t, (t.yi - mean[:, None]) ** 2) / t.k
    # With no spread at all the weights are undefined, and so is not the answer: tau2 = 0 whatever they are.
    flat = crude <= 0
    a = 1.0 / (t.vi / np.where(flat, 1.0, crude)[:, None] + 1.0)
    return Moment(fit(t, a), np.zeros(t.size), np.where(flat, np.inf, t.dof))


def _two_step(t: Tables, first: Moment) -> Moment:
    return _general_q(t, 1.0 / (t.vi + _positive(first.tau2(), t)[:, None]))


MOMENT: dict[str, Callable[[Tables], Moment]] = {
    "DL": _dl,
    "HE": _he,
    "HS": _hs,
    "HSk": lambda t: _hs(t, small_sample=True),
    "SJ": _sj,
    "DL2": lambda t: _two_step(t, _dl(t)),
    "CA2": lambda t: _two_step(t, _he(t)),
}


class Balance(NamedTuple):
    """Both sides of an estimating equation and their slopes in tau2; the left must come down to the right."""

    left: Array
    right: Array
    left_slope: Array
    right_slope: Array


def _reml(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPPy(), f.trP(), -2.0 * f.yPPPy(), -f.trPP())


def _ml(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPPy(), f.nw.sum(axis=1), -2.0 * f.yPPPy(), -dot(f.nw, f.w))


def _pm(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPy(), t.dof, -f.yPPy(), np.zeros(1))


def _pmm(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPy(), special.chdtri(t.dof, 0.5), -f.yPPy(), np.zeros(1))


EQUATION: dict[str, Callable[[Fit, Tables], Balance]] = {
    "ML": _ml,
    "REML": _reml,
    "PM": _pm,
    "EB": _pm,
    "PMM": _pmm,
}
_LIKELIHOOD = ("ML", "REML")


def loglik(t: Tables, tau2: Array, method: str) -> Array:
    """Log-likelihood (ML) or restricted log-likelihood (any other method) at `tau2`, maximal over the coefficients.

    The restricted form includes + log|X'X| / 2, as metafor's does, so that it does not change with the scaling of X.
    """
    f = fit_tau2(t, tau2)
    core = -0.5 * (row_sum(t, np.log(t.vi + tau2[:, None])) + f.yPy())
    if method == "ML":
        return np.asarray(core - 0.5 * t.k * np.log(2.0 * np.pi))
    xx = fit(t, np.ones_like(t.vi)).logdet()
    return np.asarray(core - 0.5 * (t.dof * np.log(2.0 * np.pi) + f.logdet() - xx))


def _upper_bound(t: Tables) -> Array:
    # Above it no estimating equation has a root: for tau2 >= max(v) all weights are within a factor of two, so
    # y'PPy <= RSS / tau2^2 and tr P >= (k - p) / (2 tau2), where RSS is that of ordinary least squares.
    # y'Py <= RSS / tau2 gives RSS / (k - p) for PM; the median of chi2(1), 0.45, lies above 1/4.
    rss = fit(t, np.ones_like(t.vi)).yPy()
    factor = np.where(t.dof > 0, 4.0 / np.maximum(t.dof, 1.0), 0.0)
    return np.asarray(np.maximum(_extreme(t, np.max), factor * rss) * 1.01)


def _extreme(t: Tables, of: Callable[..., Array]) -> Array:
    v = t.vi
    if t.n is not None:
        # Rows that do not count take the first counted row's variance.
        first = np.take_along_axis(np.broadcast_to(v, t.n.shape), (t.n > 0).argmax(axis=1)[:, None], axis=1)
        v = np.where(t.n > 0, v, first)
    return np.asarray(np.broadcast_to(of(v, axis=1), (t.size,)))


def _grid(t: Tables, upper: Array, monotone: bool) -> Array:
    """Values of tau2, shape (B, G), between which the equation changes sign at most once.

    As a function of log tau2 the weights are logistic curves centred at log v, so that nothing happens on a scale
    finer than one e-fold. Beyond max(v) - 2 min(v) a root can only be a maximum: there every eigenvalue of P (other
    than 0) is within a factor of two of the next, and so 2 y'PPPy > tr PP at a root of the score.
    """
    low = _extreme(t, np.min)
    zero = np.zeros_like(upper)
    if monotone:
        return np.stack([zero, low, upper], axis=1)
    last = np.maximum(_extreme(t, np.max) - 2.0 * low, 0.3 * low)
    steps = 2 + int(np.ceil(np.log(np.nanmax(last / (0.3 * low))) / np.log(3.0)))
    inner = np.geomspace(0.3 * low, last, steps, axis=1)
    return np.concatenate([zero[:, None], inner, upper[:, None]], axis=1)


def _on_grid(t: Tables, grid: Array, equation: Callable[[Fit, Tables], Balance]) -> tuple[Array, Array]:
    if t.size == 1 and grid.size * t.yi.shape[1] < 200_000:
        side = equation(fit_tau2(t, grid[0]), t)
        return side.left[None], np.broadcast_to(side.right, side.left.shape)[None]
    sides = [equation(fit_tau2(t, grid[:, j]), t) for j in range(grid.shape[1])]
    left = np.stack([s.left for s in sides], axis=1)
    return left, np.stack([np.broadcast_to(s.right, t.k.shape) for s in sides], axis=1)


_MAX_STEPS = 200


def _refine(t: Tables, low: Array, high: Array, start: Array, equation: Callable[[Fit, Tables], Balance]) -> Array:
    """The root between `low` (left side larger) and `high`, by Newton steps kept inside the bracket.

    The step is that of Newton's method for right / left = 1, which is close to linear in tau2 and exactly so
    when all variances are equal.
    """
    answer = start.copy()
    rows = np.arange(t.size)
    x = start
    scale = _extreme(t, np.min)
    for _ in range(_MAX_STEPS):
        left, right, left_slope, right_slope = equation(fit_tau2(t, x), t)
        excess = left - right
        low = np.where(excess > 0, x, low)
        high = np.where(excess > 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = excess * left / (right_slope * left - right * left_slope)
        new = x + step
        outside = ~((new >= low) & (new <= high))  # also catches NaN
        if outside.any():
            new = np.where(outside, 0.5 * (low + high), new)
        change = np.abs(new - x)
        done = (change <= 1e-9 * (new + scale)) & ~outside | (high - low <= 4e-16 * high)
        x = new
        if done.all():
            answer[rows] = x
            return answer
        if done.sum() * 3 > done.size:
            answer[rows[done]] = x[done]
            keep = np.flatnonzero(~done)
            rows, x, low, high, scale = rows[keep], x[keep], low[keep], high[keep], scale[keep]
            t = t.take(keep)
    raise ConvergenceError(
        f"The estimating equation for tau2 must be solved within {_MAX_STEPS} steps, but {len(rows)} of "
        f"{len(answer)} tables were not. Check the variances for values of very different size."
    )


def _solve(t: Tables, method: str) -> Array:
    """The root of an estimating equation; for ML and REML the one with the highest likelihood."""
    equation = EQUATION[method]
    tau2 = np.full(t.size, np.nan)
    usable = np.flatnonzero(t.dof > 0)
    if len(usable) == 0:
        return tau2
    if len(usable) < t.size:
        tau2[usable] = _solve(t.take(usable), method)
        return tau2
    upper = _upper_bound(t)
    if not np.isfinite(upper).all():  # a design without full rank in some tables
        fine = np.flatnonzero(np.isfinite(upper))
        if len(fine):
            tau2[fine] = _solve(t.take(fine), method)
        return tau2
    grid = _grid(t, upper, monotone=method not in _LIKELIHOOD)
    left, right = _on_grid(t, grid, equation)
    above = left > right
    falls = above[:, :-1] & ~above[:, 1:]
    at_zero = ~above[:, 0]
    row, column = np.nonzero(falls)
    tau2[:] = 0.0
    if len(row) == 0:
        return tau2
    low, high = grid[row, column], grid[row, column + 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        g_low = right[row, column] / left[row, column] - 1.0
        g_high = right[row, column + 1] / left[row, column + 1] - 1.0
        start = low + (high - low) * (-g_low / (g_high - g_low))
    start = np.where((start > low) & (start < high), start, 0.5 * (low + high))
    every_row_once = len(row) == t.size and (row == np.arange(t.size)).all()
    roots = _refine(t if every_row_once else t.take(row), low, high, start, equation)
    candidates = falls.sum(axis=1) + at_zero
    single = candidates[row] == 1
    tau2[row[single]] = roots[single]
    if not single.all():
        _best(t, method, tau2, row[~single], roots[~single], at_zero)
    return tau2


def _best(t: Tables, method: str, tau2: Array, row: NDArray[np.intp], root: Array, at_zero: NDArray[np.bool_]) -> None:
    zero = np.unique(row)[at_zero[np.unique(row)]]
    row, root = np.concatenate([row, zero]), np.concatenate([root, np.zeros(len(zero))])
    height = loglik(t.take(row), root, method)
    for i in np.argsort(height, kind="stable"):
        tau2[row[i]] = root[i]


METHODS = ("DL", "HE", "HS", "HSk", "SJ", "ML", "REML", "EB", "PM", "PMM", "DL2", "CA2")


def estimate(t: Tables, method: str) -> Array:
    """tau2 of each table by the named method, shape (B,)."""
    if method in MOMENT:
        return _positive(MOMENT[method](t).tau2(), t)
    if method in EQUATION:
        return _solve(t, method)
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
        return MOMENT[method](t).se(tau2, t)
    f = fit_tau2(t, tau2)
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "ML":
            return np.asarray(np.sqrt(2.0 / dot(f.nw, np.broadcast_to(f.w, f.nw.shape))))
        if method == "REML":
            return np.asarray(np.sqrt(2.0 / f.trPP()))
        return np.asarray(np.sqrt(2.0 * t.k**2 / t.dof) / f.nw.sum(axis=1))


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
