"""Dropout counts of each arm, side by side as the two-group calculators want them."""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from metamiq.effects.trials import ARMS
from metamiq.errors import DataError


class DropoutEvidence(Protocol):
    """What a dataset must hold here."""

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial."""

    @property
    def dropout(self) -> pd.DataFrame:
        """One row per trial, stage and arm."""


def dropout_counts(ds: DropoutEvidence) -> pd.DataFrame:
    """One row per trial whose dropout is known in both arms.

    Parameters
    ----------
    ds : Dataset
        With the tables ``trials`` and ``dropout`` (one row per trial, stage and arm).

    Returns
    -------
    DataFrame
        ``trial_id label stage ai n1i ci n2i certainty source note``: dropouts `ai` of `n1i` with MI + CBT and
        `ci` of `n2i` with CBT. Rows without counts in both arms are left out: a percentage without its arm
        size is no count.

    Raises
    ------
    DataError
        If a trial reports dropout at more than one stage with whole counts: which one counts must then be
        chosen.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> arms = pd.DataFrame({"trial_id": ["a", "a"], "stage": ["treatment"] * 2, "arm": ["mi", "cbt"],
    ...                      "n": [42, 43], "dropouts": [4, 10], "certainty": ["reported"] * 2,
    ...                      "source": ["abstract"] * 2, "note": [None, None]})
    >>> ds = SimpleNamespace(trials=pd.DataFrame({"trial_id": ["a"], "label": ["A 2016"]}), dropout=arms)
    >>> print(*dropout_counts(ds)[["label", "ai", "n1i", "ci", "n2i"]].iloc[0])
    A 2016 4 42 10 43
    """
    labels = dict(zip(ds.trials["trial_id"], ds.trials["label"], strict=True))
    whole = ds.dropout[ds.dropout["n"].notna() & ds.dropout["dropouts"].notna()]
    rows = []
    for (trial, stage), arms in whole.groupby(["trial_id", "stage"], sort=True):
        by_arm = {str(arm["arm"]): arm for _, arm in arms.iterrows()}
        if set(by_arm) != {"mi", "cbt"}:
            continue
        mi, cbt = by_arm["mi"], by_arm["cbt"]
        notes = [str(x) for x in (mi["note"], cbt["note"]) if isinstance(x, str) and x]
        rows.append(
            {
                "trial_id": trial,
                "label": labels.get(trial, trial),
                "stage": stage,
                "ai": int(mi["dropouts"]),
                "n1i": int(mi["n"]),
                "ci": int(cbt["dropouts"]),
                "n2i": int(cbt["n"]),
                "certainty": mi["certainty"],
                "source": mi["source"],
                "note": " ".join(notes),
            }
        )
    columns = ["trial_id", "label", "stage", "ai", "n1i", "ci", "n2i", "certainty", "source", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["groups"] = ARMS
    repeated = sorted(set(table.loc[table["trial_id"].duplicated(), "trial_id"]))
    if repeated:
        raise DataError(
            f"A trial must have whole dropout counts at one stage only, but {', '.join(repeated)} has several. "
            "Keep the stage to be analysed in dropout.csv, or leave the counts of the others empty."
        )
    return table
