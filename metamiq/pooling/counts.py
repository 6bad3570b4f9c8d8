"""One effect common to all studies, from the counts themselves: Mantel-Haenszel and Peto.

Neither needs a correction for zero cells. Positive means more events in group 1.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd

from metamiq.arguments import check_level
from metamiq.effects.cells_2x2 import Cells
from metamiq.effects.records import one_of
from metamiq.errors import DataError
from metamiq.pooling.count_tables import (
    ChiSquaredTest,
    CommonEffect,
    Counts,
    chi_squared_test,
    read_counts,
    source_of_counts,
)
from metamiq.pooling.source import Source, frozen_copy
from metamiq.pooling.wls import Array

T = TypeVar("T", float, str, bool)
UNDEFINED = ChiSquaredTest(np.nan, 0, np.nan)


def mantel_haenszel(
    counts: pd.DataFrame,
    measure: str = "OR",
    *,
    level: float = 0.95,
    add: float | tuple[float, float] = 0.5,
    to: str | tuple[str, str] = "only0",
    drop00: bool | tuple[bool, bool] = True,
    correct: bool = True,
) -> CommonEffect:
    r"""Mantel-Haenszel estimate of a common odds ratio, risk ratio or risk difference.

    With cells a, b (group 1) and c, d (group 2), N = a + b + c + d, sums over studies:

    OR: :math:`\log(R / S)`, R = sum a d / N, S = sum b c / N.
    RR: :math:`\log(R / S)`, R = sum a n2 / N, S = sum c n1 / N.
    RD: sum (a n2 - c n1) / N over sum n1 n2 / N.

    Parameters
    ----------
    counts : DataFrame
        One row per study: events `ai`, `ci` and group sizes `n1i`, `n2i` (or people without event `bi`, `di`).
    measure : {"OR", "RR", "RD"}
        Ratios are pooled, and given, as logarithms.
    level : float
        Coverage of the interval.
    add, to, drop00 : value, or pair of values
        Zero-cell rule as in `log_odds_ratio`. The first value is for each study's own yi and vi, and so for Q; the
        second for the pooled estimate. One value leaves the pooled estimate without any correction.
    correct : bool
        Continuity correction of the Cochran-Mantel-Haenszel test.

    Returns
    -------
    CommonEffect
        `estimate` with normal test and interval. `Q` sums (yi - estimate)^2 / vi over studies with an effect of
        their own. `cmh` tests for no association; `breslow_day` and `tarone` test for one odds ratio (OR only, else
        NaN) over the `k_used` studies with events and non-events. Such studies alone decide an odds ratio; without an
        event in either group a study leaves a risk ratio as it is too, but pulls a risk difference towards 0.
        `weights`: b c / N, c n1 / N or n1 n2 / N, as a share of their sum.

    Raises
    ------
    DataError
        If a count is missing, negative or not whole, or events exceed the group; if no study is informative, or the
        pooled ratio is 0 or infinite.

    References
    ----------
    Mantel & Haenszel (1959). Variances: Robins, Breslow & Greenland (1986) for OR; Greenland & Robins (1985) for RR;
    Sato, Greenland & Robins (1989) for RD. Tests: Breslow & Day (1980); Tarone (1985).

    Examples
    --------
    >>> trials = pd.DataFrame({"ai": [4, 6, 0], "n1i": [123, 306, 30], "ci": [11, 29, 2], "n2i": [139, 303, 31]})
    >>> fit = mantel_haenszel(trials)
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}), CMH p = {fit.cmh.p_value:.5f}")
    -1.471 (-2.172 to -0.770), CMH p = 0.00002
    """
    one_of("measure", measure, ("OR", "RD", "RR"))
    check_level(level)
    table = read_counts(counts)
    own_add, pool_add = _pair(add, 0.0)
    own_to, pool_to = _pair(to, "none")
    own_drop, pool_drop = _pair(drop00, False)
    _need_informative(table)
    source = source_of_counts(counts, table, measure, own_add, own_to, own_drop)
    cells = table.cells(pool_add, pool_to, pool_drop)
    included = np.isfinite(cells.a)
    x = Cells(*(cell[included] for cell in cells))
    estimate, variance, share = _POOLED[measure](x)
    weights = np.zeros(len(included))
    weights[included] = share / share.sum()
    equal = _odds_ratio_tests(x, float(np.exp(estimate))) if measure == "OR" else (UNDEFINED, UNDEFINED)
    return CommonEffect(
        estimate=estimate,
        se=float(np.sqrt(variance)),
        dof=None,
        tau2=0.0,
        Q=_distance(source, estimate),
        method="MH",
        test="z",
        level=level,
        source=source,
        combine=frozen_copy(weights),
        counts=table,
        included=included,
        cmh=_cochran_mantel_haenszel(x, correct),
        breslow_day=equal[0],
        tarone=equal[1],
    )


def peto(counts: pd.DataFrame, *, level: float = 0.95) -> CommonEffect:
    r"""Peto's one-step estimate of a common log odds ratio.

    :math:`\sum (O_i - E_i) / \sum V_i` with O = a, E = n1 (a + c) / N and the hypergeometric variance
    V = n1 n2 (a + c)(b + d) / (N^2 (N - 1)); its variance is 1 / sum V. Close to the odds ratio when events are rare,
    groups balanced and effects small; biased otherwise.

    Parameters
    ----------
    counts, level
        As in `mantel_haenszel`.

    Returns
    -------
    CommonEffect
        `weights` are V as a share of their sum, `Q` is sum V (yi - estimate)^2 with yi = (O - E) / V, and `cmh` is
        the test of the pooled effect, (sum (O - E))^2 / sum V. A study without events or without non-events has V 0:
        it has no yi and changes nothing.

    Raises
    ------
    DataError
        If a count is missing, negative or not whole, or events exceed the group; if no study is informative.

    References
    ----------
    Yusuf, Peto, Lewis, Collins & Sleight (1985). Its bias: Greenland & Salvan (1990).

    Examples
    --------
    >>> trials = pd.DataFrame({"ai": [4, 6, 0], "n1i": [123, 306, 30], "ci": [11, 29, 2], "n2i": [139, 303, 31]})
    >>> fit = peto(trials)
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f})")
    -1.271 (-1.830 to -0.711)
    """
    check_level(level)
    table = read_counts(counts)
    _need_informative(table)
    source = source_of_counts(counts, table, "PETO", 0.0, "none", True)
    x = table.cells()
    excess, V = _hypergeometric(x)
    estimate = float(excess.sum() / V.sum())
    return CommonEffect(
        estimate=estimate,
        se=float(1 / np.sqrt(V.sum())),
        dof=None,
        tau2=0.0,
        Q=_distance(source, estimate),
        method="PETO",
        test="z",
        level=level,
        source=source,
        combine=frozen_copy(V / V.sum()),
        counts=table,
        included=np.ones(len(V), dtype=bool),
        cmh=_cochran_mantel_haenszel(x, correct=False),
        breslow_day=UNDEFINED,
        tarone=UNDEFINED,
    )


def _pair(value: T | tuple[T, T], pooled: T) -> tuple[T, T]:
    return value if isinstance(value, tuple) else (value, pooled)


def _need_informative(table: Counts) -> None:
    if not table.informative.any():
        raise DataError(
            f"At least one study must have both events and non-events, but none of the {len(table.ai)} has. There is "
            f"nothing to compare."
        )


def _distance(source: Source, estimate: float) -> float:
    rows = np.isfinite(source.yi)
    return float(((source.yi[rows] - estimate) ** 2 / source.vi[rows]).sum())


def _log_ratio(R: Array, S: Array, what: str) -> float:
    if R.sum() > 0 and S.sum() > 0:
        return float(np.log(R.sum()) - np.log(S.sum()))
    came = "0/0" if R.sum() == S.sum() else "0" if R.sum() == 0 else "infinite"
    raise DataError(
        f"The pooled {what} ratio must be finite and greater than 0, but it is {came}: one arm has no events (or "
        f"nothing but events) in any study that could tell. Use measure='RD', or metamiq.peto."
    )


def _odds_ratio(x: Cells) -> tuple[float, float, Array]:
    N = x.a + x.b + x.c + x.d
    R, S, P, Q = x.a * x.d / N, x.b * x.c / N, (x.a + x.d) / N, (x.b + x.c) / N
    estimate = _log_ratio(R, S, "odds")
    r, s = R.sum(), S.sum()
    variance = (P * R).sum() / (2 * r**2) + (P * S + Q * R).sum() / (2 * r * s) + (Q * S).sum() / (2 * s**2)
    return estimate, float(variance), S


def _risk_ratio(x: Cells) -> tuple[float, float, Array]:
    n1, n2, events = x.a + x.b, x.c + x.d, x.a + x.c
    N = n1 + n2
    R, S = x.a * n2 / N, x.c * n1 / N
    estimate = _log_ratio(R, S, "risk")
    variance = ((n1 * n2 * events - x.a * x.c * N) / N**2).sum() / (R.sum() * S.sum())
    return estimate, float(variance), S


def _risk_difference(x: Cells) -> tuple[float, float, Array]:
    n1, n2 = x.a + x.b, x.c + x.d
    N = n1 + n2
    W = n1 * n2 / N
    estimate = float(((x.a * n2 - x.c * n1) / N).sum() / W.sum())
    P = (n1**2 * x.c - n2**2 * x.a + n1 * n2 * (n2 - n1) / 2) / N**2
    Q = (x.a * x.d + x.c * x.b) / (2 * N)
    # Sato's variance is of second order in the difference and can dip below 0 only by rounding.
    return estimate, max(float((estimate * P.sum() + Q.sum()) / W.sum() ** 2), 0.0), W


_POOLED = {"OR": _odds_ratio, "RR": _risk_ratio, "RD": _risk_difference}


def _hypergeometric(x: Cells) -> tuple[Array, Array]:
    """Events of group 1 over expectation, and their variance, when both margins are fixed."""
    n1, n2, events, others = x.a + x.b, x.c + x.d, x.a + x.c, x.b + x.d
    N = n1 + n2
    return x.a - n1 * events / N, n1 * n2 * events * others / (N**2 * (N - 1))


def _cochran_mantel_haenszel(x: Cells, correct: bool) -> ChiSquaredTest:
    excess, V = _hypergeometric(x)
    distance = abs(excess.sum())
    # The correction never carries the difference past 0.
    distance -= min(0.5, distance) if correct else 0.0
    return chi_squared_test(distance**2 / V.sum(), 1)


def _odds_ratio_tests(x: Cells, ratio: float) -> tuple[ChiSquaredTest, ChiSquaredTest]:
    """Breslow-Day and Tarone over the tables whose margins leave something to vary."""
    n1, n2, events, others = x.a + x.b, x.c + x.d, x.a + x.c, x.b + x.d
    rows = (events > 0) & (others > 0)
    a, n1, n2, events = x.a[rows], n1[rows], n2[rows], events[rows]
    # Expected events E of group 1: E (n2 - events + E) = ratio (n1 - E)(events - E). Of the two forms of the root the
    # one that adds numbers of one sign is taken; the usual formula divides by 0 at ratio 1.
    linear = n2 - events + ratio * (n1 + events)
    root = np.sqrt(linear**2 + 4 * (1 - ratio) * ratio * n1 * events)
    with np.errstate(divide="ignore", invalid="ignore"):
        E = np.where(linear >= 0, 2 * ratio * n1 * events / (linear + root), (root - linear) / (2 * (1 - ratio)))
    V = 1 / (1 / E + 1 / (n1 - E) + 1 / (events - E) + 1 / (n2 - events + E))
    breslow_day = float(((a - E) ** 2 / V).sum())
    tarone = breslow_day - float((a - E).sum()) ** 2 / float(V.sum())
    dof = int(rows.sum()) - 1
    return chi_squared_test(breslow_day, dof), chi_squared_test(max(tarone, 0.0), dof)
