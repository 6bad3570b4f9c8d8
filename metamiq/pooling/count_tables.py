"""2x2 counts of several studies, checked, and the records of what is pooled from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from metamiq.arguments import check_distinct, numbers
from metamiq.effects.binary import log_odds_ratio, log_risk_ratio, peto_log_odds_ratio, risk_difference
from metamiq.effects.cells_2x2 import Cells, two_by_two
from metamiq.effects.records import BadRowsError, EffectSizes, Fault
from metamiq.errors import DataError
from metamiq.pooling import heterogeneity
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.source import Source, frozen_copy
from metamiq.pooling.units import in_units
from metamiq.pooling.wls import Array, Tables
from metamiq.tails import chi2_sf
from metamiq.wording import one_line, p_text

_OBSERVED: dict[str, Callable[..., EffectSizes]] = {
    "OR": log_odds_ratio,
    "RR": log_risk_ratio,
    "RD": risk_difference,
    "PETO": peto_log_odds_ratio,
}


_EXACT = 2**53  # the largest count beside which every smaller one is a float of its own


class ChiSquaredTest(NamedTuple):
    """A test statistic with its degrees of freedom and p-value; NaN where it is undefined."""

    statistic: float
    dof: int
    p_value: float


def chi_squared_test(statistic: float, dof: int) -> ChiSquaredTest:
    """Give a test its p-value; a test without degrees of freedom has p NaN."""
    return ChiSquaredTest(float(statistic), dof, float(chi2_sf(statistic, dof)))


@dataclass(frozen=True, slots=True)
class Counts:
    """Events and group sizes as counted: ai of n1i in group 1, ci of n2i in group 2."""

    ai: Array
    n1i: Array
    ci: Array
    n2i: Array

    @property
    def informative(self) -> Any:
        """Studies with somebody who had the event and somebody who had not."""
        events = self.ai + self.ci
        return (events > 0) & (events < self.n1i + self.n2i)

    def take(self, rows: Any) -> Counts:
        """The counts of some of the studies."""
        return Counts(self.ai[rows], self.n1i[rows], self.ci[rows], self.n2i[rows])

    def cells(self, add: float = 0.0, to: str = "none", drop00: bool = False) -> Cells:
        """The four cells after a zero-cell rule."""
        return two_by_two(self.ai, self.n1i, self.ci, self.n2i, add=add, to=to, drop00=drop00)


def read_counts(table: pd.DataFrame) -> Counts:
    """Check a table of 2x2 counts.

    Parameters
    ----------
    table : DataFrame
        One row per study: events `ai`, `ci` and either group sizes `n1i`, `n2i` or people without event `bi`, `di`
        (both may be there and must agree). A column `study`, `trial_id` or `label` names the rows in messages.

    Raises
    ------
    DataError
        If a column is missing, a count is missing, negative or not whole, or events exceed the group.
    """
    if not isinstance(table, pd.DataFrame):
        raise ValueError("counts must be a DataFrame with the columns ai, n1i, ci, n2i (or ai, bi, ci, di).")
    missing = [c for c in ("ai", "ci") if c not in table]
    missing += [
        f"{n} (or {other})" for n, other in (("n1i", "bi"), ("n2i", "di")) if n not in table and other not in table
    ]
    if missing:
        raise DataError(
            f"A table of counts must have the columns ai, n1i, ci, n2i (or ai, bi, ci, di), but {', '.join(missing)} "
            f"is missing among {', '.join(map(str, table.columns))}. Rename the columns, or read the table with "
            f"metamiq.read_table."
        )
    if len(table) == 0:
        raise DataError("There must be at least one study to pool, but the table is empty.")
    check_distinct(table)
    given = {
        name: numbers(table[name], name, "whole numbers")
        for name in ("ai", "n1i", "ci", "n2i", "bi", "di")
        if name in table
    }
    label = label_column(table)

    def where(position: int) -> str:
        return f"row {position + 1}" if label is None else repr(str(table[label].iloc[position]))

    uncountable = [
        Fault(int(i), f"{name} must be a whole number", f"{x[i]:g}")
        for name, x in given.items()
        for i in np.flatnonzero(np.isfinite(x) & (x != np.round(x)))
    ]
    uncountable += [
        Fault(int(i), f"{name} must be at most {_EXACT:,}", f"{x[i]:g}")
        for name, x in given.items()
        for i in np.flatnonzero(np.isfinite(x) & (x > _EXACT))
    ]
    try:
        two_by_two(
            given["ai"],
            given.get("n1i"),
            given["ci"],
            given.get("n2i"),
            given.get("bi"),
            given.get("di"),
            add=0,
            to="none",
        )
    except BadRowsError as error:
        raise BadRowsError([*error.faults, *uncountable], where) from None
    if uncountable:
        raise BadRowsError(uncountable, where)
    n1i = given["n1i"] if "n1i" in given else given["ai"] + given["bi"]
    n2i = given["n2i"] if "n2i" in given else given["ci"] + given["di"]
    return Counts(*(frozen_copy(x) for x in (given["ai"], n1i, given["ci"], n2i)))


def label_column(table: pd.DataFrame) -> str | None:
    """Which column names the studies, if any."""
    return next((c for c in ("study", "trial_id", "label") if c in table), None)


def source_of_counts(table: pd.DataFrame, counts: Counts, measure: str, add: float, to: str, drop00: bool) -> Source:
    """The table with each study's own yi and vi, for plots and for Q; NaN where a study has none."""
    observed = _OBSERVED[measure](counts.ai, counts.n1i, counts.ci, counts.n2i, add=add, to=to, drop00=drop00)
    # A variance of 0 (two arms of nothing but events, say) would claim certainty: such a study has no usable effect.
    yi, vi = (np.where(observed.vi > 0, x, np.nan) for x in observed)
    frame = table.assign(yi=yi, vi=vi)
    frame.attrs["measure"] = measure
    return Source(frozen_copy(yi), frozen_copy(vi), frame, label_column(table))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CountsEffect(PooledEffect):
    """One mean effect estimated from the counts themselves, not from yi and vi.

    `effects` has every row that was given; `included` says which of them the estimate rests on.
    """

    counts: Counts
    included: Any  # bool, shape of effects

    @property
    def k(self) -> int:
        """Studies that the model was given after those that its zero-cell rule leaves out."""
        return int(self.included.sum())

    @property
    def k_used(self) -> int:
        """Studies with events and non-events: the others say nothing about a ratio."""
        return int((self.counts.informative & self.included).sum())

    @property
    def n_studies(self) -> int:
        """Distinct studies among those included."""
        frame = cast(pd.DataFrame, self.source.frame)
        for column in ("study", "trial_id"):
            if column in frame:
                return int(frame.loc[self.included, column].nunique())
        return self.k

    def tables(self) -> Tables:
        """The studies' own effects; those whose effect is undefined have no part in the typical variance."""
        rows = np.isfinite(self.source.yi) & np.isfinite(self.source.vi)
        return Tables(
            self.source.yi[None, rows], self.source.vi[None, rows], None, None, np.array([float(rows.sum())]), 1
        )

    @property
    def loglik(self) -> float:
        """NaN: the estimate does not maximise a likelihood."""
        return np.nan

    def ci(self, level: float | None = None, method: str = "test") -> Interval:
        """Confidence interval of the mean at `level`, by the fit's own test (the only `method`)."""
        if method != "test":
            raise ValueError(f"method must be 'test' for a mean estimated from counts, not {method!r}.")
        return PooledEffect.ci(self, level)

    def pi(self, level: float | None = None, method: str | None = None, *, seed: int = 0) -> Interval:
        """Prediction interval: "test" (the quantile of the fit's own test) or "HTS" (that of t(k - 2))."""
        if method == "nagashima":
            raise ValueError("method must be 'test' or 'HTS' for a mean estimated from counts, not 'nagashima'.")
        return PooledEffect.pi(self, level, method, seed=seed)

    def _in_units(self, pi: Interval | None = None) -> list[str]:
        return [text for text in [in_units(self.measure, self.estimate, self.ci(), pi)] if text]

    def _mean_line(self) -> str:
        ci, letter = self.ci(), "z" if self.dof is None else f"t({self.dof:g})"
        return (
            f"mean {self.estimate:.4f}, SE {self.se:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to {ci.high:.4f}, "
            f"{letter} = {self.statistic:.3f}, {p_text(self.p_value, 4)}"
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CommonEffect(CountsEffect):
    """A Mantel-Haenszel or Peto estimate: one effect common to all studies (tau2 is 0 by assumption)."""

    cmh: ChiSquaredTest  # no association in any study
    breslow_day: ChiSquaredTest  # one odds ratio for all; NaN for other measures
    tarone: ChiSquaredTest  # the same, corrected for estimating the odds ratio

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def Q_df(self) -> int:
        """Studies with an effect of their own, less 1."""
        return int(np.isfinite(self.source.yi).sum()) - 1

    @property
    def I2(self) -> float:
        """Percent of the variation that is between studies, from Q."""
        return float(heterogeneity.i2_from_q(self.Q, self.Q_df))

    @property
    def H2(self) -> float:
        """Q over its degrees of freedom; NaN for one study."""
        return self.Q / self.Q_df if self.Q_df > 0 else np.nan

    @property
    def tau2_se(self) -> float:
        """NaN: tau2 is not estimated."""
        return np.nan

    def tau2_ci(self, level: float | None = None, method: str = "QP") -> Interval:
        """Refused: a common-effect method has no tau2. Use `metamiq.glmm` or `metamiq.random_effects`."""
        raise ValueError("A common-effect method has no tau2 to bound; use metamiq.glmm or metamiq.random_effects.")

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        name = {"MH": "Mantel-Haenszel", "PETO": "Peto"}[self.method]
        lines = [
            f"{name} method, common effect ({self.measure}): k = {self.k} tables from {self.n_studies} studies, "
            f"{self.k_used} with events and non-events",
            self._mean_line(),
            f"Q({self.Q_df}) = {self.Q:.3f}, {p_text(self.Q_p, 4)}, I2 = {self.I2:.1f}%, H2 = {self.H2:.2f}",
            f"Cochran-Mantel-Haenszel chi2({self.cmh.dof}) = {self.cmh.statistic:.3f}, {p_text(self.cmh.p_value, 4)}",
        ]
        if np.isfinite(self.tarone.statistic):
            lines.append(
                f"Breslow-Day chi2({self.tarone.dof}) = {self.breslow_day.statistic:.3f}, Tarone's correction "
                f"{self.tarone.statistic:.3f}, {p_text(self.tarone.p_value, 4)}"
            )
        return "\n".join([*lines, *self._in_units()])
