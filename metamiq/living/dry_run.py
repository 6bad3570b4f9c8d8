"""What a proposal would change, in the data and in the answer, without writing anything."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, FaultyDataError, read_dataset
from metamiq.datasets import journal as journals
from metamiq.errors import DataError
from metamiq.living.check import check
from metamiq.living.compare import diff
from metamiq.living.difference import Difference
from metamiq.living.folders import fingerprint, stage
from metamiq.living.merging import CellChange, merge
from metamiq.living.proposal import Proposal, read_proposal


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a proposal would change, computed without writing anything.

    Attributes
    ----------
    folder : Path
        The dataset folder.
    version : int
        Version that the folder has now.
    changes : tuple of CellChange
        Every cell, with its source and locator.
    difference : Difference
        Data and answer before and after.
    findings : DataFrame
        What the rules of `check` find after the change and did not find before.
    why, by : str
        Reason and author.
    """

    folder: Path
    version: int
    changes: tuple[CellChange, ...]
    difference: Difference
    findings: pd.DataFrame
    why: str
    by: str
    base: str = field(repr=False)  # fingerprint of the folder that this was computed from
    tables: Mapping[str, bytes | None] = field(repr=False)  # None: the table goes

    @property
    def errors(self) -> pd.DataFrame:
        """New findings that are errors; they keep a plan from being accepted."""
        return self.findings[self.findings["severity"] == "error"]

    def summary(self) -> str:
        """Rows, answer before and after, what moved and new findings; the caller prints it."""
        lines = [self.difference.summary(), "", "New findings"]
        lines += [f"  {r['code']} {r['severity']}: {r['row']}: {r['found']}" for r in self.findings.to_dict("records")]
        return "\n".join(lines + ([] if len(self.findings) else ["  none"]))


def plan(
    folder: str | PathLike[str],
    proposal: Proposal | str | PathLike[str],
    *,
    replace: bool = False,
    why: str = "",
    by: str = "",
) -> Plan:
    """Work out what a proposal would change, and write nothing.

    Parameters
    ----------
    folder : str or path-like
        A dataset folder of your own.
    proposal : Proposal or path
        Rows, or the file to read them from.
    replace : bool
        Whether rows that are in the dataset may be corrected.
    why, by : str
        Reason and author, in place of those in the proposal.

    Returns
    -------
    Plan
        Rows, answers, findings; for `accept`.

    Raises
    ------
    DataError
        If the folder is not evidence, the proposal breaks a rule, or the dataset with it would.
    """
    path = Path(folder)
    before = evidence(path)
    base = fingerprint(path)
    proposal = proposal if isinstance(proposal, Proposal) else read_proposal(proposal)
    tables, changes, after = with_proposal(path, proposal, replace=replace)
    if not changes:
        raise DataError(f"A proposal must change something, but {proposal.file} says what {path} says already.")
    return planned(before, after, tables, changes, base, why or proposal.why, by or proposal.by)


def evidence(folder: Path) -> Dataset:
    """The dataset of a folder that may be changed by a plan.

    Raises
    ------
    DataError
        If it cannot be read, or is a study table.
    """
    ds = read_dataset(folder)
    if "role" not in ds.trials:
        raise DataError(
            f"Trials can be added to a dataset of evidence, but {folder} is a study table (no column role in "
            "trials.csv). Change a row of the table itself."
        )
    return ds


def planned(
    before: Dataset,
    after: Dataset,
    tables: Mapping[str, bytes | None],
    changes: tuple[CellChange, ...],
    base: str,
    why: str,
    by: str,
) -> Plan:
    """The plan that makes `after` of `before`; `base` is the fingerprint of the folder that `before` was read from."""
    return Plan(
        folder=before.path,
        version=journals.version_of(before.path),
        changes=changes,
        difference=diff(
            dataclasses.replace(before, name="before"), dataclasses.replace(after, name="after", path=before.path)
        ),
        findings=_new_findings(before, dataclasses.replace(after, path=before.path)),
        why=why,
        by=by,
        base=base,
        tables=tables,
    )


def with_proposal(
    folder: Path, proposal: Proposal, *, replace: bool
) -> tuple[dict[str, bytes], tuple[CellChange, ...], Dataset]:
    """The tables that a proposal changes, each cell, and the dataset as it would be."""
    tables, changes = merge(folder, proposal, replace=replace)
    return tables, changes, as_it_would_be(folder, tables, "with the proposal")


def as_it_would_be(folder: Path, tables: Mapping[str, bytes | None], how: str) -> Dataset:
    """The dataset with some tables replaced; its faults name the folder that the user knows, and `how` it differs."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return read_dataset(stage(folder, tables, Path(scratch)))
        except FaultyDataError as error:
            raise FaultyDataError(
                dataclasses.replace(f, file=f"{folder / Path(f.file).name} {how}") for f in error.faults
            ) from None


def _new_findings(before: Dataset, after: Dataset) -> pd.DataFrame:
    known = {tuple(row) for row in check(before).table[["code", "row", "found"]].to_numpy()}
    found = check(after).table
    new = [tuple(row) not in known for row in found[["code", "row", "found"]].to_numpy()]
    return found.loc[np.array(new, dtype=bool)].reset_index(drop=True)
