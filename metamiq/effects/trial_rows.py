"""From a trial's record and its chosen result to the numbers that it gives: one row, a point or a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from metamiq.arguments import check_level
from metamiq.effects.arm_sizes import ArmSizes, arm_sizes
from metamiq.effects.bounds import VERDICTS, bound
from metamiq.effects.cells import Evidence, ReadEvidence, Record, number, text
from metamiq.effects.choice import PRIMARY_RULE, PrimaryRule, choose_records
from metamiq.effects.continuous import hedges_g
from metamiq.effects.records import one_of
from metamiq.effects.reported import ReportedEffect, g_from_f, g_from_p, g_from_t
from metamiq.effects.reported_estimates import g_from_ci, g_from_d, g_from_se
from metamiq.errors import DataError

TRIAL_COLUMNS = (
    "label",
    "year",
    "disorder",
    "population",
    "published_by_2018_04",
    "mi_delivery",
    "mi_sessions",
    "mi_minutes",
    "comparator",
)
RESULT_COLUMNS = ("result_id", "outcome", "domain", "instrument", "rater", "timepoint", "report", "favours")
EFFECT_COLUMNS = ("kind", "yi", "vi", "yi_low", "yi_high", "n1i", "n2i", "n_source", "assumption")
LAST_COLUMNS = ("certainty", "source", "note", "route")
NUMERIC = ("year", "mi_sessions", "mi_minutes", "yi", "vi", "yi_low", "yi_high", "n1i", "n2i")
_RESPONSE_NOTE = "a verdict on response is taken on the scale of symptoms"


class TrialReader:
    """A dataset's tables read once, for the effects that many outcome rules give.

    Parameters
    ----------
    ds : Dataset
        With the tables ``trials`` and ``results``.
    """

    def __init__(self, ds: Evidence) -> None:
        _check_tables(ds)
        self.read = ReadEvidence(ds)
        self._made: dict[tuple[int, str, float], dict[str, Any]] = {}  # by result, which `read` keeps alive

    def rows(
        self,
        choice: Mapping[str, str] | None = None,
        assume: bool = True,
        vtype: str = "LS",
        level: float = 0.95,
        rule: PrimaryRule = PRIMARY_RULE,
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Give the rows of `trial_effects`, and why each other trial has none."""
        one_of("vtype", vtype, ("LS", "LS2", "UB"))
        check_level(level)
        chosen, reasons = choose_records(self.read, choice, rule)
        rows: list[dict[str, Any]] = []
        problems: list[str] = []
        for trial_id, result in chosen.items():
            trial = self.read.trials[trial_id]
            sizes = arm_sizes(trial, result)
            if sizes.n1i is None and not _needs_no_sizes(result):
                reasons[trial_id] = (
                    f"{text(result, 'outcome')}: {text(result, 'report')}, but no arm size and no total is known"
                )
                continue
            if sizes.n_source == "assumed" and _needs_no_sizes(result):
                sizes = ArmSizes(None, None, "", "")
            if not assume and sizes.n_source == "assumed":
                reasons[trial_id] = f"{sizes.assumption} by assumption, and assumed sizes are not wanted"
                continue
            key = id(result), vtype, level
            try:
                if key not in self._made:
                    _check_sizes(trial, sizes)
                    self._made[key] = _row(trial, result, sizes, vtype, level)
                rows.append(self._made[key])
            except DataError as problem:
                problems.append(f"result {text(result, 'result_id')!r} of trial {trial_id!r}: {problem}")
        if problems:
            raise DataError("Each result must agree with itself and with its trial. " + " ".join(problems))
        return rows, reasons


def _row(trial: Record, result: Record, sizes: ArmSizes, vtype: str, level: float) -> dict[str, Any]:
    assumptions = [sizes.assumption] if sizes.assumption else []
    row: dict[str, Any] = {"trial_id": text(trial, "trial_id")}
    row |= {name: _cell(trial, name) for name in TRIAL_COLUMNS}
    row |= {name: _cell(result, name) for name in (*RESULT_COLUMNS, *LAST_COLUMNS[:-1])}
    row |= {name: np.nan for name in ("yi", "vi", "yi_low", "yi_high")}
    if text(result, "report") in VERDICTS:
        low, high = bound(text(result, "report"), text(result, "favours"), sizes.n1i, sizes.n2i, level)
        row |= {"kind": "bound", "yi_low": low, "yi_high": high, "route": _verdict_route(result, level)}
        if text(result, "domain") != "symptoms":
            assumptions.append(_RESPONSE_NOTE)
    else:
        point = _point(result, sizes, vtype)
        row |= {"kind": "point", "yi": point.yi, "vi": point.vi, "route": point.route}
    row |= {"n1i": sizes.n1i, "n2i": sizes.n2i, "n_source": sizes.n_source}
    return row | {"assumption": "; ".join(assumptions)}


