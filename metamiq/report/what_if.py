"""What the answer would be with other trials, another outcome rule or another model: computed here, shown by the page.

The page holds the engine's estimate for every combination and only looks it up, so that no statistics are written
twice. Numbers are packed as 16-bit integers in units of 0.0001, which is finer than anything the page shows.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.datasets import Dataset
from metamiq.effects.choice import PrimaryRule
from metamiq.effects.trials import trial_effects
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.question import CUTOFF, Answers, CannotFit
from metamiq.report.all_subsets import (
    MOST_ROWS,
    SubsetTable,
    bounded_subsets,
    point_subsets,
    subsets_within_reach,
)
from metamiq.wording import count, fixed, true_minus

UNIT = 1e-4
NONE, BELOW, ABOVE = -32768, -32767, 32767  # no number; below and above what 16 bits hold, or infinite
_QUICK = "prediction interval by the model's own test, not by the bootstrap (nagashima) of the report's answer"
VERDICTS = ("", "reproduced", "consistent", "inconsistent")

RULES = (
    ("primary", "clinician-rated where both exist (primary)", PrimaryRule()),
    ("self", "self-rated where both exist", PrimaryRule(raters=("self",))),
)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The numbers of one outcome rule and one model."""

    rule: str
    model: str
    over: int  # bits of the rows that the model uses
    changed: int  # bits of the rows that differ from the first rule; other subsets are looked up there
    left_out: int  # how many of the rows it uses may be left out
    numbers: SubsetTable
    verdict: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """Everything that the page's panel offers."""

    rows: list[dict[str, Any]]  # key, label, group; and for each rule what the row is
    rules: list[tuple[str, str]]
    models: list[tuple[str, str]]
    presets: list[tuple[str, int]]
    tables: list[Table]
    left_out: int  # how many rows may be left out
    published: str
    symbol: str  # of the effect size
    said: tuple[str, str]  # of an interval above, and of one below, no difference
    level: float
    prediction: str = "prediction interval"  # how the page names it

    @property
    def combinations(self) -> int:
        """How many different answers are stored."""
        return sum(len(t.numbers.members) for t in self.tables)

    def payload(self) -> dict[str, Any]:
        """JSON-ready data for the page."""
        return {
            "rows": self.rows,
            "rules": [{"key": k, "name": n} for k, n in self.rules],
            "models": [{"key": k, "name": n} for k, n in self.models],
            "presets": [{"name": n, "members": m} for n, m in self.presets],
            "leftOut": self.left_out,
            "published": self.published,
            "symbol": self.symbol,
            "said": list(self.said),
            "level": self.level,
            "prediction": self.prediction,
            "unit": UNIT,
            "tables": [
                {"rule": t.rule, "model": t.model, "over": t.over, "changed": t.changed, "leftOut": t.left_out}
                | {
                    name: pack(getattr(t.numbers, column), 3 if name == "tau2" else 2)
                    for name, column in (
                        ("estimate", "estimate"),
                        ("low", "ci_low"),
                        ("high", "ci_high"),
                        ("tau2", "tau2"),
                        ("half", "pi_half"),
                    )
                }
                | {"verdict": base64.b64encode(t.verdict.tobytes()).decode("ascii")}
                for t in self.tables
            ],
        }


def pack(values: NDArray[np.float64], digits: int = 2) -> str:
    """Numbers as base64 of little-endian 16-bit integers, of which the page shows `digits` decimals.

    A number that would come to lie halfway between two that can be shown is moved by one unit to the side on which it
    was, or the page would round it a second time: 0.56497 is shown as 0.56, but 0.5650 as 0.57.

    Examples
    --------
    >>> list(base64.b64decode(pack(np.array([0.3399]))))
    [71, 13]
    """
    with np.errstate(invalid="ignore"):
        scaled = np.rint(values / UNIT)
        step = round(10.0**-digits / UNIT)
        side = np.where(np.abs(values / UNIT) < np.abs(scaled), -1.0, 1.0) * np.sign(scaled)
        scaled = np.where(np.abs(scaled) % step == step / 2, scaled + side, scaled)
    whole = np.where(np.isnan(scaled), NONE, np.clip(scaled, BELOW, ABOVE))
    return base64.b64encode(whole.astype("<i2").tobytes()).decode("ascii")


