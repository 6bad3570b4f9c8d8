"""Cells of text -> numbers: one decimal mark per file, nothing that is not a finite number."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import compress

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_POINT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_FORMS = {".": _POINT, ",": _COMMA}
_WHOLE = re.compile(r"[+\u2212-]?\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[,.' \u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?", re.ASCII)
_ZERO_FIRST = re.compile(r"0\d+", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
#: What R writes for a missing value; read as missing in columns of numbers, and noted.
MISSING_WORDS = frozenset({"NA"})
#: Integers below this survive as float64 and as int64 alike.
_EXACT = 2**53


def plain(cell: str) -> str:
    """Write a number as Python does: the typographic minus sign becomes a hyphen."""
    return cell.replace("\u2212", "-")


def is_number(cell: str, mark: str) -> bool:
    """Whether a cell is a finite number under the decimal mark ``"."`` or ``","``."""
    cell = plain(cell)
    return bool(_FORMS[mark].fullmatch(cell)) and math.isfinite(float(cell.replace(",", ".")))


def read_numbers(cells: Sequence[str], mark: str) -> NDArray[np.float64]:
    """The values of a whole column: NaN for every cell for which `is_number` does not hold.

    Examples
    --------
    >>> print(read_numbers(["1", "\u22120.5", "", "NA", "1e999"], "."))
    [ 1.  -0.5  nan  nan  nan]
    """
    written = [plain(cell) for cell in cells] if "\u2212" in "".join(cells) else cells
    fits = np.fromiter(map(bool, map(_FORMS[mark].fullmatch, written)), dtype=bool, count=len(cells))
    texts = compress(written, fits)
    values = np.full(len(cells), np.nan)
    values[fits] = np.fromiter(map(float, (t.replace(",", ".") for t in texts) if mark == "," else texts), dtype=float)
    values[np.isinf(values)] = np.nan
    return values


def why_not(cell: str, mark: str) -> str:
    """Advice for a cell that should be a number and is not."""
    if _NOT_FINITE.fullmatch(cell):
        return "Leave the cell empty if the value is not known."
    if _THOUSANDS.fullmatch(cell):
        return "Write it without a thousands separator."
    if is_number(cell, "," if mark == "." else "."):
        used = "a decimal comma" if mark == "," else "a decimal point"
        return f"Other numbers of this file are written with {used}; use one mark throughout."
    return "Write only the number; move words and units to note, and leave the cell empty if the value is not known."


def decimal_mark(columns: Mapping[str, Sequence[str]], known: Collection[str], separator: str) -> str | None:
    """The decimal mark of a table: ``","`` or ``"."``; None when it cannot be told.

    The columns that are `known` to be numbers decide. When none of them has a mark, the columns decide in which every
    cell is a number under one of the marks. A comma is the mark when more cells need it than need a point. ``1,234``
    alone does not tell a decimal comma from a thousands separator unless semicolons separate the cells, as in every
    program that writes decimal commas.
    """
    for is_known in (True, False):
        group = [c for name, c in columns.items() if (name in known) == is_known and (is_known or _all_numbers(c))]
        commas = [cell for cells in group for cell in cells if "," in cell]
        with_comma = list(compress(commas, ~np.isnan(read_numbers(commas, ","))))
        points = (cell for cells in group for cell in cells if "." in cell)
        if not with_comma:
            if any(is_number(cell, ".") for cell in points):
                return "."
            continue
        if np.isfinite(read_numbers(list(points), ".")).sum() >= len(with_comma):
            return "."
        told = separator == ";" or any(not _THOUSANDS.fullmatch(plain(cell)) for cell in with_comma)
        return "," if told else None
    return "."


def _filled(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells if cell and cell not in MISSING_WORDS]


def _all_numbers(cells: Sequence[str]) -> bool:
    filled = _filled(cells)
    if filled and not any(is_number(filled[0], mark) for mark in _FORMS):  # text, as its first cell says already
        return False
    return not np.isnan(np.fmax(*(read_numbers(filled, mark) for mark in _FORMS))).any()


def number_column(values: NDArray[np.float64], cells: Sequence[str]) -> pd.Series:
    """A column of numbers: int64 when every cell is filled and written as a whole number, otherwise float64."""
    could_be_whole = len(cells) > 0 and bool(np.all((np.abs(values) < _EXACT) & (values == np.floor(values))))
    is_whole = could_be_whole and all(map(_WHOLE.fullmatch, cells))
    return pd.Series(values.astype(np.int64) if is_whole else values)


def looks_numeric(cells: Sequence[str], mark: str) -> bool:
    """Whether a column that no model knows holds numbers: some cell is filled and every filled cell is a number.

    Codes with leading zeros, such as ``007``, are text.
    """
    filled = _filled(cells)
    if not filled or not is_number(filled[0], mark):
        return False
    return not np.isnan(read_numbers(filled, mark)).any() and not any(map(_ZERO_FIRST.fullmatch, filled))
