"""Cells of text -> a typed table, checked row by row against a model; every fault is collected."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from metamiq.datasets.cells import CsvTable
from metamiq.datasets.columns import Column, columns_of
from metamiq.datasets.faults import Fault, quoted
from metamiq.datasets.models import Row
from metamiq.datasets.numbers import (
    MISSING_WORDS,
    decimal_mark,
    is_number,
    looks_numeric,
    number_column,
    read_numbers,
    why_not,
)
from metamiq.datasets.screening import rows_to_check

_INFINITE = {"inf": float("inf"), "+inf": float("inf"), "-inf": float("-inf")}
_CHECK = "Check it against its source."
_OR_EMPTY = "Check it against its source; if the source gives none, leave the cell empty."


@dataclass(slots=True)
class Checked:
    """A table after validation.

    Attributes
    ----------
    frame : DataFrame or None
        Columns of the file in its order, typed; a cell that is at fault is missing. None when the cells could not be
        understood at all.
    faults : list of Fault
        Everything that is wrong with it.
    notes : list of str
        What was noticed and is not wrong.
    """

    frame: pd.DataFrame | None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def name_row(row: Mapping[str, Any], number: int) -> tuple[str, str | None]:
    """Words that name a row in a message, and its trial if it has one."""
    trial = row.get("trial_id") or row.get("study") or row.get("label") or None
    kind = "study" if not row.get("trial_id") and trial else "trial"
    if row.get("result_id"):
        return f"result {row['result_id']!r}" + (f" of trial {trial!r}" if trial else ""), trial
    if row.get("claim_id"):
        return f"claim {row['claim_id']!r}", None
    if row.get("printed") and row.get("quantity"):
        return f"published result {row.get('label') or number!r}, {row['quantity']!r}", None
    if trial and row.get("arm"):
        return f"the {row['arm']} arm of trial {trial!r}", trial
    return (f"{kind} {trial!r}" if trial else f"row {number}"), trial


def check_rows(table: CsvTable, model: type[Row], file: str) -> Checked:
    """Type and check a table.

    Known columns get the type of the model; other columns are numbers when every filled cell is a number (codes with
    leading zeros are text). Numbers are int64 when all cells are filled with whole numbers and float64 otherwise, with
    NaN for an empty cell; text is `str`, with None for an empty cell.

    Parameters
    ----------
    table : CsvTable
        Cells as text.
    model : type of Row
        Definition of the known columns.
    file : str
        Name of the file in messages.

    Returns
    -------
    Checked
        The typed table, and the faults for which it must not be used.
    """
    known = columns_of(model)
    cells: dict[str, list[str]] = {str(name): table.frame[name].tolist() for name in table.frame}
    faults, lost = _header_faults(cells, known, file, table.header_line)
    result = Checked(None, faults)
    numeric = {name for name in cells if name in known and known[name].is_number}
    mark = decimal_mark(cells, numeric, table.separator)
    if mark is None:
        came = "a comma followed by three digits may be either (such as '1,234')"
        advice = "Write numbers without thousands separators and with a decimal point."
        rule = "it must be clear whether a comma is a decimal comma or a thousands separator"
        result.faults.append(Fault(rule, came, file, advice=advice))
        return result
    if mark == ",":
        result.notes.append("decimal commas read")
    extra = {name for name in cells if name not in known and looks_numeric(cells[name], mark)}
    for name in sorted(set(cells) - numeric - extra - set(known)):
        if looks_numeric(cells[name], "," if mark == "." else "."):
            result.notes.append(f"column {name!r} kept as text: its numbers have another decimal mark than the file's")

    values: dict[str, list[str] | NDArray[np.float64]] = {}
    bad: dict[int, set[str]] = {}
    missing_words = 0
    for name, column in cells.items():
        if name not in numeric and name not in extra:
            values[name] = column
            continue
        infinite = name in known and known[name].infinite
        numbers = read_numbers(column, mark)
        for position in np.flatnonzero(np.isnan(numbers)).tolist():
            cell = column[position]
            if cell in MISSING_WORDS:
                missing_words += 1
            elif infinite and cell.lower() in _INFINITE:
                numbers[position] = _INFINITE[cell.lower()]
            elif cell:
                bad.setdefault(position, set()).add(name)
                who, trial = name_row({n: c[position] for n, c in cells.items()}, position + 1)
                came = f"{who} has {quoted(cell)}"
                rule = f"{name} must be a finite number"
                advice = why_not(cell, mark)
                result.faults.append(Fault(rule, came, file, table.lines[position], trial, name, advice))
        values[name] = numbers
    if missing_words:
        result.notes.append(
            f"'NA' read as missing in {missing_words} cell{'s' if missing_words > 1 else ''} of numbers"
        )

    positions = rows_to_check(model, values, len(table.lines))
    picked = {name: _filled(column, positions) for name, column in values.items()}
    for number, position in enumerate(positions):
        row = {name: column[number] for name, column in picked.items() if column[number] is not None}
        line = table.lines[position]
        result.faults += _row_faults(model, row, cells, position, line, file, bad.get(position, set()) | lost)
    result.frame = pd.DataFrame(
        {
            name: number_column(column, cells[name])
            if isinstance(column, np.ndarray)
            else pd.Series([cell or None for cell in column], dtype=object)
            for name, column in values.items()
        }
    )
    return result


def _filled(column: Sequence[str] | NDArray[np.float64], positions: Sequence[int]) -> list[Any]:
    """The cells at some positions, None where they are empty."""
    if isinstance(column, np.ndarray):
        return [None if math.isnan(value) else value for value in column[positions].tolist()]
    return [column[position] or None for position in positions]


def _header_faults(
    cells: Mapping[str, object], known: Mapping[str, Column], file: str, line: int
) -> tuple[list[Fault], set[str]]:
    """Faults of the header, and the known columns that cannot be read because of them."""
    faults = []
    lost = set()
    unknown = [name for name in cells if name not in known]
    needs = any(column.required for column in known.values())  # a table that needs no column may name any as it likes
    for name in unknown if needs else ():
        meant = re.sub(r"[ -]", "_", name.casefold())
        if meant in known and meant not in cells:
            lost.add(meant)
            rule, came = f"the column must be named {meant!r}", f"the header has {name!r}"
            faults.append(Fault(rule, came, file, line, column=meant, advice="Rename it."))
    for column in known.values():
        if column.required and column.name not in cells and column.name not in lost:
            lost.add(column.name)
            close = difflib.get_close_matches(column.name, unknown, n=1)
            advice = f"Did you mean it by {close[0]!r}?" if close else f"Add it: {column.description}"
            rule = f"the table must have the column {column.name!r}"
            faults.append(Fault(rule, "the header lacks it", file, line, column=column.name, advice=advice))
    return faults, lost


def _row_faults(
    model: type[Row],
    row: dict[str, Any],
    cells: Mapping[str, Sequence[str]],
    position: int,
    line: int,
    file: str,
    known_bad: set[str],
) -> list[Fault]:
    """Faults of one row; columns in `known_bad` have been reported already."""
    try:
        model.model_validate(row)
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return []
    who, trial = name_row({name: column[position] for name, column in cells.items()}, position + 1)
    faults = []
    bad = set(known_bad)
    for item in found:
        if not item["loc"]:  # the rules across columns, taken up below
            continue
        name = str(item["loc"][0])
        if name not in known_bad:
            bad.add(name)
            rule, advice = _rule(model, name, item, cells)
            cell = cells[name][position] if name in cells else ""
            shown = cell if name in cells and is_number(cell, ".") else quoted(cell)
            came = f"{who} has {shown}" if cell else f"it is empty for {who}"
            faults.append(Fault(rule, came, file, line, trial, name, advice))
    good = {name: None if name in bad else row.get(name) for name in columns_of(model)}
    for problem in model.model_construct(**good).problems():
        if problem.column not in bad:
            came = f"for {who} {problem.came}"
            faults.append(Fault(problem.rule, came, file, line, trial, problem.column, problem.advice))
    return faults


def _rule(model: type[Row], name: str, item: Any, cells: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What must hold and what to do, in our words, for a fault that pydantic found in one column."""
    column = columns_of(model)[name]
    context = item.get("ctx", {})
    advice = _CHECK if column.required else _OR_EMPTY
    match item["type"]:
        case "missing":
            return f"{name} must be filled", f"Fill it: {column.description}"
        case "greater_than":
            return f"{name} must be greater than {context['gt']:g}", advice
        case "greater_than_equal":
            return f"{name} must be at least {context['ge']:g}", advice
        case "less_than":
            return f"{name} must be less than {context['lt']:g}", advice
        case "less_than_equal":
            return f"{name} must be at most {context['le']:g}", advice
        case "string_too_long":
            return f"{name} must have at most {context['max_length']} characters", advice
        case "int_from_float":
            return f"{name} must be a whole number", advice
        case "literal_error":
            allowed = [str(value) for value in column.limits["enum"]]
            close = difflib.get_close_matches(str(item["input"]), allowed, n=1)
            did_you = f"Did you mean {close[0]!r}?" if close else "Choose one of them."
            return f"{name} must be one of {', '.join(map(repr, allowed))}", did_you
        case "string_pattern_mismatch" if name in ("trial_id", "result_id", "claim_id"):
            rule = f"{name} must be a short key of letters, digits, '_', '-' and '.', beginning with a letter or digit"
            return rule, "Rename it in every table."
        case "string_pattern_mismatch":
            return f"{name} must have the form {column.limits['pattern']}", advice
    return f"{name} must hold ({item['msg']})", advice
