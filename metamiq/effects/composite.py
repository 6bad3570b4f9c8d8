"""Several outcomes of one trial in one effect size, given the correlation of their sampling errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamiq.effects.records import EffectSizes, FloatArray, Rules, as_effects, float_arrays
from metamiq.errors import DataError


def composite(yi: ArrayLike, vi: ArrayLike, rho: float, *, weighted: bool = False) -> EffectSizes:
    """Combine several outcomes of one trial into one effect size.

    With V_ij = rho sqrt(vi vj) off the diagonal: the plain mean with variance 1'V1 / p^2 (Borenstein et al.
    2009, ch. 24), or, ``weighted``, the generalised least squares mean 1'V^-1 y / 1'V^-1 1 with variance 1 /
    1'V^-1 1.

    Parameters
    ----------
    yi, vi : array_like, shape (p,)
        Effects of one trial and their variances.
    rho : float
        Correlation of their sampling errors.
    weighted : bool
        Weigh the outcomes by precision. With unequal variances and a large rho the weighted mean can lie
        outside the range of the outcomes.

    Returns
    -------
    EffectSizes
        One effect size.

    Raises
    ------
    DataError
        As `aggregate`.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T. & Rothstein, H. R. (2009). Introduction to Meta-Analysis,
    ch. 24.

    Examples
    --------
    >>> yi, vi = composite([0.30, 0.10], [0.05, 0.05], 0.5)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.2000 0.0375
    """
    a = float_arrays(yi=yi, vi=vi)
    y, v = np.atleast_1d(a["yi"]), np.atleast_1d(a["vi"])
    if y.ndim != 1:
        raise DataError(f"composite takes the outcomes of one trial in one row, but the shape is {y.shape}.")
    Rules({"yi": y, "vi": v}).positive("vi").check()
    mean, variance = _clusters(y, v, np.zeros(len(y), dtype=np.int64), 1, rho, weighted)
    return as_effects(mean[0], variance[0])


def aggregate(frame: pd.DataFrame, cluster: str, rho: float, weighted: bool = True) -> pd.DataFrame:
    """Combine the effects of each cluster (study, trial) into one row.

    As `composite`, for all clusters at once. ``weighted=True`` is what metafor's ``aggregate`` does with a
    compound-symmetric correlation; ``weighted=False`` is Borenstein's composite. The two can differ much
    where variances within a study do.

    Parameters
    ----------
    frame : DataFrame
        With ``yi``, ``vi`` and the cluster column.
    cluster : str
        Column that says which rows belong together.
    rho : float
        Correlation of sampling errors within a cluster, between -1 and 1. With p rows in a cluster it must
        exceed -1/(p - 1), and ``weighted`` needs it below 1.
    weighted : bool
        See above.

    Returns
    -------
    DataFrame
        One row per cluster, in order of first appearance: the columns that are constant within every cluster,
        ``yi``, ``vi``, and ``n_effects``, the number of rows combined. Columns that vary within a cluster are
        left out: no single value would be true.

    Raises
    ------
    DataError
        If a column or value is missing, a variance is not positive, or rho is impossible for a cluster of
        this size.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "a", "b"], "yi": [0.3, 0.1, 0.5], "vi": [0.05, 0.05, 0.08]})
    >>> print(aggregate(table, "study", rho=0.5).to_string(index=False))
    study  yi     vi  n_effects
        a 0.2 0.0375          2
        b 0.5 0.0800          1
    """
    lacking = sorted({cluster, "yi", "vi"} - set(frame.columns))
    if lacking:
        raise DataError(f"The table must have the columns {', '.join(lacking)}, but it has {sorted(frame.columns)}.")
    if frame[cluster].isna().any():
        rows = ", ".join(str(i + 1) for i in np.flatnonzero(frame[cluster].isna()))
        raise DataError(f"{cluster} must be filled in every row, but it is empty in row {rows}.")
    a = float_arrays(yi=frame["yi"], vi=frame["vi"])
    Rules(a).positive("vi").check()
    codes, names = pd.factorize(frame[cluster])
    mean, variance = _clusters(a["yi"], a["vi"], codes, len(names), rho, weighted)
    grouped = frame.groupby(codes, sort=True)
    others = [name for name in frame.columns if name not in ("yi", "vi")]
    constant = [name for name in others if (grouped[name].nunique(dropna=False) <= 1).all()]
    first = np.unique(codes, return_index=True)[1]
    out = frame[constant].iloc[first].reset_index(drop=True)
    out["yi"], out["vi"] = mean, variance
    out["n_effects"] = np.bincount(codes, minlength=len(names))
    out.attrs = dict(frame.attrs)
    return out


def _clusters(
    y: FloatArray, v: FloatArray, codes: NDArray[np.int64], k: int, rho: float, weighted: bool
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance per cluster; the compound-symmetric matrix has a closed inverse, so sums are enough."""
    p = np.bincount(codes, minlength=k).astype(np.float64)
    largest = float(p.max(initial=1.0))
    # Smallest eigenvalue of the correlation matrix: 1 - rho, or 1 + (p - 1) rho for a negative rho.
    if not -1.0 <= rho <= 1.0 or 1.0 + (largest - 1.0) * rho < 0:
        raise DataError(
            f"rho must lie between -1/(p - 1) and 1 for clusters of p rows, but it is {rho:g} and the largest cluster "
            f"has {largest:.0f} rows."
        )
    s = np.sqrt(v)

    def total(x: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(codes, weights=x, minlength=k), dtype=np.float64)

    if not weighted:
        return total(y) / p, ((1.0 - rho) * total(v) + rho * total(s) ** 2) / p**2
    if largest > 1 and (rho == 1.0 or 1.0 + (largest - 1.0) * rho == 0):
        raise DataError(f"rho must lie inside its limits for weighted means, but it is {rho:g}. Use weighted=False.")
    # R^-1 = (I - c 11') / (1 - rho), with c = rho / (1 + (p - 1) rho).
    c = rho / (1.0 + (p - 1.0) * rho)
    scale = np.where(p > 1, 1.0 - rho, 1.0)
    c = np.where(p > 1, c, 0.0)
    inverse_s, y_over_s = total(1.0 / s), total(y / s)
    precision = (total(1.0 / v) - c * inverse_s**2) / scale
    return (total(y / v) - c * inverse_s * y_over_s) / scale / precision, 1.0 / precision
