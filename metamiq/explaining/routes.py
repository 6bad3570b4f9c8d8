"""The ways from what a report prints to Hedges' g: what each needs, and what must be true for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metamiq.effects.derivation import Worksheet
from metamiq.explaining import route_steps as way
from metamiq.explaining.route_steps import Settings, Values

Engine = Callable[[Values, Settings], tuple[float, float]]
Steps = Callable[[Worksheet, Settings], None]


@dataclass(frozen=True, slots=True)
class Route:
    """One way to g.

    Attributes
    ----------
    words : str
        What it starts from.
    needs : tuple of str
        Numbers that must be given.
    engine : callable
        g and its variance, by the functions that the analyses use.
    steps : callable
        Works the same on a sheet, ending with g and v.
    assumption : str
        What must be true for the result to be right.
    """

    words: str
    needs: tuple[str, ...]
    engine: Engine
    steps: Steps
    assumption: str = ""


_NORMAL = "normal outcomes with one SD in both groups"
_UNADJUSTED = "an unadjusted test of two independent groups, not one with covariates, not Welch's"
_SIZES = ("n1", "n2")
_Q = tuple(f"{what}{i}" for i in (1, 2) for what in ("median", "q1_", "q3_"))
_R = tuple(f"{what}{i}" for i in (1, 2) for what in ("median", "min", "max"))
_CI = ("ci_low", "ci_high")
_TAKEN_NORMAL = f"{_NORMAL}; the mean and SD are estimates from quantiles"

#: In order of preference: what is closest to the data first.
ROUTES: tuple[Route, ...] = (
    Route("means, SDs and sizes", ("m1", "sd1", "m2", "sd2", *_SIZES), way.means_engine, way.means_steps, _NORMAL),
    Route(
        "means, standard errors and sizes", ("m1", "se1", "m2", "se2", *_SIZES), way.se_engine, way.se_steps, _NORMAL
    ),
    Route("t and sizes", ("t", *_SIZES), way.t_engine, way.t_steps, _UNADJUSTED),
    Route("F, direction and sizes", ("f", "favours", *_SIZES), way.f_engine, way.f_steps, _UNADJUSTED),
    Route(
        "mean difference, its standard error and sizes",
        ("md", "se", *_SIZES),
        way.md_se_engine,
        way.md_se_steps,
        _UNADJUSTED,
    ),
    Route(
        "mean difference, its interval and sizes", ("md", *_CI, *_SIZES), way.md_ci_engine, way.md_ci_steps, _UNADJUSTED
    ),
    Route("p, direction and sizes", ("p", "favours", *_SIZES), way.p_engine, way.p_steps, _UNADJUSTED),
    Route(
        "correlation of arm and outcome, and sizes",
        ("r", *_SIZES),
        way.r_engine,
        way.r_steps,
        "a point-biserial correlation",
    ),
    Route("g and its standard error", ("g", "se"), way.g_se_engine, way.g_se_steps),
    Route("g and its interval", ("g", *_CI), way.g_ci_engine, way.g_ci_steps, "an interval by the normal distribution"),
    Route("g and sizes", ("g", *_SIZES), way.g_engine, way.g_steps, "g has its small-sample correction already"),
    Route("d, its standard error and sizes", ("d", "se", *_SIZES), way.d_se_engine, way.d_se_steps, "d is uncorrected"),
    Route(
        "d, its interval and sizes",
        ("d", *_CI, *_SIZES),
        way.d_ci_engine,
        way.d_ci_steps,
        "d is uncorrected, its interval by the normal distribution",
    ),
    Route(
        "d and sizes",
        ("d", *_SIZES),
        way.d_engine,
        way.d_steps,
        "d is between the arms, over the pooled SD, and uncorrected",
    ),
    Route("medians with quartiles, and sizes", (*_Q, *_SIZES), way.quantile_engine, way.quantile_steps, _TAKEN_NORMAL),
    Route("medians with ranges, and sizes", (*_R, *_SIZES), way.quantile_engine, way.quantile_steps, _TAKEN_NORMAL),
    Route(
        "odds ratio, its interval and sizes",
        ("odds_ratio", *_CI, *_SIZES),
        way.or_engine,
        way.or_steps,
        "the outcome behind the yes and no is logistic with one SD",
    ),
    Route(
        "counts and sizes",
        ("events1", "events2", *_SIZES),
        way.counts_engine,
        way.counts_steps,
        "the outcome behind the yes and no is logistic with one SD",
    ),
    Route(
        "the interval of g alone", _CI, way.g_ci_engine, way.g_ci_steps, "an interval of g by the normal distribution"
    ),
)
