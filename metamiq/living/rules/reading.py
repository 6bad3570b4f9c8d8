"""D01-D04: how the table was written and read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.material import Hit, Line, Material, grouped, rule

#: Beginnings of the reader's notes that tell of a guess.
GUESSES = (
    "semicolon separators",
    "tab separators",
    "bar separators",
    "decimal commas",
    "UTF-16",
    "first line 'sep='",
)
#: What statistics programs are told to write for a missing value.
CODES = {-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 888.0, 777.0}
LEAST_OTHERS = 3
FAR = 3.0

_SPREADSHEETS = "Broman & Woo 2018, The American Statistician 72:2-10"


@rule(
    "D01",
    "note",
    "separator, decimal or encoding guessed",
    why="A comma read as a decimal mark where it parts cells, or the other way round, changes every number.",
    do="Look at two or three numbers as they were read; save the table as UTF-8 with commas and decimal points.",
)
def _guessed(material: Material) -> Iterator[Hit]:
    told = [note for note in material.notes if any(guess in note for guess in GUESSES)]
    if told:
        yield Hit(None, "; ".join(told))


@rule(
    "D02",
    "warning",
    "missing-value code read as a number",
    why="A code such as -99 or 999 is pooled as if it had been measured.",
    do="Leave the cell empty if the value is missing.",
    reference=_SPREADSHEETS,
)
def _missing_codes(material: Material) -> Iterator[Hit]:
    for lines in (material.rows, material.trials, material.dropout):
        columns = dict.fromkeys(column for line in lines for column in line.cells)
        for column in columns:
            values = np.array([line.number(column) for line in lines])
            held = ~np.isnan(values) & np.isin(values, list(CODES))
            others = values[~np.isnan(values) & ~held]
            if not held.any() or len(others) < LEAST_OTHERS:
                continue
            for position in np.flatnonzero(held):
                code = values[position]
                negative = code < 0 and others.min() >= 0
                beyond = abs(code) > FAR * np.abs(others).max() > 0
                if negative or beyond:
                    span = f"{others.min():g} to {others.max():g}"
                    yield Hit(lines[position], f"{column} = {code:g}; the other {len(others)} values run from {span}")


@rule(
    "D03",
    "error",
    "duplicate ids",
    why="A row that stands twice is pooled twice; two trials under one key cannot be told apart.",
    do="Delete the copy, or give each row its own key.",
    reference=_SPREADSHEETS,
)
def _duplicates(material: Material) -> Iterator[Hit]:
    said: set[str] = set()
    for key, rows in grouped((_all_cells(row), row) for row in material.rows).items():
        if key and len(rows) > 1:
            said |= {row.place for row in rows}
            yield Hit(rows[1], f"all cells are those of {_others(rows)}")
    if material.ds is None:
        for key, rows in material.groups("trial_id").items():
            left = [row for row in rows if row.place not in said]
            if len(rows) > 1 and left and material.has("study"):
                yield Hit(rows[1], f"trial_id {key!r} stands also in {_others(rows)}")
    for label, rows in grouped((line.text("label"), line) for line in material.trials).items():
        if len(rows) > 1:
            yield Hit(rows[1], f"the label {label!r} stands also in {_others(rows)}")


def _all_cells(row: Line) -> str:
    """All cells as one text; empty when fewer than three are filled, which may agree by chance."""
    filled = [f"{column}={row.text(column)}" for column in row.cells if row.text(column)]
    return "|".join(filled) if len(filled) >= 3 else ""


def _others(rows: list[Line]) -> str:
    return f"{rows[0].place}" + (f" ({len(rows)} rows in all)" if len(rows) > 2 else "")


@rule(
    "D04",
    "note",
    "rows without an effect size",
    why="A row that lacks a number which the others have is left out, and trials with less to show lack it more often.",
    do="Look for the number elsewhere in the report (SE, interval, t, p; mm.g_from_t and its kin), or ask the authors.",
    reference="Cochrane Handbook, chapter 6",
)
def _incomplete(material: Material) -> Iterator[Hit]:
    if material.ds is not None:
        return
    names = next((names for names in _FAMILIES if material.has(*names)), None)
    if names is None:
        if not any(material.has(name) for name in _KNOWN):
            columns = ", ".join(map(str, material.frame.columns[:12])) + (
                " ..." if material.frame.shape[1] > 12 else ""
            )
            yield Hit(None, f"no column that an effect size could come from is known, only {columns}", "warning")
        elif material.has("yi"):
            yield Hit(None, "yi stands without vi or sei")
        return
    for row in material.rows:
        lacking = [name for name in names if row.number(name) != row.number(name)]
        if lacking:
            yield Hit(row, f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing")


#: Columns from which effect sizes are computed, in the order in which they are looked for.
_FAMILIES = (
    ("yi", "vi"),
    ("yi", "sei"),
    ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"),
    ("ai", "n1i", "ci", "n2i"),
    ("ai", "bi", "ci", "di"),
    ("ri", "ni"),
    ("xi", "ni"),
)

_KNOWN = {name for names in _FAMILIES for name in names if name[0] != "n"} | {
    "ti", "pi", "fi", "value", "mean_mi", "m1i_pre", "m1i_post", "printed_d", "printed_g", "ci_low", "ci_high",
}  # fmt: skip

RULES = (_guessed, _missing_codes, _duplicates, _incomplete)
