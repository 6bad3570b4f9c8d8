"""What a methods section says about one mean effect: pooled effect sizes, and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metamiq.errors import DataError
from metamiq.explaining.methods_effects import effect_sentence
from metamiq.pooling.counts import mantel_haenszel
from metamiq.wording import count

if TYPE_CHECKING:
    from metamiq.pooling.count_tables import CommonEffect
    from metamiq.pooling.glmm import BinomialNormalEffect
    from metamiq.pooling.records import PooledEffect

ESTIMATORS = {
    "REML": "by restricted maximum likelihood (REML; @viechtbauer2005)",
    "ML": "by maximum likelihood (ML; @viechtbauer2005)",
    "DL": "by the method of DerSimonian and Laird (DL; @dersimonian1986)",
    "PM": "by the method of Paule and Mandel (PM; @paule1982)",
    "EB": "by the empirical Bayes method (EB; @morris1983)",
    "HE": "by the method of Hedges and Olkin (HE; @hedges1985)",
    "HS": "by the method of Hunter and Schmidt (HS; @hunter2004)",
    "HSk": "by the method of Hunter and Schmidt with a small-sample correction (HSk; @brannick2019)",
    "SJ": "by the method of Sidik and Jonkman (SJ; @sidik2005)",
    "PMM": "by the median-unbiased method of Paule and Mandel (PMM; @viechtbauer2021)",
    "DL2": "by the two-step method that starts from DerSimonian and Laird (DL2; @dersimonian2007)",
    "CA2": "by the two-step method that starts from Hedges and Olkin (CA2; @dersimonian2007)",
}
_BASE = {  # what the standard error is, and where it comes from
    "knha": "the Hartung-Knapp-Sidik-Jonkman standard error",
    "adhoc": "the Hartung-Knapp-Sidik-Jonkman standard error, never made smaller than the ordinary one",
    "t": "the ordinary standard error",
    "z": "the ordinary standard error",
}
_PREDICTION = {
    "test": "with the same distribution",
    "HTS": "with the t distribution of k - 2 degrees of freedom",
}


def rows_said(fit: Any, verb: str) -> str:
    """How many effect sizes and studies, and what was done with them."""
    return f"{count(fit.k, 'effect size')} from {studies(fit.n_studies)} {'was' if fit.k == 1 else 'were'} {verb}"


def studies(n: int) -> str:
    """A number of studies."""
    return "1 study" if n == 1 else f"{n} studies"


def percent(fit: Any) -> str:
    """The coverage of the fit."""
    return f"{100 * fit.level:g}%"


def reference_distribution(fit: Any, dof: str) -> str:
    """The distribution to which statistics are referred."""
    return "the normal distribution" if fit.dof is None else f"the t distribution with {dof} degrees of freedom"


def effects_said(fit: Any) -> str:
    """What the effect sizes of a fit are."""
    frame = fit.effects
    return effect_sentence(frame, fit.source.yi, fit.source.vi, fit.measure)


def pooled_mean(fit: PooledEffect) -> list[str]:
    """Sentences on a mean of effect sizes."""
    out = [effects_said(fit)]
    if fit.method == "FE":
        out.append(f"{rows_said(fit, 'pooled')} by inverse variance under one common effect.")
        if fit.test == "knha":
            out.append(
                "The variance of the mean was multiplied by Q / (k - 1), the multiplicative model (@birge1932; "
                "@stanley2015)."
            )
    else:
        out.append(f"{rows_said(fit, 'pooled')} in a random-effects model.")
        out.append(tau2_said(fit))
    out += _weights(fit)
    out.append(f"The {percent(fit)} confidence interval and the test of the mean use {interval_said(fit)}.")
    if fit.method != "FE" and np.isfinite(fit.tau2):
        out.append(prediction_said(fit))
    if fit.k > 1:
        out.append(_heterogeneity(fit))
    return out


def tau2_said(fit: Any) -> str:
    """How tau2 was come by."""
    if fit.tau2_given:
        return f"The between-study variance was not estimated but set to tau2 = {fit.tau2:g}."
    if np.isnan(fit.tau2):
        return "With one effect size there is no estimate of the between-study variance tau2."
    return f"The between-study variance tau2 was estimated {ESTIMATORS[fit.method]}."


def interval_said(fit: Any, dof: str = "k - 1") -> str:
    """What intervals and tests rest on."""
    base = "the standard error of that model" if fit.method == "FE" and fit.test == "knha" else _BASE[fit.test]
    out = f"{base} and {reference_distribution(fit, dof)}"
    if fit.method == "FE":
        return out
    cited = {"knha": " (@hartung2001; @sidik2002)", "adhoc": " (@hartung2001; @sidik2002; @knapp2003)"}
    return out + cited.get(fit.test, "")


def _weights(fit: PooledEffect) -> list[str]:
    if fit.combine is None:
        return []
    w = np.asarray(fit.combine, dtype=float)
    if np.allclose(w, w[0], rtol=1e-12):
        return ["The mean gives every effect size the same weight."]
    if np.allclose(w * fit.source.vi, (w * fit.source.vi)[0], rtol=1e-9):
        return ["The mean keeps the weights of the fixed-effect model, 1 / vi (@doi2015)."]
    return ["The mean has weights that the analyst gave."]


def prediction_said(fit: PooledEffect) -> str:
    """How the prediction interval was made."""
    if fit.pi_method == "nagashima":
        return f"The {percent(fit)} prediction interval is by the bootstrap of @nagashima2019."
    same = _PREDICTION[fit.pi_method]
    return (
        f"The {percent(fit)} prediction interval for the effect in a new study is mean +- quantile "
        f"sqrt(SE^2 + tau2), {same} (@higgins2009)."
    )


def _heterogeneity(fit: Any) -> str:
    if fit.method == "FE":
        return "Heterogeneity is described by Cochran's Q (@cochran1954) and by I2 from Q (@higgins2002)."
    return (
        "Heterogeneity is described by Cochran's Q (@cochran1954) and by I2 from tau2 and the typical sampling "
        "variance (@higgins2002); an interval of tau2, where given, is by the Q-profile method (@viechtbauer2007)."
    )


def common_effect(fit: CommonEffect) -> list[str]:
    """Sentences on a Mantel-Haenszel or Peto estimate."""
    name = {"OR": "odds ratio", "RR": "risk ratio", "RD": "risk difference", "PETO": "odds ratio"}[fit.measure or ""]
    tables = f"{count(fit.k, 'table')} of events and group sizes from {studies(fit.n_studies)}"
    if fit.method == "PETO":
        out = [f"A common {name} was estimated from {tables} by Peto's one-step method (@yusuf1985)."]
    else:
        variance = {"OR": "@robins1986", "RR": "@greenland1985", "RD": "@sato1989"}[fit.measure or ""]
        out = [
            f"A common {name} was estimated from {tables} by the Mantel-Haenszel method (@mantel1959), with the "
            f"variance of {variance}."
        ]
        if _as_counted(fit):
            out.append("Counts were pooled as they are, without a correction for zero cells.")
    empty = fit.k - fit.k_used
    if empty and fit.measure != "RD":
        says = "says" if empty == 1 else "say"
        out.append(f"{count(empty, 'table')} without both events and non-events {says} nothing about a ratio.")
    out.append(f"The {percent(fit)} confidence interval and the test use the normal distribution.")
    out.append("Heterogeneity is described by Cochran's Q (@cochran1954) and by I2 from Q (@higgins2002).")
    if np.isfinite(fit.tarone.statistic):
        out.append(
            "Whether the odds ratios differ was tested after Breslow and Day with the correction of @tarone1985."
        )
    return out


def _as_counted(fit: CommonEffect) -> bool:
    """Whether pooling the counts without any zero-cell rule gives the same estimate."""
    try:
        plain = mantel_haenszel(fit.effects, fit.measure or "OR", add=(0.5, 0.0), to=("only0", "none"))
    except DataError:  # without a correction there is no finite ratio
        return False
    return bool(np.isclose(plain.estimate, fit.estimate, rtol=1e-12, atol=0.0))


def binomial_normal(fit: BinomialNormalEffect) -> list[str]:
    """Sentences on a binomial-normal model of counts."""
    model = {
        "UM.FS": "the unconditional binomial-normal model with one fixed intercept per study (UM.FS; @turner2000; "
        "@stijnen2010)",
        "CM.EL": "the conditional hypergeometric-normal model with its exact likelihood (CM.EL; @stijnen2010)",
    }[fit.method]
    out = [
        f"The mean log odds ratio was estimated from {count(fit.k, 'table')} of events and group sizes from "
        f"{studies(fit.n_studies)} by {model}."
    ]
    if fit.tau2_given:
        out.append(f"The between-study variance was not estimated but set to tau2 = {fit.tau2:g}.")
    else:
        out.append("Mean and between-study variance tau2 were estimated by maximum likelihood.")
    out.append("Counts enter the likelihood as they are, so that zero cells need no correction.")
    left_out = int((~fit.included).sum())
    if left_out:
        were = "was" if left_out == 1 else "were"
        out.append(
            f"{count(left_out, 'table')} without events, or with nothing but events, in both groups {were} left out."
        )
    out.append(
        f"The {percent(fit)} confidence interval and the test use the standard error of the observed information and "
        f"{reference_distribution(fit, 'k - 1')}; an interval of tau2 is by profile likelihood (@hardy1996)."
    )
    out.append(f"Heterogeneity is described by tau2, by {i2_said()}, and by a likelihood-ratio test of one odds ratio.")
    out.append(prediction_said(fit))
    return out


def i2_said() -> str:
    """What I2 is here."""
    return "I2 from tau2 and the typical sampling variance (@higgins2002)"
