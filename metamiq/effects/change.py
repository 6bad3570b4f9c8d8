"""Change within one group measured twice, and the difference in change between two groups.

The correlation between the two measurements, `ri`, is always required: no default could be right, and the
variance hangs on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import EffectSizes, FloatArray, Rules, as_effects, float_arrays, one_of

STANDARDISERS = ("all_four", "pooled_post", "pooled_pre")


def _check_ri(rules: Rules, ri: FloatArray) -> Rules:
    return rules.need("ri must lie strictly between -1 and 1", np.abs(ri) < 1, "ri")


def _twice(
    m1i: ArrayLike, m2i: ArrayLike, sd1i: ArrayLike, sd2i: ArrayLike, ni: ArrayLike, ri: ArrayLike
) -> tuple[FloatArray, ...]:
    a = float_arrays(m1i=m1i, m2i=m2i, sd1i=sd1i, sd2i=sd2i, ni=ni, ri=ri)
    rules = Rules(a).positive("sd1i", "sd2i").at_least(2, "ni")
    _check_ri(rules, a["ri"]).check()
    return tuple(a.values())


def mean_change(
    m1i: ArrayLike, m2i: ArrayLike, sd1i: ArrayLike, sd2i: ArrayLike, ni: ArrayLike, ri: ArrayLike
) -> EffectSizes:
    """Mean change in the units of the instrument (measure ``MC``).

    m1i - m2i with variance (sd1i^2 + sd2i^2 - 2 ri sd1i sd2i) / ni.

    Parameters
    ----------
    m1i, m2i : array_like, shape (k,)
        Means at the two times; m1i - m2i is the change, so for post minus pre `m1i` is post.
    sd1i, sd2i : array_like, shape (k,)
        SDs at these times, > 0.
    ni : array_like, shape (k,)
        People measured at both times, >= 2.
    ri : array_like, shape (k,)
        Correlation between the two measurements, required.

    Returns
    -------
    EffectSizes
        In the units of the instrument; positive when the mean is larger at time 1.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    Examples
    --------
    >>> yi, vi = mean_change(26, 22, 30**0.5, 20**0.5, 60, 0.7)
    >>> print(f"{yi:.1f} {vi:.4f}")
    4.0 0.2618
    """
    m1, m2, sd1, sd2, n, r = _twice(m1i, m2i, sd1i, sd2i, ni, ri)
    return as_effects(m1 - m2, (sd1**2 + sd2**2 - 2.0 * r * sd1 * sd2) / n)


def standardized_mean_change(
    m1i: ArrayLike,
    m2i: ArrayLike,
    sd1i: ArrayLike,
    sd2i: ArrayLike | None,
    ni: ArrayLike,
    ri: ArrayLike,
    *,
    standardiser: str,
    correction: str = "exact",
) -> EffectSizes:
    """Mean change over a standard deviation (measures ``SMCC``, ``SMCR`` and ``SMCRH``).

    With J = J(ni - 1):

    - ``change`` (SMCC): g = J (m1i - m2i) / s, s the SD of the changes, s^2 = sd1i^2 + sd2i^2 - 2 ri sd1i
      sd2i; variance 1/ni + g^2 / (2 ni).
    - ``raw`` (SMCR): g = J (m1i - m2i) / sd1i; variance 2 (1 - ri) / ni + g^2 / (2 ni), which supposes equal
      SDs.
    - ``raw_h`` (SMCRH): the same g; variance s^2 / (sd1i^2 (ni - 1)) + g^2 / (2 (ni - 1)), which lets the SDs
      differ. metafor 4.6 and later give this variance; earlier versions multiply it by J^2.

    The first is on another scale than the other two and than Hedges' g: do not pool them together.

    Parameters
    ----------
    m1i, m2i : array_like, shape (k,)
        Means at the two times, as in `mean_change`.
    sd1i, sd2i : array_like, shape (k,)
        SDs, > 0. ``raw`` and ``raw_h`` divide by `sd1i`: give the SD before treatment there, whichever mean
        is first. ``raw`` does not use `sd2i`, which may be None.
    ni : array_like, shape (k,)
        People measured at both times, >= 2.
    ri : array_like, shape (k,)
        Correlation between the two measurements, required.
    standardiser : {"change", "raw", "raw_h"}
        See above.
    correction : {"exact", "approx", "none"}
        Form of J.

    Returns
    -------
    EffectSizes
        In SDs; positive when the mean is larger at time 1. NaN where ni is 2, for which J is undefined.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    References
    ----------
    Becker, B. J. (1988). Synthesizing standardized mean-change measures. British Journal of Mathematical and
    Statistical Psychology, 41, 257-278. Gibbons, R. D., Hedeker, D. R. & Davis, J. M. (1993). Journal of
    Educational Statistics, 18, 271-279. Bonett, D. G. (2008). Psychological Methods, 13, 99-109 (raw_h).

    Examples
    --------
    >>> yi, vi = standardized_mean_change(38.5, 30.6, 15.0, 11.6, 20, 0.47, standardiser="change")
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.5417 0.0573
    """
    one_of("standardiser", standardiser, ("change", "raw", "raw_h"))
    second = sd1i if standardiser == "raw" and sd2i is None else sd2i
    if second is None:
        float_arrays(sd2i=None)  # says that sd2i must be given
    m1, m2, sd1, sd2, n, r = _twice(m1i, m2i, sd1i, 1.0 if second is None else second, ni, ri)
    J = small_sample_correction(n - 1.0, correction)
    s2 = sd1**2 + sd2**2 - 2.0 * r * sd1 * sd2
    if standardiser == "change":
        g = J * (m1 - m2) / np.sqrt(s2)
        return as_effects(g, 1.0 / n + g**2 / (2.0 * n))
    g = J * (m1 - m2) / sd1
    if standardiser == "raw":
        return as_effects(g, 2.0 * (1.0 - r) / n + g**2 / (2.0 * n))
    return as_effects(g, s2 / (sd1**2 * (n - 1.0)) + g**2 / (2.0 * (n - 1.0)))


def log_ratio_of_means_change(
    m1i: ArrayLike, m2i: ArrayLike, sd1i: ArrayLike, sd2i: ArrayLike, ni: ArrayLike, ri: ArrayLike
) -> EffectSizes:
    """Log ratio of the means of one group at two times (measure ``ROMC``).

    log(m1i / m2i) with variance (sd1i^2 / m1i^2 + sd2i^2 / m2i^2 - 2 ri sd1i sd2i / (m1i m2i)) / ni.

    Parameters
    ----------
    m1i, m2i, sd1i, sd2i, ni, ri : array_like, shape (k,)
        As in `mean_change`; the means must have the same sign and not be zero.

    Returns
    -------
    EffectSizes
        A log ratio.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    References
    ----------
    Lajeunesse, M. J. (2011). On the meta-analysis of response ratios for studies with correlated and
    multi-group designs. Ecology, 92, 2049-2055.

    Examples
    --------
    >>> yi, vi = log_ratio_of_means_change(26, 22, 5.5, 4.5, 60, 0.7)
    >>> print(f"{yi:.4f} {vi:.6f}")
    0.1671 0.000434
    """
    m1, m2, sd1, sd2, n, r = _twice(m1i, m2i, sd1i, sd2i, ni, ri)
    Rules({"m1i": m1, "m2i": m2}).same_sign("m1i", "m2i").check()
    c1, c2 = sd1 / m1, sd2 / m2
    return as_effects(np.log(m1 / m2), (c1**2 + c2**2 - 2.0 * r * c1 * c2) / n)


def pre_post_control(
    m1i_pre: ArrayLike,
    sd1i_pre: ArrayLike | None,
    m1i_post: ArrayLike,
    sd1i_post: ArrayLike | None,
    n1i: ArrayLike,
    m2i_pre: ArrayLike,
    sd2i_pre: ArrayLike | None,
    m2i_post: ArrayLike,
    sd2i_post: ArrayLike | None,
    n2i: ArrayLike,
    ri: ArrayLike,
    *,
    standardiser: str,
    vtype: str = "exact",
    correction: str = "exact",
) -> EffectSizes:
    """Difference in standardised change between two groups (``PPC_PRE``, ``PPC_POST``, ``PPC_ALL``).

    g = J(m) ((m1i_post - m1i_pre) - (m2i_post - m2i_pre)) / s with m = n1i + n2i - 2 and s one of

    - ``pooled_pre``: the two SDs before treatment, pooled (Morris 2008, d_ppc2; his recommendation);
    - ``pooled_post``: the two SDs after treatment, pooled;
    - ``all_four``: all four, s^2 the mean of the two pooled variances.

    With a = 2 (1 - ri) (1/n1i + 1/n2i), the variance ``exact`` is J^2 m/(m - 2) (a + g^2) - g^2, that of a
    noncentral t (Morris 2008, eq. 25, for ``pooled_pre``; it holds for ``pooled_post`` by symmetry). For
    ``all_four`` the pooled variance has the effective degrees of freedom v = 2m / (1 + ri^2), and the
    variance becomes J(m)^2 (v/(v - 2) (a + g^2) - g^2 / J(v)^2), which equals the other one at ri = 1. ``LS``
    is a + g^2 / (2 (n1i + n2i)). All suppose one SD and one correlation in both groups at both times.

    Parameters
    ----------
    m1i_pre, m1i_post, m2i_pre, m2i_post : array_like, shape (k,)
        Means of group 1 and 2 before and after treatment.
    sd1i_pre, sd1i_post, sd2i_pre, sd2i_post : array_like, shape (k,)
        Their SDs, > 0. Those that the standardiser does not use may be None.
    n1i, n2i : array_like, shape (k,)
        People measured at both times, >= 2 in each group.
    ri : array_like, shape (k,)
        Correlation between the measurements before and after, within groups, required.
    standardiser : {"pooled_pre", "pooled_post", "all_four"}
        See above. The three differ whenever treatment changes the spread, so the choice is never made in
        silence.
    vtype : {"exact", "LS"}
        Variance formula.
    correction : {"exact", "approx", "none"}
        Form of J; Morris (2008) prints "approx".

    Returns
    -------
    EffectSizes
        In SDs; positive when group 1 rose more (or fell less) than group 2. The exact variance is NaN where
        n1i + n2i is 4: it is infinite there.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    References
    ----------
    Morris, S. B. (2008). Estimating effect sizes from pretest-posttest-control group designs. Organizational
    Research Methods, 11, 364-386.

    Examples
    --------
    >>> arm_1, arm_2 = (30.6, 15.0, 38.5, 11.6, 20), (23.1, 13.8, 19.7, 14.8, 20)
    >>> yi, vi = pre_post_control(*arm_1, *arm_2, 0.47, standardiser="pooled_pre")
    >>> print(f"{yi:.4f} {vi:.4f}")
    0.7684 0.1157
    """
    one_of("standardiser", standardiser, STANDARDISERS)
    one_of("vtype", vtype, ("LS", "exact"))
    named: dict[str, ArrayLike | None] = {
        "m1i_pre": m1i_pre,
        "m1i_post": m1i_post,
        "n1i": n1i,
        "m2i_pre": m2i_pre,
        "m2i_post": m2i_post,
        "n2i": n2i,
        "ri": ri,
    }
    times = {"pooled_pre": ["pre"], "pooled_post": ["post"], "all_four": ["pre", "post"]}[standardiser]
    sds: dict[str, ArrayLike | None] = {
        "sd1i_pre": sd1i_pre,
        "sd2i_pre": sd2i_pre,
        "sd1i_post": sd1i_post,
        "sd2i_post": sd2i_post,
    }
    used = [f"sd{group}i_{time}" for time in times for group in (1, 2)]
    a = float_arrays(**named, **{name: sds[name] for name in used})
    _check_ri(Rules(a).positive(*used).at_least(2, "n1i", "n2i"), a["ri"]).check()
    n1, n2, r = a["n1i"], a["n2i"], a["ri"]
    m = n1 + n2 - 2.0
    pooled = [((n1 - 1.0) * a[f"sd1i_{t}"] ** 2 + (n2 - 1.0) * a[f"sd2i_{t}"] ** 2) / m for t in times]
    s = np.sqrt(np.mean(pooled, axis=0))
    J = small_sample_correction(m, correction)
    g = J * ((a["m1i_post"] - a["m1i_pre"]) - (a["m2i_post"] - a["m2i_pre"])) / s
    within = 2.0 * (1.0 - r) * (1.0 / n1 + 1.0 / n2)
    if vtype == "LS":
        return as_effects(g, within + g**2 / (2.0 * (n1 + n2)))
    v = 2.0 * m / (1.0 + r**2) if standardiser == "all_four" else m
    with np.errstate(divide="ignore"):
        moment = np.where(v > 2, v / (v - 2.0), np.nan)
    bias = small_sample_correction(v, correction)
    return as_effects(g, J**2 * (moment * (within + g**2) - (g / bias) ** 2))
