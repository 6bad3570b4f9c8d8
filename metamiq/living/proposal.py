"""A filled template, or a table in the columns of a dataset -> the rows that somebody proposes, as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from metamiq.datasets import CsvTable, Fault, FaultyDataError, read_csv_table
from metamiq.datasets.columns import columns_of
from metamiq.datasets.faults import quoted
from metamiq.datasets.models import Row
from metamiq.datasets.opening import read_bytes
from metamiq.datasets.reading import row_models
from metamiq.datasets.toml_file import parse_toml
from metamiq.datasets.workbook import read_workbook
from metamiq.living.spreadsheet import text_fault

#: Tables that a proposal may change.
OPEN_TABLES = ("trials", "results", "dropout")
#: Columns of a template besides those of the tables; `source` of a trial is kept in provenance.csv.
CITATION = ("source", "locator")
#: What to write to blank a cell in a correction; an empty value leaves the cell as it is.
BLANK = "(empty)"
LARGEST_FILE = 5_000_000
_FORM = ("table", "row", "field", "value")


@dataclass(frozen=True, slots=True)
class ProposedRow:
    """One row that somebody proposes.

    Attributes
    ----------
    table : str
        The table it belongs to.
    values : mapping of str to str
        Column -> cell as written; only what was filled in.
    citations : mapping of str to (str, str)
        Column -> source and locator of that value.
    line : int
        Line of the file on which the row starts.
    separator : str
        Separator of the file, which helps to tell decimal commas from thousands.
    """

    table: str
    values: Mapping[str, str]
    citations: Mapping[str, tuple[str, str]]
    line: int
    separator: str = ","


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a filled template holds.

    Attributes
    ----------
    file : str
        The file as the user named it.
    rows : tuple of ProposedRow
        New and changed rows, in file order.
    why, by : str
        Reason and author, where the file gives them.
    """

    file: str
    rows: tuple[ProposedRow, ...]
    why: str = ""
    by: str = ""


@dataclass(slots=True)
class _Block:
    """The lines of one row of a template while they are read."""

    line: int
    values: dict[str, str] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)  # citation of single values


def read_proposal(path: str | PathLike[str]) -> Proposal:
    r"""Read a filled template (csv, toml or xlsx), or a CSV table with the columns of one of a dataset's tables.

    A template has one line per value (``table row field value``, and ``source``, ``locator`` where a value has another
    place than its row). A table has one line per row and the columns of ``trials``, ``results`` or ``dropout``, with
    ``source`` and ``locator``. What is empty is not proposed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Proposal
        The rows as text; `plan` checks them against the row models and a dataset.

    Raises
    ------
    DataError
        If the file cannot be read, holds formulas, control characters or more than it may, names a field that there
        is not, or gives no source and locator for a value. All such faults are in one message.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "made_up.csv")
    >>> _ = file.write_text("result_id,trial_id,n_mi,source,locator\nx-post,x,20,full text,Table 2\n")
    >>> row = read_proposal(file).rows[0]
    >>> row.table, row.values["n_mi"], row.citations["n_mi"]
    ('results', '20', ('full text', 'Table 2'))
    >>> folder.cleanup()
    """
    file, name = Path(path), str(path)
    if file.exists() and not file.is_file():
        fault = Fault("a proposal must be a file", "it is not", name, advice="Name the file with the rows.")
        raise FaultyDataError([fault])
    if file.is_file() and file.stat().st_size > LARGEST_FILE:
        came = f"it has {file.stat().st_size:,}"
        raise FaultyDataError([Fault(f"a proposal must have at most {LARGEST_FILE:,} bytes", came, name)])
    match file.suffix.lower():
        case ".toml":
            return _from_toml(file, name)
        case ".xlsx":
            return _from_table(read_workbook(file), name)
        case ".csv" | ".txt" | ".tsv":
            return _from_table(read_csv_table(file), name)
    advice = "Save it as one of these; `metamiq new-trial` writes a template."
    rule, came = "a proposal must be a .csv, .toml or .xlsx file", f"its name ends in {file.suffix!r}"
    raise FaultyDataError([Fault(rule, came, name, advice=advice)])


