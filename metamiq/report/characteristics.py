"""The study characteristics table of a review: who took part, what was done, what was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from metamiq.arguments import check_distinct
from metamiq.datasets import Dataset
from metamiq.datasets.study_models import StudyRow
from metamiq.errors import DataError
from metamiq.report.document import Cell, Table

ABSENT = "not reported"
_MANY = 4  # distinct values of one study that are listed; more are given as a range or a count
_TRIAL = {  # columns of trials.csv, and what a reader sees above them
    "country": "country",
    "disorder": "disorder",
    "population": "population",
    "design": "design",
    "n_mi": "n MI + CBT",
    "n_cbt": "n comparison",
    "n_total": "n of both",
    "mi_sessions": "MI sessions",
    "mi_minutes": "MI minutes",
    "mi_delivery": "MI",
    "cbt_sessions": "CBT sessions",
    "cbt_delivery": "CBT",
    "comparator": "comparison",
    "overlaps_with": "same people as",
}
# Left out when no trial of the review reports it; the others stay, so that what is missing shows.
_OPTIONAL = ("country", "design", "mi_minutes", "cbt_sessions", "overlaps_with")
_OUTCOMES, _SOURCES = "outcomes and time points", "sources"
# Of a study table: names and order of rows, and judgements that have a place of their own.
_NO_CHARACTERISTIC = {"trial_id", "study", "label", "year", "published_order", "line"}
_VARIANCE = re.compile(r"v\d+i")  # sampling variances and covariances of several outcomes
_EFFECTS = set(StudyRow.model_fields) - {"trial_id", "study", "label", "year", "note"}


def characteristics(source: Dataset | pd.DataFrame) -> pd.DataFrame:
    """The characteristics of each study, as text to be shown; what the data do not hold is "not reported".

    Parameters
    ----------
    source : Dataset or DataFrame
        A dataset folder, or any study table. Of a dataset of trials the candidates are described: disorder and
        population, arms, sizes, MI and CBT, comparison, outcomes with their time points, sources. Of a study table:
        every column that is no effect size and nothing that one is computed from, with sizes and events; the rows of
        one study are put together.

    Returns
    -------
    DataFrame
        One row per study, in the order of the data. Every cell is text; the numbers are in the data themselves.

    Raises
    ------
    DataError
        If the table has no rows or two columns of one name.
    ValueError
        If `source` is neither.

    References
    ----------
    Page et al. (2021), the PRISMA 2020 statement, item 17.

    Examples
    --------
    >>> import metamiq as mm
    >>> table = characteristics(mm.load_dataset("mi_cbt_anxiety")).set_index("study")
    >>> print(*table.loc["Barrera, Smith & Norton 2016", ["disorder", "n MI + CBT", "MI sessions", "CBT sessions"]])
    mixed 20 1 not reported
    >>> print(characteristics(mm.load_dataset("bcg")).iloc[0].to_string())
    study                           Aronson 1948
    year                                    1948
    events and n of group 1             4 of 123
    events and n of group 2            11 of 139
    latitude                                  44
    allocation                            random
    """
    if isinstance(source, Dataset):
        return _of_trials(source) if "role" in source.trials else _of_studies(source.trials)
    if not isinstance(source, pd.DataFrame):
        raise ValueError(
            f"characteristics takes a Dataset or a study table (DataFrame), not a {type(source).__name__}."
        )
    return _of_studies(source)


def _of_trials(ds: Dataset) -> pd.DataFrame:
    trials = ds.trials[ds.trials["role"] == "candidate"]
    if trials.empty:
        raise DataError(f"At least one trial must have the role 'candidate', but none of {len(ds.trials)} has.")
    known = {str(name) for name in trials.columns if trials[name].notna().any()}
    columns: dict[str, list[str]] = {"study": [shown(x) for x in trials["label"]]}
    for name, heading in _TRIAL.items():
        if name in trials and (name in known or name not in _OPTIONAL):
            columns[heading] = [shown(x) for x in trials[name]]
        if name == "population":  # the comparison is always between two arms; n_arms is filled where there are more
            columns["arms"] = [shown(x) if x == x else "2 compared" for x in trials["n_arms"]]
    keys = list(trials["trial_id"])
    results, dropout = (_by_trial(table) for table in (ds.results, ds.dropout))
    columns[_OUTCOMES] = [_outcomes(results.get(key, [])) for key in keys]
    rows = trials[["trial_id", "doi", "pmid", "registry"]].to_dict(orient="records")
    columns[_SOURCES] = [
        _sources(row, [*results.get(row["trial_id"], []), *dropout.get(row["trial_id"], [])]) for row in rows
    ]
    return pd.DataFrame(columns)


def _by_trial(table: pd.DataFrame) -> dict[Any, list[dict[Any, Any]]]:
    out: dict[Any, list[dict[Any, Any]]] = {}
    for row in table.to_dict(orient="records"):
        out.setdefault(row["trial_id"], []).append(row)
    return out


def _outcomes(results: list[dict[Any, Any]]) -> str:
    times: dict[str, list[str]] = {}
    for row in results:
        name = _text(row["outcome"]) or _text(row["domain"])
        how = ", ".join(x for x in (_text(row["instrument"]), _text(row["rater"])) if x)
        times.setdefault(f"{name} ({how})" if how else name, []).append(_text(row["timepoint"]))
    return "; ".join(f"{name}: {', '.join(dict.fromkeys(when))}" for name, when in times.items()) or ABSENT


def _sources(trial: dict[Any, Any], reported: list[dict[Any, Any]]) -> str:
    identifiers = (("doi", "doi:"), ("pmid", "PMID "), ("registry", ""))
    named = [f"{words}{x}" for column, words in identifiers if (x := _text(trial[column]))]
    where = ", ".join(dict.fromkeys(x for row in reported if (x := _text(row["source"]))))
    return "; ".join([*named, *([f"read: {where}"] if where else [])]) or ABSENT


def _of_studies(table: pd.DataFrame) -> pd.DataFrame:
    check_distinct(table)
    if table.empty:
        raise DataError("There must be at least one study to describe, but the table is empty.")
    key = next((c for c in ("study", "trial_id", "label") if c in table), None)
    names = pd.Series([f"row {i + 1}" for i in range(len(table))]) if key is None else table[key].map(shown)
    codes, studies = pd.factorize(names.to_numpy(dtype=object))
    label = next((c for c in ("label", "study", "trial_id") if c in table), None)
    single = len(studies) == len(table)
    columns: dict[str, list[str]] = {}

    def add(heading: str, values: Sequence[Any]) -> None:
        while heading in columns:
            heading += " "
        if single:
            columns[heading] = [shown(x) for x in values]
            return
        grouped: list[list[Any]] = [[] for _ in studies]
        for code, x in zip(codes, values, strict=True):
            grouped[code].append(x)
        columns[heading] = [_together(group) for group in grouped]

    add("study", list(names if label is None else table[label]))
    if not single:
        columns["effects"] = [str(n) for n in pd.Series(codes).value_counts().sort_index()]
    if "year" in table:
        add("year", list(table["year"]))
    for heading, values in _sizes(table):
        add(heading, values)
    for name in (str(c) for c in table.columns):
        hidden = name in _EFFECTS | _NO_CHARACTERISTIC or _VARIANCE.fullmatch(name) or name.startswith("rob_")
        if not hidden and table[name].notna().any():
            add(name.replace("_", " "), list(table[name]))
    return pd.DataFrame(columns)


def _sizes(table: pd.DataFrame) -> Iterable[tuple[str, list[str | None]]]:
    """Sizes and events of each group, as the table has them."""
    first, second = table.attrs.get("groups", ("group 1", "group 2"))
    for group, event, other, total in (
        (f" of {first}", "ai", "bi", "n1i"),
        (f" of {second}", "ci", "di", "n2i"),
        ("", "xi", "", "ni"),
    ):
        if event in table and (total in table or other in table):
            n = table[total] if total in table else table[event] + table[other]
            pairs = zip(table[event], n, strict=True)
            cells: list[str | None] = [None if a != a and b != b else f"{shown(a)} of {shown(b)}" for a, b in pairs]
            yield f"events and n{group}", cells
        elif total in table:
            yield f"n{group}", [None if x != x else shown(x) for x in table[total]]


def _together(values: list[Any]) -> str:
    """The values of a study's rows in one cell."""
    distinct = [x for x in dict.fromkeys(values) if _text(x)]
    if len(distinct) <= _MANY:
        return "; ".join(shown(x) for x in distinct) or ABSENT
    if all(isinstance(x, (int, float)) for x in distinct):
        return f"{shown(min(distinct))} to {shown(max(distinct))}"
    return "; ".join(shown(x) for x in distinct[:_MANY]) + f" and {len(distinct) - _MANY} more"


