"""The record of what differs between two states of a dataset, and its words."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from metamiq.question import Answers
from metamiq.wording import count, fixed

#: Quantities of the pooled answer, in the order in which they are shown, with their names in tables.
QUANTITIES = {
    "k": "trials pooled",
    "k_points": "points",
    "k_bounds": "bounds",
    "estimate": "pooled g",
    "ci_low": "interval, lower end",
    "ci_high": "interval, upper end",
    "p_value": "p",
    "pi_low": "prediction interval, lower end",
    "pi_high": "prediction interval, upper end",
    "tau2": "tau2",
    "I2": "I2 (percent)",
}
_COUNTS = ("k", "k_points", "k_bounds")
DATA_COLUMNS = ["table", "row", "column", "before", "after", "change"]


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """What differs between two states of a dataset.

    Attributes
    ----------
    names : tuple of str
        Names of the two states.
    data : DataFrame
        One row per cell: ``table row column before after change``; `change` is added, removed or changed.
    answer : DataFrame
        ``quantity before after difference``, quantities as in `QUANTITIES`; NaN where a state has no answer.
    trials : DataFrame
        One row per pooled trial: ``trial_id label`` and, for both states, ``kind`` (point, bound, or empty when it is
        not pooled), ``g`` (as text) and ``weight``.
    verdicts : DataFrame
        One row per claim: ``claim_id before after`` and ours in both states.
    reasons : tuple of str
        Why a state has no answer; empty where it has.

    See Also
    --------
    diff
    """

    names: tuple[str, str]
    data: pd.DataFrame
    answer: pd.DataFrame
    trials: pd.DataFrame
    verdicts: pd.DataFrame
    reasons: tuple[str, str]
    answers: tuple[Answers | None, Answers | None] = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether no cell differs."""
        return self.data.empty

    @property
    def moved(self) -> tuple[str, ...]:
        """The conclusions that are different, one sentence each."""
        return tuple(_moved(self))

    def to_frame(self) -> pd.DataFrame:
        """The answer before and after."""
        return self.answer.copy()

    def summary(self) -> str:
        """Data, answer and conclusions in a few lines; the caller prints them."""
        lines = [f"{self.names[0]} -> {self.names[1]}", "", "Data"]
        lines += [f"  {line}" for line in _data_lines(self.data)] or ["  no difference"]
        lines += ["", "Answer"]
        lines += [f"  {name:<32}{before:>9} -> {after}" for name, before, after in _answer_rows(self)]
        lines += [f"  {name}: {why}" for name, why in zip(self.names, self.reasons, strict=True) if why]
        lines += ["", "Trials: g, or its bounds (weight in percent)"] if len(self.trials) else []
        lines += [f"  {line}" for line in _trial_lines(self.trials)]
        lines += ["", "Verdicts on published claims"] if len(self.verdicts) else []
        lines += [
            f"  {row['claim_id']:<18}{row['before'] or 'none'} -> {row['after'] or 'none'}"
            for row in self.verdicts.to_dict(orient="records")
        ]
        lines += ["", "What moved"]
        lines += [f"  {sentence}" for sentence in self.moved] or ["  No conclusion is different."]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """The same as Markdown; text from the data is escaped."""
        out = ["## Data", ""]
        if self.data.empty:
            out += ["No difference.", ""]
        else:
            out += ["| table | row | column | before | after |", "|---|---|---|---|---|"]
            out += [
                "| " + " | ".join(plain_text(row[c]) for c in DATA_COLUMNS[:5]) + " |"
                for row in self.data.to_dict(orient="records")
            ]
            out.append("")
        out += ["## Answer", "", "| quantity | before | after |", "|---|---|---|"]
        out += [f"| {name} | {before} | {after} |" for name, before, after in _answer_rows(self)]
        for name, why in zip(self.names, self.reasons, strict=True):
            out += ["", f"{plain_text(name)}: {plain_text(why)}"] if why else []
        out += ["", "## What moved", ""]
        out += [f"- {plain_text(sentence)}" for sentence in self.moved] or ["No conclusion is different."]
        return "\n".join(out) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON: undefined numbers are None, infinite ones texts."""
        return {
            "before": self.names[0],
            "after": self.names[1],
            "data": _records(self.data),
            "answer": _records(self.answer),
            "trials": _records(self.trials),
            "verdicts": _records(self.verdicts),
            "moved": list(self.moved),
            "no_answer": {n: why for n, why in zip(self.names, self.reasons, strict=True) if why},
        }


def plain_text(value: object) -> str:
    r"""A text that stays text in Markdown and in the HTML made from it, on one line.

    Examples
    --------
    >>> plain_text("<b>a|b</b>")
    '&lt;b&gt;a\\|b&lt;/b&gt;'
    """
    text = html.escape(re.sub(r"\s+", " ", str(value)), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


def _answer_rows(difference: Difference) -> list[tuple[str, str, str]]:
    rows = []
    for row in difference.answer.to_dict(orient="records"):
        name = str(row["quantity"])
        ends = (float(row["before"]), float(row["after"]))
        digits = 0 if name in _COUNTS else 1 if name == "I2" else 3
        shown = ["none" if math.isnan(x) else fixed(x, digits) for x in ends]
        rows.append((QUANTITIES[name], shown[0], shown[1]))
    return rows


def _data_lines(data: pd.DataFrame) -> list[str]:
    lines = []
    for (table, key, change), cells in data.groupby(["table", "row", "change"], sort=False):
        if change == "changed":
            lines += [
                f"{table} {key}: {cell['column']} {cell['before'] or '(empty)'} -> {cell['after'] or '(empty)'}"
                for cell in cells.to_dict(orient="records")
            ]
        else:
            lines.append(f"{table} {key}: {change}")
    return lines


def _trial_lines(trials: pd.DataFrame) -> list[str]:
    def end(row: dict[Hashable, Any], name: str) -> str:
        if not row[f"kind_{name}"]:
            return "not pooled"
        weight = 100 * float(row[f"weight_{name}"])
        return f"{row[f'g_{name}']}" + ("" if math.isnan(weight) else f" ({weight:.1f})")

    rows = trials.to_dict(orient="records")
    width = max((len(str(row["label"])) for row in rows), default=0)
    return [f"{row['label']!s:<{width}}  {end(row, 'before'):<21} -> {end(row, 'after')}" for row in rows]


def _moved(difference: Difference) -> list[str]:
    out = []
    old, new = (
        {str(n): float(x) for n, x in zip(difference.answer["quantity"], difference.answer[end], strict=True)}
        for end in ("before", "after")
    )
    for row in difference.trials.to_dict(orient="records"):
        if row["kind_before"] != row["kind_after"]:
            out.append(f"{row['label']}: {_state(row['kind_before'])} before, {_state(row['kind_after'])} after.")
    if math.isnan(old["estimate"]) != math.isnan(new["estimate"]):
        out.append("There is an answer now." if math.isnan(old["estimate"]) else "There is no answer any more.")
    elif not math.isnan(old["estimate"]):
        out += _interval_moves(old, new)
    for row in difference.verdicts.to_dict(orient="records"):
        if row["before"] != row["after"]:
            ends = [row[end] or "not there" for end in ("before", "after")]
            out.append(f"Claim {row['claim_id']}: {ends[0]} before, {ends[1]} after.")
    return out


def _state(kind: object) -> str:
    return f"a {kind}" if kind else "not pooled"


def _interval_moves(old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    out = []
    for what, low, high in (("interval", "ci_low", "ci_high"), ("prediction interval", "pi_low", "pi_high")):
        sides = [_beside_zero(state[low], state[high]) for state in (old, new)]
        if sides[0] != sides[1]:
            out.append(f"The {what} of g {sides[0]} before and {sides[1]} after.")
    widths = [state["ci_high"] - state["ci_low"] for state in (old, new)]
    if all(math.isfinite(w) for w in widths) and abs(widths[1] - widths[0]) >= 0.005:
        word = "narrower" if widths[1] < widths[0] else "wider"
        out.append(f"The interval is {word}: {fixed(widths[0])} wide before, {fixed(widths[1])} after.")
    return out


def _beside_zero(low: float, high: float) -> str:
    return "is above 0" if low > 0 else "is below 0" if high < 0 else "includes 0"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    def value(x: Any) -> Any:
        if x is None or x is pd.NA or (isinstance(x, float) and math.isnan(x)):
            return None
        if isinstance(x, float) and math.isinf(x):
            return str(x)
        return x.item() if isinstance(x, np.generic) else x

    return [{str(k): value(v) for k, v in row.items()} for row in table.to_dict(orient="records")]


def describe_rows(data: pd.DataFrame) -> str:
    """How many rows a difference adds, changes and removes.

    Examples
    --------
    >>> describe_rows(pd.DataFrame({"table": ["trials"] * 2, "row": ["a"] * 2, "change": ["added"] * 2}))
    '1 row added'
    """
    rows = data.drop_duplicates(["table", "row"])
    parts = [
        f"{count(int(n), 'row')} {change}"
        for change in ("added", "changed", "removed")
        if (n := (rows["change"] == change).sum())
    ]
    return ", ".join(parts) or "nothing changed"