def _from_table(cells: CsvTable, name: str) -> Proposal:
    header = [str(column) for column in cells.frame]
    if set(_FORM) <= set(header):
        return _from_form(cells, name)
    missing = [column for column in _FORM if column not in header]
    table = _table_of(header)
    if table is None:
        rule = "a proposal must be a filled template, or have the key columns of trials, results or dropout"
        came = f"the header lacks {', '.join(missing)} of a template, and trial_id with role, result_id or arm"
        raise FaultyDataError([Fault(rule, came, name, cells.header_line, advice="Start from `metamiq new-trial`.")])
    blocks = [
        (table, _Block(line, {str(column): cell for column, cell in record.items() if cell}))
        for record, line in zip(cells.frame.to_dict("records"), cells.lines, strict=True)
    ]
    return _settle(blocks, name, "", "", cells.separator)


def _table_of(header: Sequence[str]) -> str | None:
    """The table whose columns these are."""
    if "result_id" in header:
        return "results"
    if "arm" in header and "stage" in header:
        return "dropout"
    return "trials" if "trial_id" in header else None


def _from_form(cells: CsvTable, name: str) -> Proposal:
    blocks: dict[tuple[str, str], _Block] = {}
    about: dict[str, str] = {}
    faults = []
    allowed = ("proposal", *OPEN_TABLES)
    for record, line in zip(cells.frame.to_dict("records"), cells.lines, strict=True):
        table, column, value = record["table"], record["field"], record["value"]
        if table not in allowed:
            rule = f"table must be one of {', '.join(map(repr, allowed))}"
            faults.append(Fault(rule, f"it is {quoted(table)}", name, line, column="table"))
            continue
        if not value:
            continue
        if table == "proposal":
            about[column] = value
            continue
        block = blocks.setdefault((table, record["row"]), _Block(line))
        if column in block.values:
            rule = "each field must stand once in a row of the template"
            came = f"{column!r} of {table} row {record['row'] or '(empty)'} stands there twice"
            faults.append(Fault(rule, came, name, line, column=column, advice="Count up the numbers in column row."))
            continue
        block.values[column] = value
        own = {part: record[part] for part in CITATION if record.get(part)}
        if own:
            block.own[column] = own
    if faults:
        raise FaultyDataError(faults)
    listed = [(table, block) for (table, _), block in blocks.items()]
    return _settle(listed, name, about.get("why", ""), about.get("by", ""), cells.separator)


def _from_toml(file: Path, name: str) -> Proposal:
    try:
        raw = read_bytes(file, LARGEST_FILE)
        content = parse_toml(raw)
    except FileNotFoundError:
        raise FaultyDataError(
            [Fault("the file must exist", "it was not found", name, advice="Check the name.")]
        ) from None
    except (OSError, ValueError) as error:  # ValueError: also of a number with too many digits
        raise FaultyDataError([Fault("the file must be TOML", f"{error}", name)]) from None
    faults: list[Fault] = []
    for table in sorted(set(content) - {"proposal", *OPEN_TABLES}):
        rule = f"tables must be {', '.join(OPEN_TABLES)} or proposal"
        faults.append(Fault(rule, f"there is {quoted(table)}", name))
    about = content.get("proposal", {})
    if not isinstance(about, dict):
        faults.append(Fault("[proposal] must be a table", "it is not", name))
        about = {}
    blocks = []
    for table in OPEN_TABLES:
        given = content.get(table, [])
        given = [given] if isinstance(given, dict) else given
        if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
            faults.append(Fault(f"{table} must be written as [[{table}]]", "it is not", name))
            continue
        heads = re.finditer(rb"^[ \t]*\[\[?[ \t\"']*%b[ \t\"']*\]" % table.encode(), raw, re.MULTILINE)
        lines = [raw.count(b"\n", 0, head.start()) + 1 for head in heads]
        for number, row in enumerate(given, start=1):
            # Rows may be written in one line, without heads of their own: results = [{...}, {...}].
            block = _Block(lines[number - 1] if len(lines) == len(given) else 1)
            for column, value in row.items():
                _toml_value(block, column, value, f"[[{table}]] {number}", name, faults)
            blocks.append((table, block))
    if faults:
        raise FaultyDataError(faults)
    return _settle(blocks, name, str(about.get("why", "")), str(about.get("by", "")), ",")


