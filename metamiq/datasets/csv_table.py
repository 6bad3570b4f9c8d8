"""A CSV file of any common dialect -> its cells as text, with the line of each row and what was noticed."""

from __future__ import annotations

import codecs
import csv
import io
import re
from os import PathLike
from pathlib import Path

from metamiq.datasets.cells import LONGEST_CELL, Cells, CsvTable, table_of
from metamiq.datasets.faults import Fault, FaultyDataError
from metamiq.datasets.opening import load_table

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
#: Largest file that is read, in bytes; a million rows of a study table have about 50 million.
LARGEST_FILE = 500_000_000
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
_SEP_LINE = re.compile(r'"?sep=([,;\t|])"?\s*$', re.IGNORECASE)


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
    text, notes = _decode(load_table(file, name, LARGEST_FILE), name)
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
