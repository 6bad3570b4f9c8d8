"""Many refits at once: GOSH, influence statistics, and the specification curve of a multiverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from metamiq.errors import DataError
from metamiq.plots import canvas, style
from metamiq.plots.effect_table import RowFit, drawn_from_fit, one_mean
from metamiq.plots.scale import Scale
from metamiq.plots.style import FONT, number
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array

_INFLUENCE = {
    "rstudent": "Studentised residual",
    "dffits": "DFFITS",
    "cook_d": "Cook's distance",
    "cov_r": "Covariance ratio",
    "tau2_del": "τ² without",
    "Q_del": "Q without",
    "hat": "Hat value",
    "weight": "Weight",
}
_NEUTRAL = {"rstudent": 0.0, "dffits": 0.0, "cook_d": 0.0, "cov_r": 1.0}


def _need(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [c for c in columns if c not in table]
    if missing:
        raise DataError(
            f"{what} needs the columns {', '.join(columns)}, but {', '.join(missing)} is not among "
            f"{', '.join(sorted(map(str, table.columns)))}."
        )


def gosh(
    subsets: PooledEffect | BoundedFit | pd.DataFrame,
    *,
    ax: Axes | None = None,
    measure: str | None = None,
    y: str | None = None,
    highlight: int | None = None,
    name: str = "",
) -> Axes:
    """The mean of every subset of rows against its heterogeneity: separate clouds betray rows that do not belong.

    Parameters
    ----------
    subsets : PooledEffect, BoundedFit or DataFrame
        A fit, whose subsets are then fitted by `metamiq.subsets`; or what that returned: one row per subset with
        `estimate` and the column `y`; with `highlight` also `members`, whose bit i says that row i is in.
    ax : Axes, optional
        Where to draw; new ones by default.
    measure : str, optional
        Effect measure; ratios get a log axis. That of the fit by default.
    y : {"I2", "tau2"}, optional
        Column for the vertical axis; by default I2, and tau2 for points and bounds, whose subsets have no I2.
    highlight : int, optional
        Outline the subsets that hold this row (its position, from 0).
    name : str
        What to call that row.

    Returns
    -------
    Axes

    References
    ----------
    Olkin, Dahabreh & Trikalinos (2012).

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.1, 0.3, 0.2], "I2": [0.0, 40.0, 10.0]})
    >>> gosh(table).get_ylabel()
    'I² (percent)'
    """
    if not isinstance(subsets, pd.DataFrame):
        drawn_from_fit(subsets, "A GOSH plot")
        one_mean(subsets, "A GOSH plot")
        from metamiq.sensitivity.subsets import subsets as fit_subsets

        measure = subsets.measure if measure is None else measure
        subsets = fit_subsets(subsets)
    if y is None:
        y = "tau2" if "tau2" in subsets and "I2" not in subsets else "I2"
    _need(subsets, ["estimate", y, *(["members"] if highlight is not None else [])], "A GOSH plot")
    used = subsets[np.isfinite(subsets["estimate"]) & np.isfinite(subsets[y])]
    if used.empty:
        raise DataError(f"A GOSH plot needs at least one subset with an estimate and {y}, but there is none.")
    scale = Scale(measure)
    own, ax = ax is None, canvas.start(ax)
    x, height = used["estimate"].to_numpy(dtype=float), used[y].to_numpy(dtype=float)
    low, high = float(x.min()), float(x.max())
    pad = 0.05 * (high - low) or 0.1
    top = float(height.max()) or 1.0
    # The counts are binned on the scale of analysis and drawn as a grid, which a log axis can stretch.
    counts, x_edges, y_edges = np.histogram2d(
        x, height, bins=(60, 45), range=((low - pad, high + pad), (-0.03 * top, 1.05 * top))
    )
    shade = np.ma.masked_equal(np.log1p(counts.T), 0.0)
    ax.pcolormesh(scale.shown(x_edges), y_edges, shade, cmap="Blues", vmin=-0.6 * shade.max(), rasterized=True)
    lines = [f"{len(used)} subsets; darker: more of them. Median {scale.text(float(np.median(x)))}"]
    if highlight is not None:
        inside = ((used["members"].to_numpy(dtype=np.int64) >> highlight) & 1).astype(bool)
        part, _, _ = np.histogram2d(x[inside], height[inside], bins=(x_edges, y_edges))
        middle_x, middle_y = (x_edges[1:] + x_edges[:-1]) / 2, (y_edges[1:] + y_edges[:-1]) / 2
        at = np.argwhere(part > 0)
        ax.scatter(
            scale.shown(middle_x[at[:, 0]]), middle_y[at[:, 1]], s=9, marker="x", color=style.BOUND, lw=0.7, zorder=3
        )
        lines.append(f"Crosses: subsets with {name or f'row {highlight + 1}'}")
    canvas.label_axes(ax, scale.name, {"I2": "I² (percent)", "tau2": "τ²"}.get(y, y))
    scale.set_axis(ax, low - pad, high + pad, canvas.room(ax))
    ax.set_ylim(-0.03 * top, 1.05 * top)
    ax.set_label(f"GOSH plot of {len(used)} subsets. Estimates from {scale.text(low)} to {scale.text(high)}.")
    return canvas.finish(ax, own, lines)


_KEY = "Square: the row that is most unusual. Dashed line: the usual value."


def influence(table: RowFit | pd.DataFrame, *, ax: Axes | None = None, columns: Sequence[str] | None = None) -> Axes:
    """Influence statistics side by side, one line per row of the fit; the largest of each is a red square.

    Parameters
    ----------
    table : PooledEffect, BoundedFit, MetaRegression or DataFrame
        A fit, or what `metamiq.influence` returned for it: one row per row of the fit, named by the index, with any
        of `rstudent dffits cook_d cov_r tau2_del Q_del hat weight`.
    ax : Axes, optional
        Where to draw; the panels are its children (``ax.child_axes``). New ones by default.
    columns : sequence of str, optional
        Which statistics; by default all that the table has.

    Returns
    -------
    Axes
        The frame around the panels.

    References
    ----------
    Viechtbauer & Cheung (2010).

    Examples
    --------
    >>> table = pd.DataFrame({"rstudent": [0.2, -2.1], "cook_d": [0.1, 0.9]}, index=["a", "b"])
    >>> len(influence(table).child_axes)
    2
    """
    if not isinstance(table, pd.DataFrame):
        from metamiq.sensitivity.influence import influence as influence_of

        table = influence_of(table)
    names = [c for c in _INFLUENCE if c in table] if columns is None else list(columns)
    _need(table, names or list(_INFLUENCE), "An influence plot")
    labels = [style.shortened(x, 34) for x in table.index]
    own = ax is None
    wide = max(style.text_width(t) for t in labels) / style.POINTS_PER_INCH + 0.25
    key = style.wrap(_KEY, int(15 * (wide + 1.25 * len(names))))
    below = 0.5 + 0.13 * len(key.splitlines())
    tall = 0.5 + below + 0.2 * len(table)
    ax = canvas.start(ax, wide + 1.25 * len(names), tall)
    if own:
        style.figure_of(ax).set_layout_engine("none")
        across = 1.25 * len(names)
        ax.set_position((wide / (wide + across), below / tall, across / (wide + across), 1 - (0.5 + below) / tall))
        ax.annotate(
            key,
            (0, 0),
            (-wide * style.POINTS_PER_INCH + 6, -22),
            textcoords="offset points",
            va="top",
            fontsize=FONT - 1.5,
            color="#333333",
        )
    ax.axis("off")
    at = np.arange(len(table))
    for j, name in enumerate(names):
        values = table[name].to_numpy(dtype=float)
        panel = ax.inset_axes((j / len(names) + 0.02, 0.0, 1 / len(names) - 0.04, 1.0))
        canvas.start(panel)
        if found := _most_unusual(name, values):
            usual, extreme = found
            panel.axvline(usual, color=style.QUIET, lw=0.8, ls=(0, (4, 3)))
            panel.plot(values, at, "o", ms=4, color=style.POINT, clip_on=False)
            panel.plot(values[extreme], extreme, "s", ms=6.5, color=style.BOUND, clip_on=False)
        panel.hlines(at, *panel.get_xlim(), color="#E6E6E6", lw=0.6, zorder=0)
        panel.set_ylim(len(table) - 0.5, -0.5)
        panel.yaxis.set_major_locator(FixedLocator(list(at)))
        panel.yaxis.set_major_formatter(FixedFormatter(labels if j == 0 else [""] * len(labels)))
        for text in panel.get_yticklabels():
            text.set_parse_math(False)
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_locator(MaxNLocator(2))
        panel.tick_params(axis="x", labelsize=FONT - 1.5)
        panel.set_title(style.wrap(_INFLUENCE.get(name, name), 13), fontsize=FONT - 0.5, parse_math=False)
    largest = []
    for name in names:
        values = table[name].to_numpy(dtype=float)
        if found := _most_unusual(name, values):
            i = found[1]
            largest.append(f"{_INFLUENCE.get(name, name)} {number(float(values[i]))} ({style.clean(table.index[i])})")
    ax.set_label(f"Influence of {len(table)} rows. Most unusual: {'; '.join(largest)}.")
    return ax


def _most_unusual(name: str, values: Array) -> tuple[float, int] | None:
    """The usual value of a statistic and the row farthest from it; None when no row has one, as of two rows."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    usual = _NEUTRAL.get(name, float(np.median(values[known])))
    return usual, int(known[np.argmax(np.abs(values[known] - usual))])


