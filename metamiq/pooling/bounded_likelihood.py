r"""The likelihood of points and bounds together, and its maximum, for many tables at once.

A row with model mean :math:`\mu = x'\beta` contributes

* a *point*: the normal density of :math:`y` with mean :math:`\mu` and variance :math:`v + \tau^2`;
* a *bound*: the normal probability of its interval with mean :math:`\mu` and variance :math:`v(\mu) + \tau^2`,
  :math:`v(\mu) = 1/n_1 + 1/n_2 + \mu^2 / (2 (n_1 + n_2))`: what its estimate would have had as variance.

All probabilities and their derivatives are formed from logarithms, so that a bound far from the mean neither
underflows nor stalls the search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metamiq.errors import ConvergenceError
from metamiq.pooling.wls import Array

_LOG_2PI = float(np.log(2.0 * np.pi))
_MAX_STEPS = 200


class Rows(NamedTuple):
    """Points and bounds of B tables; arrays with a leading 1 are shared by all. Counts `n` are 0 where unused."""

    y: Array  # (B or 1, kp)
    v: Array
    n_points: Array | None  # (B, kp); None: every row counts once
    x_points: Array  # (B or 1, kp, p)
    low: Array  # (B or 1, kb)
    high: Array
    base: Array  # 1 / n1 + 1 / n2
    total: Array  # n1 + n2
    n_bounds: Array | None  # (B, kb)
    x_bounds: Array  # (B or 1, kb, p)
    size: int

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """These tables only."""
        fields = {
            name: a[rows] if isinstance(a, np.ndarray) and a.shape[0] != 1 else a
            for name, a in self._asdict().items()
            if name != "size"
        }
        if self.size == 1:
            fields = {name: a for name, a in self._asdict().items() if name != "size"}
        return Rows(**fields, size=len(rows))


class Derivatives(NamedTuple):
    """Log-likelihood, gradient and Hessian in (beta, tau2), per table."""

    f: Array  # (B,)
    g: Array  # (B, p + 1)
    h: Array  # (B, p + 1, p + 1)


class _RowTerms(NamedTuple):
    """Log-likelihood of each row and its derivatives in the row's mean (m) and in tau2 (t)."""

    f: Array
    m: Array
    t: Array
    mm: Array
    mt: Array
    tt: Array


def _point_terms(y: Array, v: Array, mu: Array, tau2: Array) -> _RowTerms:
    w = 1.0 / (v + tau2)
    r = y - mu
    wr = w * r
    return _RowTerms(
        f=-0.5 * (_LOG_2PI - np.log(w) + r * wr),
        m=wr,
        t=0.5 * (wr * wr - w),
        mm=np.broadcast_to(-w, r.shape),
        mt=-w * wr,
        tt=w * (0.5 * w - wr * wr),
    )


def _log_probability(z_low: Array, z_high: Array) -> Array:
    """log(Phi(z_high) - Phi(z_low)), in the tail where it loses nothing."""
    flip = z_low > 0
    a = np.where(flip, -z_high, z_low)
    b = np.where(flip, -z_low, z_high)
    top = special.log_ndtr(b)
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(-np.expm1(special.log_ndtr(a) - top)))


def _bound_terms(rows: Rows, mu: Array, tau2: Array) -> _RowTerms:
    v1 = mu / rows.total  # slope of v(mu); its own slope is 1 / total
    v2 = 1.0 / rows.total
    s2 = rows.base + 0.5 * mu * v1 + tau2
    inv = 1.0 / s2
    root = np.sqrt(inv)
    ends = []
    z_low, z_high = (rows.low - mu) * root, (rows.high - mu) * root
    log_p = _log_probability(z_low, z_high)
    for z, sign in ((z_low, -1.0), (z_high, 1.0)):
        infinite = np.isinf(z)
        z = np.where(infinite, 0.0, z)
        # phi(z) / P, with the sign of the end; an infinite end contributes nothing.
        ratio = np.where(infinite, 0.0, sign * np.exp(-0.5 * (z * z + _LOG_2PI) - log_p))
        z_m = -root - 0.5 * z * v1 * inv
        z_t = -0.5 * z * inv
        z_mm = 0.5 * inv * (root * v1 - z_m * v1 - z * v2 + z * v1 * v1 * inv)
        z_mt = 0.5 * inv * (root - z_t * v1 + z * v1 * inv)
        z_tt = 0.75 * z * inv * inv
        ends.append(
            np.stack(
                [
                    ratio * z_m,
                    ratio * z_t,
                    ratio * (z_mm - z * z_m * z_m),
                    ratio * (z_mt - z * z_m * z_t),
                    ratio * (z_tt - z * z_t * z_t),
                ]
            )
        )
    m, t, mm, mt, tt = ends[0] + ends[1]
    return _RowTerms(log_p, m, t, mm - m * m, mt - m * t, tt - t * t)


