"""What stands under a picture: how many rows of which kind, heterogeneity, tests, and what the bounds rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metamiq.plots.forest_rows import COMMON, Fit, count_text, level_of
from metamiq.plots.models import is_multilevel, is_posterior
from metamiq.plots.style import number, p_text, plural
from metamiq.plots.totals import total_of
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups

if TYPE_CHECKING:
    from metamiq.pooling.bayes import BayesianEffect
    from metamiq.pooling.multilevel_fit import MultilevelFit


def footer_lines(fit: Fit, level: float | None = None) -> list[str]:
    """What stands under the plot: how many rows of which kind, heterogeneity, and what the bounds rest on."""
    level = level_of(fit, level)
    if isinstance(fit, Subgroups):
        shared = f"; one τ² = {number(fit.tau2, 3)} for all groups" if fit.common_tau2 else ""
        statistic = f"Q({fit.Q_df:g})" if np.isinf(fit.Q_df_error) else f"F({fit.Q_df:g}, {fit.Q_df_error:g})"
        difference = f"difference between groups: {statistic} = {number(fit.Q_between)}, {p_text(fit.Q_p)}"
        alone = f" (without {plural(len(fit.single), 'group')} of one row)" if fit.single else ""
        k = f"k = {sum(f.k for f in fit.fits.values())} in {plural(len(fit.fits), 'group')}"
        unknown = f"; {len(fit.omitted)} left out, {fit.by} unknown" if fit.omitted else ""
        return [f"{k}{unknown}{shared}; {difference}{alone}"]
    if is_multilevel(fit):
        return _multilevel_lines(fit)
    if is_posterior(fit):
        return _posterior_lines(fit, level)
    points = fit.k_points if isinstance(fit, BoundedFit) else fit.k
    counts = f" ({count_text(points, fit.k - points)})" if points < fit.k else ""
    k = f"k = {fit.k}{counts} from {plural(fit.n_studies, 'study')}"
    lines = []
    if fit.k == 1:
        lines.append(f"{k}, in which no heterogeneity can be seen ({fit.method})")
    elif fit.method in COMMON:
        lines.append(f"{k}; heterogeneity: Q({_q_df(fit)}) = {number(_q(fit))}, I² = {fit.I2:.0f}%")
    else:
        rest = "residual heterogeneity" if has_moderators(fit) else "heterogeneity"
        percent = f"{100 * level:g}% CI "
        low, high = fit.tau2_ci(level) if fit.k > 1 and np.isfinite(fit.tau2) else (np.nan, np.nan)
        interval = f" ({percent}{number(low, 3)} to {number(high, 3)})" if np.isfinite(low) else ""
        i2 = f", I² = {fit.I2:.0f}%" if np.isfinite(fit.I2) else ""
        tau2 = f"τ² = {number(fit.tau2, 3)}{interval}" if np.isfinite(fit.tau2) else "τ² undefined"
        q = f"; Q({_q_df(fit)}) = {number(_q(fit))}" if np.isfinite(_q(fit)) else ""
        lines.append(f"{k}; {rest}: {tau2}{i2}{q} ({fit.method})")
    if has_moderators(fit):
        lines.append("Moderators: " + "; ".join(_term_texts(fit)))
    if isinstance(fit, BoundedFit) and fit.k_bounds:
        lines.append(fit.basis)
    effects = fit.effects
    if "n_source" in effects and (effects["n_source"] == "assumed").any():
        lines.append("≈ arm size assumed: the source gives only a total.")
    return lines


def total_lines(fit: Fit, name: str) -> list[str]:
    """That the mean below subgroups is another model than theirs; under a common effect it is the same one."""
    total = total_of(fit)
    if total is None or total.method in COMMON:
        return []
    how = total.method if isinstance(total, BoundedFit) else f"{total.method}, test {total.test}"
    own = f"a fit of its own to all {total.k} rows, which ignores groups: τ² = {number(total.tau2, 3)} ({how})"
    return [f"{name}: {own}. The weights are of that fit."]


def _multilevel_lines(fit: MultilevelFit) -> list[str]:
    between, within = fit.sigma2_values
    parts = [f"between them {number(between, 3)}"] + ([f"within {number(within, 3)}"] if np.isfinite(within) else [])
    rest = "residual variance" if fit.design is not None else "variance"
    rho = "" if fit.structure == "three-level" else f", ρ = {fit.rho:g}"
    robust = "" if fit.robust is None else f"; robust variance {fit.robust.type}"
    clusters = f"{plural(fit.n_studies, 'cluster')} ({fit.cluster.replace('_', ' ')})"
    lines = [f"k = {fit.k} in {clusters}; {rest} {', '.join(parts)} ({fit.method}{rho}){robust}"]
    if fit.design is not None:
        lines.append(f"Moderators: {fit.design.formula}: {p_text(fit.QM_p)}")
    return lines


def _posterior_lines(fit: BayesianEffect, level: float) -> list[str]:
    low, high = fit.tau_ci(level)
    mean = "flat" if fit.mu_prior is None else f"normal, mean {fit.mu_prior[0]:g}, SD {fit.mu_prior[1]:g}"
    return [
        f"k = {fit.k} from {plural(fit.n_studies, 'study')}; τ: posterior median {number(fit.tau.median)} "
        f"({100 * level:g}% credible interval {number(low)} to {number(high)})",
        f"Priors: mean {mean}; τ {fit.tau_prior.label}",
    ]


def has_moderators(fit: object) -> bool:
    """Whether the model has more than one mean."""
    if isinstance(fit, BoundedFit) or is_multilevel(fit):
        return fit.design is not None
    return isinstance(fit, MetaRegression)


def _term_texts(fit: PooledEffect | BoundedFit | MetaRegression) -> list[str]:
    if isinstance(fit, PooledEffect):
        return []
    tests = fit.term_tests
    if isinstance(fit, BoundedFit):
        return [
            f"{t}: χ²({r['dof']:.0f}) = {number(r['statistic'])}, {p_text(r['p_value'])}" for t, r in tests.iterrows()
        ]
    return [
        f"{t}: {_wald_text(float(r['statistic']), float(r['dof']), float(r['dof_error']))}, {p_text(r['p_value'])}"
        for t, r in tests.iterrows()
    ]


def _wald_text(statistic: float, dof: float, dof_error: float) -> str:
    if np.isinf(dof_error):
        return f"χ²({dof:.0f}) = {number(statistic)}"
    return f"F({dof:.0f}, {dof_error:.0f}) = {number(statistic)}"


def _q(fit: PooledEffect | BoundedFit | MetaRegression) -> float:
    return fit.QE if isinstance(fit, MetaRegression) else fit.Q


def _q_df(fit: PooledEffect | BoundedFit | MetaRegression) -> int:
    return fit.QE_df if isinstance(fit, MetaRegression) else fit.Q_df
