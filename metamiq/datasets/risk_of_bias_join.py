"""Judgements of risk of bias beside effects: the same study under one name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.datasets.faults import quoted
from metamiq.datasets.risk_of_bias import domains_of
from metamiq.errors import DataError

_NAMES = ("study", "trial_id", "label")


def join_risk_of_bias(effects: pd.DataFrame, rob: pd.DataFrame) -> pd.DataFrame:
    """The effects with the judgements of their studies, as columns that a forest plot shows as dots.

    Studies are matched by name (``study``, ``trial_id`` or ``label`` of the effects, whichever fits most rows), without
    regard to case and blanks. Several effects of a study share its judgements; studies that were judged and have no
    effect stay out.

    Parameters
    ----------
    effects : DataFrame
        A table of effects with the names of the studies.
    rob : DataFrame
        As `read_risk_of_bias` returns it.

    Returns
    -------
    DataFrame
        `effects` with ``rob_D1``, ``rob_D2`` ..., ``rob_overall``; ``attrs["risk_of_bias"]`` has their meanings.

    Raises
    ------
    DataError
        If the effects have no names, or a study of the effects is not among the judgements: all of them are listed.

    Examples
    --------
    Made-up numbers and judgements:

    >>> effects = pd.DataFrame({"study": ["a ", "b"], "yi": [0.1, 0.5], "vi": [0.04, 0.02]})
    >>> rob = pd.DataFrame({"study": ["B", "A"], "D1": ["low", "high"], "overall": ["low", "high"]})
    >>> join_risk_of_bias(effects, rob)["rob_overall"].tolist()
    ['high', 'low']
    """
    domains = domains_of(rob)
    at = match_studies(effects, rob["study"].tolist())
    out = effects.copy()
    for column in (*domains, "overall"):
        values = rob[column].tolist()
        out[f"rob_{column}"] = pd.Series([values[i] for i in at], index=out.index, dtype=object)
    meanings = {f"rob_{column}": title for column, title in domains.items()}
    out.attrs["risk_of_bias"] = {**meanings, "rob_overall": "Overall"}
    return out


def match_studies(effects: pd.DataFrame, names: Sequence[Any]) -> list[int]:
    """For each row of the effects, the position of its study in `names`; DataError names those that are not there."""
    known = {_key(name): i for i, name in enumerate(names)}
    columns = [c for c in _NAMES if c in effects]
    if not columns:
        raise DataError(
            f"The effects must name their studies (a column {', '.join(_NAMES)}), but their columns are "
            f"{', '.join(map(str, effects.columns))}. Add the column study."
        )
    found = {c: [known.get(_key(name)) for name in effects[c]] for c in columns}
    best = max(columns, key=lambda c: sum(i is not None for i in found[c]))
    at = found[best]
    lost = list(dict.fromkeys(str(n) for n, i in zip(effects[best], at, strict=True) if i is None))
    if lost:
        used = {i for i in at if i is not None}
        spare = [str(name) for i, name in enumerate(names) if i not in used]
        near = [(n, difflib.get_close_matches(n, spare, n=1)) for n in lost]
        hints = [f"{quoted(n)} (did you mean {quoted(close[0])}?)" if close else quoted(n) for n, close in near]
        rest = f"; judged and not matched: {', '.join(map(quoted, spare))}" if spare else ""
        raise DataError(
            f"Every study with an effect must be among the judged studies, but {len(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} not: {', '.join(hints)}{rest}. "
            "Give a study the same name in both; a study that was not judged may have empty cells."
        )
    return [int(i) for i in at if i is not None]


def weights_of(rob: pd.DataFrame, weights: object) -> NDArray[np.float64]:
    """The weight of each judged study: the same for all, as listed, by name, or those of a fit."""
    if weights is None:
        return np.ones(len(rob))
    effects = getattr(weights, "effects", None)
    if isinstance(effects, pd.DataFrame):
        at = match_studies(effects, rob["study"].tolist())
        out = np.zeros(len(rob))
        np.add.at(out, at, np.asarray(getattr(weights, "weights", None), dtype=float))
    elif isinstance(weights, Mapping):
        at = match_studies(pd.DataFrame({"study": list(weights)}), rob["study"].tolist())
        out = np.zeros(len(rob))
        np.add.at(out, at, np.asarray(list(weights.values()), dtype=float))
    else:
        out = np.asarray(weights, dtype=float)
        if out.shape != (len(rob),):
            raise ValueError(
                f"weights must have one number per judged study ({len(rob)}), but their shape is {out.shape}."
            )
    if not (np.isfinite(out).all() and (out >= 0).all() and out.sum() > 0):
        raise DataError(
            "Weights must be finite, none below 0, and one of them above 0. Leave them out to count studies."
        )
    return out


def _key(name: object) -> str:
    return " ".join(str(name).split()).casefold()