def _means(x: Array, beta: Array) -> Array:
    if x.shape[2] == 1 and x.shape[0] == 1:
        return np.asarray(beta * x[0, :, 0])
    return np.asarray(np.einsum("bkp,bp->bk", x, beta))


def row_terms(rows: Rows, beta: Array, tau2: Array) -> tuple[_RowTerms, _RowTerms]:
    """Each row's log-likelihood and derivatives: points, then bounds."""
    t = tau2[:, None]
    return (
        _point_terms(rows.y, rows.v, _means(rows.x_points, beta), t),
        _bound_terms(rows, _means(rows.x_bounds, beta), t),
    )


def derivatives(rows: Rows, theta: Array) -> Derivatives:
    """Value, gradient and Hessian of the log-likelihood at theta = (beta, tau2), shape (B, p + 1)."""
    p = theta.shape[1] - 1
    f = np.zeros(len(theta))
    g = np.zeros((len(theta), p + 1))
    h = np.zeros((len(theta), p + 1, p + 1))
    both = row_terms(rows, theta[:, :p], theta[:, p])
    for terms, x, n in zip(both, (rows.x_points, rows.x_bounds), (rows.n_points, rows.n_bounds), strict=True):
        if terms.f.shape[1] == 0:
            continue
        if n is not None:
            # A row that does not count may be anything, an impossible bound included.
            terms = _RowTerms(*(np.where(n > 0, n * a, 0.0) for a in terms))
        f += terms.f.sum(axis=1)
        g[:, p] += terms.t.sum(axis=1)
        h[:, p, p] += terms.tt.sum(axis=1)
        g[:, :p] += _xsum(x, terms.m)
        cross = _xsum(x, terms.mt)
        h[:, :p, p] += cross
        h[:, p, :p] += cross
        h[:, :p, :p] += _xcross(x, terms.mm)
    return Derivatives(f, g, h)


def _xsum(x: Array, f: Array) -> Array:
    if x.shape[0] == 1:
        return np.asarray(f @ x[0])
    return np.asarray(np.einsum("bkp,bk->bp", x, f))


def _xcross(x: Array, f: Array) -> Array:
    if x.shape[0] == 1:
        pairs = (x[0][:, :, None] * x[0][:, None, :]).reshape(x.shape[1], -1)
        return np.asarray((f @ pairs).reshape(len(f), x.shape[2], x.shape[2]))
    return np.asarray(np.einsum("bkp,bk,bkq->bpq", x, f, x, optimize=True))


def _ascent_step(d: Derivatives, held: NDArray[np.bool_]) -> Array:
    """Newton step with negative curvature turned round, zero in the coordinates that are held."""
    g = np.where(held, 0.0, d.g)
    a = np.where(held[:, :, None] | held[:, None, :], 0.0, -d.h)
    diagonal = np.arange(a.shape[1])
    a[:, diagonal, diagonal] = np.where(held, 1.0, a[:, diagonal, diagonal])
    # Scale to a unit diagonal first: tau2 and a coefficient in years differ by many orders of magnitude.
    scale = 1.0 / np.sqrt(np.maximum(np.abs(a[:, diagonal, diagonal]), 1e-300))
    values, vectors = np.linalg.eigh(a * scale[:, :, None] * scale[:, None, :])
    values = np.maximum(np.abs(values), 1e-10)
    along = np.einsum("bij,bi->bj", vectors, g * scale) / values
    return np.asarray(np.einsum("bij,bj->bi", vectors, along) * scale)


class Maximum(NamedTuple):
    """Where the log-likelihood is largest, per table."""

    theta: Array  # (B, p + 1): beta, tau2
    f: Array  # (B,)
    ok: NDArray[np.bool_]  # False: not converged, or no maximum


