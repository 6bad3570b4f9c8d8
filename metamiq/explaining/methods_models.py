"""What a methods section says about moderators, subgroups, clusters, priors and bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metamiq.explaining.methods_effects import evidence_sentences
from metamiq.explaining.methods_mean import (
    ESTIMATORS,
    effects_said,
    i2_said,
    interval_said,
    percent,
    reference_distribution,
    rows_said,
    tau2_said,
)
from metamiq.wording import count

if TYPE_CHECKING:
    from metamiq.pooling.bayes import BayesianEffect
    from metamiq.pooling.bounded_fit import BoundedFit
    from metamiq.pooling.location_scale_fit import LocationScaleFit
    from metamiq.pooling.multilevel_fit import MultilevelFit
    from metamiq.pooling.regression_fit import MetaRegression
    from metamiq.pooling.subgroups import Subgroups


def regression(fit: MetaRegression) -> list[str]:
    """Sentences on a meta-regression."""
    kind = "a fixed-effect" if fit.method == "FE" else "a mixed-effects"
    out = [effects_said(fit), f"{rows_said(fit, 'entered')} into {kind} meta-regression on {fit.formula}."]
    out += _design(fit)
    if fit.method != "FE":
        out.append("The residual" + tau2_said(fit).removeprefix("The"))
    dof = "k - p" if fit.dof is not None else ""
    out.append(f"Intervals ({percent(fit)}) and tests of the coefficients use {interval_said(fit, dof)}.")
    joint = "chi-squared" if fit.dof is None else "F"
    out.append(f"Terms with several columns, and all moderators together, were tested by Wald tests ({joint}).")
    out.append(
        "Residual heterogeneity is described by QE and I2 (@higgins2002)"
        + ("." if fit.method == "FE" else ", the share of tau2 that the moderators explain by R2 (@raudenbush2009).")
    )
    return out


def location_scale(fit: LocationScaleFit) -> list[str]:
    """Sentences on a model whose tau2 depends on moderators."""
    mean = "one mean" if fit.formula == "1" else f"a mean that depends on {fit.formula}"
    what = "one tau2" if fit.scale == "1" else f"a between-study variance tau2 whose logarithm depends on {fit.scale}"
    full = {"REML": "restricted maximum likelihood (REML)", "ML": "maximum likelihood (ML)"}[fit.method]
    out = [
        effects_said(fit),
        f"{rows_said(fit, 'entered')} into a location-scale model (@viechtbauer2022), with {mean} and {what}.",
        *_design(fit),
        f"Its coefficients were estimated by {full}.",
        f"Intervals ({percent(fit)}) and tests of the coefficients of the mean use "
        f"{interval_said(fit, 'k - p' if fit.dof is not None else '')}.",
        "Those of the coefficients of log tau2 are Wald's, by the inverse of the observed information and the "
        + ("normal distribution." if fit.scale_dof is None else "t distribution with k - q degrees of freedom."),
    ]
    if fit.lrt_df:
        out.append("The model was compared with that of one tau2 by a likelihood-ratio test.")
    return out


def _design(fit: Any) -> list[str]:
    out = []
    levels = {} if fit.design is None else fit.design.reference_levels
    if getattr(fit, "scale_design", None) is not None:
        levels = levels | fit.scale_design.reference_levels
    if levels:
        named = "; ".join(f"{factor} with {level}" for factor, level in levels.items())
        out.append(f"Categories are compared with a reference: {named}.")
    if fit.omitted:
        out.append(f"Left out because a moderator is unknown: {', '.join(map(str, fit.omitted))}.")
    return out


def subgroups(fit: Subgroups) -> list[str]:
    """Sentences on subgroups."""
    fits = list(fit.fits.values())
    total, first = sum(f.k for f in fits), next((f for f in fits if f.k > 1), fits[0])
    model = fit.regression if fit.regression is not None else first
    source = "" if len({effects_said(f) for f in fits}) > 1 else effects_said(first)
    out = [source] if source else []
    out.append(f"{count(total, 'effect size')} in {len(fits)} subgroups by {fit.by} were pooled separately.")
    if model.method == "FE":
        out.append("Within each subgroup one common effect was assumed.")
    elif fit.common_tau2:
        out.append(
            f"One between-study variance tau2, common to all subgroups, was estimated {ESTIMATORS[model.method]}."
        )
        out[-1] = out[-1][:-2] + "; @rubio2020)." if out[-1].endswith(").") else out[-1]
    else:
        out.append(f"Each subgroup has a between-study variance tau2 of its own, estimated {ESTIMATORS[model.method]}.")
    dof = "k - p" if fit.common_tau2 else "k - 1"
    out.append(f"Intervals ({percent(model)}) use {interval_said(model, dof)}.")
    joint = "chi-squared" if fit.regression is None or fit.regression.dof is None else "F"
    out.append(f"The difference between subgroups was tested by Q between them ({joint}; @borenstein2009).")
    if fit.single:
        out.append(f"Subgroups of one row are not in that test: {', '.join(fit.single)}.")
    if fit.omitted:
        out.append(f"Left out because {fit.by} is unknown: {', '.join(map(str, fit.omitted))}.")
    return out


def multilevel(fit: MultilevelFit) -> list[str]:
    """Sentences on effects within clusters."""
    model = {
        "three-level": "a three-level model (@konstantopoulos2011; @cheung2014), with random effects of clusters "
        "and of the effects within them",
        "che": f"the correlated and hierarchical effects model (@pustejovsky2022), with sampling errors of a cluster "
        f"taken to correlate with rho = {fit.rho:g}",
        "ce": f"the correlated effects model (@hedges2010), with sampling errors of a cluster taken to correlate with "
        f"rho = {fit.rho:g}",
    }[fit.structure]
    rows = f"{count(fit.k, 'effect size')} in {count(fit.n_studies, 'cluster')} ({fit.cluster})"
    out = [effects_said(fit), f"{rows} were analysed in {model}."]
    if fit.design is not None:
        out.append(f"Moderators: {fit.design.formula}.")
        out += _design(fit)
    how = {
        "REML": "by restricted maximum likelihood (REML)",
        "ML": "by maximum likelihood (ML)",
        "moments": "by the method of moments",
    }[fit.method]
    out.append(f"Variance components were estimated {how}.")
    if fit.robust is not None:
        small = " with Satterthwaite degrees of freedom" if fit.robust.type == "CR2" else ""
        out.append(
            f"Standard errors, intervals ({percent(fit)}) and tests are cluster-robust ({fit.robust.type}){small} "
            "(@bell2002; @pustejovsky2018)."
        )
    else:
        out.append(f"Intervals ({percent(fit)}) and tests use {reference_distribution(fit, 'k - p')}.")
    if fit.design is None:
        out.append(f"The {percent(fit)} prediction interval adds all variance components to that of the mean.")
    if fit.structure != "ce":
        out.append("Intervals of variance components, where given, are by profile likelihood.")
    out.append(
        "I2 takes the variance components against the typical sampling variance and is split by level (@cheung2014)."
    )
    return out


def bayesian(fit: BayesianEffect) -> list[str]:
    """Sentences on a posterior."""
    mean = "a flat prior"
    if fit.mu_prior is not None:
        mean = f"a normal prior (mean {fit.mu_prior[0]:g}, SD {fit.mu_prior[1]:g})"
    kind = {"central": "central (equal tails)", "shortest": "shortest (highest density)"}[fit.interval]
    return [
        effects_said(fit),
        f"{rows_said(fit, 'pooled')} in a Bayesian normal-normal random-effects model (@roever2020).",
        f"The mean has {mean}; the between-study standard deviation tau has the prior {fit.tau_prior.label}.",
        "The posterior was computed by quadrature over tau, without sampling.",
        f"Credible and prediction intervals ({percent(fit)}) are {kind}; tau is given by its posterior median.",
    ]


def bounded(fit: BoundedFit) -> list[str]:
    """Sentences on points and bounds."""
    out = evidence_sentences(fit.frame)
    moderated = len(fit.beta) > 1
    out.append(
        "Points and bounds were analysed together by maximum likelihood in a normal random-effects model"
        + (f" with moderators ({fit.design.formula})" if moderated and fit.design is not None else "")
        + "."
    )
    out += _design(fit)
    what = "coefficients" if moderated else "the mean"
    out.append(
        f"Intervals ({percent(fit)}) of {what} and of tau2 are profile-likelihood intervals (@hardy1996), tests are "
        "likelihood-ratio tests; with few rows such intervals are somewhat too narrow."
    )
    if not moderated:
        out.append(
            f"The {percent(fit)} prediction interval is mean +- quantile sqrt(SE^2 + tau2) with the normal "
            "distribution (@higgins2009)."
        )
    out.append(
        f"Heterogeneity is described by {i2_said()}; a bound counts with the variance its estimate would have had."
    )
    return out
