"""Which rows of a typed table its model must look at one by one: every row that breaks one of its rules.

The rules are the model's: the ranges of its columns, and its `RULES`, asked of whole columns at once. A large table
that breaks none is cleared in the time of a few comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamiq.datasets.columns import Column, columns_of
from metamiq.datasets.models import Row

_OUTSIDE = {
    "minimum": np.less,
    "maximum": np.greater,
    "exclusiveMinimum": np.less_equal,
    "exclusiveMaximum": np.greater_equal,
}


def rows_to_check(model: type[Row], values: Mapping[str, Sequence[Any] | NDArray[np.float64]], n: int) -> list[int]:
    """Positions of the rows that the model may refuse; all of them where it has rules that columns cannot answer.

    Parameters
    ----------
    model : type of Row
        The model.
    values : mapping of str to sequence
        The columns of the table: known numbers as float64 with NaN for an empty cell, text in any form.
    n : int
        Number of rows.

    Returns
    -------
    list of int
        In order.

    Examples
    --------
    >>> from metamiq.datasets.study_models import StudyRow
    >>> rows_to_check(StudyRow, {"sd1i": np.array([2.0, 0.0, np.nan]), "n1i": np.array([1.0, 9.0, 1.0])}, 3)
    [0, 1]
    """
    known = columns_of(model)
    own_rules = model.problems is not Row.problems
    if own_rules or any(c.required or (c.name in values and not c.only_range) for c in known.values()):
        return list(range(n))
    refused = np.zeros(n, dtype=bool)
    numbers = {name: np.asarray(values[name]) for name, c in known.items() if c.is_number and name in values}
    for name, column in numbers.items():
        refused |= _out_of_range(column, known[name])
    for rule in model.RULES:
        if numbers.keys() >= {*rule.columns}:
            columns = [numbers[name] for name in rule.columns]
            with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond the largest float is not equal either
                refused |= rule.broken(*columns) & ~np.isnan(columns).any(axis=0)
    positions: list[int] = np.flatnonzero(refused).tolist()
    return positions


def _out_of_range(column: NDArray[np.float64], definition: Column) -> NDArray[np.bool_]:
    """Which cells are filled and outside the range or, in a column of whole numbers, not whole."""
    refused = np.zeros(len(column), dtype=bool)
    for limit, beyond in _OUTSIDE.items():
        if limit in definition.limits:
            refused |= beyond(column, definition.limits[limit])  # false for NaN
    if definition.type == "integer":
        refused |= (column != np.floor(column)) & ~np.isnan(column)
    return refused
