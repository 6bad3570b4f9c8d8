"""From a dataset or a study table to what the rules see."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, read_csv_table
from metamiq.datasets.aliases import simplified
from metamiq.effects.cells import records
from metamiq.errors import DataError
from metamiq.living.rules.columns import COLUMNS
from metamiq.living.rules.material import Line, Material, Plan


def material_of_dataset(ds: Dataset, plan: Plan) -> Material:
    """What the rules see of a dataset, evidence or study table."""
    if "role" not in ds.trials:
        rows = _lines(ds.trials, "trials", partial(ds.where, "trials"))
        return Material(ds.name, rows, notes=ds.notes, plan=plan)
    tables = {
        name: _lines(getattr(ds, name), name, partial(ds.where, name))
        for name in ("trials", "results", "dropout", "claims")
    }
    trials = {line.text("trial_id"): line for line in tables["trials"]}
    rows = tuple(_comparison(line, trials.get(line.text("trial_id"))) for line in tables["results"])
    return Material(
        ds.name, rows, tables["trials"], tables["dropout"], tables["claims"], notes=ds.notes, ds=ds, plan=plan
    )


def material_of_frame(frame: pd.DataFrame, plan: Plan) -> Material:
    """What the rules see of a study table."""
    file = str(frame.attrs.get("file", ""))
    name = (Path(file).name if Path(file).is_absolute() else file) or "table"
    lines = _file_lines(frame, file) if file else {}

    def place(position: int) -> str:
        return f"{name}, line {lines[position]}" if lines else f"{name}, row {position + 1}"

    rows = _lines(frame.rename(columns=_our_names(frame)), "study table", place)
    return Material(name, rows, notes=tuple(frame.attrs.get("notes", ())), plan=plan)


def _our_names(frame: pd.DataFrame) -> dict[str, str]:
    """Columns that only the rules read, in another spelling (``Instrument``, ``Higher is better``) -> our spelling."""
    known = {simplified(column): column for name in COLUMNS for column in (name, name.replace("1i", "2i"))}
    spelled = {str(name): known.get(simplified(str(name)), str(name)) for name in frame}
    taken = list(spelled.values())
    return {name: ours for name, ours in spelled.items() if name != ours and taken.count(ours) == 1}


def _file_lines(frame: pd.DataFrame, file: str) -> dict[int, int]:
    """Line of each row in the file that it was read from; empty unless the index still tells which row is which."""
    try:
        table = read_csv_table(file)
    except DataError:
        return {}
    labels = frame.index.to_list()
    if not all(isinstance(label, int) and 0 <= label < len(table.lines) for label in labels):
        return {}
    names = next((c for c in ("trial_id", "study", "label") if c in frame), None)
    for position, label in enumerate(labels):
        cells = set(table.frame.iloc[label])
        if names is not None and str(frame[names].iloc[position]) not in cells | {"None"}:
            return {}
    return {position: table.lines[label] for position, label in enumerate(labels)}


def _lines(table: pd.DataFrame, name: str, place: Callable[[int], str]) -> tuple[Line, ...]:
    keys = ("result_id", "claim_id", "trial_id", "study", "label")
    found = []
    for position, cells in enumerate(records(table)):
        row = Line(name, "", place(position), cells)
        key = next((row.text(column) for column in keys if row.text(column)), f"row {position + 1}")
        if name == "dropout":
            key = f"{key} {row.text('arm')}"
        found.append(Line(name, key, row.place, cells))
    return tuple(found)


#: Columns of results.csv under the calculators' names; the statistic of the report is added by its kind.
_SAME = {
    "m1i": "mean_mi", "sd1i": "sd_mi", "n1i": "n_mi", "m2i": "mean_cbt", "sd2i": "sd_cbt", "n2i": "n_cbt",
    "pi": "p", "sei": "se",
}  # fmt: skip


def _comparison(line: Line, trial: Line | None) -> Line:
    """A reported result as a row of a study table; its own columns stay."""
    cells = dict(line.cells)
    for ours, theirs in _SAME.items():
        cells.setdefault(ours, line.cells.get(theirs))
    report, value = line.text("report"), line.number("value")
    if trial is not None:
        cells["n1i_randomised"] = trial.cells.get("n_mi")
        cells["n2i_randomised"] = trial.cells.get("n_cbt")
        cells["n_total"] = trial.cells.get("n_total")
        cells["design"] = trial.cells.get("design")
    if report in ("d", "g", "smd"):
        cells["yi"] = value
    elif report == "t":
        cells["ti"] = value
    elif report == "F":
        cells["ti"] = np.sqrt(value) * (line.favours or 1)
    cells.setdefault("score", {"change_means": "change", "means": "post"}.get(report))
    if report == "change_means":  # a reduction: the larger, the better
        cells["higher_is_better"] = "yes"
    return Line(line.table, line.key, line.place, cells)
