"""More significant results than the studies had power for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from metamiq.pooling.records import PooledEffect
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.wording import in_short, p_text

TESTS = ("binom", "chi2", "exact")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExcessSignificance:
    """Observed and expected numbers of significant results."""

    observed: int
    expected: float
    p_value: float
    test: str
    power: Array  # (k,)
    theta: float
    tau2: float
    limit: float  # the theta at which the test would no longer be significant at 0.10
    k: int
    cautions: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """observed / expected."""
        return self.observed / self.expected

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        return "\n".join(
            [
                f"Excess significance ({self.test}): {self.observed} of {self.k} results significant, "
                f"{self.expected:.2f} expected for a true effect of {self.theta:.4f} (tau2 = {self.tau2:.4f}), "
                f"{p_text(self.p_value, 4)}",
                *readable.lines(self.cautions),
            ]
        )


def excess_significance(
    fit: PooledEffect,
    test: str = "chi2",
    *,
    theta: float | None = None,
    tau2: float | None = None,
    level: float = 0.95,
) -> ExcessSignificance:
    r"""Test of excess significance of Ioannidis and Trikalinos.

    The power of study i is the probability that :math:`y \sim N(\theta, v_i + \tau^2)` has a two-sided p-value below
    1 - level. With O significant results and E the sum of the powers, "chi2" takes
    :math:`(O - E)^2 / E + (O - E)^2 / (k - E)`, "binom" the binomial distribution with probability E / k, "exact" the
    distribution of a sum of k unequal Bernoulli variables. All p-values are one-sided, of so many or more.

    Parameters
    ----------
    fit : PooledEffect
        Gives the rows and, unless given here, the true effect.
    test : {"chi2", "binom", "exact"}
        See above.
    theta, tau2 : float, optional
        The true effect and its variance between studies; the fit's own by default. A fixed-effect fit, or ``tau2=0``,
        gives the test as first published.
    level : float
        1 - level is what counts as significant.

    Returns
    -------
    ExcessSignificance
        `observed expected p_value`. `limit` is the effect at which p would be 0.10; NaN when p is above it even for no
        effect.

    Raises
    ------
    DataError
        If there are bounds or fewer than two rows.
    ValueError
        If an option is out of range.

    References
    ----------
    Ioannidis & Trikalinos (2007).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> fit = fixed_effect(yi=[0.1, 0.45, 0.5, 0.7, 0.9], vi=[0.01, 0.04, 0.05, 0.1, 0.12])
    >>> result = excess_significance(fit)
    >>> print(f"{result.observed} seen, {result.expected:.2f} expected, p = {result.p_value:.4f}")
    4 seen, 1.60 expected, p = 0.0107
    """
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(map(repr, TESTS))}, not {test!r}.")
    rows = readable.one_mean_of(fit, "The test of excess significance", at_least=2)
    theta = fit.estimate if theta is None else float(theta)
    tau2 = (0.0 if np.isnan(fit.tau2) else fit.tau2) if tau2 is None else float(tau2)
    if not (np.isfinite(theta) and np.isfinite(tau2) and tau2 >= 0):
        raise ValueError(f"theta must be finite and tau2 finite and not negative, not {theta!r} and {tau2!r}.")
    critical = float(special.ndtri(0.5 + level / 2))
    observed = int((np.abs(rows.yi / rows.sei) >= critical).sum())
    power = _power(theta, tau2, rows, critical)
    cautions = [
        *readable.few(len(rows.yi)),
        *(readable.heterogeneous(rows) if tau2 == 0 else []),
        *readable.dependent(fit),
        *readable.no_null(fit),
        "The mean used for power may itself be inflated by selection, which hides an excess.",
    ]
    return ExcessSignificance(
        observed=observed,
        expected=float(power.sum()),
        p_value=_p_value(observed, power, test),
        test=test,
        power=frozen_copy(power),
        theta=theta,
        tau2=tau2,
        limit=_limit(observed, rows, tau2, critical, test, readable.direction(theta)),
        k=len(rows.yi),
        cautions=tuple(cautions),
    )


def _power(theta: float, tau2: float, rows: readable.Rows, critical: float) -> Array:
    cut, s = critical * rows.sei, np.sqrt(rows.vi + tau2)
    return np.asarray(special.ndtr((theta - cut) / s) + special.ndtr((-cut - theta) / s))


def _p_value(observed: int, power: Array, test: str) -> float:
    k, expected = len(power), float(power.sum())
    if test == "binom":
        # P(X >= O) for X ~ binomial(k, E / k)
        return float(special.bdtrc(observed - 1, k, expected / k)) if observed > 0 else 1.0
    if test == "exact":
        law = np.zeros(k + 1)
        law[0] = 1.0
        for n, p in enumerate(power, start=1):
            law[1 : n + 1] = law[1 : n + 1] * (1 - p) + law[:n] * p
            law[0] *= 1 - p
        return float(min(1.0, law[observed:].sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (observed - expected) * np.sqrt(np.divide(1, expected) + np.divide(1, k - expected))
    return float(special.ndtr(-root)) if np.isfinite(root) else 1.0


def _limit(observed: int, rows: readable.Rows, tau2: float, critical: float, test: str, sign: int) -> float:
    """The smallest effect, in the direction of the mean, at which p is no longer below 0.10, by bisection."""

    def p(theta: float) -> float:
        return _p_value(observed, _power(sign * theta, tau2, rows, critical), test)

    if p(0.0) >= 0.10:
        return np.nan
    low, high = 0.0, float(rows.sei.max())
    while p(high) < 0.10:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if p(middle) < 0.10 else (low, middle)
    return sign * high
