"""Give what a report prints, get g: the route, its steps, what is missing, and what disagrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from metamiq.effects.bounds import bound, significance_threshold
from metamiq.effects.derivation import Derivation, Worksheet
from metamiq.effects.records import check_level, one_of
from metamiq.effects.reported import ROW_VTYPES
from metamiq.effects.smd_interval import hedges_g_ci
from metamiq.errors import DataError
from metamiq.explaining.measures import J_SHOWN, finish
from metamiq.explaining.plausibility import implausible
from metamiq.explaining.route_steps import Settings
from metamiq.explaining.routes import ROUTES, Route
from metamiq.explaining.sleuth import which
from metamiq.wording import fixed

_ARMS = {"1": 1.0, "mi": 1.0, "2": -1.0, "cbt": -1.0}
#: Every number that may be given, and what it is.
QUANTITIES: dict[str, str] = {
    "m1": "mean of group 1", "sd1": "SD of group 1", "se1": "standard error of the mean of group 1",
    "n1": "size of group 1", "m2": "mean of group 2", "sd2": "SD of group 2",
    "se2": "standard error of the mean of group 2", "n2": "size of group 2", "n": "size of both groups together",
    "t": "t statistic", "df": "degrees of freedom of t or F", "f": "F with one numerator degree of freedom",
    "p": "two-sided p-value", "d": "Cohen's d", "g": "Hedges' g", "r": "correlation between arm and outcome",
    "md": "difference in means", "se": "standard error of md, d or g", "odds_ratio": "odds ratio",
    "ci_low": "lower end of the interval of md, d, g or the odds ratio", "ci_high": "its upper end",
    "median1": "median of group 1", "q1_1": "first quartile of group 1", "q3_1": "third quartile of group 1",
    "min1": "smallest value of group 1", "max1": "largest value of group 1",
    "median2": "median of group 2", "q1_2": "first quartile of group 2", "q3_2": "third quartile of group 2",
    "min2": "smallest value of group 2", "max2": "largest value of group 2",
    "events1": "people with the event in group 1", "events2": "people with the event in group 2",
}  # fmt: skip
_EXACT = {"n1", "n2", "n", "df", "events1", "events2", "favours", "ci_level"}


@dataclass(frozen=True, slots=True)
class Check:
    """Another way to g that the given numbers allow, and whether it agrees within rounding."""

    words: str
    g: float
    low: float
    high: float
    agrees: bool


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """The effect size, how it came about, and what else the numbers say.

    Attributes
    ----------
    derivation : Derivation
        The steps of the route taken; of a verdict, those of the bound.
    route : str
        What it started from.
    checks : tuple of Check
        The other routes.
    disagreements : tuple of str
        What does not fit together, in words; empty when everything does.
    """

    derivation: Derivation
    route: str
    checks: tuple[Check, ...] = ()
    disagreements: tuple[str, ...] = ()


def convert(
    *,
    favours: str | None = None,
    verdict: str | None = None,
    vtype: str = "LS",
    correction: str = "exact",
    level: float = 0.95,
    ci_level: float = 0.95,
    lower_is_better: bool = False,
    title: str = "",
    **given: float | str | None,
) -> Conversion:
    """Turn reported numbers into Hedges' g, by the first route that they allow, and check them against each other.

    Parameters
    ----------
    favours : {"mi", "cbt", "1", "2"}, optional
        The group that did better; F and p have no direction of their own. Group 1 is MI + CBT.
    verdict : {"significant", "nonsignificant", "direction"}, optional
        A statement without a number: gives a bound.
    vtype, correction : str
        As in `hedges_g`.
    level, ci_level : float
        Coverage of the interval that is given back, and of the one that was reported.
    lower_is_better : bool
        Turn differences of means (and events), so that a positive g says that group 1 did better.
    title : str
        Heading of the derivation.
    **given : float or str
        Any of `QUANTITIES`. A number given as text keeps its printed digits, from which rounding is judged.

    Returns
    -------
    Conversion
        With the derivation; its results ``estimate`` and ``variance`` are those of the engine.

    Raises
    ------
    DataError
        If the numbers are not enough; the message says what would do.
    ValueError
        If a name or an option is unknown.

    Examples
    --------
    >>> found = convert(t=2.51, n1=8, n2=8)
    >>> print(found.derivation.conclusion)
    g = 1.186, 95% interval 0.124 to 2.249 (SE 0.542).
    """
    one_of("vtype", vtype, ROW_VTYPES)
    one_of("correction", correction, ("exact", "approx", "none"))
    check_level(level)
    check_level(ci_level)
    printed = {name: str(value) for name, value in given.items() if value is not None}
    unknown = sorted(set(printed) - set(QUANTITIES))
    if unknown:
        raise ValueError(f"Known quantities are {', '.join(sorted(QUANTITIES))}; {unknown[0]!r} is not one of them.")
    x = {name: _number(name, text) for name, text in printed.items()}
    assumptions: list[str] = []
    disagreements: list[str] = []
    if favours is not None:
        one_of("favours", str(favours), tuple(_ARMS))
        x["favours"] = _ARMS[str(favours)]
    _sizes(x, assumptions, disagreements)
    if verdict is not None:
        return _verdict(verdict, favours, x, level, assumptions, title)
    if "m1" in x and "m2" in x and "md" not in x and not {"d", "g", "odds_ratio"} & set(x):
        x["md"] = x["m1"] - x["m2"]
        printed["md"] = printed["m1"]
    if {"ci_low", "ci_high"} <= set(x):
        x["ci_level"] = ci_level
    settings = Settings(vtype, correction, level, lower_is_better)
    open_routes = [route for route in ROUTES if set(route.needs) <= set(x)]
    open_routes = [r for r in open_routes if not _shadowed(r, x)]
    if not open_routes:
        raise DataError(_what_is_missing(x, list(printed)))
    route = open_routes[0]
    sheet = Worksheet(title or f"Hedges' g from {route.words}")
    used = [n for n in (*route.needs, "ci_level", "min1", "max1", "min2", "max2") if n in x and _uses(route, n)]
    sheet.given(**{name: x[name] for name in dict.fromkeys(used) if name != "favours"})
    if "favours" in route.needs:
        sheet.values["favours"] = x["favours"]
    yi, vi = route.engine(x, settings)
    route.steps(sheet, settings)
    sheet.matches("g", yi)
    sheet.matches("v", vi)
    sheet.assumptions += [*assumptions, *([route.assumption] if route.assumption else [])]
    if lower_is_better:
        sheet.notes.append("lower is better, so the difference is turned round: positive means that group 1 did better")
    low, high = _rounding(route, x, printed, settings)
    checks = tuple(_check(other, x, printed, settings, low, high) for other in open_routes[1:])
    disagreements += [
        f"{route.words} give g = {fixed(yi, 3)}, but {c.words} give {fixed(c.g, 3)}, and rounding does not explain it"
        for c in checks
        if not c.agrees
    ]
    if any(not c.agrees for c in checks):
        disagreements += _formula_behind(x, printed)
    sheet.notes += [f"DISAGREEMENT: {text}" for text in disagreements]
    sheet.notes += [*_exact_interval(route, yi, x, settings), *implausible(yi, x)]
    sheet.notes += [f"{c.words} agree: g = {fixed(c.g, 3)}" for c in checks if c.agrees]
    return Conversion(finish(sheet, "g", level, "g"), route.words, checks, tuple(disagreements))


def _exact_interval(route: Route, g: float, x: Mapping[str, float], settings: Settings) -> list[str]:
    """The interval that inverts the noncentral t, where g comes from a comparison of means."""
    if not {"n1", "n2"} <= set(route.needs) or {"odds_ratio", "events1", "se", "ci_low", "median1"} & set(route.needs):
        return []
    low, high = hedges_g_ci(g, x["n1"], x["n2"], level=settings.level, correction=settings.correction)
    limits = f"{fixed(float(low), 3)} to {fixed(float(high), 3)}"
    return [f"the exact {100 * settings.level:g}% interval, by the noncentral t distribution, is {limits}"]


def _uses(route: Route, name: str) -> bool:
    if name == "ci_level":
        return "ci_low" in route.needs
    return name in route.needs or "quartiles" in route.words


def _shadowed(route: Route, x: Mapping[str, float]) -> bool:
    """An interval or SE belongs to one estimate only: to the odds ratio, to g, to d, or to the mean difference."""
    owner = next((name for name in ("odds_ratio", "g", "d", "md") if name in x), None)
    borrowed = {"ci_low", "ci_high", "se"} & set(route.needs)
    return bool(borrowed) and owner is not None and owner not in route.needs


def _number(name: str, text: str) -> float:
    try:
        value = float(Decimal(text.replace("−", "-").replace(",", ".")))
    except InvalidOperation as problem:
        hint = (
            " A p below a threshold is a verdict: significant, in favour of a group." if text.strip()[:1] == "<" else ""
        )
        raise DataError(f"{name} must be a number, not {text!r}.{hint}") from problem
    return value


def _sizes(x: dict[str, float], assumptions: list[str], disagreements: list[str]) -> None:
    """Complete the arm sizes from a total or from degrees of freedom, and compare them."""
    total = x.get("n")
    source = "the total"
    if total is None and "df" in x and not {"n1", "n2"} <= set(x):
        total, source = x["df"] + 2, f"df + 2 = {x['df'] + 2:g}"
    if total is not None:
        if "n1" in x and "n2" not in x:
            x["n2"] = total - x["n1"]
        elif "n2" in x and "n1" not in x:
            x["n1"] = total - x["n2"]
        elif "n1" not in x:
            x["n1"] = float((total + 1) // 2)
            x["n2"] = total - x["n1"]
            assumptions.append(f"arms of {x['n1']:g} and {x['n2']:g}: {source} split evenly")
        elif x["n1"] + x["n2"] != total:
            disagreements.append(f"n1 + n2 = {x['n1'] + x['n2']:g}, but n = {total:g}")
    if "df" in x and {"n1", "n2"} <= set(x) and x["n1"] + x["n2"] - 2 != x["df"]:
        disagreements.append(
            f"n1 + n2 − 2 = {x['n1'] + x['n2'] - 2:g}, but df = {x['df']:g}: other people were analysed, or the "
            "test is not that of two independent groups"
        )


def _half_unit(text: str) -> float:
    """Half a unit of the last printed digit."""
    exponent = Decimal(text.replace("−", "-").replace(",", ".")).as_tuple().exponent
    return 0.5 * 10.0 ** int(exponent)


def _rounding(
    route: Route, x: Mapping[str, float], printed: Mapping[str, str], settings: Settings
) -> tuple[float, float]:
    """Smallest and largest g that round to the printed numbers, to first order."""
    g = route.engine(x, settings)[0]
    reach = 0.0
    for name in set(route.needs) - _EXACT:
        half = _half_unit(printed[name])
        moved = []
        for sign in (-1.0, 1.0):
            value = x[name] + sign * half
            if name in ("p", "f", "odds_ratio") or name.startswith(("sd", "se")):
                value = max(value, 1e-6 * abs(x[name]) + 1e-12)
            if name == "p":
                value = min(value, 1.0)
            try:
                moved.append(abs(route.engine({**x, name: value}, settings)[0] - g))
            except DataError:  # rounding down leads out of the domain
                continue
        reach += max(moved, default=0.0)
    return g - reach - 1e-9, g + reach + 1e-9


def _check(
    other: Route, x: Mapping[str, float], printed: Mapping[str, str], settings: Settings, low: float, high: float
) -> Check:
    own_low, own_high = _rounding(other, x, printed, settings)
    g = other.engine(x, settings)[0]
    return Check(other.words, g, own_low, own_high, own_low <= high and low <= own_high)


def _formula_behind(x: Mapping[str, float], printed: Mapping[str, str]) -> list[str]:
    """What a printed d or g follows, when it is not what the other numbers give."""
    inputs = {name: x[name] for name in ("m1", "sd1", "n1", "m2", "sd2", "n2", "t") if name in x}
    found = []
    for name in ("d", "g"):
        if name not in printed or not {"t", "sd1"} & set(inputs):
            continue
        suspects = which(inputs, d=printed["d"]).matches if name == "d" else which(inputs, g=printed["g"]).matches
        found += [f"the printed {name} = {printed[name]} follows: {suspects[0].words}"] if suspects else []
    return found


def _verdict(
    verdict: str, favours: str | None, x: Mapping[str, float], level: float, assumptions: list[str], title: str
) -> Conversion:
    one_of("verdict", verdict, ("significant", "nonsignificant", "direction"))
    if verdict != "direction" and not {"n1", "n2"} <= set(x):
        raise DataError(f"A verdict ({verdict}) bounds g once n1 and n2 are given (or n, or df), but they are missing.")
    if verdict != "nonsignificant" and favours is None:
        raise DataError(f"A verdict ({verdict}) needs the group that did better: favours 'mi' (1) or 'cbt' (2).")
    arm = None if favours is None else ("mi" if _ARMS[str(favours)] > 0 else "cbt")
    found = bound(verdict, arm, x.get("n1"), x.get("n2"), level)
    low, high = float(found.yi_low), float(found.yi_high)
    sheet = Worksheet(title or f"Bound on Hedges' g from a verdict: {verdict}")
    if verdict != "direction":
        sheet.given(n1=x["n1"], n2=x["n2"], level=level)
        sheet.step("df", "degrees of freedom", "n1 + n2 - 2")
        sheet.step("tcrit", f"t at which a two-sided test at {100 * (1 - level):g}% turns", "tcritical(level, df)")
        sheet.step("J", "small-sample correction", "J(df)", source="Hedges (1981)", shown=J_SHOWN)
        sheet.step("c", "the g at this t", "J*tcrit*sqrt(1/n1 + 1/n2)")
        sheet.matches("c", float(significance_threshold(x["n1"], x["n2"], level)))
        assumptions = [*assumptions, f"the verdict is that of a two-sided t test at {100 * (1 - level):g}%"]
    sheet.assumptions += assumptions
    words = {
        "significant": "The test was significant, so g lies beyond c on the side of the arm that did better",
        "nonsignificant": "The test was not significant, so g lies between −c and c",
        "direction": "Only the direction is known, so g lies beyond 0",
    }[verdict]
    sheet.notes.append("a verdict is not a number: not significant is not g = 0, and significant is not p = .05")
    results = {"yi_low": low, "yi_high": high}
    derivation = sheet.derivation(results, f"{words}: {fixed(low, 3)} to {fixed(high, 3)}.")
    return Conversion(derivation, f"verdict {verdict}")


def _what_is_missing(x: Mapping[str, Any], given: list[str]) -> str:
    came = ", ".join(given) or "nothing"
    ranked = sorted(
        (r for r in ROUTES if (set(r.needs) - {"n1", "n2"}) & set(given) and set(r.needs) - set(x)),
        key=lambda r: (len(set(r.needs) - set(x)), ROUTES.index(r)),
    )
    if not ranked:
        return (
            f"g needs more than {came}. Enough would be: m1 sd1 n1 m2 sd2 n2; or t n1 n2; or d n1 n2; or p n1 n2 and "
            "favours; or counts (events1 n1 events2 n2); or a verdict with n1 n2."
        )
    ways = []
    for route in ranked[:3]:
        lack = [name for name in route.needs if name not in x]
        ways.append(f"{' and '.join(lack)} (for {route.words})")
    hint = " A total n, or df, will do for n1 and n2 if the arms are about equal." if "n1" not in x else ""
    return f"g needs more than {came}. Missing: {'; or '.join(ways)}.{hint}"
