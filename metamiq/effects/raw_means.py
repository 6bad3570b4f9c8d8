"""Two groups compared without standardising: difference and ratio of means, ratio of spreads."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.continuous import two_groups
from metamiq.effects.records import EffectSizes, Rules, as_effects, float_arrays, one_of


def mean_difference(
    m1i: ArrayLike,
    sd1i: ArrayLike,
    n1i: ArrayLike,
    m2i: ArrayLike,
    sd2i: ArrayLike,
    n2i: ArrayLike,
    *,
    vtype: str = "LS",
) -> EffectSizes:
    """Difference of two means in the units of the instrument (measure ``MD``).

    m1i - m2i, with variance sd1i^2 / n1i + sd2i^2 / n2i (``LS``: the SDs may differ) or s^2 (1/n1i + 1/n2i)
    with the pooled SD s (``HO``: equal variances).

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`.
    vtype : {"LS", "HO"}
        Unequal or equal variances.

    Returns
    -------
    EffectSizes
        In the units of the instrument; positive when group 1 has the larger mean.

    Raises
    ------
    DataError
        As `hedges_g`.

    Examples
    --------
    >>> yi, vi = mean_difference(55, 47, 155, 75, 64, 156)
    >>> print(f"{yi:.1f} {vi:.4f}")
    -20.0 40.5080
    """
    one_of("vtype", vtype, ("LS", "HO"))
    m1, sd1, n1, m2, sd2, n2 = two_groups(m1i, sd1i, n1i, m2i, sd2i, n2i)
    if vtype == "HO":
        pooled2 = ((n1 - 1.0) * sd1**2 + (n2 - 1.0) * sd2**2) / (n1 + n2 - 2.0)
        return as_effects(m1 - m2, pooled2 * (1.0 / n1 + 1.0 / n2))
    return as_effects(m1 - m2, sd1**2 / n1 + sd2**2 / n2)


def log_ratio_of_means(
    m1i: ArrayLike,
    sd1i: ArrayLike,
    n1i: ArrayLike,
    m2i: ArrayLike,
    sd2i: ArrayLike,
    n2i: ArrayLike,
    *,
    correct: bool = True,
    vtype: str = "LS",
) -> EffectSizes:
    """Log of the ratio of two means (measure ``ROM``), for outcomes with a true zero.

    With ui = sdi^2 / (ni mi^2) in each group: log(m1i / m2i), corrected for small-sample bias by (u1 - u2) /
    2. The variance is u1 + u2 to first order (``LS``) or u1 + u2 + (u1^2 + u2^2) / 2 to second order
    (``SO``).

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`; the two means must have the same sign and not be zero.
    correct : bool
        Correct the small-sample bias, as metafor 5.1 does. False gives the plain ratio of earlier versions.
    vtype : {"LS", "SO"}
        Order of the variance. The mean that metafor 5.1 gives on the data of Curtis & Wang (1998) is met with
        the corrected ratio and ``LS``.

    Returns
    -------
    EffectSizes
        A log ratio; positive when group 1 has the larger mean (in size).

    Raises
    ------
    DataError
        As `hedges_g`, and if the means differ in sign or one is zero.

    References
    ----------
    Hedges, L. V., Gurevitch, J. & Curtis, P. S. (1999). Ecology, 80, 1150-1156. Lajeunesse, M. J. (2015).
    Bias and correction for the log response ratio in ecological meta-analysis. Ecology, 96, 2056-2063.

    Examples
    --------
    >>> yi, vi = log_ratio_of_means(6.8169, 1.7699820, 3, 3.9450, 1.1157970, 5, correct=False)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.5470 0.0385
    """
    one_of("vtype", vtype, ("LS", "SO"))
    a = float_arrays(m1i=m1i, sd1i=sd1i, n1i=n1i, m2i=m2i, sd2i=sd2i, n2i=n2i)
    Rules(a).positive("sd1i", "sd2i").at_least(2, "n1i", "n2i").same_sign("m1i", "m2i").check()
    u1 = a["sd1i"] ** 2 / (a["n1i"] * a["m1i"] ** 2)
    u2 = a["sd2i"] ** 2 / (a["n2i"] * a["m2i"] ** 2)
    yi = np.log(a["m1i"] / a["m2i"]) + ((u1 - u2) / 2.0 if correct else 0.0)
    return as_effects(yi, u1 + u2 + ((u1**2 + u2**2) / 2.0 if vtype == "SO" else 0.0))


def log_variability_ratio(sd1i: ArrayLike, n1i: ArrayLike, sd2i: ArrayLike, n2i: ArrayLike) -> EffectSizes:
    """Log ratio of two standard deviations (measure ``VR``).

    log(sd1i / sd2i) + 1/(2 (n1i - 1)) - 1/(2 (n2i - 1)) with variance 1/(2 (n1i - 1)) + 1/(2 (n2i - 1)).

    Parameters
    ----------
    sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`.

    Returns
    -------
    EffectSizes
        Log ratios; positive when group 1 varies more.

    Raises
    ------
    DataError
        As `hedges_g`.

    References
    ----------
    Nakagawa, S., Poulin, R., Mengersen, K., Reinhold, K., Engqvist, L., Lagisz, M. & Senior, A. M. (2015).
    Meta-analysis of variation. Methods in Ecology and Evolution, 6, 143-152.

    Examples
    --------
    >>> yi, vi = log_variability_ratio(47, 155, 64, 156)
    >>> print(f"{yi:.4f} {vi:.6f}")
    -0.3087 0.006473
    """
    a = float_arrays(sd1i=sd1i, n1i=n1i, sd2i=sd2i, n2i=n2i)
    Rules(a).positive("sd1i", "sd2i").at_least(2, "n1i", "n2i").check()
    half_1, half_2 = 1.0 / (2.0 * (a["n1i"] - 1.0)), 1.0 / (2.0 * (a["n2i"] - 1.0))
    return as_effects(np.log(a["sd1i"] / a["sd2i"]) + half_1 - half_2, half_1 + half_2)


def log_cv_ratio(
    m1i: ArrayLike, sd1i: ArrayLike, n1i: ArrayLike, m2i: ArrayLike, sd2i: ArrayLike, n2i: ArrayLike
) -> EffectSizes:
    """Log ratio of two coefficients of variation (measure ``CVR``).

    The log ratio of SDs of `log_variability_ratio` minus the log ratio of means; its variance plus
    sd1i^2 / (n1i m1i^2) + sd2i^2 / (n2i m2i^2), for normal data, whose mean and SD are independent.

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`; means > 0.

    Returns
    -------
    EffectSizes
        Log ratios; positive when group 1 varies more relative to its mean.

    Raises
    ------
    DataError
        As `hedges_g`, and if a mean is not positive.

    References
    ----------
    Nakagawa, S. et al. (2015). Methods in Ecology and Evolution, 6, 143-152.

    Examples
    --------
    >>> yi, vi = log_cv_ratio(55, 47, 155, 75, 64, 156)
    >>> print(f"{yi:.4f} {vi:.6f}")
    0.0014 0.015852
    """
    a = float_arrays(m1i=m1i, sd1i=sd1i, n1i=n1i, m2i=m2i, sd2i=sd2i, n2i=n2i)
    Rules(a).positive("m1i", "m2i", "sd1i", "sd2i").at_least(2, "n1i", "n2i").check()
    spread = log_variability_ratio(sd1i, n1i, sd2i, n2i)
    means = log_ratio_of_means(m1i, sd1i, n1i, m2i, sd2i, n2i, correct=False)
    return as_effects(spread.yi - means.yi, spread.vi + means.vi)
