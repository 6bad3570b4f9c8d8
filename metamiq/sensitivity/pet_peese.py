"""PET-PEESE: the effect of an endlessly precise study, by regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metamiq.pooling.interval import Interval, WithInterval
from metamiq.pooling.records import PooledEffect
from metamiq.sensitivity import readable
from metamiq.sensitivity.small_study import RegressionTest, egger_test
from metamiq.tails import two_sided_p
from metamiq.wording import in_short, p_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Precise:
    """The effect that a regression expects of an endlessly precise study, and the bias of the others."""

    regression: RegressionTest

    @property
    def estimate(self) -> float:
        """The expected effect at standard error 0."""
        return self.regression.limit

    @property
    def se(self) -> float:
        """Its standard error."""
        return self.regression.limit_se

    @property
    def dof(self) -> float | None:
        """Degrees of freedom; None when the reference distribution is normal."""
        return self.regression.dof

    @property
    def statistic(self) -> float:
        """estimate / se."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.divide(self.estimate, self.se))

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no effect."""
        return float(two_sided_p(self.statistic, self.dof))

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the effect."""
        return self.regression.limit_ci(level)

    @property
    def bias(self) -> float:
        """The coefficient of the standard error (PET) or of the variance (PEESE)."""
        return self.regression.intercept

    @property
    def bias_p(self) -> float:
        """Two-sided p-value of no small-study effect."""
        return self.regression.p_value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PetPeese(WithInterval):
    """Both regressions, and the one that the conditional rule picks."""

    pet: Precise
    peese: Precise
    chosen: str  # "PET" or "PEESE"
    mean: float  # the fit's own
    model: str
    k: int
    level: float
    cautions: tuple[str, ...]

    @property
    def picked(self) -> Precise:
        """The regression that the rule picks."""
        return self.peese if self.chosen == "PEESE" else self.pet

    @property
    def estimate(self) -> float:
        """The conditional estimate."""
        return self.picked.estimate

    @property
    def se(self) -> float:
        """Its standard error."""
        return self.picked.se

    @property
    def dof(self) -> float | None:
        """Its degrees of freedom."""
        return self.picked.dof

    @property
    def statistic(self) -> float:
        """estimate / se."""
        return self.picked.statistic

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no effect; it does not account for the choice between the regressions."""
        return self.picked.p_value

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the conditional estimate."""
        return self.picked.ci(self.level if level is None else level)

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        out = [f"PET-PEESE ({self.model}): k = {self.k}, mean of the fit {self.mean:.4f}"]
        for name, one in (("PET", self.pet), ("PEESE", self.peese)):
            ci = one.ci(self.level)
            mark = " <- by the conditional rule" if name == self.chosen else ""
            out.append(
                f"{name:5s} {one.estimate:.4f}, SE {one.se:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to "
                f"{ci.high:.4f}, {p_text(one.p_value, 4)}; small-study effect {p_text(one.bias_p, 4)}{mark}"
            )
        return "\n".join([*out, *readable.lines(self.cautions)])


def pet_peese(fit: PooledEffect, *, model: str = "classical", level: float | None = None) -> PetPeese:
    r"""Precision-effect test and precision-effect estimate with standard error.

    Weighted regressions with weights :math:`1 / v_i`: PET :math:`y_i = \beta_0 + \beta_1 \sqrt{v_i}`, PEESE
    :math:`y_i = \beta_0 + \beta_1 v_i`. :math:`\beta_0` is the effect expected of an endlessly precise study.

    Parameters
    ----------
    fit : PooledEffect
        The fit whose rows are used.
    model : {"classical", "mixed"}
        Weighted least squares with an estimated dispersion and t(k - 2), as in the papers; or the fit's own
        random-effects model with the predictor in it.
    level : float, optional
        Coverage of the intervals; the fit's own by default.

    Returns
    -------
    PetPeese
        `pet` and `peese`, and `estimate se ci_low ci_high p_value` of the `chosen` one: PEESE when PET's effect has
        the sign of the mean and a one-sided p-value below 0.05, else PET.

    Raises
    ------
    DataError
        If there are bounds, fewer than three rows, or standard errors that do not differ.

    References
    ----------
    Stanley & Doucouliagos (2014); Stanley (2017) for the one-sided rule and for when it fails.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.2, 0.25, 0.5, 0.9, 0.8], vi=[0.01, 0.01, 0.02, 0.04, 0.09, 0.08])
    >>> result = pet_peese(fit)
    >>> print(f"{result.chosen}: {result.estimate:.3f} ({result.ci_low:.3f} to {result.ci_high:.3f})")
    PET: -0.218 (-0.378 to -0.057)
    """
    rows = readable.one_mean_of(fit, "PET-PEESE")
    level = fit.level if level is None else level
    pet = Precise(regression=egger_test(fit, predictor="sei", model=model, level=level))
    peese = Precise(regression=egger_test(fit, predictor="vi", model=model, level=level))
    mean = fit.estimate
    clear = readable.direction(mean) * pet.statistic > 0 and pet.p_value < 0.10
    k = len(rows.yi)
    cautions = [
        *readable.few(k),
        *(
            ["With fewer than 20 effect sizes PET-PEESE is often biased (Stanley 2017)."]
            if readable.FEW <= k < 20
            else []
        ),
        *readable.narrow(rows.sei),
        *readable.heterogeneous(rows, limit=80.0),
        *readable.built_in(fit),
        *readable.dependent(fit),
    ]
    return PetPeese(
        pet=pet,
        peese=peese,
        chosen="PEESE" if clear else "PET",
        mean=mean,
        model=model,
        k=k,
        level=level,
        cautions=tuple(cautions),
    )
