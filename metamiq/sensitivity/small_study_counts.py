"""Small-study effects in 2x2 tables, where a log odds ratio and its standard error are tied to each other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metamiq.effects.binary import log_odds_ratio
from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.count_tables import Counts, read_counts
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array, tables
from metamiq.sensitivity import readable
from metamiq.sensitivity.small_study import RegressionTest


def harbord_test(counts: PooledEffect | pd.DataFrame, *, level: float = 0.95) -> RegressionTest:
    r"""Harbord's test of small-study effects in log odds ratios.

    With the score :math:`Z = a - n_1 m / N` of the log odds ratio at 0 and its variance
    :math:`V = n_1 n_2 m (N - m) / (N^2 (N - 1))` (m events among N), it regresses :math:`Z / \sqrt V` on
    :math:`\sqrt V` and tests the intercept. Z and V are hardly correlated, unlike a log odds ratio and its standard
    error.

    Parameters
    ----------
    counts : DataFrame or PooledEffect
        Columns ``ai n1i ci n2i`` (or ``bi``, ``di``), or a fit whose effects table has them.
    level : float
        Coverage of the intervals.

    Returns
    -------
    RegressionTest
        With t(k - 2), k being the studies with events and non-events: others have no information (V = 0).

    Raises
    ------
    DataError
        If counts are missing or wrong, or fewer than three studies are informative.

    References
    ----------
    Harbord, Egger & Sterne (2006).

    Examples
    --------
    >>> trials = pd.DataFrame({"ai": [4, 6, 3, 62, 33], "n1i": [123, 306, 231, 13598, 5069],
    ...                        "ci": [11, 29, 11, 248, 47], "n2i": [139, 303, 220, 12867, 5808]})
    >>> test = harbord_test(trials)
    >>> print(f"{test.intercept:.3f}, t({test.dof:.0f}) = {test.statistic:.3f}, p = {test.p_value:.3f}")
    0.922, t(3) = 0.467, p = 0.672
    """
    table, cautions = _informative(counts, "Harbord's test")
    N, m = table.n1i + table.n2i, table.ai + table.ci
    Z = table.ai - table.n1i * m / N
    V = table.n1i * table.n2i * m * (N - m) / (N**2 * (N - 1))
    return _test("Harbord's test", "1/sqrt(V)", Z / V, 1.0 / V, 1.0 / np.sqrt(V), level, cautions)


def peters_test(counts: PooledEffect | pd.DataFrame, *, level: float = 0.95) -> RegressionTest:
    r"""Peters's test of small-study effects in log odds ratios.

    Weighted regression of the log odds ratio on 1 / N with weights :math:`m (N - m) / N` (m events among N people),
    and a test of its slope.

    Parameters
    ----------
    counts : DataFrame or PooledEffect
        Columns ``ai n1i ci n2i`` (or ``bi``, ``di``), or a fit whose effects table has them. 0.5 is added to the
        cells of tables with a zero cell for their log odds ratio.
    level : float
        Coverage of the intervals.

    Returns
    -------
    RegressionTest
        With t(k - 2), k being the studies with events and non-events; `limit` is the log odds ratio of an endlessly
        large study.

    Raises
    ------
    DataError
        If counts are missing or wrong, fewer than three studies are informative, or all have the same size.

    References
    ----------
    Peters, Sutton, Jones, Abrams & Rushton (2006).

    Examples
    --------
    >>> trials = pd.DataFrame({"ai": [4, 6, 3, 62, 33], "n1i": [123, 306, 231, 13598, 5069],
    ...                        "ci": [11, 29, 11, 248, 47], "n2i": [139, 303, 220, 12867, 5808]})
    >>> test = peters_test(trials)
    >>> print(f"{test.intercept:.1f}, t({test.dof:.0f}) = {test.statistic:.3f}, p = {test.p_value:.3f}")
    -23.8, t(3) = -0.071, p = 0.948
    """
    table, cautions = _informative(counts, "Peters's test")
    N, m = table.n1i + table.n2i, table.ai + table.ci
    yi, _ = log_odds_ratio(table.ai, table.n1i, table.ci, table.n2i)
    return _test("Peters's test", "1/N", yi, N / (m * (N - m)), 1.0 / N, level, cautions)


def _informative(counts: PooledEffect | pd.DataFrame, method: str) -> tuple[Counts, list[str]]:
    if isinstance(counts, BoundedFit):
        raise DataError(f"{method} needs 2x2 counts, but {counts.k_bounds} of {counts.k} rows are bounds.")
    if not isinstance(counts, PooledEffect | pd.DataFrame):
        raise ValueError(f"{method} needs a table of 2x2 counts, or a fit of one, not {type(counts).__name__}.")
    frame = counts if isinstance(counts, pd.DataFrame) else counts.effects
    missing = [c for c in ("ai", "ci") if c not in frame]
    if missing:
        raise DataError(
            f"{method} needs the 2x2 counts ai, n1i, ci and n2i of each study, but {' and '.join(missing)} is not "
            f"among {', '.join(map(str, frame.columns))}. For other measures use egger_test."
        )
    table = read_counts(frame)
    known = table.informative
    if known.sum() < 3:
        raise DataError(
            f"{method} needs at least 3 studies with events and non-events, but there are {int(known.sum())}."
        )
    cautions = readable.few(int(known.sum()))
    if not known.all():
        silent = int((~known).sum())
        who = (
            "1 study without events or without non-events says"
            if silent == 1
            else (f"{silent} studies without events or without non-events say")
        )
        cautions.append(f"{who} nothing here.")
    return table.take(known), cautions


def _test(
    name: str, predictor: str, yi: Array, vi: Array, x: Array, level: float, cautions: list[str]
) -> RegressionTest:
    if np.ptp(x) <= 1e-10 * x.max():
        raise DataError(f"{name} needs studies that differ in {predictor}, but it is {x[0]:.4g} for every study.")
    scale = float(x.max())
    c = batch.core(tables(yi, vi, np.column_stack([np.ones(len(x)), x / scale])), "FE", "knha")
    se = np.sqrt(np.diag(c.cov[0]))
    return RegressionTest(
        intercept=float(c.beta[0, 1] / scale),
        se=float(se[1] / scale),
        dof=float(c.dof[0]),
        limit=float(c.beta[0, 0]),
        limit_se=float(se[0]),
        name=name,
        predictor=predictor,
        model="classical",
        tau2=np.nan,
        k=len(x),
        level=level,
        cautions=tuple([*cautions, *readable.narrow(np.sqrt(vi))]),
    )
