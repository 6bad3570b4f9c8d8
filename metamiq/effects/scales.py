"""From one scale of effect to another: standardised differences, correlations and log odds ratios."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.records import EffectSizes, Rules, as_effects, float_arrays, one_of

# What a log odds ratio is in SDs of the outcome that was cut in two: the SD of a logistic variable, or Cox's
# 1.65 for a normal one.
SD_OF_LOG_ODDS = {"logistic": np.pi / np.sqrt(3.0), "normal": 1.65}


def log_or_to_d(yi: ArrayLike, vi: ArrayLike, *, distribution: str = "logistic") -> EffectSizes:
    """Turn a log odds ratio into a standardised mean difference.

    d = log(OR) sqrt(3) / pi (``logistic``) or log(OR) / 1.65 (``normal``), and the variance with the square.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Log odds ratios and variances; NaN stays NaN.
    distribution : {"logistic", "normal"}
        Distribution of the outcome within groups.

    Returns
    -------
    EffectSizes
        In SDs, same sign.

    References
    ----------
    Chinn, S. (2000). A simple method for converting an odds ratio to effect size for use in meta-analysis.
    Statistics in Medicine, 19, 3127-3131.

    Examples
    --------
    >>> yi, vi = log_or_to_d(0.9069, 0.0676)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.5000 0.0205
    """
    one_of("distribution", distribution, tuple(SD_OF_LOG_ODDS))
    a = float_arrays(yi=yi, vi=vi)
    factor = SD_OF_LOG_ODDS[distribution]
    return as_effects(a["yi"] / factor, a["vi"] / factor**2)


def d_to_log_or(yi: ArrayLike, vi: ArrayLike, *, distribution: str = "logistic") -> EffectSizes:
    """Turn a standardised mean difference into a log odds ratio; the inverse of `log_or_to_d`.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Standardised differences and variances; NaN stays NaN.
    distribution : {"logistic", "normal"}
        Distribution of the outcome within groups.

    Returns
    -------
    EffectSizes
        Log odds ratios, same sign.

    Examples
    --------
    >>> yi, vi = d_to_log_or(0.5, 0.0205)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.9069 0.0674
    """
    one_of("distribution", distribution, tuple(SD_OF_LOG_ODDS))
    a = float_arrays(yi=yi, vi=vi)
    factor = SD_OF_LOG_ODDS[distribution]
    return as_effects(a["yi"] * factor, a["vi"] * factor**2)


def d_to_r(yi: ArrayLike, vi: ArrayLike, n1i: ArrayLike, n2i: ArrayLike) -> EffectSizes:
    """Turn a standardised mean difference d into a point-biserial correlation.

    r = d / sqrt(d^2 + h) with h = m/n1i + m/n2i, m = n1i + n2i - 2; variance h^2 vi / (d^2 + h)^3 by the
    delta method.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Cohen's d (not corrected) and its variance.
    n1i, n2i : array_like, shape (k,)
        Group sizes, >= 2.

    Returns
    -------
    EffectSizes
        Correlations, same sign.

    Raises
    ------
    DataError
        If a value is missing, a variance is negative, or an n is below 2.

    References
    ----------
    Jacobs, P. & Viechtbauer, W. (2017). Estimation of the biserial correlation and its sampling variance for
    use in meta-analysis. Research Synthesis Methods, 8, 161-180.

    Examples
    --------
    >>> yi, vi = d_to_r(0.5, 0.0844, 25, 25)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.2472 0.0182
    """
    a = float_arrays(yi=yi, vi=vi, n1i=n1i, n2i=n2i)
    Rules(a).at_least(0, "vi").at_least(2, "n1i", "n2i").check()
    m = a["n1i"] + a["n2i"] - 2.0
    h = m / a["n1i"] + m / a["n2i"]
    total = a["yi"] ** 2 + h
    return as_effects(a["yi"] / np.sqrt(total), h**2 * a["vi"] / total**3)


def r_to_d(yi: ArrayLike, vi: ArrayLike, n1i: ArrayLike, n2i: ArrayLike) -> EffectSizes:
    """Turn a point-biserial correlation into Cohen's d; the inverse of `d_to_r`.

    d = r sqrt(h / (1 - r^2)); variance h vi / (1 - r^2)^3 by the delta method.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Correlations between group and outcome, inside (-1, 1), and their variances.
    n1i, n2i : array_like, shape (k,)
        Group sizes, >= 2.

    Returns
    -------
    EffectSizes
        Cohen's d, without the small-sample correction.

    Raises
    ------
    DataError
        If a value is missing, r is not inside (-1, 1), a variance is negative, or an n is below 2.

    Examples
    --------
    >>> yi, vi = r_to_d(0.2475, 0.0182, 25, 25)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.5006 0.0845
    """
    a = float_arrays(yi=yi, vi=vi, n1i=n1i, n2i=n2i)
    rules = Rules(a).at_least(0, "vi").at_least(2, "n1i", "n2i")
    rules.need("yi must lie strictly between -1 and 1", np.abs(a["yi"]) < 1, "yi").check()
    m = a["n1i"] + a["n2i"] - 2.0
    h = m / a["n1i"] + m / a["n2i"]
    left = (1.0 - a["yi"]) * (1.0 + a["yi"])
    return as_effects(a["yi"] * np.sqrt(h / left), h * a["vi"] / left**3)
