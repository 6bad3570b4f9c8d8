"""How many unseen studies without effect it would take to undo a result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from metamiq.pooling.records import PooledEffect
from metamiq.sensitivity import readable
from metamiq.tails import critical_value
from metamiq.wording import in_short

KINDS = ("orwin", "rosenberg", "rosenthal")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FailSafeN:
    """A fail-safe number: infinite when no number of studies would do."""

    n: float
    kind: str
    target: float  # effect for Orwin, p-value for the others
    observed: float  # mean effect for Orwin, p-value for the others
    k: int
    cautions: tuple[str, ...]

    @property
    def tolerance(self) -> int:
        """5 k + 10, the number beyond which Rosenthal calls a result tolerant to unseen studies."""
        return 5 * self.k + 10

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        what = "mean effect" if self.kind == "orwin" else "p-value"
        return "\n".join(
            [
                f"Fail-safe N ({self.kind.capitalize()}): {self.n:g} studies without effect would take the {what} "
                f"from {self.observed:.4g} to {self.target:.4g} (k = {self.k}, 5k + 10 = {self.tolerance})",
                *readable.lines(self.cautions),
            ]
        )


def fail_safe_n(
    fit: PooledEffect,
    kind: str = "rosenthal",
    target: float | None = None,
    *,
    level: float = 0.95,
    weighted: bool = False,
) -> FailSafeN:
    r"""Fail-safe N: studies averaging no effect that would undo the result.

    Rosenthal: :math:`(\sum z_i)^2 / z_\alpha^2 - k`, until the one-sided p of Stouffer's combined
    :math:`z_i = y_i / \sqrt{v_i}` is :math:`\alpha`.
    Orwin: :math:`k (\bar y - t) / t`, until the mean effect is t.
    Rosenberg: :math:`k z^2 / z_{\alpha / 2}^2 - k` for the z of the fixed-effect mean, until its two-sided p is
    :math:`\alpha`; the unseen studies have the average weight.

    Parameters
    ----------
    fit : PooledEffect
        The fit whose rows are used; its own model is not.
    kind : {"rosenthal", "orwin", "rosenberg"}
        See above.
    target : float, optional
        Orwin: the mean effect regarded as trivial, on the scale of yi (half the mean by default).
        Others: the p-value to reach (1 - level by default).
    level : float
        Sets the default target of Rosenthal and Rosenberg.
    weighted : bool
        Orwin: weight the mean by inverse variances.

    Returns
    -------
    FailSafeN
        `n`, rounded up; 0 when the target is reached without unseen studies.

    Raises
    ------
    DataError
        If there are bounds.
    ValueError
        If an option is out of range; if Orwin's target is 0 or of the other sign than the mean.

    References
    ----------
    Rosenthal (1979); Orwin (1983); Rosenberg (2005).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.3, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(fail_safe_n(fit).n, fail_safe_n(fit, "orwin", target=0.1).n)
    35.0 15.0
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}.")
    rows = readable.rows_of(fit, "The fail-safe N", at_least=1)
    k = len(rows.yi)
    cautions = [
        "A fail-safe N is no estimate of bias: it assumes that unseen studies average no effect and says nothing of "
        "how many there are (Becker 2005 advises against it).",
        *readable.dependent(fit),
        *readable.no_null(fit),
    ]
    if kind == "orwin":
        wi = 1.0 / rows.vi if weighted else np.ones(k)
        mean = float((wi * rows.yi).sum() / wi.sum())
        goal = mean / 2 if target is None else float(target)
        if goal == 0 or not np.isfinite(goal):
            raise ValueError(f"Orwin's target must be a finite effect other than 0, not {goal!r}: give target=.")
        if np.sign(goal) != np.sign(mean):
            raise ValueError(f"Orwin's target must have the sign of the mean effect {mean:.4g}, not be {goal!r}.")
        return _result(k * (mean / goal - 1), kind, goal, mean, k, cautions)
    goal = 1 - level if target is None else float(target)
    if not 0 < goal < (0.5 if kind == "rosenthal" else 1):
        raise ValueError(
            f"The p-value to reach must lie between 0 and {0.5 if kind == 'rosenthal' else 1}, not {goal}."
        )
    if kind == "rosenthal":
        z = abs(float((rows.yi / rows.sei).sum())) / np.sqrt(k)
        cautions += readable.heterogeneous(rows)
        return _result(k * (z / -special.ndtri(goal)) ** 2 - k, kind, goal, float(special.ndtr(-z)), k, cautions)
    wi = 1.0 / rows.vi
    z = abs(float((wi * rows.yi).sum())) / np.sqrt(wi.sum())
    cautions += readable.heterogeneous(rows)
    n = k * (z / float(critical_value(1 - goal))) ** 2 - k
    return _result(n, kind, goal, 2 * float(special.ndtr(-z)), k, cautions)


def _result(n: float, kind: str, target: float, observed: float, k: int, cautions: list[str]) -> FailSafeN:
    # Rounding errors of an exact whole number must not add a study.
    whole = float(np.ceil(max(0.0, n) * (1 - 1e-12)))
    return FailSafeN(n=whole, kind=kind, target=target, observed=observed, k=k, cautions=tuple(cautions))
