"""From one reported test to Hedges' g: t, F, p or the correlation between arm and outcome.

Every function gives `ReportedEffect(yi, vi, route)`, where `route` says in words how the number was reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.effects.continuous import smd_variance
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import FloatArray, Rules, as_effects, float_arrays, one_of

# The variance formulas that need no other row.
ROW_VTYPES = ("LS", "LS2", "UB")


class ReportedEffect(NamedTuple):
    """Hedges' g from a reported statistic.

    Attributes
    ----------
    yi, vi : ndarray or float64
        Effect size and its sampling variance.
    route : str
        How they were reached, in words.
    """

    yi: Any
    vi: Any
    route: str


def _direction(favours: str | int | Sequence[str] | ArrayLike) -> FloatArray:
    """+1 for group 1 (``"mi"``), -1 for group 2 (``"cbt"``); numbers give their sign."""
    values = np.asarray(favours)
    if values.dtype.kind in "OUS":
        texts = values.astype(str)
        unknown = sorted(set(texts[~np.isin(texts, ("mi", "cbt"))].ravel().tolist()))
        if unknown:
            raise ValueError(f"favours must be 'mi' (group 1) or 'cbt' (group 2), or a sign, not {unknown[0]!r}.")
        return np.asarray(np.where(texts == "mi", 1.0, -1.0))
    sign = np.sign(values.astype(np.float64))
    if not np.all(np.abs(sign) == 1):
        raise ValueError("favours must be 'mi' (group 1) or 'cbt' (group 2), or a sign that is not 0.")
    return np.asarray(sign)


def g_from_t(
    ti: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    *,
    dof: ArrayLike | None = None,
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from the t statistic of two independent groups.

    d = t sqrt(1/n1i + 1/n2i), g = J(m) d, m = n1i + n2i - 2. The shortcut 2t / sqrt(dof), which is right only
    for large and equal groups, is not used.

    Parameters
    ----------
    ti : array_like
        Student's t with equal variances assumed, positive when group 1 did better.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    dof : array_like, optional
        The reported degrees of freedom, as a check: they must be n1i + n2i - 2.
    vtype : {"LS", "LS2", "UB"}
        Variance formula, see `hedges_g`.
    correction : {"exact", "approx", "none"}
        Form of J.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If a value is missing, an n is below 2, or `dof` contradicts the sample sizes.

    Examples
    --------
    >>> yi, vi, route = g_from_t(2.51, 8, 8, dof=14)
    >>> print(f"{yi:.4f} {vi:.4f}")
    1.1863 0.2940
    """
    one_of("vtype", vtype, ROW_VTYPES)
    named = {"ti": ti, "n1i": n1i, "n2i": n2i} | ({} if dof is None else {"dof": dof})
    a = float_arrays(**named)
    rules = Rules(a).at_least(2, "n1i", "n2i")
    n1, n2 = a["n1i"], a["n2i"]
    if dof is not None:
        rules.need("dof must be n1i + n2i - 2", a["dof"] == n1 + n2 - 2.0, "dof", "n1i", "n2i")
    rules.check()
    J = small_sample_correction(n1 + n2 - 2.0, correction)
    g = J * a["ti"] * np.sqrt(1.0 / n1 + 1.0 / n2)
    return ReportedEffect(*as_effects(g, smd_variance(g, J, n1, n2, vtype)), "t statistic and arm sizes")


def g_from_f(
    fi: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    favours: str | int | ArrayLike,
    *,
    dof1: float = 1,
    dof2: ArrayLike | None = None,
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from an F statistic with one numerator degree of freedom: t = sqrt(F), signed by `favours`.

    Parameters
    ----------
    fi : array_like
        F of two independent groups, >= 0. Not of a model with covariates, whose error variance is another
        one.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    favours : {"mi", "cbt"} or sign
        The group that did better; F itself has no direction.
    dof1 : float
        Numerator degrees of freedom: must be 1.
    dof2 : array_like, optional
        Reported denominator degrees of freedom, checked against n1i + n2i - 2.
    vtype, correction
        As in `g_from_t`.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        As `g_from_t`, and if F is negative or `dof1` is not 1.

    Examples
    --------
    >>> yi, vi, _ = g_from_f(2.51**2, 8, 8, "mi", dof2=14)
    >>> print(f"{yi:.4f} {vi:.4f}")
    1.1863 0.2940
    """
    a = float_arrays(fi=fi, dof1=dof1)
    rules = Rules(a).need("fi must be 0 or more", a["fi"] >= 0, "fi")
    rules.need("dof1 must be 1 (an F with more degrees of freedom has no direction)", a["dof1"] == 1, "dof1").check()
    t = np.sqrt(a["fi"]) * _direction(favours)
    yi, vi, _ = g_from_t(t, n1i, n2i, dof=dof2, vtype=vtype, correction=correction)
    return ReportedEffect(yi, vi, "F statistic with one degree of freedom, direction and arm sizes")


def g_from_p(
    p_value: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    favours: str | int | ArrayLike,
    *,
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from the exact two-sided p-value of a t test of two independent groups, and its direction.

    t is the 1 - p/2 quantile of t(n1i + n2i - 2). "p < .05" is not a p-value but a bound: use `bound`.

    Parameters
    ----------
    p_value : array_like
        Two-sided, above 0 and at most 1.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    favours : {"mi", "cbt"} or sign
        The group that did better.
    vtype, correction
        As in `g_from_t`.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If p is not in (0, 1], a value is missing, or an n is below 2.

    Examples
    --------
    >>> yi, vi, _ = g_from_p(0.05, 20, 20, "mi")
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.6274 0.1049
    """
    a = float_arrays(p_value=p_value, n1i=n1i, n2i=n2i)
    p = a["p_value"]
    rules = Rules(a).at_least(2, "n1i", "n2i")
    rules.need("p_value must be above 0 and at most 1", (p > 0) & (p <= 1), "p_value").check()
    # The lower tail is inverted: 1 - p/2 would lose every digit of a small p.
    t = -special.stdtrit(a["n1i"] + a["n2i"] - 2.0, p / 2.0) * _direction(favours)
    yi, vi, _ = g_from_t(t, n1i, n2i, vtype=vtype, correction=correction)
    return ReportedEffect(yi, vi, "two-sided p-value, direction and arm sizes")


def g_from_r(
    ri: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    *,
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from a point-biserial correlation between arm and outcome: t = r sqrt(m / (1 - r^2)).

    Parameters
    ----------
    ri : array_like
        Correlation, strictly between -1 and 1, positive when group 1 did better.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    vtype, correction
        As in `g_from_t`.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If r is not inside (-1, 1), a value is missing, or an n is below 2.

    Examples
    --------
    >>> yi, vi, _ = g_from_r(0.30, 25, 25)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.6066 0.0837
    """
    a = float_arrays(ri=ri, n1i=n1i, n2i=n2i)
    r = a["ri"]
    rules = Rules(a).at_least(2, "n1i", "n2i")
    rules.need("ri must lie strictly between -1 and 1", np.abs(r) < 1, "ri").check()
    t = r * np.sqrt((a["n1i"] + a["n2i"] - 2.0) / ((1.0 - r) * (1.0 + r)))
    yi, vi, _ = g_from_t(t, n1i, n2i, vtype=vtype, correction=correction)
    return ReportedEffect(yi, vi, "point-biserial correlation and arm sizes")
