"""Moderators of the heterogeneity: location-scale models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import batch, tau2, wls
from metamiq.pooling.design import Design, design_matrix
from metamiq.pooling.location_scale_fit import LocationScaleFit
from metamiq.pooling.location_scale_likelihood import Likelihood
from metamiq.pooling.location_scale_search import Hill, highest
from metamiq.pooling.models import source_of
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.tables import Array, tables
from metamiq.wording import fixed

_NO_HETEROGENEITY = 1e-6  # share of tau2 in the variance of a row


def location_scale(
    effects: pd.DataFrame,
    formula: str = "1",
    scale: str = "1",
    *,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> LocationScaleFit:
    r"""Meta-regression whose tau2 depends on moderators, too.

    .. math:: y_i \sim N(x_i'\beta, v_i + \tau^2_i), \quad \log\tau^2_i = z_i'\alpha

    Are studies of one kind more alike than those of another? A coefficient of the scale is the difference in log tau2
    for one unit of a moderator: exp of it is the ratio of two tau2.

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi`, the moderators, and `study` (or `trial_id`) where there is one.
    formula : str
        Moderators x of the mean effect, as in `meta_regression`; "1" for none.
    scale : str
        Moderators z of log tau2, written likewise; they may differ from those of the mean.
    method : {"REML", "ML"}
        The likelihood that is maximised.
    test : {"knha", "z", "t", "adhoc"}
        Coefficients of the mean: as in `meta_regression`, with t(k - p) unless "z". Coefficients of the scale: Wald
        tests by the inverse of the observed information, with t(k - q) unless "z".
    level : float
        Coverage of the intervals.

    Returns
    -------
    LocationScaleFit
        `coefficients` of the mean and `scale_coefficients` of log tau2, their Wald tests `QM` and `QS`, the
        likelihood-ratio test `lrt` against one tau2, `tau2` of each row, and `predict`. Rows without a moderator are
        left out and named in `omitted`.

    Raises
    ------
    DataError
        If columns are not linearly independent, fewer than p + q rows remain, or the mean fits some rows exactly, so
        that they say nothing of the scale.
    ConvergenceError
        If the likelihood has no maximum. It has none where the effects of some rows vary less than by chance: it
        rises as their tau2 goes to 0, which no finite coefficient says. The message names the rows.

    References
    ----------
    Viechtbauer & López-López (2022), Research Synthesis Methods 13, 697-715.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.4, 0.3, 0.2, 0.5, -0.6, 0.9, 1.4, -0.2, 0.3], "vi": 0.01,
    ...                    "design": ["strict"] * 5 + ["loose"] * 5})
    >>> fit = location_scale(es, "1", "design")
    >>> print([f"{t:.3f}" for t in fit.predict(es.iloc[[0, 5]])["tau2"]], f"p = {fit.lrt_p:.4f}")
    ['0.015', '0.520'] p = 0.0051
    """
    batch.check_choices("REML", test, level)
    if method not in ("ML", "REML"):
        raise ValueError(f"method must be one of 'ML', 'REML', not {method!r}.")
    source, _ = source_of(effects, None, None)  # all rows, so that no fault hides behind a moderator
    design, scale_design = design_matrix(formula, effects), design_matrix(scale, effects)
    rows = np.intersect1d(design.rows, scale_design.rows)
    left_out = np.setdiff1d(np.arange(source.yi.size), rows)
    labels = source.labels()
    if len(left_out):
        if len(rows) == 0:
            raise DataError(f"At least one row must have every moderator of {formula!r} and {scale!r}, but none has.")
        effects = effects.iloc[rows]
        source, _ = source_of(effects, None, None)
        design, scale_design = design_matrix(formula, effects), design_matrix(scale, effects)
    _check_rows(design, scale_design)
    model = Likelihood(source.yi, source.vi, design.X, scale_design.X, method == "REML")
    if not model.is_identified():
        raise DataError(
            f"Residuals of the mean ({design.formula}) must say something of every coefficient of the scale "
            f"({scale_design.formula}), but the mean fits some rows exactly: a category with one row, say. Use fewer "
            "moderators."
        )
    t = tables(source.yi, source.vi, design.X)
    constant = tau2.estimate(t, method)
    loglik = float(tau2.loglik(t, constant, method)[0])
    hill, lower = highest(model, float(constant[0]))
    if not hill.is_summit:
        raise ConvergenceError(_endless(model, hill, lower, loglik, [labels[i] for i in rows]))
    tau2_rows = np.exp(model.log_tau2(hill.alpha))
    beta, cov, factor = _mean(model, source.vi + tau2_rows)
    inverse = np.linalg.inv(model.scale_root)
    return LocationScaleFit(
        beta=frozen_copy(beta),
        cov=frozen_copy(cov * {"knha": factor, "adhoc": max(1.0, factor)}.get(test, 1.0)),
        alpha=frozen_copy(inverse @ hill.alpha),
        alpha_cov=frozen_copy(inverse @ np.linalg.inv(-hill.point.hessian) @ inverse.T),
        tau2=frozen_copy(tau2_rows),
        loglik=hill.point.value,
        loglik_constant=loglik if _holds_constant(model) else np.nan,
        tau2_constant=float(constant[0]),
        QE=float(wls.fixed_effect_fit(t).yPy()[0]),
        method=method,
        test=test,
        level=level,
        source=source,
        design=design,
        scale_design=scale_design,
        omitted=tuple(labels[i] for i in left_out),
    )


def _check_rows(design: Design, scale_design: Design) -> None:
    k, parameters = len(design.X), len(design.names) + len(scale_design.names)
    if k < parameters:
        raise DataError(
            f"A model with {len(design.names)} coefficients of the mean and {len(scale_design.names)} of the scale "
            f"needs at least {parameters} effect sizes with every moderator, but {k} have them. Use fewer moderators."
        )


def _mean(model: Likelihood, variance: Array) -> tuple[Array, Array, float]:
    """Location coefficients, their covariance, and Knapp and Hartung's factor of it."""
    at = model.location(variance)
    onto = np.linalg.inv(at.root @ model.location_root)
    scaled = model.yi / np.sqrt(variance)
    beta = np.linalg.solve(model.location_root, model.rough) + onto @ (at.basis.T @ scaled)
    k, p = at.basis.shape
    return beta, onto @ onto.T, float(at.residual @ at.residual) / (k - p)


def _holds_constant(model: Likelihood) -> bool:
    """Whether one tau2 for all rows is among the models: a column of ones, or a sum of columns that is one."""
    ones = np.ones(len(model.vi))
    return bool(np.abs(model.Z @ (model.Z.T @ ones) / len(ones) - ones).max() < 1e-9)


def _endless(model: Likelihood, hill: Hill, lower: Hill | None, constant: float, labels: list[str]) -> str:
    tau2_rows = np.exp(model.log_tau2(hill.alpha))
    sunk = np.flatnonzero(tau2_rows / (tau2_rows + model.vi) < _NO_HETEROGENEITY)
    k = len(labels)
    if len(sunk) == k:
        return (
            f"The likelihood must have a maximum, but it rises as tau2 of all {k} rows goes to 0: they vary less than "
            "by chance, so that there is no heterogeneity whose moderators could be found. Use "
            "metamiq.meta_regression or random_effects, where tau2 may be 0."
        )
    where = f"{len(sunk)} of {k} rows ({', '.join(labels[i] for i in sunk[:8])}{', ...' if len(sunk) > 8 else ''})"
    what = f"tau2 of {where} goes to 0" if len(sunk) else "coefficients of the scale grow without end"
    others = f"with one tau2 {fixed(constant, 4)}"
    if lower is not None:
        others += f", at a lower summit {fixed(lower.point.value, 4)}"
    return (
        f"The likelihood must have a maximum, but it rises as {what}, towards a log-likelihood of "
        f"{fixed(hill.point.value, 4)} ({others}): no finite coefficients say that. Use "
        "another scale moderator, or none; of a category, metamiq.subgroups gives each level a tau2, which may be 0."
    )
