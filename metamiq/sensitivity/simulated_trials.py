"""Two-arm trials made by chance under a known truth, as a literature would report them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metamiq.effects.bounds import significance_threshold
from metamiq.effects.correction import small_sample_correction
from metamiq.pooling.wls import Array

BOUNDS_AMONG = ("all", "nonsignificant")
_MAX_DRAWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationDesign:
    """The truth behind simulated meta-analyses, and how their trials report it.

    Parameters
    ----------
    k : int
        Trials per meta-analysis.
    mu, tau2 : float
        Mean and variance of the trials' true standardised mean differences, which are normal.
    arms : (int, int)
        Each arm's size is drawn evenly from this range, ends included.
    bounds : float
        Share of trials (0 to 1) that report a verdict of a two-sided 5% t test instead of an effect size.
    bounds_among : {"all", "nonsignificant"}
        Whether that share is of all trials, whatever they found (rounded to whole trials), or of the nonsignificant
        ones (each by chance).
    selection : float
        Probability, above 0, that a trial is published which is not significant in favour of group 1; the others
        always are.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    k: int
    mu: float = 0.0
    tau2: float = 0.0
    arms: tuple[int, int] = (20, 60)
    bounds: float = 0.0
    bounds_among: str = "all"
    selection: float = 1.0

    def __post_init__(self) -> None:
        least, most = self.arms
        rules = {
            "k must be a whole number of at least 1": self.k >= 1 and int(self.k) == self.k,
            "mu must be finite": np.isfinite(self.mu),
            "tau2 must be finite and not negative": np.isfinite(self.tau2) and self.tau2 >= 0,
            "arms must be two sizes, 2 or more, the smaller one first": 2 <= least <= most < np.inf,
            "bounds must lie between 0 and 1": 0 <= self.bounds <= 1,
            f"bounds_among must be one of {', '.join(map(repr, BOUNDS_AMONG))}": self.bounds_among in BOUNDS_AMONG,
            "selection must be above 0 and at most 1": 0 < self.selection <= 1,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ValueError(f"{'; '.join(broken)}: got {self}.")

    def columns(self) -> dict[str, Any]:
        """Field by field."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


Designs = SimulationDesign | Mapping[str, Any] | Iterable[SimulationDesign]


def as_designs(designs: Designs) -> list[SimulationDesign]:
    """One design, several, or every combination of a grid such as ``{"k": [10, 40], "tau2": [0, 0.1]}``.

    In a grid a list or an array is a choice of values; anything else is one value for all.

    Examples
    --------
    >>> [(d.k, d.tau2) for d in as_designs({"k": [10, 40], "tau2": [0, 0.1]})]
    [(10, 0), (10, 0.1), (40, 0), (40, 0.1)]
    """
    if isinstance(designs, SimulationDesign):
        return [designs]
    if isinstance(designs, Mapping):
        known = {f.name for f in fields(SimulationDesign)}
        unknown = sorted(set(designs) - known)
        if unknown or "k" not in designs:
            raise ValueError(
                f"A grid of designs must give k, and otherwise only {', '.join(sorted(known - {'k'}))}; "
                f"this one gives {', '.join(sorted(map(str, designs)))}."
            )
        choices = [v if isinstance(v, list | np.ndarray | range) else [v] for v in designs.values()]
        return [SimulationDesign(**dict(zip(designs, values, strict=True))) for values in product(*choices)]
    out = list(designs) if isinstance(designs, Iterable) else []
    if not out or not all(isinstance(d, SimulationDesign) for d in out):
        raise ValueError("designs must be a SimulationDesign, several of them, or a grid as a mapping.")
    return out


class Sample(NamedTuple):
    """R simulated meta-analyses of k trials: arrays of shape (R, k).

    `yi`, `vi`, `yi_low`, `yi_high`, `n1i`, `n2i` are what was reported, as in `random_effects_bounded`: a bound has
    no yi and vi, a point no ends. `full_yi`, `full_vi` are what a complete report would have given.
    """

    yi: Array
    vi: Array
    yi_low: Array
    yi_high: Array
    n1i: Array
    n2i: Array
    full_yi: Array
    full_vi: Array

    @property
    def is_bound(self) -> NDArray[np.bool_]:
        """Which rows are bounds."""
        return np.isnan(self.yi)


class _Trials(NamedTuple):
    g: Array
    n1: Array
    n2: Array
    threshold: Array


def _trials(design: SimulationDesign, size: int, rng: np.random.Generator) -> _Trials:
    """Hedges' g of trials with normal outcomes: the mean difference and the pooled SD from their own distributions."""
    n1, n2 = rng.integers(design.arms[0], design.arms[1], (2, size), endpoint=True).astype(float)
    true = rng.normal(design.mu, np.sqrt(design.tau2), size)
    m = n1 + n2 - 2.0
    difference = rng.normal(true, np.sqrt(1.0 / n1 + 1.0 / n2))
    sd = np.sqrt(rng.chisquare(m) / m)
    return _Trials(small_sample_correction(m) * difference / sd, n1, n2, np.asarray(significance_threshold(n1, n2)))


def draw(design: SimulationDesign, n: int, seed: np.random.SeedSequence | int) -> Sample:
    """Simulate `n` meta-analyses.

    Trial i has true effect d_i ~ N(mu, tau2), a mean difference ~ N(d_i, 1/n1 + 1/n2) in units of the true SD, and a
    pooled variance ~ chi2(m) / m with m = n1 + n2 - 2. g = J(m) difference / SD; vi = 1/n1 + 1/n2 + g^2/(2(n1 + n2)).

    Raises
    ------
    ValueError
        If so few trials would be published that the search for them was given up.
    """
    rng = np.random.default_rng(seed)
    k = int(design.k)
    trials = _trials(design, n * k, rng)
    if design.selection < 1:
        pending = np.flatnonzero(_unpublished(design, trials, rng))
        for _ in range(_MAX_DRAWS):
            if len(pending) == 0:
                break
            again = _trials(design, len(pending), rng)
            for kept, new in zip(trials, again, strict=True):
                kept[pending] = new
            pending = pending[_unpublished(design, again, rng)]
        else:
            raise ValueError(f"Some trials must be published, but almost none are under {design}.")
    g, n1, n2, threshold = (a.reshape(n, k) for a in trials)
    v = 1.0 / n1 + 1.0 / n2 + g * g / (2.0 * (n1 + n2))
    up, down = g > threshold, g < -threshold
    if design.bounds_among == "all":
        # Trials are exchangeable, so that it may as well be the first ones.
        hidden = np.broadcast_to(np.arange(k) < round(design.bounds * k), (n, k))
    else:
        hidden = ~(up | down) & (rng.random((n, k)) < design.bounds)
    low = np.where(up, threshold, np.where(down, -np.inf, -threshold))
    high = np.where(up, np.inf, np.where(down, -threshold, threshold))
    nan = np.nan
    return Sample(
        yi=np.where(hidden, nan, g),
        vi=np.where(hidden, nan, v),
        yi_low=np.where(hidden, low, nan),
        yi_high=np.where(hidden, high, nan),
        n1i=n1,
        n2i=n2,
        full_yi=g,
        full_vi=v,
    )


def _unpublished(design: SimulationDesign, trials: _Trials, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.asarray((trials.g <= trials.threshold) & (rng.random(len(trials.g)) >= design.selection))


def blocks(n: int, size: int) -> Sequence[int]:
    """Replications per block: `size` each, and what is left."""
    return [min(size, n - start) for start in range(0, n, size)]
