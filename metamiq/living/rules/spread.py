"""SD01-SD05: standard deviations, standard errors and intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.arithmetic import Span, cohen_d, correction, decimals, half_unit
from metamiq.living.rules.instruments import INSTRUMENTS
from metamiq.living.rules.material import Hit, Line, Material, rule
from metamiq.tails import critical_value, f_sf

SMALL_SHARE = 0.45  # of the usual SD; the SD of 8 people falls below it about once in 200 samples
EXTREME_G = 2.5
ORDINARY_G = 1.0  # what the extreme g becomes when the SD was an SE
THREEFOLD = 3.0
RARE = 0.01  # two-sided p of the F test: in arms of five, threefold is not rare
SHRUNK = 0.6  # a change SD is this share of the SD when scores at the two times correlate 0.82
TOLERANCE = 0.05
ALIKE = 1.5
RATIO_WIDE = 1.5  # in a narrower interval the middles of ratio and logarithm are the same
MANY = 400  # SDs of an instrument that show what is usual

_HANDBOOK_SD = "Cochrane Handbook, chapter 6; Gøtzsche et al. 2007, JAMA 298:430-437"


@rule(
    "SD01",
    "warning",
    "SE taken for SD",
    why="An SE is smaller than the SD by the root of n; in its place it makes the effect many times too large.",
    do="Look in the table's caption for SE or SEM; SD = SE x sqrt(n).",
    reference=_HANDBOOK_SD,
)
def _se_for_sd(material: Material) -> Iterator[Hit]:
    usual = _usual_sds(material)
    for row in material.rows:
        found = (
            _given_as_se(row)
            or _against_baseline(row)
            or _against_instrument(row, usual)
            or _against_other_arm(row)
            or _against_g(row)
        )
        if found:
            yield Hit(row, found)


def _given_as_se(row: Line) -> str:
    for arm in "12":
        sd, se = row.numbers(f"sd{arm}i", f"se{arm}i")
        if sd > 0 and sd == se:
            return f"sd{arm}i and se{arm}i are the same number, {sd:g}"
    return ""


def _looks_like_se(sd: float, n: float, usual: float) -> bool:
    """Far below the usual SD, and nearer to it once multiplied by the root of n."""
    if not (sd > 0 and n >= 2 and usual > 0):
        return False
    return sd < SMALL_SHARE * usual and abs(math.log(sd * math.sqrt(n) / usual)) < abs(math.log(sd / usual))


def _against_baseline(row: Line) -> str:
    if row.score == "change":
        return ""
    for arm in "12":
        sd, n, before = row.numbers(f"sd{arm}i", f"n{arm}i", f"sd{arm}i_pre")
        if np.isnan(sd):
            sd = row.number(f"sd{arm}i_post")
        if _looks_like_se(sd, n, before):
            return (
                f"the SD of arm {arm} is {sd:g}, but {before:g} before treatment; times sqrt({n:g}) it is {_up(sd, n)}"
            )
    return ""


def _usual_sds(material: Material) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """SDs of each instrument and kind of score, with the row that holds them."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in material.rows:
        key = (row.text("instrument"), row.score)
        for sd in row.numbers("sd1i", "sd2i"):
            if key[0] and sd > 0:
                found.setdefault(key, []).append((row.place, sd))
    return found


def _against_instrument(row: Line, usual: dict[tuple[str, str], list[tuple[str, float]]]) -> str:
    instrument = row.text("instrument")
    known = usual.get((instrument, row.score), [])
    # In a long table the row itself hardly moves the median, and looking it up for each row would take long.
    others = [sd for place, sd in known[:MANY] if place != row.place]
    if len(others) < 4:  # two other rows: fewer do not show what is usual
        return ""
    middle = float(np.median(others))
    arms = [(arm, row.number(f"sd{arm}i"), row.number(f"n{arm}i")) for arm in "12"]
    small = [(arm, sd, n) for arm, sd, n in arms if _looks_like_se(sd, n, middle)]
    if not small:
        return ""
    words = " and ".join(f"sd{arm}i = {sd:g} (times sqrt({n:g}): {_up(sd, n)})" for arm, sd, n in small)
    return f"{words}, but the other rows with {instrument} have SDs around {middle:.3g}"


def _against_other_arm(row: Line) -> str:
    """One SD far below the other, and like it once multiplied by the root of n."""
    for arm, other in ("12", "21"):
        sd, n, beside = row.number(f"sd{arm}i"), row.number(f"n{arm}i"), row.number(f"sd{other}i")
        if (
            _looks_like_se(sd, n, beside)
            and sd * THREEFOLD <= beside
            and 1 / ALIKE < sd * math.sqrt(n) / beside < ALIKE
        ):
            return f"sd{arm}i = {sd:g}, and times sqrt({n:g}) it is {_up(sd, n)}, like sd{other}i = {beside:g}"
    return ""


