"""Taking a trial, or one of its results, out of a dataset: a plan like any other, for the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from metamiq.datasets.reading import row_models
from metamiq.errors import DataError
from metamiq.living.dry_run import Plan, as_it_would_be, evidence, planned
from metamiq.living.folders import fingerprint
from metamiq.living.merging import CellChange, cells_csv, current_cells
from metamiq.living.proposal import OPEN_TABLES
from metamiq.living.spreadsheet import text_fault

#: What provenance.csv says in place of a source.
REMOVED = "(removed)"


def plan_removal(folder: str | PathLike[str], keys: Sequence[str], *, why: str, by: str = "") -> Plan:
    """Work out what is different without some trials or results, and write nothing.

    Parameters
    ----------
    folder : str or path-like
        A dataset folder of your own.
    keys : sequence of str
        Each a ``trial_id``, whose rows go from all tables, or a ``result_id``, whose row goes from the results.
    why, by : str
        Reason, which must be given, and author.

    Returns
    -------
    Plan
        For `accept`; the removed cells are kept in ``provenance.csv`` and in the version before.

    Raises
    ------
    DataError
        If there is no such key or no reason, no trial would be left, or another row refers to what goes.
    """
    path = Path(folder)
    if not why.strip():
        raise DataError("A removal must have a reason, but none is given. Say it with --because.")
    for what, text in (("why", why), ("by", by)):
        if problem := text_fault(text):
            raise DataError(f"{what} must be plain text, but {problem}.")
    before = evidence(path)
    base = fingerprint(path)
    trials, results = set(before.trials["trial_id"]), set(before.results["result_id"])
    unknown = [key for key in keys if key not in trials | results]
    if unknown or not keys:
        named = f"{', '.join(map(repr, unknown))} is none" if unknown else "none was named"
        raise DataError(f"What is removed must be a trial_id or result_id of {path}, but {named}.")
    if trials <= set(keys):
        raise DataError(f"A dataset must keep at least one trial, but all {len(trials)} would go.")
    models = row_models(True)
    changes: list[CellChange] = []
    tables: dict[str, bytes | None] = {}
    for name in OPEN_TABLES:
        table = current_cells(path, name, models[name])
        going = [
            row
            for row in table.rows
            if row.get("trial_id") in set(keys) & trials or row.get("result_id") in set(keys) - trials
        ]
        for row in going:
            key = " / ".join(row.get(column, "") for column in models[name].KEY)
            changes += [
                CellChange(name, key, column, cell, "", REMOVED, why, is_new=False, is_gone=True)
                for column, cell in row.items()
                if cell
            ]
        if going:
            table.rows = [row for row in table.rows if row not in going]
            tables[f"{name}.csv"] = cells_csv(table) if table.rows else None
    after = as_it_would_be(path, tables, "without what is removed")
    return planned(before, after, tables, tuple(changes), base, why, by)
