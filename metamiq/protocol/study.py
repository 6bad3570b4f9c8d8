"""Settings of a fit of a study table: taken from a protocol, and compared with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.protocol.compliance import Analysis, Ask, Compliance, comply
from metamiq.protocol.first_question import TOGETHER, settings_of_effects
from metamiq.protocol.record import Protocol
from metamiq.protocol.vocabulary import SENSITIVITY, SMALL_STUDY, default_vtype

_DEFAULTS = {"method": "REML", "test": "knha", "level": 0.95, "pi_method": "test"}
#: Methods that refit the model; the others read effect sizes and variances alone.
_REFITS = ("leave_one_out", "cumulative", "influence", "flip_set", "subsets", "trim_and_fill")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a study table is fitted with, and which of it a protocol gave."""

    measure: str | None
    vtype: str | None
    method: str
    test: str
    level: float
    pi_method: str
    taken: tuple[str, ...]

    def describe(self) -> str:
        """What was taken from the protocol, in words; empty when nothing was."""
        return ", ".join(f"{name} {getattr(self, name)}" for name in self.taken)


def settings_for(
    protocol: Protocol | None, *, needs_measure: bool, measure: str | None = None, **given: Any
) -> Settings:
    """The user's settings, the protocol's where the user has none, and the usual ones where neither has.

    Parameters
    ----------
    protocol : Protocol or None
        From `read_protocol`.
    needs_measure : bool
        Whether effect sizes must be computed; a table that has them keeps its own.
    measure, method, test, level, pi_method
        The user's; None where not given.
    """
    if protocol is None:
        usual: dict[str, Any] = {name: x if given.get(name) is None else given[name] for name, x in _DEFAULTS.items()}
        return Settings(measure, None, **usual, taken=())
    plan, taken = protocol.plan, []
    if measure is None and needs_measure:
        measure = plan.measure
        taken.append("measure")
    vtype = plan.vtype if measure == plan.measure else None
    if vtype is not None:
        taken.append("vtype")
    values: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        values[name] = given.get(name)
        if values[name] is None and getattr(plan, name) is not None:
            values[name] = getattr(plan, name)
            taken.append(name)
        elif values[name] is None:
            values[name] = default
    return Settings(measure, vtype, **values, taken=tuple(taken))


def study_compliance(
    protocol: Protocol,
    fit: PooledEffect | MetaRegression | BoundedFit,
    *,
    vtype: str | None = None,
    moderators: str | None = None,
    beside: Iterable[tuple[str, str, str]] = (),
    done: Iterable[tuple[str, str]] = (),
) -> Compliance:
    """Label the analyses of a study table, or of a dataset of points and bounds.

    Parameters
    ----------
    protocol : Protocol
        From `read_protocol`.
    fit : PooledEffect, MetaRegression or BoundedFit
        The fit; its label has the key ``"pooled"``.
    vtype : str, optional
        Variance formula of the effect sizes, where it was chosen; otherwise the measure's own.
    moderators : str, optional
        Formula of a meta-regression.
    beside : iterable of (str, str, str)
        What was fitted beside it by the same method: "subgroup" or "moderator", the column or formula, and why it could
        not be done ("" where it could). Labels have keys such as ``"subgroup disorder"``.
    done : iterable of (str, str)
        Sensitivity analyses beside it, each with why it could not be done ("" where it could).
    """
    measure = fit.measure
    used: dict[str, Any] = {"method": fit.method, "test": fit.test, "level": fit.level}
    computed: dict[str, Any] = {}
    table = fit.effects if isinstance(fit, BoundedFit) else fit.source.frame
    if isinstance(fit, BoundedFit):
        computed, used = settings_of_effects(fit.level), used | TOGETHER
    else:
        if isinstance(fit, PooledEffect):
            used["pi_method"] = fit.pi_method
        if measure:
            computed["measure"] = measure
            if (formula := vtype or default_vtype(measure)) is not None:
                computed["vtype"] = formula
    kind, what = ("moderator", moderators) if moderators else ("estimate", "")
    name = f"meta-regression on {moderators}" if moderators else "pooled mean"
    unknown = "" if measure else "The table has effect sizes of its own: that they are as planned was not checked."
    analyses = [Analysis("pooled", name, (Ask(kind, what, computed | used, note=unknown),))]
    own = {name: x for name, x in used.items() if name != "pi_method"}  # subgroups and slopes predict nothing by it
    for kind_beside, column, failed in beside:
        words = f"subgroups by {column}" if kind_beside == "subgroup" else f"meta-regression on {column}"
        asked = Ask(kind_beside, column, computed | own, note=unknown)
        analyses.append(Analysis(f"{kind_beside} {column}", words, (asked,), failed))
    for method, failed in done:
        settings = computed | used if method in _REFITS else computed
        label = SMALL_STUDY.get(method, SENSITIVITY[method])
        analyses.append(Analysis(method, label, (Ask("sensitivity", method, settings),), failed))
    return comply(protocol, analyses, table)