def specification_curve(
    table: pd.DataFrame,
    choices: Sequence[str],
    *,
    ax: Axes | None = None,
    measure: str | None = None,
    reference: tuple[float, str] | None = None,
) -> Axes:
    """All specifications of a multiverse in order of their estimates, above the choices that made each.

    Parameters
    ----------
    table : DataFrame
        One row per specification: `estimate`, `ci_low ci_high` where there are any, and the columns `choices`.
    choices : sequence of str
        Columns that hold the choices.
    ax : Axes, optional
        Where to draw; the two panels are its children (``ax.child_axes``). New ones by default.
    measure : str, optional
        Effect measure; ratios get a log axis.
    reference : (value, label), optional
        A value to compare with, in the units of the axis.

    Returns
    -------
    Axes
        The frame around the panels.

    References
    ----------
    Simonsohn, Simmons & Nelson (2020).

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.4, 0.2], "method": ["DL", "REML"]})
    >>> print(specification_curve(table, ["method"]).get_label())
    Specification curve of 2 specifications. Estimates from 0.20 to 0.40, median 0.30; 2 above no effect.
    """
    _need(table, ["estimate", *choices], "A specification curve")
    ordered = table[np.isfinite(table["estimate"])].sort_values("estimate", kind="stable")
    if ordered.empty:
        raise DataError("A specification curve needs at least one estimate, but there is none.")
    scale, x = Scale(measure), np.arange(float(len(ordered)))
    levels = [(c, str(v)) for c in choices for v in sorted(ordered[c].astype(str).unique())]
    words = [style.clean(v)[:40] for _, v in levels]
    heads = [style.clean(c.replace("_", " "))[:40] for c in choices]
    names = max([style.text_width(t) for t in words] + [style.text_width(t, weight="bold") for t in heads], default=0.0)
    left, plot, curve = names / style.POINTS_PER_INCH + 0.35, 5.2, 2.3
    rows = len(levels) + len(choices)
    below = 0.19 * rows + 0.05
    own, width, height = ax is None, left + plot + 0.15, curve + below + 0.75
    ax = canvas.start(ax, width, height)
    if own:
        style.figure_of(ax).set_layout_engine("none")
        ax.set_position((left / width, 0.12 / height, plot / width, 1 - 0.5 / height))
    ax.axis("off")
    share = below / (below + curve + 0.25)
    upper, lower = ax.inset_axes((0, share + 0.04, 1, 0.96 - share)), ax.inset_axes((0, 0, 1, share))
    for panel in (upper, lower):
        canvas.start(panel)
        panel.set_xlim(-0.02 * len(x) - 0.5, 1.02 * len(x) - 0.5)
        panel.set_xticks([])
    _curve(upper, ordered, scale, x, reference)
    at = 0
    ticks, labels = [], []
    for choice, head in zip(choices, heads, strict=True):
        ticks.append(at)
        labels.append(head)
        for value in sorted(ordered[choice].astype(str).unique()):
            at += 1
            here = x[(ordered[choice].astype(str) == value).to_numpy()]
            thick = float(np.clip(180 / len(x), 0.4, 2.5))
            lower.plot(here, np.full(len(here), at), "|", color=style.POINT, ms=8, mew=thick, rasterized=len(x) > 2000)
            ticks.append(at)
            labels.append(style.clean(value)[:40])
        at += 1
    lower.set_ylim(rows - 0.4, -0.6)
    lower.yaxis.set_major_locator(FixedLocator(ticks))
    lower.yaxis.set_major_formatter(FixedFormatter(labels))
    lower.tick_params(axis="y", length=0)
    for text in lower.get_yticklabels():
        text.set_parse_math(False)
        if text.get_text() in heads:
            text.set_fontweight("bold")
    lower.spines["left"].set_visible(False)
    values = ordered["estimate"].to_numpy(dtype=float)
    ax.set_label(
        f"Specification curve of {len(x)} specifications. Estimates from {scale.text(values[0])} to "
        f"{scale.text(values[-1])}, median {scale.text(float(np.median(values)))}; {int((values > 0).sum())} above no "
        "effect."
    )
    return ax


