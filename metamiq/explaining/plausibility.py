"""What makes one look at a report again before its g is believed."""

from __future__ import annotations

from collections.abc import Mapping

from metamiq.effects.continuous import hedges_g
from metamiq.wording import fixed

EXTREME = 2.5


def implausible(g: float, x: Mapping[str, float]) -> list[str]:
    """Broken numbers of people, and an effect of a size that hardly occurs, in sentences.

    Parameters
    ----------
    g : float
        The effect that came out.
    x : mapping of str to float
        What was given, by the names of `metamiq.explaining.reported.QUANTITIES`.

    Examples
    --------
    >>> implausible(0.4, {"n1": 20, "n2": 21})
    []
    >>> print(implausible(-5.2, {"m1": 10, "sd1": 1.2, "n1": 50, "m2": 16, "sd2": 1.1, "n2": 50})[0])
    g is beyond 2.5 in size, where arms hardly overlap: if the SDs were standard errors, it would be -0.73
    """
    people = [f"{name} = {x[name]:g}" for name in ("events1", "n1", "events2", "n2") if x.get(name, 0.0) % 1]
    found = [f"{' and '.join(people)}: people are whole numbers"] if people else []
    if abs(g) < EXTREME:
        return found
    text = f"g is beyond {EXTREME:g} in size, where arms hardly overlap"
    if {"m1", "sd1", "n1", "m2", "sd2", "n2"} <= set(x):
        sd1, sd2 = (x[f"sd{arm}"] * x[f"n{arm}"] ** 0.5 for arm in "12")
        as_se = hedges_g(x["m1"], sd1, x["n1"], x["m2"], sd2, x["n2"]).yi
        return [*found, f"{text}: if the SDs were standard errors, it would be {fixed(float(as_se))}"]
    return [*found, f"{text}: more often a slip than a finding"]
