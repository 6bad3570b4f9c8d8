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
from numpy.typing import NDArray
from scipy import special

from metamiq.pooling.bounded_likelihood import Derivatives, Rows, value
from metamiq.pooling.bounded_search import Maximum, higher, maximise, newton, part_at, part_of, repeated
from metamiq.pooling.wls import Array

# Times the squared distance from the estimate: where other hills of tau2 are looked for.
_PROBES = np.concatenate([[0.0], 0.03 * 3.0 ** np.arange(6)])


def profile(rows: Rows, theta: Array, coordinate: int, at: Array, near: Array | None = None) -> Maximum:
    """The maximum with one coordinate held `at` a value, shape (B,), per table.

    `theta` is the unconstrained maximum and `near` a guess at the constrained one.
    """
    return _look_along_tau2(rows, theta, coordinate, _climb(rows, theta, coordinate, at, near))


def _climb(rows: Rows, theta: Array, coordinate: int, at: Array, near: Array | None = None) -> Maximum:
    # Away from the maximum tau2 grows, so that the search begins both where it was and where it may have gone.
    b, q = theta.shape
    first = theta.copy() if near is None else near.copy()
    second = theta.copy()
    if coordinate % q != q - 1:
        second[:, -1] += (at - theta[:, coordinate]) ** 2
    first[:, coordinate] = second[:, coordinate] = at
    found = maximise(repeated(rows, 2), np.concatenate([first, second]), _only(coordinate, q))
    # A search that ran away along a ridge still gives the height of the ridge.
    return higher(part_of(found, slice(0, b)), part_of(found, slice(b, 2 * b)))


def _only(coordinate: int, q: int) -> NDArray[np.bool_]:
    held = np.zeros(q, dtype=bool)
    held[coordinate] = True
    return held


def _look_along_tau2(rows: Rows, theta: Array, coordinate: int, found: Maximum) -> Maximum:
    """The better of a constrained maximum and what can be climbed from the best other hill of tau2 in sight.

    The other coefficients stay where they were found for the look, so that with moderators a hill may look lower than
    it is: one that looks a little lower is climbed as well.
    """
    b, q = theta.shape
    if coordinate % q == q - 1:
        return found
    spread = (found.theta[:, coordinate] - theta[:, coordinate]) ** 2 + theta[:, -1]
    probes = np.multiply.outer(_PROBES, spread + 1e-12)
    places = np.repeat(found.theta[None], len(_PROBES), axis=0)
    places[:, :, -1] = probes
    with np.errstate(all="ignore"):
        height = value(repeated(rows, len(_PROBES)), places.reshape(-1, q)).reshape(-1, b)
        height = np.where(np.isnan(height), -np.inf, height)
        # Less than a step of the probes away it is the same hill.
        apart = np.abs(np.log(probes / found.theta[:, -1])) > np.log(_PROBES[2] / _PROBES[1])
    beyond = np.full((1, b), -np.inf)
    hill = (height >= np.vstack([beyond, height[:-1]])) & (height > np.vstack([height[1:], beyond])) & apart
    height = np.where(hill, height, -np.inf)
    margin = 0.1 if q == 2 else 1.0
    again = np.flatnonzero((height.max(axis=0) > found.f - margin) & np.isfinite(found.f))
    if len(again) == 0:
        return found
    start = places[height.argmax(axis=0)[again], again]
    climbed = maximise(rows.take(again), start, _only(coordinate, q))
    best = found.where(np.zeros(b, dtype=bool), found)  # a copy
    better = higher(Maximum(best.theta[again], part_at(best.d, again), best.ok[again]), climbed)
    best.theta[again], best.ok[again] = better.theta, better.ok
    for mine, theirs in zip(best.d, better.d, strict=True):
        mine[again] = theirs
    return best


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
    looked = np.zeros(2 * b, dtype=bool)
    for _ in range(80):
        if len(active) == 0:
            break
        t, x, s = table[active], distance[active], side[active]
        place = centre[active] + s * x
        part = rows.take(t)
        found = _climb(part, theta[t], coordinate, place, near[active])
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
        last = np.flatnonzero((settled | narrow) & ~lowest & ~looked[active])
        higher_hill = np.zeros(len(active), dtype=bool)
        if len(last):
            # On the way the search stays on one hill of tau2; where another one is higher, it goes on from there.
            other = _look_along_tau2(part.take(last), theta[t[last]], coordinate, part_of(found, last))
            higher_hill[last] = other.f > found.f[last] + 1e-8
            finished &= ~higher_hill
            looked[active[last]] = ~higher_hill[last]
        nearest, farthest = inner[active], outer[active]
        open_side = np.isinf(farthest)
        new = x + np.where((slope > 0) & np.isfinite(move), move, np.inf)
        new = np.where(open_side, np.minimum(new, 4.0 * x), new)
        wrong = ~((new > nearest) & (new < farthest))
        new = np.where(wrong, np.where(open_side, 2.0 * x, 0.5 * (nearest + farthest)), new)
        new = np.minimum(new, limit[active])
        near[active] = _predict(found, coordinate, s * (new - x))
        if higher_hill.any():
            again = active[higher_hill]
            near[again] = other.theta[higher_hill[last]]
            new[higher_hill], outer[again] = x[higher_hill], np.inf
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
