"""What a forest plot shows, as a table: one row per line of the plot, tested apart from the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.arguments import check_level
from metamiq.errors import DataError
from metamiq.plots.models import is_multilevel, is_posterior, mean_name
from metamiq.plots.scale import Scale
from metamiq.plots.style import number, plural
from metamiq.plots.totals import has_bounded_groups, total_of, weighed_by_total
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups
from metamiq.tails import critical_value

if TYPE_CHECKING:
    from metamiq.pooling.bayes import BayesianEffect
    from metamiq.pooling.multilevel_fit import MultilevelFit

Fit: TypeAlias = "PooledEffect | BoundedFit | MetaRegression | Subgroups | MultilevelFit | BayesianEffect"


class Mean(Protocol):
    """What a fit needs for a diamond."""

    @property
    def estimate(self) -> float:
        """The mean, on the scale of analysis."""

    def ci(self, level: float) -> Interval:
        """Its interval."""


COLUMNS = (
    "label",
    "kind",
    "yi",
    "ci_low",
    "ci_high",
    "weight",
    "n1i",
    "n2i",
    "n1_text",
    "n2_text",
    "effect_text",
    "weight_text",
    "position",
)
COMMON = {"FE": "Fixed-effect mean", "MH": "Mantel-Haenszel mean", "PETO": "Peto mean"}  # one effect for all studies


def row_labels(fit: Fit) -> list[str]:
    """How each row is called in a picture: its `label`, else its study."""
    effects = effects_of(fit)
    for column in ("label", "study", "trial_id"):
        if column in effects:
            return [str(x) for x in effects[column]]
    return [f"row {i + 1}" for i in range(len(effects))]


def effects_of(fit: Fit) -> pd.DataFrame:
    """The rows of a fit; of subgroups, group by group."""
    return pd.concat([f.effects for f in fit.fits.values()]) if isinstance(fit, Subgroups) else fit.effects


def measure_of(fit: Fit) -> str | None:
    """The effect measure."""
    return next(iter(fit.fits.values())).measure if isinstance(fit, Subgroups) else fit.measure


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column as floats; NaN where it is missing."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan))


def effect_rows(
    effects: pd.DataFrame, labels: Sequence[str], weights: Sequence[float] | NDArray[np.float64], level: float
) -> pd.DataFrame:
    """Points with intervals yi -+ z sqrt(vi), and bounds with their two ends, in the order given.

    `weights` are shares; NaN shows none. A row without yi is a bound from `yi_low` to `yi_high`.
    """
    scale = Scale(effects.attrs.get("measure"))
    yi, vi = numbers(effects, "yi"), numbers(effects, "vi")
    # A row with neither estimate nor bound (a table without events, say) is a point that has no mark.
    is_bound = ~np.isfinite(yi) & (np.isfinite(numbers(effects, "yi_low")) | np.isfinite(numbers(effects, "yi_high")))
    is_point = ~is_bound
    half = float(critical_value(level)) * np.sqrt(np.where(is_point, vi, np.nan))
    low = np.where(is_point, yi - half, numbers(effects, "yi_low"))
    high = np.where(is_point, yi + half, numbers(effects, "yi_high"))
    n1, n2 = numbers(effects, "n1i"), numbers(effects, "n2i")
    assumed = (effects["n_source"] == "assumed").to_numpy() if "n_source" in effects else np.zeros(len(effects), bool)
    events1, events2 = (
        (numbers(effects, "ai"), numbers(effects, "ci"))
        if {"ai", "ci"} <= set(effects)
        else (np.full(len(effects), np.nan),) * 2
    )
    rows = []
    for i, label in enumerate(labels):
        kind = "point" if is_point[i] else "bound"
        rows.append(
            {
                "label": label,
                "kind": kind,
                "yi": yi[i] if is_point[i] else np.nan,
                "ci_low": low[i],
                "ci_high": high[i],
                "weight": float(weights[i]),
                "n1i": n1[i],
                "n2i": n2[i],
                "n1_text": _n_text(n1[i], events1[i], bool(assumed[i])),
                "n2_text": _n_text(n2[i], events2[i], bool(assumed[i])),
                "effect_text": _effect_text(scale, kind, yi[i], low[i], high[i]),
                "weight_text": "" if np.isnan(weights[i]) else f"{100 * weights[i]:.1f}%",
                "position": i,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _n_text(n: float, events: float, assumed: bool) -> str:
    if np.isnan(n):
        return ""
    total = f"≈{n:g}" if assumed else f"{n:g}"
    return total if np.isnan(events) else f"{events:g}/{total}"


def _effect_text(scale: Scale, kind: str, yi: float, low: float, high: float) -> str:
    if kind != "bound":
        if np.isnan(low) or np.isnan(high):
            return "not estimable" if np.isnan(yi) else scale.text(yi)
        return f"{scale.text(yi)} [{scale.text(low)}, {scale.text(high)}]"
    if np.isinf(low) and np.isinf(high):
        return "not bounded"
    if np.isinf(high):
        return f"> {scale.text(low)}"
    if np.isinf(low):
        return f"< {scale.text(high)}"
    return f"{scale.text(low)} to {scale.text(high)}"


def mean_row(
    measure: str | None, label: str, estimate: float, low: float, high: float, kind: str = "mean", **more: Any
) -> dict[str, Any]:
    """One row for a mean ("mean", "subtotal") or a prediction interval ("prediction")."""
    scale = Scale(measure)
    text = _effect_text(scale, kind, estimate, low, high)
    if kind == "prediction":
        text = f"[{scale.text(low)}, {scale.text(high)}]"
    empty = {
        "weight": np.nan,
        "n1i": np.nan,
        "n2i": np.nan,
        "n1_text": "",
        "n2_text": "",
        "weight_text": "",
        "position": -1,
    }
    fixed = {"label": label, "kind": kind, "yi": estimate, "ci_low": low, "ci_high": high, "effect_text": text}
    return {**empty, "position": -1, **fixed, **more}


def count_text(points: int, bounds: int) -> str:
    """How many rows of which kind: ``1 point, 13 bounds``; kinds without rows are left out."""
    named = [plural(points, "point")] * (points > 0) + [plural(bounds, "bound")] * (bounds > 0)
    return ", ".join(named) or "no rows"


def heading_row(label: str) -> dict[str, Any]:
    """One row of text only."""
    values = dict.fromkeys(("yi", "ci_low", "ci_high", "weight", "n1i", "n2i"), np.nan)
    texts = dict.fromkeys(("n1_text", "n2_text", "effect_text", "weight_text"), "")
    return {"label": label, "kind": "heading", "position": -1, **values, **texts}


def forest_rows(
    fit: Fit, level: float | None = None, *, sort_by: str | None = None, also: Mapping[str, Mean] | None = None
) -> pd.DataFrame:
    """The table behind a forest plot.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit, MetaRegression, Subgroups, MultilevelFit or BayesianEffect
        A pooled mean ends with its diamond and prediction interval; subgroups (or a BoundedFit with one categorical
        moderator) are listed group by group, each with its own mean. A model with numeric moderators has rows only.
    level : float, optional
        Coverage of all intervals; the fit's own by default.
    sort_by : str, optional
        Order rows (within their group) by this column of the effects table, smallest first; bounds without a value
        come last. By default the table's order.
    also : mapping, optional
        More fits whose means stand below, by label: other models of the same rows.

    Returns
    -------
    DataFrame
        One row per line of the plot, top to bottom: `label`; `kind` ("point", "bound", "mean", "subtotal",
        "prediction", "heading"); `yi ci_low ci_high` on the scale of analysis (logarithms for ratios; the ends
        of a bound may be infinite); `weight` as a share; `n1i n2i`; the texts of the columns; and `position` in the
        effects table (-1 for means and headings).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": ["a", "b", "c"], "yi": [0.1, 0.5, 0.9], "vi": [0.04, 0.02, 0.05]})
    >>> print(forest_rows(random_effects(es))[["label", "kind", "effect_text"]].to_string(index=False, header=False))
                      a      point 0.10 [−0.29, 0.49]
                      b      point  0.50 [0.22, 0.78]
                      c      point  0.90 [0.46, 1.34]
    Random-effects mean       mean 0.49 [−0.47, 1.45]
    95% prediction interval prediction      [−1.21, 2.19]
    """
    level = level_of(fit, level)
    rows = _own_rows(fit, level)
    if sort_by is not None:
        rows = _sorted(rows, effects_of(fit), sort_by)
    more = []
    for label, other in (also or {}).items():
        ci = other.ci(level)
        more.append(mean_row(measure_of(fit), label, other.estimate, ci.low, ci.high))
    return _stack(rows, more)


def _own_rows(fit: Fit, level: float) -> pd.DataFrame:
    if isinstance(fit, Subgroups):
        return _grouped_rows(fit, level)
    if has_bounded_groups(fit):
        return _bounded_group_rows(fit, level)
    effects, labels = fit.effects, row_labels(fit)
    # The rows of a regression share no mean, so no row has a share in it.
    if (
        isinstance(fit, MetaRegression)
        or (isinstance(fit, BoundedFit) and fit.design is not None)
        or (is_multilevel(fit) and fit.design is not None)
    ):
        return effect_rows(effects, labels, np.full(len(effects), np.nan), level)
    rows = effect_rows(effects, labels, fit.weights, level)
    # The prior of a posterior's mean may have a share, too.
    share = f"{100 * float(np.nansum(fit.weights)):.1f}%"
    return _stack(rows, _mean_rows(fit, model_name(fit, level), level, share))


def _mean_rows(
    fit: PooledEffect | BoundedFit | MultilevelFit | BayesianEffect, label: str, level: float, share: str
) -> list[dict[str, Any]]:
    """The mean and, where there is one, the prediction interval."""
    ci = fit.ci(level)
    out = [mean_row(fit.measure, label, fit.estimate, ci.low, ci.high, weight_text=share)]
    if fit.method not in COMMON:
        pi = fit.pi(level)
        if np.isfinite(pi.low) and np.isfinite(pi.high):
            name = f"{100 * level:g}% prediction interval"
            out.append(mean_row(fit.measure, name, np.nan, pi.low, pi.high, "prediction"))
    return out


def _with_total(rows: pd.DataFrame, total: PooledEffect | BoundedFit | None, level: float) -> pd.DataFrame:
    """The groups, with their weights in the mean of all rows and that mean below; as they are where there is none."""
    if total is None:
        return rows
    label = f"{COMMON.get(total.method, 'Mean')} of all groups"
    if isinstance(total, BoundedFit):
        label += f" ({count_text(total.k_points, total.k_bounds)})"
    elif total.method not in COMMON:
        label += f" (τ² = {number(total.tau2, 3)}, I² = {total.I2:.0f}%)"
    return _stack(weighed_by_total(rows, total), _mean_rows(total, label, level, "100.0%"))


def _sorted(rows: pd.DataFrame, effects: pd.DataFrame, by: str) -> pd.DataFrame:
    """Rows between two headings or means in the order of a column; all else keeps its line."""
    if by not in effects:
        raise DataError(
            f"sort_by must be a column of the effects table, but {by!r} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    rank = effects[by].rank(method="first", na_option="bottom").to_numpy(dtype=float)
    position = rows["position"].to_numpy(dtype=int)
    block = np.cumsum(position < 0)
    order = np.lexsort((np.where(position < 0, -1.0, rank[position]), block))
    return rows.iloc[order].reset_index(drop=True)


def level_of(fit: Fit, level: float | None = None) -> float:
    """The level asked for, else the fit's own."""
    if level is None:
        level = fit.level if not isinstance(fit, Subgroups) else next(iter(fit.fits.values())).level
    check_level(level)
    return level


