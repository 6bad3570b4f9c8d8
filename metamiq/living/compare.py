"""Two states of a dataset: what differs in the data, and in the answer."""

from __future__ import annotations

import math
import re
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, read_dataset
from metamiq.datasets.journal import HISTORY, settled
from metamiq.datasets.reading import row_models
from metamiq.errors import DataError
from metamiq.living.difference import DATA_COLUMNS, QUANTITIES, Difference
from metamiq.question import Answers, CannotFit
from metamiq.verdicts import audit
from metamiq.wording import fixed

_ANSWER = ["quantity", "before", "after", "difference"]


def diff(before: Dataset | str | PathLike[str], after: Dataset | str | PathLike[str]) -> Difference:
    """Compare two states of a dataset: the data cell by cell, and the answer.

    The answer is the pooled g of points and bounds (`random_effects_bounded`) and the verdicts on the claims, each
    computed from its own state by the same code.

    Parameters
    ----------
    before, after : Dataset or path
        Two datasets, or their folders; ``FOLDER@3`` is version 3 of a folder that `accept` has changed.

    Returns
    -------
    Difference
        With `summary`, `to_frame`, `to_markdown` and `to_dict`.

    Raises
    ------
    DataError
        If one cannot be read, or one is evidence and the other a study table.
    ValueError
        If one is neither a dataset nor a path.

    Examples
    --------
    >>> import dataclasses
    >>> import metamiq as mm
    >>> ds = mm.load_dataset("mi_cbt_anxiety")
    >>> fewer = dataclasses.replace(ds, results=ds.results[ds.results["trial_id"] != "westra2009"])
    >>> change = diff(fewer, ds)
    >>> for row in change.answer.head(3).itertuples():
    ...     print(row.quantity, int(row.before), int(row.after))
    k 14 15
    k_points 1 1
    k_bounds 13 14
    """
    for given in (before, after):
        if not isinstance(given, (Dataset, str, PathLike)):
            raise ValueError(
                f"diff compares two datasets, or their folders, not a {type(given).__name__}. Of two fits compare "
                "to_frame()."
            )
    first, second = (x if isinstance(x, Dataset) else _open(x) for x in (before, after))
    kinds = ["role" in ds.trials for ds in (first, second)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"Two datasets must be of one kind to be compared, but {first.name!r} and {second.name!r} are not: one is "
            "evidence (with roles and results), the other a study table."
        )
    answers, reasons = zip(*(_answers(ds) for ds in (first, second)), strict=True)
    names = (_name(before, first), _name(after, second))
    if names[0] == names[1]:
        names = (f"{names[0]} before", f"{names[1]} after")
    return Difference(
        names=names,
        data=_data(first, second),
        answer=_answer(answers),
        trials=_trials(answers),
        verdicts=_verdicts(answers),
        reasons=reasons,
        answers=answers,
    )


def _open(place: str | PathLike[str]) -> Dataset:
    folder, at, version = str(place).rpartition("@")
    if not at or Path(place).exists():
        return read_dataset(place)
    home = Path(folder)
    newest = settled(home) if home.is_dir() else 0
    kept = {int(p.name) for p in (home / HISTORY).glob("[0-9]*") if p.name.isdecimal()} | {newest} - {0}
    if not re.fullmatch(r"[1-9]\d{0,8}", version) or int(version) not in kept:
        has = ", ".join(map(str, sorted(kept))) or "none"
        raise DataError(f"A version must be one that {folder} has ({has}), not {version!r}.")
    return read_dataset(home if int(version) == newest else home / HISTORY / version)


def _name(given: Dataset | str | PathLike[str], ds: Dataset) -> str:
    return ds.name if isinstance(given, Dataset) else str(given)


def _answers(ds: Dataset) -> tuple[Answers | None, str]:
    """The analyses of a state, and why there is no pooled answer if so."""
    if "role" not in ds.trials:
        return None, "a study table has no question of its own; pool it with `metamiq pool`"
    try:
        answers = Answers(ds)
    except DataError as error:
        return None, str(error)
    return answers, answers.pooled.reason if isinstance(answers.pooled, CannotFit) else ""