def verdict_codes(table: SubsetTable, published: str) -> NDArray[np.uint8]:
    """The audit's verdict on the published mean, by index of `VERDICTS`; 0 where there is no answer."""
    try:
        claimed = float(published)
    except ValueError:
        return np.zeros(len(table.members), dtype=np.uint8)
    digits = len(published.partition(".")[2])
    rounds = np.abs(table.estimate - claimed) <= 0.5 * 10.0**-digits + 1e-12
    inside = (table.ci_low <= claimed) & (claimed <= table.ci_high)
    codes = np.where(rounds, 1, np.where(inside, 2, 3))
    return np.where(np.isnan(table.estimate), 0, codes).astype(np.uint8)


def first_question(answers: Answers, published: str = "") -> WhatIf | CannotFit:
    """The panel of the first question: points and bounds, random or common effect, points alone, outcome rules."""
    fit = answers.pooled
    if isinstance(fit, CannotFit):
        return fit
    if fit.k > MOST_ROWS:
        return CannotFit(f"With {fit.k} trials there are too many combinations to keep in a page.")
    members, left_out = subsets_within_reach(fit.k)
    effects = answers.effects
    rows: list[dict[str, Any]] = [
        {"key": str(r["trial_id"]), "label": str(r["label"]), "group": _text(r["disorder"]), "is": {}}
        for r in effects.to_dict(orient="records")
    ]
    rules: list[tuple[str, str]] = []
    tables: list[Table] = []
    for key, name, rule in RULES:
        frame = effects if key == "primary" else _under(answers, rule)
        if frame is None:
            continue
        changed = (1 << fit.k) - 1 if key == "primary" else _bits(_differs(effects, frame))
        if changed == 0:
            continue
        try:
            own = fit if key == "primary" else random_effects_bounded(frame, level=answers.level)
            tables += _tables(key, own, frame, members, left_out, changed, published)
        except (DataError, ConvergenceError):
            continue
        rules.append((key, name))
        for row, r in zip(rows, frame.to_dict(orient="records"), strict=True):
            row["is"][key] = _what(r)
    models = [
        ("random", "random effects (points and bounds, ML)"),
        ("common", "one common effect, tau2 = 0 (ML)"),
        ("points", "effect sizes only, verdicts dropped (REML)"),
    ]
    models = [m for m in models if any(t.model == m[0] for t in tables)]
    return WhatIf(
        rows,
        rules,
        models,
        _presets(effects, left_out),
        tables,
        left_out,
        published,
        "g",
        ("The interval favours MI + CBT.", "The interval favours CBT."),
        answers.level,
    )


def of_dataset(ds: Dataset, level: float, published: str) -> WhatIf | CannotFit:
    """The panel of `first_question`, from the evidence alone."""
    return first_question(Answers(ds, level), published)


def study_table(fit: PooledEffect, groups: tuple[str, str], symbol: str = "mean") -> WhatIf | CannotFit:
    """The panel of a table of effect sizes: the fit's own method, and others."""
    if fit.k > MOST_ROWS:
        return CannotFit(f"With {fit.k} rows there are too many combinations to keep in a page.")
    if fit.k < 2:
        return CannotFit("With one row there is nothing to leave out.")
    members, left_out = subsets_within_reach(fit.k)
    labels = fit.source.labels()
    said = [true_minus(f"{fixed(y)} (variance {v:.3g})") for y, v in zip(fit.source.yi, fit.source.vi, strict=True)]
    rows = [
        {"key": str(i), "label": str(label), "group": "", "is": {"primary": text}}
        for i, (label, text) in enumerate(zip(labels, said, strict=True))
    ]
    everything = (1 << fit.k) - 1
    choices = dict.fromkeys(((fit.method, fit.test), ("REML", "knha"), ("DL", "z"), ("FE", "z")))
    tables, models = [], []
    by_bootstrap = fit.pi_method == "nagashima"  # for every subset it would take hours
    pi_method = "test" if by_bootstrap else fit.pi_method
    for method, test in choices:
        key = f"{method}-{test}"
        own = random_effects(
            yi=fit.source.yi, vi=fit.source.vi, method=method, test=test, level=fit.level, pi_method=pi_method
        )
        numbers = point_subsets(own, members)
        none = np.zeros(len(members), dtype=np.uint8)
        tables.append(Table("primary", key, everything, everything, left_out, numbers, none))
        models.append((key, "one common effect, normal interval" if method == "FE" else f"{method}, test {test}"))
    return WhatIf(
        rows,
        [("primary", "as in the table")],
        models,
        [("all", everything)],
        tables,
        left_out,
        "",
        symbol,
        _said(groups, fit.effects.attrs.get("better")),
        fit.level,
        _QUICK if by_bootstrap else "prediction interval",
    )


