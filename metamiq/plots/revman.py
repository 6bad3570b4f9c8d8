"""The lines that Cochrane reviews print in a forest plot: subtotals, events, heterogeneity and tests.

As RevMan 5 lays them out; see the Cochrane Handbook (version 5.1), section 11.3.2.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from metamiq.plots.forest_rows import COMMON, Fit, effects_of, heading_row, numbers
from metamiq.plots.models import is_posterior
from metamiq.plots.scale import Scale
from metamiq.plots.style import number
from metamiq.plots.totals import has_bounded_groups, total_of
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups
from metamiq.tails import chi2_sf

TOTALS = ("total1_text", "total2_text", "events1_text", "events2_text")


def revman_rows(rows: pd.DataFrame, fit: Fit, level: float) -> pd.DataFrame:
    """The rows of a forest plot with RevMan's totals and lines of text.

    Adds the columns `total1_text total2_text events1_text events2_text`; names subtotals and the total; and puts below
    each the events of both arms (kind "counts"), heterogeneity and the test for overall effect (kind "note"), and
    the test for subgroup differences last.
    """
    effects = effects_of(fit)
    whole = total_of(fit) or fit
    rows = _with_counts(rows, effects)
    out: list[dict[str, Any]] = []
    block: list[int] = []
    seen: list[int] = []
    group = ""
    done = False
    records: list[dict[str, Any]] = [{str(k): v for k, v in r.items()} for r in rows.to_dict(orient="records")]
    pending: list[dict[str, Any]] = []
    for i, row in enumerate(records):
        if row["kind"] == "heading":
            group, block = row["label"], []
        elif row["position"] >= 0:
            block.append(i)
            seen.append(i)
        elif row["kind"] == "subtotal":
            row |= {"label": f"Subtotal ({100 * level:g}% CI)", **_sums(records, block)}
            out += [row, *_events(row, "Total events"), *_notes(_group_lines(fit, group))]
            continue
        elif row["kind"] == "mean" and row["weight_text"] and not done:
            # Means of other models stand below without a weight, and keep their names.
            row |= {"label": f"Total ({100 * level:g}% CI)", **_sums(records, seen)}
            pending, done = [*_events(row, "Total events"), *_notes(_lines(whole))], True
            out.append(row)
            continue
        if pending and row["kind"] != "prediction":
            out, pending = [*out, *pending], []
        out.append(row)
    out += [*pending, *_notes(_differences(fit))]
    return pd.DataFrame(out, columns=[*rows.columns]).fillna(dict.fromkeys(_texts(rows), ""))


def _texts(rows: pd.DataFrame) -> list[str]:
    return [str(c) for c in rows.columns if str(c).endswith("_text") or str(c).startswith("user_")]


def _with_counts(rows: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    at = rows["position"].to_numpy(dtype=int)
    out = rows.copy()
    for arm, events in (("1", "ai"), ("2", "ci")):
        total, count = numbers(effects, f"n{arm}i"), numbers(effects, events)
        if "ai" not in effects:  # a column ci alone is no count
            count = np.full(len(effects), np.nan)
        mark = ["≈" if "≈" in t else "" for t in rows[f"n{arm}_text"]]
        out[f"total{arm}_text"] = [
            f"{m}{total[i]:g}" if i >= 0 and np.isfinite(total[i]) else "" for i, m in zip(at, mark, strict=True)
        ]
        out[f"events{arm}_text"] = [f"{count[i]:g}" if i >= 0 and np.isfinite(count[i]) else "" for i in at]
    return out


def _sums(records: list[dict[str, Any]], members: list[int]) -> dict[str, str]:
    """Totals of the columns in which every row has a number."""
    out = {}
    for field in TOTALS:
        texts = [records[i][field] for i in members]
        if texts and all(texts):
            mark = "≈" if any("≈" in t for t in texts) else ""
            out[field] = f"{mark}{sum(float(t.removeprefix('≈')) for t in texts):g}"
    return out


def _events(row: dict[str, Any], label: str) -> list[dict[str, Any]]:
    """RevMan has the events of both arms on a line of their own."""
    given = {f: row.pop(f) for f in ("events1_text", "events2_text") if row.get(f)}
    return [{**heading_row(label), "kind": "counts", **given}] if given else []


def _notes(texts: list[str]) -> list[dict[str, Any]]:
    return [{**heading_row(text), "kind": "note"} for text in texts]


def _lines(fit: Fit) -> list[str]:
    """Heterogeneity, and the test for overall effect."""
    if isinstance(fit, MetaRegression | Subgroups) or (not isinstance(fit, PooledEffect) and _moderated(fit)):
        return []
    if is_posterior(fit):
        return [
            f"Heterogeneity: Tau² = {number(fit.tau2)} (posterior median)",
            f"Probability of an effect above {'1' if Scale(fit.measure).is_ratio else '0'}: {fit.probability():.3f}",
        ]
    dof = None if isinstance(fit, BoundedFit) else fit.dof  # tested by likelihood ratio
    return [_heterogeneity(fit), _overall(fit.statistic, dof, fit.p_value)]


def _moderated(fit: Fit) -> bool:
    return getattr(fit, "design", None) is not None


def _heterogeneity(fit: Any) -> str:
    if fit.k == 1:
        return "Heterogeneity: Not applicable"
    parts = []
    if fit.method not in COMMON and np.isfinite(fit.tau2):
        parts.append(f"Tau² = {number(fit.tau2)}" + (f" ({p(fit.tau2_p)})" if isinstance(fit, BoundedFit) else ""))
    if np.isfinite(fit.Q):
        parts.append(f"Chi² = {number(fit.Q)}, df = {fit.Q_df} ({p(fit.Q_p)})")
    if np.isfinite(fit.I2):
        parts.append(f"I² = {fit.I2:.0f}%")
    return f"Heterogeneity: {'; '.join(parts)}"


def _overall(statistic: float, dof: float | None, p_value: float) -> str:
    if not np.isfinite(statistic):
        return "Test for overall effect: Not applicable"
    letter = f"Z = {number(abs(statistic))}" if dof is None else f"T = {number(abs(statistic))}, df = {dof:g}"
    return f"Test for overall effect: {letter} ({p(p_value)})"


def _group_lines(fit: Fit, name: str) -> list[str]:
    if not isinstance(fit, Subgroups):
        return []
    group = fit.fits[name]
    row = {c: float(fit.table[c].loc[[name]].iloc[0]) for c in ("estimate", "se", "p_value")}
    statistic = row["estimate"] / row["se"] if row["se"] > 0 else np.nan
    if fit.common_tau2:
        letter = "Z" if group.dof is None else "T"
        return [f"Test for overall effect: {letter} = {number(abs(statistic))} ({p(row['p_value'])})"]
    return [_heterogeneity(group), _overall(statistic, group.dof, row["p_value"])]


def _differences(fit: Fit) -> list[str]:
    head = "Test for subgroup differences:"
    if isinstance(fit, Subgroups):
        if not np.isfinite(fit.Q_between) or fit.Q_df < 1:
            return [f"{head} Not applicable"]
        if fit.common_tau2 and fit.regression is not None and fit.regression.test != "z":
            return [f"{head} F = {number(fit.Q_between)}, df = {fit.Q_df:g} ({p(fit.Q_p)})"]
        I2 = max(0.0, 100 * (fit.Q_between - fit.Q_df) / fit.Q_between) if fit.Q_between > 0 else 0.0
        P = float(chi2_sf(fit.Q_between, fit.Q_df))
        return [f"{head} Chi² = {number(fit.Q_between)}, df = {fit.Q_df:g} ({p(P)}), I² = {I2:.0f}%"]
    if has_bounded_groups(fit):
        test = fit.term_tests.iloc[0]
        return [f"{head} Chi² = {number(test['statistic'])}, df = {test['dof']:.0f} ({p(float(test['p_value']))})"]
    return []


def p(value: float) -> str:
    """A p-value as RevMan prints it: two decimals, one digit below 0.01, and none below 0.00001.

    Examples
    --------
    >>> [p(x) for x in (0.642, 0.0123, 0.0042, 0.000017, 3e-9)]
    ['P = 0.64', 'P = 0.01', 'P = 0.004', 'P = 0.00002', 'P < 0.00001']
    """
    if value != value:
        return "P undefined"
    if value < 0.00001:
        return "P < 0.00001"
    digits = 2 if value >= 0.01 else -int(np.floor(np.log10(value)))
    return f"P = {value:.{digits}f}"
