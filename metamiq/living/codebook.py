"""What each column of a study table means: to metamiq, and in the words of whoever made the table."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field

from metamiq.datasets.columns import columns_of
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import Fault, FaultyDataError, quoted
from metamiq.datasets.keys import Source, duplicate_faults
from metamiq.datasets.models import Row
from metamiq.datasets.study_models import StudyRow
from metamiq.datasets.validate import check_rows
from metamiq.errors import DataError
from metamiq.living.spreadsheet import spreadsheet_csv

MEANINGS = "meanings.csv"
_UNKNOWN = "Kept as it stands in the file; its meaning is not known to metamiq."
_COLUMNS = ("column", "taken_for", "type", "unit", "meaning")
_LONGEST = 2_000  # signs of a meaning


class MeaningRow(Row):
    """What one column of a study table means."""

    KEY: ClassVar[tuple[str, ...]] = ("column",)

    column: str = Field(description="Column, as the header of the table has it.")
    meaning: Annotated[str, Field(max_length=_LONGEST)] = Field(description="What it means.")
    unit: Annotated[str | None, Field(max_length=200)] = Field(None, description="Unit of its numbers.")


def read_meanings(path: str | PathLike[str]) -> dict[str, dict[str, str]]:
    r"""Read what columns mean.

    Parameters
    ----------
    path : str or path-like
        CSV with the columns ``column`` (as the header of the table has it), ``meaning`` and, if needed, ``unit``.

    Returns
    -------
    dict of str to dict
        ``description`` and ``unit`` of each column that is named.

    Raises
    ------
    DataError
        If the file is no such table, a meaning is missing, or a column is named twice.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "codebook.csv")
    >>> _ = file.write_text("column,meaning,unit\nlength,Time from first to last session,weeks\n")
    >>> read_meanings(file)
    {'length': {'description': 'Time from first to last session', 'unit': 'weeks'}}
    >>> folder.cleanup()
    """
    file, table = str(path), read_csv_table(path)
    header = [str(name) for name in table.frame]
    if {"column", "meaning"} - set(header) or set(header) - set(MeaningRow.model_fields):
        rule = "a codebook must have the columns column and meaning, and may have unit"
        raise FaultyDataError([Fault(rule, f"it has {', '.join(map(quoted, header))}", file, table.header_line)])
    checked = check_rows(table, MeaningRow, file)
    frame = pd.DataFrame() if checked.frame is None else checked.frame
    if faults := checked.faults + duplicate_faults(Source(frame, file, table.lines), MeaningRow.KEY):
        raise FaultyDataError(faults)
    return {
        row["column"]: {"description": row["meaning"], "unit": row.get("unit") or ""}
        for row in frame.to_dict("records")
    }


def codebook(table: pd.DataFrame, described: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
    """What each column is called in the file, what it was taken for, and what it means.

    Parameters
    ----------
    table : DataFrame
        As `read_table` gives it.
    described : mapping of str to mapping
        ``description`` and ``unit`` of columns, by their names in the file. Of columns that metamiq knows, too, it is
        given behind their own.

    Returns
    -------
    text : str
        CSV with the columns ``column taken_for type unit meaning``.
    unexplained : list of str
        Columns of which nobody says what they mean.

    Raises
    ------
    DataError
        If a column is described that the table does not have.
    """
    known = columns_of(StudyRow)
    spelled = {ours: name for name, ours in table.attrs.get("columns", {}).items()}
    headers = {str(name): spelled.get(str(name), str(name)) for name in table.columns}
    if absent := [name for name in described if name not in headers.values()]:
        raise DataError(
            f"A codebook must name columns of the table ({', '.join(map(quoted, sorted(headers.values())))}), but it "
            f"names {', '.join(map(quoted, sorted(absent)))}. Write each as the header of the table has it."
        )
    rows, unexplained = [], []
    for name, header in headers.items():
        about, column = described.get(header, {}), known.get(name)
        said, unit = str(about.get("description", "")), str(about.get("unit", ""))
        if column is not None:
            kind, unit = column.type, unit or column.unit or ""
            said = column.description if said in column.description else f"{column.description} {said}"
        else:
            kind = "number" if pd.api.types.is_numeric_dtype(table[name]) else "string"
            if not said:
                unexplained.append(header)
        rows.append((header, name if column is not None else "", kind, unit, said or _UNKNOWN))
    return spreadsheet_csv(pd.DataFrame(rows, columns=list(_COLUMNS))), unexplained
