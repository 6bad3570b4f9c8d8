"""N01-N05: how many people, and whether the numbers add up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.arithmetic import half_unit
from metamiq.living.rules.dependence import report_of
from metamiq.living.rules.material import Hit, Line, Material, grouped, keys_of, rule

COVARIATES = 4  # degrees of freedom that an adjusted analysis may use up


@rule(
    "N01",
    "error",
    "analysed more than randomised, or parts do not sum",
    why="Nobody can be analysed who was not randomised; a wrong n gives the trial a wrong weight.",
    do="Follow the flow chart: randomised, lost and analysed per arm. A note can say why the parts do not sum.",
    reference="Moher et al. 2010 (CONSORT), BMJ 340:c869",
)
def _parts_do_not_sum(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        found = _analysed(row)
        if found and not _arm_is_total(row):
            yield Hit(row, found)
    for trial in material.trials:
        mi, cbt, total = trial.numbers("n_mi", "n_cbt", "n_total")
        if mi + cbt != total and not any(np.isnan((mi, cbt, total))) and not trial.number("n_arms") > 2:
            yield Hit(trial, f"n_mi + n_cbt = {mi + cbt:g}, but n_total = {total:g}")
    arms = {trial.text("trial_id"): trial for trial in material.trials}
    for row in material.dropout:
        trial_row = arms.get(row.text("trial_id"))
        n, size = row.number("n"), trial_row.number(f"n_{row.text('arm')}") if trial_row else float("nan")
        if n > size:
            yield Hit(row, f"n = {n:g} could drop out of an arm of {size:g}")


def _analysed(row: Line) -> str:
    n1, n2, total = row.numbers("n1i", "n2i", "n_total")
    for arm, n in (("1", n1), ("2", n2)):
        randomised, lost = row.numbers(f"n{arm}i_randomised", f"n{arm}i_lost")
        if n > randomised:
            return f"n{arm}i = {n:g} analysed, but {randomised:g} randomised"
        if lost >= 0 and n + lost > randomised:
            return f"arm {arm}: {n:g} analysed and {lost:g} lost are more than the {randomised:g} randomised"
    if n1 + n2 > total:
        return f"n1i + n2i = {n1 + n2:g}, but n_total = {total:g}"
    return ""


@rule(
    "N02",
    "error",
    "total n in an arm",
    why="With the size of the trial in an arm the variance is about half of what it is, and the trial counts double.",
    do="Put each arm's own n into n1i and n2i.",
    reference="Buscemi et al. 2006, Journal of Clinical Epidemiology 59:697-703",
)
def _total_in_an_arm(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        found = _arm_is_total(row)
        if found:
            yield Hit(row, found)


def _arm_is_total(row: Line) -> str:
    n1, n2, total, df = row.numbers("n1i", "n2i", "n_total", "df")
    for arm, n in (("1", n1), ("2", n2)):
        if n >= 4 and n == total:
            return f"n{arm}i = {n:g} is the size of the whole trial (n_total)"
    if n1 >= 4 and n1 == n2 and df == n1 - 2:
        return f"n1i = n2i = {n1:g}, and df = {df:g} says that {n1:g} were analysed in all"
    randomised = row.number("n1i_randomised") + row.number("n2i_randomised")
    for arm, n in (("1", n1), ("2", n2)):
        if n >= 4 and n == randomised:
            return f"n{arm}i = {n:g} is the number randomised to both arms"
    return ""


@rule(
    "N03",
    "note",
    "completers and intention to treat mixed",
    why="An effect among completers and one among all randomised answer different questions.",
    do="Say in a column `analysis` which it is, prefer intention to treat, and show the result without the others.",
    reference="Hollis & Campbell 1999, BMJ 319:670-674",
)
def _mixed_populations(material: Material) -> Iterator[Hit]:
    kinds = grouped((_population(row.text("analysis")), row) for row in material.rows)
    if {"itt", "completers"} <= set(kinds):
        fewer = min(("completers", "itt"), key=lambda kind: len(kinds[kind]))
        words = {"itt": "everyone randomised", "completers": "completers"}[fewer]
        yield Hit(None, f"{len(kinds[fewer])} of {len(material.rows)} rows analyse {words}: {keys_of(kinds[fewer])}")
    lost: dict[str, float] = {}
    for row in material.dropout:
        if row.number("dropouts") > 0:
            lost[row.text("trial_id")] = lost.get(row.text("trial_id"), 0.0) + row.number("dropouts")
    said = set()
    for row in sorted(material.rows, key=lambda row: row.text("timepoint") != "post"):  # the main result speaks
        trial = row.text("trial_id")
        if trial in lost and trial not in said and "randomised sizes" in row.text("certainty"):
            said.add(trial)
            sizes = f"{row.number('n1i'):g} and {row.number('n2i'):g}"
            yield Hit(row, f"the sizes {sizes} are those randomised, but dropout.csv counts {lost[trial]:g} lost")


def _population(text: str) -> str:
    said = text.casefold()
    if "itt" in said.split() or "intention" in said or "randomised" in said or "randomized" in said:
        return "itt"
    return "completers" if "complet" in said or "per protocol" in said or "per-protocol" in said else ""


@rule(
    "N04",
    "warning",
    "df does not fit the ns",
    why="A t test of two arms has n1 + n2 - 2 degrees of freedom, and no form of it has fewer than the smaller n - 1.",
    do="Find out how many were analysed: df + 2 in all for Student's t. The df is the better witness.",
)
def _df_does_not_fit(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        n1, n2, df = row.numbers("n1i", "n2i", "df")
        if any(np.isnan((n1, n2, df))) or _arm_is_total(row):
            continue
        if df > n1 + n2 - 2 or df < math.floor(min(n1, n2) - 1) or _lacks_people(row, n1, n2, df):
            yield Hit(row, f"df = {df:g}, but arms of {n1:g} and {n2:g} give {n1 + n2 - 2:g}")


def _lacks_people(row: Line, n1: float, n2: float, df: float) -> bool:
    """A whole df so far below n1 + n2 - 2 that neither covariates nor Welch's formula explain it."""
    if df != int(df) or n1 + n2 - 2 - df <= COVARIATES:
        return False
    one, two = row.number("sd1i") ** 2 / n1, row.number("sd2i") ** 2 / n2
    welch = (one + two) ** 2 / (one**2 / (n1 - 1) + two**2 / (n2 - 1)) if one > 0 and two > 0 else math.nan
    return not abs(welch - df) < 1


