"""The axis of an effect: its name, whether it is a ratio, its ticks, and what its two sides mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from metamiq.arguments import check_comparable, check_finite
from metamiq.plots.style import FONT, number, text_width
from metamiq.pooling.records import RATIO_MEASURES

_NAMES = {
    "SMD": "Standardised mean difference (Hedges' g)",
    "SMDH": "Standardised mean difference, unequal variances",
    "SMD1": "Glass' delta",
    "SMD1H": "Glass' delta, unequal variances",
    "SMCC": "Standardised mean change",
    "SMCR": "Standardised mean change",
    "SMCRH": "Standardised mean change",
    "MD": "Mean difference",
    "MC": "Mean change",
    "OR": "Odds ratio",
    "PETO": "Peto odds ratio",
    "RR": "Risk ratio",
    "IRR": "Incidence rate ratio",
    "ROM": "Ratio of means",
    "RD": "Risk difference",
    "AS": "Difference of arcsine-transformed risks",
    "COR": "Correlation",
    "ZCOR": "Correlation (Fisher's z)",
}
_SHORT = {"PETO": "Peto odds ratio", "SMD": "Hedges' g", "SMDH": "g", "SMD1": "delta", "SMD1H": "delta"}
_COUNTS = ("OR", "PETO", "RR", "IRR", "RD", "AS")
_ONE_GROUP = (
    "COR",
    "ZCOR",
    "UCOR",
    "PR",
    "PLN",
    "PLO",
    "PAS",
    "PFT",
    "IR",
    "IRLN",
    "IRS",
    "IRFT",
    "MN",
    "SMCC",
    "SMCR",
    "SMCRH",
    "MC",
)
_LIMIT = 230.0  # exp of more does not fit the axis


@dataclass(frozen=True, slots=True)
class Scale:
    """How effects of one measure are shown. Ratios are pooled as logarithms and drawn on a log axis."""

    measure: str | None

    @property
    def is_ratio(self) -> bool:
        """Whether the axis shows exp(yi)."""
        return self.measure in RATIO_MEASURES

    @property
    def name(self) -> str:
        """The axis label."""
        name = _NAMES.get(self.measure or "", self.measure or "Effect size")
        return f"{name} (log scale)" if self.is_ratio else name

    @property
    def short(self) -> str:
        """The effect's name within a sentence."""
        if self.measure is None:
            return "effect"
        name = _NAMES.get(self.measure, self.measure)
        return _SHORT.get(self.measure, name if self.measure not in _NAMES else name[0].lower() + name[1:])

    @property
    def logarithm(self) -> str:
        """What is pooled in place of a ratio: ``log risk ratio``; empty for other measures."""
        return f"log {self.short}" if self.is_ratio else ""

    def shown(self, x: ArrayLike) -> NDArray[np.float64]:
        """Effects in the units of the axis."""
        a = np.asarray(x, dtype=float)
        return np.exp(np.clip(a, -_LIMIT, _LIMIT)) if self.is_ratio else a

    def reference(self, value: float, among: ArrayLike) -> float:
        """A value in the units of the axis, on the scale of yi; ValueError where no axis shows it and the effects."""
        if self.is_ratio:
            if not value > 0:
                raise ValueError(
                    f"The reference of a ratio must be greater than 0, as its axis shows it, not {value!r}."
                )
            check_finite("The reference", value)
            return float(np.log(value))
        check_comparable("The reference", value, among)
        return float(value)

    def text(self, x: float, digits: int = 2) -> str:
        """An effect in the units of the axis, as text."""
        if self.is_ratio and np.isinf(x):
            return "∞" if x > 0 else "0"
        return number(float(self.shown(x)), digits)

    def favours(self, groups: tuple[str, str], better: str | None = None) -> tuple[str, str] | None:
        """What the left and the right of the null line mean; None for measures of one group.

        An arm is favoured only where somebody has said which effects are good: `better` is "higher" or "lower".
        """
        first, second = groups
        if self.measure in _ONE_GROUP:
            return None
        if better is not None:
            return (
                (f"Favours {second}", f"Favours {first}")
                if better == "higher"
                else (f"Favours {first}", f"Favours {second}")
            )
        if self.measure in _COUNTS:
            return f"Fewer in {first}", f"More in {first}"
        return f"Lower in {first}", f"Higher in {first}"

    def set_axis(
        self, ax: Axes, low: float, high: float, room: float, size: float = FONT, which: Literal["x", "y"] = "x"
    ) -> None:
        """Limits (given on the scale of yi) and ticks of an axis, whose labels fit into `room` points."""
        if self.is_ratio:
            low, high = max(low, -_LIMIT), min(high, _LIMIT)
        ends = (float(self.shown(low)), float(self.shown(high)))
        if which == "x":
            ax.set_xscale("log" if self.is_ratio else "linear")
            ax.set_xlim(*ends)
        else:
            ax.set_yscale("log" if self.is_ratio else "linear")
            ax.set_ylim(*ends)
        axis: Axis = ax.xaxis if which == "x" else ax.yaxis
        ticks, labels = self.ticks(low, high, room, size, which)
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_major_formatter(FixedFormatter(labels))
        axis.set_minor_locator(NullLocator())
        axis.set_tick_params(labelsize=size)

    def ticks(
        self, low: float, high: float, room: float, size: float, which: str
    ) -> tuple[NDArray[np.float64], list[str]]:
        """Ticks (in the units of the axis) between two ends (on the scale of yi), and labels, as many as have room."""
        for candidate in self._candidates(low, high):
            at = np.log(candidate) if self.is_ratio else candidate
            inside = candidate[(at >= low - 1e-12) & (at <= high + 1e-12)]
            if not len(inside):
                continue
            labels = _labels(inside)
            where = (np.log(inside) if self.is_ratio else inside) * room / (high - low)
            half = np.array([(text_width(label, size) if which == "x" else size) / 2 for label in labels])
            if (np.diff(where) > half[1:] + half[:-1] + 0.6 * size).all():
                return inside, labels
        return np.zeros(0), []

    def _candidates(self, low: float, high: float) -> list[NDArray[np.float64]]:
        if not self.is_ratio:
            return [_even_ticks(low, high, n) for n in (7, 6, 5, 4, 3, 2, 1)]
        first, last = int(np.floor(low / np.log(10))), int(np.ceil(high / np.log(10)))
        out = []
        if high - low < np.log(4):
            out = [self._linear(low, high, n) for n in (6, 5, 4, 3)]
        for leads in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3)):
            ticks = [float(f"{lead}e{d}") for d in range(first, last + 1) for lead in leads] if last - first < 8 else []
            out.append(np.array(ticks))
        for step in (1, 2, 3, 5, 10, 20, 50, 100):
            decades = [d for d in range(max(first, -300), min(last, 300) + 1) if d % step == 0]
            out.append(10.0 ** np.array(decades, dtype=float))
        return [c for c in out if len(c)]

    @staticmethod
    def _linear(low: float, high: float, n: int) -> NDArray[np.float64]:
        ticks = _even_ticks(float(np.exp(low)), float(np.exp(high)), n)
        return ticks[ticks > 0]


def _even_ticks(low: float, high: float, n: int) -> NDArray[np.float64]:
    return np.asarray(MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high), dtype=float)


def _labels(ticks: NDArray[np.float64]) -> list[str]:
    size = float(np.abs(ticks).max())
    if len(ticks) > 1:
        # Ticks a millionth of their own size apart are noise, not digits.
        ticks = np.where(np.abs(ticks) < 1e-9 * size, 0.0, ticks)
    return [f"{t:.10g}".replace("-", "−") if 1e-4 <= size < 1e6 else f"{t:.3g}".replace("-", "−") for t in ticks]
