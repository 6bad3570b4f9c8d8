"""Several arms of one trial: merging them, and sharing out a control group that they have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.effects.records import FloatArray, Rules, float_arrays
from metamiq.errors import DataError

# Sizes and counts of group 2 that a shared control contributes to every comparison.
_CONTROL_COUNTS = ("n2i", "ci", "di")


class MergedArm(NamedTuple):
    """Mean, SD and size of several arms taken together."""

    mi: FloatArray
    sdi: FloatArray
    ni: FloatArray


def merge_arms(mi: ArrayLike, sdi: ArrayLike, ni: ArrayLike) -> MergedArm:
    """Merge arms into one, as if their people had been in one group from the start.

    N = sum n, M = sum n m / N, and the SD from the total sum of squares:
    SD^2 = (sum (n - 1) sd^2 + sum n (m - M)^2) / (N - 1).

    Parameters
    ----------
    mi, sdi, ni : array_like, shape (..., arms)
        Means, SDs (> 0) and sizes (>= 2) of the arms along the last axis.

    Returns
    -------
    MergedArm
        Each of shape (...).

    Raises
    ------
    DataError
        If a value is missing or impossible.

    References
    ----------
    Higgins, J. P. T. et al. (eds). Cochrane Handbook for Systematic Reviews of Interventions, ch. 6
    (combining groups).

    Examples
    --------
    >>> mean, sd, n = merge_arms([10.0, 14.0], [3.0, 5.0], [20, 30])
    >>> print(f"{mean:.2f} {sd:.4f} {n:.0f}")
    12.40 4.7121 50
    """
    a = float_arrays(mi=mi, sdi=sdi, ni=ni)
    Rules(a).positive("sdi").at_least(2, "ni").check()
    total = a["ni"].sum(axis=-1)
    mean = (a["ni"] * a["mi"]).sum(axis=-1) / total
    between = a["ni"] * (a["mi"] - np.expand_dims(mean, -1)) ** 2
    squares = ((a["ni"] - 1.0) * a["sdi"] ** 2 + between).sum(axis=-1)
    return MergedArm(np.asarray(mean)[()], np.sqrt(squares / (total - 1.0))[()], np.asarray(total)[()])


def merge_counts(xi: ArrayLike, ni: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Merge the events and sizes of arms: both are added along the last axis.

    Parameters
    ----------
    xi, ni : array_like, shape (..., arms)
        Events and sizes, 0 <= xi <= ni.

    Returns
    -------
    xi, ni : ndarray, shape (...)
        Sums.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    Examples
    --------
    >>> events, n = merge_counts([3, 5], [20, 30])
    >>> print(f"{events:.0f} of {n:.0f}")
    8 of 50
    """
    a = float_arrays(xi=xi, ni=ni)
    rules = Rules(a).at_least(0, "xi")
    rules.need("xi must not exceed ni", a["xi"] <= a["ni"], "xi", "ni").check()
    return a["xi"].sum(axis=-1)[()], a["ni"].sum(axis=-1)[()]


def shared_control(frame: pd.DataFrame, by: str = "study") -> pd.Series[int]:
    """Count, for each row, how many comparisons of its study use the same group 2.

    Rows share a control when they have the same `by` and the same values in all columns of group 2 that the
    table has (m2i, sd2i, n2i, ci, di).

    Parameters
    ----------
    frame : DataFrame
        One comparison per row.
    by : str
        Column that names the study.

    Returns
    -------
    Series of int
        1 where the control is not shared.

    Raises
    ------
    DataError
        If the column is missing or the table has no column of group 2.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "a", "b"], "n1i": [20, 20, 30], "ci": [5, 5, 9], "n2i": [40, 40, 30]})
    >>> print(shared_control(table).tolist())
    [2, 2, 1]
    """
    columns = [name for name in ("m2i", "sd2i", "n2i", "ci", "di") if name in frame]
    if by not in frame or not columns:
        lacking = repr(by) if by not in frame else "a column of group 2 (n2i, m2i, sd2i, ci or di)"
        raise DataError(f"The table must have {lacking} to find shared controls, but it has {sorted(frame.columns)}.")
    counts = frame.groupby([by, *columns], dropna=False)[by].transform("size")
    return counts.astype("int64").rename("shared_control")


def split_shared_control(frame: pd.DataFrame, by: str = "study") -> pd.DataFrame:
    """Share a control group out among the comparisons that use it, so that nobody is counted twice.

    n2i (and ci, di) are divided by the number of comparisons with the same control; means and SDs stay. The
    parts may be fractions. This removes the double counting but not the whole dependence: `multilevel` models
    that.

    Parameters
    ----------
    frame : DataFrame
        One comparison per row.
    by : str
        Column that names the study.

    Returns
    -------
    DataFrame
        A copy with the counts divided and a column ``shared_control`` that says by how much.

    Raises
    ------
    DataError
        As `shared_control`.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "a", "b"], "ci": [5, 5, 9], "n2i": [40, 40, 30]})
    >>> print(split_shared_control(table)[["ci", "n2i"]].to_string(index=False))
     ci  n2i
    2.5 20.0
    2.5 20.0
    9.0 30.0
    """
    sharing = shared_control(frame, by)
    out = frame.copy()
    for name in _CONTROL_COUNTS:
        if name in out:
            out[name] = out[name] / sharing
    out["shared_control"] = sharing
    return out
