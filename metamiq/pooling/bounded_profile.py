r"""The profile likelihood of points and bounds, for many tables at once.

The ends of an interval are found by Newton steps on the signed root
:math:`r(v) = \sqrt{2 (l(\hat\theta) - l_p(v))}`, which is nearly a straight line in v and whose slope the score at
the constrained maximum gives; a bracket guards them.

References
----------
Cox & Hinkley (1974), Theoretical Statistics: profile likelihood and its signed root.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from metamiq.pooling.bounded_likelihood import Derivatives, Rows
from metamiq.pooling.bounded_search import Maximum, higher, maximise, newton, part_of, repeated
from metamiq.pooling.wls import Array


def profile(rows: Rows, theta: Array, coordinate: int, at: Array, near: Array | None = None) -> Maximum:
    """The maximum with one coordinate held `at` a value, shape (B,), per table.

    `theta` is the unconstrained maximum and `near` a guess at the constrained one. Away from the maximum tau2 grows,
    so that the search begins both where it was and where it may have gone.
    """
    b, q = theta.shape
    first = theta.copy() if near is None else near.copy()
    second = theta.copy()
    if coordinate % q != q - 1:
        second[:, -1] += (at - theta[:, coordinate]) ** 2
    first[:, coordinate] = second[:, coordinate] = at
    held = np.zeros(q, dtype=bool)
    held[coordinate] = True
    found = maximise(repeated(rows, 2), np.concatenate([first, second]), held)
    # A search that ran away along a ridge still gives the height of the ridge.
    return higher(part_of(found, slice(0, b)), part_of(found, slice(b, 2 * b)))


def profile_ends(
    rows: Rows, theta: Array, f: Array, coordinate: int, drop: float, first: Array, floor: float = -np.inf
) -> Array:
    """Both ends of the profile-likelihood interval of one coordinate, shape (B, 2).

    `drop` is how far the log-likelihood falls at an end, `first` a guess at their distance, `floor` the least value
    that the coordinate can have, itself an end when the likelihood has not fallen far enough there. An end is
    infinite where the likelihood never falls that far, NaN where the search fails.
    """
    b = len(theta)
    table = np.tile(np.arange(b), 2)
    side = np.repeat([-1.0, 1.0], b)
    centre, top = theta[table, coordinate], f[table]
    target = float(np.sqrt(2.0 * drop))
    ends = np.full(2 * b, np.nan)
    active = np.arange(2 * b)
    inner, outer = np.zeros(2 * b), np.full(2 * b, np.inf)  # distances from the centre
    limit = np.where(side < 0, centre - floor, np.inf)
    ends[limit <= 0] = floor
    active = active[limit > 0]
    distance = np.minimum(first[table], limit)
    near = theta[table].copy()
    for _ in range(80):
        if len(active) == 0:
            break
        t, x, s = table[active], distance[active], side[active]
        place = centre[active] + s * x
        found = profile(rows.take(t), theta[t], coordinate, place, near[active])
        fall = top[active] - found.f
        slope = -s * found.d.g[:, coordinate]  # of the fall, outwards
        inside = fall < drop
        inner[active] = np.where(inside, x, inner[active])
        outer[active] = np.where(inside, outer[active], x)
        root = np.sqrt(np.maximum(2.0 * fall, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            move = (target - root) * root / slope
            settled = (np.abs(move) <= 1e-7 * x) | (np.abs(fall - drop) <= 1e-13 * (1.0 + np.abs(top[active])))
        lowest = inside & (x >= limit[active])
        endless = inside & (x > 1e7 * first[t])
        narrow = outer[active] - inner[active] <= 1e-13 * x
        ends[active] = np.where(settled & np.isfinite(move), centre[active] + s * (x + move), place)
        ends[active[endless]] = (s * np.inf)[endless]
        ends[active[~np.isfinite(found.f)]] = np.nan
        finished = settled | lowest | endless | narrow | ~np.isfinite(found.f)
        nearest, farthest = inner[active], outer[active]
        open_side = np.isinf(farthest)
        new = x + np.where((slope > 0) & np.isfinite(move), move, np.inf)
        new = np.where(open_side, np.minimum(new, 4.0 * x), new)
        wrong = ~((new > nearest) & (new < farthest))
        new = np.where(wrong, np.where(open_side, 2.0 * x, 0.5 * (nearest + farthest)), new)
        new = np.minimum(new, limit[active])
        near[active] = _predict(found, coordinate, s * (new - x))
        distance[active] = new
        active = active[~finished]
    else:
        ends[active] = np.nan
    return ends.reshape(2, -1).T


def _predict(found: Maximum, coordinate: int, change: Array) -> Array:
    """Where the constrained maximum goes when the held coordinate changes: along -H^-1 h, tau2 at or above 0."""
    q = found.theta.shape[1]
    coordinate %= q
    theta = found.theta.copy()
    theta[:, coordinate] += change
    held = np.zeros_like(theta, dtype=bool)
    held[:, coordinate] = True
    held[:, -1] |= found.theta[:, -1] <= 0
    with np.errstate(all="ignore"):
        step, good = newton(Derivatives(found.f, found.d.h[:, :, coordinate] * change[:, None], found.d.h), held)
    whole = good & np.isfinite(step).all(axis=1)
    theta += np.where(whole[:, None] & ~held, step, 0.0)
    theta[:, -1] = np.maximum(theta[:, -1], 0.0)
    return theta


def interval_drop(level: float) -> float:
    """How far the log-likelihood falls at the ends of an interval: half of chi-squared(1) at `level`."""
    return float(special.chdtri(1, 1 - level)) / 2
