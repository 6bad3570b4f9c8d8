r"""Traces of P with all their digits, where a few rows have nearly all the weight.

:math:`P = W - W X (X'WX)^{-1} X'W` is the difference of two large matrices when p rows outweigh the others: they fit
their own coefficients, and what is left for P comes from the light rows. So the heaviest p independent rows, b, are
set apart. With :math:`Z = W^{1/2} X`, :math:`F = Z Z_b^{-1}` for the other rows, :math:`S = F'F` and
:math:`M = (I + S)^{-1}`, the blocks of P are

.. math:: W^{1/2} (I - F M F') W^{1/2}, \quad -W_b^{1/2} M F' W^{1/2}, \quad W_b^{1/2} S M W_b^{1/2}

for other with other rows, heavy with other and heavy with heavy rows, and nothing cancels: F has no large entries.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metamiq.pooling.tables import Array

DOUBTFUL = 1e-6  # a trace that is this small beside the sums it is the difference of has lost digits


class Split(NamedTuple):
    """The blocks of P for B tables: heavy rows and all rows, of which `m` counts those that are not set apart."""

    w: Array  # (B, k)
    m: Array  # (B, k)
    f: Array  # (B, k, p)
    h: Array  # (B, k): diagonal of F M F'
    M: Array  # (B, p, p)
    SM: Array  # (B, p, p)
    heavy: NDArray[np.intp]  # (B, p): row numbers
    w_heavy: Array  # (B, p)

    def trPD(self, d: Array) -> Array:
        """tr(P D) for a diagonal D of shape (B, k)."""
        own = np.take_along_axis(d, self.heavy, axis=1) * self.w_heavy
        others = (self.m * self.w * d * (1.0 - self.h)).sum(axis=1)
        return np.asarray(others + (own * np.diagonal(self.SM, axis1=1, axis2=2)).sum(axis=1))

    def trPDPD(self, d: Array) -> Array:
        """tr(P D P D) for a diagonal D of shape (B, k)."""
        own = np.take_along_axis(d, self.heavy, axis=1) * self.w_heavy
        wd = self.w * d
        T = np.einsum("bk,bkp,bkq->bpq", self.m * wd, self.f, self.f)
        MT = self.M @ T
        others = (self.m * wd * wd * (1.0 - 2.0 * self.h)).sum(axis=1) + np.einsum("bpq,bqp->b", MT, MT)
        between = (own * np.diagonal(MT @ self.M, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(others + 2.0 * between + np.einsum("bp,bpq,bq->b", own, self.SM**2, own))


def split(X: Array, w: Array, n: Array | None) -> Split:
    """Set the heaviest p independent rows of each table apart.

    `X` has shape (B, k, p), `w` (B, k) and `n` (B, k) or None: how often a row counts. NaN where there are not p such
    rows that count at least once.
    """
    size, k, p = X.shape
    n = np.ones((size, k)) if n is None else n
    X = X / np.abs(X).max(axis=1, keepdims=True)
    root = np.sqrt(w)
    # Rows are taken in the order of what the ones before them leave of their weighted length.
    left = np.where(n >= 1.0, root, 0.0)[:, :, None] * X
    heavy = np.empty((size, p), dtype=np.intp)
    each = np.arange(size)
    for j in range(p):
        heavy[:, j] = np.einsum("bkp,bkp->bk", left, left).argmax(axis=1)
        unit = left[each, heavy[:, j]]
        length = np.sqrt((unit * unit).sum(axis=1, keepdims=True))
        unit = np.divide(unit, length, out=np.zeros_like(unit), where=length > 0)
        left = left - (left @ unit[:, :, None]) * unit[:, None, :]
    own = X[each[:, None], heavy]
    w_heavy = np.take_along_axis(w, heavy, axis=1)
    fine = np.linalg.cond(own) < 1e13
    own[~fine] = np.eye(p)
    f = np.asarray(np.linalg.solve(own.swapaxes(1, 2), X.swapaxes(1, 2)).swapaxes(1, 2), dtype=np.float64)
    f *= root[:, :, None] / np.sqrt(w_heavy)[:, None, :]
    f[~fine] = np.nan
    m = np.array(n, dtype=np.float64)
    np.put_along_axis(m, heavy, np.take_along_axis(m, heavy, axis=1) - 1.0, axis=1)
    S = np.einsum("bk,bkp,bkq->bpq", m, f, f)
    M = np.linalg.inv(np.eye(p) + S)
    h = np.asarray(np.einsum("bkp,bpq,bkq->bk", f, M, f))
    return Split(w, m, f, h, np.asarray(M), np.asarray(S @ M), heavy, w_heavy)


class Weighted(Protocol):
    """A weighted fit: its design (None for a mean), weights and counts, with one row per table or one row for all."""

    @property
    def X(self) -> Array | None: ...  # noqa: D102
    @property
    def w(self) -> Array: ...  # noqa: D102
    @property
    def n(self) -> Array | None: ...  # noqa: D102


def mended(out: Array, large: Array, fit: Weighted, *ds: Array | None) -> Array:
    """`out`, traces that were formed as differences, formed anew where these lost their digits.

    `large` is the size of what was subtracted, times what magnified its errors. One `d` stands for tr(P D), two for
    tr(P D P D); None is the identity.
    """
    lost = out < DOUBTFUL * large
    if not np.count_nonzero(lost):  # quicker than any() on few numbers
        return out
    doubtful = np.flatnonzero(lost)

    def some(a: Array) -> Array:
        return np.broadcast_to(a[doubtful] if a.shape[0] > 1 else a, (len(doubtful), *a.shape[1:]))

    X, w, n = fit.X, fit.w, fit.n
    s = split(some(np.ones((1, w.shape[1], 1)) if X is None else X), some(w), None if n is None else some(n))
    d = np.ones_like(s.w) if ds[0] is None else some(ds[0])
    new = s.trPD(d) if len(ds) == 1 else s.trPDPD(d)
    out[doubtful] = np.where(np.isfinite(new), new, out[doubtful])
    return out
