"""Comparing what a bundle holds with what is computed from its data here, value by value."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import pandas as pd

import metamiq
from metamiq.datasets.faults import visible
from metamiq.living.archive import SUMS

_MOST_LISTED = 1_000  # faults of one file
_LONGEST_SHOWN = 300  # signs of one value


class Fault(NamedTuple):
    """One thing that differs: where, what the bundle holds, what is so here, and to how many digits they agree."""

    place: str
    stored: str
    computed: str
    digits: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What checking a bundle found.

    Attributes
    ----------
    faults : DataFrame
        ``place stored computed digits``: checksums that do not fit, and numbers or words that differ; `digits` is to
        how many significant digits they agree, NaN where that has no meaning.
    n_files, n_values : int
        Files and values that were compared.
    versions : dict of str to (str, str)
        Programs of another version than the bundle's: stored, here.
    """

    faults: pd.DataFrame
    n_files: int
    n_values: int
    versions: dict[str, tuple[str, str]]

    @property
    def agrees(self) -> bool:
        """Whether every file and every value is the same."""
        return self.faults.empty

    def summary(self) -> str:
        """What was compared and each fault; the caller prints it."""
        # What a bundle says comes from somebody else.
        head = f"{self.n_files} files and {self.n_values} values compared; {len(self.faults)} differ."
        lines = [f"{r['place']}: stored {r['stored']}, here {r['computed']}"
                 + ("" if math.isnan(r["digits"]) else f" ({r['digits']:.0f} digits agree)")
                 for r in self.faults.to_dict(orient="records")]  # fmt: skip
        lines += [f"{name}: {old} then, {new} here" for name, (old, new) in self.versions.items()]
        return "\n".join(visible(line.replace("\n", " ")) for line in [head, *lines])


def verification(faults: Iterable[Fault], files: Mapping[str, bytes], n_values: int, settings: Any) -> Verification:
    """The record of what was found; of each value no more is shown than can be read."""
    shown = [Fault(_short(f.place), _short(f.stored), _short(f.computed), f.digits) for f in faults]
    table = pd.DataFrame(shown, columns=list(Fault._fields)).astype({"digits": float})
    return Verification(table, len(files) - 1, n_values, other_versions(settings))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ... ({len(text):,} signs)"


def versions(*more: str) -> dict[str, str]:
    """Versions of metamiq, of the libraries that compute its numbers, and of `more`."""
    return {"metamiq": metamiq.__version__, **{name: version(name) for name in ("numpy", "scipy", "pandas", *more)}}


def other_versions(settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Programs of another version than those that `settings` names: stored, here."""
    then = settings.get("versions")
    then, here = then if isinstance(then, dict) else {}, versions("formulaic", "matplotlib")
    return {str(n): (str(v), here.get(n, "none")) for n, v in then.items() if here.get(n) != v}


def wrong_sums(files: Mapping[str, bytes]) -> list[Fault]:
    """Files whose checksum is not the stated one, or that only one of the list and the bundle has."""
    stated = {}
    for line in files[SUMS].decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        stated[name] = digest
    faults = []
    for name in sorted({*stated, *files} - {SUMS}):
        here = hashlib.sha256(files[name]).hexdigest() if name in files else "no such file"
        if stated.get(name, "no checksum") != here:
            faults.append(Fault(name, stated.get(name, "no checksum"), here))
    return _listed(faults, SUMS, "files")


def wrong_files(files: Iterable[str], expected: Iterable[str]) -> list[Fault]:
    """Files that a bundle should have and has not, or the other way round."""
    there, wanted = set(files), set(expected)
    lacking = [Fault(name, "no such file", "part of such a bundle") for name in sorted(wanted - there)]
    return lacking + [Fault(name, "a file", "no part of such a bundle") for name in sorted(there - wanted)]


def differing(stored: Any, computed: Any, file: str) -> tuple[list[Fault], int]:
    """Values of two JSON objects that differ, and how many are stored.

    Examples
    --------
    >>> faults, n = differing({"a": {"x": 0.34061, "y": "1"}}, {"a": {"x": 0.34058, "y": 1}}, "results.json")
    >>> for fault in faults:
    ...     print(*fault)
    results.json: a.x 0.34061 0.34058 4.0
    results.json: a.y "1" 1 nan
    """
    old, new = dict(_flat(stored)), dict(_flat(computed))
    faults = []
    opened = {place[:n] for place in [*old, *new] for n in range(len(place))}  # empty on one side, filled on the other
    for place in dict.fromkeys([*old, *new]):
        if place in opened or (place in old and place in new and _same(old[place], new[place])):
            continue
        x, y = (_word(side[place]) if place in side else "nothing" for side in (old, new))
        if x == y:  # a number and the same as text
            x, y = json.dumps(old[place]), json.dumps(new[place])
        faults.append(Fault(f"{file}: {'.'.join(place)}", x, y, digits(x, y)))
    return _listed(faults, file, "values"), len(old)


def _flat(value: Any, place: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Each value with the keys that lead to it; numbered from 1 in a list."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for key, inner in items:
            yield from _flat(inner, (*place, str(key)))
    else:
        yield place, value


def _same(x: Any, y: Any) -> bool:
    return type(x) is type(y) and _word(x) == _word(y)


def _word(x: Any) -> str:
    return repr(x) if isinstance(x, float) else str(x)


def differing_cells(stored: str, computed: str, file: str) -> tuple[list[Fault], int]:
    """Cells of two CSV files that differ, by row (the first below the header is 1) and column."""
    try:
        old, new = ([*csv.reader(io.StringIO(text, newline=""))] for text in (stored, computed))
    except csv.Error as error:  # a cell of more than 131,072 signs, say
        return [Fault(file, str(error), "a table")], 1
    header = new[0]
    faults: list[Fault] = []
    for i in range(max(len(old), len(new))):
        ours, theirs = old[i] if i < len(old) else [], new[i] if i < len(new) else []
        if ours == theirs:
            continue
        for j in range(max(len(ours), len(theirs))):
            x, y = (row[j] if j < len(row) else "nothing" for row in (ours, theirs))
            if x != y:
                column = header[j] if j < len(header) else f"column {j + 1}"
                faults.append(Fault(f"{file}: row {i}, {column}" if i else f"{file}: header", x, y, digits(x, y)))
    if not faults and stored != computed:  # quotes, or the ends of lines
        faults.append(Fault(file, "the same cells, written otherwise", "as metamiq writes them"))
    return _listed(faults, file, "cells"), sum(map(len, old))


def _listed(faults: list[Fault], file: str, what: str) -> list[Fault]:
    if len(faults) <= _MOST_LISTED:
        return faults
    rest = Fault(file, f"{len(faults) - _MOST_LISTED:,} more {what}", "other ones")
    return [*faults[:_MOST_LISTED], rest]


def digits(x: str, y: str) -> float:
    """Significant digits to which two numbers agree; NaN when one is none.

    Examples
    --------
    >>> digits("0.34061", "0.34058"), digits("mi", "cbt")
    (4.0, nan)
    """
    try:
        a, b = float(x), float(y)
    except ValueError:
        return math.nan
    if not (math.isfinite(a) and math.isfinite(b)) or max(abs(a), abs(b)) == 0:
        return math.nan
    gap = abs(a - b) / max(abs(a), abs(b))
    return math.inf if gap == 0 else float(max(0, math.floor(-math.log10(gap))))
