"""Funnel and radial plots: effects against their precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import drawn_from_fit, effect_table, one_mean
from metamiq.plots.footer import footer_lines
from metamiq.plots.scale import Scale
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.tails import critical_value

# Greys of the regions where an effect has p above 0.10, 0.05, 0.01 and below, against no effect.
_REGIONS = ((0.10, "#FFFFFF"), (0.05, "#C4C4C4"), (0.01, "#DADADA"))
_OUTSIDE = "#EFEFEF"


def funnel(
    fit: PooledEffect | BoundedFit,
    *,
    ax: Axes | None = None,
    filled: pd.DataFrame | None = None,
    level: float = 0.95,
) -> Axes:
    """Effects against their standard errors, on regions of significance.

    The grey regions say what p an effect there has against no effect (above 0.10 in the middle, then 0.05, 0.01 and
    below): gaps where results are not significant suggest missing ones; gaps elsewhere have other causes. The
    dashed lines hold `level` of the effects if all estimate the same mean. A bound is a bar at the standard error that
    an estimate from its arms would have; bars that would hide each other are moved apart.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        A fit without moderators. Its table is `effect_table`.
    ax : Axes, optional
        Where to draw; new ones by default.
    filled : DataFrame, optional
        Rows that trim and fill adds (`yi`, `vi`), drawn as open circles.
    level : float
        Share of effects inside the dashed lines.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the model has moderators.

    References
    ----------
    Sterne & Egger (2001) for the axes; Peters et al. (2008) for the regions.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> ax = funnel(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03]))
    >>> ax.get_ylabel()
    'Standard error'
    """
    drawn_from_fit(fit, "A funnel plot")
    one_mean(fit, "A funnel plot")
    rows, scale = effect_table(fit), Scale(fit.measure)
    added = pd.DataFrame({"yi": [], "vi": []}) if filled is None else filled
    added_se = np.sqrt(added["vi"].to_numpy(dtype=float))
    own, ax = ax is None, canvas.start(ax)
    deepest = 1.06 * float(np.concatenate([rows["sei"], added_se]).max())
    z = float(critical_value(level))
    ends = np.concatenate([rows[c].to_numpy(dtype=float) for c in ("yi", "yi_low", "yi_high")])
    ends = np.append(ends[np.isfinite(ends)], added["yi"].to_numpy(dtype=float))
    reach = [fit.estimate - z * deepest, fit.estimate + z * deepest, 0.0]
    low, high = float(min(ends.min(), *reach)), float(max(ends.max(), *reach))
    pad = 0.04 * (high - low)
    low, high = low - pad, high + pad
    canvas.label_axes(ax, scale.name, "Standard error")
    scale.set_axis(ax, low, high, canvas.room(ax))
    ax.set_ylim(deepest, 0.0)
    _regions(ax, scale, low, high, deepest)
    depth = np.array([0.0, deepest])
    for sign in (-1.0, 1.0):
        ax.plot(scale.shown(fit.estimate + sign * z * depth), depth, color=style.MEAN, lw=0.9, ls=(0, (4, 3)), zorder=1)
    ax.axvline(float(scale.shown(fit.estimate)), color=style.MEAN, lw=1.1, zorder=1)
    points = rows[rows["kind"] == "point"]
    bounds = rows[rows["kind"] == "bound"]
    half = 0.011 * deepest
    for at, (_, row) in zip(canvas.apart(bounds["sei"], 2.4 * half), bounds.iterrows(), strict=True):
        canvas.draw_bar(ax, scale, float(at), float(row["yi_low"]), float(row["yi_high"]), half, (low, high), "x")
    ax.scatter(scale.shown(points["yi"]), points["sei"], s=34, color=style.POINT, edgecolors="white", lw=0.7, zorder=3)
    entries = canvas.legend_of_kinds(rows["kind"], "point", "bound (arrow: no limit)")
    if len(added):
        ax.scatter(scale.shown(added["yi"]), added_se, s=34, facecolors="white", edgecolors=style.POINT, zorder=3)
        open_circle = Line2D([], [], color=style.POINT, marker="o", mfc="white", ls="", ms=6)
        entries.append(("added by trim and fill", open_circle))
    entries += _region_entries()
    entries.append((f"{100 * level:g}% of effects, if all had this mean", Line2D([], [], color="k", lw=0.9, ls="--")))
    ax.set_label(alt_text(fit, "Funnel plot"))
    return canvas.finish(ax, own, [t for t in footer_lines(fit) if not t.startswith("≈")], entries)


def _regions(ax: Axes, scale: Scale, low: float, high: float, deepest: float) -> None:
    depth = np.linspace(0.0, deepest, 2)
    ax.fill_betweenx(depth, float(scale.shown(low)), float(scale.shown(high)), color=_OUTSIDE, lw=0, zorder=0)
    for p, grey in reversed(_REGIONS):
        half = float(critical_value(1 - p)) * depth
        # On a log axis a straight edge between two ends stays straight: both are shown on the scale of analysis.
        ax.fill_betweenx(depth, scale.shown(-half), scale.shown(half), color=grey, lw=0, zorder=0.1)


def _region_entries() -> list[tuple[str, Artist]]:
    names = ("p > 0.10", "0.05 to 0.10", "0.01 to 0.05", "p < 0.01")
    greys = [grey for _, grey in _REGIONS] + [_OUTSIDE]
    return [(n, Patch(facecolor=g, edgecolor=style.QUIET, lw=0.5)) for n, g in zip(names, greys, strict=True)]


def radial_rows(fit: PooledEffect | BoundedFit) -> pd.DataFrame:
    """The table behind a radial plot: `effect_table` with `x` = 1 / sqrt(vi + tau2) and `y` = yi x (also of bounds).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> radial_rows(fixed_effect(yi=[0.1, 0.6], vi=[0.04, 0.01]))[["x", "y"]].round(2).to_numpy().tolist()
    [[5.0, 0.5], [10.0, 6.0]]
    """
    one_mean(fit, "A radial plot")
    rows = effect_table(fit)
    rows["x"] = 1.0 / np.sqrt(rows["sei"] ** 2 + (0.0 if np.isnan(fit.tau2) else fit.tau2))
    for name, of in (("y", "yi"), ("y_low", "yi_low"), ("y_high", "yi_high")):
        rows[name] = rows[of] * rows["x"]
    return rows


def radial(fit: PooledEffect | BoundedFit, *, ax: Axes | None = None, level: float = 0.95) -> Axes:
    """Standardised effects against precision (Galbraith): the slope from the origin to a mark is its effect.

    The line through the origin is the pooled mean; a point outside the band around it differs from the mean by more
    than chance at `level`. The axis at the right reads the slopes as effects.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        A fit without moderators. Its table is `radial_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.
    level : float
        Share of effects inside the band.

    Returns
    -------
    Axes

    References
    ----------
    Galbraith (1988).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> radial(fixed_effect(yi=[0.1, 0.6], vi=[0.04, 0.01])).get_xlabel()
    '1 / standard error'
    """
    drawn_from_fit(fit, "A radial plot")
    rows, scale = radial_rows(fit), Scale(fit.measure)
    own, ax = ax is None, canvas.start(ax)
    z = float(critical_value(level))
    last = 1.08 * float(rows["x"].max())
    ys = rows[["y", "y_low", "y_high"]].to_numpy(dtype=float)
    ys = np.concatenate([ys[np.isfinite(ys)], [-z, z, fit.estimate * last - z, fit.estimate * last + z]])
    low, high = float(ys.min()), float(ys.max())
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    canvas.label_axes(ax, "1 / √(vi + τ²)" if fit.tau2 > 0 else "1 / standard error", "Effect times the x axis")
    ax.set_xlim(0.0, last)
    ax.set_ylim(low, high)
    x = np.array([0.0, last])
    ax.fill_between(x, fit.estimate * x - z, fit.estimate * x + z, color=style.BAND, alpha=0.3, lw=0, zorder=0)
    ax.plot(x, fit.estimate * x, color=style.MEAN, lw=1.2, zorder=1)
    ax.axhline(0.0, color=style.QUIET, lw=0.8, zorder=0.5)
    bounds = rows[rows["kind"] == "bound"]
    half = 0.008 * last
    for at, (_, row) in zip(canvas.apart(bounds["x"], 2.4 * half), bounds.iterrows(), strict=True):
        ends = (float(row["y_low"]), float(row["y_high"]))
        canvas.draw_bar(ax, Scale(None), float(at), *ends, half, (low, high), "y")
    points = rows[rows["kind"] == "point"]
    ax.scatter(points["x"], points["y"], s=34, color=style.POINT, edgecolors="white", lw=0.7, zorder=3)
    _slope_axis(ax, scale, last, low, high)
    entries: list[tuple[str, Artist]] = canvas.legend_of_kinds(rows["kind"], "point", "bound (arrow: no limit)")
    entries.append(("pooled mean, and where effects differ from it by chance", Patch(color=style.BAND, alpha=0.3)))
    ax.set_label(alt_text(fit, "Radial plot"))
    return canvas.finish(ax, own, [t for t in footer_lines(fit) if not t.startswith("≈")], entries)


def _divide(by: float) -> Callable[[ArrayLike], NDArray[np.float64]]:
    return lambda a: np.asarray(a, dtype=float) / by


def _slope_axis(ax: Axes, scale: Scale, last: float, low: float, high: float) -> None:
    """Effects at the right edge: an effect of e ends at e times the precision there."""
    right = ax.secondary_yaxis("right", functions=(_divide(last), _divide(1.0 / last)))
    ticks, labels = scale.ticks(low / last, high / last, canvas.room(ax, "y"), style.FONT, "y")
    right.set_yticks(np.log(ticks) if scale.is_ratio else ticks, labels)
    right.tick_params(labelsize=style.FONT, color=style.QUIET, length=3)
    right.spines["right"].set_color(style.QUIET)
    right.set_ylabel(scale.name, fontsize=style.FONT)
