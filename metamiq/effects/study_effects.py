"""The effect sizes of a study table: its own, or computed from what it holds."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from metamiq.effects.measures import effect_sizes
from metamiq.errors import DataError


class StudyEffects(NamedTuple):
    """The rows of a table that have an effect size, and the names of the others."""

    effects: pd.DataFrame
    left_out: list[str]


def study_effects(table: pd.DataFrame, measure: str | None, vtype: str | None = None) -> StudyEffects:
    """Give a study table yi and vi: by a measure, or its own (of standard errors, vi = sei ** 2).

    Parameters
    ----------
    table : DataFrame
        From `read_table`.
    measure : str, optional
        What to compute; None takes the table's own effect sizes.
    vtype : str, optional
        Variance formula; by default the measure's own.

    Raises
    ------
    DataError
        If there is neither a measure nor an effect size, the rows are of several analyses, or values are impossible.
    ValueError
        If the measure or its variance formula is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["a", "b"], "yi": [0.5, None], "sei": [0.2, 0.1]})
    >>> effects, left_out = study_effects(table, None)
    >>> print(effects.to_string(index=False), left_out)
    study  yi  sei   vi
        a 0.5  0.2 0.04 ['b']
    """
    if "several" in table.attrs:
        raise DataError(table.attrs["several"])
    if measure is not None:
        effects = effect_sizes(table, measure, **({} if vtype is None else {"vtype": vtype}))
    elif {"yi", "vi"} <= set(table.columns):
        effects = table
    elif {"yi", "sei"} <= set(table.columns):
        effects = table.assign(vi=table["sei"] ** 2)
    else:
        raise DataError(
            "The table must have yi and vi, or --measure must say what to compute, but its columns are "
            f"{', '.join(map(str, table.columns))}. Give --measure SMD for means and SDs, --measure OR for counts; or "
            'say which column is which, for instance --column "NAME=yi" --column "NAME=sei".'
        )
    missing = (effects["yi"].isna() | effects["vi"].isna()).to_numpy()
    label = next((c for c in ("study", "trial_id", "label") if c in effects), None)
    names = [
        str(effects[label].iloc[i]) if label is not None else f"row {i + 1}" for i in missing.nonzero()[0].tolist()
    ]
    return StudyEffects(effects.loc[~missing] if names else effects, names)
