"""The steps of each effect-size measure, for one row of a study table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from metamiq.effects.derivation import Derivation, Worksheet
from metamiq.effects.measures import MEASURES, effect_sizes
from metamiq.effects.records import one_of
from metamiq.errors import DataError
from metamiq.wording import fixed

HEDGES_1981 = "Hedges (1981)"
#: Hedges' J by gamma functions, for the reader; the engine's own code computes it.
J_SHOWN = "gamma(df/2)/(sqrt(df/2)*gamma((df - 1)/2))"
#: The variance formulas of g, with the names of the steps.
SMD_VARIANCES = {
    "LS": ("1/n1 + 1/n2 + g**2/(2*(n1 + n2))", "Hedges (1982), eq. 8"),
    "LS2": ("J**2*(1/n1 + 1/n2 + d**2/(2*(n1 + n2)))", "Borenstein et al. (2009), ch. 4"),
    "UB": ("1/n1 + 1/n2 + (1 - (df - 2)/(df*J**2))*g**2", "Hedges (1983)"),
}
_LABELS = ("study", "trial_id", "label")


class Line(NamedTuple):
    """One step of a recipe."""

    name: str
    meaning: str
    formula: str
    source: str = ""
    shown: str = ""


_DF = Line("df", "degrees of freedom", "n1 + n2 - 2")
_POOLED = Line("sp", "pooled standard deviation", "sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/df)")
_D = Line("d", "standardised mean difference, Cohen's d", "(m1 - m2)/sp")
_RISKS = (
    Line("p1", "risk in group 1", "a/(a + b)"),
    Line("p2", "risk in group 2", "c/(c + d)"),
)
_LOG_OR = (
    Line("y", "log odds ratio", "log(a) - log(b) - log(c) + log(d)"),
    Line("v", "its sampling variance", "1/a + 1/b + 1/c + 1/d", "Woolf (1955)"),
)
_CHANGE = Line("sd", "standard deviation of the changes", "sqrt(sd1**2 + sd2**2 - 2*r*sd1*sd2)")
_WITHIN = Line("A", "2(1 − r)(1/n₁ + 1/n₂), the part that does not hang on g", "2*(1 - r)*(1/n1 + 1/n2)")
_PPC_D = Line("d", "difference of the changes, standardised", "((m1_post - m1_pre) - (m2_post - m2_pre))/sp")
_WHEN = {"pre": "before", "post": "after"}
_PPC_V = Line(
    "v", "its sampling variance", "J**2*df/(df - 2)*(A + g**2) - g**2", "Morris (2008), eq. 25, for the SD before"
)


def _j(df: str = "df") -> Line:
    shown = J_SHOWN if df == "df" else ""
    return Line("J", "small-sample correction", f"J({df})", HEDGES_1981, shown)


def _g() -> Line:
    return Line("g", "corrected standardised mean difference, Hedges' g", "J*d", HEDGES_1981)


def _pooled(time: str) -> Line:
    return Line(
        f"sp_{time}",
        f"pooled standard deviation {_WHEN[time]} treatment",
        f"sqrt(((n1 - 1)*sd1_{time}**2 + (n2 - 1)*sd2_{time}**2)/df)",
    )


def _ppc(time: str) -> tuple[Line, ...]:
    return (_DF, _pooled(time), _PPC_D._replace(formula=_PPC_D.formula.replace("sp", f"sp_{time}")), _j(), _g(),
            _WITHIN, _PPC_V._replace(source=_PPC_V.source if time == "pre" else ""))  # fmt: skip


#: Steps of each measure with its default options; the effect is y or g, its variance v.
RECIPES: dict[str, tuple[Line, ...]] = {
    "SMD": (_DF, _POOLED, _D, _j(), _g(), Line("v", "its sampling variance", *SMD_VARIANCES["LS"])),
    "SMDH": (
        _DF,
        Line("s", "root mean square of the two SDs", "sqrt((sd1**2 + sd2**2)/2)"),
        Line("d", "standardised mean difference", "(m1 - m2)/s"),
        _j(),
        _g(),
        Line(
            "v",
            "its sampling variance",
            "g**2*(sd1**4/(n1 - 1) + sd2**4/(n2 - 1))/(8*s**4) + (sd1**2/(n1 - 1) + sd2**2/(n2 - 1))/s**2",
            "Bonett (2008)",
        ),
    ),
    "SMD1": (
        Line("df", "degrees of freedom of the SD of group 2", "n2 - 1"),
        Line("d", "Glass's delta, uncorrected", "(m1 - m2)/sd2", "Glass (1976)"),
        _j(),
        _g(),
        Line("v", "its sampling variance", "1/n1 + 1/n2 + g**2/(2*n2)"),
    ),
    "SMD1H": (
        Line("df", "degrees of freedom of the SD of group 2", "n2 - 1"),
        Line("d", "Glass's delta, uncorrected", "(m1 - m2)/sd2", "Glass (1976)"),
        _j(),
        _g(),
        Line(
            "v",
            "its sampling variance",
            "sd1**2/(sd2**2*(n1 - 1)) + 1/(n2 - 1) + g**2/(2*(n2 - 1))",
            "Bonett (2008)",
        ),
    ),
    "MD": (
        Line("y", "mean difference", "m1 - m2"),
        Line("v", "its sampling variance", "sd1**2/n1 + sd2**2/n2"),
    ),
    "ROM": (
        Line("u1", "squared coefficient of variation over n, group 1", "sd1**2/(n1*m1**2)"),
        Line("u2", "squared coefficient of variation over n, group 2", "sd2**2/(n2*m2**2)"),
        Line("y", "log ratio of means, corrected for bias", "log(m1/m2) + (u1 - u2)/2", "Lajeunesse (2015)"),
        Line("v", "its sampling variance", "u1 + u2", "Hedges, Gurevitch & Curtis (1999)"),
    ),
    "OR": _LOG_OR,
    "RR": (
        *_RISKS,
        Line("y", "log risk ratio", "log(p1) - log(p2)"),
        Line("v", "its sampling variance", "1/a - 1/(a + b) + 1/c - 1/(c + d)"),
    ),
    "RD": (
        *_RISKS,
        Line("y", "risk difference", "p1 - p2"),
        Line("v", "its sampling variance", "p1*(1 - p1)/(a + b) + p2*(1 - p2)/(c + d)"),
    ),
    "AS": (
        *_RISKS,
        Line("y", "arcsine difference", "arcsin(sqrt(p1)) - arcsin(sqrt(p2))"),
        Line("v", "its sampling variance", "1/(4*(a + b)) + 1/(4*(c + d))"),
    ),
    "PETO": (
        Line("N", "everyone", "a + b + c + d"),
        Line("E", "events expected in group 1", "(a + b)*(a + c)/N"),
        Line("V", "hypergeometric variance", "(a + b)*(c + d)*(a + c)*(b + d)/(N**2*(N - 1))"),
        Line("y", "log odds ratio by Peto's method", "(a - E)/V", "Yusuf et al. (1985)"),
        Line("v", "its sampling variance", "1/V", "Yusuf et al. (1985)"),
    ),
    "COR": (Line("y", "correlation", "r"), Line("v", "its sampling variance", "(1 - r**2)**2/(n - 1)")),
    "ZCOR": (Line("y", "Fisher's z", "arctanh(r)"), Line("v", "its sampling variance", "1/(n - 3)")),
    "MC": (
        Line("y", "mean change", "m1 - m2"),
        Line("v", "its sampling variance", "(sd1**2 + sd2**2 - 2*r*sd1*sd2)/n"),
    ),
    "SMCC": (
        _CHANGE,
        Line("df", "degrees of freedom", "n - 1"),
        Line("d", "change over the SD of change", "(m1 - m2)/sd"),
        _j(),
        _g(),
        Line("v", "its sampling variance", "1/n + g**2/(2*n)", "Gibbons et al. (1993)"),
    ),
    "SMCR": (
        Line("df", "degrees of freedom", "n - 1"),
        Line("d", "change over the SD of the first measurement", "(m1 - m2)/sd1", "Becker (1988)"),
        _j(),
        _g(),
        Line("v", "its sampling variance", "2*(1 - r)/n + g**2/(2*n)", "Becker (1988)"),
    ),
    "PPC_PRE": _ppc("pre"),
    "PPC_POST": _ppc("post"),
    "PPC_ALL": (
        _DF,
        _pooled("pre"),
        _pooled("post"),
        Line("sp", "root mean of the two pooled variances", "sqrt((sp_pre**2 + sp_post**2)/2)"),
        _PPC_D,
        _j(),
        _g(),
        _WITHIN,
        Line("nu", "effective degrees of freedom of the SD", "2*df/(1 + r**2)"),
        Line("Jnu", "the correction with these degrees of freedom", "J(nu)", HEDGES_1981),
        Line("v", "its sampling variance", "J**2*(nu/(nu - 2)*(A + g**2) - g**2/Jnu**2)"),
    ),
    "PR": (Line("y", "proportion", "x/n"), Line("v", "its sampling variance", "x*(n - x)/n**3")),
    "PAS": (
        Line("y", "arcsine square root of the proportion", "arcsin(sqrt(x/n))"),
        Line("v", "its sampling variance", "1/(4*n)"),
    ),
}
_COUNTS = ("OR", "RR", "RD", "AS", "PETO")


def follow(sheet: Worksheet, lines: tuple[Line, ...], unit: str = "") -> None:
    """Work a recipe on a sheet that has its numbers."""
    for line in lines:
        of_outcome = line.name in ("sp", "s", "sd", "sp_pre", "sp_post")
        sheet.step(
            line.name, line.meaning, line.formula, source=line.source, shown=line.shown, unit=unit if of_outcome else ""
        )


def finish(sheet: Worksheet, effect: str, level: float, what: str) -> Derivation:
    """Standard error, normal interval and conclusion, from the effect and its variance v."""
    sheet.step("se", "standard error", "sqrt(v)")
    sheet.values["level"] = level
    sheet.step("zcrit", f"normal quantile for a {100 * level:g}% interval", "zcritical(level)")
    low = sheet.step("ci_low", "lower limit", f"{effect} - zcrit*se")
    high = sheet.step("ci_high", "upper limit", f"{effect} + zcrit*se")
    y, v = float(sheet.values[effect]), float(sheet.values["v"])
    results = {"estimate": y, "variance": v, "se": v**0.5, "ci_low": low, "ci_high": high}
    conclusion = (
        f"{what} = {fixed(y, 3)}, {100 * level:g}% interval {fixed(low, 3)} to {fixed(high, 3)} "
        f"(SE {fixed(v**0.5, 3)})."
    )
    return sheet.derivation(results, conclusion)


def plain_name(column: str) -> str:
    """The name in formulas of a column: without the i of "study i".

    Examples
    --------
    >>> plain_name("m1i_post"), plain_name("ci"), plain_name("vi")
    ('m1_post', 'c', 'v')
    """
    head, _, tail = column.partition("_")
    return (head.removesuffix("i") or head) + (f"_{tail}" if tail else "")


def explain_row(
    row: Mapping[str, Any], measure: str, *, level: float = 0.95, title: str = "", vtype: str | None = None
) -> Derivation:
    """Derive the effect size of one row of a study table.

    Parameters
    ----------
    row : mapping
        Column to cell, with the columns that the measure needs.
    measure : str
        Code of the measure; see `RECIPES` for those that can be explained.
    level : float
        Coverage of the interval.
    title : str
        Title; by default the measure and the study.
    vtype : {"LS", "LS2", "UB"}, optional
        Variance formula of SMD.

    Returns
    -------
    Derivation
        Its results ``estimate`` and ``variance`` are the yi and vi of `effect_sizes`.

    Raises
    ------
    DataError
        If a value is missing or impossible.
    ValueError
        If the measure has no derivation.

    Examples
    --------
    >>> found = explain_row({"ai": 4, "n1i": 123, "ci": 11, "n2i": 139}, "OR")
    >>> print(found.conclusion)
    log odds ratio = -0.939, 95% interval -2.110 to 0.233 (SE 0.598).
    """
    one_of("measure", measure, tuple(RECIPES))
    options = {} if vtype is None else {"vtype": vtype}
    if vtype is not None:
        one_of("vtype", vtype, tuple(SMD_VARIANCES))
    lines = RECIPES[measure]
    frame = pd.DataFrame([dict(row)])
    out = effect_sizes(frame, measure, **options)  # the engine checks the row and names what is missing
    yi, vi = float(out["yi"].iloc[0]), float(out["vi"].iloc[0])
    spec = MEASURES[measure]
    name = next((str(row[c]) for c in _LABELS if c in row and not pd.isna(row[c])), "")
    sheet = Worksheet(title or _title(measure) + (f": {name}" if name else ""))
    if measure in _COUNTS:
        _counts(sheet, row, measure)
    else:
        if not np.isfinite(yi):
            lacking = [c for c in spec.columns if c not in row or pd.isna(row[c])]
            raise DataError(
                f"Measure {measure!r} needs {' '.join(spec.columns)} to be filled, but "
                + (f"{', '.join(lacking)} is empty" if lacking else "with these values it is undefined")
                + (f" in {name!r}." if name else ".")
            )
        sheet.given(**{plain_name(c): float(row[c]) for c in spec.columns})
    if vtype is not None:
        lines = (*lines[:-1], Line("v", "its sampling variance", *SMD_VARIANCES[vtype]))
    follow(sheet, lines)
    effect = "y" if "y" in sheet.values else "g"
    sheet.matches(effect, yi)
    sheet.matches("v", vi)
    what = effect if effect == "g" else next(line.meaning for line in lines if line.name == "y")
    return finish(sheet, effect, level, what)


def _counts(sheet: Worksheet, row: Mapping[str, Any], measure: str) -> None:
    def cell(column: str) -> float:
        value = row.get(column)
        return float("nan") if value is None or pd.isna(value) else float(value)

    a, b, c, d = (cell(name) for name in ("ai", "bi", "ci", "di"))
    b = cell("n1i") - a if np.isnan(b) else b
    d = cell("n2i") - c if np.isnan(d) else d
    if np.isnan([a, b, c, d]).any():
        raise DataError(f"Measure {measure!r} needs ai n1i ci n2i (or the four cells ai bi ci di) to be filled.")
    if measure != "AS" and min(a, b, c, d) == 0:
        sheet.assumptions.append("one cell is 0, so 0.5 is added to all four cells of this table")
        a, b, c, d = a + 0.5, b + 0.5, c + 0.5, d + 0.5
    sheet.given(a=a, b=b, c=c, d=d)
    sheet.notes.append("a, b are events and non-events in group 1; c, d in group 2.")


def _title(measure: str) -> str:
    meaning = MEASURES[measure].meaning
    if meaning == "the same, SDs may differ":
        meaning = MEASURES[measure.removesuffix("H")].meaning + ", SDs may differ"
    return meaning[:1].upper() + meaning[1:]


def correction_lines(correction: str) -> tuple[Line, ...]:
    """Steps from d and df to g, by the form of J."""
    if correction == "none":
        return (Line("J", "no small-sample correction", "1"), _g())
    if correction == "approx":
        return (Line("J", "small-sample correction, approximate", "1 - 3/(4*df - 1)", HEDGES_1981), _g())
    return (_j(), _g())
