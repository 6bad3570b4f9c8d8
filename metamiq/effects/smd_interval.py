"""Confidence interval of a single standardised mean difference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.arguments import check_level
from metamiq.effects.continuous import smd_variance
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import FloatArray, Rules, float_arrays, one_of
from metamiq.tails import critical_value


class EffectInterval(NamedTuple):
    """Confidence limits of effect sizes."""

    ci_low: FloatArray
    ci_high: FloatArray


def hedges_g_ci(
    yi: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    *,
    method: str = "exact",
    level: float = 0.95,
    vtype: str = "LS",
    correction: str = "exact",
) -> EffectInterval:
    """Confidence interval for the standardised mean difference behind a single Hedges' g.

    ``exact`` inverts the noncentral t distribution: with t = (g / J) / sqrt(1/n1i + 1/n2i), the limits are
    sqrt(1/n1i + 1/n2i) times the noncentralities at which t is the (1 + level)/2 and (1 - level)/2 quantile.
    ``normal`` is g plus and minus z sqrt(vi).

    Parameters
    ----------
    yi : array_like, shape (k,)
        Hedges' g, corrected as `correction` says.
    n1i, n2i : array_like, shape (k,)
        Participants analysed per group, >= 2.
    method : {"exact", "normal"}
        See above. The exact interval assumes normal data with one SD, nothing else.
    level : float
        Confidence level, 0.95 for 95%.
    vtype : {"LS", "LS2", "UB"}
        Variance formula of the normal interval.
    correction : {"exact", "approx", "none"}
        The form of J inside `yi`.

    Returns
    -------
    EffectInterval
        ``ci_low`` and ``ci_high``, without unit; NaN for effects so large that the noncentral t cannot be computed
        (1000 from 100,000 people per group, say).

    Raises
    ------
    DataError
        If a value is missing or an n is below 2.

    References
    ----------
    Hedges, L. V. & Olkin, I. (1985). Statistical Methods for Meta-Analysis, ch. 5. Steiger, J. H. & Fouladi,
    R. T. (1997). Noncentrality interval estimation and the evaluation of statistical models.

    Examples
    --------
    >>> low, high = hedges_g_ci(0.5, 20, 20)
    >>> print(f"{low:.4f} {high:.4f}")
    -0.1233 1.1372
    """
    one_of("method", method, ("exact", "normal"))
    one_of("vtype", vtype, ("LS", "LS2", "UB"))
    check_level(level)
    a = float_arrays(yi=yi, n1i=n1i, n2i=n2i)
    Rules(a).at_least(2, "n1i", "n2i").check()
    g, n1, n2 = a["yi"], a["n1i"], a["n2i"]
    J = small_sample_correction(n1 + n2 - 2.0, correction)
    if method == "normal":
        half = critical_value(level) * np.sqrt(smd_variance(g, J, n1, n2, vtype))
        return EffectInterval((g - half)[()], (g + half)[()])
    scale = np.sqrt(1.0 / n1 + 1.0 / n2)
    t = g / J / scale
    m = n1 + n2 - 2.0
    low = scale * _noncentrality(m, (1.0 + level) / 2.0, t)
    high = scale * _noncentrality(m, (1.0 - level) / 2.0, t)
    return EffectInterval(low[()], high[()])


def _noncentrality(dof: FloatArray, probability: float, t: FloatArray) -> FloatArray:
    """Noncentrality at which P(T <= t) = probability, by bisection: the first falls as the second grows."""
    # P(T <= t) for t is 1 - P(T <= -t) with the noncentrality turned round, so that t >= 0 will do.
    size, p = np.abs(t), np.where(t < 0, 1.0 - probability, probability)
    # T <= t when Z + nc <= t V, V = sqrt(chi2/dof). Both halves of the tail given to Z and to V bound nc (Bonferroni);
    # a wider search would meet noncentralities at which nctdtr is wrong.
    low = size * np.sqrt(special.chdtri(dof, (1.0 + p) / 2.0) / dof) - special.ndtri((1.0 + p) / 2.0)
    high = size * np.sqrt(special.chdtri(dof, p / 2.0) / dof) + special.ndtri(1.0 - p / 2.0)
    for _ in range(80):
        middle = (low + high) / 2.0
        above = special.nctdtr(dof, middle, size) > p
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    found = np.abs(special.nctdtr(dof, low, size) - p) < 1e-6  # false for NaN
    return np.where(found, np.where(t < 0, -low, low), np.nan)