def shown(value: Any) -> str:
    """A value as text; what is not there is "not reported".

    Examples
    --------
    >>> shown(20.0), shown(0.5), shown(float("nan")), shown(None), shown(" group ")
    ('20', '0.5', 'not reported', 'not reported', 'group')
    """
    return _text(value) or ABSENT


def _text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return f"{value:.0f}" if math.isfinite(value) and value == int(value) else f"{value:.10g}"
    return str(value).strip()


def block(table: pd.DataFrame) -> Table:
    """The table for a page: of trials fewer and fuller columns, else one column each.

    Parameters
    ----------
    table : DataFrame
        From `characteristics`.
    """
    caption = 'Study characteristics, as the data hold them; "not reported" is what they do not hold.'
    if not {_TRIAL["n_mi"], _TRIAL["mi_sessions"], _SOURCES} <= set(table.columns):
        rows = tuple(tuple(Cell(x) for x in row) for row in table.itertuples(index=False, name=None))
        return Table("characteristics", caption, tuple(str(h).strip() for h in table.columns), rows)
    merged = tuple(_merged({str(k): v for k, v in row.items()}) for row in table.to_dict(orient="records"))
    head = ("study", "participants", "n, MI v CBT", "MI", "CBT", "comparison", "outcomes", _SOURCES)
    times = "Outcomes are given with their time points; post is the end of CBT."
    return Table("characteristics", f"{caption} {times}", head, merged)


