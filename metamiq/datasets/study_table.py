"""Any table of studies -> a DataFrame with our column names and numbers as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import pandas as pd

from metamiq.datasets.aliases import understand
from metamiq.datasets.cells import CsvTable
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import FaultyDataError
from metamiq.datasets.layout_rows import remarks, several, without_fillers, without_summaries
from metamiq.datasets.layouts import layout_of
from metamiq.datasets.study_models import StudyRow
from metamiq.datasets.validate import check_rows
from metamiq.datasets.workbook import WORKBOOKS, is_workbook, read_workbook


def read_table(
    path: str | PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    sheet: str | None = None,
    where: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    r"""Read a table of studies, whatever program wrote it.

    Separators, encodings, line ends and decimal commas are recognised (see `read_csv_table`). Columns are found by our
    names (``m1i``, ``yi``, ...) or by the names of metafor, R meta, RevMan, Metapsy, MetaInsight, JASP, CMA and common
    hand-made tables; other columns are kept. What was taken for what is in ``attrs["notes"]``.

    Parameters
    ----------
    path : str or path-like
        The file: CSV, or an .xlsx workbook (needs openpyxl), of which one sheet is read as values.
    columns : mapping of str to str, optional
        Column of the file -> our name, where it should not be left to recognition.
    sheet : str, optional
        Sheet of a workbook; the first visible one by default.
    where : mapping of str to str, optional
        Column of the file -> what a row must have there, as text, to be read.

    Returns
    -------
    DataFrame
        One row per row of the file. Numbers are int64 when every cell is filled with a whole number and float64
        otherwise, with NaN for an empty cell; text is `str`, with None for an empty cell. ``attrs["notes"]`` lists what
        was noticed, ``attrs["columns"]`` has our name of each column that had another one, ``attrs["file"]`` is the
        file; ``attrs["several"]`` is there when the rows belong to several analyses, and says so.

    Raises
    ------
    DataError
        If the file cannot be read, if several columns could be the same quantity (the message lists them), or if a
        known column holds a value that it cannot have. All faults are in one message, with their lines.
    ValueError
        If `columns` or `where` names a column that the file does not have, `columns` gives one name twice, no row is
        as `where` says, or there is no such sheet.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "study.csv")
    >>> _ = file.write_bytes(b"Study;TE;seTE\na;0,5;0,1\nb;-0,2;0,25\n")
    >>> frame = read_table(file)
    >>> print(frame.to_string(index=False))
    study   yi  sei
        a  0.5 0.10
        b -0.2 0.25
    >>> for note in frame.attrs["notes"]:
    ...     print(note)
    semicolon separators read
    decimal commas read
    'Study' taken for study
    'TE' taken for yi
    'seTE' taken for sei
    >>> folder.cleanup()
    """
    file = str(path)
    table = _cells(path, sheet)
    header = [str(name) for name in table.frame]
    chosen = dict(columns or {})
    for argument, names in (("columns", chosen), ("where", where or {})):
        for name in sorted(set(names) - set(header)):
            have = ", ".join(map(repr, sorted(header)))
            raise ValueError(f"{argument} must name columns of {file} ({have}), not {name!r}.")
    layout = layout_of(header)
    if layout is not None:
        table = without_summaries(table, layout, file)
    if where:
        table = _only(table, where, file)
    if layout is not None:
        table = without_fillers(table, layout, chosen)
        header = [str(name) for name in table.frame]
    renamed = understand(header, chosen, file, layout)
    after = [renamed.get(name, name) for name in header]
    twice = sorted({name for name in after if after.count(name) > 1})
    if twice:
        raise ValueError(f"columns must give each name once, but two columns of {file} would be {twice[0]!r}.")
    spelled = {ours: name for name, ours in renamed.items() if ours != name}
    checked = check_rows(table._replace(frame=table.frame.set_axis(after, axis=1)), StudyRow, file)
    if checked.faults or checked.frame is None:
        raise FaultyDataError(
            replace(fault, rule=f"{fault.rule} ({fault.column} is the column {spelled[fault.column]!r})")
            if fault.column in spelled
            else fault
            for fault in checked.faults
        )
    taken = [f"{name!r} taken for {renamed[name]}" for name in header if renamed.get(name, name) != name]
    about = remarks(layout, table, renamed) if layout is not None else []
    if layout is not None and (problem := several(layout, table)):
        checked.frame.attrs["several"] = problem
    checked.frame.attrs["notes"] = [*table.notes, *checked.notes, *about, *taken]
    checked.frame.attrs["file"] = file
    checked.frame.attrs["columns"] = {name: ours for name, ours in zip(header, after, strict=True) if name != ours}
    return checked.frame


def _cells(path: str | PathLike[str], sheet: str | None) -> CsvTable:
    if is_workbook(path):
        return read_workbook(path, sheet=sheet, stored_values=True)
    if sheet is not None:
        raise ValueError(f"sheet is for workbooks ({' and '.join(WORKBOOKS)}), but {path} is none.")
    return read_csv_table(path)


def _only(table: CsvTable, where: Mapping[str, str], file: str) -> CsvTable:
    """The rows that have what `where` asks for."""
    keep = pd.Series(True, index=table.frame.index)
    for name, value in where.items():
        keep &= table.frame[name] == str(value)
    asked = ", ".join(f"{name} = {value}" for name, value in where.items())
    if not keep.any():
        there = {name: sorted(set(table.frame[name]))[:10] for name in where}
        raise ValueError(f"where must leave at least one row of {file}, but none has {asked}; there are {there}.")
    return table.only(keep.tolist(), f"{keep.sum()} of {len(keep)} rows read: {asked}")
