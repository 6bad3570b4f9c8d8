r"""Estimating equations of tau2 and their roots, for many tables at once.

ML and REML set the score to zero, PM and PMM set Q to a target. Each equation is written *left = right* with a left
side that comes down to the right one; the likelihoods may have several roots, and the highest peak is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metamiq.errors import ConvergenceError
from metamiq.pooling.wls import Array, Fit, Tables, fit, fit_tau2, fixed_effect_fit, row_sum

_MAX_STEPS = 200
_GRID_FACTOR = 1.6


class Balance(NamedTuple):
    """Both sides of an estimating equation and their slopes in tau2."""

    left: Array
    right: Array
    left_slope: Array
    right_slope: Array


def _reml(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPPy(), f.trP(), -2.0 * f.yPPPy(), -f.trPP())


def _ml(f: Fit, t: Tables) -> Balance:
    sum_w, sum_w2 = f.sums()
    return Balance(f.yPPy(), sum_w, -2.0 * f.yPPPy(), -sum_w2)


def _sides(f: Fit, method: str) -> tuple[Array, Array]:
    """Both sides of a likelihood's equation, without their slopes."""
    return f.yPPy(), f.trP() if method == "REML" else f.sums()[0]


def _pm(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPy(), t.dof, -f.yPPy(), np.zeros(1))


def _pmm(f: Fit, t: Tables) -> Balance:
    return Balance(f.yPy(), special.chdtri(t.dof, 0.5), -f.yPPy(), np.zeros(1))


Equation = Callable[[Fit, Tables], Balance]
EQUATION: dict[str, Equation] = {"ML": _ml, "REML": _reml, "PM": _pm, "EB": _pm, "PMM": _pmm}
LIKELIHOOD = ("ML", "REML")


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


