"""What a picture says, in words, for those who cannot see it."""

from __future__ import annotations

import numpy as np

from metamiq.plots.forest_rows import COMMON, Fit, count_text
from metamiq.plots.models import is_multilevel, is_posterior
from metamiq.plots.scale import Scale
from metamiq.plots.style import number, p_text, plural
from metamiq.plots.totals import total_of
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups


def alt_text(fit: Fit, kind: str = "Forest plot", level: float | None = None) -> str:
    """The main numbers behind a picture of `fit`, in two or three sentences.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> print(alt_text(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])))
    Forest plot of 4 effects. Mean effect 0.41 (95% CI −0.13 to 0.96), p = 0.095; ...
    """
    if isinstance(fit, Subgroups):
        means = "; ".join(
            f"{name} {_estimate(f.measure, float(r['estimate']), float(r['ci_low']), float(r['ci_high']))}"
            for (name, r), f in zip(fit.table.iterrows(), fit.fits.values(), strict=True)
        )
        count = sum(f.k for f in fit.fits.values())
        text = f"{kind} of {plural(count, 'effect')} by {fit.by}. Means: {means}. Difference: {p_text(fit.Q_p)}."
        total = total_of(fit)
        if total is None or kind != "Forest plot":
            return text
        ci = total.ci(level)
        return f"{text} Mean of all groups {_estimate(total.measure, total.estimate, ci.low, ci.high)}."
    scale = Scale(fit.measure)
    points = fit.k_points if isinstance(fit, BoundedFit) else fit.k
    if points < fit.k:
        start = f"{kind} of {plural(fit.k, 'trial')} ({count_text(points, fit.k - points)})."
    else:
        start = f"{kind} of {plural(fit.k, 'effect')}."
    if isinstance(fit, MetaRegression) or (isinstance(fit, BoundedFit) and fit.design is not None):
        tests = [f"{term}: {p_text(float(row['p_value']))}" for term, row in fit.term_tests.iterrows()]
        return f"{start} Moderators: {'; '.join(tests)}; residual tau2 {number(fit.tau2, 3)}."
    if is_multilevel(fit) and fit.design is not None:
        return f"{start} Moderators: {fit.design.formula}: {p_text(fit.QM_p)}; residual variance {number(fit.tau2, 3)}."
    level = fit.level if level is None else level
    ci = fit.ci(level)
    if is_posterior(fit):
        pi = fit.pi(level)
        return (
            f"{start} Posterior mean {scale.short} {scale.text(fit.estimate)} ({100 * level:g}% credible interval "
            f"{scale.text(ci.low)} to {scale.text(ci.high)}), probability above no effect {fit.probability():.3f}; "
            f"prediction interval {scale.text(pi.low)} to {scale.text(pi.high)}."
        )
    text = f"{start} Mean {scale.short} {_estimate(fit.measure, fit.estimate, ci.low, ci.high, level)}, "
    text += p_text(fit.p_value)
    if fit.method not in COMMON:
        pi = fit.pi(level)
        if np.isfinite(pi.low + pi.high):
            text += f"; {100 * level:g}% prediction interval {scale.text(pi.low)} to {scale.text(pi.high)}"
        text += f"; tau2 {number(fit.tau2, 3)}, I2 {fit.I2:.0f}%" if np.isfinite(fit.tau2) else ""
    return f"{text}."


def _estimate(measure: str | None, estimate: float, low: float, high: float, level: float | None = None) -> str:
    scale = Scale(measure)
    if np.isnan(low + high):
        return f"{scale.text(estimate)} (interval undefined)"
    percent = "" if level is None else f"{100 * level:g}% CI "
    return f"{scale.text(estimate)} ({percent}{scale.text(low)} to {scale.text(high)})"
