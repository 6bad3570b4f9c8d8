"""B tables of k rows as arrays, and sums over their rows.

A row counts `n` times (`n` = 0 leaves it out, 2 doubles it), which serves masks, subsets and resampling alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metamiq.errors import DataError

Array = NDArray[np.float64]

# Between these, sums of squares and of squared weights neither overflow nor vanish.
SMALLEST, LARGEST = 1e-50, 1e50

BLOCK = 8_192  # rows of a long table summed at once: 64 KB an array


class Tables(NamedTuple):
    """B tables of k rows. Arrays with a leading 1 are shared by all tables."""

    yi: Array  # (B or 1, k)
    vi: Array  # (B or 1, k)
    n: Array | None  # (B, k): how often a row counts; None: once each
    X: Array | None  # (B or 1, k, p); None: a mean only
    k: Array  # (B,): rows counted
    p: int
    powers: Array | None = None  # (k, 4): 1, y - c, (y - c)^2 and y, for many short tables with one yi and no X

    @property
    def size(self) -> int:
        """The number of tables."""
        return len(self.k)

    @property
    def dof(self) -> Array:
        """Residual degrees of freedom, k - p, per table."""
        return self.k - self.p

    @property
    def order(self) -> Literal["F", "K"]:
        """Memory order for arrays of shape (B, k) made from rows that all tables share: that of `n`."""
        return "K" if self.n is None or self.n.flags.c_contiguous else "F"

    def take(self, rows: NDArray[np.intp] | slice) -> Tables:
        """These tables only."""

        def pick(a: Array | None) -> Array | None:
            if a is None or a.shape[0] == 1:
                return a
            # Columns stay columns: indexing alone would turn them into rows.
            return a[rows] if a.flags.c_contiguous or a.ndim == 3 else a.T[:, rows].T

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
        return Tables(yi, vi, pick(self.n), pick(self.X), self.k[rows], self.p, self.powers)


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
        return Tables(y, v, None, x, np.full(b, float(y.shape[1])), p, None if b == 1 else _powers(y, v, x))
    n = np.broadcast_to(n, (b, y.shape[1]))
    unused = n == 0
    if unused.any():
        # A row that never counts must not spread NaN through 0 * NaN, nor a zero variance through 1 / 0.
        blank = unused.all(axis=0, keepdims=True) if y.shape[0] == 1 else unused
        y = np.where(blank, 0.0, y)
        blank = unused.all(axis=0, keepdims=True) if v.shape[0] == 1 else unused
        v = np.where(blank, 1.0, v)
    _check_rows(y, v)
    return Tables(y, v, n, x, n.sum(axis=1), p, _powers(y, v, x))


def _powers(y: Array, v: Array, x: Array | None) -> Array | None:
    if x is not None or y.shape[0] > 1 or y.shape[1] > 2 * BLOCK:
        return None
    # c is near the mean of every table that has the heavy rows; the others show that they lose digits.
    w = 1.0 / v[0]
    out = np.empty((y.shape[1], 4))
    out[:, 0], out[:, 3] = 1.0, y[0]
    np.subtract(y[0], (w @ y[0]) / w.sum(), out=out[:, 1])
    np.multiply(out[:, 1], out[:, 1], out=out[:, 2])
    return out


def by_columns(t: Tables) -> Tables:
    """The same tables, laid out column by column when they are many and short: sums over a row then run in parallel."""
    if t.size < 16 or t.yi.shape[1] > 64:
        return t
    return t._replace(
        yi=np.asfortranarray(t.yi), vi=np.asfortranarray(t.vi), n=None if t.n is None else np.asfortranarray(t.n)
    )


def _check_rows(y: Array, v: Array) -> None:
    # One reduction each: a NaN spreads into a minimum and fails its comparison.
    if y.shape[1] == 0:
        raise DataError("There must be at least one effect size to pool, but the table is empty.")
    if v.min() >= SMALLEST and v.max() <= LARGEST and y.min() >= -LARGEST and y.max() <= LARGEST:
        return
    bad = ~np.isfinite(y) | ~np.isfinite(v) | (v <= 0)
    rule, advice = UNDEFINED
    if not bad.any():
        bad, (rule, advice) = out_of_range(y, v), TOO_LARGE
    table, row = np.argwhere(bad)[0]
    raise DataError(
        f"{rule}, but row {row + 1} has yi = {y[min(table, len(y) - 1), row]:g} and vi = "
        f"{v[min(table, len(v) - 1), row]:g} ({bad.sum()} such rows in all). {advice}"
    )


#: What must hold for each row, and what to do when it does not.
UNDEFINED = (
    "yi must be finite and vi finite and greater than 0",
    "Leave such rows out, or correct them against their source.",
)
TOO_LARGE = (
    f"yi must be at most {LARGEST:g} in size and vi lie between {SMALLEST:g} and {LARGEST:g}",
    "Express the effects in another unit.",
)


def out_of_range(y: Array, v: Array) -> NDArray[np.bool_]:
    """Rows whose squares would overflow or vanish."""
    return np.asarray((np.abs(y) > LARGEST) | (v < SMALLEST) | (v > LARGEST))


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
