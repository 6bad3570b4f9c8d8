"""Cells of text -> numbers: one decimal mark per file, nothing that is not a finite number."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

_POINT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
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
    form = _POINT if mark == "." else _COMMA
    return bool(form.fullmatch(plain(cell))) and math.isfinite(to_number(cell))


def to_number(cell: str) -> float:
    """The value of a cell for which `is_number` holds."""
    return float(plain(cell).replace(",", "."))


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
    speak = [cells for name, cells in columns.items() if name in known]
    rest = [cells for name, cells in columns.items() if name not in known and _all_numbers(cells)]
    for group in (speak, rest):
        cells = [plain(cell) for column in group for cell in column if "," in cell or "." in cell]
        with_comma = [cell for cell in cells if "," in cell and is_number(cell, ",")]
        with_point = [cell for cell in cells if "." in cell and is_number(cell, ".")]
        if not with_comma and not with_point:
            continue
        if len(with_point) >= len(with_comma):
            return "."
        told = separator == ";" or any(not _THOUSANDS.fullmatch(cell) for cell in with_comma)
        return "," if told else None
    return "."


def _all_numbers(cells: Sequence[str]) -> bool:
    return all(is_number(c, ",") or is_number(c, ".") for c in cells if c and c not in MISSING_WORDS)


def number_column(values: Sequence[float | None], cells: Sequence[str]) -> pd.Series:
    """A column of numbers: int64 when every cell is filled and written as a whole number, otherwise float64."""
    if cells and all(
        value is not None and abs(value) < _EXACT and _WHOLE.fullmatch(plain(cell))
        for value, cell in zip(values, cells, strict=True)
    ):
        return pd.Series([int(value) for value in values if value is not None], dtype=np.int64)
    return pd.Series([np.nan if value is None else value for value in values], dtype=np.float64)


def looks_numeric(cells: Sequence[str], mark: str) -> bool:
    """Whether a column that no model knows holds numbers: some cell is filled and every filled cell is a number.

    Codes with leading zeros, such as ``007``, are text.
    """
    written = [cell for cell in cells if cell and cell not in MISSING_WORDS]
    return bool(written) and all(is_number(c, mark) and not _ZERO_FIRST.fullmatch(c) for c in written)
