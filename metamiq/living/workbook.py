"""The first sheet of an .xlsx workbook -> its cells as text, like those of a CSV file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from metamiq.datasets import CsvTable, Fault, FaultyDataError
from metamiq.datasets.faults import quoted

LARGEST_UNPACKED = 50_000_000
MOST_ROWS, MOST_COLUMNS = 20_000, 200


def read_xlsx(file: Path, name: str) -> CsvTable:
    """Read the first sheet of a workbook; needs openpyxl.

    Raises
    ------
    DataError
        If openpyxl is not installed, the file is no workbook, unpacks to more than 50 MB, defines XML entities, names a
        column twice, or holds a formula.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        advice = "Install it with: pip install 'metamiq[excel]', or save the file as CSV."
        raise FaultyDataError(
            [Fault("openpyxl must be installed to read .xlsx", "it is not", name, advice=advice)]
        ) from None
    _check_zip(file, name)
    rule = "an .xlsx file must be a workbook with a header in the first row"
    try:
        sheet = load_workbook(file, read_only=False, data_only=False, keep_links=False).worksheets[0]
        size = (sheet.max_row, sheet.max_column)
        grid = [
            ["" if cell is None else _cell_text(cell) for cell in row]
            for row in sheet.iter_rows(
                values_only=True, max_row=min(size[0], MOST_ROWS), max_col=min(size[1], MOST_COLUMNS)
            )
        ]
    except Exception as error:  # openpyxl raises what its parsers raise; none of it is the user's business
        raise FaultyDataError([Fault(rule, f"it cannot be read ({type(error).__name__})", name)]) from None
    if size[0] > MOST_ROWS or size[1] > MOST_COLUMNS:
        came = f"it has {size[0]:,} and {size[1]:,}"
        what = f"a sheet must have at most {MOST_ROWS:,} rows and {MOST_COLUMNS} columns"
        raise FaultyDataError([Fault(what, came, name, advice="Delete what is beyond the template.")])
    while grid and not any(grid[-1]):
        grid.pop()
    while grid and grid[0] and all(not row[-1] for row in grid):
        grid = [row[:-1] for row in grid]
    if len(grid) < 2:
        raise FaultyDataError([Fault(rule, "there is none", name)])
    header = grid[0]
    faults = [
        Fault("column names must differ", f"{quoted(column)} stands there {header.count(column)} times", name, 1)
        for column in sorted(set(header))
        if header.count(column) > 1
    ]
    kept = [(number, row) for number, row in enumerate(grid[1:], start=2) if any(row)]
    faults += [
        Fault("cells must hold values", f"column {header[i]!r} has a formula: {quoted(cell)}", name, number)
        for number, row in kept
        for i, cell in enumerate(row)
        if cell.startswith("=")
    ]
    if faults:
        raise FaultyDataError(faults)
    columns = {column: pd.Series([row[i] for _, row in kept], dtype=object) for i, column in enumerate(header)}
    return CsvTable(pd.DataFrame(columns), tuple(number for number, _ in kept), (), ",", 1)


def _cell_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def _check_zip(file: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > LARGEST_UNPACKED:
                rule = f"a workbook must unpack to at most {LARGEST_UNPACKED:,} bytes"
                raise FaultyDataError([Fault(rule, f"it says {unpacked:,}", name)])
            for entry in archive.infolist():
                if entry.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(entry)[:4096].upper():
                    rule, came = "a workbook must not define XML entities", f"{entry.filename} has a DOCTYPE"
                    raise FaultyDataError([Fault(rule, came, name)])
    except FileNotFoundError:
        raise FaultyDataError(
            [Fault("the file must exist", "it was not found", name, advice="Check the name.")]
        ) from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        came = f"it is not ({error})"
        raise FaultyDataError([Fault("an .xlsx file must be a workbook", came, name)]) from None
