"""Any table of studies -> a DataFrame with our column names and numbers as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import pandas as pd

from metamiq.datasets.aliases import understand
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import FaultyDataError
from metamiq.datasets.study_models import StudyRow
from metamiq.datasets.validate import check_rows


def read_table(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    r"""Read a table of studies, whatever program wrote it.

    Separators, encodings, line ends and decimal commas are recognised (see `read_csv_table`). Columns are found by our
    names (``m1i``, ``yi``, ...) or by the names of metafor, R meta, RevMan, Metapsy, MetaInsight, CMA and common
    hand-made tables; other columns are kept. What was taken for what is in ``attrs["notes"]``.

    Parameters
    ----------
    path : str or path-like
        The CSV file.
    columns : mapping of str to str, optional
        Column of the file -> our name, where it should not be left to recognition.

    Returns
    -------
    DataFrame
        One row per row of the file. Numbers are int64 when every cell is filled with a whole number and float64
        otherwise, with NaN for an empty cell; text is `str`, with None for an empty cell. ``attrs["notes"]`` lists what
        was noticed and ``attrs["file"]`` is the file.

    Raises
    ------
    DataError
        If the file cannot be read, if several columns could be the same quantity (the message lists them), or if a
        known column holds a value that it cannot have. All faults are in one message, with their lines.
    ValueError
        If `columns` names a column that the file does not have, or gives one name twice.

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
    table = read_csv_table(path)
    header = [str(name) for name in table.frame]
    chosen = dict(columns or {})
    for name in sorted(set(chosen) - set(header)):
        have = ", ".join(map(repr, sorted(header)))
        raise ValueError(f"columns must name columns of {file} ({have}), not {name!r}.")
    renamed = understand(header, chosen, file)
    after = [renamed.get(name, name) for name in header]
    twice = sorted({name for name in after if after.count(name) > 1})
    if twice:
        raise ValueError(f"columns must give each name once, but two columns of {file} would be {twice[0]!r}.")
    spelled = {ours: name for name, ours in renamed.items() if ours != name}
    table.frame.columns = pd.Index(after)
    checked = check_rows(table, StudyRow, file)
    if checked.faults or checked.frame is None:
        raise FaultyDataError(
            replace(fault, rule=f"{fault.rule} ({fault.column} is the column {spelled[fault.column]!r})")
            if fault.column in spelled
            else fault
            for fault in checked.faults
        )
    taken = [f"{name!r} taken for {renamed[name]}" for name in header if renamed.get(name, name) != name]
    checked.frame.attrs["notes"] = [*table.notes, *checked.notes, *taken]
    checked.frame.attrs["file"] = file
    return checked.frame
