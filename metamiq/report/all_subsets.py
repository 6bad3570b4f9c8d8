"""The pooled mean of every subset of the rows, fast enough for a page that answers "what if".

The log-likelihood of a subset is the sum of its rows' log-likelihoods. So one table of the rows over a grid of
(mean, tau2) serves all subsets by one matrix product; Newton steps with the engine's own derivatives then settle the
maximum and the two ends of the profile-likelihood interval. Where they do not settle, the engine's search is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamiq.pooling.batch import random_effects
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_likelihood import Derivatives, Rows, derivatives, row_terms
from metamiq.pooling.bounded_profile import interval_drop
from metamiq.pooling.bounded_search import newton
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array
from metamiq.sensitivity.bounded_refits import bounded_refits
from metamiq.tails import critical_value

MOST = 1 << 15  # subsets of one table
MOST_ROWS = 24
_REACH = 4.0  # how far from the mean of all rows the grid goes
_TOGETHER = 1_024  # tables evaluated in one call
_STEPS = 8
_SETTLED = 1e-4  # Newton steps square the error: what is left is of the order of 1e-8

Members = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SubsetTable:
    """Estimates of many subsets; NaN where a subset has none, infinite where an end of an interval is."""

    members: Members  # bit i set: row i is in; ascending
    estimate: Array
    ci_low: Array
    ci_high: Array
    tau2: Array
    pi_half: Array  # half the width of the prediction interval


def subsets_within_reach(k: int, most: int = MOST) -> tuple[Members, int]:
    """The subsets of k rows that leave out as many rows as `most` subsets allow, and how many rows that is.

    Ascending by their bits, the empty one left out.

    Examples
    --------
    >>> members, left_out = subsets_within_reach(4, most=5)
    >>> members.tolist(), left_out
    ([7, 11, 13, 14, 15], 1)
    """
    everything = np.arange(1, 1 << k, dtype=np.int64)
    missing = k - np.bitwise_count(everything).astype(int)
    for left_out in range(k - 1, 0, -1):
        keep = missing <= left_out
        if keep.sum() <= most:
            return everything[keep], left_out
    return everything[missing == 0], 0


def as_mask(members: Members, k: int) -> NDArray[np.bool_]:
    """Shape (B, k): whether row i is in each subset."""
    return np.asarray((members[:, None] >> np.arange(k)) & 1 == 1)


def point_subsets(fit: PooledEffect, members: Members) -> SubsetTable:
    """Random-effects fits of subsets of effect sizes, by the fit's own method and test.

    Of one row alone only the sampling error is known, so that its interval is the normal one.
    """
    mask = as_mask(members, fit.k)
    fits = random_effects(fit.source.yi, fit.source.vi, mask, method=fit.method, test=fit.test, level=fit.level)
    low, high = (a.copy() for a in fits.ci())
    se = fits.se.copy()
    alone = mask.sum(axis=1) == 1
    z = float(critical_value(fit.level))
    se[alone] = np.sqrt(fit.source.vi[mask[alone].argmax(axis=1)])
    low[alone], high[alone] = fits.estimate[alone] - z * se[alone], fits.estimate[alone] + z * se[alone]
    dof = np.where(np.isnan(fits.dof), np.inf, fits.dof)
    if fit.pi_method == "HTS":
        sizes = mask.sum(axis=1)
        dof = np.where(sizes > 2, sizes - 2.0, np.nan)
    elif fit.pi_method != "test":  # a bootstrap, of which there is none for every subset
        dof = np.full(len(members), np.nan)
    quantile = critical_value(fit.level, dof)
    pi_half = np.asarray(quantile * np.sqrt(se**2 + fits.tau2))
    pi_half[alone] = np.nan
    return SubsetTable(members, fits.estimate, low, high, fits.tau2, pi_half)


def bounded_subsets(fit: BoundedFit, members: Members) -> tuple[SubsetTable, SubsetTable]:
    """Maximum-likelihood fits of subsets of points and bounds: with tau2 estimated, and with tau2 held at 0.

    Intervals are profile-likelihood intervals at the fit's level.
    """
    # Rows that say the same are exchangeable: of the subsets that differ in nothing else one is fitted.
    every, back = np.unique(_first_of_equals(fit, members), return_inverse=True)
    mask = as_mask(every, fit.k)
    grid = _Grid(fit)
    # Points first, as the likelihood has them.
    counted = mask[:, np.argsort(~fit.is_point, kind="stable")].astype(float)
    random, common = _random(fit, every, mask, grid, counted), _common(every, grid, counted)
    return _spread(random, members, back), _spread(common, members, back)


def _first_of_equals(fit: BoundedFit, members: Members) -> Members:
    """The same subsets with, of rows that say the same, as many as there were but the first ones."""
    out = members.copy()
    said = fit.effects.reindex(columns=["yi", "vi", "yi_low", "yi_high", "n1i", "n2i"]).astype(float)
    for places in said.groupby(list(said.columns), dropna=False, sort=False).indices.values():
        if len(places) > 1:
            bits = [np.int64(1) << int(p) for p in places]
            present = sum((members & bit != 0).astype(int) for bit in bits)
            for rank, bit in enumerate(bits):
                out = np.where(present > rank, out | bit, out & ~bit)
    return out


def _spread(table: SubsetTable, members: Members, back: NDArray[np.intp]) -> SubsetTable:
    columns = (table.estimate, table.ci_low, table.ci_high, table.tau2, table.pi_half)
    return SubsetTable(members, *(column[back] for column in columns))


class _Grid:
    """Places (mean, tau2) at which all rows are evaluated once: even steps in asinh of either."""

    def __init__(self, fit: BoundedFit) -> None:
        self.rows, self.centre, self.scale = fit.rows, fit.estimate, 0.5
        self.drop = interval_drop(fit.level)
        self.z = float(critical_value(fit.level))
        theta = np.array([[fit.estimate, 0.0]])
        with np.errstate(all="ignore"):
            common_se = float(np.sqrt(-1.0 / derivatives(fit.rows, theta).h[0, 0, 0]))
        narrowest = min(se for se in (fit.se, common_se, 0.25) if np.isfinite(se))
        self.du = min(0.6 * narrowest / self.scale, 0.15)
        self.n = int(np.ceil(np.arcsinh(_REACH / self.scale) / self.du))
        self.mean = self.at(np.arange(2 * self.n + 1.0))
        self.dw = 0.3
        self.tau_scale = max(2 * narrowest, 0.1)
        self.steps = int(np.ceil(np.arcsinh(3.0 / self.tau_scale) / self.dw)) + 1
        self.tau = self.tau_at(np.arange(self.steps, dtype=float))
        places = np.column_stack([np.repeat(self.mean, self.steps), np.tile(self.tau**2, len(self.mean))])
        with np.errstate(all="ignore"):
            terms = row_terms(fit.rows, places)[0]
        # float32 is ample for a start, and halves the time.
        self.heights = np.maximum(terms, -1e6).reshape(len(self.mean), self.steps, -1).astype(np.float32)

    def at(self, place: Array) -> Array:
        return np.asarray(self.centre + self.scale * np.sinh((place - self.n) * self.du))

    def tau_at(self, place: Array) -> Array:
        return np.asarray(self.tau_scale * np.sinh(place * self.dw))


def _pieces(size: int) -> Iterator[slice]:
    for start in range(0, size, _TOGETHER):
        yield slice(start, min(start + _TOGETHER, size))


def _random(fit: BoundedFit, members: Members, mask: NDArray[np.bool_], grid: _Grid, counted: Array) -> SubsetTable:
    at = np.arange(len(members))
    weights = counted.astype(np.float32)
    heights = np.empty((len(members), len(grid.mean)), dtype=np.float32)
    tau = np.empty_like(heights)
    for j, table in enumerate(grid.heights):
        f = weights @ table.T
        best = f.argmax(axis=1)
        # The likelihood is even in tau, so that the neighbour below 0 is the one above it.
        left, middle, right = f[at, np.abs(best - 1)], f[at, best], f[at, np.minimum(best + 1, grid.steps - 1)]
        bend = left - 2 * middle + right
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = np.where((bend < 0) & (best < grid.steps - 1), 0.5 * (left - right) / bend, 0.0)
        heights[:, j] = middle - 0.25 * (left - right) * shift
        tau[:, j] = best + shift
    peak = heights.argmax(axis=1)
    theta = np.column_stack([grid.mean[peak], grid.tau_at(tau[at, peak].astype(float)) ** 2])
    top, se, settled = _climb(grid.rows, counted, theta, fixed=False)
    ends = []
    for side in (-1, 1):
        place, t = _crossing(grid, heights, tau, theta[:, 0], top, side)
        ends.append(_settle_end(grid, counted, theta, top, place, t, fixed=False))
    (low, low_ok), (high, high_ok) = ends
    # A maximum or an end at the edge of the grid has to be looked for by the engine itself.
    lost = ~(settled & low_ok & high_ok)
    if lost.any():
        found = bounded_refits(fit, mask[lost])
        theta[lost] = np.column_stack([found.estimate, found.tau2])
        se[lost] = found.se
        low[lost], high[lost] = found.ci()
    pi_half = grid.z * np.sqrt(se**2 + theta[:, 1])
    return SubsetTable(members, theta[:, 0], low, high, theta[:, 1], pi_half)


def _common(members: Members, grid: _Grid, counted: Array) -> SubsetTable:
    heights = counted.astype(np.float32) @ np.ascontiguousarray(grid.heights[:, 0].T)
    peak = heights.argmax(axis=1)
    theta = np.column_stack([grid.mean[peak], np.zeros(len(members))])
    top, se, settled = _climb(grid.rows, counted, theta, fixed=True)
    zero = np.zeros((1, 1), dtype=np.float32)
    ends = []
    for side in (-1, 1):
        place, t = _crossing(grid, heights, zero, theta[:, 0], top, side)
        ends.append(_settle_end(grid, counted, theta, top, place, t, fixed=True))
    (low, low_ok), (high, high_ok) = ends
    edge = (peak == 0) | (peak == len(grid.mean) - 1)
    none = ~settled | edge  # such as significant results alone, which nothing stops on one side
    theta[none, 0], se[none] = np.nan, np.nan
    low = np.where(none, np.nan, np.where(low_ok, low, -np.inf))
    high = np.where(none, np.nan, np.where(high_ok, high, np.inf))
    return SubsetTable(members, theta[:, 0], low, high, np.where(none, np.nan, 0.0), grid.z * se)


def _climb(rows: Rows, counted: Array, theta: Array, fixed: bool) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Newton steps from `theta`, in place; the height, the standard error of the mean, and whether they settled."""

    def uphill(d: Derivatives, held: NDArray[np.bool_], tables: NDArray[np.intp]) -> tuple[Array, NDArray[np.bool_]]:
        return newton(d, held)

    settled = _iterate(rows, counted, theta, fixed, uphill)
    top, se = np.full(len(theta), np.nan), np.full(len(theta), np.nan)
    for part in _pieces(len(theta)):
        d, held = _derivatives(rows._replace(n=counted[part], size=part.stop - part.start), theta[part], fixed)
        with np.errstate(all="ignore"):
            h = -d.h
            shared = np.where(held[:, 1] | (theta[part, 1] <= 0), 0.0, h[:, 0, 1] ** 2 / h[:, 1, 1])
            top[part], se[part] = d.f, 1.0 / np.sqrt(h[:, 0, 0] - shared)
    return top, se, settled & np.isfinite(se)


