"""From settings to arrays: the effects that an outcome rule gives, and which rows a choice of trials keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.arguments import check_table
from metamiq.datasets import Dataset
from metamiq.effects.choice import PrimaryRule
from metamiq.effects.continuous import smd_variance
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.measures import effect_sizes
from metamiq.effects.trial_rows import TrialReader
from metamiq.errors import DataError
from metamiq.pooling.bounded import numbers
from metamiq.pooling.wls import Array

Bools = NDArray[np.bool_]
EFFECT_SETTINGS = ("vtype", "measure", "raters", "timepoints", "domains", "not_certainty", "results", "turn")
_RULE = ("raters", "timepoints", "domains", "not_certainty")
_EVIDENCE_ONLY = (*_RULE, "results", "assume")
COLUMNS = ("yi", "vi", "yi_low", "yi_high", "n1i", "n2i")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One row per trial that could count; NaN where a trial gives nothing."""

    values: Array  # (6, k): yi vi yi_low yi_high n1i n2i
    assumed: Bools  # (k,): arm sizes assumed

    @property
    def point(self) -> Bools:
        """Rows that are effect sizes."""
        return np.asarray(np.isfinite(self.values[0]) & np.isfinite(self.values[1]))

    @property
    def bound(self) -> Bools:
        """Rows that are bounds."""
        return np.asarray(~self.point & ~np.isnan(self.values[2]) & ~np.isnan(self.values[3]))


class Trials:
    """The trials that any specification may use, and the effects that each outcome rule gives them.

    Parameters
    ----------
    data : Dataset or DataFrame
        A dataset with trials and results; or a study table (also one that is a dataset), with `yi` and `vi` or the
        columns of a measure.
    """

    def __init__(self, data: Dataset | pd.DataFrame) -> None:
        if isinstance(data, Dataset) and data.results.empty:
            data = data.trials  # a study table in a folder of its own
        if not isinstance(data, Dataset):
            check_table(data, "A multiverse without a dataset")
        self.data = data
        self._reader = TrialReader(data) if isinstance(data, Dataset) else None
        if isinstance(data, pd.DataFrame):
            self.table = data.reset_index(drop=True)
            column = next((c for c in ("trial_id", "study", "label") if c in data), None)
            names = [f"row {i + 1}" for i in range(len(data))] if column is None else [str(x) for x in data[column]]
        else:
            candidates = data.trials if "role" not in data.trials else data.trials[data.trials["role"] != "excluded"]
            self.table = candidates.reset_index(drop=True)
            names = [str(x) for x in self.table["trial_id"]]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise DataError(
                f"Rows must be one per trial, but {', '.join(twice)} come more than once. Combine them first."
            )
        self.names = names

    @property
    def measure(self) -> str | None:
        """The effect measure, where it is known."""
        return "SMD" if isinstance(self.data, Dataset) else self.data.attrs.get("measure")

    def effects(self, settings: Mapping[str, Any], verdict_level: float) -> Rows:
        """What the trials give under an outcome rule and a variance formula."""
        self._check(settings)
        values = np.full((len(COLUMNS), len(self.names)), np.nan)
        assumed = np.zeros(len(self.names), dtype=bool)
        if self._reader is None:
            table = self._effects_table(settings)
            for j, column in enumerate(COLUMNS):
                if column in table:
                    values[j] = numbers(table, column)
        else:
            rule = PrimaryRule(**{key: tuple(settings[key]) for key in _RULE if key in settings})
            rows, _ = self._reader.rows(
                settings.get("results"), vtype=settings.get("vtype", "LS"), level=verdict_level, rule=rule
            )
            for row in rows:
                i = self._position(row["trial_id"])
                values[:, i] = [np.nan if row[column] is None else row[column] for column in COLUMNS]
                assumed[i] = row["n_source"] == "assumed"
        for name in settings.get("turn", []):
            i = self._position(name)
            values[0, i] *= -1.0
            values[2:4, i] = -values[3:1:-1, i]
        return Rows(values, assumed)

    def _effects_table(self, settings: Mapping[str, Any]) -> pd.DataFrame:
        if "measure" not in settings and "vtype" not in settings:
            if not {"yi", "vi"} <= set(self.table.columns):
                raise DataError(
                    "A study table must have yi and vi, or a choice must set the measure, but the columns are "
                    f"{', '.join(map(str, self.table.columns))}."
                )
            return self.table
        options = {"vtype": settings["vtype"]} if "vtype" in settings else {}
        return effect_sizes(self.table, settings.get("measure", "SMD"), **options)

    def _check(self, settings: Mapping[str, Any]) -> None:
        evidence = isinstance(self.data, Dataset)
        wrong = sorted(set(settings) & ({"measure"} if evidence else set(_EVIDENCE_ONLY)))
        if wrong:
            kind = "a dataset of trials and results" if evidence else "a study table"
            raise DataError(f"{', '.join(wrong)} cannot be set for {kind}. Leave it out of the choices.")

    def _position(self, name: str) -> int:
        if name not in self.names:
            raise DataError(f"Choices must name trials that may count, but {name!r} is not one of {_some(self.names)}.")
        return self.names.index(name)

    def kept(self, settings: Mapping[str, Any]) -> Bools:
        """Which trials a choice of trials keeps: `without`, `only` and `without_where`."""
        out = np.ones(len(self.names), dtype=bool)
        for name in settings.get("without", []):
            out[self._position(name)] = False
        for rules, wanted in ((settings.get("only", []), True), (settings.get("without_where", []), False)):
            for rule in rules:
                for column, values in rule.items():
                    out &= self._has(column, values) == wanted
        return out

    def _has(self, column: str, values: Any) -> Bools:
        if column not in self.table:
            raise DataError(f"Choices must name columns of the trials, but {column!r} is not one of them.")
        wanted = [str(v) for v in (values if isinstance(values, list) else [values])]
        cells = self.table[column].astype(object).map(_as_text)
        absent = sorted(set(wanted) - set(cells))
        if absent:
            raise DataError(f"Choices must name values of {column}, but no trial has {', '.join(map(repr, absent))}.")
        return np.asarray(cells.isin(wanted))


def _as_text(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")


def treated(rows: Rows, verdicts: str, vtype: str) -> Array:
    """The six rows of numbers under a treatment of bounds; what is not used is NaN.

    "zeros" enters a two-sided bound around 0 as 0 and drops the others; "zeros and thresholds" also enters a one-sided
    bound as its finite end, unless that is 0 (a direction alone). Sampling variances are those of g at that value.
    """
    out = rows.values.copy()
    point, bound = rows.point, rows.bound
    out[:, ~(point | bound)] = np.nan
    out[2:4, point] = np.nan
    if verdicts == "bounds":
        return out
    low, high = out[2], out[3]
    entered = np.full(out.shape[1], np.nan)
    if verdicts != "drop":
        entered[bound & np.isfinite(low) & np.isfinite(high) & (low < 0) & (high > 0)] = 0.0
    if verdicts == "zeros and thresholds":
        entered = np.where(bound & np.isinf(high) & (low > 0), low, entered)
        entered = np.where(bound & np.isinf(low) & (high < 0), high, entered)
    n1, n2 = out[4], out[5]
    use = np.isfinite(entered) & np.isfinite(n1 + n2)
    if use.any():
        J = small_sample_correction(n1[use] + n2[use] - 2.0)
        out[0, use] = entered[use]
        out[1, use] = smd_variance(entered[use], np.asarray(J), n1[use], n2[use], vtype)
    out[:, ~(point | use)] = np.nan
    out[2:, :] = np.nan
    return out