def maximise(rows: Rows, start: Array, held: NDArray[np.bool_] | None = None, *, limit: float = 1e8) -> Maximum:
    """The local maximum uphill of `start`; coordinates that are `held` stay where they start.

    Newton steps, halved until they climb; tau2 stays at or above 0. A search that leaves `limit` times the scale of
    the data has no maximum to find.
    """
    b, q = start.shape
    theta = start.copy()
    fixed = np.zeros(q, dtype=bool) if held is None else held
    out = Maximum(theta.copy(), np.full(b, -np.inf), np.zeros(b, dtype=bool))
    active = np.arange(b)
    d = derivatives(rows, theta)
    far = limit * (1.0 + np.abs(start))
    shrink = np.ones(b)
    step = np.zeros_like(theta)
    fresh = np.ones(b, dtype=bool)  # a step has to be computed from new derivatives
    for _ in range(_MAX_STEPS):
        stuck = (theta[:, -1] <= 0) & (d.g[:, -1] <= 0)
        hold = np.broadcast_to(fixed, theta.shape).copy()
        hold[:, -1] |= stuck
        if fresh.any():
            step[fresh] = _ascent_step(Derivatives(d.f[fresh], d.g[fresh], d.h[fresh]), hold[fresh])
        move = step * shrink[:, None]
        new = theta + move
        new[:, -1] = np.clip(new[:, -1], 0.0, None)
        gain = np.einsum("bi,bi->b", np.where(hold, 0.0, d.g), step)
        small = gain <= 1e-15 * (1.0 + np.abs(d.f))
        tiny = (np.abs(move) <= 1e-10 * (np.abs(theta) + 1e-6)).all(axis=1) & fresh
        done = np.asarray(small | tiny)
        lost = np.asarray((np.abs(new) > far).any(axis=1) | ~np.isfinite(new).all(axis=1))
        e = derivatives(rows, np.where(lost[:, None], theta, new))
        better = np.asarray((e.f >= d.f - 1e-13 * (1.0 + np.abs(d.f))) & ~lost & np.isfinite(e.f))
        theta = np.where((better & ~small)[:, None], new, theta)
        keep_new = better & ~small
        d = Derivatives(
            np.where(keep_new, e.f, d.f),
            np.where(keep_new[:, None], e.g, d.g),
            np.where(keep_new[:, None, None], e.h, d.h),
        )
        shrink = np.where(better, 1.0, shrink * 0.25)
        fresh = better
        exhausted = np.asarray(shrink < 1e-12)
        finished = done | lost | exhausted
        if finished.any():
            rows_done = active[finished]
            out.theta[rows_done] = theta[finished]
            out.f[rows_done] = d.f[finished]
            out.ok[rows_done] = (done | (exhausted & (gain < 1e-8 * (1.0 + np.abs(d.f)))))[finished] & ~lost[finished]
            left = np.flatnonzero(~finished)
            if len(left) == 0:
                return out
            active, theta, far, shrink, step, fresh = (
                active[left],
                theta[left],
                far[left],
                shrink[left],
                step[left],
                fresh[left],
            )
            d = Derivatives(d.f[left], d.g[left], d.h[left])
            rows = rows.take(left)
    out.theta[active] = theta
    out.f[active] = d.f
    return out


def _starts(rows: Rows, p: int) -> tuple[Array, Array]:
    """Least-squares coefficients of crude values, and a scale for tau2, per table."""
    half = np.sqrt(rows.base)
    low, high = rows.low, rows.high
    with np.errstate(invalid="ignore"):
        crude = np.where(
            np.isinf(low) & np.isinf(high),
            0.0,
            np.where(np.isinf(low), high - half, np.where(np.isinf(high), low + half, 0.5 * (low + high))),
        )
    n_p = np.ones((1, rows.y.shape[1])) if rows.n_points is None else rows.n_points
    n_b = np.ones((1, low.shape[1])) if rows.n_bounds is None else rows.n_bounds
    b = rows.size

    def wide(a: Array, k: int) -> Array:
        return np.broadcast_to(a, (b, k))

    kp, kb = rows.y.shape[1], low.shape[1]
    y = np.concatenate([wide(rows.y, kp), wide(crude, kb)], axis=1)
    v = np.concatenate([wide(rows.v, kp), wide(rows.base, kb)], axis=1)
    n = np.concatenate([wide(n_p, kp), wide(n_b, kb)], axis=1)
    y, v = np.where(n > 0, y, 0.0), np.where(n > 0, v, 1.0)
    x = np.concatenate([np.broadcast_to(rows.x_points, (b, kp, p)), np.broadcast_to(rows.x_bounds, (b, kb, p))], axis=1)
    w = n / v
    m = np.einsum("bkp,bk,bkq->bpq", x, w, x, optimize=True)
    beta = np.einsum("bpq,bq->bp", np.linalg.pinv(m), np.einsum("bkp,bk->bp", x, w * y))
    r = y - np.einsum("bkp,bp->bk", x, beta)
    k = np.maximum(n.sum(axis=1), 1.0)
    scale = (n * r * r).sum(axis=1) / k
    return beta, np.maximum(scale, 0.1 * (n * v).sum(axis=1) / k)


def global_maximum(rows: Rows, p: int) -> Maximum:
    """The best of the maxima uphill of tau2 = 0, a tenth of, and the spread of crude values."""
    beta, scale = _starts(rows, p)
    best: Maximum | None = None
    for share in (0.0, 0.1, 1.0):
        found = maximise(rows, np.column_stack([beta, share * scale]))
        if best is None:
            best = found
            continue
        # A higher peak wins; a converged search beats one that ran away at the same height.
        better = (found.f > best.f + 1e-12 * (1.0 + np.abs(best.f))) | (found.ok & ~best.ok & (found.f >= best.f))
        best = Maximum(
            np.where(better[:, None], found.theta, best.theta),
            np.where(better, found.f, best.f),
            np.where(better, found.ok, best.ok),
        )
    assert best is not None
    return best


def require(found: Maximum, what: str) -> None:
    """Raise ConvergenceError unless every table has its maximum."""
    if not found.ok.all():
        raise ConvergenceError(
            f"The likelihood of {what} must have a maximum, but the search ran away or did not settle. "
            "Too few rows tell the mean from below and from above; add a point or a two-sided bound."
        )
