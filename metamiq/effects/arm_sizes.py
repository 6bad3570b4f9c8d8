"""How many people were in each arm, and how we know."""

from __future__ import annotations

from typing import NamedTuple

from metamiq.effects.cells import Record, number, text


class ArmSizes(NamedTuple):
    """Sizes of the MI + CBT arm and of its comparison.

    Attributes
    ----------
    n1i, n2i : float or None
        None when nothing is known.
    n_source : str
        ``reported``, ``derived`` (by arithmetic from reported numbers), ``assumed``, or empty when nothing is
        known.
    assumption : str
        What was assumed, in words; empty when nothing was.
    """

    n1i: float | None
    n2i: float | None
    n_source: str
    assumption: str


def arm_sizes(trial: Record, result: Record) -> ArmSizes:
    """Find the arm sizes that belong to a result.

    In this order: the result's own sizes; for a t or F, degrees of freedom + 2 (from the trial's arms if they
    add up to it, otherwise split evenly); the trial's arms; one arm and the total; the total split evenly; a
    trial of more than two arms (columns ``n_randomised_all`` and ``n_arms``) split evenly over its arms. The
    larger half of an odd total goes to the MI arm. Even splits are marked ``assumed``.

    Examples
    --------
    >>> arm_sizes({"n_total": 55}, {"report": "significant"}).assumption
    'arm sizes: total 55 split 28 and 27'
    """
    own = number(result, "n_mi"), number(result, "n_cbt")
    if own[0] is not None and own[1] is not None:
        derived = "arm sizes derived" in text(result, "certainty")
        return ArmSizes(own[0], own[1], "derived" if derived else "reported", "")
    mi, cbt, total = number(trial, "n_mi"), number(trial, "n_cbt"), number(trial, "n_total")
    df = number(result, "df")
    if df is not None and text(result, "report") in ("t", "F"):
        if mi is not None and cbt is not None and mi + cbt == df + 2:
            return ArmSizes(mi, cbt, "reported", "")
        return _split(df + 2, f"{df:g} degrees of freedom give {df + 2:g},")
    if mi is not None and cbt is not None:
        return ArmSizes(mi, cbt, "reported", "")
    if total is not None and mi is not None:
        return ArmSizes(mi, total - mi, "derived", "")
    if total is not None and cbt is not None:
        return ArmSizes(total - cbt, cbt, "derived", "")
    if total is not None:
        return _split(total, f"total {total:g}")
    everyone, arms = number(trial, "n_randomised_all"), number(trial, "n_arms")
    if everyone is not None and arms is not None and arms >= 2:
        each = float(everyone // arms)
        return ArmSizes(
            each, each, "assumed", f"arm sizes: {everyone:g} in {arms:g} arms taken as {each:g} and {each:g}"
        )
    return ArmSizes(None, None, "", "")


def _split(total: float, words: str) -> ArmSizes:
    larger = float((total + 1) // 2)
    return ArmSizes(larger, total - larger, "assumed", f"arm sizes: {words} split {larger:g} and {total - larger:g}")
