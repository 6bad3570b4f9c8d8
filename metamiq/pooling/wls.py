r"""Weighted least squares for many tables at once: the sums from which every univariate model is built.

With weights :math:`w_i` and design :math:`X` (a column of ones when there are no moderators), everything here is a
function of

.. math:: P = W - W X (X'WX)^{-1} X'W

which is never formed: each quantity is a handful of sums over the rows of a table, so costs are linear in k.
A row counts `n` times (`n` = 0 leaves it out, 2 doubles it), which serves masks, subsets and resampling alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metamiq.errors import DataError

Array = NDArray[np.float64]


class Tables(NamedTuple):
    """B tables of k rows. Arrays with a leading 1 are shared by all tables."""

    yi: Array  # (B or 1, k)
    vi: Array  # (B or 1, k)
    n: Array | None  # (B, k): how often a row counts; None: once each
    X: Array | None  # (B or 1, k, p); None: a mean only
    k: Array  # (B,): rows counted
    p: int

    @property
    def size(self) -> int:
        """The number of tables."""
        return len(self.k)

    @property
    def dof(self) -> Array:
        """Residual degrees of freedom, k - p, per table."""
        return self.k - self.p

    def take(self, rows: NDArray[np.intp] | slice) -> Tables:
        """These tables only."""

        def pick(a: Array | None) -> Array | None:
            return a if a is None or a.shape[0] == 1 else a[rows]

        if (
            self.n is None
            and self.yi.shape[0] == 1
            and self.vi.shape[0] == 1
            and (self.X is None or self.X.shape[0] == 1)
        ):
            return self._replace(k=self.k[rows])
        yi, vi = pick(self.yi), pick(self.vi)
        assert yi is not None
        assert vi is not None
        return Tables(yi, vi, pick(self.n), pick(self.X), self.k[rows], self.p)


def tables(
    yi: ArrayLike,
    vi: ArrayLike,
    X: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Tables:
    """Bring arrays of shape (k,) or (B, k) into the form that the sums need.

    `mask` (True: counted) and `weights` (how often each row counts) have shape (k,) or (B, k). Rows that do not
    count may hold anything, NaN included.
    """
    y = np.atleast_2d(np.asarray(yi, dtype=float))
    v = np.atleast_2d(np.asarray(vi, dtype=float))
    x = None
    p = 1
    if X is not None:
        x = np.asarray(X, dtype=float)
        x = x[None] if x.ndim == 2 else x
        p = x.shape[2]
    n: Array | None = None
    if weights is not None:
        n = np.atleast_2d(np.asarray(weights, dtype=float))
    if mask is not None:
        counted = np.atleast_2d(np.asarray(mask, dtype=bool))
        n = counted.astype(float) if n is None else n * counted
    if y.shape[1] != v.shape[1]:
        raise DataError(
            f"yi and vi must have the same length, but they have {y.shape[1]} and {v.shape[1]}. "
            "Give one sampling variance per effect size."
        )
    b = max(y.shape[0], v.shape[0], 1 if x is None else x.shape[0], 1 if n is None else n.shape[0])
    if n is None:
        _check_rows(y, v)
        return Tables(y, v, None, x, np.full(b, float(y.shape[1])), p)
    n = np.broadcast_to(n, (b, y.shape[1]))
    unused = n == 0
    if unused.any():
        # A row that never counts must not spread NaN through 0 * NaN, nor a zero variance through 1 / 0.
        blank = unused.all(axis=0, keepdims=True) if y.shape[0] == 1 else unused
        y = np.where(blank, 0.0, y)
        blank = unused.all(axis=0, keepdims=True) if v.shape[0] == 1 else unused
        v = np.where(blank, 1.0, v)
    _check_rows(y, v)
    return Tables(y, v, n, x, n.sum(axis=1), p)


def by_columns(t: Tables) -> Tables:
    """The same tables, laid out column by column when they are many and short: sums over a row then run in parallel."""
    if t.size < 16 or t.yi.shape[1] > 64:
        return t
    return t._replace(
        yi=np.asfortranarray(t.yi), vi=np.asfortranarray(t.vi), n=None if t.n is None else np.asfortranarray(t.n)
    )


def _check_rows(y: Array, v: Array) -> None:
    # One reduction each: NaN and infinities spread into a sum, and a minimum finds the sign.
    if y.shape[1] == 0:
        raise DataError("There must be at least one effect size to pool, but the table is empty.")
    if v.min() > 0 and np.isfinite(y.sum() + v.sum()):
        return
    ok = np.isfinite(y) & np.isfinite(v) & (v > 0)
    if ok.all():
        return  # only the sum overflowed
    table, row = np.argwhere(~ok)[0]
    raise DataError(
        f"yi must be finite and vi finite and greater than 0, but row {row} has yi = "
        f"{y[min(table, len(y) - 1), row]:g} and vi = {v[min(table, len(v) - 1), row]:g} "
        f"({(~ok).sum()} such rows in all). Leave such rows out, or correct them against their source."
    )


def row_sum(t: Tables, f: Array) -> Array:
    """The sum over rows of n f, per table; `f` has shape (B or 1, k)."""
    if t.n is None:
        return np.asarray(f.sum(axis=1))
    if f.shape[0] == 1:
        return np.asarray(t.n @ f[0])
    return np.asarray(np.einsum("bk,bk->b", t.n, f))


def dot(a: Array, b: Array) -> Array:
    """Row-wise inner products of (B, k) arrays; either may have a leading 1 that stands for all rows."""
    if a.shape[0] == b.shape[0]:
        if a.shape[0] > 1 and not (a.flags.c_contiguous and b.flags.c_contiguous):
            return np.asarray(np.einsum("bk,bk->b", a, b))  # twice as fast as vecdot on columns
        return np.asarray(np.vecdot(a, b))
    return np.asarray(a @ b[0] if b.shape[0] == 1 else b @ a[0])


class MeanFit:
    """Weighted mean of each table, and the quadratic forms of its residuals."""

    __slots__ = ("_s2", "a", "mu", "nw", "nwr", "r", "t", "w", "wr")

    def __init__(self, t: Tables, w: Array) -> None:
        self.t, self.w = t, w
        self.nw = w if t.n is None else t.n * w
        self.a = self.nw.sum(axis=1)
        self.mu = dot(self.nw, t.yi) / self.a
        self.r = t.yi - self.mu[:, None]
        self.wr = w * self.r
        self.nwr = self.wr if t.n is None else t.n * self.wr
        self._s2: Array | None = None

    @property
    def s2(self) -> Array:
        """The sum of n w^2."""
        if self._s2 is None:
            self._s2 = dot(self.nw, self.w)
        return self._s2

    @property
    def beta(self) -> Array:
        """Coefficients, shape (B, 1)."""
        return np.asarray(self.mu[:, None])

    @property
    def bread(self) -> Array:
        """(X'WX)^-1, shape (B, 1, 1)."""
        return np.asarray(1.0 / self.a)[:, None, None]

    def yPy(self) -> Array:
        """Weighted residual sum of squares: Cochran's Q for these weights."""
        return dot(self.nwr, self.r)

    def yPPy(self) -> Array:
        """y'PPy."""
        return dot(self.nwr, self.wr)

    def yPPPy(self) -> Array:
        """y'PPPy."""
        ww = self.w * self.wr
        return np.asarray(dot(self.nwr, ww) - dot(self.nwr, self.w) ** 2 / self.a)

    def trP(self) -> Array:
        """The trace of P."""
        return np.asarray(self.a - self.s2 / self.a)

    def trPP(self) -> Array:
        """The trace of PP."""
        m2 = self.s2 / self.a
        return np.asarray(self.s2 - 2.0 * dot(self.nw, self.w * self.w) / self.a + m2 * m2)

    def sums(self) -> tuple[Array, Array]:
        """The sums of the weights and of their squares."""
        return self.a, self.s2

    def trPD(self, d: Array) -> Array:
        """The trace of P D for a diagonal D."""
        return np.asarray(dot(self.nw, d) - dot(self.nw * self.w, d) / self.a)

    def trPDPD(self, d: Array) -> Array:
        """The trace of P D P D for a diagonal D."""
        wd = self.w * d
        nwd = self.nw * d
        m2 = dot(nwd, self.w) / self.a
        return np.asarray(dot(nwd, wd) - 2.0 * dot(nwd * wd, self.w) / self.a + m2 * m2)

    def sandwich(self, d: Array) -> Array:
        """(X'WX)^-1 X'W D W X (X'WX)^-1, the covariance of the coefficients when the data have variance D."""
        return np.asarray(dot(self.nw * self.w, d) / self.a**2)[:, None, None]

    def logdet(self) -> Array:
        """log |X'WX|."""
        return np.asarray(np.log(self.a))

    def leverage(self) -> Array:
        """Diagonal of the hat matrix, shape (B, k)."""
        return np.asarray(self.w / self.a[:, None])


def _inverse(m: Array) -> Array:
    """Inverses of small symmetric positive definite matrices, NaN where there is none."""
    p = m.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        if p == 1:
            return np.asarray(1.0 / m)
        if p == 2:
            a, b, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 1]
            det = a * d - b * b
            # The same rank test that a Cholesky factor would fail by.
            det = np.where(det > 1e-14 * a * d, det, np.nan)
            out = np.empty_like(m)
            out[:, 0, 0], out[:, 1, 1] = d / det, a / det
            out[:, 0, 1] = out[:, 1, 0] = -b / det
            return out
        # Columns of very different size (a year beside a dose) must not look singular: scale to unit diagonal.
        scale = 1.0 / np.sqrt(np.diagonal(m, axis1=1, axis2=2))
        unit = m * scale[:, :, None] * scale[:, None, :]
        fine = np.asarray(np.isfinite(unit).all(axis=(1, 2)))
        fine[fine] = np.linalg.cond(unit[fine]) < 1e13
        out = np.full_like(m, np.nan)
        out[fine] = np.linalg.inv(unit[fine])
        return np.asarray(out * scale[:, :, None] * scale[:, None, :])


