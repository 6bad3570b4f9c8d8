"""The maximum of the likelihood of points and bounds, for many tables at once.

Newton steps climb in (beta, tau2), tau2 at or above 0, from several starts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metamiq.errors import ConvergenceError
from metamiq.pooling.bounded_likelihood import Derivatives, Rows, derivatives, means, value
from metamiq.pooling.wls import Array

Mask = NDArray[np.bool_]
_MAX_STEPS = 200
_FAR = 1e8  # times the scale of the start: a search that gets there has no maximum to find
_SHARES = (0.0, 0.01, 0.1, 1.0)  # of the spread of crude values: where searches begin in tau2
_PROBE_FACTOR = 2.2
_PROBES = 0.003 * _PROBE_FACTOR ** np.arange(10)  # of the same spread: where the profile of tau2 is looked at
_TOGETHER = 512  # tables evaluated in one call
_ENOUGH = 1e-11  # squared Newton decrement, after which one more step leaves an error of the order of its square


class Maximum(NamedTuple):
    """Where the log-likelihood is largest, per table."""

    theta: Array  # (B, p + 1): beta, tau2
    d: Derivatives  # there
    ok: Mask  # False: not settled, or no maximum

    @property
    def f(self) -> Array:
        """The log-likelihood there."""
        return self.d.f

    def where(self, better: Mask, other: Maximum) -> Maximum:
        """`other` where it is better."""
        one, two, three = better, better[:, None], better[:, None, None]
        return Maximum(
            np.where(two, other.theta, self.theta),
            Derivatives(
                np.where(one, other.d.f, self.d.f),
                np.where(two, other.d.g, self.d.g),
                np.where(three, other.d.h, self.d.h),
            ),
            np.where(one, other.ok, self.ok),
        )


def newton(d: Derivatives, held: Mask) -> tuple[Array, Mask]:
    """Step uphill, zero in the coordinates held, and whether the surface is curved downwards there."""
    q = d.g.shape[1]
    if q == 2:
        step, good = _newton_2(d, held)
        rest = ~good
        if not rest.any():
            return step, good
        step[rest] = _newton_any(Derivatives(d.f[rest], d.g[rest], d.h[rest]), held[rest])[0]
        return step, good
    return _newton_any(d, held)


def _newton_2(d: Derivatives, held: Mask) -> tuple[Array, Mask]:
    free = ~held
    a = np.where(free[:, 0], -d.h[:, 0, 0], 1.0)
    c = np.where(free[:, 1], -d.h[:, 1, 1], 1.0)
    b = np.where(free[:, 0] & free[:, 1], -d.h[:, 0, 1], 0.0)
    det = a * c - b * b
    good = (a > 0) & (det > 1e-8 * np.abs(a * c))
    g = d.g * free
    step = np.empty_like(g)
    step[:, 0] = c * g[:, 0] - b * g[:, 1]
    step[:, 1] = a * g[:, 1] - b * g[:, 0]
    step /= det[:, None]
    return step, np.asarray(good)


def _newton_any(d: Derivatives, held: Mask) -> tuple[Array, Mask]:
    # Curvature of the wrong sign is turned round; where it is, at least a small step leaves a saddle.
    g = np.where(held, 0.0, d.g)
    a = np.where(held[:, :, None] | held[:, None, :], 0.0, -d.h)
    diagonal = np.arange(a.shape[1])
    a[:, diagonal, diagonal] = np.where(held, 1.0, a[:, diagonal, diagonal])
    # Scale to a unit diagonal first: tau2 and a coefficient in years differ by many orders of magnitude.
    scale = 1.0 / np.sqrt(np.maximum(np.abs(a[:, diagonal, diagonal]), 1e-300))
    values, vectors = np.linalg.eigh(a * scale[:, :, None] * scale[:, None, :])
    along = np.einsum("bij,bi->bj", vectors, g * scale) / np.maximum(np.abs(values), 1e-10)
    up = values < -1e-8
    along = np.where(up & (np.abs(along) < 1e-2), np.where(along < 0, -1e-2, 1e-2), along)
    step = np.einsum("bij,bj->bi", vectors, along) * scale
    return np.where(held, 0.0, step), np.asarray((values > 1e-10).all(axis=1))


def maximise(rows: Rows, start: Array, held: Mask | None = None) -> Maximum:
    """The local maximum uphill of `start`; coordinates that are `held`, shape (p + 1,), stay where they start."""
    with np.errstate(all="ignore"):
        return _maximise(rows, start, np.zeros(start.shape[1], dtype=bool) if held is None else held)


def _maximise(rows: Rows, start: Array, fixed: Mask) -> Maximum:
    b, q = start.shape
    theta = start.copy()
    out = Maximum(
        start.copy(), Derivatives(np.full(b, -np.inf), np.zeros((b, q)), np.zeros((b, q, q))), np.zeros(b, dtype=bool)
    )
    active = np.arange(b)
    far = _FAR * (1.0 + np.abs(start))
    d = derivatives(rows, theta)
    shrink = np.ones(b)
    for _ in range(_MAX_STEPS):
        hold = np.empty_like(theta, dtype=bool)
        hold[:] = fixed
        hold[:, -1] |= (theta[:, -1] <= 0) & (d.g[:, -1] <= 0)
        step, peaked = newton(d, hold)
        gain = (d.g * step).sum(axis=1)
        clipped = theta[:, -1] + step[:, -1] < 0
        scale = 1.0 + np.abs(d.f)
        # A whole step from here ends the search; it is so short that the expansion at this place is exact.
        done = peaked & (gain <= _ENOUGH * (1.0 + 1e-4 * scale)) & ~clipped
        new = theta + step * np.where(done, 1.0, shrink)[:, None]
        new[:, -1] = np.maximum(new[:, -1], 0.0)
        stalled = shrink < 1e-13
        finished = done | stalled
        if finished.any():
            at = active[finished]
            move = np.where(done[:, None], step, 0.0)[finished]
            out.theta[at] = np.where(done[:, None], new, theta)[finished]
            out.d.f[at] = d.f[finished] + 0.5 * np.where(done, gain, 0.0)[finished]
            out.d.g[at] = d.g[finished] + (d.h[finished] @ move[:, :, None])[:, :, 0]
            out.d.h[at] = d.h[finished]
            # Rounding can stop a search whose gain is still a little above the mark.
            near = done | (stalled & peaked & (gain < 1e-8 * scale))
            out.ok[at] = (near & (np.abs(theta) < 1e-2 * far).all(axis=1) & np.isfinite(d.f))[finished]
            left = np.flatnonzero(~finished)
            if len(left) == 0:
                return out
            active, theta, new, far, shrink = active[left], theta[left], new[left], far[left], shrink[left]
            d = Derivatives(d.f[left], d.g[left], d.h[left])
            rows = rows.take(left)
            scale = scale[left]
        e = derivatives(rows, new)
        near = (np.abs(new) <= far).all(axis=1)
        better = near & (e.f >= d.f - 1e-14 * scale)  # false for NaN
        shrink = np.where(better, 1.0, shrink * 0.25)
        if better.all():
            theta, d = new, e
            continue
        theta = np.where(better[:, None], new, theta)
        d = Derivatives(
            np.where(better, e.f, d.f),
            np.where(better[:, None], e.g, d.g),
            np.where(better[:, None, None], e.h, d.h),
        )
    out.theta[active] = theta
    out.d.f[active], out.d.g[active], out.d.h[active] = d
    return out


class _Crude(NamedTuple):
    """A value for each row: a point's own, an interval's middle, a one-sided bound's end and somewhat beyond."""

    y: Array  # (B or 1, k)
    v: Array
    n: Array  # 0 where a row tells nothing