def _toml_value(block: _Block, column: str, value: Any, place: str, name: str, faults: list[Fault]) -> None:
    if isinstance(value, dict) and "value" in value:
        block.own[column] = {part: str(value[part]).strip() for part in CITATION if value.get(part)}
        value = value["value"]
    if isinstance(value, (dict, list, bool)):
        rule = "a value must be a number or a text, or { value = ..., source = ..., locator = ... }"
        faults.append(Fault(rule, f"{column} of {place} is {quoted(value)}", name, column=column))
    elif str(value).strip():
        block.values[column] = str(value).strip()


def _settle(blocks: list[tuple[str, _Block]], name: str, why: str, by: str, separator: str) -> Proposal:
    faults: list[Fault] = []
    models = row_models(True)
    for what, value in (("why", why), ("by", by)):
        if problem := text_fault(value):
            faults.append(Fault(f"{what} must be plain text", problem, name, column=what))
    rows = []
    for table, block in blocks:
        filled = {column: cell for column, cell in block.values.items() if column not in CITATION}
        if not set(filled) - {*models[table].KEY, "trial_id"}:
            continue  # a row of the template that was left empty, but for the key that it came with
        faults += _row_faults(table, block, models[table], name)
        own = {column: block.own.get(column, {}) for column in filled}
        row = {part: block.values.get(part, "") for part in CITATION}
        citations = {
            column: (cited.get("source", row["source"]), cited.get("locator", row["locator"]))
            for column, cited in own.items()
        }
        faults += _citation_faults(table, block, citations, models[table], name)
        if table != "trials" and row["source"]:
            filled["source"] = row["source"]
            citations["source"] = (row["source"], row["locator"])
        rows.append(ProposedRow(table, filled, citations, block.line, separator))
    if not rows and not faults:
        advice = "Fill in the column value; see the column required."
        faults.append(
            Fault("a proposal must have at least one filled row", "every value is empty", name, advice=advice)
        )
    if faults:
        raise FaultyDataError(faults)
    return Proposal(name, tuple(rows), why, by)


def _row_faults(table: str, block: _Block, model: type[Row], name: str) -> Iterator[Fault]:
    trial = block.values.get("trial_id")
    for column, value in block.values.items():
        if problem := text_fault(value):
            rule = "cells must hold plain values"
            yield Fault(rule, f"{column} of {table} has {quoted(value)}: {problem}", name, block.line, trial, column)
    for key in model.KEY:
        if not block.values.get(key):
            rule, came = f"{key} must be filled in each row of {table}", "it is empty"
            yield Fault(rule, came, name, block.line, trial, key, f"Fill it: {columns_of(model)[key].description}")


def _citation_faults(
    table: str, block: _Block, citations: Mapping[str, tuple[str, str]], model: type[Row], name: str
) -> Iterator[Fault]:
    """Values of which nobody could look up where they come from."""
    for position, part in enumerate(CITATION):
        lacking = [
            column
            for column, cited in citations.items()
            if column not in model.KEY and not any(sign.isalnum() for sign in cited[position])
        ]
        if lacking:
            what = {"source": "the source that it was read in", "locator": "its place there (page, table)"}[part]
            rule = f"every value must have {what}"
            came = (
                f"{', '.join(lacking)} of {table} row {' '.join(block.values.get(k, '?') for k in model.KEY)} lack it"
            )
            advice = (
                f"Fill {part} of the row, such as " + {"source": "PMC2760690.", "locator": "Table 2, p. 1110."}[part]
            )
            yield Fault(rule, came, name, block.line, block.values.get("trial_id"), part, advice)
