"""Proportions of single groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.records import EffectSizes, FloatArray, Rules, as_effects, defined, float_arrays


def _counts(xi: ArrayLike, ni: ArrayLike) -> tuple[FloatArray, FloatArray]:
    a = float_arrays(xi=xi, ni=ni)
    rules = Rules(a).at_least(0, "xi").at_least(1, "ni")
    rules.need("xi must not exceed ni", a["xi"] <= a["ni"], "xi", "ni").check()
    return a["xi"], a["ni"]


def proportion(xi: ArrayLike, ni: ArrayLike) -> EffectSizes:
    """Proportion as it is (measure ``PR``): p = xi / ni with variance p (1 - p) / ni.

    Parameters
    ----------
    xi : array_like, shape (k,)
        Events, >= 0.
    ni : array_like, shape (k,)
        Group sizes, >= 1.

    Returns
    -------
    EffectSizes
        Proportions; the variance is 0 where xi is 0 or ni, which is why the other scales exist.

    Raises
    ------
    DataError
        If a value is missing or negative, or xi exceeds ni.

    Examples
    --------
    >>> yi, vi = proportion(12, 40)
    >>> print(f"{yi:.4f} {vi:.5f}")
    0.3000 0.00525
    """
    x, n = _counts(xi, ni)
    return as_effects(x / n, x * (n - x) / n**3)


def logit_proportion(xi: ArrayLike, ni: ArrayLike, *, add: float = 0.5) -> EffectSizes:
    """Log odds of a proportion (measure ``PLO``): log(xi / (ni - xi)) with variance 1/xi + 1/(ni - xi).

    Parameters
    ----------
    xi, ni : array_like, shape (k,)
        As in `proportion`.
    add : float
        Added to events and non-events of the rows where one of them is 0.

    Returns
    -------
    EffectSizes
        Log odds; NaN where a count stays 0.

    Raises
    ------
    DataError
        As `proportion`.

    Examples
    --------
    >>> yi, vi = logit_proportion(12, 40)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.8473 0.1190
    """
    x, n = _counts(xi, ni)
    zero = (x == 0) | (x == n)
    events, others = np.where(zero, x + add, x), np.where(zero, n - x + add, n - x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return defined(np.log(events) - np.log(others), 1.0 / events + 1.0 / others)


def arcsine_proportion(xi: ArrayLike, ni: ArrayLike) -> EffectSizes:
    """Arcsine square root of a proportion (measure ``PAS``), with variance 1 / (4 ni).

    Parameters
    ----------
    xi, ni : array_like, shape (k,)
        As in `proportion`.

    Returns
    -------
    EffectSizes
        In radians; np.sin squared takes it back.

    Raises
    ------
    DataError
        As `proportion`.

    Examples
    --------
    >>> yi, vi = arcsine_proportion(12, 40)
    >>> print(f"{yi:.4f} {vi:.5f}")
    0.5796 0.00625
    """
    x, n = _counts(xi, ni)
    return as_effects(np.arcsin(np.sqrt(x / n)), 1.0 / (4.0 * n))


def freeman_tukey(xi: ArrayLike, ni: ArrayLike) -> EffectSizes:
    """Freeman-Tukey double arcsine of a proportion (measure ``PFT``).

    (arcsin sqrt(xi / (ni + 1)) + arcsin sqrt((xi + 1) / (ni + 1))) / 2 with variance 1 / (4 ni + 2).

    Parameters
    ----------
    xi, ni : array_like, shape (k,)
        As in `proportion`.

    Returns
    -------
    EffectSizes
        In radians. Taking a pooled value back needs one sample size for many and can mislead.

    Raises
    ------
    DataError
        As `proportion`.

    References
    ----------
    Freeman, M. F. & Tukey, J. W. (1950). Transformations related to the angular and the square root. Annals
    of Mathematical Statistics, 21, 607-611. Miller, J. J. (1978). The inverse of the Freeman-Tukey double
    arcsine transformation. The American Statistician, 32, 138.

    Examples
    --------
    >>> yi, vi = freeman_tukey(12, 40)
    >>> print(f"{yi:.4f} {vi:.6f}")
    0.5849 0.006173
    """
    x, n = _counts(xi, ni)
    yi = (np.arcsin(np.sqrt(x / (n + 1.0))) + np.arcsin(np.sqrt((x + 1.0) / (n + 1.0)))) / 2.0
    return as_effects(yi, 1.0 / (4.0 * n + 2.0))