def _crude(rows: Rows, beyond: float) -> _Crude:
    low, high = rows.low, rows.high
    shared = rows.y.shape[0] == low.shape[0]
    half = beyond * np.sqrt(rows.base)
    below, above = np.isfinite(low), np.isfinite(high)
    value = np.where(below, np.where(above, 0.5 * (low + high), low + half), np.where(above, high - half, 0.0))
    n = np.concatenate([np.ones((len(low), rows.y.shape[1])), 1.0 * (below | above)], axis=1)

    def wide(a: Array) -> Array:
        return a if shared else np.broadcast_to(a, (rows.size, a.shape[1]))

    return _Crude(
        np.concatenate([wide(rows.y), wide(value)], axis=1),
        np.concatenate([wide(rows.v), wide(rows.base)], axis=1),
        n if rows.n is None else n * rows.n,
    )


def _least_squares(rows: Rows, c: _Crude, w: Array) -> Array:
    if rows.x is None:
        beta = ((w * c.y).sum(axis=1) / np.maximum(w.sum(axis=1), 1e-300))[:, None]
    else:
        xw = rows.x * w[:, :, None]
        beta = (np.linalg.pinv(xw.transpose(0, 2, 1) @ rows.x) @ (xw.transpose(0, 2, 1) @ c.y[:, :, None]))[:, :, 0]
    return np.broadcast_to(beta, (rows.size, rows.p))


