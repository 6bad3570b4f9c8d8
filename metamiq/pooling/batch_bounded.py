"""Many fits of points and bounds at once, through the same likelihood and search as a single fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metamiq.arguments import check_level
from metamiq.errors import DataError
from metamiq.pooling import bounded_profile as profiles
from metamiq.pooling import bounded_search as search
from metamiq.pooling.bounded import NARROWEST, one_sided, stops_everywhere
from metamiq.pooling.bounded_likelihood import Rows, derivatives
from metamiq.pooling.wls import Array
from metamiq.tails import critical_value, two_sided_p

# Rows times columns held at once: the working arrays of a chunk stay in the second-level cache.
_CHUNK = 8_192

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class BoundedBatch:
    """B fits of points and bounds. Arrays have shape (B,), or (B, p) for coefficients when a design X was given.

    NaN in every array, and `ok` False, where a table has no maximum: no row counts, or nothing stops the mean on one
    side.
    """

    estimate: Array
    se: Array  # from the observed information; tau2 is held when it is 0
    tau2: Array
    loglik: Array
    k_points: Array  # rows that count, each as often as it does
    k_bounds: Array
    ok: Mask
    level: float
    rows: Rows = field(repr=False)

    @property
    def k(self) -> Array:
        """Rows that count: points and bounds."""
        return self.k_points + self.k_bounds

    def _theta(self) -> Array:
        return np.column_stack([self.estimate, self.tau2])

    def ci(self, level: float | None = None) -> tuple[Array, Array]:
        """Both ends of the profile-likelihood intervals; infinite where the likelihood never falls far enough."""
        drop = profiles.interval_drop(self.level if level is None else level)
        z = float(critical_value(self.level if level is None else level))
        low, high = np.full(self.estimate.shape, np.nan), np.full(self.estimate.shape, np.nan)
        theta, p = self._theta(), self.rows.p
        se = self.se.reshape(len(theta), p)
        at = np.flatnonzero(self.ok)
        for part in _pieces(self.rows, at):
            rows = self.rows.take(part)
            for j in range(p):
                first = np.where(se[part, j] > 0, se[part, j], 0.1) * z  # false for NaN
                ends = profiles.profile_ends(rows, theta[part], self.loglik[part], j, drop, first)
                low.reshape(len(theta), p)[part, j], high.reshape(len(theta), p)[part, j] = ends.T
        return low, high

    @property
    def ci_low(self) -> Array:
        """Lower end of the profile-likelihood interval at `level`."""
        return self.ci()[0]

    @property
    def ci_high(self) -> Array:
        """Upper end of the profile-likelihood interval at `level`."""
        return self.ci()[1]

    @property
    def p_value(self) -> Array:
        """Likelihood-ratio p-value of each coefficient being 0."""
        out = np.full(self.estimate.shape, np.nan)
        theta, p = self._theta(), self.rows.p
        for part in _pieces(self.rows, np.flatnonzero(self.ok)):
            for j in range(p):
                f = profiles.profile(self.rows.take(part), theta[part], j, np.zeros(len(part))).f
                root = np.sqrt(2.0 * np.maximum(self.loglik[part] - f, 0.0))
                out.reshape(len(theta), p)[part, j] = two_sided_p(root)
        return out


def random_effects_bounded(
    yi: ArrayLike,
    vi: ArrayLike,
    yi_low: ArrayLike,
    yi_high: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    mask: ArrayLike | None = None,
    X: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> BoundedBatch:
    """Random-effects models of points and bounds by maximum likelihood, many tables at once.

    Parameters
    ----------
    yi, vi : array_like, shape (B, k) or (k,)
        Effect sizes and sampling variances of points; NaN where a row is a bound. One row of shape (k,) is shared by
        all tables, here and below.
    yi_low, yi_high : array_like, shape (B, k) or (k,)
        Ends of bounds, infinite where open; not read where a row is a point.
    n1i, n2i : array_like, shape (B, k) or (k,)
        Arm sizes of bounds, >= 2; not read where a row is a point.
    mask : array_like of bool, shape (B, k), optional
        True where a row counts. Rows left out may hold anything.
    X : array_like, shape (k, p) or (B, k, p), optional
        Design with its intercept column.
    weights : array_like, shape (B, k), optional
        How often each row counts, as in resampling.
    level : float
        Coverage of the profile-likelihood intervals, which are computed when asked.

    Returns
    -------
    BoundedBatch
        Arrays of shape (B,); coefficients (B, p) with `X`. NaN, and `ok` False, where there is no maximum.

    Raises
    ------
    DataError
        If a row that counts is neither a point (finite yi, vi > 0) nor a bound (yi_low < yi_high, arms of at
        least 2).

    Examples
    --------
    >>> nan, inf = np.nan, np.inf
    >>> fits = random_effects_bounded(
    ...     [0.30, 0.62, nan, nan], [0.05, 0.04, nan, nan], [nan, nan, -0.45, 0.44], [nan, nan, 0.45, inf],
    ...     [40, 50, 40, 42], [41, 52, 39, 40], mask=[[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
    >>> print([f"{g:.3f}" for g in fits.estimate], fits.ok.tolist())
    ['0.467', '0.478', 'nan'] [True, True, False]
    """
    check_level(level)
    arrays = [np.atleast_2d(np.asarray(a, dtype=float)) for a in (yi, vi, yi_low, yi_high, n1i, n2i)]
    x = None if X is None else np.asarray(X, dtype=float)
    rows, pinned, side = _rows(arrays, mask, weights, x if x is None or x.ndim == 3 else x[None])
    parts = [_fit(rows.take(part), pinned[part], side[part]) for part in _pieces(rows, np.arange(rows.size))]
    theta, se, f, ok = (np.concatenate(a) for a in zip(*parts, strict=True))
    counts = np.ones((rows.size, pinned.shape[1])) if rows.n is None else np.broadcast_to(rows.n, pinned.shape)
    kp = rows.y.shape[1]
    mean_only = X is None
    return BoundedBatch(
        estimate=theta[:, 0] if mean_only else theta[:, :-1],
        se=se[:, 0] if mean_only else se,
        tau2=theta[:, -1],
        loglik=f,
        k_points=counts[:, :kp].sum(axis=1),
        k_bounds=counts[:, kp:].sum(axis=1),
        ok=ok,
        level=level,
        rows=rows,
    )


def _pieces(rows: Rows, at: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    size = max(1, _CHUNK // max(1, rows.y.shape[1] + rows.low.shape[1]))
    for start in range(0, len(at), size):
        yield at[start : start + size]


def _rows(
    arrays: list[Array], mask: ArrayLike | None, weights: ArrayLike | None, x: Array | None
) -> tuple[Rows, Mask, Array]:
    """The likelihood's arrays; per table and row, which rows stop their mean on both sides and which on one."""
    n: Array | None = None if weights is None else np.atleast_2d(np.asarray(weights, dtype=float))
    if mask is not None:
        counted = np.atleast_2d(np.asarray(mask, dtype=bool)).astype(float)
        n = counted if n is None else n * counted
    given = [*arrays, *([] if x is None else [x]), *([] if n is None else [n])]
    lengths = {a.shape[1] for a in given}
    tables = {a.shape[0] for a in given} - {1}
    if len(lengths) > 1 or len(tables) > 1:
        raise DataError(
            "All arrays must have one row per table (or one row shared by all) and the same number of columns, but "
            f"they have the shapes {', '.join(str(a.shape) for a in given)}."
        )
    b, k = max(tables, default=1), lengths.pop()
    if k == 0:
        raise DataError("There must be at least one row to pool, but the arrays are empty.")
    if n is not None and not (np.isfinite(n) & (n >= 0)).all():
        raise DataError("weights must be finite and not negative: they say how often each row counts.")
    wide = max((a.shape[0] for a in arrays), default=1)
    y, v, low, high, n1, n2 = (np.broadcast_to(a, (wide, k)) for a in arrays)
    used: Mask = np.ones((1, k), dtype=bool)
    if n is not None:
        used = np.asarray(n > 0)
    if wide == 1:
        used = np.asarray(used.any(axis=0, keepdims=True))
    is_point = np.isfinite(y) & np.isfinite(v) & (v > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        base, total = 1.0 / n1 + 1.0 / n2, n1 + n2
        is_bound = (
            np.isnan(y)
            & np.isnan(v)
            & (high - low > NARROWEST * np.sqrt(base))
            & (n1 >= 2)
            & (n2 >= 2)
            & np.isfinite(total)
        )
    if (used & ~is_point & ~is_bound).any():
        table, row = np.argwhere(used & ~is_point & ~is_bound)[0]
        raise DataError(
            "A row that counts must be a point (yi finite, vi > 0) or a bound (yi and vi NaN, yi_low < yi_high, arms "
            f"of at least 2), but table {table + 1}, row {row + 1} has yi = {y[table, row]:g}, vi = {v[table, row]:g}, "
            f"{low[table, row]:g} to {high[table, row]:g}, n1i = {n1[table, row]:g}, n2i = {n2[table, row]:g}."
        )
    # A column that is a point in one table and a bound in another is both, and counts as one of them in each.
    points, bounds = (is_point & used).any(axis=0), (is_bound & used).any(axis=0)
    mixed = (points & bounds).any()
    if mixed or n is not None:
        counts = np.ones((1, k)) if n is None else n
        n = np.concatenate([(counts * is_point)[:, points], (counts * is_bound)[:, bounds]], axis=1)
        n = np.broadcast_to(n, (b, n.shape[1]))
    p_, b_ = is_point[:, points], is_bound[:, bounds]
    rows = Rows(
        y=np.where(p_, y[:, points], 0.0),
        v=np.where(p_, v[:, points], 1.0),
        low=np.where(b_, low[:, bounds], -np.inf),
        high=np.where(b_, high[:, bounds], np.inf),
        base=np.where(b_, base[:, bounds], 1.0),
        total=np.where(b_, total[:, bounds], 2.0),
        x=None if x is None else np.concatenate([x[:, points], x[:, bounds]], axis=1),
        n=n,
        size=b,
    )
    up, down = one_sided(rows)
    side = np.concatenate([np.zeros(rows.y.shape), up * 1.0 - down], axis=1)
    pinned = np.concatenate([p_, b_ & np.isfinite(rows.low) & np.isfinite(rows.high)], axis=1)
    counted = np.ones((1, 1), dtype=bool) if n is None else n > 0
    shape = (b, pinned.shape[1])
    return rows, np.broadcast_to(pinned & counted, shape), np.broadcast_to(side * counted, shape)


def _has_maximum(rows: Rows, pinned: Mask, side: Array) -> Mask:
    if rows.x is None:
        return np.asarray(pinned.any(axis=1) | ((side > 0).any(axis=1) & (side < 0).any(axis=1)))
    x = np.broadcast_to(rows.x, (rows.size, *rows.x.shape[1:]))
    ok = np.linalg.matrix_rank(x * pinned[:, :, None]) == rows.p
    for i in np.flatnonzero(~ok):
        ok[i] = stops_everywhere(x[i], pinned[i], side[i])
    return np.asarray(ok)


def _fit(rows: Rows, pinned: Mask, side: Array) -> tuple[Array, Array, Array, Mask]:
    b, p = rows.size, rows.p
    theta, se, f = np.full((b, p + 1), np.nan), np.full((b, p), np.nan), np.full(b, np.nan)
    ok = _has_maximum(rows, pinned, side)
    at = np.flatnonzero(ok)
    if len(at) == 0:
        return theta, se, f, ok
    rows = rows.take(at)
    opposed = np.logical_not(pinned[at].any(axis=1))
    found = search.global_maximum(rows, opposed)
    ok[at] = found.ok
    good = np.flatnonzero(found.ok)
    theta[at[good]], f[at[good]] = found.theta[good], found.f[good]
    with np.errstate(all="ignore"):
        h = -derivatives(rows.take(good), found.theta[good]).h
        flat = found.theta[good, -1] == 0
        h[flat, -1, :], h[flat, :, -1] = 0.0, 0.0
        h[flat, -1, -1] = 1.0
        se[at[good]] = np.sqrt(np.diagonal(np.linalg.inv(h), axis1=1, axis2=2)[:, :p])
    return theta, se, f, ok
