"""Two groups compared on a yes/no outcome: odds ratio, risk ratio, risk difference, arcsine difference, Peto.

Positive means more events in group 1. All but the risk difference are on a scale without unit; ratios are
logs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.cells_2x2 import two_by_two
from metamiq.effects.records import EffectSizes, as_effects, defined


def log_odds_ratio(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Log odds ratio (measure ``OR``).

    log(a d / (b c)) with variance 1/a + 1/b + 1/c + 1/d.

    Parameters
    ----------
    ai, ci : array_like, shape (k,)
        Events in group 1 and 2, >= 0.
    n1i, n2i : array_like, shape (k,)
        Group sizes; may be None when `bi` and `di` are given.
    bi, di : array_like, optional
        People without event in group 1 and 2.
    add : float
        Added to the four cells of the tables that `to` names.
    to : {"only0", "all", "if0all", "none"}
        Tables with a zero cell; all; all if any has a zero; none.
    drop00 : bool
        Give NaN for tables without events, or with nothing but events, in both groups.

    Returns
    -------
    EffectSizes
        Log odds ratios; NaN where a cell is 0 after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Woolf, B. (1955). On estimating the relation between blood group and disease. Annals of Human Genetics,
    19, 251-253.

    Examples
    --------
    >>> yi, vi = log_odds_ratio(4, 123, 11, 139)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.9387 0.3571
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    with np.errstate(divide="ignore", invalid="ignore"):
        yi = (np.log(x.a) - np.log(x.b)) - (np.log(x.c) - np.log(x.d))  # equal arms give exactly 0
        vi = 1.0 / x.a + 1.0 / x.b + 1.0 / x.c + 1.0 / x.d
    return defined(yi, vi)


def log_risk_ratio(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Log risk ratio (measure ``RR``).

    log(p1 / p2) with p1 = a / (a + b), p2 = c / (c + d) and variance 1/a - 1/(a + b) + 1/c - 1/(c + d).

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Log risk ratios; NaN where there is no event in a group after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    Examples
    --------
    >>> yi, vi = log_risk_ratio(4, 123, 11, 139)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.8893 0.3256
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2 = x.a + x.b, x.c + x.d
    with np.errstate(divide="ignore", invalid="ignore"):
        yi = np.log(x.a / n1) - np.log(x.c / n2)
        vi = 1.0 / x.a - 1.0 / n1 + 1.0 / x.c - 1.0 / n2
    return defined(yi, vi)


def risk_difference(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Difference of two risks (measure ``RD``).

    p1 - p2 with variance p1 (1 - p1) / n1 + p2 (1 - p2) / n2.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Differences of proportions, between -1 and 1. Without a zero-cell rule the variance of two groups that
        are all events or all non-events is 0.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    Examples
    --------
    >>> yi, vi = risk_difference(4, 123, 11, 139)
    >>> print(f"{yi:.4f} {vi:.6f}")
    -0.0466 0.000780
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2 = x.a + x.b, x.c + x.d
    return as_effects(x.a / n1 - x.c / n2, x.a * x.b / n1**3 + x.c * x.d / n2**3)


def arcsine_difference(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.0,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Difference of two risks on the arcsine square-root scale (measure ``AS``).

    arcsin(sqrt(p1)) - arcsin(sqrt(p2)) with variance 1/(4 n1) + 1/(4 n2). Zero cells are no problem on this
    scale, so the counts are used as they are and `add` and `to` have no effect.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        In radians.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Rücker, G., Schwarzer, G., Carpenter, J. & Olkin, I. (2009). Why add anything to nothing? Statistics in
    Medicine, 28, 721-738.

    Examples
    --------
    >>> yi, vi = arcsine_difference(4, 123, 11, 139)
    >>> print(f"{yi:.4f} {vi:.6f}")
    -0.1038 0.003831
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2 = x.a + x.b, x.c + x.d
    yi = np.arcsin(np.sqrt(x.a / n1)) - np.arcsin(np.sqrt(x.c / n2))
    return as_effects(yi, 1.0 / (4.0 * n1) + 1.0 / (4.0 * n2))


def peto_log_odds_ratio(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Log odds ratio by Peto's one-step method (measure ``PETO``).

    (O - E) / V with O = a, E = n1 (a + c) / N, V = n1 n2 (a + c)(b + d) / (N^2 (N - 1)); variance 1/V.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Log odds ratios; NaN where nobody or everybody has the event after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Yusuf, S., Peto, R., Lewis, J., Collins, R. & Sleight, P. (1985). Beta blockade during and after
    myocardial infarction. Progress in Cardiovascular Diseases, 27, 335-371.

    Examples
    --------
    >>> yi, vi = peto_log_odds_ratio(4, 123, 11, 139)
    >>> print(f"{yi:.4f} {vi:.4f}")
    -0.8604 0.2828
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2, events, others = x.a + x.b, x.c + x.d, x.a + x.c, x.b + x.d
    total = n1 + n2
    with np.errstate(divide="ignore", invalid="ignore"):
        V = n1 * n2 * events * others / (total**2 * (total - 1.0))
        return defined((x.a - n1 * events / total) / V, 1.0 / V)
