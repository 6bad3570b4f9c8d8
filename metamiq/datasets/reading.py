"""A folder of CSV tables -> a Dataset, or one error that says everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from metamiq.datasets.columns import columns_of
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import Fault, FaultyDataError
from metamiq.datasets.journal import is_steady, settled
from metamiq.datasets.keys import Source, duplicate_faults, reference_faults
from metamiq.datasets.models import ClaimRow, DropoutRow, ResultRow, Row, TrialRow
from metamiq.datasets.study_models import PublishedRow, StudyRow
from metamiq.datasets.validate import check_rows
from metamiq.errors import DataError
from metamiq.wording import count

#: Attempts at reading a folder that another process keeps changing; one is enough in practice.
_ATTEMPTS = 20
#: The tables of a dataset, in the order in which they are read and described.
TABLES = ("trials", "results", "dropout", "claims", "published")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The tables of one folder, checked.

    Attributes
    ----------
    name : str
        Name of the folder.
    path : Path
        The folder, as it was given.
    trials, results, dropout, claims, published : DataFrame
        One row per line of the file, in file order. Columns of numbers are int64 when every cell is filled with a whole
        number and float64 otherwise, with NaN for an empty cell; columns of text hold `str`, with None for an empty
        cell. Columns of the row model that the file does not have are there and empty; columns that a user added are
        kept. A table without a file has no rows.
    notes : tuple of str
        What was noticed in reading, such as ``"results.csv: semicolon separators read"``.
    lines : mapping of str to tuple of int
        Line of each row in its file, by table.

    See Also
    --------
    read_dataset, load_dataset
    """

    name: str
    path: Path
    trials: pd.DataFrame
    results: pd.DataFrame
    dropout: pd.DataFrame
    claims: pd.DataFrame
    published: pd.DataFrame
    notes: tuple[str, ...]
    lines: Mapping[str, tuple[int, ...]]

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The five tables by name."""
        return {table: getattr(self, table) for table in TABLES}

    def where(self, table: str, index: int) -> str:
        """File and line of a row.

        A folder that was given as an absolute path is named by its last part, so that outputs which quote places
        are the same on every machine.

        Parameters
        ----------
        table : {"trials", "results", "dropout", "claims", "published"}
            The table.
        index : int
            Index label of the row in that table, which counts rows of the file from 0.

        Returns
        -------
        str
            Such as ``"data/mi_cbt_anxiety/results.csv, line 7"``.

        Raises
        ------
        ValueError
            If there is no such table or row.
        """
        if table not in TABLES:
            raise ValueError(f"table must be one of {', '.join(map(repr, TABLES))}, not {table!r}.")
        lines = self.lines.get(table, ())
        if not 0 <= index < len(lines):
            raise ValueError(f"index must be from 0 to {len(lines) - 1} for table {table!r}, not {index!r}.")
        folder = self.name if self.path.is_absolute() else self.path.as_posix()
        return f"{folder}/{table}.csv, line {lines[index]}"

    def __repr__(self) -> str:
        counts = [count(len(self.trials), "trial")]
        if "role" in self.trials:
            counts[0] += f" ({int((self.trials['role'] == 'candidate').sum())} candidates)"
        else:
            counts[0] = f"study table of {count(len(self.trials), 'row')}"
        counts += [f"{len(frame)} {table}" for table, frame in self.tables.items() if table != "trials" and len(frame)]
        return f"Dataset {self.name!r}: {', '.join(counts)}"


def read_dataset(folder: str | PathLike[str]) -> Dataset:
    """Read and check the tables of a dataset folder.

    ``trials.csv`` must be there. It is an evidence table (`TrialRow`) when the folder has ``results.csv``,
    ``dropout.csv`` or ``claims.csv``, or when it has a column ``role``; otherwise it is a study table with the
    calculators' columns (`StudyRow`). Any CSV dialect that `read_csv_table` knows is read, and decimal commas too;
    whatever was not plain UTF-8 with commas is said in `Dataset.notes`.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    Dataset
        The tables, with the file and line of each row.

    Raises
    ------
    DataError
        If the folder or ``trials.csv`` is missing, or anything in any file breaks a rule of its columns. All faults of
        all files are in one message, each with file, line, trial, what must hold and what came.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> ds = load_dataset("mi_cbt_anxiety")  # read_dataset of the folder that comes with metamiq
    >>> ds
    Dataset 'mi_cbt_anxiety': 31 trials (20 candidates), 29 results, 6 dropout, 7 claims
    >>> print(ds.trials.loc[:1, ["trial_id", "year", "n_mi", "n_cbt"]].to_string(index=False))
       trial_id  year  n_mi  n_cbt
    barrera2016  2016  20.0   19.0
    buckner2009  2009  12.0   15.0
    """
    path = Path(folder)
    if not path.is_dir():
        advice = "Name the folder that holds trials.csv." if path.exists() else "Check the name."
        came = "it is a file" if path.exists() else "it was not found"
        raise FaultyDataError([Fault("a dataset must be a folder", came, str(path), advice=advice)])
    for _ in range(_ATTEMPTS):
        version = settled(path)
        try:
            ds = _read_tables(path)
        except FaultyDataError:
            if is_steady(path, version):
                raise
            continue
        if is_steady(path, version):
            return ds
    raise DataError(f"{path} must stay as it is while it is read, but it kept changing. Try again.")


def _read_tables(path: Path) -> Dataset:
    # A link that leads nowhere is no absent table: without its results a dataset would give another answer.
    present = [table for table in TABLES if os.path.lexists(path / f"{table}.csv")]
    if "trials" not in present:
        others = sorted(entry.name for entry in path.glob("*.csv"))
        came = f"the folder has {', '.join(others)}" if others else "the folder has no CSV file"
        advice = "Add trials.csv, with one trial per row."
        raise FaultyDataError([Fault("a dataset must have trials.csv", came, str(path), advice=advice)])

    faults: list[Fault] = []
    notes: list[str] = []
    raw = {}
    for table in present:
        place = path / f"{table}.csv"
        if place.is_symlink() and not place.exists():
            faults.append(Fault("a table must be a file", "it is a link that leads nowhere", str(place)))
            continue
        try:
            raw[table] = read_csv_table(place)
        except FaultyDataError as error:
            faults += error.faults
    is_evidence = holds_evidence(present, map(str, raw["trials"].frame if "trials" in raw else ()))
    models = row_models(is_evidence)
    sources: dict[str, Source] = {}
    for table, cells in raw.items():
        file = str(path / f"{table}.csv")
        checked = check_rows(cells, models[table], file)
        faults += checked.faults
        notes += [f"{table}.csv: {note}" for note in (*cells.notes, *checked.notes)]
        if checked.frame is None:
            continue
        sources[table] = Source(checked.frame, file, cells.lines)
        faults += duplicate_faults(sources[table], models[table].KEY)
        unknown = sorted(str(name) for name in checked.frame if name not in columns_of(models[table]))
        if unknown and is_evidence:
            notes.append(f"{table}.csv: columns kept that the dictionary does not know: {', '.join(unknown)}")
    if is_evidence and "trials" in sources:
        faults += reference_faults(sources)
    if faults:
        raise FaultyDataError(faults)
    fill = {table: is_evidence or table == "published" for table in TABLES}
    frames = {
        table: _complete(sources[table].frame if table in sources else None, models[table], fill[table])
        for table in TABLES
    }
    lines = {table: tuple(source.lines) for table, source in sources.items()}
    return Dataset(name=path.resolve().name, path=path, notes=tuple(notes), lines=lines, **frames)


def holds_evidence(tables: Iterable[str], header: Iterable[str]) -> bool:
    """Whether a folder with these tables, and this header of trials.csv, is evidence rather than a study table."""
    return bool({"results", "dropout", "claims"} & set(tables)) or "role" in set(header)


def row_models(is_evidence: bool) -> dict[str, type[Row]]:
    """The row model of each table, for an evidence dataset or for a study table."""
    return {
        "trials": TrialRow if is_evidence else StudyRow,
        "results": ResultRow,
        "dropout": DropoutRow,
        "claims": ClaimRow,
        "published": PublishedRow,
    }


def _complete(frame: pd.DataFrame | None, model: type[Row], fill: bool) -> pd.DataFrame:
    """Put in the model's columns that a file does not have; a table without a file has all of them and no rows."""
    known = columns_of(model)
    if frame is None:
        return pd.DataFrame(
            {name: pd.Series(dtype=np.float64 if column.is_number else object) for name, column in known.items()}
        )
    absent = [column for column in known.values() if column.name not in frame] if fill else []
    empty = {
        column.name: pd.Series(
            [np.nan if column.is_number else None] * len(frame), dtype=float if column.is_number else object
        )
        for column in absent
    }
    return pd.concat([frame, pd.DataFrame(empty)], axis=1) if empty else frame
