"""The steps behind a mean of points and bounds: what each row adds to the likelihood, and how it pulls."""

from __future__ import annotations

import numpy as np

from metamiq.effects.derivation import Derivation, Table, Worksheet
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_likelihood import row_terms
from metamiq.wording import fixed


def explain_bounded(fit: BoundedFit) -> Derivation:
    """Derive the maximum-likelihood mean of points and bounds.

    The mean and tau2 are found by iteration. At them the log-likelihood is worked out from its formula, and every row
    is shown with its share of it and with its pull, the slope of its log-likelihood in the mean: a positive pull draws
    the mean upwards, and at the maximum the pulls sum to 0.

    Parameters
    ----------
    fit : BoundedFit
        From `random_effects_bounded`, without moderators.

    Returns
    -------
    Derivation
        Results ``estimate tau2 loglik ci_low ci_high``.

    Raises
    ------
    ValueError
        If the model has moderators.

    Examples
    --------
    >>> import pandas as pd
    >>> from metamiq.pooling.bounded import random_effects_bounded
    >>> table = pd.DataFrame({"yi": [0.5, 0.2, None], "vi": [0.1, 0.05, None], "yi_low": [None, None, 0.6],
    ...                       "yi_high": [None, None, float("inf")], "n1i": [20, 40, 21.0], "n2i": [20, 40, 21.0]})
    >>> found = explain_bounded(random_effects_bounded(table))
    >>> print([step.name for step in found.steps][:4])
    ['mu', 'tau2', 'Lp', 'Lb']
    """
    if len(fit.beta) != 1 or fit.rows.x is not None:
        raise ValueError("explain works out a mean of points and bounds; leave the moderators out of the model.")
    mean, tau2 = float(fit.beta[0]), float(fit.tau2)
    rows = fit.rows
    terms = row_terms(rows, np.array([[mean, tau2]]))[:, 0]
    spread = np.sqrt(rows.base[0] + mean**2 / (2.0 * rows.total[0]) + tau2)
    sheet = Worksheet(f"Mean of {fit.k_points} points and {fit.k_bounds} bounds, maximum likelihood")
    sheet.columns(yi=rows.y[0], vi=rows.v[0], ends_low=rows.low[0], ends_high=rows.high[0], si=spread, pull=terms[1])
    order = np.argsort(np.concatenate([np.flatnonzero(fit.is_point), np.flatnonzero(~fit.is_point)]))
    ends = np.concatenate([np.stack([rows.y[0], rows.y[0]]), np.stack([rows.low[0], rows.high[0]])], axis=1)
    sheet.table = Table(
        ("study", "kind", "from", "to", "ln L", "pull"),
        tuple(
            (
                fit.labels[i],
                "point" if fit.is_point[i] else "bound",
                float(ends[0, j]),
                float(ends[1, j]),
                float(terms[0, j]),
                float(terms[1, j]),
            )
            for i, j in enumerate(order)
        ),
    )
    sheet.found("mu", "mean, found by iteration", mean)
    sheet.found("tau2", "between-study variance, found by iteration", tau2)
    parts = []
    if fit.k_points:
        sheet.step(
            "Lp",
            "log-likelihood of the points: normal densities",
            "sum(-log(2*pi*(vi + tau2))/2 - (yi - mu)**2/(2*(vi + tau2)))",
        )
        parts.append("Lp")
    if fit.k_bounds:
        sheet.step(
            "Lb",
            "log-likelihood of the bounds: normal probabilities of their intervals",
            "sum(log(Phi((ends_high - mu)/si) - Phi((ends_low - mu)/si)))",
        )
        sheet.notes.append("sᵢ² = 1/n₁ + 1/n₂ + μ²/(2(n₁ + n₂)) + τ², the variance that the estimate would have had")
        parts.append("Lb")
    sheet.step("logL", "log-likelihood", " + ".join(parts))
    sheet.matches("logL", fit.loglik, rtol=1e-6)
    sheet.step("pulls", "sum of the pulls, 0 at the maximum", "sum(pull)")
    if abs(sheet.values["pulls"]) > 1e-4 * float(np.abs(terms[1]).sum()) + 1e-6:
        raise RuntimeError(
            f"At the maximum the pulls must sum to 0, but they sum to {sheet.values['pulls']:.3g}. This is a fault of "
            "metamiq: please report it with the data."
        )
    low, high = fit.ci()
    sheet.found("ci_low", f"lower end of the {100 * fit.level:g}% profile-likelihood interval", low)
    sheet.found("ci_high", "its upper end", high)
    sheet.notes.append(
        "the interval holds every mean at which ln L, maximal over τ², is at most half the chi-squared quantile below "
        "its maximum"
    )
    results = {
        "estimate": mean,
        "tau2": tau2,
        "loglik": float(sheet.values["logL"]),
        "ci_low": float(low),
        "ci_high": float(high),
    }
    return sheet.derivation(
        results,
        f"mean {fixed(mean, 3)}, {100 * fit.level:g}% interval {fixed(low, 3)} to {fixed(high, 3)}, "
        f"tau2 = {fixed(tau2, 4)}.",
    )
