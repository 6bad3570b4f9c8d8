"""Correlations between two variables, and between a group and an outcome."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.effects.continuous import hedges_g
from metamiq.effects.records import EffectSizes, FloatArray, Rules, as_effects, float_arrays, one_of
from metamiq.effects.scales import d_to_r


def _pairs(ri: ArrayLike, ni: ArrayLike, least: int) -> tuple[FloatArray, FloatArray]:
    a = float_arrays(ri=ri, ni=ni)
    Rules(a).between(-1, 1, "ri").at_least(least, "ni").check()
    return a["ri"], a["ni"]


def correlation(ri: ArrayLike, ni: ArrayLike) -> EffectSizes:
    """Pearson correlation as it is (measure ``COR``), with variance (1 - r^2)^2 / (n - 1).

    Parameters
    ----------
    ri : array_like, shape (k,)
        Correlations, between -1 and 1.
    ni : array_like, shape (k,)
        Sample sizes, >= 3.

    Returns
    -------
    EffectSizes
        Correlations.

    Raises
    ------
    DataError
        If a value is missing, r is not between -1 and 1, or n is below 3.

    Examples
    --------
    >>> yi, vi = correlation(0.62, 15)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.6200 0.0271
    """
    r, n = _pairs(ri, ni, 3)
    return as_effects(r, (1.0 - r**2) ** 2 / (n - 1.0))


def unbiased_correlation(ri: ArrayLike, ni: ArrayLike, *, vtype: str = "LS") -> EffectSizes:
    """Correlation corrected for its negative bias (measure ``UCOR``).

    G = r F(1/2, 1/2; (n - 2)/2; 1 - r^2), F the Gauss hypergeometric function. Variance: (1 - G^2)^2 / (n -
    1) (``LS``), or the unbiased G^2 - 1 + (n - 3)/(n - 2) (1 - r^2) F(1, 1; n/2; 1 - r^2) (``UB``), which can
    be negative, and is NaN for r = 0 with n = 4, where it is infinite.

    Parameters
    ----------
    ri : array_like, shape (k,)
        Correlations, between -1 and 1.
    ni : array_like, shape (k,)
        Sample sizes, >= 4.
    vtype : {"LS", "UB"}
        Variance formula.

    Returns
    -------
    EffectSizes
        Correlations.

    Raises
    ------
    DataError
        If a value is missing, r is not between -1 and 1, or n is below 4.

    References
    ----------
    Olkin, I. & Pratt, J. W. (1958). Unbiased estimation of certain correlation coefficients. Annals of
    Mathematical Statistics, 29, 201-211.

    Examples
    --------
    >>> yi, vi = unbiased_correlation(0.62, 15)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.6363 0.0253
    """
    one_of("vtype", vtype, ("LS", "UB"))
    r, n = _pairs(ri, ni, 4)
    whole = np.abs(r) == 1
    G = np.where(whole, r, r * _hypergeometric_mean(r, n - 4.0, half=True))
    if vtype == "LS":
        return as_effects(G, (1.0 - G**2) ** 2 / (n - 1.0))
    F = _hypergeometric_mean(r, n - 3.0, half=False)
    vi = G**2 - 1.0 + (n - 3.0) / (n - 2.0) * (1.0 - r) * (1.0 + r) * F
    # F grows without bound where r goes to 0 and n is 4.
    return as_effects(G, np.where(whole, 0.0, np.where((r == 0) & (n <= 4), np.nan, vi)))


def _hypergeometric_mean(r: FloatArray, power: FloatArray, *, half: bool) -> FloatArray:
    """F(1/2, 1/2; power/2 + 1; 1 - r^2) if `half`, else F(1, 1; power/2 + 3/2; 1 - r^2).

    By Euler's integral with t = sin(theta)^2 these are means of (1 - (1 - r^2) sin(theta)^2)^-1/2 and of its
    square over 0 < theta < pi/2, with weights cos(theta)^power and cos(theta)^power sin(theta). The library's
    hyp2f1 has no digits left for large n with small r. The mean is taken by tanh-sinh quadrature, which
    resolves both ends.
    """
    step = np.linspace(-4.5, 4.5, 361)
    e = np.exp(-np.pi * np.abs(np.sinh(step)))
    near, far = e / (1.0 + e), 1.0 / (1.0 + e)
    q, rest = np.where(step < 0, near, far), np.where(step < 0, far, near)
    sine, cosine = np.sin(np.pi / 2.0 * q), np.sin(np.pi / 2.0 * rest)
    log_weight = np.expand_dims(power, -1) * np.where(
        sine < 0.5, np.log1p(-(np.minimum(sine, 0.5) ** 2)) / 2.0, np.log(cosine)
    )
    weight = np.exp(log_weight) * np.cosh(step) * q * rest * (1.0 if half else sine)
    # 1 - (1 - r^2) sin^2 = cos^2 + r^2 sin^2, which does not cancel.
    base = cosine**2 + np.expand_dims(r**2, -1) * sine**2
    with np.errstate(divide="ignore"):
        mean = np.sum(weight * base ** (-0.5 if half else -1.0), axis=-1) / np.sum(weight, axis=-1)
    return np.asarray(mean)


def fisher_z(ri: ArrayLike, ni: ArrayLike) -> EffectSizes:
    """Correlation on Fisher's scale (measure ``ZCOR``): atanh(r), with variance 1 / (n - 3).

    Parameters
    ----------
    ri : array_like, shape (k,)
        Correlations, strictly between -1 and 1.
    ni : array_like, shape (k,)
        Sample sizes, >= 4.

    Returns
    -------
    EffectSizes
        On the z scale; np.tanh takes it back.

    Raises
    ------
    DataError
        If a value is missing, r is not inside (-1, 1), or n is below 4.

    References
    ----------
    Fisher, R. A. (1921). On the "probable error" of a coefficient of correlation deduced from a small sample.
    Metron, 1, 3-32.

    Examples
    --------
    >>> yi, vi = fisher_z(0.62, 15)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.7250 0.0833
    """
    a = float_arrays(ri=ri, ni=ni)
    rules = Rules(a).at_least(4, "ni")
    rules.need("ri must lie strictly between -1 and 1", np.abs(a["ri"]) < 1, "ri").check()
    return as_effects(np.arctanh(a["ri"]), 1.0 / (a["ni"] - 3.0))


def point_biserial(
    m1i: ArrayLike, sd1i: ArrayLike, n1i: ArrayLike, m2i: ArrayLike, sd2i: ArrayLike, n2i: ArrayLike
) -> EffectSizes:
    """Point-biserial correlation between group and outcome (measure ``RPB``), group sizes taken as fixed.

    r = d / sqrt(d^2 + h) as in `d_to_r`, from Cohen's d and its variance 1/n1i + 1/n2i + d^2 / (2 (n1i +
    n2i)).

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`.

    Returns
    -------
    EffectSizes
        Correlations; positive when group 1 has the larger mean.

    Raises
    ------
    DataError
        As `hedges_g`.

    References
    ----------
    Jacobs, P. & Viechtbauer, W. (2017). Research Synthesis Methods, 8, 161-180.

    Examples
    --------
    >>> yi, vi = point_biserial(5, 2, 12, 4, 2.5, 8)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.2277 0.0485
    """
    d, vd = hedges_g(m1i, sd1i, n1i, m2i, sd2i, n2i, correction="none")
    return d_to_r(d, vd, n1i, n2i)


def biserial(
    m1i: ArrayLike, sd1i: ArrayLike, n1i: ArrayLike, m2i: ArrayLike, sd2i: ArrayLike, n2i: ArrayLike
) -> EffectSizes:
    """Biserial correlation, for groups made by cutting a normal variable in two (measure ``RBIS``).

    r = r_pb sqrt(p q) / f with p = n1i / N, q = 1 - p and f the normal density at the z with P(Z > z) = p.
    Variance (p q / f^2 - (3/2 + (1 - p z / f)(1 + q z / f)) r^2 + r^4) / (N - 1) (Soper 1914).

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, n1i, n2i : array_like, shape (k,)
        As in `hedges_g`.

    Returns
    -------
    EffectSizes
        Correlations; positive when group 1 has the larger mean. Can exceed 1 in size.

    Raises
    ------
    DataError
        As `hedges_g`.

    References
    ----------
    Soper, H. E. (1914). On the probable error of the bi-serial expression for the correlation coefficient.
    Biometrika, 10, 384-390. Jacobs, P. & Viechtbauer, W. (2017). Research Synthesis Methods, 8, 161-180.

    Examples
    --------
    >>> yi, vi = biserial(5, 2, 12, 4, 2.5, 8)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.2888 0.0739
    """
    r_pb, _ = point_biserial(m1i, sd1i, n1i, m2i, sd2i, n2i)
    a = float_arrays(n1i=n1i, n2i=n2i)
    total = a["n1i"] + a["n2i"]
    p, q = a["n1i"] / total, a["n2i"] / total
    z = -special.ndtri(p)
    f = np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)
    r = r_pb * np.sqrt(p * q) / f
    spread = p * q / f**2 - (1.5 + (1.0 - p * z / f) * (1.0 + q * z / f)) * r**2 + r**4
    return as_effects(r, spread / (total - 1.0))
