"""What every effect-size function returns, and how it refuses rows that cannot be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metamiq.arguments import check_level as check_level
from metamiq.arguments import check_same_rows, numbers
from metamiq.arguments import one_of as one_of
from metamiq.errors import DataError

FloatArray = NDArray[np.float64]


class EffectSizes(NamedTuple):
    """Effect sizes and their sampling variances.

    Attributes
    ----------
    yi : ndarray or float64
        Effect size; NaN where the measure is undefined (the function's docstring says when).
    vi : ndarray or float64
        Sampling variance of `yi`, the square of its standard error.
    """

    yi: Any
    vi: Any

    def __repr__(self) -> str:
        if np.ndim(self.yi) == 0 and np.ndim(self.vi) == 0:
            return f"EffectSizes(yi={float(self.yi)!r}, vi={float(self.vi)!r})"
        return f"EffectSizes(yi={self.yi!r}, vi={self.vi!r})"


class Fault(NamedTuple):
    """One value that breaks a rule: where it is (position in the flattened input), the rule, what came."""

    position: int
    rule: str
    came: str


class BadRowsError(DataError):
    """A `DataError` that still knows its rows, so that a caller with study names can say them."""

    def __init__(self, faults: Sequence[Fault], where: Callable[[int], str] | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__(describe_faults(self.faults, where))


def describe_faults(faults: Sequence[Fault], where: Callable[[int], str] | None = None) -> str:
    """Put faults in one sentence, one clause per rule, rows in order."""
    place = where if where is not None else lambda position: f"row {position + 1}"
    by_rule: dict[str, list[Fault]] = {}
    for fault in faults:
        by_rule.setdefault(fault.rule, []).append(fault)
    clauses = [
        f"{rule}, but "
        + ", ".join(f"{place(f.position)} has {f.came}" for f in sorted(found, key=lambda f: f.position))
        for rule, found in by_rule.items()
    ]
    return "; ".join(clauses) + ". Check these values against their source."


def float_arrays(**values: ArrayLike | None) -> dict[str, FloatArray]:
    """Broadcast named inputs to one shape as float64; a text or an unbroadcastable shape is a `DataError`."""
    check_same_rows(**values)
    arrays: dict[str, FloatArray] = {}
    for name, value in values.items():
        if value is None:
            raise DataError(f"{name} must be given, but it is missing.")
        arrays[name] = numbers(value, name)
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError as problem:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            f"All inputs must have one length or be single numbers, but the shapes are {shapes}."
        ) from problem
    return {name: np.broadcast_to(array, shape) for name, array in arrays.items()}


# Between these, the fourth power of a mean over an SD, the highest that a formula takes, stays a number.
SMALLEST, LARGEST = 1e-30, 1e30


class Rules:
    """Collects every broken rule of a set of named arrays, then raises once."""

    def __init__(self, arrays: dict[str, FloatArray]) -> None:
        self.arrays = arrays
        self.faults: list[Fault] = []
        for name, array in arrays.items():
            size = np.abs(array)
            if not (size <= LARGEST).all():
                self.need(f"{name} must be a finite number", np.isfinite(array), name)
                self.need(f"{name} must be at most {LARGEST:g} in size", size <= LARGEST, name)

    def need(self, rule: str, holds: NDArray[np.bool_], *names: str) -> Rules:
        """Record each position where `holds` is false; values that are not numbers are reported only once."""
        shown = [np.ravel(self.arrays[name]) for name in names]
        bad = ~np.ravel(holds)
        if self.faults:
            bad = bad.copy()
            bad[[fault.position for fault in self.faults if fault.rule.endswith("finite number")]] = False
        for position in np.flatnonzero(bad):
            values = [_show(array[position]) for array in shown]
            came = values[0] if len(names) == 1 else ", ".join(f"{n} {v}" for n, v in zip(names, values, strict=True))
            self.faults.append(Fault(int(position), rule, came))
        return self

    def positive(self, *names: str) -> Rules:
        """Each named value is above 0, and so far that its square is too."""
        for name in names:
            array = self.arrays[name]
            self.need(f"{name} must be greater than 0", array > 0, name)
            self.need(f"{name} must be at least {SMALLEST:g}", ~((array > 0) & (array < SMALLEST)), name)
        return self

    def same_sign(self, first: str, second: str) -> Rules:
        """Two named values are on the same side of 0, and so far from it that their ratio is a number."""
        a, b = self.arrays[first], self.arrays[second]
        alike = (np.sign(a) == np.sign(b)) & (a != 0)
        self.need(f"{first} and {second} must have the same sign and not be 0", alike, first, second)
        far = np.minimum(np.abs(a), np.abs(b)) >= SMALLEST
        return self.need(f"{first} and {second} must be at least {SMALLEST:g} in size", far | ~alike, first, second)

    def at_least(self, least: float, *names: str) -> Rules:
        """Each named value is at least `least`."""
        for name in names:
            self.need(f"{name} must be at least {least:g}", self.arrays[name] >= least, name)
        return self

    def between(self, low: float, high: float, *names: str) -> Rules:
        """Each named value lies within [low, high]."""
        for name in names:
            array = self.arrays[name]
            self.need(f"{name} must be between {low:g} and {high:g}", (array >= low) & (array <= high), name)
        return self

    def check(self) -> None:
        """Raise if anything was recorded."""
        if self.faults:
            raise BadRowsError(self.faults)


def _show(value: float) -> str:
    return "no value" if np.isnan(value) else f"{value:g}"


def as_effects(yi: ArrayLike, vi: ArrayLike) -> EffectSizes:
    """Scalars in, scalars out: 0-d arrays become float64 numbers that format like any float."""
    y, v = np.broadcast_arrays(np.asarray(yi, dtype=np.float64), np.asarray(vi, dtype=np.float64))
    return EffectSizes(np.array(y)[()], np.array(v)[()])


def defined(yi: ArrayLike, vi: ArrayLike) -> EffectSizes:
    """Give NaN for both numbers wherever either of them has no finite value."""
    y, v = np.asarray(yi, dtype=np.float64), np.asarray(vi, dtype=np.float64)
    usable = np.isfinite(y) & np.isfinite(v)
    return as_effects(np.where(usable, y, np.nan), np.where(usable, v, np.nan))
