"""Rules that join the columns of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A rule across columns that a row breaks: the column to look at, what must hold, what came, what to do."""

    column: str
    rule: str
    came: str
    advice: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule across columns of numbers, which holds for a row in which one of them is empty.

    Attributes
    ----------
    columns : tuple of str
        The columns that it joins.
    broken : callable
        Whether their values, in that order, break it: of one row, or of whole columns as arrays (so no ``and``).
    column : str
        The one to look at.
    rule : str
        What must hold.
    came : callable
        What came, in words, from the values of one row.
    advice : str
        What to do.
    """

    columns: tuple[str, ...]
    broken: Callable[..., Any]
    column: str
    rule: str
    came: Callable[..., str]
    advice: str


def below(low: str, high: str) -> Rule:
    """The ends of an interval must not be swapped."""
    return Rule(
        (low, high),
        lambda lower, upper: lower >= upper,
        low,
        f"{low} must be below {high}",
        lambda lower, upper: f"they are {lower:.10g} and {upper:.10g}",
        "Check whether they are swapped.",
    )
