"""Weighted regressions of many tables, and the quadratic forms of their residuals."""

from __future__ import annotations

import numpy as np

from metamiq.pooling.tables import Array, Tables, dot
from metamiq.pooling.traces import mended


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

    __slots__ = ("X", "beta", "bread", "m", "n", "nw", "nwr", "r", "t", "w", "wr")

    def __init__(self, t: Tables, w: Array) -> None:
        assert t.X is not None
        self.t, self.w = t, w
        self.X, self.n = t.X, t.n
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
        return np.asarray((self.X * f[..., None]).swapaxes(1, 2) @ self.X)

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

    def rss(self) -> Array:
        """The unweighted sum of n r^2."""
        return dot(self.r if self.t.n is None else self.t.n * self.r, self.r)

    def trP(self) -> Array:
        """The trace of P."""
        total = self.nw.sum(axis=1)
        out = np.asarray(total - self._hat_trace(self.nw * self.w))
        return mended(out, self._doubt(total), self, None)

    def trPP(self) -> Array:
        """The trace of PP."""
        nw2 = self.nw * self.w
        total = nw2.sum(axis=1)
        c2 = self.bread @ self.cross(nw2)
        out = np.asarray(total - 2.0 * self._hat_trace(nw2 * self.w) + np.einsum("bpq,bqp->b", c2, c2))
        return mended(out, self._doubt(total), self, None, None)

    def trPD(self, d: Array) -> Array:
        """The trace of P D for a diagonal D."""
        total = dot(self.nw, d)
        out = np.asarray(total - self._hat_trace(self.nw * self.w * d))
        return mended(out, self._doubt(total), self, d)

    def _doubt(self, total: Array) -> Array:
        """`total`, times how much the inverse of X'WX magnifies an error: the variance inflation of a coefficient."""
        m, bread = (np.diagonal(a, axis1=1, axis2=2) for a in (self.m, self.bread))
        return np.asarray(total * (m * bread).max(axis=1))

    def _hat_trace(self, f: Array) -> Array:
        return np.asarray(np.einsum("bpq,bqp->b", self.bread, self.cross(f)))

    def trPDPD(self, d: Array) -> Array:
        """The trace of P D P D for a diagonal D."""
        nwd = self.nw * d
        wd = self.w * d
        total = dot(nwd, wd)
        c2 = self.bread @ self.cross(nwd * self.w)
        out = np.asarray(total - 2.0 * self._hat_trace(nwd * wd * self.w) + np.einsum("bpq,bqp->b", c2, c2))
        return mended(out, self._doubt(total), self, d, d)

    def sandwich(self, d: Array) -> Array:
        """(X'WX)^-1 X'W D W X (X'WX)^-1."""
        return np.asarray(self.bread @ self.cross(self.nw * self.w * d) @ self.bread)

    def logdet(self) -> Array:
        """log |X'WX|."""
        return np.asarray(np.linalg.slogdet(self.m)[1])

    def leverage(self) -> Array:
        """Diagonal of the hat matrix, shape (B, k)."""
        if self.X.shape[0] == 1:
            return np.asarray(self.w * np.einsum("bkq,kq->bk", self.X[0] @ self.bread, self.X[0]))
        return np.asarray(self.w * np.einsum("bkq,bkq->bk", self.X @ self.bread, self.X))
