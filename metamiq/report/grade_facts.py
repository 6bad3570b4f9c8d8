"""What a fit holds that helps a person to judge the certainty of its evidence; facts, and no judgement."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from metamiq.datasets.risk_of_bias_join import match_studies
from metamiq.effects.measures import MEASURES
from metamiq.errors import ConvergenceError, DataError
from metamiq.explaining.plain_words import plain_words
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.sensitivity.small_study import egger_test
from metamiq.sensitivity.small_study_counts import harbord_test
from metamiq.wording import count, fixed, p_text

Fit = PooledEffect | BoundedFit
RATIOS = {"OR": "odds ratio", "RR": "risk ratio", "PETO": "odds ratio", "ROM": "ratio of means", "IRR": "rate ratio"}
BINARY = ("OR", "RR", "RD", "PETO")
_COMMON = ("FE", "MH", "PETO")  # one effect for all: no prediction interval
_ABOUT = {  # columns that say whom, what and when a result is about
    "disorder": "disorder",
    "population": "population",
    "comparator": "comparison",
    "domain": "outcome",
    "timepoint": "time point",
}
_READABLE = 10  # effect sizes below which a test of small-study effects should not be read
_LISTED = 6  # different values that are counted one by one


def groups_of(fit: Fit) -> tuple[str, str]:
    """Names of the two groups, as the table carries them."""
    first, second = fit.effects.attrs.get("groups", ("group 1", "group 2"))
    return str(first), str(second)


def effect_text(fit: Fit) -> str:
    """The pooled effect with its interval, ratios as ratios."""
    low, high = fit.ci()
    measure = fit.measure or ""
    if measure in RATIOS:
        numbers = [fixed(math.exp(x)) for x in (fit.estimate, low, high)]
        name = RATIOS[measure]
    else:
        numbers = [fixed(x) for x in (fit.estimate, low, high)]
        name = {"SMD": "g", "MD": "mean difference", "RD": "risk difference"}.get(
            measure, MEASURES[measure].meaning if measure in MEASURES else "effect"
        )
    return f"{name} {numbers[0]} ({100 * fit.level:g}% interval {numbers[1]} to {numbers[2]})"


def in_plain_words(fit: Fit) -> str:
    """A standardised mean difference as a share of pairs of people; empty for other measures."""
    if fit.measure != "SMD" or not np.isfinite(fit.estimate):
        return ""
    better = "higher" if isinstance(fit, BoundedFit) else fit.effects.attrs.get("better")
    low, high = fit.ci()
    turned = better == "lower"
    shares = [_share(x) for x in ((-fit.estimate, -high, -low) if turned else (fit.estimate, low, high))]
    first = groups_of(fit)[0]
    did = "scored higher" if better is None else "did better"
    return (
        f"Of two people, one from each group, the one of {first} {did} in {shares[0]} of pairs ({shares[1]} to "
        f"{shares[2]}; 50% when nothing differs)."
    )


def _share(g: float) -> str:
    share = plain_words(g).superiority if math.isfinite(g) else float(g > 0)
    return f"{100 * share:.0f}%"


def absolute(fit: Fit, risk: float) -> tuple[float, float, float]:
    """Events per person in group 1 at an assumed risk in group 2: estimate and both ends of the interval.

    With r the assumed risk: RR r; r + RD; OR r / (1 - r + OR r). A risk that would exceed 1, or fall below 0, is cut
    there.

    Raises
    ------
    DataError
        If the outcome is not one that people have or have not.

    References
    ----------
    Higgins & Green (2011), Cochrane Handbook 5.1, section 11.5.5.
    """
    measure = fit.measure
    if measure not in BINARY:
        raise DataError(
            "An assumed risk has a meaning for outcomes that people have or have not (measures "
            f"{', '.join(BINARY)}), but the measure is {measure or 'not recorded'}. Leave assumed_risk out."
        )
    out = []
    for x in (fit.estimate, *fit.ci()):
        if measure == "RD":
            value = risk + x
        elif measure == "RR":
            value = risk * math.exp(x)
        else:
            odds = risk / (1.0 - risk) * math.exp(x)
            value = odds / (1.0 + odds) if math.isfinite(odds) else 1.0
        out.append(min(max(value, 0.0), 1.0))
    return out[0], out[1], out[2]


def absolute_text(fit: Fit, risk: float, source: str) -> str:
    """The absolute effect per 1000 people, with where the assumed risk is from."""
    first, second = groups_of(fit)
    with_treatment = absolute(fit, risk)
    here, low, high = (1000.0 * x for x in with_treatment)
    differences = [1000.0 * (x - risk) for x in with_treatment]
    fewer, ends = _change(differences[0]), " to ".join(_change(x) for x in differences[1:])
    return (
        f"{1000 * risk:.0f} per 1000 with {second} (assumed: {source}); {here:.0f} per 1000 with {first} ({low:.0f} to "
        f"{high:.0f}): {fewer} ({ends})."
    )


def _change(per_thousand: float) -> str:
    n = round(abs(per_thousand))
    return "no difference" if n == 0 else f"{n} {'more' if per_thousand > 0 else 'fewer'}"


def people(fit: Fit) -> tuple[float, str]:
    """Participants, each study counted once, and what must be known about that number; NaN when a size is unknown."""
    frame = _pooled_rows(fit)
    if {"n1i", "n2i"} <= set(frame.columns):
        n = frame["n1i"].to_numpy(dtype=float) + frame["n2i"].to_numpy(dtype=float)
    elif "ni" in frame:
        n = frame["ni"].to_numpy(dtype=float)
    else:
        return math.nan, "the table has no sizes"
    unknown = int(np.isnan(n).sum())
    if unknown:
        return math.nan, f"the sizes of {count(unknown, 'row')} are not known"
    key = next((c for c in ("study", "trial_id") if c in frame), None)
    total = float(n.sum() if key is None else pd.Series(n).groupby(frame[key].to_numpy()).max().sum())
    notes = []
    if "n_source" in frame and (frame["n_source"] == "assumed").any():
        notes.append(f"arm sizes assumed in {count(int((frame['n_source'] == 'assumed').sum()), 'trial')}")
    return total, "; ".join(notes)


def _pooled_rows(fit: Fit) -> pd.DataFrame:
    included = getattr(fit, "included", None)
    return fit.effects if included is None else fit.effects.loc[np.asarray(included, dtype=bool)]


def facts(fit: Fit, risk_of_bias: pd.DataFrame | None = None) -> dict[str, str]:
    """What is known that bears on each domain; nothing is said about what it amounts to.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The pooled outcome.
    risk_of_bias : DataFrame, optional
        Judgements on the studies, from `read_risk_of_bias`.

    Returns
    -------
    dict of str to str
        By domain.
    """
    return {
        "risk_of_bias": _bias(fit, risk_of_bias),
        "inconsistency": _inconsistency(fit),
        "indirectness": _directness(fit),
        "imprecision": _imprecision(fit),
        "publication_bias": _publication(fit),
        "large_effect": effect_text(fit) + ".",
        "dose_response": "See a meta-regression on the dose, if there is one.",
        "plausible_confounding": "No number says this.",
    }


def _bias(fit: Fit, judged: pd.DataFrame | None) -> str:
    if judged is None:
        return "There is no table of risk-of-bias judgements."
    try:
        at = match_studies(fit.effects, judged["study"].tolist())
    except DataError as error:
        return f"The judgements cannot be matched with the studies: {error}"
    rows = judged.iloc[list(dict.fromkeys(at))]
    words = Counter("not judged" if pd.isna(x) else str(x) for x in rows["overall"])
    listed = ", ".join(f"{word} {n}" for word, n in words.items())
    return f"Overall judgement of {studies(len(rows))} ({judged.attrs.get('tool', 'tool not recorded')}): {listed}."


def studies(n: int) -> str:
    """A number of studies in words."""
    return "1 study" if n == 1 else f"{n} studies"


def _inconsistency(fit: Fit) -> str:
    if fit.k < 2:
        return "One study: nothing can differ."
    said = [f"I2 {fixed(fit.I2, 0)}%"]
    if fit.method not in _COMMON:
        said.append(f"tau2 {fixed(fit.tau2, 3)}")
    if np.isfinite(fit.Q):
        said.append(f"Q({fit.Q_df}) {fixed(fit.Q, 1)}, {p_text(fit.Q_p)}")
    low, high = fit.pi()
    if fit.method not in _COMMON and np.isfinite(low):
        ends = [math.exp(x) if fit.measure in RATIOS else x for x in (low, high)]
        said.append(f"{100 * fit.level:g}% prediction interval {fixed(ends[0])} to {fixed(ends[1])}")
    return "; ".join(said) + "."


def _directness(fit: Fit) -> str:
    frame = fit.effects
    said = []
    for name, words_for in _ABOUT.items():
        if name in frame:
            words = Counter("not reported" if pd.isna(x) else str(x) for x in frame[name])
            if len(words) <= _LISTED:
                said.append(f"{words_for}: {', '.join(f'{w} {n}' for w, n in words.most_common())}")
            else:
                said.append(f"{words_for}: {len(words)} different ones")
    said = said or ["No number says this"]
    return "; ".join(said) + ". See the study characteristics."


def _imprecision(fit: Fit) -> str:
    n, note = people(fit)
    who = f"{n:.0f} participants" if np.isfinite(n) else f"number of participants not known ({note})"
    said = [effect_text(fit), f"{who} in {studies(fit.n_studies)}"]
    frame = _pooled_rows(fit)
    if {"ai", "ci"} <= set(frame.columns):
        said.append(f"{float(frame['ai'].sum() + frame['ci'].sum()):.0f} events")
    if isinstance(fit, BoundedFit):
        said.append(f"{count(fit.k_points, 'effect size')} and {count(fit.k_bounds, 'bound')}")
    if note and np.isfinite(n):
        said.append(note)
    return "; ".join(said) + "."


def _publication(fit: Fit) -> str:
    if isinstance(fit, BoundedFit):
        return (
            f"{fit.k_bounds} of {fit.k} rows are bounds, which have no standard error: small-study effects cannot be "
            "looked for."
        )
    test: Any = egger_test
    if fit.measure == "OR" and {"ai", "n1i", "ci", "n2i"} <= set(fit.effects.columns):
        test = harbord_test
    try:
        found = test(fit)
    except (ValueError, ConvergenceError) as error:
        return f"Small-study effects cannot be looked for. {error}"
    if found.k < _READABLE:
        return f"{found.name} should not be read with {found.k} effect sizes; it needs at least {_READABLE}."
    low, high = found.ci()
    cautions = "".join(f" {x}" for x in found.cautions)
    return (
        f"{found.name}: coefficient {fixed(found.intercept)} ({100 * found.level:g}% interval {fixed(low)} to "
        f"{fixed(high)}), {p_text(found.p_value)}, k = {found.k}.{cautions}"
    )
