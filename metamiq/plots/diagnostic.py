"""Which rows shape the answer: Baujat plot, normal quantile plot, and L'Abbé plot of counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import special

from metamiq.errors import DataError
from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import drawn_from_fit, effect_table, one_mean, weighted_by_inverse_variance
from metamiq.plots.footer import footer_lines
from metamiq.plots.forest_rows import numbers, row_labels
from metamiq.plots.scale import Scale
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array


def _weights(fit: PooledEffect) -> tuple[Array, Array]:
    rows = effect_table(fit)
    w = 1.0 / (rows["sei"].to_numpy(dtype=float) ** 2 + (0.0 if np.isnan(fit.tau2) else fit.tau2))
    return rows["yi"].to_numpy(dtype=float), w


def baujat_rows(fit: PooledEffect) -> pd.DataFrame:
    """What each row adds to heterogeneity (`x`) and does to the mean (`y`).

    With w = 1 / (vi + tau2) and mu their weighted mean: x = w (yi - mu)^2, the row's part of Q; and
    y = (mu - mu_without)^2 / var(mu_without), tau2 held.

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> table = baujat_rows(fixed_effect(yi=[0.0, 0.0, 1.0], vi=[0.1, 0.1, 0.1]))
    >>> table.round(3).to_numpy()[:, 1:].tolist()
    [[1.111, 0.556], [1.111, 0.556], [4.444, 2.222]]
    """
    drawn_from_fit(fit, "A Baujat plot")
    one_mean(fit, "A Baujat plot")
    weighted_by_inverse_variance(fit, "A Baujat plot")
    if isinstance(fit, BoundedFit):
        raise DataError(
            "A Baujat plot needs an effect size for every row, but the fit has bounds. See plots.influence."
        )
    if fit.k < 2:
        raise DataError("A Baujat plot needs at least two rows, but the fit has one.")
    yi, w = _weights(fit)
    total = w.sum()
    mu = (w @ yi) / total
    without = (total * mu - w * yi) / (total - w)
    return pd.DataFrame({"label": row_labels(fit), "x": w * (yi - mu) ** 2, "y": (mu - without) ** 2 * (total - w)})


def baujat(fit: PooledEffect, *, ax: Axes | None = None, most: int = 6) -> Axes:
    """Each row's part of the heterogeneity against what leaving it out does to the mean.

    Parameters
    ----------
    fit : PooledEffect
        A fit of points. Its table is `baujat_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.
    most : int
        At most so many rows are named, the outermost first.

    Returns
    -------
    Axes

    References
    ----------
    Baujat, Mahé, Pignon & Hill (2002).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> baujat(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])).get_xlabel()
    'Part of the heterogeneity, Q'
    """
    rows = baujat_rows(fit)
    own, ax = ax is None, canvas.start(ax)
    canvas.label_axes(ax, "Part of the heterogeneity, Q", "Squared change of the mean when left out, in its variance")
    ax.scatter(rows["x"], rows["y"], s=34, color=style.POINT, edgecolors="white", lw=0.7, zorder=3)
    ax.set_xlim(-0.03 * rows["x"].max(), 1.12 * rows["x"].max() or 1.0)
    ax.set_ylim(-0.05 * rows["y"].max(), 1.12 * rows["y"].max() or 1.0)
    ax.set_label(alt_text(fit, "Baujat plot"))
    canvas.finish(ax, own, footer_lines(fit))
    size = rows["x"] / (rows["x"].max() or 1.0) + rows["y"] / (rows["y"].max() or 1.0)
    canvas.label_points(
        ax, rows["x"], rows["y"], rows["label"].tolist(), np.argsort(-np.asarray(size, dtype=float)), most
    )
    return ax


def quantile_rows(fit: PooledEffect, level: float = 0.95) -> pd.DataFrame:
    """Standardised residuals in order, with the normal quantiles and the band they stay in.

    r = (yi - mu) / sqrt(vi + tau2 - 1 / sum(w)); the i-th of k has the quantile of (i - 1/2) / k, and a band from the
    beta distribution of the i-th of k uniform values, at `level` for each i on its own.

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> table = quantile_rows(fixed_effect(yi=[0.0, 0.4, 0.2], vi=[0.1, 0.1, 0.1]))
    >>> table["label"].tolist(), [f"{x:.2f}" for x in table["residual"]]
    (['row 1', 'row 3', 'row 2'], ['-0.77', '0.00', '0.77'])
    """
    drawn_from_fit(fit, "A normal quantile plot")
    one_mean(fit, "A normal quantile plot")
    weighted_by_inverse_variance(fit, "A normal quantile plot")
    if isinstance(fit, BoundedFit):
        raise DataError(
            f"A normal quantile plot needs an effect size for every row, but {fit.k_bounds} of {fit.k} rows are "
            "bounds, which have no residual. Draw it for a fit of the points alone."
        )
    if fit.k < 3:
        raise DataError(f"A normal quantile plot needs at least three rows, but the fit has {fit.k}.")
    yi, w = _weights(fit)
    residual = (yi - (w @ yi) / w.sum()) / np.sqrt(1 / w - 1 / w.sum())
    order = np.argsort(residual, kind="stable")
    i = np.arange(1, fit.k + 1)
    tail = (1 - level) / 2
    return pd.DataFrame(
        {
            "label": np.array(row_labels(fit))[order],
            "residual": residual[order],
            "quantile": special.ndtri((i - 0.5) / fit.k),
            "low": special.ndtri(special.betaincinv(i, fit.k - i + 1, tail)),
            "high": special.ndtri(special.betaincinv(i, fit.k - i + 1, 1 - tail)),
        }
    )


def normal_quantile(fit: PooledEffect, *, ax: Axes | None = None, level: float = 0.95, most: int = 4) -> Axes:
    """Standardised residuals against normal quantiles, to judge the normal shape that the model assumes.

    Parameters
    ----------
    fit : PooledEffect
        A fit of at least three points. Its table is `quantile_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.
    level : float
        Coverage of the band, for each residual on its own.
    most : int
        At most so many residuals outside the band are named.

    Returns
    -------
    Axes

    References
    ----------
    Wang & Bushman (1998).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> normal_quantile(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])).get_xlabel()
    'Normal quantile'
    """
    rows = quantile_rows(fit, level)
    own, ax = ax is None, canvas.start(ax)
    canvas.label_axes(ax, "Normal quantile", "Standardised residual")
    q = rows["quantile"]
    ax.fill_between(q, rows["low"], rows["high"], color=style.BAND, alpha=0.3, lw=0)
    ends = [float(q.min()), float(q.max())]
    ax.plot(ends, ends, color=style.MEAN, lw=1.0)
    ax.scatter(q, rows["residual"], s=34, color=style.POINT, edgecolors="white", lw=0.7, zorder=3)
    ax.margins(0.08)
    ax.set_label(alt_text(fit, "Normal quantile plot"))
    band = f"{100 * level:g}% of each residual, were they normal"
    canvas.finish(ax, own, footer_lines(fit), [(band, Patch(color=style.BAND, alpha=0.3))])
    low, high, residual = (rows[c].to_numpy(dtype=float) for c in ("low", "high", "residual"))
    beyond = np.maximum(low - residual, residual - high)
    outside = [i for i in np.argsort(-beyond) if beyond[i] > 0]
    canvas.label_points(ax, q, rows["residual"], rows["label"].tolist(), outside, most)
    return ax


def labbe_rows(fit: PooledEffect) -> pd.DataFrame:
    """Risks of both groups: `label`, `risk1`, `risk2`, `n` (both arms together).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> es = pd.DataFrame({"yi": [-0.9], "vi": [0.2], "ai": [5], "n1i": [50], "ci": [11], "n2i": [50]})
    >>> labbe_rows(fixed_effect(es))[["risk1", "risk2"]].to_numpy().tolist()
    [[0.1, 0.22]]
    """
    effects = fit.effects
    missing = [c for c in ("ai", "n1i", "ci", "n2i") if c not in effects]
    if missing:
        raise DataError(
            f"A L'Abbé plot needs the counts ai, n1i, ci and n2i, but {', '.join(missing)} is not a column of the "
            "effects table. Keep them when computing effects."
        )
    a, n1, c, n2 = (numbers(effects, x) for x in ("ai", "n1i", "ci", "n2i"))
    return pd.DataFrame({"label": row_labels(fit), "risk1": a / n1, "risk2": c / n2, "n": n1 + n2})


def labbe(fit: PooledEffect, *, ax: Axes | None = None, groups: tuple[str, str] | None = None) -> Axes:
    """The risk in group 1 against that in group 2, with the line of no effect and the curve of the pooled effect.

    Parameters
    ----------
    fit : PooledEffect
        Of log odds ratios, log risk ratios, Peto odds ratios or risk differences whose table has `ai n1i ci n2i`.
    ax : Axes, optional
        Where to draw; new ones by default.
    groups : (group 1, group 2), optional
        Names of the arms.

    Returns
    -------
    Axes

    References
    ----------
    L'Abbé, Detsky & O'Rourke (1987).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> es = pd.DataFrame({"yi": [-0.9], "vi": [0.2], "ai": [5], "n1i": [50], "ci": [11], "n2i": [50]})
    >>> es.attrs["measure"] = "OR"
    >>> labbe(fixed_effect(es), groups=("MI + CBT", "CBT")).get_xlabel()
    'Risk in CBT'
    """
    drawn_from_fit(fit, "A L'Abbé plot")
    one_mean(fit, "A L'Abbé plot")
    rows, scale = labbe_rows(fit), Scale(fit.measure)
    groups = fit.effects.attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    own, ax = ax is None, canvas.start(ax, 4.8, 4.8)
    last = min(1.0, 1.15 * float(np.nanmax(rows[["risk1", "risk2"]].to_numpy(dtype=float))) or 1.0)
    canvas.label_axes(ax, f"Risk in {groups[1]}", f"Risk in {groups[0]}")
    ax.set_xlim(-0.02 * last, last)
    ax.set_ylim(-0.02 * last, last)
    ax.set_aspect("equal")
    ax.plot([0, last], [0, last], color=style.QUIET, lw=0.9)
    entries: list[tuple[str, Artist]] = [("no effect", Line2D([], [], color=style.QUIET, lw=0.9))]
    risk2 = np.linspace(0.0, min(last, 0.999), 200)
    curve = _risk1(risk2, fit.estimate, fit.measure)
    if curve is not None:
        inside = (curve >= 0) & (curve <= last)
        ax.plot(risk2[inside], curve[inside], color=style.MEAN, lw=1.3, ls=(0, (5, 2)))
        entries.append((f"pooled {scale.short} {scale.text(fit.estimate)}", Line2D([], [], color="k", lw=1.3, ls="--")))
    sizes = canvas.areas(rows["n"].to_numpy(dtype=float))
    ax.scatter(rows["risk2"], rows["risk1"], s=sizes, color=style.POINT, alpha=0.75, edgecolors="white", zorder=3)
    ax.set_label(alt_text(fit, "L'Abbé plot"))
    return canvas.finish(ax, own, footer_lines(fit), [("trial, area by size", _dot()), *entries])


def _dot() -> Line2D:
    return Line2D([], [], color=style.POINT, marker="o", ls="", ms=7, mec="white")


def _risk1(risk2: Array, effect: float, measure: str | None) -> Array | None:
    if measure in ("OR", "PETO"):
        odds = risk2 / (1 - risk2) * np.exp(effect)
        return np.asarray(odds / (1 + odds))
    if measure == "RR":
        return np.asarray(risk2 * np.exp(effect))
    if measure == "RD":
        return np.asarray(risk2 + effect)
    return None
