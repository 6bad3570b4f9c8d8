"""U01-U05: people counted twice, or counted as if they were independent."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metamiq.living.rules.material import Hit, Line, Material, grouped, keys_of, rule

_CONTROL = ("m2i", "sd2i", "n2i", "ci", "di")
_LETTER = re.compile(r"(?<=\d{4})\s*[a-z]$", re.IGNORECASE)  # "smith 2010a" and "smith 2010b"


@rule(
    "U01",
    "warning",
    "shared control arm counted twice",
    why="The same people stand in several rows: the trial gets too much weight and the interval is too narrow.",
    do="Merge the arms, split the control group (mm.split_shared_control), or fit mm.multilevel.",
    reference="Cochrane Handbook, chapter 23; Senn 2009, BMC Medical Research Methodology 9:10",
)
def _shared_control(material: Material) -> Iterator[Hit]:
    for rows in _sharing(material):
        cells = ", ".join(f"{c} = {rows[0].number(c):g}" for c in _CONTROL if rows[0].number(c) == rows[0].number(c))
        yield Hit(rows[0], f"{len(rows)} rows have the same group 2 ({cells}): {_places(rows)}")


def report_of(row: Line) -> str:
    """The study of a row, without the letter that tells two comparisons of one report apart."""
    return _LETTER.sub("", row.study.casefold())


def _sharing(material: Material) -> list[list[Line]]:
    """Rows of one study with the same control group, the same outcome and the same time."""

    def key(row: Line) -> str:
        study = report_of(row)
        control = [row.number(column) for column in _CONTROL]
        known = sum(value == value for value in control)
        if not study or known < 2:  # a size alone is shared by chance
            return ""
        what = (
            row.text(c) for c in ("outcome", "instrument", "timepoint", "domain", "followup_weeks", "followup_months")
        )
        return "|".join([study, *map(str, control), *what])

    if not material.ds and not (material.has("study") or material.has("trial_id") or material.has("label")):
        return []
    groups = grouped((key(row), row) for row in material.rows).values()
    return [rows for rows in groups if len(rows) > 1 and not all(_same_arm_1(rows[0], row) for row in rows[1:])]


def _same_arm_1(one: Line, two: Line) -> bool:
    columns = ("m1i", "sd1i", "n1i", "ai", "bi")
    return all(one.text(column) == two.text(column) for column in columns)


def _places(rows: list[Line]) -> str:
    if len({row.key for row in rows}) > 1:
        return keys_of(rows)
    numbers = [row.place.rsplit(" ", 1)[-1] for row in rows]
    kind = "lines" if " line " in rows[0].place else "rows"
    return f"{rows[0].key}, {kind} {', '.join(numbers[:6])}" + (" ..." if len(numbers) > 6 else "")


@rule(
    "U02",
    "note",
    "several outcomes of a trial pooled as if independent",
    why="Rows of one study share people; random_effects takes them as independent and gives too narrow an interval.",
    do="Fit mm.multilevel(effects, cluster='study'), combine them (mm.aggregate), or choose one.",
    reference="Borenstein et al. 2009, Introduction to Meta-Analysis, chapter 24",
)
def _several_rows(material: Material) -> Iterator[Hit]:
    if material.ds is not None:  # the evidence's rule takes one result of a trial
        return
    if not material.has("study"):
        return
    shared = {row.place for rows in _sharing(material) for row in rows}
    several = {study: rows for study, rows in material.groups("study").items() if len(rows) > 1}
    several = {study: rows for study, rows in several.items() if not all(row.place in shared for row in rows)}
    if several:
        most = max(several, key=lambda study: len(several[study]))
        n, total = len(several), len(material.studies())
        have = "has" if n == 1 else "have"
        found = f"{n} of {total} studies {have} more than one row; {most} has {len(several[most])}"
        yield Hit(several[most][0], found)


@rule(
    "U03",
    "warning",
    "cluster trial without design effect",
    why="People of one cluster are alike; counted as independent they give the trial too much weight.",
    do="Divide n by 1 + (m - 1) icc, or give icc, design_effect or n_effective in a column of its own.",
    reference="Cochrane Handbook, chapter 23",
)
def _cluster_trial(material: Material) -> Iterator[Hit]:
    for row in _designed(material, "cluster"):
        if not any(row.number(c) == row.number(c) for c in ("icc", "design_effect", "n_effective")):
            yield Hit(
                row, f"design is {row.text('design')!r}, and no column icc, design_effect or n_effective is filled"
            )


@rule(
    "U04",
    "warning",
    "crossover as parallel",
    why="In a crossover trial each person is their own control; the variance of parallel arms is another.",
    do="Use the paired result with the correlation between periods (ri), or the first period only.",
    reference="Elbourne et al. 2002, International Journal of Epidemiology 31:140-149",
)
def _crossover(material: Material) -> Iterator[Hit]:
    for row in _designed(material, "crossover"):
        if row.number("ri") != row.number("ri") and row.text("analysis").casefold() not in ("paired", "first period"):
            yield Hit(
                row, f"design is {row.text('design')!r}, and neither ri nor analysis = paired or first period is given"
            )


def _designed(material: Material, word: str) -> list[Line]:
    rows = [row for row in (*material.rows, *material.trials) if word in row.text("design").casefold().replace("-", "")]
    return list({row.study or row.place: row for row in reversed(rows)}.values())[::-1]


@rule(
    "U05",
    "warning",
    "the same people in two reports",
    why="People who are pooled twice get double weight and make the evidence look larger and more certain than it is.",
    do="Keep one report of them in the pool (the larger or the main one) and name the other in overlaps_with.",
    reference="Tramèr et al. 1997, BMJ 315:635-640; Senn 2009, BMC Medical Research Methodology 9:10",
)
def _same_people(material: Material) -> Iterator[Hit]:
    lines = material.trials or material.rows
    by_key = {line.study: line for line in lines}
    pooled = {line.study for line in lines if line.text("role") != "excluded"}
    for line in lines:
        other = line.text("overlaps_with")
        if other and other in by_key:
            both = {line.study, other} <= pooled
            state = "both would be pooled" if both else "one of them is excluded, so nobody counts twice: keep it so"
            yield Hit(line, f"{line.study} reports people of {other}; {state}", severity="warning" if both else "note")
    declared = {frozenset((line.study, line.text("overlaps_with"))) for line in lines}
    for column in ("doi", "pmid", "registry"):
        for value, same in grouped((line.text(column), line) for line in material.trials).items():
            studies = {line.study for line in same if line.study in pooled}
            if len(studies) > 1 and frozenset(studies) not in declared:
                yield Hit(same[-1], f"{keys_of(same)} have the same {column}, {value}")
    if not material.trials:
        yield from _same_numbers(material)


def _same_numbers(material: Material) -> Iterator[Hit]:
    """Rows of different studies with the same means, SDs and sizes."""

    def key(row: Line) -> str:
        cells = row.numbers("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
        return "|".join(map(str, cells)) if all(value == value for value in cells) else ""

    for rows in grouped((key(row), row) for row in material.rows).values():
        studies = {_LETTER.sub("", row.study.casefold()) for row in rows}
        if len(studies) > 1:
            yield Hit(rows[1], f"all six numbers of the arms are the same in {keys_of(rows)}")


RULES = (_shared_control, _several_rows, _cluster_trial, _crossover, _same_people)
