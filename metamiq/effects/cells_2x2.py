"""The four cells of a 2x2 table, and what to do with zeros."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metamiq.effects.records import FloatArray, Rules, float_arrays, one_of
from metamiq.errors import DataError


class Cells(NamedTuple):
    """Events and non-events in group 1 (a, b) and group 2 (c, d).

    Attributes
    ----------
    a, b, c, d : ndarray
        Cells after the zero-cell rule; NaN in rows that ``drop00`` takes out.
    """

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray


def two_by_two(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    *,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> Cells:
    """Check counts and apply the zero-cell rule.

    `add` is added to all four cells of: the tables with at least one zero (``only0``), every table if any
    table has a zero (``if0all``), every table (``all``), or none (``none``). ``drop00`` leaves out tables
    without any event in both groups, or with nothing but events.

    Examples
    --------
    >>> cells = two_by_two([0, 4], [10, 123], [4, 11], [10, 139])
    >>> print([float(x) for x in cells.a])
    [0.5, 4.0]
    """
    one_of("to", to, ("all", "if0all", "none", "only0"))
    if not add >= 0:
        raise ValueError(f"add must be 0 or more, not {add!r}.")
    named: dict[str, ArrayLike] = {"ai": ai, "ci": ci}
    for total, other, count in (("n1i", "bi", (n1i, bi)), ("n2i", "di", (n2i, di))):
        if count[0] is None and count[1] is None:
            raise DataError(f"{total} or {other} must be given, but both are missing.")
        named |= {name: value for name, value in zip((total, other), count, strict=True) if value is not None}
    x = float_arrays(**named)
    rules = Rules(x)
    for name in ("ai", "bi", "ci", "di"):
        if name in x:
            rules.need(f"{name} must be 0 or more", x[name] >= 0, name)
    cells = {}
    for event, other, total in (("ai", "bi", "n1i"), ("ci", "di", "n2i")):
        with np.errstate(invalid="ignore"):  # infinite counts, which the rules name
            cells[other] = x[total] - x[event] if other not in x else x[other]
        if total in x:
            rules.need(f"{event} must not exceed {total}", x[event] <= x[total], event, total)
            rules.at_least(1, total)
            if other in x:
                with np.errstate(invalid="ignore"):
                    fits = np.abs(x[event] + x[other] - x[total]) <= 1e-9 * np.maximum(x[total], 1.0)
                rules.need(f"{event} + {other} must equal {total}", fits, event, other, total)
        else:
            rules.need(f"{event} + {other} must be at least 1", x[event] + x[other] >= 1, event, other)
    rules.check()
    raw = [np.array(cell) for cell in (x["ai"], cells["bi"], x["ci"], cells["di"])]
    if drop00:
        empty = ((raw[0] == 0) & (raw[2] == 0)) | ((raw[1] == 0) & (raw[3] == 0))
        raw = [np.where(empty, np.nan, cell) for cell in raw]
    has_zero = np.min(raw, axis=0) == 0
    adjust = {
        "only0": has_zero,
        "all": np.ones_like(has_zero, dtype=bool),
        "if0all": np.broadcast_to(np.any(has_zero), has_zero.shape),
        "none": np.zeros_like(has_zero, dtype=bool),
    }[to]
    return Cells(*(np.where(adjust, cell + add, cell) for cell in raw))