@rule(
    "N05",
    "warning",
    "events or people that are no whole number",
    why="People are whole: a broken number of events is a percentage or a share; one of people, another column.",
    do="Enter events, not percentages: percentage x n / 100. Parts of a shared control group may be halves or thirds.",
)
def _broken_people(material: Material) -> Iterator[Hit]:
    comparisons = grouped((report_of(row), row) for row in material.rows)
    for row in material.rows:
        parts = (1, 2, 3) if len(comparisons.get(report_of(row), ())) > 1 else (1,)
        broken = [
            (name, row.number(name), row.number(total))
            for name, total in _EVENTS.items()
            if not _is_whole(row.number(name), parts)
        ]
        if broken:
            words = " and ".join(f"{name} = {x:g}" for name, x, _ in broken)
            of = [f"{n:g}" for _, _, n in broken if n == n]
            yield Hit(row, f"{words}{' of ' if of else ''}{' and '.join(of)}{_as_share(broken)}")
        elif not any(row.number(c) == row.number(c) for c in ("icc", "design_effect", "n_effective")):
            people = [(name, row.number(name)) for name in ("n1i", "n2i", "ni")]
            words = " and ".join(f"{name} = {n:g}" for name, n in people if not _is_whole(n, parts))
            if words:
                yield Hit(row, words)


_EVENTS = {"ai": "n1i", "ci": "n2i", "bi": "n1i", "di": "n2i", "xi": "ni"}


def _is_whole(x: float, parts: tuple[int, ...]) -> bool:
    """Whole or missing, or a half or third of a whole number where a control group may have been split."""
    return math.isnan(x) or min(abs(m * x - round(m * x)) for m in parts) < 0.02


def _as_share(broken: list[tuple[str, float, float]]) -> str:
    """The whole numbers that shares or percentages would be; empty when they would be none."""
    for whole, words in ((1.0, "as shares"), (100.0, "as percentages")):
        meant = [(x * n / whole, half_unit(x) * n / whole) for _, x, n in broken if x <= whole]
        if len(meant) == len(broken) and all(abs(m - round(m)) <= room + 1e-9 for m, room in meant):
            return f"; {words} {' and '.join(str(round(m)) for m, _ in meant)}"
    return ""


RULES = (_parts_do_not_sum, _total_in_an_arm, _mixed_populations, _df_does_not_fit, _broken_people)
