"""Reading cells of an evidence table, where an empty cell means "not read"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pandas as pd

Record = Mapping[str, Any]


class Evidence(Protocol):
    """What is needed of a dataset: its tables of trials and of reported results."""

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial."""

    @property
    def results(self) -> pd.DataFrame:
        """One row per reported result."""


def records(table: pd.DataFrame) -> list[Record]:
    """Rows of a table as mappings from column to cell, in order."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


class ReadEvidence:
    """The rows of a dataset's tables, read once: trials by their key, and the results of each trial."""

    def __init__(self, ds: Evidence) -> None:
        self.trials = {text(trial, "trial_id"): trial for trial in records(ds.trials)}
        self.results: dict[str, list[Record]] = {}
        for result in records(ds.results):
            self.results.setdefault(text(result, "trial_id"), []).append(result)


def text(record: Record, column: str) -> str:
    """Give the cell as text; empty when the cell or the column is absent.

    Examples
    --------
    >>> text({"rater": float("nan")}, "rater")
    ''
    """
    value = record.get(column)
    return "" if value is None or pd.isna(value) else str(value)


def number(record: Record, column: str) -> float | None:
    """Give the cell as a number; None when the cell or the column is absent.

    Examples
    --------
    >>> number({"value": 2.5}, "value"), number({}, "value")
    (2.5, None)
    """
    value = record.get(column)
    return None if value is None or pd.isna(value) else float(value)
