"""One mean effect: the fixed-effect and the random-effects model."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.arguments import check_same_rows, numbers
from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.records import PI_METHODS, PooledEffect, check_columns
from metamiq.pooling.source import Source, frozen_copy
from metamiq.pooling.tables import LARGEST, TOO_LARGE, UNDEFINED, Array, Tables, out_of_range, tables


def source_of(effects: pd.DataFrame | None, yi: ArrayLike | None, vi: ArrayLike | None) -> tuple[Source, Tables]:
    """The rows to fit, from a table or from arrays, checked once."""
    if effects is None:
        if yi is None or vi is None:
            raise ValueError("Give an effects table, or both yi= and vi=.")
        check_same_rows(yi=yi, vi=vi)
        t = tables(_row(yi, "yi"), _row(vi, "vi"))
        return Source(frozen_copy(t.yi[0]), frozen_copy(t.vi[0])), t
    if yi is not None or vi is not None:
        raise ValueError("Give an effects table, or yi= and vi=, not both.")
    check_columns(effects)
    label = next((c for c in ("study", "trial_id", "label") if c in effects), None)
    y, v = numbers(effects["yi"], "yi"), numbers(effects["vi"], "vi")
    _check_complete(effects, y, v, label)
    t = tables(y, v)
    return Source(frozen_copy(y), frozen_copy(v), effects.copy(deep=False), label), t


def _row(values: ArrayLike, name: str) -> Array:
    a = numbers(values, name)
    if a.size != max(a.shape, default=1):
        raise ValueError(f"{name} must be one row of numbers, but its shape is {a.shape}. Tables go to metamiq.batch.")
    return a.ravel()


def _check_complete(effects: pd.DataFrame, y: Array, v: Array, label: str | None) -> None:
    if len(y) == 0:
        raise DataError("There must be at least one effect size to pool, but the table is empty.")
    bad = ~(np.isfinite(y) & np.isfinite(v) & (v > 0))
    rule, hint = UNDEFINED[0], "Leave such rows out before pooling, or complete them from their source."
    if "yi_low" in effects:
        hint = "Rows that are bounds, not points, belong in metamiq.random_effects_bounded."
    if not bad.any():
        bad, (rule, hint) = out_of_range(y, v), TOO_LARGE
        if not bad.any():
            return
    names = [str(effects[label].iloc[i]) if label else f"row {i + 1}" for i in np.flatnonzero(bad)]
    first = int(np.flatnonzero(bad)[0])
    raise DataError(
        f"{rule}, but {names[0]!r} has yi = {y[first]:g} and "
        f"vi = {v[first]:g} ({len(names)} such rows: {', '.join(sorted(names)[:8])}"
        f"{', ...' if len(names) > 8 else ''}). {hint}"
    )


def random_effects(
    effects: pd.DataFrame | None = None,
    *,
    yi: ArrayLike | None = None,
    vi: ArrayLike | None = None,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
    weights: ArrayLike | str | None = None,
    tau2: float | None = None,
    pi_method: str = "test",
) -> PooledEffect:
    r"""Mean of effects that differ between studies: :math:`y_i \sim N(\mu, v_i + \tau^2)`.

    The mean is :math:`\sum w_i y_i / \sum w_i` with :math:`w_i = 1 / (v_i + \hat\tau^2)`.

    Parameters
    ----------
    effects : DataFrame
        Effect sizes `yi` and sampling variances `vi`, one row each; a column `study` (or `trial_id`) names them.
    yi, vi : array_like, shape (k,)
        The same as arrays, instead of `effects`.
    method : {"REML", "DL", "PM", "EB", "ML", "HE", "HS", "HSk", "SJ", "PMM", "DL2", "CA2", "FE"}
        Estimator of tau2; "FE" sets it to 0.
    test : {"knha", "z", "t", "adhoc"}
        Hartung-Knapp-Sidik-Jonkman standard error with t(k - 1); normal; t(k - 1) with the normal's standard error;
        Hartung-Knapp that never narrows the interval.
    level : float
        Coverage of the intervals.
    weights : array_like of shape (k,), "equal" or "ivhet", optional
        Weights of the mean in place of w. "equal" averages; "ivhet" keeps the fixed-effect weights and lets tau2 widen
        the interval (Doi et al. 2015); the variance is that of the weighted mean under the random-effects model.
    tau2 : float, optional
        A known between-study variance, not estimated.
    pi_method : {"test", "HTS", "nagashima"}
        Prediction interval by default; see `PooledEffect.pi`.

    Returns
    -------
    PooledEffect
        With one study, `tau2` and all that needs it is NaN.

    Raises
    ------
    DataError
        If a yi or vi is missing or a vi is not positive; the message names the study.
    ConvergenceError
        If tau2 cannot be solved for.

    References
    ----------
    DerSimonian & Laird (1986); Viechtbauer (2005) for the estimators; Hartung & Knapp (2001) and Sidik & Jonkman
    (2002) for knha; Knapp & Hartung (2003) for adhoc; Doi et al. (2015) for ivhet.

    Examples
    --------
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}), tau2 = {fit.tau2:.3f}")
    0.415 (-0.133 to 0.962), tau2 = 0.075
    """
    batch.check_choices(method, test, level)
    if pi_method not in PI_METHODS:
        raise ValueError(f"pi_method must be one of 'HTS', 'nagashima', 'test', not {pi_method!r}.")
    source, t = source_of(effects, yi, vi)
    combine = _combining_weights(weights, t)
    if tau2 is not None and not (isinstance(tau2, (float, int, np.number)) and 0 <= tau2 <= LARGEST):
        raise ValueError(f"tau2 must be a finite number, 0 or greater, not {tau2!r}.")
    known = None if tau2 is None else np.array([float(tau2)])
    c = batch.core(t, method, test, t2=known, combine=None if combine is None else combine[None])
    return PooledEffect(
        estimate=float(c.beta[0, 0]),
        se=float(c.cov[0, 0, 0]) ** 0.5,
        dof=None if test == "z" else float(c.dof[0]),
        tau2=float(c.tau2[0]),
        Q=float(c.Q[0]),
        method=method,
        test=test,
        level=level,
        source=source,
        pi_method=pi_method,
        combine=None if combine is None else frozen_copy(combine),
        tau2_given=tau2 is not None,
    )


def _combining_weights(weights: ArrayLike | str | None, t: Tables) -> Array | None:
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights == "equal":
            return np.ones(t.yi.shape[1])
        if weights == "ivhet":
            return np.asarray(1.0 / t.vi[0])
        raise ValueError(f"weights must be numbers, 'equal' or 'ivhet', not {weights!r}.")
    a = _row(weights, "weights")
    if len(a) != t.yi.shape[1]:
        raise DataError(f"weights must have one value per effect size ({t.yi.shape[1]}), but {len(a)} came.")
    if not (np.isfinite(a).all() and (a >= 0).all() and a.any()):
        raise DataError("weights must be finite and not negative, with a sum greater than 0.")
    return np.asarray(a / a.max())  # their scale does not matter, and so squares of them stay within range


def fixed_effect(
    effects: pd.DataFrame | None = None,
    *,
    yi: ArrayLike | None = None,
    vi: ArrayLike | None = None,
    test: str = "z",
    level: float = 0.95,
    weights: ArrayLike | str | None = None,
    dispersion: str = "none",
) -> PooledEffect:
    """Inverse-variance mean under one common effect (tau2 = 0).

    Parameters
    ----------
    effects, yi, vi, test, level, weights
        As in `random_effects`.
    dispersion : {"none", "birge"}
        "birge" multiplies the variance by Q / (k - 1): the multiplicative model, with t(k - 1). It may narrow the
        interval, as the unrestricted weighted least squares of Stanley & Doucouliagos does.

    Returns
    -------
    PooledEffect
        With `tau2` 0; `I2` and `H2` are those of Q.

    References
    ----------
    Birge (1932); Stanley & Doucouliagos (2015) for the multiplicative model.

    Examples
    --------
    >>> fit = fixed_effect(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}), Q = {fit.Q:.2f}")
    0.406 (0.233 to 0.580), Q = 9.08
    """
    if dispersion not in ("none", "birge"):
        raise ValueError(f"dispersion must be 'birge' or 'none', not {dispersion!r}.")
    # The Hartung-Knapp factor at tau2 = 0 is Q / (k - 1), Birge's ratio squared.
    test = "knha" if dispersion == "birge" else test
    return random_effects(effects, yi=yi, vi=vi, method="FE", test=test, level=level, weights=weights)
