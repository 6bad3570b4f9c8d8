"""Published claims and their verdicts.

*reproduced*: ours rounds to the printed figure. *consistent*: the evidence does not contradict the claim, which is
not to say that it supports it. *inconsistent*: it does. *not testable*: it cannot tell, and the reason says what
would let it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.gaps import where_published
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.question import FEW_SESSIONS, Answers, CannotFit
from metamiq.tails import critical_value
from metamiq.wording import count, fixed, in_short, p_text

VERDICTS = ("reproduced", "consistent", "inconsistent", "not testable")
THIN = 10  # fewer effect sizes (points) than this is thin evidence, whatever the number of bounds
_POWER = 0.8
_SIGNIFICANCE = 0.05


class Finding(NamedTuple):
    """What one claim comes to."""

    ours: str
    verdict: str
    reason: str
    k_points: int = 0
    k_bounds: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """The verdict on each published claim."""

    table: pd.DataFrame  # claim_id quantity published ours k_points k_bounds verdict thin reason source
    answers: Answers = field(repr=False)

    @property
    def agrees(self) -> bool:
        """Whether no claim is inconsistent with the evidence."""
        return not (self.table["verdict"] == "inconsistent").any()

    def to_frame(self) -> pd.DataFrame:
        """One row per claim."""
        return self.table.copy()

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """A few lines per claim; the caller prints them."""
        lines = []
        for row in self.table.itertuples():
            lines.append(f"{row.claim_id}: {str(row.verdict).upper()}")
            lines.append(f"  published: {row.published}; ours: {row.ours}")
            lines.append(f"  {row.reason}")
        return "\n".join(lines)


def audit(ds: Dataset | Answers) -> Audit:
    """Compare each claim in ``ds.claims`` with what the dataset's evidence gives.

    Parameters
    ----------
    ds : Dataset or Answers
        A dataset with claims, or the answers already computed from it.

    Returns
    -------
    Audit
        One verdict per claim, with the figure, the numbers of points and bounds behind it, and the reason.

    Raises
    ------
    DataError
        If the dataset has no claims, or no usable trial.

    Examples
    --------
    >>> import metamiq as mm
    >>> result = audit(mm.load_dataset("mi_cbt_anxiety"))
    >>> result.table.set_index("claim_id")["verdict"]["k"]
    'not testable'
    """
    answers = ds if isinstance(ds, Answers) else Answers(ds)
    claims = answers.ds.claims
    if claims.empty:
        raise DataError(f"An audit needs published claims, but {answers.ds.name!r} has none. Add them to claims.csv.")
    order = list(_RULES)
    claims = claims.sort_values(
        "claim_id", key=lambda ids: ids.map(lambda i: order.index(i) if i in order else len(order)), kind="stable"
    )
    rows = []
    for claim in claims.itertuples():
        rule = _RULES.get(str(claim.claim_id), _no_rule)
        finding = rule(answers, str(claim.reported))
        thin = finding.verdict in ("consistent", "reproduced") and finding.k_points < THIN
        reason = finding.reason
        if thin:
            reason += f" The evidence is thin: {count(finding.k_points, 'effect size')}" + (
                f" and {count(finding.k_bounds, 'bound')}." if finding.k_bounds else "."
            )
        rows.append(
            {
                "claim_id": claim.claim_id,
                "quantity": claim.quantity,
                "published": claim.reported,
                "ours": finding.ours,
                "k_points": finding.k_points,
                "k_bounds": finding.k_bounds,
                "verdict": finding.verdict,
                "thin": thin,
                "reason": reason,
                "source": claim.source,
            }
        )
    return Audit(pd.DataFrame(rows), answers)


def agrees(printed: str, computed: float) -> bool:
    """Whether `computed` rounds to `printed` at the precision that was printed.

    Examples
    --------
    >>> agrees("0.59", 0.594), agrees("0.59", 0.596)
    (True, False)
    """
    try:
        exponent = Decimal(printed).as_tuple().exponent
    except InvalidOperation:
        return False
    if not isinstance(exponent, int) or not math.isfinite(computed):
        return False
    return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= Decimal(1).scaleb(exponent) / 2


def detectable(se: float) -> float:
    """Smallest true difference that a two-sided 5% test with this standard error finds with 80% power.

    (z(0.975) + z(0.8)) se, the normal approximation.

    Examples
    --------
    >>> print(f"{detectable(0.1):.3f}")
    0.280
    """
    return float((critical_value(1 - _SIGNIFICANCE) + critical_value(2 * _POWER - 1)) * se)


def _interval(fit: BoundedFit) -> str:
    low, high = fit.ci()
    return f"g = {fixed(fit.estimate)} ({100 * fit.level:g}% interval {fixed(low)} to {fixed(high)})"


def _no_rule(answers: Answers, published: str) -> Finding:
    return Finding("-", "not testable", "No analysis here computes this quantity.")


def _k(answers: Answers, published: str) -> Finding:
    trials = answers.ds.trials
    early = trials[(trials["role"] == "candidate") & (trials["published_by_2018_04"] == "yes")]
    usable = answers.effects[answers.effects["trial_id"].isin(early["trial_id"])]
    points = int((usable["kind"] == "point").sum())
    return Finding(
        f"{len(early)} candidates published by April 2018, {len(usable)} of them usable",
        "not testable",
        "The trials that were pooled are not named in any text that could be read, so neither their number nor which "
        "they were can be checked. The trial list in the full text of Marker & Norton (2018) would make it testable.",
        points,
        len(usable) - points,
    )


def _pooled_g(answers: Answers, published: str) -> Finding:
    fit, everything = answers.early, answers.pooled
    if isinstance(fit, CannotFit):
        return Finding("-", "not testable", fit.reason)
    low, high = fit.ci()
    p = fit.likelihood_ratio(float(published))
    also = (
        "" if isinstance(everything, CannotFit) else f" All candidates, later ones included: {_interval(everything)}."
    )
    where = f"The trials that could have been among those pooled (published by April 2018) give {_interval(fit)}"
    if agrees(published, fit.estimate):
        verdict, tail = "reproduced", f", which rounds to {published}."
    elif p >= _SIGNIFICANCE:
        verdict, tail = (
            "consistent",
            f"; a true mean of {published} is not contradicted (likelihood-ratio {p_text(p)}).",
        )
    else:
        verdict = "inconsistent"
        tail = f"; a true mean of {published} is contradicted (likelihood-ratio {p_text(p)})."
    return Finding(
        f"{fixed(fit.estimate)} ({fixed(low)} to {fixed(high)})",
        verdict,
        where + tail + also,
        fit.k_points,
        fit.k_bounds,
    )


def _dropout(answers: Answers, published: str) -> Finding:
    if not answers.dropout_common:
        return Finding(
            "-",
            "not testable",
            "No trial gives dropout counts for both arms. " + where_published(answers.ds, "dropout"),
        )
    fit = answers.dropout_common["OR"]
    ratio, (low, high) = math.exp(fit.estimate), (math.exp(x) for x in fit.ci())
    verdict = "consistent" if fit.p_value >= _SIGNIFICANCE else "inconsistent"
    said = "does not differ" if verdict == "consistent" else "differs"
    least = detectable(fit.se)
    return Finding(
        f"odds ratio {fixed(ratio)} ({fixed(low)} to {fixed(high)}), {p_text(fit.p_value)}",
        verdict,
        f"Over the {count(fit.k, 'trial')} with counts in both arms ({', '.join(answers.dropout['label'])}) dropout "
        f"{said} significantly. Only an odds ratio below {fixed(math.exp(-least))} or above {math.exp(least):.1f} "
        "would have been detected with 80% power.",
        fit.k,
        0,
    )


def _term(fit: BoundedFit) -> tuple[float, str]:
    row = fit.term_tests.iloc[0]
    p = float(row["p_value"])
    return p, f"likelihood-ratio chi2({row['dof']:.0f}) = {fixed(row['statistic'])}, {p_text(p)}"


def _disorder(answers: Answers, published: str) -> Finding:
    fit = answers.disorder
    if isinstance(fit, CannotFit):
        return Finding("-", "not testable", fit.reason)
    p, test = _term(fit)
    assert fit.design is not None
    groups = sorted(fit.effects["disorder"].unique())
    x = fit.design.new_rows(pd.DataFrame({"disorder": groups}))
    pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
    se = [float(np.sqrt((x[i] - x[j]) @ fit.cov @ (x[i] - x[j]))) for i, j in pairs]
    best = int(np.argmin(se))
    i, j = pairs[best]
    means = fit.group_means()
    listed = "; ".join(f"{g} {fixed(means.loc[g, 'estimate'])}" for g in groups)
    verdict = "consistent" if p >= _SIGNIFICANCE else "inconsistent"
    return Finding(
        f"{test}",
        verdict,
        f"Mean g by disorder: {listed}. Even between the two best-known groups ({groups[j]} and {groups[i]}) only a "
        f"difference of {fixed(detectable(se[best]))} or more would have been detected with 80% power.",
        fit.k_points,
        fit.k_bounds,
    )


def _dose(answers: Answers, published: str) -> Finding:
    fit = answers.dose
    if isinstance(fit, CannotFit):
        return Finding("-", "not testable", fit.reason)
    p, test = _term(fit)
    row = fit.coefficients.loc["mi_sessions"].to_dict()
    low, high = answers.dose_range
    least = detectable(float(row["se"]))
    left_out = f" Left out, number of sessions unknown: {', '.join(fit.omitted)}." if fit.omitted else ""
    return Finding(
        f"{row['estimate']:+.2f} per session ({fixed(row['ci_low'])} to {fixed(row['ci_high'])}); {test}",
        "consistent" if p >= _SIGNIFICANCE else "inconsistent",
        f"Only a slope of {fixed(least)} per session or more ({fixed(least * (high - low))} between {low:g} and "
        f"{high:g} sessions) would have been detected with 80% power.{left_out}",
        fit.k_points,
        fit.k_bounds,
    )


def _across_disorders(answers: Answers, published: str) -> Finding:
    parts, reasons, verdicts = [], [], []
    points = bounds = 0
    for name in ("GAD", "OCD", "PTSD"):
        rows = answers.effects[answers.effects["disorder"] == name]
        here = int((rows["kind"] == "point").sum())
        points, bounds = points + here, bounds + len(rows) - here
        fit = answers.of_disorder(name) if len(rows) else CannotFit("no usable trial")
        if isinstance(fit, CannotFit):
            verdicts.append("not testable")
            parts.append(f"{name} -")
            reasons.append(f"{name} cannot be tested: {fit.reason.rstrip('.')}.")
            continue
        low, high = fit.ci()
        parts.append(f"{name} {fixed(fit.estimate)} ({fixed(low)} to {fixed(high)})")
        verdicts.append("inconsistent" if high < 0 else "consistent")
        if low <= 0 <= high:
            reasons.append(f"{name}: the interval includes no benefit, so a benefit is neither shown nor excluded.")
        elif low > 0:
            reasons.append(f"{name}: a benefit is shown.")
    if "inconsistent" in verdicts:
        verdict = "inconsistent"
    elif "not testable" in verdicts:
        verdict = "not testable"
        reasons.append(where_published(answers.ds, "disorder", ("GAD", "OCD", "PTSD")))
    else:
        verdict = "consistent"
    return Finding("; ".join(parts), verdict, " ".join(x for x in reasons if x), points, bounds)


def _few_sessions(answers: Answers, published: str) -> Finding:
    fit = answers.few_sessions
    if isinstance(fit, CannotFit):
        return Finding("-", "not testable", f"{fit.reason} {where_published(answers.ds, 'sessions')}".strip())
    low, high = fit.ci()
    words = f"Trials with at most {FEW_SESSIONS} MI sessions ({', '.join(fit.labels)}) give {_interval(fit)}"
    if low > 0:
        verdict, tail = "consistent", ": a benefit is shown."
    elif high < 0:
        verdict, tail = "inconsistent", ": the interval excludes a benefit."
    else:
        verdict = "consistent"
        tail = ": the interval includes no benefit, so a benefit is neither shown nor excluded."
    return Finding(
        f"{fixed(fit.estimate)} ({fixed(low)} to {fixed(high)})", verdict, words + tail, fit.k_points, fit.k_bounds
    )


_RULES: dict[str, Callable[[Answers, str], Finding]] = {
    "k": _k,
    "pooled-g": _pooled_g,
    "dropout": _dropout,
    "disorder": _disorder,
    "dose": _dose,
    "across-disorders": _across_disorders,
    "few-sessions": _few_sessions,
}
