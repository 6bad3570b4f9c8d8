"""What is missing from the evidence, and where it is openly published."""

from __future__ import annotations

import re

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.effects.trials import excluded_trials, trial_effects

_PLACES = re.compile(r"full text|thesis|dissertation|registry results", re.IGNORECASE)


def missing_numbers(ds: Dataset) -> pd.DataFrame:
    """Candidate trials that are not points yet, what they lack, and where their notes say it is published.

    Returns
    -------
    DataFrame
        One row per candidate that is a bound or not usable: ``trial_id label disorder mi_sessions now lacks where``.
        `where` is quoted from the trial's note and empty when the evidence names no open source.

    Examples
    --------
    >>> import metamiq as mm
    >>> gaps = missing_numbers(mm.load_dataset("mi_cbt_anxiety")).set_index("trial_id")
    >>> gaps.loc["westra2009", "where"]
    'Open full text: PMC2760690 (its tables hold the arm-level values).'
    """
    effects = trial_effects(ds).set_index("trial_id")
    excluded = excluded_trials(ds)
    reasons = dict(zip(excluded["trial_id"], excluded["reason"].astype(str), strict=True))
    rows = []
    for trial in ds.trials[ds.trials["role"] == "candidate"].itertuples():
        key = str(trial.trial_id)
        if key in effects.index:
            if effects.loc[key, "kind"] == "point":
                continue
            now = f"bound ({effects.loc[key, 'report']!s})"
            lacks = "mean, SD and n of each arm after treatment, or a test statistic"
            if effects.loc[key, "n_source"] == "assumed":
                lacks += "; arm sizes"
        else:
            now = "not usable"
            lacks = f"a result that compares the arms: {reasons[key]}"
        rows.append(
            {
                "trial_id": key,
                "label": trial.label,
                "disorder": trial.disorder,
                "mi_sessions": trial.mi_sessions,
                "now": now,
                "lacks": lacks,
                "where": _places(trial.note),
            }
        )
    columns = ["trial_id", "label", "disorder", "mi_sessions", "now", "lacks", "where"]
    return pd.DataFrame(rows, columns=columns)


def _places(note: object) -> str:
    if not isinstance(note, str):
        return ""
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", note)
    return " ".join(s if s.endswith(".") else f"{s}." for s in sentences if _PLACES.search(s))


def where_published(ds: Dataset, about: str, disorders: tuple[str, ...] = ()) -> str:
    """A sentence on which trials, if their numbers were entered, would help; empty when none is known."""
    gaps = missing_numbers(ds)
    if about == "disorder":
        gaps = gaps[gaps["disorder"].isin(disorders)]
    elif about == "sessions":
        gaps = gaps[gaps["mi_sessions"] <= 2]
    open_ones = gaps[gaps["where"] != ""]
    if open_ones.empty:
        return ""
    listed = " ".join(f"{row.label}: {row.where}" for row in open_ones.itertuples())
    return f"Numbers that would help are published: {listed}"