Step = Callable[[Derivatives, NDArray[np.bool_], NDArray[np.intp]], tuple[Array, NDArray[np.bool_]]]


def _iterate(rows: Rows, counted: Array, theta: Array, fixed: bool, step_of: Step) -> NDArray[np.bool_]:
    """Take steps of each table, in place, until it settles; which ones did."""
    settled = np.zeros(len(theta), dtype=bool)
    active = np.flatnonzero(np.isfinite(theta).all(axis=1))
    for _ in range(_STEPS):
        still = []
        for part in _pieces(len(active)):
            tables = active[part]
            here = theta[tables]
            d, held = _derivatives(rows._replace(n=counted[tables], size=len(tables)), here, fixed)
            with np.errstate(all="ignore"):
                step, good = step_of(d, held, tables)
            good = good & np.isfinite(step).all(axis=1)
            here += np.where(good[:, None], step, 0.0)
            here[:, 1] = np.maximum(here[:, 1], 0.0)
            theta[tables] = here
            done = good & (np.abs(step).max(axis=1) < _SETTLED)
            settled[tables] = done
            still.append(tables[good & ~done])
        active = np.concatenate(still) if still else active[:0]
        if len(active) == 0:
            break
    return settled


def _derivatives(rows: Rows, theta: Array, fixed: bool) -> tuple[Derivatives, NDArray[np.bool_]]:
    with np.errstate(all="ignore"):
        d = derivatives(rows, theta)
    held = np.zeros(theta.shape, dtype=bool)
    held[:, 1] = True if fixed else (theta[:, 1] <= 0) & (d.g[:, 1] <= 0)
    return d, held


