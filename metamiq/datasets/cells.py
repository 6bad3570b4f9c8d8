"""Rows of cells -> a table of text with one header: what makes a table, whatever file it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.datasets.faults import Fault, FaultyDataError, control_character, quoted

#: Longest cell that is read, in characters (the limit that Python's csv module comes with).
LONGEST_CELL = 131_072
#: What spreadsheets write in place of a value that they could not compute.
SPREADSHEET_ERRORS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#SPILL!", "#CALC!"}
Cells = Sequence[str]


class CsvTable(NamedTuple):
    """The cells of a CSV file as text.

    Attributes
    ----------
    frame : DataFrame
        Every cell as `str`, outer blanks removed; an empty cell is ``""``.
    lines : tuple of int
        Line of the file on which each row starts (the first line is 1).
    notes : tuple of str
        What was noticed about the dialect; empty for plain UTF-8 with commas.
    separator : str
        The character between cells.
    header_line : int
        Line of the file on which the header starts.
    """

    frame: pd.DataFrame
    lines: tuple[int, ...]
    notes: tuple[str, ...]
    separator: str
    header_line: int

    def only(self, keep: Sequence[bool], note: str) -> CsvTable:
        """The table of some of its rows, with a note that says which."""
        frame = self.frame[np.asarray(keep)].reset_index(drop=True)
        return self._replace(frame=frame, lines=tuple(compress(self.lines, keep)), notes=(*self.notes, note))


def table_of(
    records: Sequence[Cells], lines: list[int], notes: list[str], separator: str, name: str, advice: str = ""
) -> CsvTable:
    """Rows of cells, whatever they were read from -> a table with one header and values in its cells.

    Parameters
    ----------
    records : sequence of sequence of str
        Rows of cells, outer blanks removed; the first that is not empty is the header.
    lines : list of int
        Where each row stands in the file.
    notes : list of str
        What was noticed so far; more is added.
    separator : str
        The character between cells.
    name : str
        The file in messages.
    advice : str
        What to do where there is no row.

    Returns
    -------
    CsvTable
        Empty rows and margins left out.

    Raises
    ------
    DataError
        As `read_csv_table` says.
    """
    records, lines = _without_empty(records, lines, notes)
    if not records:
        rule = "a table must have a header and at least one row"
        raise FaultyDataError([Fault(rule, "the file is empty", name, advice=advice)])
    # Looked at as a whole first: in a large table that has nothing unusual, no cell is looked at by itself.
    text = "\n".join(chain([""], chain.from_iterable(records)))
    faults = _control_faults(records, lines, name) if control_character(text.replace("\t", " ")) else []
    header, rows = _without_margins(records[0], records[1:], notes)
    row_lines = lines[1:]
    faults += _header_faults(header, lines[0], name)
    longest = max(map(len, chain.from_iterable(rows)), default=0)
    if {*map(len, rows)} - {len(header)} or longest > LONGEST_CELL or "\n=" in text or "\n#" in text:
        faults += _row_faults(header, rows, row_lines, name)
    if not rows:
        advice = advice or "Add the rows; a table that has nothing to say may be left out, except trials.csv."
        faults.append(
            Fault("a table must have at least one row", "there is only a header", name, lines[0], advice=advice)
        )
    if faults:
        raise FaultyDataError(faults)
    columns = {name: list(map(itemgetter(position), rows)) for position, name in enumerate(header)}
    frame = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()}, copy=False)
    return CsvTable(frame, tuple(row_lines), tuple(notes), separator, lines[0])


def _without_empty(records: Sequence[Cells], lines: list[int], notes: list[str]) -> tuple[Sequence[Cells], list[int]]:
    """Leave out rows whose cells are all empty, as spreadsheets leave them."""
    empty = [str(line) for record, line in zip(records, lines, strict=True) if not any(record)]
    if not empty:
        return records, lines
    notes.append(f"empty rows skipped (line {', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''})")
    kept = [(record, line) for record, line in zip(records, lines, strict=True) if any(record)]
    return [record for record, _ in kept], [line for _, line in kept]


def _without_margins(header: Cells, rows: Sequence[Cells], notes: list[str]) -> tuple[Cells, Sequence[Cells]]:
    """Leave out unnamed columns that hold nothing of their own: empty ones on the right, row numbers on the left."""
    while header[-1] == "" and all(len(row) < len(header) or row[len(header) - 1] == "" for row in rows):
        notes.append(f"empty column {len(header)} at the right edge skipped")
        rows = [row[:-1] if len(row) == len(header) else row for row in rows]
        header = header[:-1]
    counts = ([str(i + first) for i in range(len(rows))] for first in (0, 1))
    if rows and header[0] == "" and [row[0] for row in rows] in counts:
        notes.append("unnamed first column skipped: it only counts the rows")
        header, rows = header[1:], [row[1:] for row in rows]
    return header, rows


def _control_faults(records: Sequence[Cells], lines: list[int], name: str) -> list[Fault]:
    faults = []
    for record, line in zip(records, lines, strict=True):
        if sign := control_character("".join(record).replace("\t", " ")):
            rule = "text must not hold control characters"
            came = f"there is {sign!r}"
            advice = "Delete it: it cannot be seen, and turns or hides the text around it."
            faults.append(Fault(rule, came, name, line, advice=advice))
    return faults


def _header_faults(header: Cells, line: int, name: str) -> list[Fault]:
    faults = []
    for column, count in sorted(Counter(header).items()):
        if column == "" and count:
            places = ", ".join(str(i) for i, cell in enumerate(header, start=1) if cell == "")
            came = f"column {places} has none"
            faults.append(Fault("every column must have a name", came, name, line, advice="Name it or delete it."))
        elif column.startswith("="):
            advice = "Write a name in its place."
            faults.append(
                Fault("column names must be text", f"{quoted(column)} is a formula", name, line, None, None, advice)
            )
        elif count > 1:
            came = f"{quoted(column)} stands there {count} times"
            faults.append(
                Fault(
                    "column names must differ", came, name, line, column=column, advice="Rename or delete all but one."
                )
            )
    return faults


def _row_faults(header: Cells, rows: Sequence[Cells], lines: list[int], name: str) -> list[Fault]:
    width = len(header)
    faults = []
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            rule = f"a row must have as many cells as the header ({width})"
            advice = "Put a cell that contains the separator in double quotes; keep the separators of empty cells."
            came = f"this one has {len(row)}: {quoted(row[0] if row else '')} ..."
            faults.append(Fault(rule, came, name, line, advice=advice))
        for position, cell in enumerate(row):
            if len(cell) > LONGEST_CELL:
                came = f"one has {len(cell):,}"
                faults.append(Fault(f"a cell must hold at most {LONGEST_CELL:,} characters", came, name, line))
            elif cell and (cell[0] == "=" or cell in SPREADSHEET_ERRORS):
                column = header[position] if position < width else None
                what = "a formula" if cell[0] == "=" else "a spreadsheet error"
                came = f"column {column or position + 1} has {what}: {quoted(cell)}"
                advice = "Paste the value in its place."
                faults.append(Fault("cells must hold values", came, name, line, column=column, advice=advice))
    return faults
