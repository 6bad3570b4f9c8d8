"""What a rule is, what it sees, and what it says.

A rule sees `Material`: the rows that compare two arms, under the calculators' names whatever table they stand in, and
for an evidence dataset its other tables. It yields `Hit`s; the engine in `metamiq.living.check` makes findings of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.living.rules.instruments import INSTRUMENTS

SEVERITIES = ("error", "warning", "note")

_TRUE, _FALSE = {"yes", "true", "1", "1.0", "y", "higher"}, {"no", "false", "0", "0.0", "n", "lower"}
_GROUP_1 = {"1", "1.0", "mi", "group 1", "treatment", "experimental", "intervention"}
_GROUP_2 = {"2", "2.0", "cbt", "group 2", "control", "comparison", "comparator"}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: its cells, how to name it, and where it stands.

    Attributes
    ----------
    table : str
        Table of the row.
    key : str
        Short key: result, trial or study; the number of the row where it has none.
    place : str
        File and line.
    cells : mapping
        Column to cell.
    """

    table: str
    key: str
    place: str
    cells: Mapping[str, Any]

    def number(self, column: str) -> float:
        """The cell as a number; NaN when it is absent or is no finite number."""
        value = self.cells.get(column)
        if value is None or isinstance(value, str):
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError):
            return math.nan
        return number if math.isfinite(number) else math.nan

    def numbers(self, *columns: str) -> tuple[float, ...]:
        """Several cells as numbers."""
        return tuple(self.number(column) for column in columns)

    def text(self, column: str) -> str:
        """The cell as text; empty when it is absent."""
        value = self.cells.get(column)
        return "" if value is None or value is pd.NA or value != value else str(value).strip()

    @property
    def study(self) -> str:
        """The study or trial that the row belongs to; empty when it has neither."""
        return self.text("study") or self.text("trial_id") or self.text("label")

    @property
    def favours(self) -> int:
        """1 or -1: the authors say that group 1 or group 2 did better; 0: they are not quoted."""
        said = self.text("favours").casefold()
        return 1 if said in _GROUP_1 else -1 if said in _GROUP_2 else 0

    @property
    def direction(self) -> int:
        """1: a high score is good; -1: a low one; 0: not known. The row's own cell goes before the instrument."""
        said = self.text("higher_is_better").casefold()
        if said in _TRUE | _FALSE:
            return 1 if said in _TRUE else -1
        known = INSTRUMENTS.get(self.text("instrument"))
        return 0 if known is None or self.text("score") == "change" else known.direction

    @property
    def score(self) -> str:
        """Whether the means are those of a "change" or of scores at a time ("post"); empty when not said."""
        said = self.text("score").casefold()
        return "change" if "change" in said else said


@dataclass(frozen=True, slots=True)
class Plan:
    """The analysis that is asked of the data.

    Attributes
    ----------
    test : str
        "knha", "t", "z" or "adhoc".
    moderators : tuple of str
        Columns of a meta-regression.
    asymmetry : bool
        Whether a test of funnel asymmetry is wanted.
    """

    test: str = "knha"
    moderators: tuple[str, ...] = ()
    asymmetry: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule found: the row (or None for a whole table), in words, and how grave if not as the rule says."""

    line: Line | None
    found: str
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes
    ----------
    code, severity, title : str
        Such as ``"SD01"``, ``"warning"``, ``"SE taken for SD"``.
    why, do : str
        Why it matters; what to do.
    reference : str
        Where it is written; empty when it speaks for itself.
    find : callable
        From `Material` to hits.
    """

    code: str
    severity: str
    title: str
    why: str
    do: str
    reference: str
    find: Callable[[Material], Iterator[Hit]] = field(repr=False)


def rule(code: str, severity: str, title: str, *, why: str, do: str, reference: str = "") -> Callable[..., Rule]:
    """Make a rule of a function from `Material` to hits."""
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {', '.join(map(repr, SEVERITIES))}, not {severity!r}.")

    def make(find: Callable[[Material], Iterator[Hit]]) -> Rule:
        return Rule(code, severity, title, why, do, reference, find)

    return make


@dataclass(frozen=True, eq=False)
class Material:
    """What the rules see.

    Attributes
    ----------
    name : str
        Dataset or file.
    rows : tuple of Line
        One per comparison of two arms: results of an evidence dataset, rows of a study table.
    trials, dropout, claims : tuple of Line
        The other tables of an evidence dataset; empty for a study table.
    notes : tuple of str
        What was noticed in reading.
    ds : Dataset or None
        The evidence dataset; None for a study table.
    plan : Plan
        The analysis asked for.
    """

    name: str
    rows: tuple[Line, ...]
    trials: tuple[Line, ...] = ()
    dropout: tuple[Line, ...] = ()
    claims: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    ds: Dataset | None = None
    plan: Plan = Plan()

    @property
    def n_rows(self) -> int:
        """Rows looked at, all tables."""
        return len(self.rows) + len(self.trials) + len(self.dropout) + len(self.claims)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame([dict(row.cells) for row in self.rows])

    def has(self, *columns: str) -> bool:
        """Whether every column holds a value in some row."""
        return all(column in self.frame and self.frame[column].notna().any() for column in columns)

    def groups(self, column: str) -> dict[str, list[Line]]:
        """Rows by the text of a column, in order; rows without it are left out."""
        return grouped((row.text(column), row) for row in self.rows)

    def studies(self) -> dict[str, list[Line]]:
        """Rows by study."""
        return grouped((row.study, row) for row in self.rows)


def grouped(pairs: Iterable[tuple[str, Line]]) -> dict[str, list[Line]]:
    """Rows under each key, in order; an empty key groups nothing."""
    found: dict[str, list[Line]] = {}
    for key, row in pairs:
        if key:
            found.setdefault(key, []).append(row)
    return found


def keys_of(lines: Iterable[Line]) -> str:
    """Keys in a sentence, the first few of many."""
    names = list(dict.fromkeys(line.key for line in lines))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