def _merged(row: dict[str, str]) -> tuple[Cell, ...]:
    given = {name: row.get(heading, ABSENT) for name, heading in _TRIAL.items()}

    def some(*parts: str) -> str:
        return "; ".join(part for part in parts if part and part != ABSENT) or ABSENT

    def number(name: str, noun: str) -> str:
        x = given[name]
        return "" if x == ABSENT else f"{x} {noun}" if x == "1" else f"{x} {noun}s"

    same = "" if given["overlaps_with"] == ABSENT else f"same people as {given['overlaps_with']}"
    arms = "" if row["arms"].startswith("2") else f"{row['arms']} arms in all"
    mi, cbt, both = given["n_mi"], given["n_cbt"], given["n_total"]
    sizes = "" if (mi, cbt) == (ABSENT, ABSENT) else f"{mi} v {cbt}"
    people = some(sizes, "" if both == ABSENT or (sizes and ABSENT not in sizes) else f"{both} in both", arms)
    doi, *others = row[_SOURCES].split("; ") if row[_SOURCES].startswith("doi:") else ("", row[_SOURCES])
    texts = (
        some(given["disorder"], given["population"], given["country"], same),
        people,
        some(number("mi_sessions", "session"), number("mi_minutes", "minute"), given["mi_delivery"]),
        some(given["cbt_delivery"], number("cbt_sessions", "session"), given["design"]),
        row[_TRIAL["comparator"]],
        row[_OUTCOMES],
        "; ".join(others) or ABSENT,
    )
    link = f"https://doi.org/{doi.removeprefix('doi:')}" if doi else ""
    return (Cell(row["study"], href=link), *map(Cell, texts))


def describes(table: pd.DataFrame) -> bool:
    """Whether there is anything besides the names and years of the studies."""
    return not {*table.columns} <= {"study", "year"}
