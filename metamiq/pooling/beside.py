"""Analyses beside a mean, of why studies differ: each by the mean's own method, or why it cannot be done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from metamiq.errors import ConvergenceError
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression import meta_regression
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups, subgroups


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """One analysis beside the mean, or why it could not be done.

    Attributes
    ----------
    kind : {"subgroup", "moderator"}
        As a protocol calls it.
    what : str
        The column of a subgroup analysis, or the formula of a meta-regression.
    fit : Subgroups or MetaRegression or None
        None where it could not be done.
    failed : str
        Why so; empty otherwise.
    """

    kind: str
    what: str
    fit: Subgroups | MetaRegression | None
    failed: str = ""


def analyses_beside(
    fit: PooledEffect, *, by: Iterable[str] = (), moderators: Iterable[str] = (), common_tau2: bool = False
) -> list[Beside]:
    """Fit subgroups and moderators by the method, test and level of a mean.

    Parameters
    ----------
    fit : PooledEffect
        The mean; its rows are used.
    by : iterable of str
        Columns of subgroup analyses.
    moderators : iterable of str
        Formulas of meta-regressions, each a model of its own.
    common_tau2 : bool
        One tau2 for all subgroups.

    Returns
    -------
    list of Beside
        In the order given, subgroups first.

    Examples
    --------
    >>> import metamiq as mm
    >>> fit = mm.random_effects(mm.effect_sizes(mm.load_dataset("bcg").trials, "RR"))
    >>> for one in analyses_beside(fit, by=["allocation"], moderators=["weather"]):
    ...     print(one.kind, one.what, type(one.fit).__name__)
    subgroup allocation Subgroups
    moderator weather NoneType
    """
    own: dict[str, Any] = {"method": fit.method, "test": fit.test, "level": fit.level}
    out = []
    for kind, what in [*(("subgroup", x) for x in by), *(("moderator", x) for x in moderators)]:
        try:
            done: Subgroups | MetaRegression
            if kind == "subgroup":
                done = subgroups(fit.effects, what, **own, common_tau2=common_tau2, pi_method=fit.pi_method)
            else:
                done = meta_regression(fit.effects, what, **own)
            out.append(Beside(kind, what, done))
        except (ValueError, ConvergenceError) as error:  # such as a column that the table does not have
            out.append(Beside(kind, what, None, str(error)))
    return out
