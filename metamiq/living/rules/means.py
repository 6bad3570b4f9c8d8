"""M01-M03: means, and the whole numbers behind them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metamiq.living.rules.arithmetic import grim, grimmer, half_unit
from metamiq.living.rules.instruments import INSTRUMENTS
from metamiq.living.rules.material import Hit, Line, Material, rule
from metamiq.living.rules.spread import scale_of

HALF_SD = 0.5
LARGEST = 1e5  # answers beyond which every printed mean is possible


@rule(
    "M01",
    "error",
    "mean outside the scale",
    why="No mean can lie outside the range of the scores.",
    do="Check the mean, the instrument and its version, and whether the mean is a change.",
)
def _outside_scale(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        low, high = scale_of(row)
        if row.score == "change":
            continue
        for arm in "12":
            for end in ("", "_pre", "_post"):
                mean = row.number(f"m{arm}i{end}")
                if mean + half_unit(mean) < low or mean - half_unit(mean) > high:
                    ends = (
                        f"from {low:g} to {high:g}"
                        if low < high
                        else f"above {low:g}"
                        if low == low
                        else f"up to {high:g}"
                    )
                    yield Hit(row, f"m{arm}i{end} = {mean:g}, but the scale runs {ends}")


@rule(
    "M02",
    "warning",
    "mean or SD impossible for whole numbers",
    why="Whole-number scores of n people give only certain means and SDs; others show another n, adjustment, or error.",
    do="Look in text and flow chart for the n that was analysed, and whether the means are adjusted or imputed.",
    reference="Brown & Heathers 2017 (GRIM); Anaya 2016, Allard 2018 (GRIMMER)",
)
def _impossible_for_n(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        items = _items(row)
        if items is None:
            continue
        impossible = []
        for arm in "12":
            n = row.number(f"n{arm}i")
            if not (2 <= n <= LARGEST / items and n == int(n)):
                continue
            for end in ("", "_pre", "_post"):
                mean, sd = row.numbers(f"m{arm}i{end}", f"sd{arm}i{end}")
                if np.isnan(mean) or abs(mean) > 1e6:
                    continue
                if not grim(mean, int(n), items):
                    impossible.append(f"mean {mean:g} with n = {n:g}")
                elif 0 <= sd < 1e5 and not grimmer(mean, sd, int(n), items):
                    impossible.append(f"SD {sd:g} with mean {mean:g} and n = {n:g}")
        if impossible:
            scores = "whole-number scores" if items == 1 else f"means of {items} whole-number items"
            yield Hit(row, f"no {scores} give {'; or '.join(impossible)}")


def _items(row: Line) -> int | None:
    items = row.number("items")
    if items >= 1 and items == int(items):
        return int(items)
    return 1 if row.text("instrument") in INSTRUMENTS else None


@rule(
    "M03",
    "note",
    "baselines differ by more than half an SD",
    why="Scores after treatment then carry a difference that was there before; post scores alone may mislead.",
    do="Prefer an analysis adjusted for baseline, or look at change as well; check that arms and ns are not mixed up.",
    reference="Senn 1994, Statistics in Medicine 13:1715-1726",
)
def _baselines_differ(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        m1, sd1, m2, sd2 = row.numbers("m1i_pre", "sd1i_pre", "m2i_pre", "sd2i_pre")
        if not (sd1 > 0 and sd2 > 0):
            continue
        gap = abs(m1 - m2) / np.sqrt((sd1**2 + sd2**2) / 2)
        n1, n2 = row.numbers("n1i", "n2i")
        # Half an SD is chance in small arms: it must also be beyond two standard errors.
        chance = 2 * np.sqrt(1 / n1 + 1 / n2) if n1 > 0 and n2 > 0 else 0.0
        if gap > max(HALF_SD, chance):
            yield Hit(row, f"baseline means {m1:g} and {m2:g} differ by {gap:.2f} SD")


RULES = (_outside_scale, _impossible_for_n, _baselines_differ)