def _stack(*parts: pd.DataFrame | list[dict[str, Any]]) -> pd.DataFrame:
    frames = [p if isinstance(p, pd.DataFrame) else pd.DataFrame(p, columns=list(COLUMNS)) for p in parts if len(p)]
    return pd.concat(frames, ignore_index=True)


def model_name(fit: PooledEffect | BoundedFit | MultilevelFit | BayesianEffect, level: float) -> str:
    """The label of the pooled row."""
    if is_multilevel(fit) or is_posterior(fit):
        return mean_name(fit, level)
    if isinstance(fit, BoundedFit):
        return "Random-effects mean" if fit.k_bounds == 0 else "Random-effects mean of points and bounds"
    return COMMON.get(fit.method, "Random-effects mean")


def _grouped_rows(fit: Subgroups, level: float) -> pd.DataFrame:
    parts: list[pd.DataFrame | list[dict[str, Any]]] = []
    before = 0
    for name, group in fit.fits.items():
        ci = group.ci(level)
        inside = effect_rows(group.effects, row_labels(group), group.weights, level)
        inside["position"] += before
        before += len(inside)
        mean = f"Mean of {name}" + ("" if group.k == 1 else f" (τ² = {number(group.tau2, 3)}, I² = {group.I2:.0f}%)")
        estimate, low, high = group.estimate, ci.low, ci.high
        if fit.common_tau2:
            if level != group.level:
                raise ValueError(f"level must be that of the subgroups ({group.level:g}) when they share tau2.")
            shared = fit.table[["estimate", "ci_low", "ci_high"]].loc[[name]].to_numpy(dtype=float)
            estimate, low, high = (float(x) for x in shared[0])
            mean = f"Mean of {name}"
        parts += [[heading_row(name)], inside, [mean_row(group.measure, mean, estimate, low, high, "subtotal")]]
    return _with_total(_stack(*parts), total_of(fit), level)


def _bounded_group_rows(fit: BoundedFit, level: float) -> pd.DataFrame:
    name = fit.design.formula if fit.design is not None else ""
    rows = effect_rows(fit.effects, row_labels(fit), np.full(fit.k, np.nan), level)
    groups = fit.effects[name].astype(str).to_numpy()
    parts: list[pd.DataFrame | list[dict[str, Any]]] = []
    for group, mean in fit.group_means(level).iterrows():
        label = f"Mean of {group} ({count_text(int(mean['k_points']), int(mean['k_bounds']))})"
        estimate, low, high = (float(mean[c]) for c in ("estimate", "ci_low", "ci_high"))
        parts += [
            [heading_row(str(group))],
            rows.loc[groups == group],
            [mean_row(fit.measure, label, estimate, low, high, "subtotal")],
        ]
    return _with_total(_stack(*parts), total_of(fit), level)
