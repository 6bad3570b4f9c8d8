"""A sheet of an .xlsx workbook -> its cells as text, like those of a CSV file. The only reader of workbooks here."""

from __future__ import annotations

import datetime
import io
import os
import re
import warnings
import zipfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from metamiq.datasets.cells import LONGEST_CELL, CsvTable, table_of
from metamiq.datasets.faults import Fault, FaultyDataError, quoted
from metamiq.datasets.opening import load_table
from metamiq.datasets.zip_file import read_entry

#: Endings of the names of workbooks that are read.
WORKBOOKS = (".xlsx", ".xlsm")
#: What a workbook may unpack to, in bytes, by its own directory (zipfile reads no more than that).
LARGEST_UNPACKED = 50_000_000
#: How often smaller than its content an entry of more than a megabyte may be; the text of real sheets is packed 5 to 50
#: times.
HIGHEST_RATIO = 200
MOST_ROWS, MOST_COLUMNS = 100_000, 1_000
#: Places in the grid that are looked at: a file of a few bytes a row can claim 16,384 columns in each.
MOST_PLACES = 20_000_000
_LAST_ROW = 1_048_576  # of a sheet in any spreadsheet program; a file may claim more
_HIDDEN = re.compile(rb'<(?:\w+:)?row\s[^<>]*?\bhidden=["\'](?:1|true)["\'][^<>]*')
_NUMBER = re.compile(rb'\sr=["\'](\d{1,7})["\']')
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^<>]*?\bref=["\']([A-Z0-9:]{1,21})["\']')
_BACK_TO_CSV = "Save the sheet as 'CSV UTF-8' and read that."


