"""Tables that leave metamiq as CSV: every digit kept, and nothing in them that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from metamiq.datasets.faults import control_character

_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # the wide ones are the same to spreadsheets in East Asia
#: What a cell begins with that a spreadsheet may run.
FORMULA_STARTS = (*_SIGNS, "\t", "\r", "\n")


class Dialect(NamedTuple):
    """What stands between cells, in numbers, and for no value; by default as R reads CSV."""

    separator: str = ","
    decimal: str = "."
    missing: str = ""


PLAIN = Dialect()


def spreadsheet_csv(table: pd.DataFrame, dialect: Dialect = PLAIN) -> str:
    r"""A table as CSV with all digits, safe to open in a spreadsheet.

    Examples
    --------
    >>> spreadsheet_csv(pd.DataFrame({"study": ["=1+1"], "yi": [0.1 + 0.2]}))
    "study,yi\n'=1+1,0.30000000000000004\n"
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect.separator, lineterminator="\n")
    writer.writerow([cell_text(str(name), dialect) for name in table.columns])
    writer.writerows([cell_text(value, dialect) for value in row] for row in table.itertuples(index=False, name=None))
    return out.getvalue()


def cell_text(value: Any, dialect: Dialect = PLAIN) -> str:
    """A cell that R and spreadsheets read alike: infinity is R's word, a would-be formula text."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return dialect.missing
    if isinstance(value, float):
        if math.isinf(value):
            return "Inf" if value > 0 else "-Inf"
        return (repr(int(value)) if value.is_integer() else repr(float(value))).replace(".", dialect.decimal)
    # A bare carriage return is not quoted by the csv module, and begins a row in a spreadsheet.
    text = " ".join(str(value).split()) if dialect.missing else re.sub(r"\r\n?", "\n", str(value))
    if dialect.separator == ";":
        text = text.replace(";", ",")  # the Metapsy standard has none in its cells
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA_STARTS) else text


def text_fault(value: str) -> str:
    """Why a text may not go into a table, in words; empty when it may.

    Examples
    --------
    >>> text_fault("=HYPERLINK(1)"), text_fault("-0.25")
    ("it begins with '=', which a spreadsheet runs as a formula", '')
    """
    if value.startswith(_SIGNS):
        try:
            float(value.replace(",", "."))
        except ValueError:
            return f"it begins with {value[0]!r}, which a spreadsheet runs as a formula"
    sign = control_character(value)
    return f"it holds the control character {sign!r}" if sign else ""


def formulas(table: pd.DataFrame) -> Iterator[tuple[int, str, str]]:
    """Cells that a spreadsheet would run: row (from 0), column, and what is there.

    Examples
    --------
    >>> list(formulas(pd.DataFrame({"note": ["-", "@x"]})))
    [(1, 'note', "begins with '@', which a spreadsheet runs as a formula")]
    """
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            for position, cell in enumerate(table[column]):
                if isinstance(cell, str) and cell != "-" and (problem := text_fault(cell)):
                    yield position, str(column), problem.removeprefix("it ")
