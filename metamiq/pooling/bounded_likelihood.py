r"""The likelihood of points and bounds together, with its derivatives, for many tables at once.

A row with model mean :math:`\mu = x'\beta` contributes

* a *point*: the normal density of :math:`y` with mean :math:`\mu` and variance :math:`v + \tau^2`;
* a *bound*: the normal probability of its interval with mean :math:`\mu` and variance :math:`s = v(\mu) + \tau^2`,
  :math:`v(\mu) = 1/n_1 + 1/n_2 + \mu^2 / (2 (n_1 + n_2))`: what its estimate would have had as variance.

All probabilities and their derivatives are formed from logarithms, so that a bound far from the mean neither
underflows nor stalls the search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metamiq.pooling.wls import Array

_LOG_2PI = float(np.log(2.0 * np.pi))
_SIGNS = np.array([-1.0, 1.0])[:, None, None]  # of the lower and the upper end of an interval


class Rows(NamedTuple):
    """Points, then bounds, of B tables; arrays with a leading 1 are shared by all tables."""

    y: Array  # (B or 1, kp)
    v: Array
    low: Array  # (B or 1, kb)
    high: Array
    base: Array  # 1 / n1 + 1 / n2
    total: Array  # n1 + n2
    x: Array | None  # (B or 1, kp + kb, p); None: a mean only
    n: Array | None  # (B, kp + kb): how often a row counts; None: once each
    size: int

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return 1 if self.x is None else self.x.shape[2]

    def take(self, tables: NDArray[np.intp]) -> Rows:
        """These tables only; one may be named several times."""
        own = {
            name: a[tables]
            for name, a in zip(self._fields, self, strict=True)
            if isinstance(a, np.ndarray) and a.shape[0] != 1
        }
        return self._replace(**own, size=len(tables))

    def columns(self, keep: list[int]) -> Rows:
        """The same rows under a design with these columns only."""
        assert self.x is not None
        return self._replace(x=self.x[..., keep])


class Derivatives(NamedTuple):
    """Log-likelihood, gradient and Hessian in (beta, tau2), per table."""

    f: Array  # (B,)
    g: Array  # (B, p + 1)
    h: Array  # (B, p + 1, p + 1)


def _fill_points(out: Array, y: Array, v: Array, mu: Array, tau2: Array) -> None:
    w = 1.0 / (v + tau2)
    r = y - mu
    wr = w * r
    square = wr * wr
    out[0] = -0.5 * (_LOG_2PI - np.log(w) + r * wr)
    out[1] = wr
    out[2] = 0.5 * (square - w)
    out[3] = -w
    out[4] = -w * wr
    out[5] = w * (0.5 * w - square)


def _log_probability(z: Array) -> Array:
    """log(Phi(z[1]) - Phi(z[0])), formed in the tail where nothing is lost."""
    tail = special.log_ndtr(np.where(z[0] > 0, -z[::-1], z))
    return np.asarray(tail[1] + np.log(-np.expm1(tail[0] - tail[1])))


def _fill_bounds(out: Array, rows: Rows, mu: Array, tau2: Array) -> None:
    v2 = 1.0 / rows.total  # curvature of v(mu)
    v1 = mu * v2  # its slope
    inv = 1.0 / (rows.base + 0.5 * mu * v1 + tau2)
    root = np.sqrt(inv)
    z = np.empty((2, *out.shape[1:]))
    z[0] = rows.low - mu
    z[1] = rows.high - mu
    z *= root
    log_p = _log_probability(z)
    # +-phi(z) / P summed over the ends, times powers of z. An infinite end contributes nothing.
    a = _SIGNS * np.exp(-0.5 * (z * z + _LOG_2PI) - log_p)
    z[np.isinf(z)] = 0.0
    s0 = a[0] + a[1]
    a *= z
    s1 = a[0] + a[1]
    a *= z
    s2 = a[0] + a[1]
    a *= z
    s3 = a[0] + a[1]
    # Derivatives of P over P, in the mean alone and in the variance s alone ...
    p_m = -root * s0
    p_s = -0.5 * inv * s1
    p_ms = 0.5 * inv * root * (s0 - s2)
    p_ss = 0.25 * inv * inv * (3.0 * s1 - s3)
    # ... then in mu, which moves both, and in tau2, and of log P.
    d_m = p_m + v1 * p_s
    out[0] = log_p
    out[1] = d_m
    out[2] = p_s
    out[3] = 2.0 * p_s + v1 * (2.0 * p_ms + v1 * p_ss) + v2 * p_s - d_m * d_m
    out[4] = p_ms + v1 * p_ss - d_m * p_s
    out[5] = p_ss - p_s * p_s


def row_terms(rows: Rows, theta: Array) -> Array:
    """Log-likelihood of each row and its derivatives in the row's mean m and in tau2 t, shape (6, B, k).

    In this order: f, f_m, f_t, f_mm, f_mt, f_tt.
    """
    kp, kb = rows.y.shape[1], rows.low.shape[1]
    tau2 = theta[:, -1:]
    out = np.empty((6, len(theta), kp + kb))
    if rows.x is None:
        points = bounds = theta[:, :1]
    else:
        mu = means(rows.x, theta[:, :-1])
        points, bounds = mu[:, :kp], mu[:, kp:]
    if kp:
        _fill_points(out[:, :, :kp], rows.y, rows.v, points, tau2)
    if kb:
        _fill_bounds(out[:, :, kp:], rows, bounds, tau2)
    return out


def means(x: Array, beta: Array) -> Array:
    """Model means of the rows, shape (B, k)."""
    if x.shape[0] == 1:
        return np.asarray(beta @ x[0].T)
    return np.asarray((x @ beta[:, :, None])[:, :, 0])


def value(rows: Rows, theta: Array) -> Array:
    """The log-likelihood alone, per table, at theta = (beta, tau2) of shape (B, p + 1)."""
    kp, kb = rows.y.shape[1], rows.low.shape[1]
    tau2 = theta[:, -1:]
    out = np.empty((len(theta), kp + kb))
    mu = theta[:, :1] if rows.x is None else means(rows.x, theta[:, :-1])
    if kp:
        w = 1.0 / (rows.v + tau2)
        out[:, :kp] = -0.5 * (_LOG_2PI - np.log(w) + w * (rows.y - (mu if rows.x is None else mu[:, :kp])) ** 2)
    if kb:
        m = mu if rows.x is None else mu[:, kp:]
        z = np.stack([rows.low - m, rows.high - m]) / np.sqrt(rows.base + 0.5 * m * m / rows.total + tau2)
        out[:, kp:] = _log_probability(z)
    return np.asarray(out.sum(axis=1) if rows.n is None else _counted(out, rows.n).sum(axis=1))


def _counted(terms: Array, n: Array) -> Array:
    """Terms of rows, shape (..., B, k), as often as they count; one that does not adds nothing, infinite or not."""
    with np.errstate(invalid="ignore"):
        out = np.asarray(terms * n)
    return np.where(n > 0, out, 0.0) if np.isnan(out).any() else out


def derivatives(rows: Rows, theta: Array) -> Derivatives:
    """Value, gradient and Hessian of the log-likelihood at theta = (beta, tau2), shape (B, p + 1).

    The caller silences divide and invalid: an impossible place gives a value that is not finite.
    """
    terms = row_terms(rows, theta)
    if rows.n is not None:
        terms = _counted(terms, rows.n)
    b, p = len(theta), rows.p
    g = np.empty((b, p + 1))
    h = np.empty((b, p + 1, p + 1))
    if rows.x is None:
        f, g[:, 0], g[:, 1], h[:, 0, 0], h[:, 0, 1], h[:, 1, 1] = terms.sum(axis=2)
        h[:, 1, 0] = h[:, 0, 1]
        return Derivatives(f, g, h)
    x = rows.x
    f, g[:, p], h[:, p, p] = terms[[0, 2, 5]].sum(axis=2)
    if x.shape[0] == 1:
        g[:, :p] = terms[1] @ x[0]
        h[:, p, :p] = terms[4] @ x[0]
        pairs = (x[0][:, :, None] * x[0][:, None, :]).reshape(x.shape[1], p * p)
        h[:, :p, :p] = (terms[3] @ pairs).reshape(b, p, p)
    else:
        g[:, :p] = (terms[1][:, None] @ x)[:, 0]
        h[:, p, :p] = (terms[4][:, None] @ x)[:, 0]
        h[:, :p, :p] = x.transpose(0, 2, 1) @ (terms[3][:, :, None] * x)
    h[:, :p, p] = h[:, p, :p]
    return Derivatives(f, g, h)