def _said(groups: tuple[str, str], better: str | None) -> tuple[str, str]:
    """What an interval above, and one below, no difference says."""
    if better is None:
        above, below = (f"larger in {name}" for name in groups)
    else:
        first, second = groups if better == "higher" else groups[::-1]
        above, below = f"it favours {first}", f"it favours {second}"
    return f"The interval lies above 0: {above}.", f"The interval lies below 0: {below}."


def _tables(
    rule: str,
    fit: BoundedFit,
    frame: pd.DataFrame,
    members: NDArray[np.int64],
    left_out: int,
    changed: int,
    published: str,
) -> list[Table]:
    own = members[(members & changed) != 0]
    everything = (1 << fit.k) - 1
    out = [
        Table(rule, model, everything, changed, left_out, numbers, verdict_codes(numbers, published))
        for model, numbers in zip(("random", "common"), bounded_subsets(fit, own), strict=True)
    ]
    is_point = (frame["kind"] == "point").to_numpy()
    if is_point.any():
        test = "knha" if is_point.sum() > 1 else "z"
        points = random_effects(frame[is_point], test=test, level=fit.level)
        places = np.flatnonzero(is_point)
        small, few = subsets_within_reach(points.k)
        numbers = point_subsets(points, small)
        # Back to the bits of all rows; ascending stays ascending.
        wide = sum((((small >> j) & 1) << int(place) for j, place in enumerate(places)), np.zeros_like(small))
        numbers = SubsetTable(wide, *(getattr(numbers, c) for c in numbers.__slots__[1:]))
        over = _bits(is_point)
        out.append(Table(rule, "points", over, over, few, numbers, verdict_codes(numbers, published)))
    return out


def _under(answers: Answers, rule: PrimaryRule) -> pd.DataFrame | None:
    """The effects under another rule, where it is about the same trials."""
    try:
        frame = trial_effects(answers.ds, rule=rule)
    except DataError:
        return None
    return frame if frame["trial_id"].tolist() == answers.effects["trial_id"].tolist() else None


def _differs(one: pd.DataFrame, other: pd.DataFrame) -> NDArray[np.bool_]:
    columns = ["yi", "vi", "yi_low", "yi_high", "n1i", "n2i"]
    a, b = one[columns].to_numpy(dtype=float), other[columns].to_numpy(dtype=float)
    return np.asarray(~((a == b) | (np.isnan(a) & np.isnan(b))).all(axis=1))


def _bits(chosen: Any) -> int:
    return sum(1 << i for i, x in enumerate(np.asarray(chosen, dtype=bool)) if x)


def _presets(effects: pd.DataFrame, left_out: int) -> list[tuple[str, int]]:
    known: dict[str, Any] = {
        "all trials": np.ones(len(effects), dtype=bool),
        "published by April 2018": effects[CUTOFF] == "yes",
        "no assumed arm sizes": effects["n_source"] != "assumed",
        "no verdicts on response": effects["domain"] == "symptoms",
        "no bare directions": effects["report"] != "direction",
    }
    out = [(name, _bits(keep)) for name, keep in known.items()]
    return [
        (name, bits)
        for i, (name, bits) in enumerate(out)
        if bits and (i == 0 or bits != out[0][1]) and len(effects) - bits.bit_count() <= left_out
    ]


def _what(row: dict[Any, Any]) -> str:
    if row["kind"] == "point":
        return true_minus(f"g = {fixed(row['yi'])}")
    low, high = (true_minus(fixed(row[c])) for c in ("yi_low", "yi_high"))
    if np.isinf(row["yi_high"]):
        return f"above {low}"
    return f"below {high}" if np.isinf(row["yi_low"]) else f"{low} to {high}"


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)


def describe(panel: WhatIf) -> str:
    """What the panel holds, in one sentence.

    Examples
    --------
    >>> import metamiq as mm
    >>> fit = mm.random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.02, 0.05])
    >>> found = study_table(fit, ("A", "B"))
    >>> print(describe(found))
    21 answers, computed before this page was written: 1 outcome rule, 3 models, every subset of 3 trials.
    """
    rows = len(panel.rows)
    every = (
        f"every subset of {rows} trials"
        if panel.left_out >= rows - 1
        else f"every subset of {rows} trials that leaves out at most {panel.left_out}"
    )
    return (
        f"{panel.combinations:,} answers, computed before this page was written: "
        f"{count(len(panel.rules), 'outcome rule')}, {count(len(panel.models), 'model')}, {every}."
    )