def _curve(panel: Axes, ordered: pd.DataFrame, scale: Scale, x: Array, reference: tuple[float, str] | None) -> None:
    values = ordered["estimate"].to_numpy(dtype=float)
    ends = [float(values.min()), float(values.max()), 0.0]
    said = "Dots: estimates in order"
    if {"ci_low", "ci_high"} <= set(ordered):
        said += "; band: their intervals"
        low, high = ordered["ci_low"].to_numpy(dtype=float), ordered["ci_high"].to_numpy(dtype=float)
        panel.fill_between(x, scale.shown(low), scale.shown(high), color=style.BAND, alpha=0.35, lw=0, step="mid")
        if np.isfinite(low).any() and np.isfinite(high).any():
            # A few very wide intervals must not flatten the curve of the estimates.
            ends += [float(np.percentile(low[np.isfinite(low)], 2)), float(np.percentile(high[np.isfinite(high)], 98))]
    at = None
    if reference is not None:
        at = scale.reference(reference[0], values)
        ends.append(at)
    pad = 0.06 * (max(ends) - min(ends)) or 0.1
    scale.set_axis(panel, min(ends) - pad, max(ends) + pad, 150.0, which="y")
    panel.plot(x, scale.shown(values), ".", color=style.POINT, ms=5, rasterized=len(x) > 2000)
    panel.axhline(float(scale.shown(0.0)), color=style.QUIET, lw=0.9, zorder=0.5)
    panel.set_ylabel(style.wrap(scale.name, 26), fontsize=FONT)
    if at is not None and reference is not None:
        panel.axhline(float(scale.shown(at)), color=style.REFERENCE, lw=1.2, ls=(0, (5, 2)))
        said += f"; dashed: {style.clean(reference[1])}"
    panel.set_title(f"{said}.", loc="left", fontsize=FONT - 0.5, parse_math=False)
