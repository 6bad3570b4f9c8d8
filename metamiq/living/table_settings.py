"""How the study table of a bundle is read and pooled, and its settings.json read again with suspicion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from metamiq.datasets import datapackage, read_dataset, read_table
from metamiq.datasets.faults import quoted
from metamiq.errors import DataError
from metamiq.living.archive import is_plain

KIND = "study table"
_MOST_ANALYSES = 100
_LONGEST_NAME = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAnalysis:
    """How a study table is pooled: all that `verify` needs to do it again.

    Attributes
    ----------
    measure, vtype : str or None
        What is computed from the table, and by which variance formula; None takes the table's own effect sizes, and
        the measure's own formula.
    method, test, level, pi_method
        As in `random_effects`.
    subgroups, moderators : tuple of str
        Columns and formulas of the analyses beside the mean.
    common_tau2 : bool
        Whether subgroups share tau2.
    groups : (str, str) or None
        Names of the two groups.
    better : {"higher", "lower"} or None
        Which effects are good.
    """

    measure: str | None = None
    vtype: str | None = None
    method: str = "REML"
    test: str = "knha"
    level: float = 0.95
    pi_method: str = "test"
    subgroups: tuple[str, ...] = ()
    common_tau2: bool = False
    moderators: tuple[str, ...] = ()
    groups: tuple[str, str] | None = None
    better: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the file of a study table is read: `columns`, `sheet` and `where` as in `read_table`."""

    columns: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)


def analysis_from(settings: Mapping[str, Any], path: object) -> TableAnalysis:
    """The analysis in the settings of somebody else: known names, and values of the right kind.

    Raises
    ------
    DataError
        If it is none.
    """
    given, names = settings.get("analysis"), {one.name for one in fields(TableAnalysis)}
    if not isinstance(given, dict) or set(given) != names:
        raise DataError(
            f"settings.json in {path} must hold an analysis with {', '.join(sorted(names))}, each once and no other."
        )
    level = given["level"]
    right = {
        **{name: _are_names([given[name]]) for name in ("method", "test", "pi_method")},
        **{name: given[name] is None or _are_names([given[name]]) for name in ("measure", "vtype")},
        "subgroups": _are_names(given["subgroups"]),
        "moderators": _are_texts(given["moderators"]),
        "level": type(level) is float and math.isfinite(level),
        "common_tau2": type(given["common_tau2"]) is bool,
        "groups": given["groups"] is None or (_are_names(given["groups"]) and len(given["groups"]) == 2),
        "better": given["better"] in ("higher", "lower", None),
    }
    if wrong := sorted(name for name, is_right in right.items() if not is_right):
        raise DataError(f"settings.json in {path} must have values of the right kind, but not so {', '.join(wrong)}.")
    if len(given["subgroups"]) + len(given["moderators"]) > _MOST_ANALYSES:
        raise DataError(f"A bundle must hold at most {_MOST_ANALYSES} subgroup analyses and moderators, but has more.")
    tuples = {name: tuple(x) for name, x in given.items() if isinstance(x, list)}
    return TableAnalysis(**{**given, **tuples})


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) for x in value)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) and len(x) <= _LONGEST_NAME for x in value)


def read_packed(folder: Path, settings: Mapping[str, Any], path: object) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of a bundle, read as its settings say.

    Parameters
    ----------
    folder : Path
        Where the bundle's data are.
    settings : mapping
        Its settings.json.
    path : object
        The bundle, for messages.

    Returns
    -------
    table : DataFrame
        As `read_table` gives it.
    described : dict
        What the data package says of each column; empty for a file.

    Raises
    ------
    DataError
        If the settings do not say how, or the data cannot be read so.
    """
    how = settings.get("table")
    if not isinstance(how, dict):
        raise DataError(f"settings.json in {path} must say how the table is read, but has no table.")
    if "dataset" in how:
        ds = read_dataset(folder)
        if not ds.results.empty:
            raise DataError(f"settings.json in {path} calls the data a study table, but they are evidence.")
        resources = datapackage(folder).get("resources", [])
        of_trials = [r["schema"]["fields"] for r in resources if r["name"] == "trials"]
        return ds.trials, {x["name"]: x for x in of_trials[0]}
    name = how.get("file")
    if not isinstance(name, str) or not is_plain(f"data/{name}") or not (folder / name).is_file():
        raise DataError(f"settings.json in {path} must name a file in data/, but it names {quoted(name)}.")
    sheet, named, where = how.get("sheet"), how.get("columns", {}), how.get("where", {})
    pairs = [x for x in (named, where) if isinstance(x, dict)]
    if len(pairs) < 2 or not all(isinstance(x, str) for x in [*(x for p in pairs for x in p.values()), sheet or ""]):
        raise DataError(f"sheet, columns and where in settings.json in {path} must be text, but they are not.")
    return read_table(folder / name, columns=named, sheet=sheet, where=where), {}
