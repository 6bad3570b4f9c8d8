"""Templates for a new trial, written from the row models: every field with meaning, unit, allowed values, example."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.datasets.columns import Column, columns_of
from metamiq.datasets.models import DISORDERS, NEEDS
from metamiq.datasets.reading import row_models
from metamiq.errors import DataError
from metamiq.living.proposal import BLANK

FORMATS = ("csv", "toml", "xlsx")
_CITED = {
    "source": ("Where the values of this row were read, such as a DOI, PMC number or registry entry.", "PMC2760690"),
    "locator": ("Place in the source: page, table, figure or section. Values without it are refused.", "Table 2, p. 5"),
}
_ABOUT = {
    "why": ("Why the evidence changes; goes into CHANGES.md.", "Post-treatment means from the open full text"),
    "by": ("Who read the source.", "initials"),
}
#: Shapes of numbers for which the dataset has no example yet.
_SHAPES = {"integer": "20", "number": "0.25"}
_OPEN_LISTS = {"disorder": DISORDERS, "domain": ("symptoms", "response", "remission", "distress")}
_TABLE_HELP = {
    "trials": "the trial, one row; leave empty when the trial is in the dataset already and stays as it is",
    "results": "one row per reported result; copy the block for more and count up row",
    "dropout": "one row per arm and stage",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a template: where it goes, and what may stand there."""

    table: str
    row: str
    field: str
    value: str
    required: str
    unit: str
    allowed: str
    meaning: str
    example: str
    source: str = ""
    locator: str = ""
    choices: tuple[str, ...] = ()
    closed: bool = False


COLUMNS = tuple(item.name for item in fields(Line))[:11]


def template_lines(ds: Dataset | None = None, trial: str | None = None) -> list[Line]:
    """The fields of a template in order.

    Parameters
    ----------
    ds : Dataset, optional
        Dataset that the trial is for; gives examples and the keys in use.
    trial : str, optional
        Trial of `ds` to complete or correct: its keys are filled in.

    Returns
    -------
    list of Line

    Raises
    ------
    DataError
        If `trial` is not in `ds`.

    Examples
    --------
    >>> line = next(line for line in template_lines() if line.field == "mi_minutes")
    >>> line.unit, line.allowed, line.required
    ('minutes', 'number, at least 0', '')
    """
    if trial is not None and (ds is None or trial not in set(ds.trials["trial_id"])):
        have = "no dataset was named" if ds is None else f"{ds.name} has {', '.join(sorted(ds.trials['trial_id']))}"
        raise DataError(f"trial must be one of the dataset, but {trial!r} is not: {have}.")
    lines = [Line("proposal", "1", name, "", "yes" if name == "why" else "", "", "text", meaning, example)
             for name, (meaning, example) in _ABOUT.items()]  # fmt: skip
    for table, keys in _rows(ds, trial):
        for number, key in enumerate(keys, start=1):
            lines += _block(table, str(number), key, ds)
    return lines


def template_text(form: str, ds: Dataset | None = None, trial: str | None = None) -> str:
    """A template as CSV or TOML.

    Parameters
    ----------
    form : {"csv", "toml"}
        The format; for a workbook see `template_workbook`.
    ds, trial
        As in `template_lines`.

    Returns
    -------
    str
        The content of the file.

    Examples
    --------
    >>> print(template_text("csv").splitlines()[0])
    table,row,field,value,required,unit,allowed,meaning,example,source,locator
    """
    if form not in ("csv", "toml"):
        raise ValueError(f"form must be 'csv' or 'toml', not {form!r}.")
    lines = template_lines(ds, trial)
    if form == "toml":
        return _toml(lines)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(line)[: len(COLUMNS)] for line in lines)
    return out.getvalue()


