"""Run the rules on a dataset or on a study table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.living.ignored import IgnoredRow, read_ignored
from metamiq.living.rules import RULES, Material, Plan
from metamiq.living.rules.gather import material_of_dataset, material_of_frame
from metamiq.living.rules.material import SEVERITIES
from metamiq.wording import count, in_short

TESTS = ("knha", "t", "z", "adhoc")
_MOST_ROWS = 50_000  # the rules look at each row for itself, ten seconds for as many


class _Row(NamedTuple):
    """One row of the tables below."""

    code: str
    severity: str
    row: str
    place: str
    found: str
    why: str
    do: str
    reference: str
    ignored: str = ""


def _rows(table: pd.DataFrame) -> list[_Row]:
    return [_Row(**{str(name): str(cell) for name, cell in row.items()}) for row in table.to_dict("records")]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What the rules found.

    Attributes
    ----------
    name : str
        Dataset or file.
    table : DataFrame
        One row per finding, the gravest first: ``code severity row place found why do reference``.
    ignored : DataFrame
        Findings that were set aside, with the reason in ``ignored``.
    unused : tuple of IgnoredRow
        Decisions to ignore that no finding answers to any more.
    n_rows : int
        Rows that were looked at.

    See Also
    --------
    check
    """

    name: str
    table: pd.DataFrame
    ignored: pd.DataFrame
    unused: tuple[IgnoredRow, ...]
    n_rows: int

    @property
    def is_clean(self) -> bool:
        """Whether there is no error and no warning; notes do not count."""
        return bool((self.table["severity"] == "note").all())

    def counts(self) -> dict[str, int]:
        """Number of findings by severity."""
        return {severity: int((self.table["severity"] == severity).sum()) for severity in SEVERITIES}

    def to_frame(self) -> pd.DataFrame:
        """The findings as a table."""
        return self.table.copy()

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """One line: how many findings, in how many rows, and how many were set aside."""
        found = ", ".join(count(n, severity) for severity, n in self.counts().items() if n) or "nothing found"
        line = f"{self.name}: {found} in {count(self.n_rows, 'row')}"
        return line + (f"; {len(self.ignored)} ignored" if len(self.ignored) else "") + "."

    def details(self) -> str:
        """Every finding with what was found, why it matters and what to do; then what was ignored and why."""
        blocks = [
            "\n".join(
                [
                    f"{row.code} {row.severity}: {RULES[row.code].title} [{row.row}; {row.place}]",
                    f"  Found: {row.found}.",
                    f"  Why:   {row.why}",
                    f"  Do:    {row.do}",
                    *([f"  See:   {row.reference}"] if row.reference else []),
                ]
            )
            for row in _rows(self.table)
        ]
        blocks += [
            f"{row.code} ignored: {RULES[row.code].title} [{row.row}; {row.place}]\n"
            f"  Found:  {row.found}.\n  Reason: {row.ignored}"
            for row in _rows(self.ignored)
        ]
        blocks += [f"{old.code}: nothing left to ignore ({old.reason})" for old in self.unused]
        return "\n\n".join(blocks)

    def lines(self) -> str:
        """One line per finding."""
        return "\n".join(f"{r.code:<5}{r.severity:<8} {r.row}: {r.found}" for r in _rows(self.table))

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "data": self.name,
            "n_rows": self.n_rows,
            "counts": self.counts(),
            "findings": self.table.to_dict(orient="records"),
            "ignored": self.ignored.to_dict(orient="records"),
            "unused": [old.model_dump() for old in self.unused],
        }


