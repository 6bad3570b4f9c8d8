"""A mean in the units that readers think in: the ratio of a log ratio, the correlation of Fisher's z."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from metamiq.pooling.interval import Interval
from metamiq.pooling.wls import Array

RATIO_MEASURES = ("OR", "RR", "PETO", "ROM", "IRR")  # pooled as logarithms


def _sine_squared(x: Array) -> Array:
    return np.asarray(np.sin(np.clip(x, 0.0, np.pi / 2)) ** 2)


#: Scale of yi, name of what it stands for, and the way back, which keeps order, so that intervals go with it.
_BACK: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    **{code: ("log scale", "ratio", np.exp) for code in (*RATIO_MEASURES, "ROMC", "VR", "CVR")},
    **{code: ("log scale", "odds ratio", np.exp) for code in ("D2ORL", "D2ORN")},
    "ZCOR": ("Fisher's z", "correlation", np.tanh),
    "PLO": ("log odds", "proportion", special.expit),
    "PAS": ("arcsine scale", "proportion", _sine_squared),
}


def scale_of(measure: str | None) -> str:
    """The scale on which a measure is pooled, where it is not that of readers; else empty.

    Examples
    --------
    >>> scale_of("RR"), scale_of("SMD")
    ('log scale', '')
    """
    return _BACK[measure][0] if measure in _BACK else ""


def in_units(measure: str | None, estimate: float, ci: Interval, pi: Interval | None = None) -> str:
    """The mean and its intervals in a reader's units, in one line; empty where yi is in them already.

    Examples
    --------
    >>> print(in_units("RR", -0.7145, Interval(-1.1084, -0.3206), Interval(-1.996, 0.567)))
    (log scale; ratio 0.489, 0.330 to 0.726; prediction interval 0.136 to 1.763)
    >>> print(in_units("ZCOR", 0.2374, Interval(0.2023, 0.2725)))
    (Fisher's z; correlation 0.233, 0.200 to 0.266)
    >>> in_units("SMD", 0.3, Interval(0.1, 0.5))
    ''
    """
    if measure not in _BACK:
        return ""
    scale, name, back = _BACK[measure]
    with np.errstate(over="ignore"):
        mean, low, high = back(np.array([estimate, *ci]))
        text = f"({scale}; {name} {mean:.3f}, {low:.3f} to {high:.3f}"
        if pi is not None:
            low, high = back(np.array(pi))
            text += f"; prediction interval {low:.3f} to {high:.3f}"
    return f"{text})"
