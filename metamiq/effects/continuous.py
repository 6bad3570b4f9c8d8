"""Differences between two independent groups, from means, SDs and sample sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import (
    EffectSizes,
    FloatArray,
    Rules,
    as_effects,
    float_arrays,
    one_of,
)

SMD_VTYPES = ("AV", "LS", "LS2", "UB")


def smd_variance(g: FloatArray, J: FloatArray, n1i: FloatArray, n2i: FloatArray, vtype: str) -> FloatArray:
    """Give the sampling variance of Hedges' g under one of four formulas; see `hedges_g` for each.

    Examples
    --------
    >>> vi = smd_variance(np.array([0.5]), np.array([0.98]), np.array([20.0]), np.array([20.0]), "LS")
    >>> print(f"{vi[0]:.6f}")
    0.103125
    """
    one_of("vtype", vtype, SMD_VTYPES)
    inverse = 1.0 / n1i + 1.0 / n2i
    total = n1i + n2i
    if vtype == "LS":
        return np.asarray(inverse + g**2 / (2.0 * total))
    if vtype == "LS2":
        return np.asarray(J**2 * (inverse + (g / J) ** 2 / (2.0 * total)))
    if vtype == "UB":
        m = total - 2.0
        return np.asarray(inverse + (1.0 - (m - 2.0) / (m * J**2)) * g**2)
    mean_g = np.sum(total * g) / np.sum(total)
    return np.asarray(inverse + mean_g**2 / (2.0 * total))


def two_groups(
    m1i: ArrayLike, sd1i: ArrayLike, n1i: ArrayLike, m2i: ArrayLike, sd2i: ArrayLike, n2i: ArrayLike
) -> tuple[FloatArray, ...]:
    """Check the six numbers of two groups and give them back as arrays of one shape."""
    a = float_arrays(m1i=m1i, sd1i=sd1i, n1i=n1i, m2i=m2i, sd2i=sd2i, n2i=n2i)
    Rules(a).positive("sd1i", "sd2i").at_least(2, "n1i", "n2i").check()
    return tuple(a.values())


def hedges_g(
    m1i: ArrayLike,
    sd1i: ArrayLike,
    n1i: ArrayLike,
    m2i: ArrayLike,
    sd2i: ArrayLike,
    n2i: ArrayLike,
    *,
    vtype: str = "LS",
    correction: str = "exact",
) -> EffectSizes:
    """Standardised mean difference with the small-sample correction (measure ``SMD``).

    g = J(m) d with d = (m1i - m2i) / s, m = n1i + n2i - 2 and s the pooled SD. Positive when group 1 has the
    larger mean. With N = n1i + n2i, the variance is

    - ``LS``: 1/n1i + 1/n2i + g^2 / (2N), the large-sample formula;
    - ``LS2``: J^2 (1/n1i + 1/n2i + d^2 / (2N)), the form in Borenstein et al. (2009);
    - ``UB``: 1/n1i + 1/n2i + (1 - (m - 2) / (m J^2)) g^2, unbiased (Hedges 1983);
    - ``AV``: as ``LS`` with the mean of all g, weighted by N, in place of each g.

    Parameters
    ----------
    m1i, m2i : array_like, shape (k,)
        Group means, in the units of the instrument.
    sd1i, sd2i : array_like, shape (k,)
        Standard deviations in the same units, > 0. Not standard errors.
    n1i, n2i : array_like, shape (k,)
        Participants analysed (not randomised), >= 2.
    vtype : {"LS", "LS2", "UB", "AV"}
        Variance formula.
    correction : {"exact", "approx", "none"}
        J by gamma functions, by 1 - 3 / (4m - 1), or 1 (which gives Cohen's d).

    Returns
    -------
    EffectSizes
        ``yi`` and ``vi``, float64, shape (k,), without unit.

    Raises
    ------
    DataError
        If a value is missing, an SD is not positive, or an n is below 2.

    References
    ----------
    Hedges, L. V. (1981). Journal of Educational Statistics, 6, 107-128. Hedges, L. V. (1982). Psychological
    Bulletin, 92, 490-499, eq. 8 (LS). Hedges, L. V. (1983). Psychological Bulletin, 93, 388-395 (UB).
    Borenstein, M., Hedges, L. V., Higgins, J. P. T. & Rothstein, H. R. (2009). Introduction to Meta-Analysis,
    ch. 4 (LS2).

    Examples
    --------
    >>> yi, vi = hedges_g(94, 22, 60, 92, 20, 60)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.0945 0.0334
    """
    m1, sd1, n1, m2, sd2, n2 = two_groups(m1i, sd1i, n1i, m2i, sd2i, n2i)
    m = n1 + n2 - 2.0
    pooled = np.sqrt(((n1 - 1.0) * sd1**2 + (n2 - 1.0) * sd2**2) / m)
    J = small_sample_correction(m, correction)
    g = J * (m1 - m2) / pooled
    return as_effects(g, smd_variance(g, J, n1, n2, vtype))


def smd_heteroscedastic(
    m1i: ArrayLike,
    sd1i: ArrayLike,
    n1i: ArrayLike,
    m2i: ArrayLike,
    sd2i: ArrayLike,
    n2i: ArrayLike,
    *,
    correction: str = "exact",
) -> EffectSizes:
    """Standardised mean difference that lets the two SDs differ (measure ``SMDH``).

    g = J(n1i + n2i - 2) (m1i - m2i) / s with s^2 = (sd1i^2 + sd2i^2) / 2, and variance
    g^2 (sd1i^4 / (n1i - 1) + sd2i^4 / (n2i - 1)) / (8 s^4) + (sd1i^2 / (n1i - 1) + sd2i^2 / (n2i - 1)) / s^2.
    metafor 4.6 and later give this variance; earlier versions multiply it by J^2.

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`.
    correction : {"exact", "approx", "none"}
        Form of J.

    Returns
    -------
    EffectSizes
        Without unit; positive when group 1 has the larger mean.

    Raises
    ------
    DataError
        As `hedges_g`.

    References
    ----------
    Bonett, D. G. (2008). Confidence intervals for standardized linear contrasts of means. Psychological
    Methods, 13, 99-109. Bonett, D. G. (2009). Meta-analytic interval estimation for standardized and
    unstandardized mean differences. Psychological Methods, 14, 225-238.

    Examples
    --------
    >>> yi, vi = smd_heteroscedastic(55, 47, 155, 75, 64, 156)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.3553 0.0132
    """
    m1, sd1, n1, m2, sd2, n2 = two_groups(m1i, sd1i, n1i, m2i, sd2i, n2i)
    s2 = (sd1**2 + sd2**2) / 2.0
    g = small_sample_correction(n1 + n2 - 2.0, correction) * (m1 - m2) / np.sqrt(s2)
    spread = (sd1**4 / (n1 - 1.0) + sd2**4 / (n2 - 1.0)) / (8.0 * s2**2)
    return as_effects(g, g**2 * spread + (sd1**2 / (n1 - 1.0) + sd2**2 / (n2 - 1.0)) / s2)


def glass_delta(
    m1i: ArrayLike,
    sd1i: ArrayLike | None = None,
    n1i: ArrayLike | None = None,
    m2i: ArrayLike | None = None,
    sd2i: ArrayLike | None = None,
    n2i: ArrayLike | None = None,
    *,
    heteroscedastic: bool = False,
    correction: str = "exact",
) -> EffectSizes:
    """Glass's delta: the mean difference over the SD of group 2 (measures ``SMD1`` and ``SMD1H``).

    g = J(n2i - 1) (m1i - m2i) / sd2i. Variance: 1/n1i + 1/n2i + g^2 / (2 n2i); with ``heteroscedastic``
    sd1i^2 / (sd2i^2 (n1i - 1)) + 1 / (n2i - 1) + g^2 / (2 (n2i - 1)).

    Parameters
    ----------
    m1i, m2i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`; group 2 is the comparison, whose SD the treatment has not changed.
    sd1i : array_like, optional
        SD of group 1; used, and required, only with ``heteroscedastic``.
    heteroscedastic : bool
        Let the two SDs differ (``SMD1H``).
    correction : {"exact", "approx", "none"}
        Form of J.

    Returns
    -------
    EffectSizes
        In SDs of group 2; positive when group 1 has the larger mean. NaN where n2i is 2, for which J is
        undefined.

    Raises
    ------
    DataError
        As `hedges_g`.

    References
    ----------
    Glass, G. V. (1976). Primary, secondary, and meta-analysis of research. Educational Researcher, 5(10),
    3-8. Bonett, D. G. (2008). Psychological Methods, 13, 99-109 (heteroscedastic variance).

    Examples
    --------
    >>> yi, vi = glass_delta(55, 47, 155, 75, 64, 156)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.3110 0.0132
    """
    named: dict[str, ArrayLike | None] = {"m1i": m1i, "n1i": n1i, "m2i": m2i, "sd2i": sd2i, "n2i": n2i}
    if heteroscedastic:
        named["sd1i"] = sd1i
    a = float_arrays(**named)
    rules = Rules(a).positive("sd2i").at_least(2, "n1i", "n2i")
    if heteroscedastic:
        rules.positive("sd1i")
    rules.check()
    n1, n2, sd2 = a["n1i"], a["n2i"], a["sd2i"]
    g = small_sample_correction(n2 - 1.0, correction) * (a["m1i"] - a["m2i"]) / sd2
    if heteroscedastic:
        return as_effects(g, a["sd1i"] ** 2 / (sd2**2 * (n1 - 1.0)) + 1.0 / (n2 - 1.0) + g**2 / (2.0 * (n2 - 1.0)))
    return as_effects(g, 1.0 / n1 + 1.0 / n2 + g**2 / (2.0 * n2))
