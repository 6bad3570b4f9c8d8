"""A standardised mean difference in plain words: chances, shares of people, points on a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from metamiq.wording import fixed


@dataclass(frozen=True, slots=True)
class PlainWords:
    """What a standardised mean difference says about people.

    Attributes
    ----------
    g : float
        The effect, positive when group 1 did better.
    superiority : float
        Probability that a person of group 1 did better than a person of group 2.
    u3 : float
        Share of group 2 that did worse than the average person of group 1.
    overlap : float
        Overlap of the two distributions, 0 to 1.
    nnt : float
        Number needed to treat at `base_rate`; negative when group 2 did better, infinite at g = 0; NaN without a base
        rate.
    points : float
        Difference in points of the scale; NaN without its SD.
    """

    g: float
    superiority: float
    u3: float
    overlap: float
    base_rate: float | None
    nnt: float
    scale: str
    sd: float | None
    points: float

    def text(self) -> str:
        """The same in sentences."""
        better = "group 1" if self.g >= 0 else "group 2"
        lines = [
            f"g = {fixed(self.g)} in plain words, outcomes taken as normal with one SD:",
            f"- Take one person from each group at random: the one of group 1 did better in "
            f"{_percent(self.superiority)} of such pairs (50% when nothing differs).",
            f"- The average person of group 1 did better than {_percent(self.u3)} of group 2 (Cohen's U3).",
            f"- The two groups overlap by {_percent(self.overlap)}.",
        ]
        if self.base_rate is not None:
            start = f"- If {_percent(self.base_rate)} of group 2 respond, "
            if np.isinf(self.nnt):
                lines.append(start + "as many of group 1 do: no number needed to treat.")
            else:
                lines.append(
                    start + f"treating {abs(self.nnt):.1f} people as {better} was treated gives one more responder "
                    "(number needed to treat)."
                )
        if self.sd is not None:
            lines.append(f"- On {self.scale or 'a scale'} with SD {self.sd:g} that is {fixed(self.points, 1)} points.")
        lines.append(
            "- 0.2, 0.5 and 0.8 as small, medium and large are rules of thumb that Cohen offered for want of anything "
            "better; what a difference is worth depends on the outcome, its costs and the alternatives."
        )
        return "\n".join(lines)


def plain_words(g: float, *, base_rate: float | None = None, scale: str = "", sd: float | None = None) -> PlainWords:
    """Say in plain words what a standardised mean difference means.

    With normal outcomes of one SD: probability of superiority Phi(g / sqrt 2); U3 Phi(g); overlap 2 Phi(-|g| / 2);
    number needed to treat 1 / (Phi(z(base rate) + g) - base rate).

    Parameters
    ----------
    g : float
        Standardised mean difference, positive when group 1 did better.
    base_rate : float, optional
        Share of group 2 that responds, between 0 and 1; the number needed to treat hangs on it, so there is no default.
    scale : str, optional
        Name of an instrument.
    sd : float, optional
        Its standard deviation in people like these, > 0, from a source of your own; needed for points.

    Returns
    -------
    PlainWords
        The numbers, and ``text()``.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences (U3, rules of thumb). McGraw, K. O. & Wong,
    S. P. (1992). Psychological Bulletin, 111, 361-365 (superiority). Furukawa, T. A. & Leucht, S. (2011). PLoS ONE, 6,
    e19070 (number needed to treat).

    Examples
    --------
    >>> w = plain_words(0.5, base_rate=0.2)
    >>> print(f"{w.superiority:.3f} {w.u3:.3f} {w.overlap:.3f} {w.nnt:.2f}")
    0.638 0.691 0.803 6.01
    """
    if not np.isfinite(g):
        raise ValueError(f"g must be a finite number, not {g!r}.")
    if base_rate is not None and not 0 < base_rate < 1:
        raise ValueError(f"base_rate must lie between 0 and 1 (0.2 for 20%), not {base_rate!r}.")
    if sd is not None and not (np.isfinite(sd) and sd > 0):
        raise ValueError(f"sd must be greater than 0, not {sd!r}.")
    if scale and sd is None:
        raise ValueError(f"Points on {scale} need its SD: give sd, with a source of your own.")
    nnt = np.nan
    if base_rate is not None:
        gain = float(special.ndtr(special.ndtri(base_rate) + g)) - base_rate
        nnt = np.inf if g == 0 or gain == 0 else 1.0 / gain
    return PlainWords(
        g=float(g),
        superiority=float(special.ndtr(g / np.sqrt(2.0))),
        u3=float(special.ndtr(g)),
        overlap=float(2.0 * special.ndtr(-abs(g) / 2.0)),
        base_rate=base_rate,
        nnt=float(nnt),
        scale=scale,
        sd=sd,
        points=np.nan if sd is None else float(g * sd),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
