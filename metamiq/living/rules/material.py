"""What a rule is, what it sees, and what it says.

A rule sees `Material`: the rows that compare two arms, under the calculators' names whatever table they stand in, and
for an evidence dataset its other tables. It yields `Hit`s; the engine in `metamiq.living.check` makes findings of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, read_csv_table
from metamiq.effects.cells import records
from metamiq.errors import DataError
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


def material_of_dataset(ds: Dataset, plan: Plan) -> Material:
    """What the rules see of a dataset, evidence or study table."""
    if "role" not in ds.trials:
        rows = _lines(ds.trials, "trials", partial(ds.where, "trials"))
        return Material(ds.name, rows, notes=ds.notes, plan=plan)
    tables = {
        name: _lines(getattr(ds, name), name, partial(ds.where, name))
        for name in ("trials", "results", "dropout", "claims")
    }
    trials = {line.text("trial_id"): line for line in tables["trials"]}
    rows = tuple(_comparison(line, trials.get(line.text("trial_id"))) for line in tables["results"])
    return Material(
        ds.name, rows, tables["trials"], tables["dropout"], tables["claims"], notes=ds.notes, ds=ds, plan=plan
    )


def material_of_frame(frame: pd.DataFrame, plan: Plan) -> Material:
    """What the rules see of a study table."""
    file = str(frame.attrs.get("file", ""))
    name = (Path(file).name if Path(file).is_absolute() else file) or "table"
    lines = _file_lines(frame, file) if file else {}

    def place(position: int) -> str:
        return f"{name}, line {lines[position]}" if lines else f"{name}, row {position + 1}"

    rows = _lines(frame, "study table", place)
    return Material(name, rows, notes=tuple(frame.attrs.get("notes", ())), plan=plan)


def _file_lines(frame: pd.DataFrame, file: str) -> dict[int, int]:
    """Line of each row in the file that it was read from; empty unless the index still tells which row is which."""
    try:
        table = read_csv_table(file)
    except DataError:
        return {}
    labels = frame.index.to_list()
    if not all(isinstance(label, int) and 0 <= label < len(table.lines) for label in labels):
        return {}
    names = next((c for c in ("trial_id", "study", "label") if c in frame), None)
    for position, label in enumerate(labels):
        cells = set(table.frame.iloc[label])
        if names is not None and str(frame[names].iloc[position]) not in cells | {"None"}:
            return {}
    return {position: table.lines[label] for position, label in enumerate(labels)}


def _lines(table: pd.DataFrame, name: str, place: Callable[[int], str]) -> tuple[Line, ...]:
    keys = ("result_id", "claim_id", "trial_id", "study", "label")
    found = []
    for position, cells in enumerate(records(table)):
        row = Line(name, "", place(position), cells)
        key = next((row.text(column) for column in keys if row.text(column)), f"row {position + 1}")
        if name == "dropout":
            key = f"{key} {row.text('arm')}"
        found.append(Line(name, key, row.place, cells))
    return tuple(found)


#: Columns of results.csv under the calculators' names; the statistic of the report is added by its kind.
_SAME = {
    "m1i": "mean_mi", "sd1i": "sd_mi", "n1i": "n_mi", "m2i": "mean_cbt", "sd2i": "sd_cbt", "n2i": "n_cbt",
    "pi": "p", "sei": "se",
}  # fmt: skip


def _comparison(line: Line, trial: Line | None) -> Line:
    """A reported result as a row of a study table; its own columns stay."""
    cells = dict(line.cells)
    for ours, theirs in _SAME.items():
        cells.setdefault(ours, line.cells.get(theirs))
    report, value = line.text("report"), line.number("value")
    if trial is not None:
        cells["n1i_randomised"] = trial.cells.get("n_mi")
        cells["n2i_randomised"] = trial.cells.get("n_cbt")
        cells["n_total"] = trial.cells.get("n_total")
        cells["design"] = trial.cells.get("design")
    if report in ("d", "g", "smd"):
        cells["yi"] = value
    elif report == "t":
        cells["ti"] = value
    elif report == "F":
        cells["ti"] = np.sqrt(value) * (line.favours or 1)
    cells.setdefault("score", {"change_means": "change", "means": "post"}.get(report))
    if report == "change_means":  # a reduction: the larger, the better
        cells["higher_is_better"] = "yes"
    return Line(line.table, line.key, line.place, cells)