def _starts(rows: Rows) -> tuple[list[Array], Array]:
    """Places to search from, each (B, p + 1), and a scale for tau2: at each of four tau2 the best of some means.

    At a given tau2 the likelihood is nearly concave in the mean, so that a coarse look finds the right hill.
    """
    c, far = _crude(rows, 1.0), _crude(rows, 3.0)
    one, other = _least_squares(rows, c, c.n / c.v), _least_squares(rows, far, far.n)
    candidates = [one, other]
    if rows.x is None:
        r = c.y - one
        least = np.where(far.n > 0, far.y, np.inf).min(axis=1)
        most = np.where(far.n > 0, far.y, -np.inf).max(axis=1)
        candidates += [(least + share * (most - least))[:, None] for share in np.linspace(0.05, 0.95, 10)]
    else:
        r = c.y - means(rows.x, one)
        candidates += [0.5 * (one + other)]
    k = np.maximum(c.n.sum(axis=1), 1.0)
    scale = np.maximum((c.n * r * r).sum(axis=1), 0.1 * (c.n * c.v).sum(axis=1)) / k
    scale = np.broadcast_to(np.where(scale > 0, scale, 1.0), (rows.size,))
    b, q = rows.size, rows.p + 1
    places = np.empty((len(_SHARES), len(candidates), b, q))
    for i, beta in enumerate(candidates):
        places[:, i, :, :-1] = beta
    places[:, :, :, -1] = np.multiply.outer(_SHARES, scale)[:, None]
    flat = places.reshape(-1, b, q)
    height = np.empty((len(flat), b))
    together = max(1, _TOGETHER // b)
    for i in range(0, len(flat), together):
        part = flat[i : i + together]
        height[i : i + together] = value(repeated(rows, len(part)), part.reshape(-1, q)).reshape(-1, b)
    ranked = np.where(np.isnan(height), -np.inf, height).reshape(len(_SHARES), -1, b)
    return [places[i, ranked[i].argmax(axis=0), np.arange(b)] for i in range(len(_SHARES))], scale


def repeated(rows: Rows, times: int) -> Rows:
    """All tables, then all of them again, and so on."""
    return rows if times == 1 else rows.take(np.tile(np.arange(rows.size), times))


def global_maximum(rows: Rows, opposed: Mask | None = None) -> Maximum:
    """The best of the maxima uphill of several starts.

    Tables that are `opposed` have no point and no two-sided bound: their likelihood may be largest at infinite tau2,
    so that one more search begins far out, and a table whose maximum is not above what that one finds has none.
    """
    b = rows.size
    with np.errstate(all="ignore"):
        starts, scale = _starts(rows)
    found = maximise(repeated(rows, len(starts)), np.concatenate(starts))
    best = part_of(found, slice(0, b))
    for i in range(1, len(starts)):
        best = higher(best, part_of(found, slice(i * b, (i + 1) * b)))
    with np.errstate(all="ignore"):
        best = _look_along_tau2(rows, best, scale)
    if opposed is not None and opposed.any():
        at = np.flatnonzero(opposed)
        out = maximise(rows.take(at), np.column_stack([starts[-1][at, :-1], 1e4 * scale[at]]))
        run_away = ~out.ok & (out.f >= best.f[at] - 1e-7)
        best.ok[at[run_away]] = False
    return best


def _look_along_tau2(rows: Rows, best: Maximum, scale: Array) -> Maximum:
    """The best after a look at the profile likelihood of tau2, which may have a second hill beside a first one.

    The coefficients are maximised at each tau2 of a grid; where the highest hill of that profile is not the one that
    was climbed and might be higher, it is climbed too.
    """
    at = np.flatnonzero(best.ok)
    if len(at) == 0:
        return best
    part = rows if len(at) == rows.size else rows.take(at)
    held = np.zeros(best.theta.shape[1], dtype=bool)
    held[-1] = True
    probes = np.multiply.outer(_PROBES, scale[at])
    start = np.repeat(best.theta[None, at], len(_PROBES), axis=0)
    start[:, :, -1] = probes
    found = maximise(repeated(part, len(_PROBES)), start.reshape(-1, start.shape[2]), held)
    height = np.where(found.ok, found.f, -np.inf).reshape(len(_PROBES), -1)
    beyond = np.full((1, len(at)), -np.inf)
    here = best.f[at]
    hill = (height >= np.vstack([beyond, height[:-1]])) & (height >= np.vstack([height[1:], beyond]))
    # Less than a grid step from the maximum that was climbed it is the same hill.
    near = np.abs(np.log(np.maximum(probes, 1e-300) / np.maximum(best.theta[at, -1], 1e-300))) < np.log(_PROBE_FACTOR)
    height = np.where(hill & ~near | (height > here + 1e-9 * (1.0 + np.abs(here))), height, -np.inf)
    top = height.argmax(axis=0)
    again = np.flatnonzero(height.max(axis=0) > here - 0.1)
    if len(again) == 0:
        return best
    theta = found.theta.reshape(len(_PROBES), len(at), -1)[top[again], again]
    climbed = maximise(part.take(again), theta)
    chosen = at[again]
    better = higher(Maximum(best.theta[chosen], part_at(best.d, chosen), best.ok[chosen].copy()), climbed)
    best.theta[chosen], best.ok[chosen] = better.theta, better.ok
    for mine, theirs in zip(best.d, better.d, strict=True):
        mine[chosen] = theirs
    return best


def part_at(d: Derivatives, at: NDArray[np.intp]) -> Derivatives:
    """Derivatives of some tables."""
    return Derivatives(*(a[at] for a in d))


def part_of(found: Maximum, rows: slice | NDArray[np.intp]) -> Maximum:
    """These tables only."""
    return Maximum(
        found.theta[rows], Derivatives(found.d.f[rows], found.d.g[rows], found.d.h[rows]), found.ok[rows].copy()
    )


def higher(one: Maximum, two: Maximum) -> Maximum:
    """The higher peak of each table; of two searches at the same height the one that settled."""
    margin = 1e-10 * (1.0 + np.abs(one.f))
    with np.errstate(invalid="ignore"):
        better = (two.f > one.f + margin) | (two.ok & ~one.ok & (two.f >= one.f - margin))
        return one.where(better | (np.isnan(one.f) & ~np.isnan(two.f)), two)


def require(found: Maximum, what: str) -> None:
    """Raise ConvergenceError unless every table has its maximum."""
    if not found.ok.all():
        raise ConvergenceError(
            f"The likelihood of {what} must have a maximum, but the search ran away or did not settle. "
            "Too few rows tell the mean from below and from above; add a point or a two-sided bound."
        )
