"""An interval, and the ends that every record which has one gives by name."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """Two ends of an interval."""

    low: float
    high: float


class WithInterval:
    """`ci_low` and `ci_high` of a record, at its own level."""

    __slots__ = ()

    def ci(self) -> Interval:
        """The interval of the mean."""
        raise NotImplementedError

    @property
    def ci_low(self) -> float:
        """Lower end of the interval of the mean (`ci`)."""
        return self.ci().low

    @property
    def ci_high(self) -> float:
        """Upper end of the interval of the mean (`ci`)."""
        return self.ci().high


class WithPrediction(WithInterval):
    """Likewise `pi_low` and `pi_high`, for a new study."""

    __slots__ = ()

    def pi(self) -> Interval:
        """The prediction interval."""
        raise NotImplementedError

    @property
    def pi_low(self) -> float:
        """Lower end of the prediction interval (`pi`)."""
        return self.pi().low

    @property
    def pi_high(self) -> float:
        """Upper end of the prediction interval (`pi`)."""
        return self.pi().high