def is_workbook(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a workbook."""
    return Path(path).suffix.lower() in WORKBOOKS


def read_workbook(path: str | os.PathLike[str], *, sheet: str | None = None, stored_values: bool = False) -> CsvTable:
    """Read one sheet of a workbook without guessing at its values; needs openpyxl.

    Sizes are checked in the directory of the zip file, before anything is unpacked. Cells are taken as values: a date
    becomes text (2020-03-01), never a number; a true or false becomes TRUE or FALSE.

    Parameters
    ----------
    path : str or path-like
        The file.
    sheet : str, optional
        Name of the sheet; the first visible one by default.
    stored_values : bool
        Whether the value that the spreadsheet program stored with a formula is taken, and noted. A formula without one
        is refused, and without `stored_values` every formula is.

    Returns
    -------
    CsvTable
        Cells as text; `lines` are rows of the sheet.

    Raises
    ------
    DataError
        If openpyxl is not installed, the file is no workbook, unpacks to more than 50 MB or is packed more than
        200-fold, defines XML entities, has more than 100,000 rows or 1,000 columns, or breaks a rule of tables (see
        `read_csv_table`).
    ValueError
        If the workbook has no sheet of that name.
    """
    file, name = Path(path), str(path)
    try:
        import openpyxl
    except ImportError:
        advice = "Install it with: pip install 'metamiq[excel]', or save the file as CSV."
        fault = Fault("openpyxl must be installed to read .xlsx", "it is not", name, advice=advice)
        raise FaultyDataError([fault]) from None
    content = load_table(file, name, LARGEST_UNPACKED)
    content = _unpacked(content, name)
    rule = "an .xlsx file must be a workbook with a table in a sheet"
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what openpyxl does not keep when it writes: nothing is written here
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
            title = _choose(book, sheet, name, notes)
            written = dict(_rows(book[title], name))
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                notes += _unseen(archive.read(str(getattr(book[title], "_worksheet_path"))), written)  # noqa: B009
            has_formula = any(cell.startswith("=") for row in written.values() for cell in row)
            book.close()
            if has_formula and stored_values:
                book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
                written = _with_stored(written, dict(_rows(book[title], name)), notes, name)
                book.close()
    except (FaultyDataError, _NoSheetError):
        raise
    except Exception as error:  # openpyxl raises what its parsers raise; none of it is the user's business
        raise FaultyDataError([Fault(rule, f"it cannot be read ({type(error).__name__})", name)]) from None
    width = max((len(row) for row in written.values()), default=0)
    records = [row + [""] * (width - len(row)) for row in written.values()]
    return table_of(records, list(written), notes, ",", name, "Name the sheet that has the table.")


def _choose(book: Any, sheet: str | None, name: str, notes: list[str]) -> str:
    """Title of the sheet that is asked for, or of the first that can be seen."""
    titles = [tab.title for tab in book.worksheets]
    if sheet is not None and sheet not in titles:
        raise _NoSheetError(f"sheet must be one of {name} ({', '.join(map(repr, titles))}), not {sheet!r}.")
    if not titles:
        raise FaultyDataError([Fault("a workbook must have a sheet with a table", "it has none", name)])
    seen = [tab.title for tab in book.worksheets if tab.sheet_state == "visible"] or titles
    title = seen[0] if sheet is None else sheet
    others = [other for other in seen if other != title]
    if others and sheet is None:
        notes.append(f"sheet {title!r} read, not {', '.join(map(repr, others))}")
    return title


class _NoSheetError(ValueError):
    """The sheet that was asked for is not there."""


def _rows(tab: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that holds something, without the empty cells at its end."""
    tab.reset_dimensions()  # what a file says of its own size need not be true
    filled = places = 0
    for number, row in enumerate(tab.iter_rows(values_only=True), start=1):
        places += len(row)
        if number > _LAST_ROW or places > MOST_PLACES:
            raise _too_large(name, "more")
        if len(row) > MOST_COLUMNS and any(cell is not None for cell in row[MOST_COLUMNS:]):
            raise _too_large(name, f"{len(row):,} columns")
        cells = [_cell_text(cell, name, number) for cell in row[:MOST_COLUMNS]]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        filled += 1
        if filled > MOST_ROWS:
            raise _too_large(name, "more rows")
        yield number, cells


def _too_large(name: str, came: str) -> FaultyDataError:
    rule = f"a sheet must have at most {MOST_ROWS:,} rows and {MOST_COLUMNS:,} columns"
    return FaultyDataError([Fault(rule, f"it has {came}", name, advice=_BACK_TO_CSV)])


def _cell_text(cell: Any, name: str, line: int) -> str:
    """A cell as a person would type it into a CSV file."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime.datetime):
        return str(cell.date()) if cell.time() == datetime.time() else cell.isoformat(sep=" ")
    if not isinstance(cell, (str, int, datetime.date, datetime.time, datetime.timedelta)):
        return f"={getattr(cell, 'text', None) or type(cell).__name__}".replace("==", "=", 1)  # formulas of many cells
    text = str(cell).strip()
    if len(text) > LONGEST_CELL:
        rule = f"a cell must hold at most {LONGEST_CELL:,} characters"
        raise FaultyDataError([Fault(rule, f"one has {len(text):,}", name, line)])
    if "\0" in text:
        raise FaultyDataError([Fault("text must not hold a NUL byte", "there is one", name, line)])
    return text


def _unseen(xml: bytes, written: Container[int]) -> list[str]:
    """What a person who looks at the sheet does not see as it is read: hidden rows, and cells that are merged."""
    rows = [int(row) for tag in _HIDDEN.findall(xml) for row in _NUMBER.findall(tag) if int(row) in written]
    merged = [cells.decode() for cells in _MERGED.findall(xml)]
    notes = []
    if rows:
        notes.append(f"hidden rows are read, too (row {_some(list(map(str, rows)))})")
    if merged:
        notes.append(f"of merged cells only the first has the value, and the others are empty ({_some(merged)})")
    return notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def _with_stored(
    written: dict[int, list[str]], stored: dict[int, list[str]], notes: list[str], name: str
) -> dict[int, list[str]]:
    """The cells with the stored value in place of each formula."""
    faults, count = [], 0
    merged = {}
    for line, cells in written.items():
        values = stored.get(line, [])
        row = list(cells)
        for position, cell in enumerate(cells):
            if not cell.startswith("="):
                continue
            value = values[position] if position < len(values) else ""
            if not value or value.startswith("="):
                advice = "Open the file in a spreadsheet program and save it there, or paste the value in its place."
                came = f"a formula has none: {quoted(cell)}"
                faults.append(Fault("a formula must have a stored value", came, name, line, advice=advice))
            row[position], count = value, count + 1
        merged[line] = row
    if faults:
        raise FaultyDataError(faults)
    notes.append(f"{count} formula{'s' if count > 1 else ''} read as the value that the spreadsheet program stored")
    return merged


def _unpacked(content: bytes, name: str) -> bytes:
    """The workbook as a zip file that is not packed and holds each part once, as its directory says.

    What is no workbook, or is made to unpack without end, is refused before anything is unpacked.
    """
    plain = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > LARGEST_UNPACKED:
                rule = f"a workbook must unpack to at most {LARGEST_UNPACKED:,} bytes"
                raise FaultyDataError([Fault(rule, f"it says {unpacked:,}", name, advice=_BACK_TO_CSV)])
            for entry in entries:
                if entry.file_size > 1_000_000 and entry.file_size > HIGHEST_RATIO * entry.compress_size:
                    rule = f"the parts of a workbook must be packed at most {HIGHEST_RATIO}-fold"
                    came = f"{quoted(entry.filename)} says {entry.file_size:,} bytes from {entry.compress_size:,}"
                    raise FaultyDataError([Fault(rule, came, name, advice=_BACK_TO_CSV)])
            if len({entry.filename for entry in entries}) < len(entries):
                raise FaultyDataError([Fault("a workbook must hold each part once", "one is there twice", name)])
            with zipfile.ZipFile(plain, "w") as copy:
                for entry in entries:
                    part = read_entry(archive, entry)
                    if b"<!DOCTYPE" in part.replace(b"\0", b"").upper():  # in UTF-16, too
                        came = f"{quoted(entry.filename)} has a DOCTYPE"
                        raise FaultyDataError([Fault("a workbook must not define XML entities", came, name)])
                    copy.writestr(entry.filename, part)
            return plain.getvalue()
    except FaultyDataError:
        raise
    except Exception as error:  # whatever a zip file that was tampered with makes zipfile raise
        came = f"it is not ({error or type(error).__name__})"
        raise FaultyDataError([Fault("an .xlsx file must be a workbook", came, name)]) from None
