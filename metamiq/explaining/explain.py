"""One function that explains any number of the package."""

from __future__ import annotations

from typing import Any

import pandas as pd

from metamiq.datasets import Dataset, load_dataset
from metamiq.effects.derivation import Derivation
from metamiq.explaining.bounded import explain_bounded
from metamiq.explaining.pooled import explain_coefficient, explain_pooled
from metamiq.explaining.reported import convert
from metamiq.explaining.trial import explain_study, explain_trial
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression


def explain(
    subject: str | Dataset | pd.DataFrame | PooledEffect | BoundedFit | MetaRegression | None = None,
    name: str | None = None,
    *,
    dataset: str = "mi_cbt_anxiety",
    measure: str | None = None,
    level: float = 0.95,
    **reported: Any,
) -> Derivation:
    """Explain a number: every step with its formula, the values put in, the result and the source.

    - ``explain(t=2.51, n1=8, n2=8)``: Hedges' g from what a report prints; see
      `metamiq.explaining.reported.convert` for all that may be given, verdicts included.
    - ``explain("merlo2010")``: a trial (its primary result) or a result of a bundled dataset: a point or a bound.
    - ``explain(ds, "merlo2010")``: the same of any dataset; ``explain(frame, "edinburgh", measure="SMD")``: a row of a
      study table.
    - ``explain(fit)``: a pooled estimate, of points alone or of points and bounds.
    - ``explain(reg, "dose")``: a coefficient of a meta-regression with one moderator.

    Parameters
    ----------
    subject : str, Dataset, DataFrame, PooledEffect, BoundedFit or MetaRegression, optional
        What to explain; nothing when reported numbers are given.
    name : str, optional
        Which trial, result, row or coefficient of it.
    dataset : str
        Bundled dataset in which a `subject` that is a name is looked up.
    measure : str, optional
        Effect-size measure of a study table.
    level : float
        Coverage of intervals; a fit keeps its own.
    **reported : float or str
        What a report prints.

    Returns
    -------
    Derivation
        With ``to_text()``, ``to_latex()``, ``to_markdown()``, ``to_dict()``, and the numbers in ``results``.

    Raises
    ------
    DataError
        If the numbers are not enough, or there is no such trial, result or row.
    ValueError
        If `subject` is something that cannot be explained.

    Examples
    --------
    >>> found = explain(t=2.51, n1=8, n2=8)
    >>> print(found.steps[0].formula, "=", found.steps[0].put_in)
    t·√(1/n₁ + 1/n₂) = 2.51·√(1/8 + 1/8)
    >>> print(f"{found['estimate']:.4f}")
    1.1863
    """
    if subject is None:
        if name is not None:
            raise ValueError("name needs a dataset, table or fit to look in. Give it as the first argument.")
        return convert(level=level, **reported).derivation
    if reported:
        raise ValueError(f"Give either something to explain or reported numbers, not both ({', '.join(reported)}).")
    if isinstance(subject, str):
        return explain(load_dataset(dataset), subject, measure=measure, level=level)
    if isinstance(subject, PooledEffect):
        return explain_pooled(subject)
    if isinstance(subject, BoundedFit):
        return explain_bounded(subject)
    if isinstance(subject, MetaRegression):
        return explain_coefficient(subject, name)
    if not isinstance(subject, (Dataset, pd.DataFrame)):
        raise ValueError(
            "explain takes a dataset, a study table, a pooled effect, a meta-regression, or reported numbers, not "
            f"{type(subject).__name__}."
        )
    if name is None:
        raise ValueError("Say which trial, result or study: explain(ds, name).")
    if isinstance(subject, Dataset):
        if not subject.results.empty:
            return explain_trial(subject, name, level=level)
        subject = subject.trials
    return explain_study(subject, name, measure, level=level)