def _crossing(
    grid: _Grid, heights: NDArray[np.float32], tau: NDArray[np.float32], mean: Array, top: Array, side: int
) -> tuple[Array, Array]:
    """Where the profile first falls by the drop on one side, and tau2 there; NaN where it does not on the grid."""
    at = np.arange(len(heights))
    low_enough = (top[:, None] - heights >= grid.drop) & (side * (grid.mean - mean[:, None]) > 0)
    crosses = low_enough.any(axis=1)
    last = len(grid.mean) - 1
    outside = np.where(crosses, low_enough.argmax(axis=1) if side > 0 else last - low_enough[:, ::-1].argmax(axis=1), 1)
    inside = np.clip(outside - side, 0, last)
    fall = [np.sqrt(np.maximum(2 * (top - heights[at, j]), 0.0)) for j in (inside, outside)]
    # The signed root of the fall is nearly a straight line; between the peak and the next place it is shorter.
    start = np.where(side * (grid.mean[inside] - mean) > 0, grid.mean[inside], mean)
    fall[0] = np.where(start == mean, 0.0, fall[0])
    with np.errstate(all="ignore"):
        share = (np.sqrt(2 * grid.drop) - fall[0]) / (fall[1] - fall[0])
    place = start + np.clip(share, 0.0, 1.0) * (grid.mean[outside] - start)
    t = grid.tau_at(np.broadcast_to(tau, heights.shape)[at, outside].astype(float)) ** 2
    return np.where(crosses, place, np.nan), t


def _settle_end(
    grid: _Grid, counted: Array, peak: Array, top: Array, place: Array, t: Array, fixed: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """Newton steps to where the height is `top` less the drop and tau2 is at its best."""
    theta = np.column_stack([place, t])

    def outward(d: Derivatives, held: NDArray[np.bool_], tables: NDArray[np.intp]) -> tuple[Array, NDArray[np.bool_]]:
        # [f_m f_t; f_mt f_tt] step = [what the height lacks; -f_t]
        short = top[tables] - grid.drop - d.f
        free = ~held[:, 1]
        a, b, c, e = d.g[:, 0], d.g[:, 1] * free, d.h[:, 0, 1] * free, np.where(free, d.h[:, 1, 1], -1.0)
        det = a * e - b * c
        step = np.column_stack([(short * e + b * b) / det, (-a * b - c * short) / det * free])
        return step, np.asarray(e < 0)

    settled = _iterate(grid.rows, counted, theta, fixed, outward)
    same_side = (theta[:, 0] - peak[:, 0]) * (place - peak[:, 0]) > 0
    return theta[:, 0], settled & same_side
