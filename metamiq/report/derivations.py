"""How the numbers of a report came about, as text: from `metamiq.explaining`, and for points and bounds from here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metamiq.datasets import Dataset
from metamiq.explaining.explain import explain
from metamiq.explaining.trial import explain_trial
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_likelihood import row_terms
from metamiq.pooling.bounded_profile import interval_drop
from metamiq.pooling.records import PooledEffect
from metamiq.question import Answers, CannotFit
from metamiq.report.document import Explanation
from metamiq.verdicts import Audit
from metamiq.wording import fixed

_RULES = {
    "reproduced": "our estimate rounds to the printed one",
    "consistent": "the evidence does not contradict the claim, which is not to say that it supports it",
    "inconsistent": "the evidence contradicts the claim",
    "not testable": "the evidence cannot tell",
}


def first_question(answers: Answers, audit: Audit) -> tuple[Explanation, ...]:
    """Every trial, the pooled mean with tau2 and the weights, and each verdict."""
    items = []
    fit = answers.pooled
    if not isinstance(fit, CannotFit):
        items.append(Explanation("pooled", f"Pooled g = {fixed(fit.estimate)}", bounded_mean(fit)))
        items.append(Explanation("tau2", f"tau2 = {fixed(fit.tau2, 3)}, I2 and prediction", bounded_spread(fit)))
    for trial_id in answers.effects["trial_id"]:
        derivation = explain_trial(_alone(answers.ds, str(trial_id)), str(trial_id), level=answers.level)
        items.append(Explanation(f"trial-{trial_id}", derivation.title, derivation.to_text()))
    for row in audit.to_frame().to_dict(orient="records"):
        text = (
            f"published   {row['published']}\nhere        {row['ours']}\nrule        {row['verdict']}: "
            f"{_RULES[row['verdict']]}\n\n{row['reason']}\n\nsource of the claim: {row['source']}"
        )
        items.append(Explanation(f"claim-{row['claim_id']}", f"{row['verdict']}: {row['quantity']}", text))
    return tuple(items)


def _alone(ds: Dataset, trial_id: str) -> Dataset:
    """One trial of a dataset: its derivation needs no other, and looking at all of them each time is slow."""
    return replace(
        ds,
        trials=ds.trials[ds.trials["trial_id"] == trial_id],
        results=ds.results[ds.results["trial_id"] == trial_id],
    )


def study_table(fit: PooledEffect, measure: str | None) -> tuple[Explanation, ...]:
    """The pooled mean, and each row where its columns say how its effect size is computed."""
    items = [Explanation("pooled", f"Mean = {fixed(fit.estimate, 3)}", explain(fit).to_text())]
    for i, (_, row) in enumerate(fit.effects.iterrows()):
        known = row.drop(labels=["yi", "vi"]) if measure is not None else row
        label = str(fit.source.labels()[i])
        frame = known.to_frame().T.assign(trial_id=label)
        try:
            derivation = explain(frame, label, measure=measure, level=fit.level)
        except ValueError:
            continue
        items.append(Explanation(f"row-{i}", label, derivation.to_text()))
    return tuple(items)


def bounded_mean(fit: BoundedFit) -> str:
    """The likelihood of each row at the maximum, and how the interval follows from it."""
    terms = row_terms(fit.rows, np.append(fit.beta, fit.tau2)[None])
    kp = fit.k_points
    height, own = np.empty(fit.k), np.empty(fit.k)
    height[fit.is_point], height[~fit.is_point] = terms[0, 0, :kp], terms[0, 0, kp:]
    variance = np.empty(fit.k)
    variance[fit.is_point] = fit.rows.v[0]
    variance[~fit.is_point] = fit.rows.base[0] + fit.estimate**2 / (2 * fit.rows.total[0])
    own = np.sqrt(variance + fit.tau2)
    names = [str(x) for x in fit.labels]
    wide = max(len(n) for n in names)
    lines = [
        "The mean and tau2 are those under which the reports, taken together, are most likely.",
        "",
        "A point adds    ln φ(gᵢ; μ, sᵢ²)                            sᵢ² = vᵢ + τ²",
        "A bound adds    ln[Φ((highᵢ − μ)/sᵢ) − Φ((lowᵢ − μ)/sᵢ)]    sᵢ² = 1/n₁ + 1/n₂ + μ²/(2(n₁ + n₂)) + τ²",
        "",
        f"At μ = {fit.estimate:.4f} and τ² = {fit.tau2:.4f}:",
        "",
        f"{'trial'.ljust(wide)}  {'g or bounds':>16}  {'s':>6}  {'adds':>8}  {'weight %':>8}",
    ]
    for i, row in enumerate(fit.effects.to_dict(orient="records")):
        said = f"{row['yi']:.3f}" if fit.is_point[i] else f"{row['yi_low']:.3f} to {row['yi_high']:.3f}"
        weight = 100 * fit.weights[i]
        lines.append(f"{names[i].ljust(wide)}  {said:>16}  {own[i]:6.3f}  {height[i]:8.3f}  {weight:8.1f}")
    low, high = fit.ci()
    drop = interval_drop(fit.level)
    lines += [
        f"{'sum'.ljust(wide)}  {'':>16}  {'':>6}  {height.sum():8.3f}  {100.0:8.1f}",
        "",
        "The weight is the share of a row in the information on the mean: how sharply its term bends there.",
        "A bound that the mean already satisfies tells little, and weighs little.",
        "",
        f"The {100 * fit.level:g}% interval holds every μ at which the sum, with τ² at its best for that μ, is at most",
        f"{drop:.4f} below its maximum (half of chi-squared(1) at {fit.level:g}): {low:.4f} to {high:.4f}.",
        f"At μ = 0 it is {0.5 * fit.statistic**2:.4f} below: likelihood-ratio p = {fit.p_value:.4f}.",
        f"The standard error, from the curvature, is {fit.se:.4f}.",
    ]
    return "\n".join(lines)


def bounded_spread(fit: BoundedFit) -> str:
    """tau2 with its interval, I2 and the prediction interval."""
    low, high = fit.tau2_ci()
    pi_low, pi_high = fit.pi()
    lines = [
        "tau2 is the variance of the true effects of trials under which the reports are most likely, together with",
        f"the mean: {fit.tau2:.4f} (tau = {np.sqrt(fit.tau2):.4f}); {100 * fit.level:g}% profile-likelihood interval",
        f"{low:.4f} to {high:.4f}.",
        "",
        "I2 = 100 tau2 / (tau2 + s2), s2 being the typical sampling variance of the trials; a bound counts with the",
        f"variance that its estimate would have had: {fit.I2:.1f}%.",
        "",
        "Prediction interval = mean ± z √(SE² + tau2)",
        f"                    = {fit.estimate:.4f} ± z √({fit.se:.4f}² + {fit.tau2:.4f})",
        f"                    = {pi_low:.4f} to {pi_high:.4f}",
        "",
        "Like every interval of maximum likelihood it is somewhat too narrow with few trials.",
    ]
    return "\n".join(lines)
