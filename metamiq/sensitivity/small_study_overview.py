"""Every method for small-study effects and selection at once, each with when it must not be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.errors import ConvergenceError
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import RATIO_MEASURES, PooledEffect
from metamiq.sensitivity import readable
from metamiq.sensitivity.excess_significance import excess_significance
from metamiq.sensitivity.fail_safe import fail_safe_n
from metamiq.sensitivity.limit import limit_meta_analysis
from metamiq.sensitivity.p_uniform import p_uniform_star
from metamiq.sensitivity.p_value_methods import p_curve
from metamiq.sensitivity.pet_peese import pet_peese
from metamiq.sensitivity.selection_models import selection_model
from metamiq.sensitivity.small_study import RegressionTest, begg_test, egger_test
from metamiq.sensitivity.small_study_counts import harbord_test, peters_test
from metamiq.sensitivity.trim_and_fill import trim_and_fill
from metamiq.sensitivity.worst_case import worst_case
from metamiq.wording import fixed, in_short, p_text

CAUTION = (
    "Small studies may differ from large ones for reasons other than publication: these methods look for a pattern and "
    "cannot say where it comes from. They disagree with each other as a rule; none alone decides."
)
_NOTHING = Interval(np.nan, np.nan)


class Finding(NamedTuple):
    """What one method says."""

    result: str
    p_value: float
    estimate: float
    ci: Interval
    cautions: tuple[str, ...]


class Method(NamedTuple):
    """A method, the hypothesis that its p-value is of, and when it must not be read."""

    name: str
    p_of: str
    not_when: str
    find: Callable[[PooledEffect], Finding]


def _regression(test: RegressionTest) -> Finding:
    letter = "z" if test.dof is None else f"t({test.dof:g})"
    return Finding(f"{letter} = {fixed(test.statistic)}", test.p_value, np.nan, _NOTHING, test.cautions)


def _begg(fit: PooledEffect) -> Finding:
    test = begg_test(fit)
    return Finding(f"tau = {fixed(test.tau)}", test.p_value, np.nan, _NOTHING, test.cautions)


def _trim_and_fill(fit: PooledEffect, model: str) -> Finding:
    made = trim_and_fill(fit, model=model)
    ci = Interval(made.ci_low, made.ci_high)
    return Finding(f"{made.k0} filled on the {made.side}", np.nan, made.estimate, ci, made.cautions)


def _pet_peese(fit: PooledEffect) -> Finding:
    made = pet_peese(fit)
    test = made.pet.regression
    result = f"{made.chosen}; slope t({test.dof:g}) = {fixed(test.statistic)}"
    return Finding(result, made.pet.bias_p, made.estimate, made.ci(), made.cautions)


def _limit(fit: PooledEffect) -> Finding:
    made = limit_meta_analysis(fit)
    return Finding(f"Q(1) = {fixed(made.Q_small)}", made.Q_small_p, made.estimate, made.ci(), made.cautions)


def _selection(fit: PooledEffect) -> Finding:
    made = selection_model(fit)
    result = f"weight {fixed(float(made.weights[-1]))}; LR = {fixed(made.lrt)}"
    return Finding(result, made.lrt_p, made.estimate, made.ci(), made.cautions)


def _p_curve(fit: PooledEffect) -> Finding:
    made = p_curve(fit)
    verdict = "evidential" if made.evidential else "inadequate" if made.inadequate else "undecided"
    result = f"{made.k_significant} of {made.k}: {verdict}; power {100 * made.power:.0f}%"
    return Finding(result, made.full.right_p, np.nan, _NOTHING, made.cautions)


def _p_uniform(fit: PooledEffect) -> Finding:
    made = p_uniform_star(fit)
    return Finding(f"z = {fixed(made.statistic)}", made.p_value, made.estimate, made.ci(), made.cautions)


def _excess(fit: PooledEffect) -> Finding:
    made = excess_significance(fit)
    result = f"{made.observed} significant, {fixed(made.expected, 1)} expected"
    return Finding(result, made.p_value, np.nan, _NOTHING, made.cautions)


def _fail_safe(fit: PooledEffect) -> Finding:
    made = fail_safe_n(fit)
    return Finding(f"N = {made.n:g} (5k + 10 = {made.tolerance})", np.nan, np.nan, _NOTHING, made.cautions)


def _worst_case(fit: PooledEffect) -> Finding:
    made = worst_case(fit)
    ratio = "none" if np.isinf(made.s_value) else f"{made.s_value:.3g}"
    result = f"{made.k_nonaffirmative} nonaffirmative; S-value {ratio}"
    return Finding(result, np.nan, made.estimate, Interval(made.ci_low, made.ci_high), made.cautions)


_ALIKE = "standard errors are about the same"
_FILLED = "effects differ between studies, or as data: what is filled in was never seen"
_METHODS = (
    Method(
        "Egger's regression",
        "no asymmetry",
        f"there are fewer than 10 studies, {_ALIKE}, or they depend on the effect (ratios, standardised differences)",
        lambda fit: _regression(egger_test(fit)),
    ),
    Method(
        "Egger with 1/sqrt(n)",
        "no asymmetry",
        "there are fewer than 10 studies, or studies are of about the same size",
        lambda fit: _regression(egger_test(fit, predictor="sqrtninv")),
    ),
    Method(
        "Begg and Mazumdar", "no asymmetry", f"there are fewer than about 25 studies (little power), or {_ALIKE}", _begg
    ),
    Method(
        "Harbord",
        "no asymmetry",
        "there are fewer than 10 studies with events, or effects differ much between studies",
        lambda fit: _regression(harbord_test(fit, level=fit.level)),
    ),
    Method(
        "Peters",
        "no asymmetry",
        "there are fewer than 10 studies with events, or studies are of about the same size",
        lambda fit: _regression(peters_test(fit, level=fit.level)),
    ),
    Method(
        "Trim and fill",
        "",
        _FILLED,
        lambda fit: _trim_and_fill(fit, "own"),
    ),
    Method(
        "Trim (fixed) and fill (random)",
        "",
        _FILLED,
        lambda fit: _trim_and_fill(fit, "fixed-random"),
    ),
    Method("PET-PEESE", "no asymmetry", f"there are fewer than 20 studies, {_ALIKE}, or I2 is above 80%", _pet_peese),
    Method("Limit meta-analysis", "no asymmetry", f"there are fewer than 10 studies, or {_ALIKE}", _limit),
    Method(
        "Selection model, 3 parameters",
        "no selection",
        "few results lie on one side of p = 0.025 (one-sided), or selection followed something else than p",
        _selection,
    ),
    Method(
        "p-curve",
        "no effect",
        "effects differ between studies (power is then too high), or fewer than 10 results are significant",
        _p_curve,
    ),
    Method("p-uniform*", "no effect", "few results are significant, or few are not", _p_uniform),
    Method(
        "Excess significance",
        "no excess",
        "there are fewer than 10 studies, or the true effect is not near the pooled one",
        _excess,
    ),
    Method(
        "Fail-safe N (Rosenthal)",
        "",
        "one wants to know whether there is bias: it assumes that there is none",
        _fail_safe,
    ),
    Method(
        "Worst case",
        "",
        "an estimate is wanted: it is what remains if affirmative results alone were favoured, without limit",
        _worst_case,
    ),
)
_FOR_COUNTS = ("Harbord", "Peters")


@dataclass(frozen=True, slots=True, eq=False)
class SmallStudyEffects:
    """Every method, what it says, and why it should not be believed here.

    `table` has one row per method: ``method result p_value p_of estimate ci_low ci_high not_when cautions refused``.
    `p_of` is the hypothesis that the p-value is of; `estimate` the mean after correction, on the scale of analysis,
    NaN for methods that only test; `not_when` says when a method must not be read; `cautions` (a tuple) which of this
    holds here; `refused` why it could not be used, else "".
    """

    table: pd.DataFrame
    mean: float  # the fit's own
    ci: Interval
    k: int
    level: float
    measure: str | None

    @property
    def cautions(self) -> dict[str, tuple[str, ...]]:
        """What must be borne in mind here, and which methods it concerns."""
        out: dict[str, list[str]] = {}
        for name, cautions in zip(self.table["method"], self.table["cautions"], strict=True):
            for text in cautions:
                out.setdefault(text, []).append(str(name))
        return {text: tuple(names) for text, names in out.items()}

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The table and its cautions as text; the caller prints it."""
        percent = f"{100 * self.level:g}%"
        ratio = self.measure in RATIO_MEASURES
        name = "ratio" if ratio else "mean"
        whole = corrected_text(self.mean, *self.ci, ratio=ratio, percent=f"{percent} CI ")
        head = f"Small-study effects: k = {self.k}, {name} {whole}"
        used = self.table[self.table["refused"] == ""]
        labelled = "planned" in self.table
        rows = [("method", "result", "p", "p of", f"corrected {name} ({percent} CI)", "planned" if labelled else "")]
        for row in used.to_dict(orient="records"):
            p = "" if np.isnan(row["p_value"]) else p_text(row["p_value"], 3).removeprefix("p ").removeprefix("= ")
            corrected = corrected_text(row["estimate"], row["ci_low"], row["ci_high"], ratio=ratio)
            rows.append((row["method"], row["result"], p, row["p_of"] if p else "", corrected, row.get("planned", "")))
        wide = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
        lines = [head, ""]
        lines += ["  ".join(x.ljust(w) for x, w in zip(row, wide, strict=True)).rstrip() for row in rows]
        refused = self.table[self.table["refused"] != ""]
        if len(refused):
            lines += ["", "Could not be used:"]
            lines += [f"  {r['method']}: {r['refused']}" for r in refused.to_dict(orient="records")]
        lines += ["", "Bear in mind here:"]
        every = len(used)
        for text, names in self.cautions.items():
            lines.append(f"  {text}" + (f" ({', '.join(names)})" if len(names) < every else ""))
        lines += ["", "Not to be read when:"]
        lines += [f"  {r['method']}: {r['not_when']}." for r in used.to_dict(orient="records")]
        return "\n".join([*lines, "", CAUTION])


