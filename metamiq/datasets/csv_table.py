"""A CSV file of any common dialect -> its cells as text, with the line of each row and what was noticed."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, compress
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.datasets.faults import Fault, FaultyDataError, control_character, quoted
from metamiq.datasets.opening import ADVICE, NoFileError, read_bytes

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
#: Longest cell that is read, in characters (the limit that Python's csv module comes with).
LONGEST_CELL = 131_072
#: Largest file that is read, in bytes; a million rows of a study table have about 50 million.
LARGEST_FILE = 500_000_000
#: What spreadsheets write in place of a value that they could not compute.
SPREADSHEET_ERRORS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#SPILL!", "#CALC!"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_NOT_TEXT = {
    b"PK\x03\x04": "this is a spreadsheet or another zipped file",
    b"\x1f\x8b": "this is a compressed file (gzip)",
    b"\xd0\xcf\x11\xe0": "this is an old spreadsheet (.xls)",
    b"%PDF": "this is a PDF",
}
_LINE_END = re.compile(r"\r\n?")
Cells = Sequence[str]
_SEP_LINE = re.compile(r'"?sep=([,;\t|])"?\s*$', re.IGNORECASE)


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


def read_csv_table(path: str | PathLike[str]) -> CsvTable:
    r"""Read a CSV file without guessing at its values.

    The separator (comma, semicolon, tab or bar) is the one that splits the header into most columns. UTF-8 with or
    without a byte order mark, UTF-16 with one, and any line ending are read; what is not plain UTF-8 with commas is
    said in `notes`. Rows whose cells are all empty are skipped, and that is noted too.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    CsvTable
        Cells, line numbers, notes and separator.

    Raises
    ------
    DataError
        If the file is missing, empty, not text in a known encoding, holds a NUL byte, an open quote, a formula or a
        cell of more than 131,072 characters, names a column twice or not at all, or has a row that is longer or shorter
        than the header. All such faults of the file are in one message.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "study.csv")
    >>> _ = file.write_bytes(b"study;yi\r\na;0,5\r\n")
    >>> table = read_csv_table(file)
    >>> table.frame["yi"].tolist(), table.lines
    (['0,5'], (2,))
    >>> for note in table.notes:
    ...     print(note)
    semicolon separators read
    Windows line ends (CRLF) read
    >>> folder.cleanup()
    """
    file = Path(path)
    name = str(path)
    text, notes = _decode(load(file, name, LARGEST_FILE), name)
    sep_line = _SEP_LINE.match(text.split("\n", 1)[0].rstrip("\r"))
    separator = sep_line[1] if sep_line else _separator(text)
    if separator != ",":
        notes.append(f"{SEPARATORS.get(separator, repr(separator))} separators read")
    if "\r\n" in text:
        notes.append("Windows line ends (CRLF) read")
    records, lines = _parse(text, separator, name)
    if sep_line:
        notes.append("first line 'sep=' skipped")
        records, lines = records[1:], lines[1:]
    return table_of(records, lines, notes, separator, name)


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


def load(file: Path, name: str, largest: int) -> bytes:
    """The content of a table's file, of at most `largest` bytes; a `DataError` says why there is none."""
    try:
        raw = read_bytes(file, largest)
        if len(raw) <= largest:
            return raw
        rule = f"a table must have at most {largest:,} bytes"
        fault = Fault(rule, "it has more", name, advice="Leave out the columns that are not needed.")
    except NoFileError as error:
        fault = Fault("a table must be a file", f"this is {error.strerror}", name, advice=ADVICE)
    except IsADirectoryError:
        fault = Fault("a table must be a file", "this is a folder", name, advice="Name the file in it.")
    except FileNotFoundError:
        fault = Fault("the file must exist", "it was not found", name, advice="Check the name and the folder.")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        fault = Fault("the file must be readable", f"the system says {str(error)!r}", name)
    raise FaultyDataError([fault])


def _decode(raw: bytes, name: str) -> tuple[str, list[str]]:
    encoding, notes = "utf-8", []
    for start, came in _NOT_TEXT.items():
        if raw.startswith(start):
            rule, advice = "a table must be a CSV file", "Unpack it, or export it as 'CSV UTF-8', first."
            raise FaultyDataError([Fault(rule, came, name, advice=advice)])
    for bom, bom_encoding, title in _BOMS:
        if raw.startswith(bom):
            raw, encoding = raw[len(bom) :], bom_encoding
            notes.append(f"{title} read")
            break
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        came = f"the byte 0x{raw[error.start]:02x} at position {error.start} does not fit"
        advice = "Save the file as 'CSV UTF-8'."
        raise FaultyDataError([Fault(f"text must be {encoding.upper()}", came, name, line, advice=advice)]) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        advice = "Save the file again as 'CSV UTF-8'; if it is a spreadsheet (.xlsx), export it first."
        raise FaultyDataError([Fault("text must not hold a NUL byte", "there is one", name, line, advice=advice)])
    return text, notes


def _separator(text: str) -> str:
    """The candidate that splits the header into most columns; a comma when none does."""
    header = text.lstrip("\r\n")[: 16 * LONGEST_CELL]
    counts = {}
    for candidate in SEPARATORS:
        try:
            first = next(csv.reader(io.StringIO(header, newline=""), delimiter=candidate), [])
        except csv.Error:  # reported, with its line, when the whole file is parsed
            first = []
        counts[candidate] = len(first)
    return max(SEPARATORS, key=lambda candidate: counts[candidate])


def _parse(text: str, separator: str, name: str) -> tuple[list[Cells], list[int]]:
    """Rows that are not blank lines, outer blanks removed, and the line on which each starts."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    clean = _one_line_end if '"' in text and "\r" in text else str.strip
    records: list[Cells] = []
    lines = []
    start = 1
    try:
        for record in reader:
            if record:
                # Tuples of text are no work for the garbage collector, which would look at a million lists repeatedly.
                records.append(tuple(map(clean, record)))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise FaultyDataError([_csv_fault(str(error), name, start)]) from None
    return records, lines


def _one_line_end(cell: str) -> str:
    """A line end inside a cell is part of its text, and the same text whatever the file's dialect."""
    return _LINE_END.sub("\n", cell.strip())


def _csv_fault(error: str, name: str, line: int) -> Fault:
    if "field limit" in error:
        rule = f"a cell must hold at most {LONGEST_CELL:,} characters"
        return Fault(rule, "one is longer", name, line, advice="Check for a quote that is never closed.")
    rule = "cells must be quoted as CSV asks: a whole cell in double quotes, a quote inside doubled"
    return Fault(rule, f"this row is not ({error})", name, line, advice="Check the quotes in this row.")


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
