"""The p-value of every value of the mean, of each row, and of a new study's effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import drawn_from_fit, effect_table, one_mean
from metamiq.plots.footer import footer_lines
from metamiq.plots.scale import Scale
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.tails import two_sided_p

GRID = 81


def drapery_rows(fit: PooledEffect | BoundedFit) -> pd.DataFrame:
    """The p-value of every value of the mean (`mean`), and of a new study's effect (`prediction`), along `value`.

    The mean's p is that of the fit's own test; values where p is 0.05 are the ends of the 95% interval.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> table = drapery_rows(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03]))
    >>> print(f"{table['mean'].max():.4f}")
    1.0000
    """
    drawn_from_fit(fit, "A drapery plot")
    one_mean(fit, "A drapery plot")
    ci, pi = fit.ci(0.99), fit.pi(0.95)
    ends = [x for x in (*ci, *pi, 0.0) if np.isfinite(x)]
    half = GRID // 2 + 1
    low, high = min([*ends, fit.estimate]), max([*ends, fit.estimate])
    pad = 0.05 * (high - low)
    value = np.concatenate(
        [np.linspace(low - pad, fit.estimate, half), np.linspace(fit.estimate, high + pad, half)[1:]]
    )
    if isinstance(fit, BoundedFit):
        p = np.array([fit.likelihood_ratio(float(x)) for x in value])
    else:
        p = two_sided_p((value - fit.estimate) / fit.se, fit.dof)
    out = pd.DataFrame({"value": value, "mean": p})
    if fit.method != "FE" and np.isfinite(fit.tau2):
        spread = float(np.sqrt(fit.se**2 + fit.tau2))
        out["prediction"] = two_sided_p((value - fit.estimate) / spread, fit.dof)
    return out


def drapery(fit: PooledEffect | BoundedFit, *, ax: Axes | None = None) -> Axes:
    """The p-value of every possible value: of the mean (thick), of each point (thin), and of a new study's effect.

    A horizontal line at 1 - level cuts each curve at the ends of its interval, for any level. Bounds have no curve.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        A fit without moderators. The table of its curves is `drapery_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes

    References
    ----------
    Rücker & Schwarzer (2021).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> drapery(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])).get_ylabel()
    'p-value'
    """
    rows, scale, effects = drapery_rows(fit), Scale(fit.measure), effect_table(fit)
    own, ax = ax is None, canvas.start(ax)
    value = rows["value"].to_numpy(dtype=float)
    canvas.label_axes(ax, scale.name, "p-value")
    scale.set_axis(ax, float(value.min()), float(value.max()), canvas.room(ax))
    ax.set_ylim(0.0, 1.02)
    points = effects[effects["kind"] == "point"]
    fine = np.linspace(value.min(), value.max(), 201)
    for yi, sei in zip(points["yi"], points["sei"], strict=True):
        ax.plot(scale.shown(fine), two_sided_p((fine - yi) / sei), color=style.POINT, lw=0.6, alpha=0.6)
    entries: list[tuple[str, Artist]] = []
    if len(points):
        entries.append(("each point", Line2D([], [], color=style.POINT, lw=0.8)))
    if "prediction" in rows:
        ax.plot(scale.shown(value), rows["prediction"], color=style.BOUND, lw=1.4, ls=(0, (5, 2)))
        entries.append(("a new study", Line2D([], [], color=style.BOUND, lw=1.4, ls="--")))
    ax.plot(scale.shown(value), rows["mean"], color=style.MEAN, lw=2.2)
    entries.insert(0, ("the mean", Line2D([], [], color=style.MEAN, lw=2.2)))
    for p, dashes in ((0.05, (0, (4, 3))), (0.1, (0, (1, 1.5)))):
        ax.axhline(p, color=style.QUIET, lw=0.8, ls=dashes, zorder=0.5)
        entries.append((f"p = {p:g}", Line2D([], [], color=style.QUIET, lw=0.8, ls=dashes)))
    ax.axvline(float(scale.shown(0.0)), color=style.QUIET, lw=0.8, zorder=0.5)
    ax.set_label(alt_text(fit, "Drapery plot"))
    return canvas.finish(ax, own, [t for t in footer_lines(fit) if not t.startswith("≈")], entries)
