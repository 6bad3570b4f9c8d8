"""Arithmetic with printed numbers: how far rounding goes, and what whole numbers can give."""

from __future__ import annotations

import math
from typing import NamedTuple

from metamiq.effects.correction import small_sample_correction

_SLACK = 1e-9  # binary fractions: 0.05 + 0.1 is not 0.15


class Span(NamedTuple):
    """A value and the ends between which rounding of its inputs leaves it."""

    low: float
    value: float
    high: float

    def times(self, factor: float) -> Span:
        """The span multiplied by a positive number."""
        return Span(self.low * factor, self.value * factor, self.high * factor)

    def agrees(self, printed: float, share: float = 0.0) -> bool:
        """Whether a printed number, itself rounded, can come from this span widened by a share of the value."""
        room = half_unit(printed) + share * abs(self.value) + _SLACK
        return self.low - room <= printed <= self.high + room


def decimals(value: float) -> int:
    """Decimals of a number as it was printed; trailing zeros are lost, so this is a lower limit.

    Examples
    --------
    >>> decimals(8.13), decimals(16.0)
    (2, 0)
    """
    text = f"{value:.10g}"
    return len(text.partition(".")[2]) if "e" not in text else 10


def half_unit(value: float) -> float:
    """Half a unit of the last printed decimal.

    Examples
    --------
    >>> print(f"{half_unit(8.13):g}")
    0.005
    """
    return 0.5 * 10.0 ** -decimals(value)


def _totals(mean: float, n: int, items: int) -> range:
    """The sums of all answers that give a printed mean."""
    answers = n * items
    room = half_unit(mean) + _SLACK
    return range(math.ceil((mean - room) * answers), math.floor((mean + room) * answers) + 1)


def grim(mean: float, n: int, items: int = 1) -> bool:
    """Whether n people with whole-number answers can have this mean (GRIM).

    A mean of `items` whole-number answers of n people is a whole number over n x items; the printed mean must be
    such a fraction rounded to its decimals.

    Parameters
    ----------
    mean : float
        As printed.
    n : int
        People.
    items : int
        Whole-number answers averaged in each person's score; 1 for a sum score.

    Returns
    -------
    bool
        False when no whole numbers give this mean.

    References
    ----------
    Brown & Heathers (2017), Social Psychological and Personality Science 8:363-369.

    Examples
    --------
    >>> grim(3.45, 10), grim(16.75, 8), grim(17.23, 20)
    (False, True, False)
    """
    return len(_totals(mean, n, items)) > 0


def grimmer(mean: float, sd: float, n: int, items: int = 1) -> bool:
    """Whether n people with whole-number answers can have this mean and this SD (GRIMMER).

    With whole-number sums s, the sum of s^2 is (n - 1) SD^2 + (sum s)^2 / n in the units of s. It must be a whole
    number, odd or even as the sum of s is, and not below what the sum forces.

    Parameters
    ----------
    mean, sd : float
        As printed; the SD with denominator n - 1.
    n : int
        People, at least 2.
    items : int
        As in `grim`.

    Returns
    -------
    bool
        False when no whole numbers give both.

    References
    ----------
    Anaya (2016), PeerJ Preprints 4:e2400v1; the parity in Allard (2018), Analytic-GRIMMER.

    Examples
    --------
    >>> grimmer(3.44, 2.47, 18), grimmer(2.5, 1.29, 4), grimmer(2.5, 1.0, 4)
    (False, True, True)
    """
    room = half_unit(sd) + _SLACK
    low_sd, high_sd = max(sd - room, 0.0) * items, (sd + room) * items
    for total in _totals(mean, n, items):
        forced = total * total / n
        even, rest = divmod(total, n)
        least = rest * (even + 1) ** 2 + (n - rest) * even**2
        low = max(math.ceil((n - 1) * low_sd**2 + forced - _SLACK), least)
        low += (low - total) % 2
        if low <= (n - 1) * high_sd**2 + forced + _SLACK:
            return True
    return False


def cohen_d(m1i: float, sd1i: float, n1i: float, m2i: float, sd2i: float, n2i: float) -> Span:
    """Size of d over the pooled SD, and how far rounding of means and SDs lets it go.

    Examples
    --------
    >>> print(" ".join(f"{end:.3f}" for end in cohen_d(16.75, 9.66, 8, 8.13, 6.01, 8)))
    1.070 1.072 1.073
    """

    def pooled(shift: float) -> float:
        a, b = max(sd1i + shift * half_unit(sd1i), 0.0), max(sd2i + shift * half_unit(sd2i), 0.0)
        return math.sqrt(((n1i - 1) * a * a + (n2i - 1) * b * b) / (n1i + n2i - 2))

    gap, room = abs(m1i - m2i), half_unit(m1i) + half_unit(m2i)
    wide, narrow = pooled(1), pooled(-1)
    high = (gap + room) / narrow if narrow > 0 else math.inf
    return Span(max(gap - room, 0.0) / wide, gap / pooled(0), high)


def d_of_t(t: float, n1i: float, n2i: float) -> Span:
    """Size of d from t of two independent groups: t sqrt(1/n1 + 1/n2)."""
    factor, room = math.sqrt(1 / n1i + 1 / n2i), half_unit(t)
    return Span(max(abs(t) - room, 0.0), abs(t), abs(t) + room).times(factor)


def correction(n1i: float, n2i: float) -> float:
    """The exact small-sample factor J of g = J d."""
    return float(small_sample_correction(n1i + n2i - 2.0))
