"""G01-G04: numbers that follow from other numbers of the row."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.arithmetic import Span, cohen_d, correction, d_of_t, half_unit
from metamiq.living.rules.material import Hit, Line, Material, rule
from metamiq.tails import two_sided_p

DISAGREES = 0.1
EXTREME = 2.5
FAR_OUT = 3.5  # robust SDs from the middle of the other rows
LEAST_OTHERS = 5
TOLERANCE = 0.05
#: Authors write these for "p below".
THRESHOLDS = (0.05, 0.01, 0.001, 0.0001)


@rule(
    "G01",
    "warning",
    "recomputed g differs from the reported by 0.1 or more",
    why="Either an input or the reported effect is wrong, or it is another effect (adjusted, of change).",
    do="Recompute step by step; look for another time point, adjusted means, an SE, or pre-treatment SDs.",
    reference="Gøtzsche et al. 2007, JAMA 298:430-437",
)
def _reported_differs(material: Material) -> Iterator[Hit]:
    is_smd = _yi_is_smd(material)
    for row in material.rows:
        d = _d(row)
        if d is None:
            continue
        n1, n2 = row.numbers("n1i", "n2i")
        g = d.times(correction(n1, n2))
        columns = [("printed_d", d, "d"), ("printed_g", g, "g")]
        if is_smd and row.number("m1i") == row.number("m1i"):
            columns.append(("yi", g, "g"))
        for column, expected, name in columns:
            printed = abs(row.number(column))
            if abs(printed - expected.value) >= DISAGREES and not expected.agrees(printed):
                yield Hit(row, f"{column} is {printed:.3g} in size, but the row gives {name} = {expected.value:.3g}")
                break


def _d(row: Line) -> Span | None:
    """Size of d from means and SDs, or else from t; None when the row gives neither."""
    cells = row.numbers("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    if not (cells[2] >= 2 and cells[5] >= 2):
        return None
    if not any(np.isnan(cells)) and cells[1] > 0 and cells[4] > 0:
        return cohen_d(*cells)
    t = row.number("ti")
    return None if math.isnan(t) else d_of_t(t, cells[2], cells[5])


def _yi_is_smd(material: Material) -> bool:
    """Whether yi beside means and SDs is g or d: it is in most rows, so that the others are worth a look."""
    close = []
    for row in material.rows:
        d, effect = _d(row), abs(row.number("yi"))
        if d is not None and row.number("m1i") == row.number("m1i") and effect == effect:
            close.append(abs(effect - d.value) < DISAGREES + 0.1 * d.value)
    return len(close) > 0 and float(np.mean(close)) > 0.5


@rule(
    "G02",
    "warning",
    "extreme g",
    why="With g above 2.5 the arms hardly overlap; in treatment trials that is more often a slip than a finding.",
    do="Check SDs against SEs, the units, and the decimal point; show the pooled result without the row.",
)
def _extreme(material: Material) -> Iterator[Hit]:
    is_smd = _yi_is_smd(material)
    effects = []
    for row in material.rows:
        d = _d(row)
        if d is not None:
            effects.append((row, d.value * correction(*row.numbers("n1i", "n2i"))))
        elif row.number("yi") == row.number("yi") and (is_smd or not material.has("m1i")):
            effects.append((row, abs(row.number("yi"))))
    sizes = np.array([size for _, size in effects])
    for position, (row, size) in enumerate(effects):
        if size < EXTREME:
            continue
        others = np.delete(sizes, position)
        if len(others) >= LEAST_OTHERS:
            middle = float(np.median(others))
            spread = 1.4826 * float(np.median(np.abs(others - middle)))
            if size - middle < FAR_OUT * spread:
                continue
            beside = f"; the others are around {middle:.2f}"
        else:
            beside = ""
        yield Hit(row, f"the effect is {size:.2f} in size{beside}")


@rule(
    "G03",
    "warning",
    "t or p disagrees with g and n",
    why="t, p, the effect and the ns are one piece of information; if not, one is wrong or another test was made.",
    do="See whether the test is adjusted, paired or one-sided; otherwise check each number against its source.",
)
def _test_disagrees(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        found = _t_against_means(row) or _p_against_t(row) or _p_against_effect(row)
        if found:
            yield Hit(row, found)


def _t_against_means(row: Line) -> str:
    cells = row.numbers("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    t = abs(row.number("ti"))
    if math.isnan(t) or any(np.isnan(cells)) or not (cells[1] > 0 and cells[4] > 0 and min(cells[2], cells[5]) >= 2):
        return ""
    if any(expected.agrees(t, TOLERANCE) for expected in _ts(cells)):
        return ""
    return f"t = {t:g}, but means, SDs and ns give {_ts(cells)[0].value:.3g}"


def _ts(cells: tuple[float, ...]) -> tuple[Span, Span]:
    """Student's and Welch's t."""
    m1, sd1, n1, m2, sd2, n2 = cells
    student = cohen_d(*cells).times(1 / math.sqrt(1 / n1 + 1 / n2))
    ratio = abs(m1 - m2) / math.sqrt(sd1**2 / n1 + sd2**2 / n2) / student.value if student.value > 0 else 1.0
    return student, student.times(ratio)


def _p_against_t(row: Line) -> str:
    t, p, df, n1, n2 = row.numbers("ti", "pi", "df", "n1i", "n2i")
    df = df if df > 0 else n1 + n2 - 2
    if math.isnan(t) or not 0 <= p <= 1 or not df >= 1:
        return ""
    room = half_unit(t)
    expected = _p_span(max(abs(t) - room, 0.0), abs(t), abs(t) + room, df)
    return "" if _p_agrees(p, expected) else f"p = {p:g}, but t({df:g}) = {t:g} gives p = {_show(expected.value)}"


def _p_against_effect(row: Line) -> str:
    """Without t: from means and SDs, or from yi and its SE."""
    p = row.number("pi")
    if not 0 <= p <= 1 or row.number("ti") == row.number("ti"):
        return ""
    cells = row.numbers("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    if not any(np.isnan(cells)) and cells[1] > 0 and cells[4] > 0 and min(cells[2], cells[5]) >= 2:
        spans = [_p_span(t.low, t.value, t.high, cells[2] + cells[5] - 2) for t in _ts(cells)]
        if any(_p_agrees(p, span) for span in spans):
            return ""
        return f"p = {p:g}, but means, SDs and ns give p = {_show(spans[0].value)}"
    yi, sei, vi = row.numbers("yi", "sei", "vi")
    sei = sei if sei > 0 else math.sqrt(vi) if vi > 0 else math.nan
    if math.isnan(yi) or math.isnan(sei):
        return ""
    expected = float(two_sided_p(yi / sei))
    # The paper's test need not be this z: only a p on the other side of 5% and far away is worth a word.
    if (p < 0.05) == (expected < 0.05) or abs(p - expected) < DISAGREES:
        return ""
    return f"p = {p:g}, but yi = {yi:.3g} with SE {sei:.3g} gives p = {_show(expected)}"


def _p_span(low: float, value: float, high: float, dof: float) -> Span:
    ps = two_sided_p(np.array([high, value, low]), dof)
    return Span(float(ps[0]), float(ps[1]), float(ps[2]))


def _p_agrees(printed: float, expected: Span) -> bool:
    if printed in THRESHOLDS and expected.low <= printed:
        return True
    if printed == 0:  # "0.000"
        return expected.low < 0.001
    return expected.agrees(printed, 2 * TOLERANCE)


def _show(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


@rule(
    "G04",
    "warning",
    "printed d is g, g is d, or d follows another formula",
    why="d, g and the shortcuts from t differ most in small trials, and a pooled table must hold one of them.",
    do="Pool the effect computed from the row's own numbers; keep the printed one in printed_d or printed_g.",
    reference="Hedges 1981, Journal of Educational Statistics 6:107-128; Lakens 2013, Frontiers in Psychology 4:863",
)
def _other_formula(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        d = _d(row)
        if d is None:
            continue
        n1, n2 = row.numbers("n1i", "n2i")
        g = d.times(correction(n1, n2))
        for column, right, name in (("printed_d", d, "d"), ("printed_g", g, "g")):
            printed = abs(row.number(column))
            if math.isnan(printed) or right.agrees(printed):
                continue
            formula = next((words for words, span in _formulas(row, d, g) if span.agrees(printed)), "")
            if formula:
                shown = f"{d.value:.4g} (g = {g.value:.4g})" if name == "d" else f"{g.value:.4g} (d = {d.value:.4g})"
                yield Hit(
                    row, f"{column} is {printed:g}, but the row gives {name} = {shown}; {printed:g} fits {formula}"
                )


def _formulas(row: Line, d: Span, g: Span) -> list[tuple[str, Span]]:
    """What else may have been printed, the likeliest first."""
    n1, n2, df, t = row.numbers("n1i", "n2i", "df", "ti")
    total = n1 + n2
    df = df if df > 0 else total - 2
    as_t = 1 / math.sqrt(1 / n1 + 1 / n2)
    what = [
        ("g, with the small-sample correction", g),
        ("d, without the small-sample correction", d),
        ("2t/sqrt(df)", d.times(2 * as_t / math.sqrt(df))),
        ("2t/sqrt(N)", d.times(2 * as_t / math.sqrt(total))),
        ("d over an SD with denominator N", d.times(math.sqrt(total / (total - 2)))),
        ("g with N in place of the degrees of freedom in J = 1 - 3/(4m - 1)", d.times(1 - 3 / (4 * total - 1))),
    ]
    m1, sd1, m2, sd2 = row.numbers("m1i", "sd1i", "m2i", "sd2i")
    if math.isnan(t) or row.number("m1i") == row.number("m1i"):
        for arm, sd in (("1", sd1), ("2", sd2)):
            if sd > 0 and abs(m1 - m2) >= 0:
                room = (half_unit(m1) + half_unit(m2)) / sd
                value = abs(m1 - m2) / sd
                what.append(
                    (f"Glass's delta with the SD of arm {arm}", Span(max(value - room, 0.0), value, value + room))
                )
    return what


RULES = (_reported_differs, _extreme, _test_disagrees, _other_formula)