def check(
    data: Dataset | pd.DataFrame,
    *,
    test: str = "knha",
    moderators: Iterable[str] = (),
    asymmetry: bool = False,
) -> Findings:
    """Look for mistakes of extraction and for choices that the data do not bear.

    Every rule has a code, says what it found and where, why that matters and what to do. Rules read only columns
    that are there; `metamiq.living.rules.COLUMNS` lists those that a table may have beyond the calculators' own. A
    finding is a reason to look at the source again, not a verdict.

    Parameters
    ----------
    data : Dataset or DataFrame
        A dataset, or a study table (`read_table`) with group 1 and group 2 of each trial in one row.
    test : {"knha", "t", "z", "adhoc"}
        Test and interval of the analysis that is planned.
    moderators : iterable of str
        Moderators that are to be tested.
    asymmetry : bool
        Whether a test of funnel asymmetry is planned.

    Returns
    -------
    Findings
        Errors, warnings and notes; `summary()` in one line, `details()` in full.

    Raises
    ------
    ValueError
        If `data` is neither, or `test` is not one of them.
    DataError
        If the decisions stored in ``ignored.csv`` cannot be read, or a table names two columns alike or has more than
        50,000 rows.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "b"], "m1i": [12.1, 11.8], "sd1i": [4.2, 0.9], "n1i": [20, 24],
    ...     "m2i": [14.0, 13.9], "sd2i": [4.0, 4.4], "n2i": [21, 20], "n_total": [41, 44]})
    >>> findings = check(table)
    >>> print(findings.summary())
    table: 1 warning in 2 rows.
    >>> print(findings.lines())
    SD01 warning  b: sd1i = 0.9, and times sqrt(24) it is 4.41, like sd2i = 4.4
    """
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(map(repr, TESTS))}, not {test!r}.")
    plan = Plan(test, (moderators,) if isinstance(moderators, str) else tuple(moderators), asymmetry)
    source: Path | None
    if isinstance(data, Dataset):
        material, source = material_of_dataset(data, plan), data.path
    elif isinstance(data, pd.DataFrame):
        if len(data) > _MOST_ROWS:
            raise DataError(f"A table to be checked must have at most {_MOST_ROWS:,} rows, but it has {len(data):,}.")
        if not data.columns.is_unique:
            twice = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
            raise DataError(f"Column names must differ, but {', '.join(map(repr, twice))} stands there more than once.")
        material = material_of_frame(data, plan)
        source = Path(str(data.attrs["file"])) if "file" in data.attrs else None
    else:
        raise ValueError(f"data must be a Dataset or a DataFrame, not {type(data).__name__}.")
    decisions = read_ignored(source, RULES) if source is not None else ()
    return _settle(material, _found(material), decisions)


def _found(material: Material) -> pd.DataFrame:
    rows = []
    for rule in RULES.values():
        for hit in rule.find(material):
            rows.append(
                _Row(
                    code=rule.code,
                    severity=hit.severity or rule.severity,
                    row=hit.line.key if hit.line else "table",
                    place=hit.line.place if hit.line else material.name,
                    found=hit.found,
                    why=rule.why,
                    do=rule.do,
                    reference=rule.reference,
                )
            )
    rows.sort(key=lambda row: SEVERITIES.index(row.severity))  # stable: rules and rows keep their order
    return pd.DataFrame(rows, columns=list(_Row._fields))


def _settle(material: Material, found: pd.DataFrame, decisions: tuple[IgnoredRow, ...]) -> Findings:
    """Set aside what a decision is about."""
    reasons = [""] * len(found)
    used = set()
    # A decision for one row goes before one for all.
    for number, decision in sorted(enumerate(decisions), key=lambda pair: pair[1].row is None):
        for position, row in enumerate(_rows(found)):
            if not reasons[position] and row.code == decision.code and decision.row in (None, row.row):
                reasons[position] = decision.reason
                used.add(number)
    found = found.assign(ignored=reasons)
    aside = found["ignored"] != ""
    return Findings(
        material.name,
        found[~aside].drop(columns="ignored").reset_index(drop=True),
        found[aside].reset_index(drop=True),
        tuple(decision for number, decision in enumerate(decisions) if number not in used),
        material.n_rows,
    )
