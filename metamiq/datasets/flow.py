"""The counts of a PRISMA 2020 flow diagram: what each key means, and reading them from a CSV file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
from pydantic import Field

from metamiq.datasets.cells import CsvTable
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import Fault, FaultyDataError, control_character, quoted
from metamiq.datasets.models import Row
from metamiq.datasets.rules import Problem
from metamiq.datasets.validate import check_rows
from metamiq.datasets.workbook import is_workbook, read_workbook

FlowKey = Literal[
    "previous_studies",
    "previous_reports",
    "databases",
    "registers",
    "duplicates_removed",
    "automation_removed",
    "other_removed",
    "records_screened",
    "records_excluded",
    "reports_sought",
    "reports_not_retrieved",
    "reports_assessed",
    "reports_excluded",
    "websites",
    "organisations",
    "citation_searching",
    "other_sources",
    "other_reports_sought",
    "other_reports_not_retrieved",
    "other_reports_assessed",
    "other_reports_excluded",
    "studies_included",
    "reports_included",
    "total_studies",
    "total_reports",
]
KEYS: tuple[str, ...] = get_args(FlowKey)

#: What each key counts, as the template says it.
MEANINGS: dict[str, str] = {
    "previous_studies": "Studies included in the previous version of the review; only for an updated review.",
    "previous_reports": "Reports of those studies.",
    "databases": "Records identified from databases. One row per database (its name in reason), a total, or both.",
    "registers": "Records identified from registers. One row per register (its name in reason), a total, or both.",
    "duplicates_removed": "Duplicate records removed before screening.",
    "automation_removed": "Records marked as ineligible by automation tools before screening.",
    "other_removed": "Records removed before screening for other reasons; one row per reason if you like.",
    "records_screened": "Records screened.",
    "records_excluded": "Records excluded in screening; one row for people and one for automation tools, if both did.",
    "reports_sought": "Reports sought for retrieval.",
    "reports_not_retrieved": "Reports not retrieved.",
    "reports_assessed": "Reports assessed for eligibility.",
    "reports_excluded": "Reports excluded, one row per reason.",
    "websites": "Records identified from websites; only for searches beyond databases and registers.",
    "organisations": "Records identified from organisations.",
    "citation_searching": "Records identified by citation searching.",
    "other_sources": "Records identified by any other method; its name in reason.",
    "other_reports_sought": "Reports sought for retrieval, of records found by other methods.",
    "other_reports_not_retrieved": "Reports not retrieved, of records found by other methods.",
    "other_reports_assessed": "Reports assessed for eligibility, found by other methods.",
    "other_reports_excluded": "Reports excluded, found by other methods, one row per reason.",
    "studies_included": "Studies included in the review; in an updated review the new ones.",
    "reports_included": "Reports of those studies.",
    "total_studies": "Previous and new studies together; only for an updated review.",
    "total_reports": "Reports of all included studies; only for an updated review.",
}

#: Keys that may have a row per reason or source, beside or instead of a row with their total.
SEVERAL = frozenset(
    {
        *("databases", "registers", "websites", "organisations", "citation_searching", "other_sources"),
        *("other_removed", "records_excluded", "reports_not_retrieved", "other_reports_not_retrieved"),
        *("reports_excluded", "other_reports_excluded"),
    }
)
PREVIOUS = ("previous_studies", "previous_reports")
TOTALS = ("total_studies", "total_reports")
IDENTIFIED = ("databases", "registers")
REMOVED = ("duplicates_removed", "automation_removed", "other_removed")
OTHER_IDENTIFIED = ("websites", "organisations", "citation_searching", "other_sources")
OTHER_REPORTS = tuple(key for key in KEYS if key.startswith("other_reports_"))
#: The boxes that every review has.
MAIN = (
    *("records_screened", "records_excluded", "reports_sought", "reports_not_retrieved"),
    *("reports_assessed", "reports_excluded", "studies_included"),
)

# Keys of the CSV template of the R package PRISMA2020 and its web app.
_PRISMA2020 = {
    "previous_studies": "previous_studies",
    "previous_reports": "previous_reports",
    "database_results": "databases",
    "database_specific_results": "databases",
    "register_results": "registers",
    "register_specific_results": "registers",
    "website_results": "websites",
    "organisation_results": "organisations",
    "citations_results": "citation_searching",
    "duplicates": "duplicates_removed",
    "excluded_automatic": "automation_removed",
    "excluded_other": "other_removed",
    "records_screened": "records_screened",
    "records_excluded": "records_excluded",
    "dbr_sought_reports": "reports_sought",
    "dbr_notretrieved_reports": "reports_not_retrieved",
    "dbr_assessed": "reports_assessed",
    "dbr_excluded": "reports_excluded",
    "other_sought_reports": "other_reports_sought",
    "other_notretrieved_reports": "other_reports_not_retrieved",
    "other_assessed": "other_reports_assessed",
    "other_excluded": "other_reports_excluded",
    "new_studies": "studies_included",
    "new_reports": "reports_included",
    "total_studies": "total_studies",
    "total_reports": "total_reports",
}
# Rows of that template that name parts of the picture and count nothing.
_NO_COUNTS = {"", "NA", "identification", "screening", "included"}
_PLACEHOLDER = re.compile(r"x+", re.IGNORECASE)


class FlowRow(Row):
    """One box, or one line of a box, of a PRISMA 2020 flow diagram."""

    KEY: ClassVar[tuple[str, ...]] = ("key", "reason")

    key: FlowKey = Field(description="What is counted.")
    n: Annotated[int | None, Field(ge=0, le=10**9)] = Field(
        None, description="How many; empty when it is not stated.", json_schema_extra={"unit": "count"}
    )
    reason: Annotated[str | None, Field(max_length=200)] = Field(
        None, description="Why records or reports were left out, or the name of a database, register or other source."
    )

    def problems(self) -> Iterator[Problem]:
        """A reason is plain text: it is printed and drawn."""
        if sign := control_character(self.reason or ""):
            yield Problem("reason", "reason must be plain text", f"it holds {sign!r}", "Type it again.")


def read_flow(path: str | PathLike[str]) -> pd.DataFrame:
    r"""Read the counts of a PRISMA 2020 flow diagram.

    The file has a row per box with the columns ``key``, ``n`` and, if needed, ``reason``; `flow_template` writes one
    with every key and its meaning. A key that may have several reasons or sources may have a row for each, a row
    without reason for their total, or both. An empty ``n`` is a count that is not stated. The template of the R package
    PRISMA2020 (columns ``data`` and ``n``, exclusions as ``"reason, 3; other reason, 5"``) is read as well; there, a
    previous review or other methods whose counts are all 0 are taken for absent, since 0 is what the template has.

    Whether the counts add up is a question of its own: see `flow_arithmetic`.

    Parameters
    ----------
    path : str or path-like
        The file: CSV in any dialect that `read_table` reads, or the first sheet of an .xlsx workbook.

    Returns
    -------
    DataFrame
        Columns ``key``, ``n`` (float64, NaN where not stated), ``reason`` (None where there is none) and ``line`` (of
        the file). ``attrs["file"]`` is the file and ``attrs["notes"]`` lists what was noticed.

    Raises
    ------
    DataError
        If the file cannot be read or is no such table, a key is unknown or stands twice with the same reason, or an n
        is no whole number of 0 or more. All faults are in one message, with their lines.

    References
    ----------
    Page MJ et al. (2021). The PRISMA 2020 statement. BMJ 372:n71.
    Haddaway NR et al. (2022). PRISMA2020: an R package and Shiny app. Campbell Systematic Reviews 18:e1230.

    Examples
    --------
    Made-up counts:

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "counts.csv")
    >>> _ = file.write_text("key,n,reason\nrecords_screened,120,\nreports_excluded,4,no control group\n")
    >>> print(read_flow(file)[["key", "n", "reason"]].to_string(index=False, header=False))
    records_screened 120.0             None
    reports_excluded   4.0 no control group
    >>> folder.cleanup()
    """
    file = str(path)
    table = read_workbook(path, stored_values=True) if is_workbook(path) else read_csv_table(path)
    header = {str(name).casefold(): str(name) for name in table.frame}
    notes = list(table.notes)
    if {"key", "n"} <= set(header):
        known = {header[name]: name for name in ("key", "n", "reason") if name in header}
        table = table._replace(frame=table.frame[list(known)].rename(columns=known))
    elif {"data", "n"} <= set(header):
        table = _from_prisma2020(table, header, notes, file)
    else:
        rule = "the table must have the columns 'key' and 'n' (or 'data' and 'n', as the PRISMA2020 template)"
        came = f"its columns are {', '.join(quoted(str(c)) for c in table.frame)}"
        advice = "Start from the template that flow_template writes."
        raise FaultyDataError([Fault(rule, came, file, table.header_line, advice=advice)])
    checked = check_rows(table, FlowRow, file)
    faults = list(checked.faults)
    if checked.frame is not None:
        faults += _repeated(checked.frame, table.lines, file)
    if faults or checked.frame is None:
        raise FaultyDataError(faults)
    reasons = checked.frame["reason"].tolist() if "reason" in checked.frame else [None] * len(checked.frame)
    flow = pd.DataFrame(
        {
            "key": checked.frame["key"].astype(object),
            "n": checked.frame["n"].to_numpy(dtype=np.float64),
            "reason": pd.Series(reasons, dtype=object),
            "line": list(table.lines),
        }
    )
    flow.attrs["file"] = file
    flow.attrs["notes"] = [*notes, *checked.notes, *_left_out(flow)]
    return flow


def flow_template(updated: bool = False) -> str:
    """A CSV file to fill in: every key of the flow diagram with its meaning.

    Parameters
    ----------
    updated : bool
        Whether the review updates an earlier one, whose studies and reports are counted too.

    Returns
    -------
    str
        The columns ``key,n,reason,meaning``; counts are empty, and rows that do not apply may be deleted.

    Examples
    --------
    >>> print(flow_template().splitlines()[3])
    duplicates_removed,,,Duplicate records removed before screening.
    """
    rows = []
    for key in KEYS:
        if updated or key not in PREVIOUS + TOTALS:
            reasons = ("reason 1", "reason 2") if key.endswith("reports_excluded") else (None,)
            rows += [{"key": key, "n": None, "reason": reason, "meaning": MEANINGS[key]} for reason in reasons]
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def has_counts(flow: pd.DataFrame, keys: tuple[str, ...]) -> bool:
    """Whether any of the keys has a count: a part of the diagram without one is left out."""
    return bool((flow["key"].isin(keys) & flow["n"].notna()).any())


def _left_out(flow: pd.DataFrame) -> list[str]:
    """Notes on parts of the diagram that have rows and no counts."""
    given = set(flow["key"])
    parts = {"the previous review": PREVIOUS, "other methods": OTHER_IDENTIFIED + OTHER_REPORTS}
    notes = [
        f"no count for {name}: that part of the diagram is left out"
        for name, keys in parts.items()
        if given & set(keys) and not has_counts(flow, keys)
    ]
    missing = [key for key in MAIN if key not in given]
    return notes + ([f"not in the file, so not stated: {', '.join(missing)}"] if missing else [])


def _repeated(frame: pd.DataFrame, lines: tuple[int, ...], file: str) -> list[Fault]:
    """Rows that say the same thing twice."""
    if not {"key", "n"} <= set(frame):
        return []
    reasons = frame["reason"].tolist() if "reason" in frame else [None] * len(frame)
    seen: dict[tuple[str, str | None], int] = {}
    faults = []
    for key, reason, line in zip(frame["key"], reasons, lines, strict=True):
        if key not in KEYS:
            continue
        value = (key, str(reason).casefold() if reason and key in SEVERAL else None)
        if value in seen:
            rule = "key and reason must differ from row to row" if key in SEVERAL else f"{key} must stand once"
            same = f" with the reason {quoted(reason)}" if value[1] else " without a reason" if key in SEVERAL else ""
            came = f"{key!r}{same} stands on line {seen[value]} already"
            advice = "Add the two counts, or say how the rows differ." if key in SEVERAL else "Delete one of the rows."
            faults.append(Fault(rule, came, file, line, column="key", advice=advice))
        else:
            seen[value] = line
    return faults


def _from_prisma2020(table: CsvTable, header: dict[str, str], notes: list[str], file: str) -> CsvTable:
    """The same counts under our keys; a cell with several reasons becomes a row for each."""
    rows: list[tuple[str, str, str]] = []
    lines: list[int] = []
    faults = []
    data, counts = table.frame[header["data"]], table.frame[header["n"]]
    for name, cell, line in zip(data, counts, table.lines, strict=True):
        if name in _NO_COUNTS or cell == "NA":  # NA: a box that is not shown
            continue
        if name not in _PRISMA2020:
            close = ", ".join(sorted(_PRISMA2020))
            rule, came = f"data must be one of {close}, or empty", f"it is {quoted(name)}"
            faults.append(Fault(rule, came, file, line, column="data", advice="Use the names of the template."))
            continue
        for reason, n in _parts(cell):
            if _PLACEHOLDER.fullmatch(n):
                notes.append(f"line {line}: {quoted(cell)} is the template's example, skipped")
                break
            rows.append((_PRISMA2020[name], n, reason))
            lines.append(line)
    if faults:
        raise FaultyDataError(faults)
    notes.append("columns and keys of the PRISMA2020 template read")
    for part, group in (("a previous review", PREVIOUS), ("other methods", OTHER_IDENTIFIED + OTHER_REPORTS)):
        given = [n for key, n, _ in rows if key in group]
        if given and all(n in ("0", "") for n in given):
            notes.append(f"all counts of {part} are 0: taken for absent")
            dropped = {*group, *(TOTALS if group == PREVIOUS else ())}
            # A total that was filled in stays, so that it is checked.
            kept = [i for i, (key, n, _) in enumerate(rows) if key not in dropped or n not in ("0", "")]
            rows, lines = [rows[i] for i in kept], [lines[i] for i in kept]
    if not rows:
        rule, came = "the table must have counts", "every count is missing or the template's example"
        raise FaultyDataError([Fault(rule, came, file, table.header_line, advice="Fill in the column n.")])
    frame = pd.DataFrame(rows, columns=["key", "n", "reason"], dtype=object)
    return table._replace(frame=frame, lines=tuple(lines))


def _parts(cell: str) -> list[tuple[str, str]]:
    """Reasons and counts in one cell: ``"wrong design, 3; no control, 5"``; a bare count has no reason."""
    out: list[tuple[str, str]] = []
    for part in cell.split(";"):
        reason, comma, n = part.rpartition(",")
        if part.strip() or not out:
            out.append((reason.strip(), n.strip()) if comma else ("", part.strip()))
    return out
