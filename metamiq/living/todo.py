"""Which trials lack which numbers, and what each would buy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from metamiq.datasets import Dataset
from metamiq.effects.arm_sizes import arm_sizes
from metamiq.effects.cells import records
from metamiq.errors import ConvergenceError, DataError
from metamiq.gaps import missing_numbers
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.question import Answers, CannotFit

#: Middles of five equally likely parts: enough to average a width, few enough to fit each.
_PARTS = (0.1, 0.3, 0.5, 0.7, 0.9)
_COLUMNS = [
    "trial_id",
    "label",
    "now",
    "lacks",
    "where",
    "n1i",
    "n2i",
    "width_now",
    "width_expected",
    "narrower",
    "width_least",
    "width_most",
    "why_not",
]


def todo(ds: Dataset) -> pd.DataFrame:
    r"""List the trials that lack numbers, those first whose numbers would narrow the pooled interval most.

    For a trial that is a bound, or not pooled, the model of all the others and itself says what its estimate may be:
    y ~ N(mu, v + tau2) within its bound, v = 1/n1 + 1/n2 + mu^2 / (2 (n1 + n2)). The trial is replaced by a point at
    each of five equally likely values of y, with the sampling variance of that y, and the evidence is pooled again.
    `width_expected` is the mean width of the five 95% intervals. It is an expectation under the present model, not a
    promise: a point far from the mean raises tau2 and can widen the interval, as `width_most` shows.

    Parameters
    ----------
    ds : Dataset
        Evidence on trials.

    Returns
    -------
    DataFrame
        One row per candidate that is not a point: ``trial_id label now lacks where``, as `missing_numbers`; arm sizes
        ``n1i n2i``; ``width_now``; ``width_expected`` and ``narrower`` (the expected gain as a percentage of
        ``width_now``, negative when the interval is expected to widen); ``width_least``, ``width_most`` over the five
        values; ``why_not`` where nothing can be computed (NaN).

    Raises
    ------
    DataError
        If no trial of the dataset is usable.

    Examples
    --------
    >>> import metamiq as mm
    >>> first = todo(mm.load_dataset("mi_cbt_anxiety")).iloc[0]
    >>> bool(first["width_expected"] < first["width_now"]), bool(first["narrower"] > 0)
    (True, True)
    """
    gaps = missing_numbers(ds).set_index("trial_id")
    answers = Answers(ds)
    fit = answers.pooled
    trials = {str(trial["trial_id"]): trial for trial in records(ds.trials)}
    rows = []
    for key, gap in gaps.iterrows():
        sizes = arm_sizes(trials[str(key)], {})
        row = {"trial_id": key, "n1i": sizes.n1i, "n2i": sizes.n2i, "why_not": ""}
        row |= {name: gap[name] for name in ("label", "now", "lacks", "where")}
        if isinstance(fit, CannotFit):
            row["why_not"] = fit.reason
        else:
            interval = fit.ci()
            row["width_now"] = interval.high - interval.low
            row |= _gain(answers.effects, str(key), row, fit.estimate, fit.tau2)
        rows.append(row)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    numbers = [name for name in _COLUMNS if name.startswith(("width", "n1", "n2", "narrower"))]
    table = table.astype({name: float for name in numbers})
    return table.sort_values("narrower", ascending=False, kind="stable", na_position="last").reset_index(drop=True)


def _gain(effects: pd.DataFrame, key: str, row: dict[str, object], mu: float, tau2: float) -> dict[str, object]:
    at = effects.index[effects["trial_id"] == key]
    low, high = -math.inf, math.inf
    n1, n2 = row["n1i"], row["n2i"]
    if len(at):
        low, high = (float(x) for x in effects.loc[at[0], ["yi_low", "yi_high"]])
        n1, n2 = (float(x) for x in effects.loc[at[0], ["n1i", "n2i"]])
    if not isinstance(n1, (int, float)) or not isinstance(n2, (int, float)) or math.isnan(n1) or math.isnan(n2):
        return {"why_not": "no arm size and no total is known, so its weight cannot be foreseen"}

    def variance(y: float) -> float:
        return 1 / n1 + 1 / n2 + y**2 / (2 * (n1 + n2))

    widths = []
    for y in _within(mu, math.sqrt(variance(mu) + tau2), low, high):
        point = {"trial_id": key, "kind": "point", "yi": y, "vi": variance(y), "n1i": n1, "n2i": n2}
        point |= {"yi_low": np.nan, "yi_high": np.nan}
        table = pd.concat([effects[effects["trial_id"] != key][list(point)], pd.DataFrame([point])], ignore_index=True)
        try:
            interval = random_effects_bounded(table).ci()
        except (DataError, ConvergenceError) as error:
            return {"n1i": n1, "n2i": n2, "why_not": str(error)}
        widths.append(interval.high - interval.low)
    now, expected = row["width_now"], float(np.mean(widths))
    assert isinstance(now, float)
    gain = 100 * (1 - expected / now) if math.isfinite(now) else np.nan
    return {
        "n1i": n1, "n2i": n2, "width_expected": expected, "narrower": gain,
        "width_least": min(widths), "width_most": max(widths),
    }  # fmt: skip


def _within(mean: float, sd: float, low: float, high: float) -> list[float]:
    """Middles of five equally likely parts of a normal distribution cut to an interval.

    Examples
    --------
    >>> [f"{y:.3f}" for y in _within(0.0, 1.0, 0.0, np.inf)]
    ['0.126', '0.385', '0.674', '1.036', '1.645']
    """
    below = low > mean  # work in the tail that keeps its digits
    a, b = ((mean - high) / sd, (mean - low) / sd) if below else ((low - mean) / sd, (high - mean) / sd)
    z = ndtri(ndtr(a) + np.array(_PARTS) * (ndtr(b) - ndtr(a)))
    return [float(mean - sd * x) for x in z[::-1]] if below else [float(mean + sd * x) for x in z]