def template_workbook(ds: Dataset | None = None, trial: str | None = None) -> bytes:
    """A template as an .xlsx workbook, with a drop-down where the values are listed; needs openpyxl.

    Parameters
    ----------
    ds, trial
        As in `template_lines`.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    DataError
        If openpyxl is not installed.
    """
    try:
        from openpyxl import Workbook
        from openpyxl.styles import Alignment, Font
        from openpyxl.worksheet.datavalidation import DataValidation
    except ImportError:
        raise DataError(
            "openpyxl must be installed to write .xlsx, but it is not. Install it with: pip install 'metamiq[excel]', "
            "or choose --format csv."
        ) from None
    book = Workbook()
    book.remove(book.worksheets[0])
    sheet, lists = book.create_sheet("new trial"), book.create_sheet("lists")
    lists.sheet_state = "hidden"
    sheet.append(COLUMNS)
    ranges: dict[tuple[tuple[str, ...], bool], Any] = {}
    for number, line in enumerate(template_lines(ds, trial), start=2):
        sheet.append(astuple(line)[: len(COLUMNS)])
        sheet.cell(number, 4).number_format = "@"  # text, so that a value stays as it is printed
        if not line.choices:
            continue
        if (line.choices, line.closed) not in ranges:
            at = len(ranges) + 1
            for position, choice in enumerate(line.choices, start=1):
                lists.cell(position, at, choice)
            letter = lists.cell(1, at).column_letter
            rule = DataValidation("list", formula1=f"lists!${letter}$1:${letter}${len(line.choices)}", allow_blank=True)
            rule.showErrorMessage = line.closed
            rule.errorTitle, rule.error = "Not in the list", "Choose one of the values of the list."
            ranges[line.choices, line.closed] = rule
            sheet.add_data_validation(rule)
        ranges[line.choices, line.closed].add(f"D{number}")
    for letter, width in zip("ABCDEFGHIJK", (9, 5, 21, 26, 18, 12, 30, 60, 26, 20, 20), strict=True):
        sheet.column_dimensions[letter].width = width
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for row in sheet.iter_rows(min_row=2):
        for cell in row:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "E2"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _rows(ds: Dataset | None, trial: str | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The rows that a template has for each table, with the cells that are filled already."""
    if ds is None or trial is None:
        yield "trials", [{}]
        yield "results", [{}]
        yield "dropout", [{"arm": "mi"}, {"arm": "cbt"}]
        return
    known = {"trial_id": trial}
    yield "trials", [known]
    own = ds.results[ds.results["trial_id"] == trial]
    yield "results", [known | {"result_id": str(key)} for key in own["result_id"]] or [known]
    arms = ds.dropout[ds.dropout["trial_id"] == trial]
    filled = [known | {"stage": str(row.stage), "arm": str(row.arm)} for row in arms.itertuples()]
    yield "dropout", filled or [known | {"arm": "mi"}, known | {"arm": "cbt"}]


def _block(table: str, row: str, key: dict[str, str], ds: Dataset | None) -> list[Line]:
    model = row_models(True)[table]
    lines = []
    for name, column in columns_of(model).items():
        if name in _CITED:
            continue
        choices = tuple(str(v) for v in column.limits.get("enum", ())) or _OPEN_LISTS.get(name, ())
        lines.append(
            Line(
                table, row, name, key.get(name, ""), _required(table, column), column.unit or "",
                _allowed(column, choices), column.description, _example(table, column, choices, ds),
                choices=choices, closed="enum" in column.limits,
            )
        )  # fmt: skip
    return lines + [
        Line(table, row, name, "", "yes", "", "text", meaning, example) for name, (meaning, example) in _CITED.items()
    ]


def _required(table: str, column: Column) -> str:
    """When a field must be filled, in words."""
    if column.required:
        return "yes"
    kinds = [report for report, needs in NEEDS.items() if column.name in needs] if table == "results" else []
    return f"if report is {' | '.join(kinds)}" if kinds else ""


def _allowed(column: Column, choices: tuple[str, ...]) -> str:
    if choices:
        return " | ".join(choices)
    limits = column.limits
    if "pattern" in limits:
        return f"text of the form {limits['pattern']}"
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "below"}
    kind = {"integer": "whole number", "number": "number", "string": "text"}[column.type]
    return ", ".join([kind, *(f"{word} {limits[limit]:g}" for limit, word in words.items() if limit in limits)])


def _example(table: str, column: Column, choices: tuple[str, ...], ds: Dataset | None) -> str:
    """The first filled cell of the dataset; a value of the list, or the shape of a number, when there is none."""
    frame = pd.DataFrame() if ds is None else ds.tables[table]
    cells = frame[column.name].dropna() if column.name in frame else pd.Series(dtype=object)
    if len(cells):
        value = cells.iloc[0]
        text = f"{value:g}" if column.is_number else re.sub(r"\s+", " ", str(value))
        return text if len(text) <= 60 else text[:57] + "..."
    return choices[0] if choices else _SHAPES.get(column.type, "")


def _toml(lines: list[Line]) -> str:
    out = [
        "# A proposal for `metamiq add`. Fill in what the source states and leave the rest empty.",
        '# A value with a place of its own: n_mi = { value = 20, source = "PMC2760690", locator = "p. 4" }',
        f'# In a correction, "{BLANK}" empties a cell.',
    ]
    before = ("", "")
    for line in lines:
        if (line.table, line.row) != before:
            before = (line.table, line.row)
            help_text = _TABLE_HELP.get(line.table)
            out += ["", f"[[{line.table}]]  # {help_text}" if help_text else f"[{line.table}]"]
        needed = {"": "", "yes": " (required)"}.get(line.required, f" (required {line.required})")
        about = f"{line.field}{needed}: {line.meaning}"
        extras = [f"unit: {line.unit}" if line.unit else "", f"allowed: {line.allowed}"]
        extras += [f"example: {line.example}" if line.example else ""]
        # JSON's escapes are TOML's, and a comment must stay on its line.
        out += [f"# {re.sub(r'[^ -~]+', ' ', text)}" for text in (about, "; ".join(filter(None, extras)))]
        out.append(f"{line.field} = {json.dumps(line.value)}")
    return "\n".join(out) + "\n"
