"""Two people's extractions: where they differ, what each difference does to g, how well they agree, who decides."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, Fault, FaultyDataError, read_csv_table, read_dataset
from metamiq.datasets.columns import columns_of
from metamiq.datasets.faults import quoted
from metamiq.datasets.reading import row_models
from metamiq.effects.trials import trial_effects
from metamiq.errors import ConvergenceError, DataError
from metamiq.living.compare import keyed_rows
from metamiq.living.dry_run import with_proposal
from metamiq.living.proposal import BLANK, OPEN_TABLES, read_proposal
from metamiq.living.spreadsheet import text_fault
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.wording import count, fixed

WHOLE_ROW = "(row)"
_DIFFERENCES = ["table", "row", "column", "a", "b", "moves_g", "moves_g_row", "choice", "source", "locator", "why"]
_AGREEMENT = ["table", "column", "n", "agree", "percent", "kappa"]
_WORDS = ("role", "published_by_2018_04", "disorder", "report", "favours", "domain", "timepoint", "rater", "arm")


@dataclass(frozen=True, slots=True, eq=False)
class Reconciliation:
    """Two extractions compared.

    Attributes
    ----------
    differences : DataFrame
        One row per cell that differs, those first that move the pooled g most: ``table row column a b``; ``moves_g``,
        the pooled g with B's value in A's data minus that of A (NaN when the cell cannot be changed alone);
        ``moves_g_row``, the same for the whole row; and the decision, ``choice source locator why``, empty where there
        is none. A row that only one person has is one difference, with column "(row)".
    agreement : DataFrame
        Per column ``table column n agree percent kappa`` over the rows that both have: cells that at least one person
        filled, how many are the same, and Cohen's kappa for columns of categories (NaN where all cells are one
        category, and for columns of numbers and free text).
    """

    differences: pd.DataFrame
    agreement: pd.DataFrame

    @property
    def undecided(self) -> int:
        """Differences without a decision."""
        return int((self.differences["choice"] == "").sum())

    def to_frame(self) -> pd.DataFrame:
        """The differences."""
        return self.differences.copy()

    def summary(self) -> str:
        """Agreement in one line, then the differences; the caller prints it."""
        n, same = int(self.agreement["n"].sum()), int(self.agreement["agree"].sum())
        share = f" ({100 * same / n:.1f}%)" if n else ""
        lines = [f"{same} of {count(n, 'cell')} agree{share}; {count(len(self.differences), 'difference')}, "
                 f"{self.undecided} undecided."]  # fmt: skip
        for row in self.differences.to_dict(orient="records"):
            moves = row["moves_g"] if not math.isnan(row["moves_g"]) else row["moves_g_row"]
            effect = "g cannot be compared" if math.isnan(moves) else f"g moves by {fixed(moves, 3)}"
            alone = " (with its row)" if math.isnan(row["moves_g"]) and not math.isnan(moves) else ""
            decision = f"; decided: {row['choice']}" if row["choice"] else ""
            ends = f"A {row['a'] or '(empty)'}, B {row['b'] or '(empty)'}"
            lines.append(f"{row['table']} {row['row']} {row['column']}: {ends}; {effect}{alone}{decision}")
        return "\n".join(lines)

    def agreed_csv(self) -> str:
        """The decisions that change A, as a file for ``metamiq add --replace``.

        Raises
        ------
        DataError
            If a difference is undecided, or a decision is to drop a row, which is done by hand.
        """
        if self.undecided:
            raise DataError(f"Every difference must be decided first, but {self.undecided} are not.")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["table", "row", "field", "value", "source", "locator"])
        models = row_models(True)
        keys: set[tuple[str, str]] = set()
        for row in self.differences.to_dict(orient="records"):
            value = {"A": row["a"], "B": row["b"]}.get(row["choice"], row["choice"])
            if value == row["a"]:
                continue
            if row["column"] == WHOLE_ROW:
                raise DataError(
                    f"A row that one extraction lacks is added or deleted by hand, but {row['table']} {row['row']} is "
                    f"decided for {row['choice']!r}. Do that first, and reconcile again."
                )
            place = (row["table"], row["row"])
            if place not in keys:
                keys.add(place)
                for name, part in zip(models[row["table"]].KEY, row["row"].split(" / "), strict=True):
                    writer.writerow([*place, name, part, row["source"], row["locator"]])
                writer.writerow([*place, "source", row["source"], "", ""])
                writer.writerow([*place, "locator", row["locator"], "", ""])
            writer.writerow([*place, row["column"], value or BLANK, row["source"], row["locator"]])
        return out.getvalue()


def reconcile(
    a: Dataset | str | PathLike[str],
    b: Dataset | str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    decisions: str | PathLike[str] | None = None,
) -> Reconciliation:
    """Compare two people's extractions of the same reports.

    Parameters
    ----------
    a, b : Dataset, folder, or filled template
        The extractions.
    base : path, optional
        Dataset folder to which templates belong; needed for templates.
    decisions : path, optional
        The differences as CSV, with ``choice`` (A, B or a value), ``source`` and ``locator`` filled in.

    Returns
    -------
    Reconciliation
        Differences by what they do to the pooled g, and agreement.

    Raises
    ------
    DataError
        If one cannot be read, templates come without `base`, or a decision is about nothing that differs, or has no
        source and locator.

    References
    ----------
    Kappa: Cohen (1960), Educational and Psychological Measurement 20, 37-46.

    Examples
    --------
    >>> import metamiq as mm
    >>> ds = mm.load_dataset("mi_cbt_anxiety")
    >>> results = ds.results.astype(object)
    >>> results.loc[results["result_id"] == "peynenburg2022-anxiety-post", "value"] = 0.52
    >>> found = reconcile(ds, dataclasses.replace(ds, results=results))
    >>> print(found.summary())
    74... of 74... cells agree (99.9%); 1 difference, 1 undecided.
    results peynenburg2022-anxiety-post value: A 0.25, B 0.52; g moves by 0.045
    """
    first, rows_a = _extraction(a, base)
    second, rows_b = _extraction(b, base)
    looked_at = None if rows_a is None or rows_b is None else rows_a | rows_b
    differences = _differences(first, second, looked_at)
    if decisions is not None:
        differences = _decide(differences, Path(decisions))
    alone = differences["moves_g"].abs()  # cells of one row stand together, the weightiest first
    weight = pd.DataFrame({"row": differences[["moves_g", "moves_g_row"]].abs().max(axis=1), "cell": alone})
    order = weight.sort_values(["row", "cell"], ascending=False, kind="stable", na_position="last").index
    return Reconciliation(differences.loc[order].reset_index(drop=True), _agreement(first, second, looked_at))


def _extraction(
    given: Dataset | str | PathLike[str], base: str | PathLike[str] | None
) -> tuple[Dataset, set[tuple[str, str]] | None]:
    """The dataset of an extraction, and the rows that it is about (None: all)."""
    if isinstance(given, Dataset):
        return given, None
    if Path(given).is_dir():
        return read_dataset(given), None
    if base is None:
        raise DataError(f"A filled template needs the dataset that it is for, but none is named for {given}. Add it.")
    proposal = read_proposal(given)
    _, _, after = with_proposal(Path(base), proposal, replace=True)
    models = row_models(True)
    rows = {(row.table, " / ".join(row.values[key] for key in models[row.table].KEY)) for row in proposal.rows}
    return after, rows


def _rows(ds: Dataset, table: str, looked_at: set[tuple[str, str]] | None) -> dict[str, dict[str, str]]:
    rows = keyed_rows(ds.tables[table], row_models(True)[table].KEY)
    return {key: row for key, row in rows.items() if looked_at is None or (table, key) in looked_at}


def _differences(first: Dataset, second: Dataset, looked_at: set[tuple[str, str]] | None) -> pd.DataFrame:
    start = _pooled(first)
    out: list[dict[str, Any]] = []
    for table in OPEN_TABLES:
        old, new = (_rows(ds, table, looked_at) for ds in (first, second))
        for key in dict.fromkeys([*old, *new]):
            x, y = old.get(key), new.get(key)
            whole = _pooled(_swapped(first, second, table, key)) - start
            if x is None or y is None:
                ends = ("there" if x else "not there", "there" if y else "not there")
                out.append(_row(table, key, WHOLE_ROW, ends, whole, whole))
                continue
            for column in dict.fromkeys([*x, *y]):
                ends = (x.get(column, ""), y.get(column, ""))
                if ends[0] != ends[1]:
                    alone = _pooled(_swapped(first, second, table, key, column)) - start
                    out.append(_row(table, key, column, ends, alone, whole))
    return pd.DataFrame(out, columns=_DIFFERENCES).astype({"moves_g": float, "moves_g_row": float})


def _row(table: str, key: str, column: str, ends: tuple[str, str], alone: float, whole: float) -> dict[str, Any]:
    values = (table, key, column, *ends, alone, whole, "", "", "", "")
    return dict(zip(_DIFFERENCES, values, strict=True))


def _pooled(ds: Dataset) -> float:
    try:
        return random_effects_bounded(trial_effects(ds)).estimate
    except (DataError, ConvergenceError):
        return math.nan


def _swapped(first: Dataset, second: Dataset, table: str, key: str, column: str | None = None) -> Dataset:
    """A's dataset with one row, or one cell, of B's."""
    model = row_models(True)[table]
    frame, other = (ds.tables[table].astype(object) for ds in (first, second))
    at, of = (_index(f, model.KEY, key) for f in (frame, other))
    if column is not None and at is not None and of is not None:
        frame.loc[at, column] = other.loc[of, column] if column in other else None
    else:
        kept = frame if at is None else frame.drop(index=at)
        frame = kept if of is None else pd.concat([kept, other.loc[[of]]], ignore_index=True)
    changed: dict[str, Any] = {table: frame}
    return dataclasses.replace(first, **changed)


def _index(frame: pd.DataFrame, key: tuple[str, ...], wanted: str) -> Any:
    names = frame[list(key)].astype(str).agg(" / ".join, axis=1) if len(frame) else pd.Series(dtype=object)
    found = names.index[names == wanted]
    return found[0] if len(found) else None


def _agreement(first: Dataset, second: Dataset, looked_at: set[tuple[str, str]] | None) -> pd.DataFrame:
    rows = []
    for table in OPEN_TABLES:
        old, new = (_rows(ds, table, looked_at) for ds in (first, second))
        both = [key for key in old if key in new]
        key_columns = row_models(True)[table].KEY
        for column in (c for c in columns_of(row_models(True)[table]) if c not in key_columns):
            pairs = [(old[key].get(column, ""), new[key].get(column, "")) for key in both]
            pairs = [pair for pair in pairs if any(pair)]
            if pairs:
                same = sum(x == y for x, y in pairs)
                value = kappa(pairs) if column in _WORDS else math.nan
                rows.append((table, column, len(pairs), same, 100 * same / len(pairs), value))
    return pd.DataFrame(rows, columns=_AGREEMENT)


def kappa(pairs: list[tuple[str, str]]) -> float:
    """Cohen's kappa (po - pe) / (1 - pe); NaN when chance alone gives full agreement.

    Examples
    --------
    >>> pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    >>> print(f"{kappa(pairs):.2f}")
    0.40
    """
    n = len(pairs)
    categories = sorted({x for pair in pairs for x in pair})
    table = np.array([[sum(pair == (x, y) for pair in pairs) for y in categories] for x in categories]) / n
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return math.nan if chance >= 1 else (float(np.trace(table)) - chance) / (1 - chance)


def _decide(differences: pd.DataFrame, file: Path) -> pd.DataFrame:
    cells = read_csv_table(file)
    name = str(file)
    needed = ("table", "row", "column", "choice", "source", "locator")
    lacking = [column for column in needed if column not in cells.frame]
    if lacking:
        came = f"the header lacks {', '.join(lacking)}"
        raise FaultyDataError([Fault("a file of decisions must have its columns", came, name, cells.header_line)])
    out = differences.copy()
    places = {(r["table"], r["row"], r["column"]): i for i, r in zip(out.index, out.to_dict("records"), strict=True)}
    faults = []
    for record, line in zip(cells.frame.to_dict("records"), cells.lines, strict=True):
        if not record["choice"]:
            continue
        place = (record["table"], record["row"], record["column"])
        problem = _decision_fault(record, place in places)
        if problem:
            faults.append(Fault("a decision must be about a difference and say where it was read", problem, name, line))
            continue
        for column in ("choice", "source", "locator", "why"):
            out.loc[places[place], column] = record.get(column, "")
    if faults:
        raise FaultyDataError(faults)
    return out


def _decision_fault(record: Mapping[Any, str], known: bool) -> str:
    place = " ".join(quoted(record[c]) for c in ("table", "row", "column"))
    if not known:
        return f"nothing differs at {place}"
    if record["column"] == WHOLE_ROW and record["choice"] not in ("A", "B"):
        return f"a whole row is decided by A or B, not {quoted(record['choice'])}"
    if problem := text_fault(record["choice"]) or text_fault(record["source"]) or text_fault(record["locator"]):
        return f"at {place} {problem}"
    if not record["source"] or not record["locator"]:
        return f"{place} has no source and locator"
    return ""