def _against_g(row: Line) -> str:
    cells = row.numbers("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
    if not _two_arms(cells):
        return ""
    g = cohen_d(*cells).value * correction(cells[2], cells[5])
    n = 2 / (1 / cells[2] + 1 / cells[5])
    as_se = g / math.sqrt(n)
    if g < EXTREME_G or as_se > ORDINARY_G:
        return ""
    return f"these SDs ({cells[1]:g}, {cells[4]:g}) give g = {g:.1f} in size; taken as SEs they give {as_se:.2f}"


def _two_arms(cells: tuple[float, ...]) -> bool:
    """Whether means, SDs and ns of two arms are all there and usable."""
    _, sd1, n1, _, sd2, n2 = cells
    return not any(np.isnan(cells)) and sd1 > 0 and sd2 > 0 and n1 >= 2 and n2 >= 2


def _up(sd: float, n: float) -> str:
    return f"{sd * math.sqrt(n):.3g}"


@rule(
    "SD02",
    "warning",
    "SDs of the arms differ threefold",
    why="Arms drawn from one population seldom differ so; one of the two is often an SE, another unit, or a misprint.",
    do="Check both SDs against their source. If they are right, choose whose SD standardises (Glass's delta).",
    reference="Gøtzsche et al. 2007, JAMA 298:430-437",
)
def _sds_differ(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        for end in ("", "_pre", "_post"):
            one, two = row.numbers(f"sd1i{end}", f"sd2i{end}")
            if not (min(one, two) > 0 and max(one, two) >= THREEFOLD * min(one, two)):
                continue
            times = max(one, two) / min(one, two)
            n1, n2 = row.numbers("n1i", "n2i")
            top, bottom = (n1, n2) if one > two else (n2, n1)
            by_chance = min(n1, n2) >= 2 and 2 * float(f_sf(times**2, top - 1, bottom - 1)) > RARE
            if not by_chance and not (end == "" and _against_other_arm(row)):  # SD01 names the likelier slip
                yield Hit(row, f"sd1i{end} = {one:g} and sd2i{end} = {two:g}: {times:.1f} times")
                break


@rule(
    "SD03",
    "error",
    "SD larger than the scale allows",
    why="On a scale from a to b, n scores with mean m have at most the SD sqrt((m - a)(b - m) n / (n - 1)).",
    do="Check mean, SD and the ends of the scale; a variance may have been taken for the SD.",
    reference="Bhatia & Davis 2000, American Mathematical Monthly 107:353-357",
)
def _sd_beyond_scale(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        low, high = scale_of(row)
        if np.isnan(low) or np.isnan(high) or row.score == "change":
            continue
        for arm in "12":
            for end in ("", "_pre", "_post"):
                mean, sd, n = row.numbers(f"m{arm}i{end}", f"sd{arm}i{end}", f"n{arm}i")
                if not (low <= mean <= high and sd > 0):
                    continue
                room = half_unit(mean)
                middle = min(max((low + high) / 2, mean - room), mean + room)  # where the limit is widest
                inflation = n / (n - 1) if n >= 2 else 2.0
                limit = math.sqrt(max((middle - low) * (high - middle), 0.0) * inflation)
                if sd - half_unit(sd) > limit + 1e-9:
                    at = f"mean {mean:g} on a scale from {low:g} to {high:g}"
                    yield Hit(row, f"sd{arm}i{end} = {sd:g}, but at most {limit:.2f} at {at}")


def scale_of(row: Line) -> tuple[float, float]:
    """Ends of the scale: the row's own, or those of a known instrument."""
    low, high = row.numbers("scale_min", "scale_max")
    known = INSTRUMENTS.get(row.text("instrument"))
    if known is not None and row.score != "change":
        low = known.low if np.isnan(low) else low
        high = known.high if np.isnan(high) else high
    return low, high


@rule(
    "SD04",
    "warning",
    "CI or SE disagrees with SD and n",
    why="SE = SD / sqrt(n), and a 95% interval is about two SE to each side; if they disagree, one number is wrong.",
    do="Check SD, SE, interval and n against their source; an adjusted analysis may explain a smaller SE.",
    reference="Cochrane Handbook, chapter 6",
)
def _se_disagrees(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        for arm in "12":
            sd, n, se, low, high = row.numbers(
                f"sd{arm}i", f"n{arm}i", f"se{arm}i", f"m{arm}i_ci_low", f"m{arm}i_ci_high"
            )
            if not (sd > 0 and n >= 2):
                continue
            expected = sd / math.sqrt(n)
            if se > 0 and se != sd and not _rounded(expected, half_unit(sd) / math.sqrt(n)).agrees(se, TOLERANCE):
                yield Hit(row, f"se{arm}i = {se:g}, but sd{arm}i / sqrt(n{arm}i) = {expected:.3g}")
            elif high > low:
                widths = [float(critical_value(0.95, dof)) * expected for dof in (None, n - 1)]
                half = (high - low) / 2
                room = max(half_unit(low), half_unit(high)) + TOLERANCE * half
                if not min(widths) - room <= half <= max(widths) + room:
                    yield Hit(
                        row, f"the interval of mean {arm} is {half:.3g} to each side; SD and n give {widths[1]:.3g}"
                    )
        yield from _effect_interval(row)


def _effect_interval(row: Line) -> Iterator[Hit]:
    sei, vi, low, high, level = row.numbers("sei", "vi", "ci_low", "ci_high", "ci_level")
    if high > low:
        aside = _aside(row.number("yi"), low, high)
        if aside:
            yield Hit(row, aside)
            return
    se = sei if sei > 0 else math.sqrt(vi) if vi > 0 else float("nan")
    if sei > 0 and vi > 0 and not _rounded(math.sqrt(vi), half_unit(vi) / (2 * math.sqrt(vi))).agrees(sei, TOLERANCE):
        yield Hit(row, f"sei = {sei:g}, but the root of vi is {math.sqrt(vi):.3g}")
        return
    if not (se > 0 and high > low):
        return
    level = level if 0 < level < 1 else 0.95
    dof = row.number("n1i") + row.number("n2i") - 2
    widths = [float(critical_value(level, d)) * se for d in (None, dof if dof >= 1 else None)]
    half, room = (high - low) / 2, max(half_unit(low), half_unit(high))
    # Approximate and exact intervals of small trials differ by more than rounding.
    room += 2 * TOLERANCE * half + half_unit(se) * 2 if decimals(se) < 8 else 2 * TOLERANCE * half
    if not min(widths) - room <= half <= max(widths) + room:
        yield Hit(
            row,
            f"the interval {low:g} to {high:g} is {half:.3g} to each side; its SE of {se:.3g} gives {widths[0]:.3g}",
        )


def _aside(yi: float, low: float, high: float) -> str:
    """What is wrong when an effect lies outside its interval, or in its middle only as a ratio."""
    room = max(half_unit(low), half_unit(high), half_unit(yi))
    interval = f"its interval is {low:g} to {high:g}"
    if np.isnan(yi) or low - room <= yi <= high + room:
        if low > 0 and yi > 0 and high > RATIO_WIDE * low:
            logs = abs(2 * math.log(yi) - math.log(low) - math.log(high)) <= 2 * room * (1 / yi + 1 / low)
            if logs and abs(2 * yi - low - high) > 4 * room + 2 * TOLERANCE * (high - low):
                return (
                    f"yi = {yi:g} and {interval}, in the middle of which it lies as a ratio; yi must be its logarithm"
                )
        return ""
    if low > 0 and math.log(low) - room <= yi <= math.log(high) + room:
        return f"yi = {yi:g} but {interval}: yi is a logarithm, the interval that of a ratio"
    return f"yi = {yi:g} lies outside: {interval}"


def _rounded(value: float, room: float) -> Span:
    return Span(value - room, value, value + room)


@rule(
    "SD05",
    "warning",
    "change SD given as post SD",
    why="When the two times correlate above 0.5, the SD of change is smaller than that of scores, and g larger.",
    do="Take the SD of the scores at the time point, or keep the row among change scores (score = change).",
    reference="Cochrane Handbook, chapter 6",
)
def _change_sd(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        if row.score == "change":
            continue
        same = [a for a in "12" if row.number(f"sd{a}i") > 0 and row.number(f"sd{a}i") == row.number(f"sd{a}i_change")]
        words = f"{row.text('outcome')} {row.text('outcome_detail')}".casefold()
        shrunk = _shrunk(row)
        if same:
            yield Hit(row, f"sd{same[0]}i = {row.number(f'sd{same[0]}i'):g} is the SD of change")
        elif row.score == "post" and row.number("sd1i") > 0 and _speaks_of_change(words):
            yield Hit(row, f"the row is said to hold scores at a time, but the outcome is {row.text('outcome')!r}")
        elif shrunk:
            yield Hit(row, shrunk, severity="note")


def _speaks_of_change(words: str) -> bool:
    return any(
        word in words for word in ("change", "reduction", "improvement", "gain score", "difference from baseline")
    )


def _shrunk(row: Line) -> str:
    ratios = []
    for arm in "12":
        before, after, n = row.numbers(f"sd{arm}i_pre", f"sd{arm}i_post", f"n{arm}i")
        if np.isnan(after):
            after = row.number(f"sd{arm}i")
        if not (before > 0 and after > 0) or _looks_like_se(after, n, before):
            return ""
        ratios.append(after / before)
    if max(ratios) > SHRUNK:
        return ""
    return f"the SDs after treatment are {ratios[0]:.0%} and {ratios[1]:.0%} of those before, in both arms"


RULES = (_se_for_sd, _sds_differ, _sd_beyond_scale, _se_disagrees, _change_sd)
