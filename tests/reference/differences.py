"""Run the tests of a feature and note how far apart the numbers are that they compare.

`assert_allclose` and `agrees` of a test file are replaced while its tests run, so that what is measured is what is
tested, and a failing test stops the measurement. A difference is divided by the other value's size or, where that is
close to zero, by the size at which the test's absolute tolerance takes over. p-values are compared by their difference:
their digits are decimals.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import linecache
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

TESTS = Path(__file__).resolve().parent.parent
MOST = 10  # beyond these digits rounding decides, which differs between machines
P_VALUE = re.compile(r"p_value|pvalue|[A-Za-z0-9]_p\b")
ParameterSet = type(pytest.param(0))

Case = dict[str, Any]


def everything(case: Case) -> bool:
    return True


@dataclass(frozen=True)
class Row:
    """A line of the table: tests ("file::function", without test_) and which of their cases belong to it."""

    feature: str
    software: str
    tests: tuple[str, ...]
    where: Callable[[Case], bool] = everything


@cache
def tests_of(file: str) -> ModuleType:
    """A test file as a module."""
    spec = importlib.util.spec_from_file_location(f"agreement_{file}", TESTS / f"test_{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs(row: Row) -> Iterator[tuple[str, ModuleType, Callable[..., object], Case]]:
    """Every run of the row's tests: a name, the file, the function and its arguments."""
    for test in row.tests:
        file, name = test.split("::")
        module = tests_of(file)
        *group, name = name.split(".")
        function = getattr(getattr(module, group[0])() if group else module, f"test_{name}")
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        for chosen in itertools.product(*(_arguments(*mark.args[:2]) for mark in marks)):
            arguments = {key: value for part in chosen for key, value in part.items()}
            if row.where(arguments):
                labels = [str(v["id"] if isinstance(v, dict) else v) for v in arguments.values() if not callable(v)]
                yield " ".join(labels) or name, module, function, arguments


def _arguments(names: str | tuple[str, ...], values: Any) -> list[Case]:
    keys = names.replace(" ", "").split(",") if isinstance(names, str) else list(names)
    sets = [v.values if isinstance(v, ParameterSet) else v if len(keys) > 1 else (v,) for v in values]
    return [dict(zip(keys, chosen, strict=True)) for chosen in sets]


class Notes:
    """The largest difference among the values that the tests compare."""

    def __init__(self) -> None:
        self.values = 0
        self.largest = 0.0  # of everything but p-values, relative
        self.p_largest: float | None = None
        self.at = ""
        self.case = ""

    def allclose(
        self, actual: Any, desired: Any, rtol: float | None = None, atol: float = 0, err_msg: str = ""
    ) -> None:
        """`numpy.testing.assert_allclose`, noted: a difference beyond the tolerance stops the script."""
        assert_allclose(actual, desired, rtol=1e-7 if rtol is None else rtol, atol=atol, err_msg=err_msg)
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        where = inspect.getframeinfo(frame.f_back)
        assert where.positions is not None
        lines = range(where.positions.lineno or 0, (where.positions.end_lineno or 0) + 1)
        text = "".join(linecache.getline(where.filename, line) for line in lines) + err_msg
        # With an absolute tolerance alone, the largest of the values says how large they are.
        self.note(actual, desired, atol / rtol if rtol else None, P_VALUE.search(text) is not None)

    def agrees(self, printed: str, computed: float) -> bool:
        """Whether `computed` rounds to `printed`, noted."""
        self.note(computed, float(printed), 0.0, False)
        half_unit = Decimal(1).scaleb(int(Decimal(printed).as_tuple().exponent)) / 2
        return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= half_unit

    def note(self, actual: Any, desired: Any, floor: float | None, probabilities: bool) -> None:
        """Count the values and keep the largest difference, relative to `floor` at least."""
        ours, theirs = np.broadcast_arrays(np.asarray(actual, dtype=float), np.asarray(desired, dtype=float))
        finite = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[finite], theirs[finite]
        self.values += ours.size
        gap = np.abs(ours - theirs)
        if gap.size == 0:
            return
        if probabilities:
            self.p_largest = max(self.p_largest or 0.0, float(gap.max()))
            return
        floor = float(np.abs(theirs).max()) if floor is None else floor
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = float(np.nan_to_num(gap / np.maximum(np.abs(theirs), floor)).max())
        if relative > self.largest or not self.at:
            self.largest, self.at = max(relative, self.largest), self.case


@dataclass(frozen=True)
class Measured:
    """What one line of the table says."""

    cases: int
    values: int
    largest: float
    p_largest: float | None
    at: str


def measure(row: Row, chosen: Callable[[int, str], bool] = lambda place, name: True) -> Measured:
    """Run the row's tests (those whose place and name are `chosen`) and note the largest difference."""
    notes = Notes()
    cases = 0
    for place, (name, module, function, arguments) in enumerate(runs(row)):
        cases += 1
        if not chosen(place, name):
            continue
        notes.case = name
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "assert_allclose", notes.allclose)
            patch.setattr(module, "agrees", notes.agrees, raising=False)
            function(**arguments)
    return Measured(cases, notes.values, notes.largest, notes.p_largest, notes.at)


def digits(difference: float | None) -> str:
    """Digits (or decimals) that a difference leaves: "8", or "10+" where rounding decides."""
    if difference is None:
        return "–"
    whole = MOST if difference == 0 else math.floor(-math.log10(difference))
    return f"{MOST}+" if whole >= MOST else str(whole)
