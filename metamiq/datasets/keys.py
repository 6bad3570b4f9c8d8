"""Rules that join rows and tables: unique keys, keys that resolve, results and dropout that fit in their trial."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq.datasets.faults import Fault
from metamiq.datasets.validate import name_row


@dataclass(frozen=True, slots=True)
class Source:
    """A typed table with what a message needs: its file and the line of each row."""

    frame: pd.DataFrame
    file: str
    lines: Sequence[int]


def duplicate_faults(table: Source, key: Sequence[str]) -> list[Fault]:
    """Rows that share a key."""
    if not key or not set(key) <= set(table.frame):
        return []
    seen: dict[tuple[object, ...], int] = {}
    faults = []
    for row, line in zip(table.frame.to_dict("records"), table.lines, strict=True):
        value = tuple(row[column] for column in key)
        if None in value:  # reported already, as a cell that must be filled
            continue
        if value in seen:
            rule = f"{' + '.join(key)} must differ from row to row"
            who, trial = name_row({str(name): cell for name, cell in row.items()}, line)
            came = f"{who} stands on line {seen[value]} already"
            advice = "Delete one of the rows, or rename it."
            faults.append(Fault(rule, came, table.file, line, trial, key[0], advice))
        else:
            seen[value] = line
    return faults


def reference_faults(tables: Mapping[str, Source]) -> list[Fault]:
    """Keys that name no trial, and rows with more people than their trial has."""
    trials = tables["trials"]
    if "trial_id" not in trials.frame:
        return []
    totals = _totals(trials.frame)
    ids = sorted(totals)
    faults = []
    if "overlaps_with" in trials.frame:
        for row, line in zip(trials.frame.to_dict("records"), trials.lines, strict=True):
            other = row["overlaps_with"]
            if other is not None and other not in totals:
                came = f"trial {row['trial_id']!r} has {other!r}"
                rule = "overlaps_with must be a trial_id of trials.csv"
                faults.append(Fault(rule, came, trials.file, line, row["trial_id"], "overlaps_with", _near(other, ids)))
    for name, sizes in (("results", ("n_mi", "n_cbt")), ("dropout", ("n",))):
        if name not in tables or "trial_id" not in tables[name].frame:
            continue
        table = tables[name]
        for row, line in zip(table.frame.to_dict("records"), table.lines, strict=True):
            trial = row["trial_id"]
            if trial is None:
                continue
            who, _ = name_row({str(column): cell for column, cell in row.items()}, line)
            if trial not in totals:
                rule = "trial_id must be a trial_id of trials.csv"
                faults.append(
                    Fault(rule, f"it is not for {who}", table.file, line, trial, "trial_id", _near(trial, ids))
                )
                continue
            total = totals[trial]
            for column in sizes:
                size = float(row.get(column, np.nan))
                if size > total:  # false when either is not known
                    rule = f"{column} must not exceed the size of its trial ({total:.10g})"
                    advice = "Check both sizes against their source."
                    faults.append(Fault(rule, f"{who} has {size:.10g}", table.file, line, trial, column, advice))
    return faults


def _totals(trials: pd.DataFrame) -> dict[str, float]:
    """Size of each trial: as stated, or its two arms together, or NaN."""
    sizes = {
        column: trials[column].astype(float) if column in trials else pd.Series(np.nan, index=trials.index)
        for column in ("n_total", "n_mi", "n_cbt")
    }
    total = sizes["n_total"].fillna(sizes["n_mi"] + sizes["n_cbt"])
    return {trial: size for trial, size in zip(trials["trial_id"], total, strict=True) if trial is not None}


def _near(value: str, ids: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(ids), n=1)
    return f"Did you mean {close[0]!r}?" if close else "Add the trial to trials.csv, or correct the key."