def _cell(record: Record, column: str) -> Any:
    # A missing cell stays missing: as an empty text it would become one more level of a moderator.
    return number(record, column) if column in NUMERIC else (text(record, column) or None)


def _needs_no_sizes(result: Record) -> bool:
    """Whether the report gives g and its precision by itself."""
    has_precision = number(result, "se") is not None or (
        number(result, "ci_low") is not None and number(result, "ci_high") is not None
    )
    return text(result, "report") in ("ci", "g", "smd") and has_precision


def _check_sizes(trial: Record, sizes: ArmSizes) -> None:
    total = number(trial, "n_total")
    if total is None or sizes.n1i is None or sizes.n2i is None:
        return
    if sizes.n1i + sizes.n2i > total:
        raise DataError(
            f"the arms must fit in their trial, but {sizes.n1i:g} + {sizes.n2i:g} is more than n_total "
            f"{total:g}. Check the sizes against their source."
        )


def _verdict_route(result: Record, level: float) -> str:
    report = text(result, "report")
    if report == "direction":
        return "direction only, significance not stated: g beyond 0"
    words = {"significant": "significant, so g beyond", "nonsignificant": "not significant, so g within"}[report]
    percent = 100.0 * (1.0 - level)
    return f"{words} the threshold of a two-sided {percent:g}% t test with these arm sizes"


def _point(result: Record, sizes: ArmSizes, vtype: str) -> ReportedEffect:
    report, value, se = text(result, "report"), number(result, "value"), number(result, "se")
    n1, n2 = sizes.n1i, sizes.n2i
    favours = text(result, "favours")
    if report in ("means", "change_means"):
        return _from_means(result, sizes, vtype)
    if n1 is not None and n2 is not None:
        if report == "t":
            return g_from_t(_is(value), n1, n2, dof=number(result, "df"), vtype=vtype)
        if report == "F":
            return g_from_f(_is(value), n1, n2, favours, dof2=number(result, "df"), vtype=vtype)
        if report == "p":
            return g_from_p(_is(number(result, "p")), n1, n2, favours, vtype=vtype)
    # A standardised difference: its own precision first, the arm sizes otherwise. `smd` and `ci` are kept as
    # they are.
    scale = "d" if report == "d" else "g"
    low, high = number(result, "ci_low"), number(result, "ci_high")
    if se is not None and value is not None:
        return g_from_se(value, se, n1, n2, scale=scale)
    if low is not None and high is not None:
        level = number(result, "ci_level") or 0.95
        return g_from_ci(low, high, n1, n2, estimate=value, scale=scale, level=level)
    return g_from_d(_is(value), _is(n1), _is(n2), reported=scale, vtype=vtype)


def _from_means(result: Record, sizes: ArmSizes, vtype: str) -> ReportedEffect:
    """g from arm means; whether a high score is good is not in the table, so `favours` gives the sign."""
    cells = {name: _is(number(result, name)) for name in ("mean_mi", "sd_mi", "mean_cbt", "sd_cbt")}
    arm_1 = cells["mean_mi"], cells["sd_mi"], _is(sizes.n1i)
    arm_2 = cells["mean_cbt"], cells["sd_cbt"], _is(sizes.n2i)
    g, vi = hedges_g(*arm_1, *arm_2, vtype=vtype)
    sign = 1.0 if text(result, "favours") == "mi" else -1.0
    change = text(result, "report") == "change_means"
    route = (
        "arm means, SDs and sizes of the change, standardised by the SD of the change"
        if change
        else "arm means, SDs and sizes"
    )
    return ReportedEffect(sign * abs(g), vi, route)


def _is(value: float | None) -> float:
    """Narrow a cell that `choice.unusable` has already required to be filled."""
    if value is None:
        raise DataError("a number that this kind of report needs is empty. Fill it from the source.")
    return value


def _check_tables(ds: Evidence) -> None:
    for name in ("trials", "results"):
        table = getattr(ds, name, None)
        if not isinstance(table, pd.DataFrame):
            raise ValueError(
                f"A dataset must have the tables trials and results, but {type(ds).__name__} has no {name}."
            )
        if "trial_id" not in table.columns:
            raise DataError(
                f"{name}.csv must have the column trial_id and say what the trials report, but it has "
                f"{', '.join(map(str, table.columns)) or 'nothing'}. For a study table use metamiq.effect_sizes."
            )
    twice = sorted(map(str, ds.trials["trial_id"][ds.trials["trial_id"].duplicated()].unique()))
    if twice:
        raise DataError(f"Each trial must have one row, but {', '.join(twice)} has more. Leave one.")
