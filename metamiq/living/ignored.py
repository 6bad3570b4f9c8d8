"""Findings that were looked at and set aside: which, and why, stored with the data.

A dataset folder keeps them in ``ignored.csv``; a single table ``trials.csv`` beside it, in ``trials.ignored.csv``.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from metamiq.datasets import Fault, FaultyDataError, read_csv_table
from metamiq.datasets.faults import control_character
from metamiq.datasets.models import Row, Text
from metamiq.datasets.validate import check_rows
from metamiq.errors import DataError


class IgnoredRow(Row):
    """One decision to set findings aside (``ignored.csv``)."""

    code: Annotated[str, Field(pattern=r"^[A-Z]+\d+$")] = Field(description="Code of the rule, such as SD01.")
    row: Text = Field(None, description="Key of the row that it is for, as in the finding; empty: every finding.")
    reason: Annotated[str, Field(min_length=1)] = Field(description="Why the finding does not matter here.")


COLUMNS = tuple(IgnoredRow.model_fields)


def ignored_file(source: Path) -> Path:
    """Where the decisions for a dataset folder, or for a table, are kept.

    Examples
    --------
    >>> ignored_file(Path("trials.csv")).name
    'trials.ignored.csv'
    """
    return source / "ignored.csv" if source.is_dir() else source.with_name(f"{source.stem}.ignored.csv")


def read_ignored(source: Path, codes: Iterable[str]) -> tuple[IgnoredRow, ...]:
    """The decisions stored with a dataset folder or a table.

    Parameters
    ----------
    source : Path
        The folder or the table.
    codes : iterable of str
        Codes that there are.

    Returns
    -------
    tuple of IgnoredRow
        In the order of the file; none when there is no file.

    Raises
    ------
    DataError
        If a row has no reason, or a code that does not exist.
    """
    file = ignored_file(source)
    if not file.is_file():
        return ()
    name = file.name if source.is_absolute() else str(file)
    try:
        table = read_csv_table(file)
    except FaultyDataError as error:
        if [fault.rule for fault in error.faults] == ["a table must have at least one row"]:
            return ()
        raise
    checked = check_rows(table, IgnoredRow, name)
    faults = list(checked.faults)
    rows = [] if checked.frame is None else checked.frame.to_dict("records")
    known = set(codes)
    for row, line in zip(rows, table.lines, strict=False):
        if row.get("code") and row["code"] not in known:
            advice = "See `metamiq check --rules` for the codes."
            faults.append(Fault("code must be that of a rule", f"it is {row['code']!r}", name, line, advice=advice))
    if faults:
        raise FaultyDataError(faults)
    return tuple(IgnoredRow(code=row["code"], row=row.get("row") or None, reason=row["reason"]) for row in rows)


def add_ignored(source: Path, code: str, reason: str, row: str | None, codes: Sequence[str]) -> Path:
    """Store a decision with the data; one for the same code and row is replaced.

    Parameters
    ----------
    source : Path
        The dataset folder, or the table.
    code, reason : str
        Code of the rule; why its finding does not matter here.
    row : str, optional
        Key of the row; without it the decision holds for every finding of the rule.
    codes : sequence of str
        Codes that there are.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        If the code does not exist or the reason is empty.
    DataError
        If the decisions already stored cannot be read, or the file cannot be written.
    """
    if code not in codes:
        raise ValueError(f"--ignore must name a rule ({', '.join(codes)}), not {code!r}.")
    if not reason.strip():
        raise ValueError("--reason must say why the finding does not matter here, but it is empty.")
    if sign := control_character(reason):
        raise ValueError(f"--reason must be plain text, but it holds the control character {sign!r}.")
    if reason.startswith("="):
        raise ValueError(f"--reason must be plain text, but {reason[:40]!r} is run by a spreadsheet as a formula.")
    kept = [old for old in read_ignored(source, codes) if (old.code, old.row) != (code, row)]
    rows = sorted([*kept, IgnoredRow(code=code, row=row, reason=reason)], key=lambda r: (r.code, r.row or ""))
    file = ignored_file(source)
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=file.parent, delete=False) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([getattr(entry, column) or "" for column in COLUMNS] for entry in rows)
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, file)  # never half written
    except OSError as error:
        advice = "Copy the dataset to a folder of your own, and check that."
        raise DataError(f"{file.name} must be writable, but the system says {error.strerror!r}. {advice}") from None
    return file