def corrected_text(estimate: float, low: float, high: float, *, ratio: bool = False, percent: str = "") -> str:
    """A mean with its interval, as a ratio where it is the logarithm of one; empty where there is none.

    Examples
    --------
    >>> corrected_text(0.0, -0.6931, np.inf, ratio=True, percent="95% CI ")
    '1.00 (95% CI 0.50 to inf)'
    """
    if np.isnan(estimate):
        return ""
    texts = ["?" if np.isnan(x) else fixed(float(np.exp(x)) if ratio else x) for x in (estimate, low, high)]
    return f"{texts[0]} ({percent}{texts[1]} to {texts[2]})"


def small_study_effects(fit: PooledEffect) -> SmallStudyEffects:
    """Run every method for small-study effects and selection, with its defaults.

    Parameters
    ----------
    fit : PooledEffect
        A fit of `random_effects` or `fixed_effect`. With 2x2 counts (``ai n1i ci n2i``) in its table the tests of
        Harbord and Peters are run too, with group sizes Egger's regression on 1/sqrt(n).

    Returns
    -------
    SmallStudyEffects
        A method that cannot be used says why, and has NaN for numbers.

    Raises
    ------
    ValueError
        If `fit` is no such fit.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> yi = [0.1, 0.02, 0.45, 0.5, 0.9, 0.8, 0.6, 0.3, 0.55, 0.2]
    >>> vi = [0.01, 0.01, 0.02, 0.04, 0.09, 0.08, 0.05, 0.06, 0.05, 0.04]
    >>> found = small_study_effects(random_effects(yi=yi, vi=vi))
    >>> egger = found.table.iloc[0]
    >>> print(egger["method"], egger["result"], f"p = {egger['p_value']:.3f}")
    Egger's regression t(8) = 4.80 p = 0.001
    """
    readable.one_mean_of(fit, "The table of small-study effects", at_least=1)
    effects = fit.effects
    counts = {"ai", "ci"} <= set(effects.columns)
    sizes = "ni" in effects or {"n1i", "n2i"} <= set(effects.columns)
    rows = []
    for method in _METHODS:
        if (method.name in _FOR_COUNTS and not counts) or (method.name == "Egger with 1/sqrt(n)" and not sizes):
            continue
        try:
            found, refused = method.find(fit), ""
        except (ValueError, ConvergenceError) as error:
            found, refused = Finding("", np.nan, np.nan, _NOTHING, ()), str(error)
        rows.append(
            {
                "method": method.name,
                "result": found.result,
                "p_value": found.p_value,
                "p_of": method.p_of,
                "estimate": found.estimate,
                "ci_low": found.ci.low,
                "ci_high": found.ci.high,
                "not_when": method.not_when,
                "cautions": found.cautions,
                "refused": refused,
            }
        )
    return SmallStudyEffects(pd.DataFrame(rows), fit.estimate, fit.ci(), fit.k, fit.level, fit.measure)
