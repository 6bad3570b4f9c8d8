"""Mean and SD of a sample from its median with quartiles or range."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.effects.records import FloatArray, Rules, float_arrays
from metamiq.errors import DataError


class MeanSD(NamedTuple):
    """Estimated mean and standard deviation, and how they were reached, in words."""

    mean: Any
    sd: Any
    route: str


def mean_sd_from_quantiles(
    median: ArrayLike,
    n: ArrayLike,
    *,
    q1: ArrayLike | None = None,
    q3: ArrayLike | None = None,
    minimum: ArrayLike | None = None,
    maximum: ArrayLike | None = None,
) -> MeanSD:
    """Estimate mean and SD from the median and the quartiles, the range, or both.

    With a, b the range, and z(p) the normal quantile:

    - quartiles: mean w (q1 + q3)/2 + (1 - w) median with w = 0.7 + 0.39/n; SD (q3 - q1) / (2 z((0.75 n - 0.125) / (n +
      0.25)));
    - range: mean w (a + b)/2 + (1 - w) median with w = 4 / (4 + n^0.75); SD (b - a) / (2 z((n - 0.375) / (n + 0.25)));
    - both: mean w1 (a + b)/2 + w2 (q1 + q3)/2 + (1 - w1 - w2) median with w1 = 2.2 / (2.2 + n^0.75) and w2 = 0.7 - 0.72
      / n^0.55; SD half the sum of the two SDs above.

    They hold for normal data. A median far from the middle of the quartiles says that the data are skewed, and then
    both numbers are biased.

    Parameters
    ----------
    median, q1, q3, minimum, maximum : array_like
        In the units of the instrument, in order: minimum <= q1 <= median <= q3 <= maximum.
    n : array_like
        Sample size, >= 3.

    Returns
    -------
    MeanSD
        ``mean``, ``sd`` and ``route``.

    Raises
    ------
    DataError
        If neither quartiles nor range are given, a value is missing, or the values are not in order.

    References
    ----------
    Means: Luo, D., Wan, X., Liu, J. & Tong, T. (2018). Statistical Methods in Medical Research, 27, 1785-1805 (eq. 15
    for quartiles). SDs: Wan, X., Wang, W., Liu, J. & Tong, T. (2014). BMC Medical Research Methodology, 14, 135 (eq. 16
    for quartiles).

    Examples
    --------
    >>> mean, sd, _ = mean_sd_from_quantiles(20, 40, q1=14, q3=29)
    >>> print(f"{mean:.3f} {sd:.3f}")
    21.065 11.534
    """
    quartiles, extremes = q1 is not None and q3 is not None, minimum is not None and maximum is not None
    if not quartiles and not extremes:
        raise DataError("A mean needs, besides the median, both quartiles or both ends of the range, but neither came.")
    order = {"minimum": minimum} if extremes else {}
    order |= {"q1": q1} if quartiles else {}
    order |= {"median": median}
    order |= {"q3": q3} if quartiles else {}
    order |= {"maximum": maximum} if extremes else {}
    a = float_arrays(**order, n=n)
    rules = Rules(a).at_least(3, "n")
    names = list(order)
    for low, high in pairwise(names):
        rules.need(f"{low} must not exceed {high}", a[low] <= a[high], low, high)
    rules.need(f"{names[0]} must be below {names[-1]}", a[names[0]] < a[names[-1]], names[0], names[-1]).check()
    size, m = a["n"], a["median"]
    if quartiles:
        middle_q = (a["q1"] + a["q3"]) / 2.0
        sd_q = (a["q3"] - a["q1"]) / (2.0 * special.ndtri((0.75 * size - 0.125) / (size + 0.25)))
    if extremes:
        middle_r = (a["minimum"] + a["maximum"]) / 2.0
        sd_r = (a["maximum"] - a["minimum"]) / (2.0 * special.ndtri((size - 0.375) / (size + 0.25)))
    if quartiles and extremes:
        w1, w2 = 2.2 / (2.2 + size**0.75), 0.7 - 0.72 / size**0.55
        return _result(w1 * middle_r + w2 * middle_q + (1.0 - w1 - w2) * m, (sd_r + sd_q) / 2.0, "quartiles and range")
    if quartiles:
        w = 0.7 + 0.39 / size
        return _result(w * middle_q + (1.0 - w) * m, sd_q, "quartiles")
    w = 4.0 / (4.0 + size**0.75)
    return _result(w * middle_r + (1.0 - w) * m, sd_r, "range")


def _result(mean: FloatArray, sd: FloatArray, what: str) -> MeanSD:
    return MeanSD(
        np.asarray(mean)[()], np.asarray(sd)[()], f"median, {what} and sample size, taking the data as normal"
    )
