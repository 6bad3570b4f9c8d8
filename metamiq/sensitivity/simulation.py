"""Bias, coverage, width and power of estimators when the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq import batch
from metamiq.arguments import check_level
from metamiq.pooling.wls import Array
from metamiq.sensitivity.simulated_trials import Designs, Sample, SimulationDesign, as_designs, blocks, draw
from metamiq.sensitivity.workers import run

ROWS = ("points", "zero", "full")
_BLOCK = 250  # replications per task: fixed, so that the numbers do not depend on the number of workers


class Estimates(NamedTuple):
    """What an estimator says about R meta-analyses, arrays of shape (R,); NaN where it has no answer."""

    estimate: Array
    ci_low: Array
    ci_high: Array


Estimator = Callable[[Sample, float], Estimates]


@dataclass(frozen=True, slots=True)
class Pooled:
    """A random-effects (or fixed-effect) mean of effect sizes, for `simulate`.

    Parameters
    ----------
    rows : {"points", "zero", "full"}
        Trials that report only a verdict are dropped ("points"); or given a g: 0 for "not significant" and the
        threshold (p = .05) for "significant" ("zero"); or used as if they had reported fully ("full"), which no
        reader can do.
    method, test : str
        As in `random_effects`.
    """

    rows: str = "points"
    method: str = "REML"
    test: str = "knha"

    def __post_init__(self) -> None:
        if self.rows not in ROWS:
            raise ValueError(f"rows must be one of {', '.join(map(repr, sorted(ROWS)))}, not {self.rows!r}.")

    def __call__(self, sample: Sample, level: float) -> Estimates:
        """Pool each meta-analysis of the sample."""
        mask = None
        if self.rows == "full":
            y, v = sample.full_yi, sample.full_vi
        elif self.rows == "points":
            mask = ~sample.is_bound
            y, v = sample.yi, sample.vi
        else:
            with np.errstate(invalid="ignore"):
                known = np.where(
                    np.isinf(sample.yi_high), sample.yi_low, np.where(np.isinf(sample.yi_low), sample.yi_high, 0.0)
                )
            y = np.where(sample.is_bound, known, sample.yi)
            n1, n2 = sample.n1i, sample.n2i
            v = np.where(sample.is_bound, 1.0 / n1 + 1.0 / n2 + y * y / (2.0 * (n1 + n2)), sample.vi)
        out = [np.full(len(y), np.nan) for _ in range(3)]
        at = np.arange(len(y)) if mask is None else np.flatnonzero(mask.any(axis=1))
        if len(at):
            fits = batch.random_effects(
                y[at], v[at], None if mask is None else mask[at], method=self.method, test=self.test, level=level
            )
            for a, b in zip(out, (fits.estimate, *fits.ci()), strict=True):
                a[at] = b
        return Estimates(*out)


@dataclass(frozen=True, slots=True)
class Bounded:
    """`random_effects_bounded` with its profile-likelihood interval, for `simulate`."""

    def __call__(self, sample: Sample, level: float) -> Estimates:
        """Fit each meta-analysis of the sample."""
        fits = batch.random_effects_bounded(*sample[:6], level=level)
        return Estimates(fits.estimate, *fits.ci())


ESTIMATORS: dict[str, Estimator] = {
    "bounded": Bounded(),
    "points": Pooled("points"),
    "zero": Pooled("zero"),
    "full": Pooled("full"),
}


def simulate(
    designs: Designs,
    estimators: Sequence[str] | Mapping[str, Estimator] = ("bounded", "points", "full"),
    *,
    n: int = 1000,
    seed: int = 1,
    n_jobs: int = 1,
    level: float = 0.95,
) -> pd.DataFrame:
    """Bias, coverage, width and power of estimators over a grid of designs.

    All estimators of a design see the same simulated meta-analyses. The numbers depend on the seed and on the place of
    a design in the grid, and not on the number of workers.

    Parameters
    ----------
    designs : SimulationDesign, list of them, or mapping
        The truths to simulate; a mapping such as ``{"k": [10, 40], "bounds": [0, 0.5]}`` is every combination.
    estimators : list of str, or mapping of names to estimators
        Names: "bounded" (`random_effects_bounded`), and REML with Knapp-Hartung intervals on "points" (verdicts
        dropped), on "zero" (g = 0 for "not significant", p = .05 for "significant") and on "full" data. In a mapping:
        `Bounded()`, `Pooled(rows, method, test)`, or any function of a Sample and a level that returns Estimates.
    n : int
        Meta-analyses per design.
    seed : int
        Seed of all of it.
    n_jobs : int
        Workers, through joblib (extra `parallel`): -1 for all cores. Under an active ``joblib.parallel_config`` its
        backend and number of workers are used when this is 1.
    level : float
        Coverage that the intervals claim; power is that of the test at 1 - level.

    Returns
    -------
    DataFrame
        One row per design and estimator: the design's fields, `estimator`, `n`, `converged` (share of meta-analyses
        with an estimate and an interval, over which everything else is taken), `mean`, `bias`, `empirical_se`,
        `coverage`, `width` (of the interval, on average), `power` (share of intervals without 0), each with its Monte
        Carlo standard error `..._mcse`. NaN where nothing converged.

    Raises
    ------
    ValueError
        If an estimator, a design or a number is not one.
    ImportError
        If more than one worker is asked for and joblib is not installed.

    References
    ----------
    Morris, White & Crowther (2019), Statistics in Medicine 38, 2074-2102: performance measures and their Monte Carlo
    standard errors.

    Examples
    --------
    >>> table = simulate({"k": 10, "mu": 0.4, "bounds": [0, 0.5]}, ["bounded", "points"], n=100, seed=7)
    >>> table[["k", "bounds", "estimator", "n"]].values.tolist()
    [[10, 0.0, 'bounded', 100], [10, 0.0, 'points', 100], [10, 0.5, 'bounded', 100], [10, 0.5, 'points', 100]]
    """
    check_level(level)
    if int(n) != n or n < 1:
        raise ValueError(f"n must be a whole number of meta-analyses, 1 or more, not {n!r}.")
    chosen = _estimators(estimators)
    grid = as_designs(designs)
    tasks = [
        (design, size, child, chosen, level)
        for design, root in zip(grid, np.random.SeedSequence(seed).spawn(len(grid)), strict=True)
        for size, child in zip(blocks(int(n), _BLOCK), root.spawn(-(-int(n) // _BLOCK)), strict=True)
    ]
    results = run(_task, tasks, n_jobs, "simulating")
    per_design = len(tasks) // len(grid)
    rows = []
    for i, design in enumerate(grid):
        parts = results[i * per_design : (i + 1) * per_design]
        for j, name in enumerate(chosen):
            whole = Estimates(*(np.concatenate([part[j][a] for part in parts]) for a in range(3)))
            rows.append({**design.columns(), "estimator": name, **_performance(whole, design.mu)})
    return pd.DataFrame(rows)


def _estimators(estimators: Sequence[str] | Mapping[str, Estimator]) -> dict[str, Estimator]:
    if isinstance(estimators, str):
        estimators = [estimators]
    if isinstance(estimators, Mapping):
        wrong = sorted(str(name) for name, e in estimators.items() if not callable(e))
        if wrong or not estimators:
            raise ValueError(f"Each estimator must be a function of a sample and a level; {wrong or 'none'} given.")
        return dict(estimators)
    unknown = sorted(set(estimators) - set(ESTIMATORS))
    if unknown or not estimators:
        raise ValueError(
            f"estimators must be among {', '.join(map(repr, sorted(ESTIMATORS)))}, or a mapping of names to functions; "
            f"not {', '.join(map(repr, unknown)) or 'none'}."
        )
    return {name: ESTIMATORS[name] for name in estimators}


def _task(
    design: SimulationDesign, n: int, seed: np.random.SeedSequence, chosen: dict[str, Estimator], level: float
) -> list[Estimates]:
    sample = draw(design, n, seed)
    return [Estimates(*(np.asarray(a, dtype=float) for a in e(sample, level))) for e in chosen.values()]


def _performance(e: Estimates, mu: float) -> dict[str, float]:
    ok = np.isfinite(e.estimate) & ~np.isnan(e.ci_low) & ~np.isnan(e.ci_high)
    estimate, low, high = e.estimate[ok], e.ci_low[ok], e.ci_high[ok]
    n = len(estimate)

    def mean(a: Array) -> float:
        return float(a.mean()) if n else np.nan

    def sd(a: Array) -> float:
        return float(a.std(ddof=1)) if n > 1 and np.isfinite(a).all() else np.nan

    root = np.sqrt(n) if n else np.nan
    covered, rejected = ((low <= mu) & (mu <= high)).astype(float), ((low > 0) | (high < 0)).astype(float)
    coverage, power, spread = mean(covered), mean(rejected), sd(estimate)
    width = high - low
    return {
        "n": len(ok),
        "converged": float(ok.mean()),
        "mean": mean(estimate),
        "bias": mean(estimate) - mu,
        "bias_mcse": spread / root,
        "empirical_se": spread,
        "empirical_se_mcse": spread / np.sqrt(2.0 * (n - 1)) if n > 1 else np.nan,
        "coverage": coverage,
        "coverage_mcse": float(np.sqrt(coverage * (1 - coverage))) / root,
        "width": mean(width),
        "width_mcse": sd(width) / root,
        "power": power,
        "power_mcse": float(np.sqrt(power * (1 - power))) / root,
    }