class RegressionFit:
    """Weighted regression of each table on its design, and the quadratic forms of its residuals."""

    __slots__ = ("X", "beta", "bread", "m", "nw", "nwr", "r", "t", "w", "wr")

    def __init__(self, t: Tables, w: Array) -> None:
        assert t.X is not None
        self.t, self.w = t, w
        self.X = t.X
        self.nw = w if t.n is None else t.n * w
        self.m = self.cross(self.nw)
        self.bread = _inverse(self.m)
        self.beta = (self.bread @ self.xsum(self.nw * t.yi)[..., None])[..., 0]
        self.r = t.yi - self.fitted(self.beta)
        self.wr = w * self.r
        self.nwr = self.wr if t.n is None else t.n * self.wr

    def fitted(self, beta: Array) -> Array:
        """X beta, shape (B, k)."""
        if self.X.shape[0] == 1:
            return np.asarray(beta @ self.X[0].T)
        return np.asarray(np.einsum("bkp,bp->bk", self.X, beta))

    def xsum(self, f: Array) -> Array:
        """X'f for f of shape (B, k)."""
        if self.X.shape[0] == 1:
            return np.asarray(f @ self.X[0])
        return np.asarray(np.einsum("bkp,bk->bp", self.X, f))

    def cross(self, f: Array) -> Array:
        """X' diag(f) X, shape (B, p, p)."""
        if self.X.shape[0] == 1:
            x = self.X[0]
            pairs = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
            return np.asarray((f @ pairs).reshape(-1, x.shape[1], x.shape[1]))
        return np.asarray(np.einsum("bkp,bk,bkq->bpq", self.X, f, self.X, optimize=True))

    def yPy(self) -> Array:
        """Weighted residual sum of squares."""
        return dot(self.nwr, self.r)

    def yPPy(self) -> Array:
        """y'PPy."""
        return dot(self.nwr, self.wr)

    def yPPPy(self) -> Array:
        """y'PPPy."""
        h = self.xsum(self.nwr * self.w)
        return np.asarray(dot(self.nwr, self.w * self.wr) - np.einsum("bp,bpq,bq->b", h, self.bread, h))

    def sums(self) -> tuple[Array, Array]:
        """The sums of the weights and of their squares."""
        return self.nw.sum(axis=1), dot(self.nw, self.w)

    def trP(self) -> Array:
        """The trace of P."""
        return np.asarray(self.nw.sum(axis=1) - self._hat_trace(self.nw * self.w))

    def trPP(self) -> Array:
        """The trace of PP."""
        nw2 = self.nw * self.w
        c2 = self.bread @ self.cross(nw2)
        return np.asarray(nw2.sum(axis=1) - 2.0 * self._hat_trace(nw2 * self.w) + np.einsum("bpq,bqp->b", c2, c2))

    def trPD(self, d: Array) -> Array:
        """The trace of P D for a diagonal D."""
        return np.asarray(dot(self.nw, d) - self._hat_trace(self.nw * self.w * d))

    def _hat_trace(self, f: Array) -> Array:
        return np.asarray(np.einsum("bpq,bqp->b", self.bread, self.cross(f)))

    def trPDPD(self, d: Array) -> Array:
        """The trace of P D P D for a diagonal D."""
        nwd = self.nw * d
        wd = self.w * d
        c2 = self.bread @ self.cross(nwd * self.w)
        return np.asarray(dot(nwd, wd) - 2.0 * self._hat_trace(nwd * wd * self.w) + np.einsum("bpq,bqp->b", c2, c2))

    def sandwich(self, d: Array) -> Array:
        """(X'WX)^-1 X'W D W X (X'WX)^-1."""
        return np.asarray(self.bread @ self.cross(self.nw * self.w * d) @ self.bread)

    def logdet(self) -> Array:
        """log |X'WX|."""
        return np.asarray(np.linalg.slogdet(self.m)[1])

    def leverage(self) -> Array:
        """Diagonal of the hat matrix, shape (B, k)."""
        if self.X.shape[0] == 1:
            half = np.einsum("kp,bpq->bkq", self.X[0], self.bread)
            return np.asarray(self.w * np.einsum("bkq,kq->bk", half, self.X[0]))
        return np.asarray(self.w * np.einsum("bkp,bpq,bkq->bk", self.X, self.bread, self.X, optimize=True))


Fit = MeanFit | RegressionFit


def fit(t: Tables, w: Array) -> Fit:
    """The weighted fit of each table with weights `w` of shape (B or 1, k), `n` not included."""
    return MeanFit(t, w) if t.X is None else RegressionFit(t, w)


def fit_tau2(t: Tables, tau2: Array) -> Fit:
    """The fit with weights 1 / (vi + tau2); `tau2` has one value per table, or one for all."""
    return fit(t, 1.0 / (t.vi + np.asarray(tau2)[:, None]))


def fixed_effect_fit(t: Tables) -> Fit:
    """The fit with weights 1 / vi."""
    return fit(t, 1.0 / t.vi)
