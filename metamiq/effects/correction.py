"""The small-sample correction J of a standardised mean difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.arguments import numbers
from metamiq.effects.records import FloatArray, one_of

# Above this the ratio of two gamma functions is taken from its asymptotic series: the terms left out are
# below 1e-16 there, whereas a difference of log-gammas would lose a digit for every factor of ten in m.
_SERIES_FROM = 150.0


def small_sample_correction(m: ArrayLike, correction: str = "exact") -> FloatArray:
    """Hedges' J(m), which makes a standardised mean difference unbiased.

    Exact: J(m) = gamma(m/2) / (sqrt(m/2) gamma((m-1)/2)). Approximate: 1 - 3 / (4m - 1).

    Parameters
    ----------
    m : array_like
        Degrees of freedom of the SD, > 1.
    correction : {"exact", "approx", "none"}
        Which form; "none" gives 1 everywhere.

    Returns
    -------
    ndarray
        J, between 0 and 1; NaN where m <= 1, where no unbiased estimate exists.

    References
    ----------
    Hedges, L. V. (1981). Distribution theory for Glass's estimator of effect size and related estimators.
    Journal of Educational Statistics, 6, 107-128.

    Examples
    --------
    >>> print(f"{small_sample_correction(10):.6f} {small_sample_correction(10, 'approx'):.6f}")
    0.922746 0.923077
    """
    one_of("correction", correction, ("exact", "approx", "none"))
    dof = numbers(m, "m")
    usable = dof > 1
    if correction == "none":
        return np.asarray(np.where(usable, 1.0, np.nan))
    safe = np.where(usable, dof, 10.0)
    if correction == "approx":
        return np.asarray(np.where(usable, 1.0 - 3.0 / (4.0 * safe - 1.0), np.nan))
    small = np.minimum(safe, _SERIES_FROM)
    ratio = special.gamma(small / 2.0) / special.gamma((small - 1.0) / 2.0) / np.sqrt(small / 2.0)
    # gamma(x + 1/2) / (sqrt(x) gamma(x)) in powers of 1/x, with x = (m - 1) / 2.
    inv = 2.0 / (np.maximum(safe, _SERIES_FROM) - 1.0)
    series = 1.0 + inv * (
        -1 / 8 + inv * (1 / 128 + inv * (5 / 1024 + inv * (-21 / 32768 + inv * (-399 / 262144 + inv * 869 / 4194304))))
    )
    large = series * np.sqrt(1.0 - 1.0 / np.maximum(safe, _SERIES_FROM))
    return np.asarray(np.where(usable, np.where(safe > _SERIES_FROM, large, ratio), np.nan))
