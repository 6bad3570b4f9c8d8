"""S01-S03: which way is better."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.material import Hit, Line, Material, grouped, keys_of, rule

ESTIMATES = ("d", "g", "smd", "t", "F", "ci", "p", "means", "change_means")
LEAST_ROWS = 4  # rows with an effect and the authors' words from which the table's own orientation can be read
CLEAR_SHARE = 0.75

_HANDBOOK = "Cochrane Handbook, chapter 6"


@rule(
    "S01",
    "warning",
    "direction of an instrument missing",
    why="On some instruments a high score is good and on others bad; pooled without turning, they cancel.",
    do="Fill higher_is_better (yes or no) from the paper that defines the instrument, or favours from the report.",
    reference=_HANDBOOK,
)
def _direction_missing(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        if "inferred" in row.text("certainty") and row.text("report") in ESTIMATES:
            yield Hit(row, f"the direction is not stated by the source: certainty is {row.text('certainty')!r}")
    instruments = material.groups("instrument")
    if len(instruments) < 2:  # one instrument: its direction is that of the whole table
        return
    for instrument, rows in instruments.items():
        blank = [
            row for row in rows if row.direction == 0 and row.favours == 0 and row.number("m1i") == row.number("m1i")
        ]
        if blank and not any(row.direction for row in rows):
            yield Hit(blank[0], f"nothing says whether a high {instrument} is good ({keys_of(blank)})")


@rule(
    "S02",
    "error",
    "sign contradicts the authors' own words",
    why="An effect with the wrong sign does twice the harm of a missing one.",
    do="Read again which arm did better, and whether a high score is good; then correct the sign, the arms or favours.",
    reference="Gøtzsche et al. 2007, JAMA 298:430-437",
)
def _sign_contradicts(material: Material) -> Iterator[Hit]:
    turned = _orientation(material)
    for row in material.rows:
        if not row.favours:
            continue
        effect = row.number("yi")
        by_effect = int(np.sign(effect)) * turned if effect == effect else 0, f"yi = {effect:g}"
        for better, shown in (_better(row), by_effect):
            if better == -row.favours:
                says = row.text("favours")
                yield Hit(row, f"favours is {says!r}, but {shown} says that group {1 if better > 0 else 2} did better")
                break


def _better(row: Line) -> tuple[int, str]:
    """The group that the numbers say did better (1, -1, or 0 when they do not say), and the numbers."""
    m1, m2 = row.numbers("m1i", "m2i")
    if m1 != m2 and m1 == m1 and m2 == m2 and row.direction:
        good = "high" if row.direction > 0 else "low"
        return int(np.sign(m1 - m2)) * row.direction, f"m1i = {m1:g} and m2i = {m2:g} (a {good} score is good)"
    if row.text("report") in ("d", "g", "smd", "t"):  # positive by definition when group 1 did better
        value = row.number("value")
        return (int(np.sign(value)) if value == value else 0), f"{row.text('report')} = {value:g}"
    return 0, ""


def _orientation(material: Material) -> int:
    """1 or -1: a positive yi means that group 1, or group 2, did better, as most rows have it; 0: it cannot be told."""
    rows = [row for row in material.rows if row.favours and abs(row.number("yi")) > 0]
    votes = [np.sign(row.number("yi")) * row.favours for row in rows]
    if len(votes) < LEAST_ROWS:  # the convention, unless yi may be a plain difference of the means beside it
        return 0 if any(row.number("m1i") == row.number("m1i") for row in rows) else 1
    share = float(np.mean([vote > 0 for vote in votes]))
    return 1 if share >= CLEAR_SHARE else -1 if share <= 1 - CLEAR_SHARE else 0


@rule(
    "S03",
    "error",
    "mixed directions of one instrument",
    why="One instrument runs one way; rows that disagree pull the pooled effect in both.",
    do="Decide from the paper that defines the instrument, and turn the rows that are wrong.",
    reference=_HANDBOOK,
)
def _mixed_directions(material: Material) -> Iterator[Hit]:
    pairs = ((f"{row.text('instrument')}|{row.score}" if row.text("instrument") else "", row) for row in material.rows)
    for key, rows in grouped(pairs).items():
        instrument = key.partition("|")[0]
        stated = grouped(({1: "yes", -1: "no"}.get(row.direction, ""), row) for row in rows)
        if len(stated) > 1:
            odd = min(stated, key=lambda said: len(stated[said]))
            yield Hit(stated[odd][0], f"higher_is_better for {instrument} is {odd!r} in {keys_of(stated[odd])} only")
            continue
        for of, words in (
            (_implied, "the arm said to do better has the"),
            (_sign_of_effect, "a positive yi goes with the"),
        ):
            signs = grouped(({1: "higher", -1: "lower"}.get(of(row), ""), row) for row in rows)
            if len(signs) > 1 and not stated:
                odd = min(signs, key=lambda sign: len(signs[sign]))
                share = f"in {len(signs[odd])} of {sum(map(len, signs.values()))} rows with {instrument}"
                yield Hit(signs[odd][0], f"{words} {odd} mean {share} ({keys_of(signs[odd])}), elsewhere the other way")
                break


def _implied(row: Line) -> int:
    """1: the arm that did better in the authors' words has the higher mean."""
    gap = row.number("m1i") - row.number("m2i")
    return int(np.sign(gap)) * row.favours if gap == gap else 0


def _sign_of_effect(row: Line) -> int:
    """1: yi has the sign of m1i - m2i; only clear effects count."""
    gap, effect = row.number("m1i") - row.number("m2i"), row.number("yi")
    return int(np.sign(gap) * np.sign(effect)) if gap == gap and abs(effect) > 0.05 else 0


RULES = (_direction_missing, _sign_contradicts, _mixed_directions)
