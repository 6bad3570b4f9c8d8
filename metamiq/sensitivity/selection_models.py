"""Selection models: the mean effect when results were selected by their p-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.sensitivity.maximise import Maximum, Point, maximise
from metamiq.sensitivity.selection_likelihood import selection_likelihood
from metamiq.sensitivity.selection_record import SelectionModel
from metamiq.sensitivity.small_study import study_sizes
from metamiq.sensitivity.weight_functions import (
    ALTERNATIVES,
    SMOOTH,
    NoSelection,
    Smooth,
    Steps,
    WeightFunction,
    span,
    tails,
)

TYPES = ("stepfun", *SMOOTH)
PRECISIONS = ("sei", "vi", "ninv", "sqrtninv")


def selection_model(
    fit: PooledEffect | MetaRegression,
    steps: Sequence[float] | None = None,
    type: str = "stepfun",
    alternative: str | None = None,
    *,
    precision: str | None = None,
    delta: ArrayLike | None = None,
    level: float | None = None,
) -> SelectionModel:
    r"""Fit a random-effects model to results that were selected by their p-values.

    The density of an observed effect is
    :math:`w(p_i) N(y_i; \mu, v_i + \tau^2) / \int w(p) N(y; \mu, v_i + \tau^2) dy`. Weight functions:

    - stepfun: :math:`\delta_j` for p in the j-th interval between steps, :math:`\delta_1 = 1`. One step gives the
      three-parameter model, any number is possible.
    - beta: :math:`p^{\delta_1 - 1} (1 - p)^{\delta_2 - 1}`, p held between 0.00001 and 0.99999 so that it stays finite
    - halfnorm: :math:`\exp(-\delta p^2)`; negexp: :math:`\exp(-\delta p)`;
      logistic: :math:`2 \exp(-\delta p) / (1 + \exp(-\delta p))`; power: :math:`(1 - p)^\delta`

    Parameters
    ----------
    fit : PooledEffect or MetaRegression
        Gives the rows and moderators; a fixed-effect fit holds tau2 at 0.
    steps : sequence of float, optional
        Cut points of p. For steps 0.025 by default: one-sided 0.025 is two-sided 0.05. For a smooth weight function
        other than beta at most one: p-values up to it all have weight 1, and the function falls from there.
    type : {"stepfun", "beta", "halfnorm", "negexp", "logistic", "power"}
        Weight function.
    alternative : {"greater", "less", "two.sided"}, optional
        What the p-values test. By default one-sided in the direction of the fit's mean.
    precision : {"sei", "vi", "ninv", "sqrtninv"}, optional
        For one-parameter smooth functions: multiply delta by this measure of each row's imprecision, divided by its
        largest value (Preston, Ashby & Smyth 2004).
    delta : array_like, optional
        Weights (one per interval) or parameters to hold fixed, as in a sensitivity analysis with chosen weights.
    level : float, optional
        Coverage of the intervals; the fit's own by default.

    Returns
    -------
    SelectionModel
        Maximum likelihood estimates, with standard errors from the observed information, and the likelihood-ratio test
        of no selection. A parameter on its bound (tau2 or delta of 0) is held there and has standard error NaN.
        For smooth functions no selection (delta = 0) is on the edge, which makes the test conservative.

    Raises
    ------
    DataError
        If there are bounds, fewer rows than parameters, or an interval between steps without any p-value: its weight
        would be 0 or infinite.
    ConvergenceError
        If the likelihood has no maximum.
    ValueError
        If an option is not one of those above.

    References
    ----------
    Hedges (1992); Vevea & Hedges (1995) for steps; Vevea & Woods (2005) for given weights; Citkowicz & Vevea (2017) for
    beta; Preston, Ashby & Smyth (2004) for the others.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> yi = [0.1, 0.02, 0.45, 0.5, 0.9, 0.8, 0.6, 0.3, 0.55, 0.2]
    >>> vi = [0.01, 0.01, 0.02, 0.04, 0.09, 0.08, 0.05, 0.06, 0.05, 0.04]
    >>> model = selection_model(random_effects(yi=yi, vi=vi))
    >>> print(f"{model.unadjusted:.3f} -> {model.estimate:.3f}, weight {model.weights[1]:.3f}, p = {model.lrt_p:.3f}")
    0.368 -> 0.229, weight 0.246, p = 0.219
    """
    rows = readable.rows_of(fit, "A selection model", at_least=2)
    choice = _choose(fit, rows, steps, type, alternative)
    X = fit.design.X if isinstance(fit, MetaRegression) else np.ones((len(rows.yi), 1))
    p, held = X.shape[1], fit.method == "FE"
    given = None if delta is None else _given(delta, type, len(choice.cuts))
    if type == "stepfun" and given is None:
        _check_counts(choice.cuts, choice.counts)
    factor = _factor(fit, rows, precision, type)
    free = 0 if given is not None else len(choice.cuts) - 1 if type == "stepfun" else 2 if type == "beta" else 1
    _check_size(len(rows.yi), p + (not held) + free)
    model = _Model(choice.turn * rows.yi, rows.vi, X, held)
    plain = model.climb(NoSelection(), None, [_plain_start(model)])

    def build(x: Array) -> WeightFunction:
        if type == "stepfun":
            return Steps(rows.sei, choice.cuts, choice.two_sided, choice.counts)
        s = np.sqrt(rows.vi + (0.0 if held else x[p]))
        covered = span(type, choice.two_sided, X @ x[:p], 1.2 * s, rows.sei)
        step = float(choice.cuts[0]) if steps is not None and len(choice.cuts) else None
        return Smooth(type, model.yi / rows.sei, rows.sei, choice.two_sided, step, factor, covered)

    best, weight = _best(model, plain, build, given)
    cov, own = best.covariance(), best.x[p + (not held) :] if given is None else given
    se = np.sqrt(np.diag(cov))
    own_se = se[p + (not held) :] if given is None else np.full(len(own), np.nan)
    if type == "stepfun":
        shown, shown_se = np.append(1.0, np.exp(own)), np.append(np.nan, np.exp(own) * own_se)
    else:
        shown, shown_se = own, own_se
    return SelectionModel(
        beta=frozen_copy(choice.turn * best.x[:p]),
        cov=frozen_copy(cov[:p, :p]),
        names=tuple(fit.names) if isinstance(fit, MetaRegression) else ("mean",),
        tau2=0.0 if held else float(best.x[p]),
        tau2_se=np.nan if held else float(se[p]),
        delta=frozen_copy(shown),
        delta_se=frozen_copy(shown_se),
        type=type,
        alternative=choice.alternative,
        steps=tuple(float(x) for x in choice.cuts),
        counts=tuple(int(x) for x in choice.counts),
        p_values=frozen_copy(choice.p_values),
        loglik=best.point.loglik,
        loglik_without=plain.point.loglik,
        free=free,
        unadjusted=float(choice.turn * plain.x[0]),
        k=len(rows.yi),
        level=fit.level if level is None else level,
        cautions=_cautions(fit, choice, type, given is not None, bool(np.isnan(se[:p]).any())),
        _weight=weight,
        _own=own,
    )


class _Choice(NamedTuple):
    """What the p-values test, and where they are cut."""

    alternative: str
    turn: float  # -1 turns effects so that small p-values belong to large ones
    p_values: Array
    cuts: Array
    counts: NDArray[np.intp]

    @property
    def two_sided(self) -> bool:
        return self.alternative == "two.sided"


def _choose(
    fit: PooledEffect | MetaRegression,
    rows: readable.Rows,
    steps: Sequence[float] | None,
    type: str,
    alternative: str | None,
) -> _Choice:
    if type not in TYPES:
        raise ValueError(f"type must be one of {', '.join(map(repr, sorted(TYPES)))}, not {type!r}.")
    if alternative is None:
        mean = fit.estimate if isinstance(fit, PooledEffect) else float(np.average(rows.yi, weights=1 / rows.vi))
        alternative = "less" if readable.direction(mean) < 0 else "greater"
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative must be one of 'greater', 'less', 'two.sided', not {alternative!r}.")
    turn = -1.0 if alternative == "less" else 1.0
    p_values = tails(turn * rows.yi / rows.sei, alternative == "two.sided").p
    cuts = _cuts(steps, type)
    counts = np.bincount(np.searchsorted(cuts, p_values, side="left"), minlength=len(cuts))
    return _Choice(alternative, turn, p_values, cuts, counts)


def _cuts(steps: Sequence[float] | None, type: str) -> Array:
    given = [0.025] if steps is None and type == "stepfun" else [] if steps is None else steps
    cuts = np.unique(np.asarray(given, dtype=float))
    if not (np.isfinite(cuts).all() and (cuts > 0).all() and (cuts <= 1).all()):
        raise ValueError(f"steps must be p-values above 0 and at most 1, not {list(given)}.")
    inner = cuts[cuts < 1]
    if type == "stepfun" and len(inner) == 0:
        raise ValueError(f"A step function needs at least one step below 1, not {list(given)}.")
    if type == "beta" and len(inner):
        raise ValueError("The beta weight function has no steps; leave steps out.")
    if type != "stepfun" and len(inner) > 1:
        raise ValueError(f"A weight function of type {type!r} can have one step, not {len(inner)}.")
    return np.append(inner, 1.0) if type == "stepfun" else inner if len(inner) else np.empty(0)


def _given(delta: ArrayLike, type: str, intervals: int) -> Array:
    values = np.ravel(np.asarray(delta, dtype=float))
    expected = intervals if type == "stepfun" else 2 if type == "beta" else 1
    if len(values) != expected or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(
            f"delta must be {expected} finite numbers, 0 or greater, for this weight function, not {delta!r}."
        )
    if type != "stepfun":
        return values
    if (values == 0).any():
        raise ValueError("Weights of steps must be greater than 0: with 0 the results seen there could not be.")
    return np.asarray(np.log(values[1:] / values[0]))


def _check_counts(cuts: Array, counts: NDArray[np.intp]) -> None:
    if (counts > 0).all():
        return
    low = np.append(0.0, cuts[:-1])
    empty = ", ".join(f"{a:g} to {b:g}" for a, b, n in zip(low, cuts, counts, strict=True) if n == 0)
    raise DataError(
        f"Every interval between steps must hold a p-value, but there is none from {empty}: its weight would be 0 or "
        "infinite. Move or leave out a step, or set the weights yourself with delta=."
    )


def _check_size(k: int, parameters: int) -> None:
    if k < parameters:
        raise DataError(
            f"This selection model has {parameters} parameters and needs at least as many effect sizes, but there are "
            f"{k}. Use fewer steps."
        )


def _factor(fit: PooledEffect | MetaRegression, rows: readable.Rows, precision: str | None, type: str) -> Array | None:
    if precision is None:
        return None
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, sorted(PRECISIONS)))}, not {precision!r}.")
    if type in ("stepfun", "beta"):
        raise ValueError(f"precision is for weight functions with one parameter that falls with p, not {type!r}.")
    if precision in ("sei", "vi"):
        c = rows.sei if precision == "sei" else rows.vi
    else:
        c = 1.0 / study_sizes(fit, precision)
        c = np.sqrt(c) if precision == "sqrtninv" else c
    return np.asarray(c / c.max())


class _Model(NamedTuple):
    """The rows and design of a selection model."""

    yi: Array
    vi: Array
    X: Array
    held: bool  # tau2 is 0 by assumption

    def climb(self, weight: WeightFunction, given: Array | None, starts: list[Array]) -> Maximum:
        """The highest maximum from several starting values."""
        p = self.X.shape[1]
        full = selection_likelihood(self.yi, self.vi, self.X, weight.normaliser, weight.selected, tau2_fixed=self.held)
        n = p + (not self.held)

        def with_given(x: Array) -> Point:
            here = full(np.concatenate([x, given if given is not None else x[:0]]))
            return Point(here.loglik, here.gradient[:n], here.hessian[:n, :n])

        spread = float(np.ptp(self.yi)) + float(np.sqrt(self.vi.max()))
        own_lower, own_reach = (weight.lower, weight.reach) if given is None else (np.empty(0), np.empty(0))
        variance = [] if self.held else [100 * spread**2]
        size = max(1.0, float(np.abs(self.X).max()))
        lower = np.concatenate([np.full(p, -np.inf), [] if self.held else [0.0], own_lower])
        reach = np.concatenate([np.full(p, 20 * spread * size), variance, own_reach])
        found, failure = [], None
        for start in starts:
            try:
                found.append(
                    maximise(full if given is None else with_given, start, lower, reach, "the selection model")
                )
            except ConvergenceError as error:
                failure = failure or error
        if not found:
            assert failure is not None
            raise failure
        return max(found, key=lambda m: m.point.loglik)


def _plain_start(model: _Model) -> Array:
    w = 1.0 / model.vi
    beta = np.linalg.lstsq(model.X * np.sqrt(w)[:, None], model.yi * np.sqrt(w), rcond=None)[0]
    if model.held:
        return np.asarray(beta)
    excess = float(np.mean((model.yi - model.X @ beta) ** 2) - model.vi.mean())
    return np.append(beta, max(excess, 0.1 * float(model.vi.min())))


def _best(
    model: _Model, plain: Maximum, build: Callable[[Array], WeightFunction], given: Array | None
) -> tuple[Maximum, WeightFunction]:
    p = model.X.shape[1]
    # Selection that is strong, or weak, or against significance: the likelihood may have a hill for each.
    shrunk = plain.x.copy()
    shrunk[:p] = 0.5 * shrunk[:p]
    if not model.held:
        shrunk[p] = max(float(shrunk[p]), 0.25 * float(model.vi.mean()))
    weight = build(plain.x)
    for _ in range(4):
        none = weight.start if given is None else np.empty(0)
        strong = weight.strong if given is None else np.empty(0)
        starts = [np.append(plain.x, none), np.append(shrunk, strong)]
        if isinstance(weight, Steps) and given is None:
            starts.append(np.append(shrunk, -strong))
        best = model.climb(weight, given, starts)
        if not isinstance(weight, Smooth):
            return best, weight
        wider = build(best.x)
        assert isinstance(wider, Smooth)
        if wider.span <= 1.2 * weight.span:
            return best, weight
        weight = wider
    raise ConvergenceError("The weight function has no stable maximum within the reach of its integrals.")


def _cautions(
    fit: PooledEffect | MetaRegression, choice: _Choice, type: str, given: bool, no_errors: bool
) -> tuple[str, ...]:
    k = len(choice.p_values)
    out = [*readable.few(k), *readable.dependent(fit), *readable.no_null(fit)]
    if type == "stepfun" and not given and choice.counts.min() < 4:
        out.append(
            f"An interval between steps holds only {choice.counts.min()} p-values: its weight, and with it the mean, "
            "rests on them."
        )
    if k < 40 and not given:
        out.append("With few effect sizes weights are poorly known: read this as a sensitivity analysis.")
    if no_errors:
        out.append("The information matrix is not positive definite: there are no standard errors.")
    return tuple(out)
