"""From a verdict ("significant", "no difference") to the interval in which the effect size must lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metamiq.arguments import check_level
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.records import FloatArray, Rules, float_arrays
from metamiq.tails import critical_value

VERDICTS = ("direction", "nonsignificant", "significant")


class Bound(NamedTuple):
    """The interval in which an observed Hedges' g must lie; an end without limit is an infinity."""

    yi_low: Any
    yi_high: Any


def significance_threshold(n1i: ArrayLike, n2i: ArrayLike, level: float = 0.95) -> FloatArray:
    """Give the size of Hedges' g at which a two-sided t test of two groups becomes significant.

    J(m) t((1 + level)/2, m) sqrt(1/n1i + 1/n2i), with m = n1i + n2i - 2.

    Parameters
    ----------
    n1i, n2i : array_like
        Participants per group, >= 2.
    level : float
        0.95 for a test at 5%.

    Returns
    -------
    ndarray or float64
        A positive g.

    Raises
    ------
    DataError
        If a value is missing or an n is below 2.

    Examples
    --------
    >>> print(f"{significance_threshold(20, 20):.4f}")
    0.6274
    """
    check_level(level)
    a = float_arrays(n1i=n1i, n2i=n2i)
    Rules(a).at_least(2, "n1i", "n2i").check()
    m = a["n1i"] + a["n2i"] - 2.0
    size = small_sample_correction(m) * critical_value(level, m) * np.sqrt(1.0 / a["n1i"] + 1.0 / a["n2i"])
    return np.asarray(size)[()]


def bound(
    report: str | Sequence[str],
    favours: str | Sequence[str] | None,
    n1i: ArrayLike | None = None,
    n2i: ArrayLike | None = None,
    level: float = 0.95,
) -> Bound:
    """Give the interval that a verdict puts on the observed Hedges' g, given the arm sizes.

    With the threshold c of `significance_threshold`: *significant* in favour of group 1 is [c, inf), of group
    2 (-inf, -c]; *nonsignificant* is [-c, c], whatever `favours` says; *direction* alone is [0, inf) or
    (-inf, 0].

    Parameters
    ----------
    report : {"significant", "nonsignificant", "direction"} or a list of them
        The verdict.
    favours : {"mi", "cbt"} or a list of them
        The arm that did better: "mi" is group 1, and positive. Not needed for "nonsignificant".
    n1i, n2i : array_like
        Participants per arm, >= 2. Not needed for "direction".
    level : float
        0.95 when the verdict is that of a two-sided 5% test.

    Returns
    -------
    Bound
        ``yi_low`` and ``yi_high``; infinities where there is no limit.

    Raises
    ------
    DataError
        If an arm size is missing or below 2.
    ValueError
        If a verdict is unknown or needs a direction that is not given.

    References
    ----------
    Hedges, L. V. & Olkin, I. (1980). Vote-counting methods in research synthesis. Psychological Bulletin, 88,
    359-369. Bushman, B. J. & Wang, M. C. (1996). A procedure for combining sample standardized mean
    differences and vote counts to estimate the population standardized mean difference in fixed effects
    models. Psychological Methods, 1, 66-80.

    Examples
    --------
    >>> low, high = bound("significant", "mi", 20, 20)
    >>> print(f"{low:.4f} {high}")
    0.6274 inf
    >>> low, high = bound("nonsignificant", None, 42, 43)
    >>> print(f"{low:.4f} {high:.4f}")
    -0.4276 0.4276
    """
    check_level(level)
    verdicts = np.asarray(report, dtype=object)
    arms = np.asarray("" if favours is None else favours, dtype=object)
    sizes = {"n1i": n1i, "n2i": n2i}
    # "direction" needs no arm sizes, so an absent size stands in as 2 and is never used.
    shape_only = {name: np.nan if size is None else size for name, size in sizes.items()}
    a = float_arrays(**shape_only)
    shape = np.broadcast_shapes(verdicts.shape, arms.shape, a["n1i"].shape)
    verdicts, arms = np.broadcast_to(verdicts, shape), np.broadcast_to(arms, shape)
    unknown = sorted({str(v) for v in verdicts.ravel() if v not in VERDICTS})
    if unknown:
        known = ", ".join(repr(v) for v in VERDICTS)
        raise ValueError(f"report must be one of {known}, not {unknown[0]!r}.")
    directed = verdicts != "nonsignificant"
    lost = sorted({str(v) for v in arms[directed].ravel() if v not in ("mi", "cbt")})
    if lost:
        raise ValueError(f"favours must be 'mi' for a significant result or a direction, not {lost[0]!r}.")
    needs_sizes = verdicts != "direction"
    n1 = np.where(needs_sizes, np.broadcast_to(a["n1i"], shape), 2.0)
    n2 = np.where(needs_sizes, np.broadcast_to(a["n2i"], shape), 2.0)
    c = np.where(needs_sizes, significance_threshold(n1, n2, level), 0.0)
    for_group_1 = directed & (arms == "mi")
    for_group_2 = directed & (arms == "cbt")
    low = np.where(for_group_1, c, np.where(for_group_2, -np.inf, -c))
    high = np.where(for_group_1, np.inf, np.where(for_group_2, -c, c))
    # A direction alone starts at plain zero, not at minus zero.
    return Bound((low + 0.0)[()], (high + 0.0)[()])
