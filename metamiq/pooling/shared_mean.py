"""Weighted means of many tables that share their yi: subsets and resamples."""

from __future__ import annotations

import numpy as np

from metamiq.pooling.mean_fit import MeanFit, MeanForms
from metamiq.pooling.tables import Array, Tables

LOST = 1e-5  # a sum of squares this small beside its terms has lost five digits, and is summed anew


class SharedMeanFit(MeanForms):
    r"""Weighted mean of each table, from the sums of n w, n w^2 and n w^3 times 1, y - c, (y - c)^2 and y.

    Three products of matrices, (B, k) by (k, 4), give all of them. c is a point near the means and d what a mean
    differs from it, so that :math:`\sum w r^2 = \sum w (y - c)^2 - 2 d \sum w (y - c) + d^2 \sum w` loses few digits;
    a table that would lose more is summed from its residuals.
    """

    __slots__ = ("_d", "_first", "_second", "_third", "_weights", "a", "mu", "n", "t", "w")

    def __init__(self, t: Tables, w: Array) -> None:
        assert t.powers is not None
        self.t, self.w, self.n = t, w, t.n
        self._weights: Array | None = None  # n w or n w^2, the last that was needed
        self._second: Array | None = None
        self._third: Array | None = None
        self._first = self._sums(1)
        self.a = self._first[:, 0]
        self._d = self._first[:, 1] / self.a
        self.mu = self._first[:, 3] / self.a

    def _sums(self, power: int) -> Array:
        """Of n w^power times the columns of `Tables.powers`, shape (B, 4)."""
        basis = self.t.powers
        assert basis is not None
        if self.n is not None and self.w.shape[0] == 1:
            return np.asarray(self.n @ (self.w[0, :, None] ** power * basis))
        if power == 1 or self._weights is None:
            self._weights = self.nw
        if power == 2:
            self._weights = self._weights * self.w
        elif power == 3:
            np.multiply(self._weights, self.w, out=self._weights)
        return np.asarray(self._weights @ basis)

    @property
    def second(self) -> Array:
        """The sums of n w^2 times the same."""
        if self._second is None:
            self._second = self._sums(2)
        return self._second

    @property
    def third(self) -> Array:
        """The sums of n w^3 times the same."""
        if self._third is None:
            assert self.second is not None  # whose weights are used on
            self._third = self._sums(3)
        return self._third

    @property
    def nw(self) -> Array:  # type: ignore[override]
        """n w."""
        return self.w if self.n is None else self.n * self.w

    @property
    def s2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2."""
        return np.asarray(self.second[:, 0])

    @property
    def s3(self) -> Array:  # type: ignore[override]
        """The sum of n w^3."""
        return np.asarray(self.third[:, 0])

    @property
    def q1(self) -> Array:  # type: ignore[override]
        """The sum of n w r^2."""
        return self._sure(self._first[:, 2] - self._d * self._first[:, 1], self._first[:, 2], "q1")

    @property
    def q2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2 r^2."""
        return self._about_mean(self.second, "q2")

    @property
    def q3(self) -> Array:  # type: ignore[override]
        """The sum of n w^3 r^2."""
        return self._about_mean(self.third, "q3")

    @property
    def m2(self) -> Array:  # type: ignore[override]
        """The sum of n w^2 r."""
        return np.asarray(self.second[:, 1] - self._d * self.second[:, 0])

    def rss(self) -> Array:
        """The unweighted sum of n r^2."""
        basis = self.t.powers
        assert basis is not None
        sums = basis.sum(axis=0)[None] if self.n is None else self.n @ basis
        return self._about_mean(np.asarray(sums), "rss")

    def _about_mean(self, sums: Array, name: str) -> Array:
        d = self._d
        return self._sure(sums[:, 2] - d * (2.0 * sums[:, 1] - d * sums[:, 0]), sums[:, 2], name)

    def _sure(self, q: Array, terms: Array, name: str) -> Array:
        """`q`, and where it is small beside its terms the same from residuals."""
        lost = q < LOST * terms
        if np.count_nonzero(lost):
            rows = np.flatnonzero(lost)
            n = None if self.n is None else self.n[rows]
            exact = MeanFit(self.t._replace(n=n), self.w if self.w.shape[0] == 1 else self.w[rows])
            q[rows] = exact.rss() if name == "rss" else getattr(exact, name)
        return q
