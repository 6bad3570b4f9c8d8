"""L01-L04: a row that is unlike the others, and rows that are too much alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metamiq.errors import ConvergenceError, DataError
from metamiq.living.rules.material import Hit, Line, Material, grouped, rule
from metamiq.living.rules.pooling_choices import LARGEST, effects_of
from metamiq.pooling import batch
from metamiq.tails import chi2_sf, critical_value

LEAST_OTHERS = 4
ALIKE = 3.0  # the others' SDs lie within this factor of each other
UNLIKE = 4.0  # and the row's beyond this one
FITS = 1.5  # a root, or n times over, that comes this near to the usual SD explains it
FAR = 3.0  # deleted residuals in standard errors
NEAR = 1.0
RARE = 0.01
RARE_IN_ALL = 0.02  # chance that one of all rows lies as far out

Array = NDArray[np.float64]


def _alike(material: Material) -> list[list[Line]]:
    """Rows that may be compared: those whose instrument, outcome and kind of score, where they are said, agree."""
    if material.ds is not None:
        return []
    rows = ((f"{row.text('instrument')}|{row.text('outcome')}|{row.score}", row) for row in material.rows)
    return [found for found in grouped(rows).values() if len(found) > LEAST_OTHERS]


@rule(
    "L01",
    "warning",
    "SDs unlike those of the other rows",
    why="On one scale SDs are of one size; another size means an SE, a variance, another unit or a misplaced point.",
    do="Check the SDs, their unit and the instrument. Mean differences (MD) cannot be pooled across units.",
    reference="Cochrane Handbook, chapter 6; Gøtzsche et al. 2007, JAMA 298:430-437",
)
def _sds_unlike(material: Material) -> Iterator[Hit]:
    for rows in _alike(material):
        sds = np.array([row.numbers("sd1i", "sd2i") for row in rows])
        whole = np.asarray((sds > 0).all(axis=1))
        rows, size = [row for row, good in zip(rows, whole, strict=True) if good], np.sqrt(sds[whole].prod(axis=1))
        order = np.argsort(size)
        if len(rows) <= LEAST_OTHERS:
            continue
        for position in {int(order[0]), int(order[-1])}:
            others = np.delete(size, position)
            middle = float(np.median(others))
            if others.max() <= ALIKE * others.min() and not 1 / UNLIKE < size[position] / middle < UNLIKE:
                yield Hit(rows[position], _unlike(rows[position], rows, others))


def _unlike(row: Line, rows: list[Line], others: Array) -> str:
    """The finding, with what would explain it: a variance, an SE, a decimal point or, if the means agree, a unit."""
    one, two, n1, n2 = row.numbers("sd1i", "sd2i", "n1i", "n2i")
    middle = float(np.median(others))
    text = f"SDs of {one:g} and {two:g}, but in the other {len(others)} rows they are around {middle:.3g}"
    power = 10.0 ** round(math.log10(math.sqrt(one * two) / middle))
    means = np.abs([line.numbers("m1i", "m2i") for line in rows if line is not row])
    mean = np.abs(row.numbers("m1i", "m2i")).mean() / np.nanmedian(means) if np.isfinite(means).any() else np.nan
    if power != 1 and 1 / FITS < mean / power < FITS:
        return f"{text}, and the means are {power if power > 1 else 1 / power:g} times as {_size(power)}, too"
    guesses = (
        ("as variances they give", math.sqrt(one), math.sqrt(two)),
        ("as SEs they give", one * math.sqrt(max(n1, 0.0)), two * math.sqrt(max(n2, 0.0))),
        ("with the decimal point moved they are", one / power, two / power),
    )
    for words, a, b in guesses:
        if all(1 / FITS < x / middle < FITS for x in (a, b)):
            return f"{text}; {words} {a:.3g} and {b:.3g}"
    return text


def _size(power: float) -> str:
    return "large" if power > 1 else "small"


@rule(
    "L02",
    "warning",
    "sign of a mean unlike all others",
    why="Where every other mean is positive, a negative one is a lost sign, or a change among scores at a time.",
    do="Check the sign; say in a column score which rows hold change scores, which SMD must not mix with others.",
    reference="Cochrane Handbook, chapter 10",
)
def _sign_of_a_mean(material: Material) -> Iterator[Hit]:
    for rows in _alike(material):
        means = np.array([row.numbers("m1i", "m2i") for row in rows])
        whole = ~np.isnan(means).any(axis=1)
        rows, means = [row for row, good in zip(rows, whole, strict=True) if good], means[whole]
        for side in (1.0, -1.0):
            odd = (side * means < 0).any(axis=1)
            # One of five may be a slip; two of five are a scale around 0.
            if odd.sum() != 1 or len(rows) <= LEAST_OTHERS or not (side * means[~odd] > 0).all():
                continue
            row = rows[int(odd.argmax())]
            m1, m2 = row.numbers("m1i", "m2i")
            span = f"{means[~odd].min():g} to {means[~odd].max():g}"
            yield Hit(row, f"m1i = {m1:g} and m2i = {m2:g}, but the means of the other {len(rows) - 1} rows are {span}")


@rule(
    "L03",
    "warning",
    "effect that would fit the others if it were turned round",
    why="Arms swapped, a sign lost or a scale that runs the other way make an effect point away from all others.",
    do="Check which arm is group 1, the sign, and whether a high score is good on this instrument.",
    reference="Viechtbauer & Cheung 2010, Research Synthesis Methods 1:112-125",
)
def _turned_round(material: Material) -> Iterator[Hit]:
    effects = effects_of(material)
    k = len(effects)
    if not LEAST_OTHERS < k <= LARGEST:
        return
    yi, vi = effects["yi"].to_numpy(), effects["vi"].to_numpy()
    try:
        without = batch.random_effects(yi, vi, mask=~np.eye(k, dtype=bool), test="z")
    except (DataError, ConvergenceError):
        return
    error = np.sqrt(vi + without.tau2 + without.se**2)
    far = np.abs(yi - without.estimate) / error
    turned = np.abs(-yi - without.estimate) / error
    limit = max(FAR, float(critical_value(1.0 - RARE_IN_ALL / k)))
    for position in np.flatnonzero((far > limit) & (turned < NEAR)).tolist():
        row = material.rows[int(effects.index[position])]
        mean = f"the mean of the other {k - 1} is {without.estimate[position]:.2f}"
        yield Hit(row, f"the effect is {yi[position]:.2f}, {far[position]:.1f} standard errors off; {mean}")


@rule(
    "L04",
    "warning",
    "effects agree more than chance allows",
    why="Effects scatter by their sampling errors at least; less scatter means that the variances are too large.",
    do="Check whether vi holds standard errors (then call it sei) or half widths of intervals.",
)
def _too_much_alike(material: Material) -> Iterator[Hit]:
    if material.ds is not None or not (material.has("yi", "vi") or material.has("yi", "sei")):
        return
    effects = effects_of(material)
    if len(effects) <= LEAST_OTHERS:
        return
    yi, vi = effects["yi"].to_numpy(), effects["vi"].to_numpy()
    Q, dof = _cochran_q(yi, vi), len(yi) - 1
    p = 1.0 - float(chi2_sf(Q, dof))
    if p >= RARE:
        return
    found = f"Q = {Q:.2f} with {dof} degrees of freedom, which chance makes so small in {_share(p)} of tables"
    as_se = _cochran_q(yi, vi**2)
    if material.has("vi") and RARE < float(chi2_sf(as_se, dof)) < 1.0 - RARE:
        found += f"; if vi held standard errors, Q would be {as_se:.2f}"
    yield Hit(None, found)


def _cochran_q(yi: Array, vi: Array) -> float:
    w = 1.0 / vi
    return float(w @ (yi - (w @ yi) / w.sum()) ** 2)


def _share(p: float) -> str:
    return f"{100 * p:.1f}%" if p >= 0.001 else "fewer than 0.1%"


RULES = (_sds_unlike, _sign_of_a_mean, _turned_round, _too_much_alike)
