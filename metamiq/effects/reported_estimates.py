"""From one reported estimate to Hedges' g: d, g, a difference with its SE or interval, an odds ratio."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.arguments import check_level
from metamiq.effects.continuous import smd_variance
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import FloatArray, Rules, as_effects, float_arrays, one_of
from metamiq.effects.reported import ROW_VTYPES, ReportedEffect, g_from_t
from metamiq.effects.scales import SD_OF_LOG_ODDS
from metamiq.tails import critical_value


def g_from_d(
    di: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    *,
    reported: str = "d",
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from a reported standardised mean difference between the arms.

    ``reported="d"``: g = J d. ``reported="g"``: the value already has the correction and is kept. A
    within-arm (pre-post) d is another quantity and must not be used.

    Parameters
    ----------
    di : array_like
        Reported d or g, positive when group 1 did better.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    reported : {"d", "g"}
        What `di` is.
    vtype, correction
        As in `g_from_t`.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If a value is missing or an n is below 2.

    Examples
    --------
    >>> yi, vi, _ = g_from_d(0.25, 153, 155)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.2494 0.0131
    """
    one_of("reported", reported, ("d", "g"))
    one_of("vtype", vtype, ROW_VTYPES)
    a = float_arrays(di=di, n1i=n1i, n2i=n2i)
    Rules(a).at_least(2, "n1i", "n2i").check()
    n1, n2 = a["n1i"], a["n2i"]
    J = small_sample_correction(n1 + n2 - 2.0, correction)
    g = a["di"] * (J if reported == "d" else 1.0)
    return ReportedEffect(*as_effects(g, smd_variance(g, J, n1, n2, vtype)), f"reported {reported} and arm sizes")


