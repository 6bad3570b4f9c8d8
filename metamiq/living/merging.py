"""Proposed rows and the tables of a folder -> the tables as they would be, and each cell that would change."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from metamiq.datasets import CsvTable, Fault, FaultyDataError, read_csv_table
from metamiq.datasets.columns import columns_of
from metamiq.datasets.faults import quoted
from metamiq.datasets.models import Row
from metamiq.datasets.numbers import plain
from metamiq.datasets.reading import row_models
from metamiq.datasets.validate import check_rows
from metamiq.living.proposal import BLANK, OPEN_TABLES, Proposal, ProposedRow

Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class CellChange:
    """One cell that a proposal changes.

    Attributes
    ----------
    table, key, column : str
        Where it is; `key` joins the columns that identify the row by " / ".
    before, after : str
        The cell as text; `before` is empty for a new row.
    source, locator : str
        Where the new value was read.
    is_new : bool
        Whether the row is new.
    is_gone : bool
        Whether the row is taken out.
    """

    table: str
    key: str
    column: str
    before: str
    after: str
    source: str
    locator: str
    is_new: bool
    is_gone: bool = False


@dataclass(slots=True)
class CellTable:
    """A table of a folder as text."""

    header: list[str]
    rows: list[Cells]


def merge(folder: Path, proposal: Proposal, *, replace: bool) -> tuple[dict[str, bytes], tuple[CellChange, ...]]:
    """Put proposed rows into the tables of a folder, in memory.

    Parameters
    ----------
    folder : Path
        The dataset folder, which has been read without faults.
    proposal : Proposal
        What is proposed.
    replace : bool
        Whether rows that are there may be changed.

    Returns
    -------
    files : dict of str to bytes
        Each table that changes, as CSV: UTF-8, commas, decimal points. Rows that do not change keep their text.
    changes : tuple of CellChange
        What is different.

    Raises
    ------
    DataError
        If a row breaks a rule of its columns, names a column that there is not, or is there already and `replace` is
        False. All such faults are in one message.
    """
    models = row_models(True)
    faults: list[Fault] = []
    changes: list[CellChange] = []
    files = {}
    for table in OPEN_TABLES:
        proposed = [row for row in proposal.rows if row.table == table]
        if not proposed:
            continue
        current = current_cells(folder, table, models[table])
        rows, found = _merged(current, proposed, models[table], replace, proposal.file)
        faults += found
        if found:
            continue
        checked = check_rows(_as_cells(rows, proposed), models[table], proposal.file)
        faults += checked.faults
        if checked.faults or checked.frame is None:
            continue
        numeric = {str(name) for name in checked.frame if pd.api.types.is_numeric_dtype(checked.frame[name])}
        comma = "decimal commas read" in checked.notes
        for row, source in zip(rows, proposed, strict=True):
            if comma:
                row.update({name: plain(cell).replace(",", ".") for name, cell in row.items() if name in numeric})
            changes += _put(current, row, source, models[table])
        files[f"{table}.csv"] = cells_csv(current)
    if faults:
        raise FaultyDataError(faults)
    changed = {f"{change.table}.csv" for change in changes}
    return {name: content for name, content in files.items() if name in changed}, tuple(changes)


def current_cells(folder: Path, table: str, model: type[Row]) -> CellTable:
    """A table of a folder, its numbers with decimal points; without rows where it has no file."""
    file = folder / f"{table}.csv"
    if not file.exists():
        return CellTable([name for name, column in columns_of(model).items() if column.required], [])
    cells = read_csv_table(file)
    rows = [{str(name): cell for name, cell in record.items()} for record in cells.frame.to_dict("records")]
    checked = check_rows(cells, model, str(file))
    if "decimal commas read" in checked.notes and checked.frame is not None:
        numeric = {str(name) for name in checked.frame if pd.api.types.is_numeric_dtype(checked.frame[name])}
        rows = [{n: plain(c).replace(",", ".") if n in numeric else c for n, c in row.items()} for row in rows]
    return CellTable([str(name) for name in cells.frame], rows)


def _key(row: Mapping[str, str], model: type[Row]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in model.KEY)


def _merged(
    current: CellTable, proposed: Sequence[ProposedRow], model: type[Row], replace: bool, file: str
) -> tuple[list[Cells], list[Fault]]:
    """Each proposed row completed by the row that it corrects."""
    known = [*columns_of(model), *(name for name in current.header if name not in columns_of(model))]
    present = {_key(row, model): row for row in current.rows}
    seen: set[tuple[str, ...]] = set()
    rows, faults = [], []
    for row in proposed:
        key = _key(row.values, model)
        who = f"{row.table} {' / '.join(key)}"
        for name in sorted(set(row.values) - set(known)):
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean {close[0]!r}?" if close else f"Fields of {row.table}: {', '.join(known)}."
            rule = f"fields must be columns of {row.table}.csv"
            faults.append(Fault(rule, f"{who} has {quoted(name)}", file, row.line, column=name, advice=advice))
        if key in seen:
            faults.append(Fault("each row must be proposed once", f"{who} is there twice", file, row.line))
        seen.add(key)
        if key in present and not replace:
            advice = "Use --replace to correct it, or choose another key."
            faults.append(
                Fault("a new row must have a new key", f"{who} is in the dataset", file, row.line, advice=advice)
            )
        given = {name: "" if cell == BLANK else cell for name, cell in row.values.items()}
        old = present.get(key, {})
        if old.get("source") and given.get("source") and given["source"] not in old["source"].split("; "):
            # The values that stay were read in the old source; provenance.csv says which came from where.
            given["source"] = f"{old['source']}; {given['source']}"
        rows.append({**old, **given})
    return rows, faults


def _as_cells(rows: Sequence[Cells], proposed: Sequence[ProposedRow]) -> CsvTable:
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pd.DataFrame({name: pd.Series([row.get(name, "") for row in rows], dtype=object) for name in names})
    return CsvTable(frame, tuple(row.line for row in proposed), (), proposed[0].separator, proposed[0].line)


def _put(current: CellTable, row: Cells, proposed: ProposedRow, model: type[Row]) -> list[CellChange]:
    """Put one row into the table, in the place that its key has where the table is sorted."""
    for name in (name for name in columns_of(model) if row.get(name) and name not in current.header):
        _add_column(current, name, model)
    key = _key(row, model)
    keys = [_key(old, model) for old in current.rows]
    is_new = key not in keys
    before = {} if is_new else current.rows[keys.index(key)]
    changes = [
        CellChange(
            proposed.table, " / ".join(key), name, before.get(name, ""), row[name], *proposed.citations[name], is_new
        )
        for name in proposed.values
        if row[name] != before.get(name, "") and name in proposed.citations
    ]
    if not is_new:
        current.rows[keys.index(key)] = row
    elif keys == sorted(keys):
        current.rows.insert(sum(other < key for other in keys), row)
    else:
        current.rows.append(row)
    return changes


def _add_column(current: CellTable, name: str, model: type[Row]) -> None:
    """Add a column that the file lacks, after those that come before it in the model."""
    order = list(columns_of(model))
    earlier = [current.header.index(other) for other in order[: order.index(name)] if other in current.header]
    current.header.insert(max(earlier, default=-1) + 1, name)


def cells_csv(table: CellTable) -> bytes:
    """A table as it is written: UTF-8, commas, no byte more than needed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([row.get(name, "") for name in table.header] for row in table.rows)
    return out.getvalue().encode("utf-8")
