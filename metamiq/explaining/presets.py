"""A whole analysis as another program does it by default: variance, estimator, interval and I2 together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq.effects.measures import effect_sizes
from metamiq.effects.records import one_of
from metamiq.errors import DataError
from metamiq.explaining.programs import PROGRAMS
from metamiq.pooling.heterogeneity import i2_from_q
from metamiq.pooling.interval import Interval
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.tails import critical_value
from metamiq.wording import fixed, in_short


@dataclass(frozen=True, slots=True)
class Preset:
    """What a program does unless told otherwise, for the random-effects model with inverse-variance weights.

    Attributes
    ----------
    name, program : str
        Name of the preset; the program and version it stands for.
    smd : str
        Name of the formulas for a standardised mean difference, in `metamiq.explaining.programs.PROGRAMS`.
    method, test : str
        Estimator of tau2 and interval of the mean, as in `random_effects`.
    prediction : str
        Distribution of the prediction interval: "none", "test" (that of the test), "t(k-1)", "t(k-2)".
    i2 : str
        "tau2" (from tau2 and the typical variance) or "Q".
    source : str
        Where this is known from.
    not_known : str
        What is taken on trust or could not be checked.
    """

    name: str
    program: str
    smd: str
    method: str
    test: str
    prediction: str
    i2: str
    source: str
    not_known: str = ""


#: The presets by name.
PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset("revman5", "Review Manager 5", "RevMan 5", "DL", "z", "none", "Q",
               "Deeks & Higgins (2010), Statistical algorithms in Review Manager 5; Cochrane's announcement of the new "
               "methods says that RevMan had relied on DerSimonian-Laird and the Wald interval until then. For events, "
               "its default is Mantel-Haenszel, around whose mean it takes Q and tau2; here it is inverse variance"),
        Preset("revman2025", "RevMan since January 2025", "RevMan 5", "REML", "knha", "test", "tau2",
               "methods.cochrane.org, Random-effects meta-analysis methods for intervention reviews: REML, "
               "Hartung-Knapp-Sidik-Jonkman intervals, prediction intervals, I2 from tau2",
               "that the formula of the SMD is still the one of RevMan 5, and the degrees of freedom (k - 1) of the "
               "prediction interval; authors may also choose the Wald interval"),
        Preset("metafor", "metafor, rma()", "metafor, LS (default)", "REML", "z", "test", "tau2",
               "metafor's documentation: method REML and test z are the defaults"),
        Preset("meta", "R meta 8, metacont()", "R meta", "REML", "z", "t(k-1)", "Q",
               "defaults of settings.meta in R meta 8: REML, classic interval, exact.smd TRUE, I2 from Q, prediction "
               "interval V. For events, metabin() takes Mantel-Haenszel by default; here it is inverse variance",
               "that prediction interval V has k - 1 degrees of freedom"),
        Preset("cma", "Comprehensive Meta-Analysis", "Comprehensive Meta-Analysis", "DL", "z", "t(k-2)", "Q",
               "Borenstein et al. (2009), by the authors of the program",
               "all of it against the program itself, whose later versions offer other estimators"),
        Preset("jasp", "JASP, classical meta-analysis", "JASP", "REML", "knha", "test", "tau2",
               "defaults in the module's form (jaspMetaAnalysis): restricted ML, fixed effect test knha; it fits with "
               "metafor",
               "that the effect sizes given to it were made as metafor makes them; earlier versions of the module "
               "tested with z"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """An analysis under a preset: the effects, the fit, and what the program reports in another way than the fit.

    Attributes
    ----------
    preset : Preset
        The settings.
    fit : PooledEffect
        Mean, interval, tau2, Q.
    I2 : float
        Percent, as the program computes it.
    pi : Interval
        Prediction interval as the program computes it; NaN where it gives none.
    """

    preset: Preset
    fit: PooledEffect
    I2: float
    pi: Interval

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        f, p = self.fit, self.preset
        lines = [
            f"{p.program}: k = {f.k}, {p.method}, test {p.test}",
            f"mean {fixed(f.estimate, 4)}, {100 * f.level:g}% CI {fixed(f.ci_low, 4)} to {fixed(f.ci_high, 4)}, "
            f"tau2 = {fixed(f.tau2, 4)}, I2 = {fixed(self.I2, 1)}% (from {p.i2})",
        ]
        if np.isfinite(self.pi.low):
            lines.append(f"{100 * f.level:g}% prediction interval {fixed(self.pi.low, 4)} to {fixed(self.pi.high, 4)}")
        lines.append(f"source: {p.source}")
        if p.not_known:
            lines.append(f"not checked: {p.not_known}")
        return "\n".join(lines)


def analyse(frame: pd.DataFrame, measure: str | None = None, *, preset: str, level: float = 0.95) -> Analysis:
    """Run a whole analysis as another program does by default.

    Parameters
    ----------
    frame : DataFrame
        A study table with what `measure` needs, or with ``yi`` and ``vi`` when no measure is given.
    measure : str, optional
        As in `effect_sizes`. For "SMD" the preset chooses J and the variance formula; other measures are computed as
        `effect_sizes` does, and pooled by inverse variance.
    preset : {"revman5", "revman2025", "metafor", "meta", "cma", "jasp"}
        See `PRESETS`; each says where it is known from, and what is not.
    level : float
        Coverage of intervals.

    Returns
    -------
    Analysis
        With ``fit``, ``I2`` and ``pi``; ``fit.effects`` are the effect sizes.

    Raises
    ------
    DataError
        If the table lacks what is needed.
    ValueError
        If the preset is unknown.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> trials = load_dataset("normand1999").trials
    >>> for name in ("revman5", "meta"):
    ...     a = analyse(trials, "SMD", preset=name)
    ...     print(f"{name}: {a.fit.estimate:.4f}, I2 {a.I2:.1f}%")
    revman5: -0.5293, I2 93.5%
    meta: -0.5362, I2 93.5%
    """
    one_of("preset", preset, tuple(PRESETS))
    p = PRESETS[preset]
    effects = _effects(frame, measure, p)
    fit = random_effects(effects, method=p.method, test=p.test, level=level)
    I2 = fit.I2 if p.i2 == "tau2" else float(i2_from_q(fit.Q, fit.Q_df))
    return Analysis(p, fit, I2, _prediction(fit, p.prediction))


def _effects(frame: pd.DataFrame, measure: str | None, p: Preset) -> pd.DataFrame:
    if measure is None:
        if not {"yi", "vi"} <= set(frame.columns):
            raise DataError("Without a measure the table must have yi and vi. Name a measure, such as 'SMD'.")
        return frame
    if measure != "SMD":
        return effect_sizes(frame, measure)
    program = next(q for q in PROGRAMS if q.name == p.smd)
    checked = effect_sizes(frame, "SMD")  # the engine checks the rows; their numbers follow from the formulas below
    columns = [checked[f"{name}i"].to_numpy(dtype=float) for name in ("m1", "sd1", "n1", "m2", "sd2", "n2")]
    yi, vi = program.compute(*columns)
    out = checked.assign(yi=yi, vi=vi)
    out.attrs = dict(checked.attrs)
    return out


def _prediction(fit: PooledEffect, kind: str) -> Interval:
    if kind == "none" or not np.isfinite(fit.tau2):
        return Interval(np.nan, np.nan)
    dof = {"test": fit.dof, "t(k-1)": fit.k - 1.0, "t(k-2)": fit.k - 2.0}[kind]
    if dof is not None and dof < 1:
        return Interval(np.nan, np.nan)
    half = float(critical_value(fit.level, dof)) * float(np.sqrt(fit.se**2 + fit.tau2))
    return Interval(fit.estimate - half, fit.estimate + half)


def compare_presets(frame: pd.DataFrame, measure: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """The same study table under every preset, side by side.

    Parameters
    ----------
    frame, measure, level
        As in `analyse`.

    Returns
    -------
    DataFrame
        One row per preset: ``preset estimate se ci_low ci_high pi_low pi_high tau2 I2 method test prediction i2_from``.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> table = compare_presets(load_dataset("normand1999").trials, "SMD")
    >>> print(table[["preset", "estimate", "ci_low", "ci_high"]].round(3).to_string(index=False))
        preset  estimate  ci_low  ci_high
       revman5    -0.529  -1.035   -0.023
    revman2025    -0.536  -1.249    0.177
       metafor    -0.537  -1.142    0.068
          meta    -0.536  -1.141    0.068
           cma    -0.531  -1.038   -0.024
          jasp    -0.537  -1.250    0.176
    """
    rows = []
    for name in PRESETS:
        a = analyse(frame, measure, preset=name, level=level)
        f, p = a.fit, a.preset
        rows.append(
            {
                "preset": name,
                "estimate": f.estimate,
                "se": f.se,
                "ci_low": f.ci_low,
                "ci_high": f.ci_high,
                "pi_low": a.pi.low,
                "pi_high": a.pi.high,
                "tau2": f.tau2,
                "I2": a.I2,
                "method": p.method,
                "test": p.test,
                "prediction": p.prediction,
                "i2_from": p.i2,
            }
        )
    return pd.DataFrame(rows)