def g_from_se(
    estimate: ArrayLike,
    se: ArrayLike,
    n1i: ArrayLike | None = None,
    n2i: ArrayLike | None = None,
    *,
    scale: str = "g",
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from an estimate and its standard error.

    ``scale="md"``: a difference in raw means over its SE is t, which `g_from_t` turns into g. ``scale="d"``:
    g = J d and vi = J^2 se^2. ``scale="g"``: yi and se^2 as they are; no arm sizes needed.

    Parameters
    ----------
    estimate : array_like
        Difference between the arms, positive when group 1 did better.
    se : array_like
        Its standard error, > 0.
    n1i, n2i : array_like
        Participants analysed per group, >= 2; required for "md" and "d".
    scale : {"g", "d", "md"}
        What `estimate` is.
    vtype, correction
        As in `g_from_t`; `vtype` concerns "md" only, the others keep the reported SE.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If a value is missing, se is not positive, or an n is below 2.

    Examples
    --------
    >>> yi, vi, _ = g_from_se(4.0, 1.6, 20, 20, scale="md")
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.7748 0.1075
    """
    one_of("scale", scale, ("g", "d", "md"))
    a = float_arrays(estimate=estimate, se=se)
    Rules(a).positive("se").check()
    if scale == "g":
        return ReportedEffect(*as_effects(a["estimate"], a["se"] ** 2), "reported g and its standard error")
    if scale == "md":
        yi, vi, _ = g_from_t(
            a["estimate"] / a["se"],
            _given("n1i", n1i),
            _given("n2i", n2i),
            vtype=vtype,
            correction=correction,
        )
        return ReportedEffect(yi, vi, "mean difference, its standard error and arm sizes")
    b = float_arrays(**a, n1i=n1i, n2i=n2i)
    Rules(b).at_least(2, "n1i", "n2i").check()
    J = small_sample_correction(b["n1i"] + b["n2i"] - 2.0, correction)
    return ReportedEffect(
        *as_effects(J * b["estimate"], (J * b["se"]) ** 2), "reported d, its standard error and arm sizes"
    )


def g_from_ci(
    ci_low: ArrayLike,
    ci_high: ArrayLike,
    n1i: ArrayLike | None = None,
    n2i: ArrayLike | None = None,
    *,
    estimate: ArrayLike | None = None,
    scale: str = "g",
    level: float = 0.95,
    vtype: str = "LS",
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from a reported confidence interval.

    se = (ci_high - ci_low) / (2 q), where q is the t(n1i + n2i - 2) quantile for a difference in raw means
    (``"md"``) and the normal one for a standardised difference (``"d"``, ``"g"``); the estimate is the middle
    of the interval unless it is given. Then as `g_from_se`.

    Parameters
    ----------
    ci_low, ci_high : array_like
        Limits, ci_low < ci_high, positive when group 1 did better.
    n1i, n2i : array_like
        Participants analysed per group; required for "md" and "d".
    estimate : array_like, optional
        The reported estimate; must lie inside the interval.
    scale : {"g", "d", "md"}
        What the interval is about.
    level : float
        Its confidence level.
    vtype, correction
        As in `g_from_se`.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If the limits are not in order, the estimate lies outside, a value is missing, or an n is below 2.

    Examples
    --------
    >>> yi, vi, _ = g_from_ci(0.10, 0.90)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.5000 0.0417
    """
    one_of("scale", scale, ("g", "d", "md"))
    check_level(level)
    a = float_arrays(ci_low=ci_low, ci_high=ci_high)
    rules = Rules(a).need("ci_low must be below ci_high", a["ci_low"] < a["ci_high"], "ci_low", "ci_high")
    rules.check()
    middle = (a["ci_low"] + a["ci_high"]) / 2.0
    if estimate is not None:
        b = float_arrays(estimate=estimate, **a)
        inside = (b["estimate"] > b["ci_low"]) & (b["estimate"] < b["ci_high"])
        Rules(b).need("estimate must lie inside its interval", inside, "estimate", "ci_low", "ci_high").check()
        middle = b["estimate"]
    dof: ArrayLike | None = None
    if scale == "md":
        c = float_arrays(n1i=n1i, n2i=n2i)
        Rules(c).at_least(2, "n1i", "n2i").check()
        dof = c["n1i"] + c["n2i"] - 2.0
    se = (a["ci_high"] - a["ci_low"]) / (2.0 * critical_value(level, dof))
    yi, vi, _ = g_from_se(middle, se, n1i, n2i, scale=scale, vtype=vtype, correction=correction)
    what = {"g": "reported g", "d": "reported d", "md": "mean difference"}[scale]
    return ReportedEffect(yi, vi, f"{what} and its {100 * level:g}% confidence interval")


def g_from_or(
    odds_ratio: ArrayLike,
    ci_low: ArrayLike,
    ci_high: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
    *,
    level: float = 0.95,
    correction: str = "exact",
) -> ReportedEffect:
    """Hedges' g from an odds ratio with its interval: d = log(OR) sqrt(3) / pi (logistic outcomes).

    The SE of the log odds ratio is (log ci_high - log ci_low) / (2 z); g = J d and vi = J^2 (sqrt(3) / pi)^2
    se^2.

    Parameters
    ----------
    odds_ratio, ci_low, ci_high : array_like
        Odds ratio and limits, > 0, above 1 when group 1 did better.
    n1i, n2i : array_like
        Participants analysed per group, >= 2.
    level : float
        Confidence level of the interval.
    correction : {"exact", "approx", "none"}
        Form of J.

    Returns
    -------
    ReportedEffect
        ``yi``, ``vi`` and the route.

    Raises
    ------
    DataError
        If a value is missing or not positive, the limits are not in order, or an n is below 2.

    References
    ----------
    Chinn, S. (2000). A simple method for converting an odds ratio to effect size for use in meta-analysis.
    Statistics in Medicine, 19, 3127-3131.

    Examples
    --------
    >>> yi, vi, _ = g_from_or(2.0, 1.0, 4.0, 50, 50)
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.3792 0.0374
    """
    check_level(level)
    a = float_arrays(odds_ratio=odds_ratio, ci_low=ci_low, ci_high=ci_high, n1i=n1i, n2i=n2i)
    rules = Rules(a).positive("odds_ratio", "ci_low", "ci_high").at_least(2, "n1i", "n2i")
    ordered = (a["ci_low"] < a["odds_ratio"]) & (a["odds_ratio"] < a["ci_high"])
    rules.need("odds_ratio must lie inside its interval", ordered, "odds_ratio", "ci_low", "ci_high").check()
    se = (np.log(a["ci_high"]) - np.log(a["ci_low"])) / (2.0 * critical_value(level))
    J = small_sample_correction(a["n1i"] + a["n2i"] - 2.0, correction)
    return ReportedEffect(
        *as_effects(
            J * np.log(a["odds_ratio"]) / SD_OF_LOG_ODDS["logistic"], (J * se / SD_OF_LOG_ODDS["logistic"]) ** 2
        ),
        f"odds ratio and its {100 * level:g}% confidence interval, on the logistic scale",
    )


def _given(name: str, value: ArrayLike | None) -> FloatArray:
    return float_arrays(**{name: value})[name]