def _data(first: Dataset, second: Dataset) -> pd.DataFrame:
    models = row_models("role" in first.trials)
    rows: list[dict[str, str]] = []
    for table, model in models.items():
        old, new = (keyed_rows(ds.tables[table], model.KEY) for ds in (first, second))
        for key in sorted({*old, *new}):
            a, b = old.get(key, {}), new.get(key, {})
            change = "changed" if a and b else "added" if b else "removed"
            for column in dict.fromkeys([*a, *b]):
                x, y = a.get(column, ""), b.get(column, "")
                if x != y:
                    rows.append(dict(zip(DATA_COLUMNS, (table, key, column, x, y, change), strict=True)))
    return pd.DataFrame(rows, columns=DATA_COLUMNS)


def keyed_rows(frame: pd.DataFrame, key: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Cells as text by the key of their row; rows without a key are counted."""
    columns = key or tuple(c for c in ("trial_id", "study") if c in frame)[:1]
    out: dict[str, dict[str, str]] = {}
    for number, record in enumerate(frame.to_dict(orient="records"), start=1):
        name = " / ".join(str(record[c]) for c in columns) if columns else f"row {number}"
        out[name if name not in out else f"{name} ({number})"] = {str(c): cell_text(v) for c, v in record.items()}
    return out


def cell_text(value: object) -> str:
    """A cell as text; empty when it is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.15g}" if isinstance(value, (float, np.floating)) else str(value)


def _quantity(answers: Answers | None, name: str) -> float:
    if answers is None or isinstance(answers.pooled, CannotFit):
        return np.nan
    return float(getattr(answers.pooled, name))


def _answer(answers: tuple[Answers | None, ...]) -> pd.DataFrame:
    rows = []
    for name in QUANTITIES:
        before, after = (_quantity(a, name) for a in answers)
        apart = after - before if math.isfinite(before) and math.isfinite(after) else np.nan
        rows.append((name, before, after, apart))
    return pd.DataFrame(rows, columns=_ANSWER)


def _trials(answers: tuple[Answers | None, ...]) -> pd.DataFrame:
    tables = []
    for end, state in zip(("before", "after"), answers, strict=True):
        columns = ["label", f"kind_{end}", f"g_{end}", f"weight_{end}"]
        if state is None:
            tables.append(pd.DataFrame(columns=columns, index=pd.Index([], name="trial_id")))
            continue
        effects = state.effects.set_index("trial_id")
        pooled = state.pooled
        weights = np.full(len(effects), np.nan) if isinstance(pooled, CannotFit) else pooled.weights
        shown = [
            fixed(r["yi"]) if r["kind"] == "point" else f"{fixed(r['yi_low'])} to {fixed(r['yi_high'])}"
            for r in effects.to_dict(orient="records")
        ]
        parts = [effects["label"], effects["kind"], shown, weights]
        tables.append(pd.DataFrame(dict(zip(columns, parts, strict=True)), index=effects.index))
    old, new = tables
    both = new.join(old.drop(columns="label"), how="outer")
    both["label"] = both["label"].fillna(old["label"])
    for column in ("kind_before", "kind_after", "g_before", "g_after"):
        both[column] = both[column].astype(object).where(both[column].notna(), "")
    ends = [f"{what}_{end}" for what in ("kind", "g", "weight") for end in ("before", "after")]
    return both[["label", *ends]].rename_axis("trial_id").reset_index()


def _verdicts(answers: tuple[Answers | None, ...]) -> pd.DataFrame:
    columns = ["claim_id", "before", "after", "ours_before", "ours_after"]
    tables = []
    for state in answers:
        if state is None or state.ds.claims.empty:
            tables.append(pd.DataFrame(columns=["verdict", "ours"], index=pd.Index([], name="claim_id")))
        else:
            tables.append(audit(state).table.set_index("claim_id")[["verdict", "ours"]])
    for table, end in zip(tables, ("before", "after"), strict=True):
        table.columns = pd.Index([end, f"ours_{end}"])
    both = tables[0].join(tables[1], how="outer").reset_index()
    return both[columns].astype(object).where(both[columns].notna(), "")
