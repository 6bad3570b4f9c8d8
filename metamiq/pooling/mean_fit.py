"""Weighted means of many tables, and the quadratic forms of their residuals."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from metamiq.pooling.tables import BLOCK, Array, Tables, dot
from metamiq.pooling.traces import mended


class MeanForms:
    """Quadratic forms of the residuals of a weighted mean, from sums that a subclass provides.

    With r the residuals: `a`, `s2`, `s3` are the sums of n w, n w^2, n w^3, and `q1`, `q2`, `q3`, `m2` those of
    n w r^2, n w^2 r^2, n w^3 r^2, n w^2 r.
    """

    __slots__ = ()

    a: Array
    mu: Array
    s2: Array
    s3: Array
    q1: Array
    q2: Array
    q3: Array
    m2: Array
    w: Array
    nw: Array
    n: Array | None
    X: ClassVar[None] = None  # a mean has no design

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
        return self.q1

    def yPPy(self) -> Array:
        """y'PPy."""
        return self.q2

    def yPPPy(self) -> Array:
        """y'PPPy."""
        return np.asarray(self.q3 - self.m2**2 / self.a)

    def trP(self) -> Array:
        """The trace of P."""
        return mended(np.asarray(self.a - self.s2 / self.a), self.a, self, None)

    def trPP(self) -> Array:
        """The trace of PP."""
        ratio = self.s2 / self.a
        out = np.asarray(self.s2 - 2.0 * self.s3 / self.a + ratio * ratio)
        return mended(out, self.s2, self, None, None)

    def sums(self) -> tuple[Array, Array]:
        """The sums of the weights and of their squares."""
        return self.a, self.s2

    def trPD(self, d: Array) -> Array:
        """The trace of P D for a diagonal D."""
        total = dot(self.nw, d)
        out = np.asarray(total - dot(self.nw * self.w, d) / self.a)
        return mended(out, total, self, d)

    def trPDPD(self, d: Array) -> Array:
        """The trace of P D P D for a diagonal D."""
        wd = self.w * d
        nwd = self.nw * d
        total = dot(nwd, wd)
        ratio = dot(nwd, self.w) / self.a
        out = np.asarray(total - 2.0 * dot(nwd * wd, self.w) / self.a + ratio * ratio)
        return mended(out, total, self, d, d)

    def sandwich(self, d: Array) -> Array:
        """(X'WX)^-1 X'W D W X (X'WX)^-1, the covariance of the coefficients when the data have variance D."""
        return np.asarray(dot(self.nw * self.w, d) / self.a**2)[:, None, None]

    def logdet(self) -> Array:
        """log |X'WX|."""
        return np.asarray(np.log(self.a))

    def leverage(self) -> Array:
        """Diagonal of the hat matrix, shape (B, k)."""
        return np.asarray(self.w / self.a[:, None])


class MeanFit(MeanForms):
    """Weighted mean of each table; what only some estimators need is computed when asked for."""

    __slots__ = ("_nwr", "_r", "_s2", "_wr", "a", "mu", "n", "nw", "t", "w")

    def __init__(self, t: Tables, w: Array) -> None:
        self.t, self.w, self.n = t, w, t.n
        self.nw = w if t.n is None else t.n * w
        self.a = self.nw.sum(axis=1)
        self.mu = dot(self.nw, t.yi) / self.a
        self._s2: Array | None = None
        self._r: Array | None = None
        self._wr: Array | None = None
        self._nwr: Array | None = None

    @property
    def r(self) -> Array:
        """Residuals."""
        if self._r is None:
            self._r = np.subtract(self.t.yi, self.mu[:, None], order=self.t.order)
        return self._r

    @property
    def nwr(self) -> Array:
        """n w r."""
        if self._nwr is None:
            self._nwr = self.nw * self.r
        return self._nwr

    @property
    def wr(self) -> Array:
        """w r."""
        if self._wr is None:
            self._wr = self.nwr if self.t.n is None else self.w * self.r
        return self._wr

    @property
    def s2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2."""
        if self._s2 is None:
            self._s2 = dot(self.nw, self.w)
        return self._s2

    @property
    def s3(self) -> Array:  # type: ignore[override]
        """The sum of n w^3."""
        return dot(self.nw, self.w * self.w)

    @property
    def q1(self) -> Array:  # type: ignore[override]
        """The sum of n w r^2."""
        return dot(self.nwr, self.r)

    @property
    def q2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2 r^2."""
        return dot(self.nwr, self.wr)

    @property
    def q3(self) -> Array:  # type: ignore[override]
        """The sum of n w^3 r^2."""
        return dot(self.nwr, self.w * self.wr)

    @property
    def m2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2 r."""
        return dot(self.nwr, self.w)

    def rss(self) -> Array:
        """The unweighted sum of n r^2."""
        return dot(self.r if self.t.n is None else self.t.n * self.r, self.r)


class LongMeanFit(MeanForms):
    """Weighted mean of one table too long for the cache, block by block.

    Arrays of a million rows cost more in fresh memory than in arithmetic; a block's stay where they are.
    """

    __slots__ = ("_tau2", "_vi", "a", "m2", "mu", "n", "q1", "q2", "q3", "residual_ss", "s2", "s3")

    def __init__(self, t: Tables, tau2: float) -> None:
        y, v = t.yi[0], t.vi[0]
        self._vi, self._tau2, self.n = t.vi, tau2, None
        blocks = [slice(i, i + BLOCK) for i in range(0, len(y), BLOCK)]
        first = np.zeros(2)
        for block in blocks:
            w = 1.0 / (v[block] + tau2)
            first += w.sum(), w @ y[block]
        mu = first[1] / first[0]
        second = np.zeros(7)
        for block in blocks:
            w = 1.0 / (v[block] + tau2)
            r = y[block] - mu
            wr, w2 = w * r, w * w
            second += wr @ r, wr @ wr, (w * wr) @ wr, wr @ w, w @ w, w2 @ w, r @ r
        self.a, self.mu = first[:1], np.array([mu])
        self.q1, self.q2, self.q3, self.m2, self.s2, self.s3, self.residual_ss = second[:, None]

    @property
    def w(self) -> Array:  # type: ignore[override]
        """All weights, shape (1, k)."""
        return np.asarray(1.0 / (self._vi + self._tau2))

    @property
    def nw(self) -> Array:  # type: ignore[override]
        """The same: every row counts once."""
        return self.w

    def rss(self) -> Array:
        """The unweighted sum of r^2."""
        return np.asarray(self.residual_ss)