def solve(t: Tables, method: str, f0: Fit) -> Array:
    """tau2 of each table, shape (B,), from an estimating equation; `f0` is the fixed-effect fit.

    For ML and REML it is where the likelihood is highest. NaN where k - p is 0 or the design has not full rank.

    Raises
    ------
    ConvergenceError
        If an equation is not solved; no table is then returned.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _solve(t, method, f0)


def _solve(t: Tables, method: str, f0: Fit) -> Array:
    equation = EQUATION[method]
    # Tables that share their variances share a side of the equation, too. (broadcast_to is slow for one table.)
    at_zero = Balance(*(a if a.shape == t.k.shape else np.broadcast_to(a, t.k.shape) for a in equation(f0, t)))
    tau2 = np.where((t.dof > 0) & np.isfinite(at_zero.left), 0.0, np.nan)
    rising = (at_zero.left > at_zero.right) & (tau2 == 0)
    if method not in LIKELIHOOD:
        single, several = rising, np.zeros(0, dtype=np.intp)
    else:
        one_peak = at_most_one_root(f0.yPy(), at_zero)
        single = rising & one_peak
        several = np.flatnonzero((tau2 == 0) & ~one_peak)
    rows = np.flatnonzero(single)
    if len(rows):
        part = t if len(rows) == t.size else t.take(rows)
        high = _upper_bound(part, _pick(f0.rss(), rows))
        start = _guess(_pick(at_zero.left / at_zero.right, rows), np.zeros(len(rows)), high, _middle(f0, t, rows))
        tau2[rows] = _refine(part, np.zeros(len(rows)), high, start, equation)
    if len(several):
        part = t if len(several) == t.size else t.take(several)
        tau2[several] = _highest_peak(part, method, Balance(*(_pick(a, several) for a in at_zero)))
    return tau2


_HALVINGS = 12


def _only_peak(
    t: Tables, method: str, at_zero: Balance, upper: Array, middle: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """A root of the score for tables whose score is positive at 0, and whether it is proved to be the only one.

    Above half the root `at_most_one_root` must hold. Below, left and right both fall with tau2, so that there is no
    root between a and b if left(b) > right(a): halving from half the root down, then 0.
    """
    equation = EQUATION[method]
    start = _guess(at_zero.left / at_zero.right, np.zeros(t.size), upper, middle)
    root = _refine(t, np.zeros(t.size), upper, start, equation)
    f = fit_tau2(t, 0.5 * root)
    side = equation(f, t)
    proved = np.zeros(t.size, dtype=bool)
    rows = np.flatnonzero((side.left > side.right) & at_most_one_root(f.yPy(), side))
    left, b, part = side.left[rows], 0.5 * root[rows], t if len(rows) == t.size else t.take(rows)
    for _ in range(_HALVINGS):
        down_to_zero = left > at_zero.right[rows]
        proved[rows[down_to_zero]] = True
        keep = np.flatnonzero(~down_to_zero)
        if len(keep) == 0:
            break
        if len(keep) < len(rows):
            rows, left, b, part = rows[keep], left[keep], b[keep], part.take(keep)
        b = 0.5 * b
        new_left, right = _sides(fit_tau2(part, b), method)
        clear = np.flatnonzero(left > right)
        if len(clear) < len(rows):
            rows, b, new_left, part = rows[clear], b[clear], new_left[clear], part.take(clear)
        left = new_left
    return root, proved


def at_most_one_root(Q: Array, at: Balance) -> NDArray[np.bool_]:
    r"""Whether a score equation has at most one root beyond the tau2 where it was evaluated, and that a maximum.

    At a root the left side, y'PPy, equals the right side R, whose slope is -D. By Cauchy-Schwarz
    (y'PPy)^2 <= (y'Py)(y'PPPy), so that the slope of left - right, D - 2 y'PPPy, is negative wherever Q < 2 R^2 / D.
    Q falls with tau2, and R^2 / D rises (Cauchy-Schwarz again, on the weights or the eigenvalues of P): where the
    condition holds it holds for every larger tau2.
    """
    return np.asarray(2.0 * at.right**2 / -at.right_slope > Q)


def _pick(a: Array, rows: NDArray[np.intp]) -> Array:
    return a if len(rows) == len(a) else a[rows]


def _middle(f0: Fit, t: Tables, rows: NDArray[np.intp]) -> Array:
    """Harmonic mean of the sampling variances, the scale on which the weights respond to tau2."""
    return _pick(t.k / f0.sums()[0], rows)


def _guess(ratio: Array, low: Array, high: Array, middle: Array) -> Array:
    # left / right falls as 1 / (v + tau2) when all variances are equal.
    guess = low + (ratio - 1.0) * (low + middle)
    return np.asarray(np.where((guess > low) & (guess < high), guess, 0.5 * (low + high)))


def _upper_bound(t: Tables, residual_ss: Array) -> Array:
    """A tau2 beyond which no estimating equation has a root.

    For tau2 >= max(v) all weights are within a factor of two, so that y'PPy <= RSS / tau2^2 and
    tr P >= (k - p) / (2 tau2), with RSS that of ordinary least squares or larger; y'Py <= RSS / tau2 does for PM, and
    for PMM because the median of chi-squared(1) is above 1/4.
    """
    return np.asarray(np.maximum(_extreme(t, largest=True), 4.0 / t.dof * residual_ss) * 1.01)


def _extreme(t: Tables, largest: bool = False) -> Array:
    if t.n is None:
        ends = t.vi.max(axis=1) if largest else t.vi.min(axis=1)
    elif largest:
        ends = np.where(t.n > 0, t.vi, -np.inf).max(axis=1)
    else:
        ends = np.where(t.n > 0, t.vi, np.inf).min(axis=1)
    # Tables may share their rows, and what counts of them.
    return np.asarray(ends if ends.shape == t.k.shape else np.broadcast_to(ends, t.k.shape))


def _refine(t: Tables, low: Array, high: Array, start: Array, equation: Equation) -> Array:
    """The root between `low` (left side larger) and `high`, by Newton steps kept inside the bracket.

    The step is that of Newton's method for right / left = 1, which is close to linear in tau2 and exactly so
    when all variances are equal.
    """
    answer = start.copy()
    rows = np.arange(t.size)
    x = start
    scale = _extreme(t)
    for _ in range(_MAX_STEPS):
        left, right, left_slope, right_slope = equation(fit_tau2(t, x), t)
        excess = left - right
        low = np.where(excess > 0, x, low)
        high = np.where(excess > 0, high, x)
        new = x + excess * left / (right_slope * left - right * left_slope)
        outside = ~((new >= low) & (new <= high))  # also catches NaN
        if outside.any():
            new = np.where(outside, 0.5 * (low + high), new)
        # Convergence is quadratic: the error left by a step this small is that of its square, a rounding.
        done = (np.abs(new - x) <= 1e-7 * (new + scale)) & ~outside | (high - low <= 4e-16 * high)
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


def _grid(t: Tables) -> Array:
    """Values of tau2 above 0, shape (B, G), between which a score changes sign at most once.

    As a function of log tau2 the weights are logistic curves centred at log v, so that little happens on a scale finer
    than half an e-fold: steps by a factor of 1.6 missed no peak in 400,000 random tables, where a factor of 3 missed
    one. Beyond max(v) - 2 min(v) every eigenvalue of P (other than 0) is within a factor of two of the next, so that
    2 y'PPPy > tr PP at a root, which can only be a maximum.
    """
    low = _extreme(t)
    last = np.maximum(_extreme(t, largest=True) - 2.0 * low, 0.3 * low)
    steps = 2 + int(np.ceil(np.log((last / (0.3 * low)).max()) / np.log(_GRID_FACTOR)))
    return np.asarray(np.geomspace(0.3 * low, last, steps, axis=1))


class _Brackets(NamedTuple):
    """Where scores fall through zero: the table, both ends, and left / right at the lower one."""

    row: NDArray[np.intp]
    low: Array
    high: Array
    ratio: Array


def _brackets(t: Tables, at_zero: Balance, equation: Equation) -> _Brackets:
    """Walk up the grid with every table that may still have several roots."""
    grid = _grid(t)
    upper = _upper_bound(t, fit(t, np.ones_like(t.vi)).yPy())
    rows = np.arange(t.size)
    low, ratio, above = np.zeros(t.size), at_zero.left / at_zero.right, at_zero.left > at_zero.right
    found: list[tuple[NDArray[np.generic], ...]] = []
    part = t
    # One table: all columns in one go, for calls cost more than numbers.
    whole = None
    if t.size == 1 and grid.size * t.yi.shape[1] < 200_000:
        f = fit_tau2(t, grid[0])
        side = equation(f, t)
        whole = side, at_most_one_root(f.yPy(), side)
    for j in range(grid.shape[1]):
        here = grid[rows, j]
        if whole is None:
            f = fit_tau2(part, here)
            side = equation(f, part)
            settled = at_most_one_root(f.yPy(), side)
            left, right = side.left, side.right
        else:
            left, right, settled = whole[0].left[j : j + 1], whole[0].right[j : j + 1], whole[1][j : j + 1]
        now = left > right
        fell = above & ~now
        found.append((rows[fell], low[fell], here[fell], ratio[fell]))
        low, ratio, above = here, left / right, now
        if settled.any():
            last = settled & above
            found.append((rows[last], low[last], upper[rows[last]], ratio[last]))
            keep = np.flatnonzero(~settled)
            if len(keep) == 0:
                break
            rows, low, ratio, above, part = rows[keep], low[keep], ratio[keep], above[keep], part.take(keep)
    else:
        found.append((rows[above], low[above], upper[rows[above]], ratio[above]))
    row, *others = (np.concatenate(a) for a in zip(*found, strict=True))
    return _Brackets(row.astype(np.intp), *others)


def _highest_peak(t: Tables, method: str, at_zero: Balance) -> Array:
    """Where the likelihood is highest: every fall of the score along the grid is a peak, and so may be tau2 = 0."""
    tau2 = np.zeros(t.size)
    rising = np.flatnonzero(at_zero.left > at_zero.right)
    if len(rising):
        part, at = (t, at_zero) if len(rising) == t.size else (t.take(rising), Balance(*(a[rising] for a in at_zero)))
        upper = _upper_bound(part, fixed_effect_fit(part).rss())
        tau2[rising], proved = _only_peak(part, method, at, upper, _harmonic_mean(part))
        if len(rising) == t.size and proved.all():
            return tau2
        open_still = np.ones(t.size, dtype=bool)
        open_still[rising[proved]] = False
        rest = np.flatnonzero(open_still)
        tau2[rest] = _highest_of_all(t.take(rest), method, Balance(*(a[rest] for a in at_zero)))
        return tau2
    return _highest_of_all(t, method, at_zero)


def _harmonic_mean(t: Tables) -> Array:
    return np.asarray(t.k / row_sum(t, 1.0 / t.vi))


def _highest_of_all(t: Tables, method: str, at_zero: Balance) -> Array:
    """The same from the whole grid, for tables that may have several peaks."""
    equation = EQUATION[method]
    b = _brackets(t, at_zero, equation)
    tau2 = np.zeros(t.size)
    if len(b.row) == 0:
        return tau2
    part = t.take(b.row)
    roots = _refine(part, b.low, b.high, _guess(b.ratio, b.low, b.high, _harmonic_mean(part)), equation)
    falling_at_zero = at_zero.left <= at_zero.right
    candidates = np.bincount(b.row, minlength=t.size) + falling_at_zero
    single = candidates[b.row] == 1
    tau2[b.row[single]] = roots[single]
    if not single.all():
        row, roots = b.row[~single], roots[~single]
        edge = np.unique(row)[falling_at_zero[np.unique(row)]]
        row, roots = np.concatenate([row, edge]), np.concatenate([roots, np.zeros(len(edge))])
        height = loglik(t.take(row), roots, method)
        for i in np.argsort(height, kind="stable"):  # the highest is written last
            tau2[row[i]] = roots[i]
    return tau2
