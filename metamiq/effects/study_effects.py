"""The effect sizes of a study table: its own, or computed from what it holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.arguments import numbers
from metamiq.effects.measures import effect_sizes
from metamiq.effects.records import FloatArray
from metamiq.errors import DataError
from metamiq.tails import critical_value

ASIDE = 0.05  # of its width is how far from the middle of an interval rounding may put an effect


class StudyEffects(NamedTuple):
    """The rows of a table that have an effect size, and the names of the others."""

    effects: pd.DataFrame
    left_out: list[str]


def study_effects(table: pd.DataFrame, measure: str | None, vtype: str | None = None) -> StudyEffects:
    """Give a study table yi and vi: by a measure, or its own (of standard errors, vi = sei ** 2).

    Where there is neither vi nor sei, but `ci_low` and `ci_high`, the interval is taken for a normal one with yi in its
    middle: sei = (ci_high - ci_low) / (2 z), z the quantile for the column `ci_level` (0.95 where it is empty).

    Parameters
    ----------
    table : DataFrame
        From `read_table`.
    measure : str, optional
        What to compute; None takes the table's own effect sizes.
    vtype : str, optional
        Variance formula; by default the measure's own.

    Raises
    ------
    DataError
        If there is neither a measure nor an effect size, the rows are of several analyses, values are impossible, or
        effects do not lie in the middle of their intervals.
    ValueError
        If the measure or its variance formula is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "b"], "yi": [0.5, None], "sei": [0.2, 0.1]})
    >>> effects, left_out = study_effects(table, None)
    >>> print(effects.to_string(index=False), left_out)
    study  yi  sei   vi
        a 0.5  0.2 0.04 ['b']
    """
    if "several" in table.attrs:
        raise DataError(table.attrs["several"])
    if measure is not None:
        effects = effect_sizes(table, measure, **({} if vtype is None else {"vtype": vtype}))
    elif {"yi", "vi"} <= set(table.columns):
        effects = table
    elif {"yi", "sei"} <= set(table.columns):
        effects = table.assign(vi=table["sei"] ** 2)
    elif {"yi", "ci_low", "ci_high"} <= set(table.columns):
        effects = table.assign(vi=_from_intervals(table) ** 2)
    else:
        raise DataError(
            "The table must have yi and vi, or --measure must say what to compute, but its columns are "
            f"{', '.join(map(str, table.columns))}. Give --measure SMD for means and SDs, --measure OR for counts; or "
            'say which column is which, for instance --column "NAME=yi" --column "NAME=sei". An effect with its '
            "interval (yi, ci_low, ci_high) will do as well."
        )
    missing = (effects["yi"].isna() | effects["vi"].isna()).to_numpy()
    names = _names(effects, missing)
    return StudyEffects(effects.loc[~missing] if names else effects, names)


def _names(table: pd.DataFrame, rows: np.ndarray) -> list[str]:
    label = next((c for c in ("study", "trial_id", "label") if c in table), None)
    return [str(table[label].iloc[i]) if label is not None else f"row {i + 1}" for i in rows.nonzero()[0].tolist()]


def _from_intervals(table: pd.DataFrame) -> FloatArray:
    """Standard errors of effects that lie in the middle of their intervals; DataError where they do not."""
    yi, low, high = (numbers(table[c], c) for c in ("yi", "ci_low", "ci_high"))
    level = numbers(table["ci_level"], "ci_level") if "ci_level" in table else np.full(len(table), np.nan)
    level = np.where(np.isnan(level), 0.95, level)
    wrong = ~((level > 0) & (level < 1))
    if wrong.any():
        raise DataError(
            f"ci_level must lie between 0 and 1, but {_names(table, wrong)[0]!r} has {level[wrong][0]:g}. Write 0.95 "
            "for 95%."
        )
    off = np.abs(yi - (low + high) / 2) / (high - low)
    whole = np.isfinite(off)
    with np.errstate(invalid="ignore", divide="ignore"):
        off_as_ratio = np.abs(np.log(yi) - (np.log(low) + np.log(high)) / 2) / np.log(high / low)
    ratios = whole.any() and np.isfinite(off_as_ratio[whole]).all() and off_as_ratio[whole].sum() < off[whole].sum()
    aside = whole & (off > ASIDE)
    if ratios or aside.any():
        first = int((whole if ratios else aside).argmax())
        advice = (
            "They are ratios: take the logarithms of yi, ci_low and ci_high."
            if ratios
            else "Check the row, or give sei; correlations go to measure ZCOR with ri and ni."
        )
        raise DataError(
            "Without vi and sei, yi must lie in the middle of ci_low and ci_high, but "
            f"{_names(table, np.arange(len(table)) == first)[0]!r} has {yi[first]:g} and {low[first]:g} to "
            f"{high[first]:g}. {advice}"
        )
    return np.asarray((high - low) / (2 * np.array([float(critical_value(x)) for x in level])))
