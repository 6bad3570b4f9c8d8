"""What the significant p-values alone can tell: the p-curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from metamiq.errors import DataError
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.sensitivity.p_uniform import p_uniform_star
from metamiq.wording import count, in_short, p_text

__all__ = ["PCurve", "p_curve", "p_uniform_star"]

CRITICAL = float(special.ndtri(0.975))
HALF = float(special.ndtri(0.9875))
THIRD = 1 / 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CurveTest:
    """Tests of the shape of a p-curve over p-values below a limit; NaN where there are none."""

    k: int
    right_z: float  # negative: more small p-values than without an effect
    right_p: float
    flat_z: float  # negative: flatter than with a power of one third
    flat_p: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PCurve:
    """The shape of the distribution of significant p-values."""

    full: CurveTest  # p < 0.05
    half: CurveTest  # p < 0.025
    binomial_p: float  # of so many p-values below 0.025, without an effect
    flat_binomial_p: float  # of so few, with a power of one third
    p_values: Array  # of the significant results
    power: float
    k: int
    cautions: tuple[str, ...]
    _z: Array

    @property
    def k_significant(self) -> int:
        """Results with p < 0.05 in the direction of the mean."""
        return self.full.k

    @property
    def evidential(self) -> bool:
        """Right-skewed: the half curve at p < 0.05, or both curves at p < 0.1 (Simonsohn et al. 2015)."""
        return bool(self.half.right_p < 0.05 or (self.half.right_p < 0.1 and self.full.right_p < 0.1))

    @property
    def inadequate(self) -> bool:
        """Flatter than with a power of one third: the full curve at p < 0.05, or half curve and binomial at p < 0.1."""
        return bool(self.full.flat_p < 0.05 or (self.half.flat_p < 0.1 and self.flat_binomial_p < 0.1))

    def power_ci(self, level: float = 0.90) -> Interval:
        """Interval of the average power."""
        z = float(special.ndtri(0.5 + level / 2))
        return Interval(_power_where(self._z, -z), _power_where(self._z, z))

    def histogram(self) -> Array:
        """Share of significant p-values in 0 to .01, .01 to .02, ... .04 to .05."""
        return np.asarray(np.histogram(self.p_values, bins=np.linspace(0, 0.05, 6))[0] / max(1, len(self.p_values)))

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        low, high = self.power_ci()
        verdict = "evidential value" if self.evidential else "evidence inadequate" if self.inadequate else "undecided"
        return "\n".join(
            [
                f"p-curve: {self.k_significant} of {self.k} results significant, {self.half.k} of them with p < 0.025: "
                f"{verdict}",
                f"right skew: full {p_text(self.full.right_p, 4)}, half {p_text(self.half.right_p, 4)}, "
                f"binomial {p_text(self.binomial_p, 4)}",
                f"flatter than 33% power: full {p_text(self.full.flat_p, 4)}, half {p_text(self.half.flat_p, 4)}, "
                f"binomial {p_text(self.flat_binomial_p, 4)}",
                f"average power {100 * self.power:.0f}% (90% CI {100 * low:.0f}% to {100 * high:.0f}%)",
                *readable.lines(self.cautions),
            ]
        )


def p_curve(fit: PooledEffect) -> PCurve:
    r"""p-curve of the significant results of a fit.

    Without an effect the p-values below 0.05 are uniform, so that :math:`pp_i = p_i / 0.05` is as well; with a power
    of one third, so is the probability, given significance, of a p-value no smaller than the one seen. Each set of pp
    is combined by Stouffer's :math:`\sum \Phi^{-1}(pp_i) / \sqrt k`. The half curve does the same below 0.025. Power is
    the one for which the combined z is 0.

    Parameters
    ----------
    fit : PooledEffect
        The fit whose rows are used: :math:`z_i = y_i / \sqrt{v_i}`, two-sided p-values, those in the direction of the
        mean.

    Returns
    -------
    PCurve
        Tests of right skew and of flatness, the average power of the significant results with its interval.

    Raises
    ------
    DataError
        If there are bounds, or no significant result in the direction of the mean.

    Notes
    -----
    The tests of right skew and the power are those of the p-curve app and of R's dmetar (worked examples of both are in
    the tests). In the half curve's test of flatness these two divide by the share of significant results below 0.025
    where the probability of a result below 0.025 belongs, so that they hardly ever find a half curve flat; here it has
    its nominal level, and `inadequate` is found more readily.

    References
    ----------
    Simonsohn, Nelson & Simmons (2014); Simonsohn, Simmons & Nelson (2015) for Stouffer's method and the half curve.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> curve = p_curve(random_effects(yi=[0.3, 0.5, 0.9, 0.7, 0.1], vi=[0.01, 0.04, 0.05, 0.1, 0.02]))
    >>> print(f"{curve.k_significant} significant, right skew p = {curve.full.right_p:.4f}, power {curve.power:.2f}")
    4 significant, right skew p = 0.0044, power 0.68
    """
    rows = readable.one_mean_of(fit, "A p-curve", at_least=1)
    side = readable.direction(fit.estimate)
    z_all = side * rows.yi / rows.sei
    z = np.sort(z_all[z_all > CRITICAL])
    if len(z) == 0:
        raise DataError(
            f"A p-curve needs results with p < 0.05 in the direction of the mean, but none of the {len(z_all)} is. It "
            "cannot be used here."
        )
    opposite = int((z_all < -CRITICAL).sum())
    third = _shift(THIRD, CRITICAL)
    half = z[z > HALF]
    share = float(_tail(third, HALF) / _tail(third, CRITICAL))
    cautions = [
        *(
            [f"Only {count(len(z), 'significant result')}: a p-curve of fewer than 10 has little power."]
            if len(z) < readable.FEW
            else []
        ),
        *(
            [f"Significant against the mean's direction, and left out: {count(opposite, 'result')}."]
            if opposite
            else []
        ),
        "Power and skew are those of the significant results; with effects that differ between studies, average power "
        "is overestimated.",
        *readable.heterogeneous(rows),
        *readable.dependent(fit),
        *readable.no_null(fit),
    ]
    return PCurve(
        full=_curve(z, CRITICAL, third),
        half=_curve(half, HALF, third),
        binomial_p=float(special.bdtrc(len(half) - 1, len(z), 0.5)) if len(half) else 1.0,
        flat_binomial_p=float(special.bdtr(len(half), len(z), share)),
        p_values=frozen_copy(2 * special.ndtr(-z)),
        power=_power_where(z, 0.0),
        k=len(z_all),
        cautions=tuple(cautions),
        _z=frozen_copy(z),
    )


def _tail(shift: float, z: Array | float) -> Array:
    """P(|N(shift, 1)| > z)."""
    return np.asarray(special.ndtr(shift - z) + special.ndtr(-shift - z))


def _shift(power: float, critical: float) -> float:
    """The mean of z at which |z| exceeds `critical` with probability `power`."""
    if power <= 2 * special.ndtr(-critical):
        return 0.0
    return float(optimize.brentq(lambda d: float(_tail(d, critical)) - power, 0.0, 40.0, xtol=1e-14))


def _stouffer(tail: Array) -> float:
    """Combine probabilities of results at least as far out as seen; negative when they are small."""
    kept = np.clip(tail, 1e-300, 1 - 1e-16)
    return float(special.ndtri(kept).sum() / np.sqrt(len(kept)))


def _curve(z: Array, critical: float, third: float) -> CurveTest:
    if len(z) == 0:
        return CurveTest(k=0, right_z=np.nan, right_p=np.nan, flat_z=np.nan, flat_p=np.nan)
    right = _stouffer(_tail(0.0, z) / _tail(0.0, critical))
    # Flatter than expected means p-values that are too large: the other tail of the same probabilities.
    flat = -_stouffer(_tail(third, z) / _tail(third, critical))
    return CurveTest(
        k=len(z),
        right_z=right,
        right_p=float(special.ndtr(right)),
        flat_z=flat,
        flat_p=float(special.ndtr(flat)),
    )


def _power_where(z: Array, target: float) -> float:
    """The power between 5% and 99% at which the combined z of the full curve is `target`, or the nearer limit."""

    def gap(power: float) -> float:
        d = _shift(power, CRITICAL)
        return _stouffer(_tail(d, z) / _tail(d, CRITICAL)) - target

    low, high = 0.05, 0.99
    if gap(low) >= 0:
        return low
    if gap(high) <= 0:
        return high
    return float(optimize.brentq(gap, low, high, xtol=1e-10))
