"""Points and bounds on one page: the orchard and the albatross plot."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from scipy import special

from metamiq.effects.correction import small_sample_correction
from metamiq.errors import DataError
from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import RowFit, drawn_from_fit, effect_table, one_mean
from metamiq.plots.footer import footer_lines, has_moderators
from metamiq.plots.row_drawing import axis_limits
from metamiq.plots.scale import Scale
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.subgroups import Subgroups
from metamiq.pooling.wls import Array
from metamiq.tails import two_sided_p


def orchard_rows(fit: PooledEffect | BoundedFit | Subgroups, level: float | None = None) -> pd.DataFrame:
    """The trunks of an orchard plot: one row per mean, with `estimate ci_low ci_high pi_low pi_high k`.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> orchard_rows(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03]))["k"].tolist()
    [4]
    """
    fits: dict[str, PooledEffect | BoundedFit]
    fits = dict(fit.fits) if isinstance(fit, Subgroups) else {"All": fit}
    rows = []
    for name, one in fits.items():
        one_mean(one, "An orchard plot")
        ci, pi = one.ci(level), one.pi(level)
        rows.append((name, one.k, one.estimate, ci.low, ci.high, pi.low, pi.high))
    return pd.DataFrame(rows, columns=["label", "k", "estimate", "ci_low", "ci_high", "pi_low", "pi_high"])


def orchard(fit: PooledEffect | BoundedFit | Subgroups, *, ax: Axes | None = None, level: float | None = None) -> Axes:
    """Every effect as a circle (area by precision) around its mean, with confidence and prediction interval.

    Circles are spread over the height so that none hides another by chance; the height has no meaning. Bounds are
    hatched bars below the circles.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit or Subgroups
        One mean, or one per subgroup. Their table is `orchard_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.
    level : float, optional
        Coverage; the fit's own by default.

    Returns
    -------
    Axes

    References
    ----------
    Nakagawa et al. (2021).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> ax = orchard(random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03]))
    >>> [t.get_text() for t in ax.get_yticklabels()]
    ['All (k = 4)']
    """
    drawn_from_fit(fit, "An orchard plot", groups=True)
    trunks = orchard_rows(fit, level)
    fits: list[PooledEffect | BoundedFit]
    fits = list(fit.fits.values()) if isinstance(fit, Subgroups) else [fit]
    tables = [effect_table(f) for f in fits]
    measure = fits[0].measure
    scale = Scale(measure)
    own, ax = ax is None, canvas.start(ax, canvas.WIDTH, 1.6 + 1.4 * len(fits))
    marks = pd.concat([t.assign(ci_low=t["yi_low"], ci_high=t["yi_high"]) for t in tables])
    low, high = axis_limits(marks, [0.0, *trunks[["ci_low", "ci_high"]].to_numpy().ravel()])
    whole = trunks[["pi_low", "pi_high"]].to_numpy(dtype=float)
    if np.isfinite(whole).all():
        span = high - low
        low, high = max(min(low, float(whole.min())), low - span), min(max(high, float(whole.max())), high + span)
    canvas.label_axes(ax, scale.name, "")
    scale.set_axis(ax, low, high, canvas.room(ax))
    ax.axvline(float(scale.shown(0.0)), color=style.QUIET, lw=0.9, zorder=0.5)
    ax.set_ylim(len(fits) - 0.5, -0.5)
    for at, (table, (_, trunk)) in enumerate(zip(tables, trunks.iterrows(), strict=True)):
        _tree(ax, scale, at, table, trunk, (low, high))
    counts = [f"(k = {k})" for k in trunks["k"]]
    named = [(style.wrap(label, 18), k) for label, k in zip(trunks["label"], counts, strict=True)]
    names = [f"{label} {k}" if len(label + k) < 18 else f"{label}\n{k}" for label, k in named]
    ax.yaxis.set_major_locator(FixedLocator(list(range(len(fits)))))
    ax.yaxis.set_major_formatter(FixedFormatter(names))
    ax.yaxis.set_minor_locator(NullLocator())
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_label(alt_text(fit, "Orchard plot", level))
    entries: list[tuple[str, Artist]] = canvas.legend_of_kinds(
        marks["kind"], "point, area by precision", "bound (arrow: no limit)"
    )
    entries.append(("mean, confidence and (thin) prediction interval", Line2D([], [], color="k", lw=2.5, marker="D")))
    lines = [t for t in footer_lines(fit, level) if not t.startswith("≈")]
    return canvas.finish(ax, own, lines, entries)


def _tree(ax: Axes, scale: Scale, at: int, table: pd.DataFrame, trunk: pd.Series, limits: tuple[float, float]) -> None:
    points, bounds = table[table["kind"] == "point"], table[table["kind"] == "bound"]
    # Multiples of the golden ratio fill the height evenly, whatever their number, and the same on every run.
    spread = (np.arange(1, len(points) + 1) * 0.6180339887498949) % 1.0 - 0.5
    upper = 0.56 if not len(bounds) else 0.34
    centre = at if not len(bounds) else at - 0.22
    sizes = canvas.areas(1.0 / points["sei"].to_numpy(dtype=float) ** 2)
    ax.scatter(
        scale.shown(points["yi"]),
        centre + upper * spread,
        s=sizes,
        color=style.POINT,
        alpha=0.55,
        edgecolors="white",
        zorder=1.5,
    )
    rows = np.linspace(at + 0.08, at + 0.44, len(bounds)) if len(bounds) > 1 else np.full(len(bounds), at + 0.25)
    half = min(0.03, 0.36 / max(2.6 * len(bounds), 1))
    for y, (_, row) in zip(rows, bounds.iterrows(), strict=True):
        canvas.draw_bar(ax, scale, float(y), float(row["yi_low"]), float(row["yi_high"]), half, limits, "x")
    middle = centre
    for ends, width in ((("pi_low", "pi_high"), 1.2), (("ci_low", "ci_high"), 4.0)):
        low, high = (float(trunk[c]) for c in ends)
        if np.isfinite(low + high):
            ax.plot(scale.shown([low, high]), [middle, middle], color=style.MEAN, lw=width, solid_capstyle="butt")
    x = float(scale.shown(float(trunk["estimate"])))
    ax.plot([x], [middle], "D", color=style.MEAN, ms=8, mec="white", zorder=4)


def albatross_rows(fit: RowFit) -> pd.DataFrame:
    """Each row's sample size and signed p-value, points and bounds alike.

    A point has z = yi / sei. An end of a bound of a standardised mean difference has the t statistic
    yi / (J sqrt(1/n1 + 1/n2)) with n1 + n2 - 2 degrees of freedom, so that a verdict at 5% ends at p = 0.05.

    Returns
    -------
    DataFrame
        `label kind n`; `at` (points) and `at_low at_high` (bounds): -log10 p, negative for effects below 0, 0 at p = 1.

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> es = pd.DataFrame({"yi": [0.392], "vi": [0.04], "n1i": [50], "n2i": [50]})
    >>> print(f"{10 ** -albatross_rows(fixed_effect(es))['at'][0]:.3f}")
    0.050
    """
    rows = effect_table(fit)
    n = rows["n1i"] + rows["n2i"]
    unknown = n.isna()
    if unknown.any():
        names = ", ".join(sorted(rows.loc[unknown, "label"])[:8])
        raise DataError(f"An albatross plot needs arm sizes n1i and n2i for every row, but {names} has none.")
    out = pd.DataFrame({"label": rows["label"], "kind": rows["kind"], "n": n})
    out["at"] = _signed(rows["yi"].to_numpy() / rows["sei"].to_numpy(), None)
    if fit.measure in ("SMD", None):
        m = (n - 2).to_numpy(dtype=float)
        dof: Array | None = m
        n1, n2 = rows["n1i"].to_numpy(dtype=float), rows["n2i"].to_numpy(dtype=float)
        unit = small_sample_correction(m) * np.sqrt(1 / n1 + 1 / n2)
    else:
        dof, unit = None, rows["sei"].to_numpy(dtype=float)
    for name, of in (("at_low", "yi_low"), ("at_high", "yi_high")):
        out[name] = _signed(rows[of].to_numpy() / unit, dof)
    return out


def _signed(statistic: Array, dof: Array | None) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        p = two_sided_p(statistic, dof)
        return np.asarray(np.where(np.isinf(statistic), statistic, -np.sign(statistic) * np.log10(p)))


def albatross(
    fit: RowFit,
    *,
    ax: Axes | None = None,
    contours: tuple[float, ...] = (0.2, 0.5, 0.8),
    groups: tuple[str, str] | None = None,
) -> Axes:
    """Sample size against p-value: shows verdicts ("significant", "no difference") next to estimates.

    The contours are standardised mean differences: two arms of equal size n / 2 with an effect of exactly g have
    z = g sqrt(n) / 2 / sqrt(1 + g^2 / 8).

    Parameters
    ----------
    fit : PooledEffect, BoundedFit or MetaRegression
        Standardised mean differences with arm sizes. Their table is `albatross_rows`.
    ax : Axes, optional
        Where to draw; new ones by default.
    contours : tuple of float
        Sizes of the effects whose contours are drawn, on both sides.
    groups : (group 1, group 2), optional
        Names of the arms.

    Returns
    -------
    Axes

    References
    ----------
    Harrison et al. (2017).

    Examples
    --------
    >>> from metamiq.pooling.models import fixed_effect
    >>> es = pd.DataFrame({"yi": [0.392], "vi": [0.04], "n1i": [50], "n2i": [50]})
    >>> albatross(fixed_effect(es)).get_ylabel()
    'Participants in both arms (log scale)'
    """
    drawn_from_fit(fit, "An albatross plot")
    rows = albatross_rows(fit)
    groups = fit.effects.attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    own, ax = ax is None, canvas.start(ax)
    ends = rows[["at", "at_low", "at_high"]].to_numpy(dtype=float)
    reach = 1.15 * max(float(np.abs(ends[np.isfinite(ends)]).max(initial=0.0)), 2.2)
    smallest, largest = 0.7 * float(rows["n"].min()), 1.4 * float(rows["n"].max())
    scale = Scale(fit.measure)
    sides = scale.favours(groups, fit.effects.attrs.get("better")) or ("negative", "positive")
    canvas.label_axes(ax, f"p-value; left: {sides[0]}, right: {sides[1]}", "")
    ax.set_ylabel("Participants in both arms (log scale)", fontsize=style.FONT)
    ax.set_xlim(-reach, reach)
    Scale("RR").set_axis(ax, np.log(smallest), np.log(largest), canvas.room(ax, "y"), which="y")
    entries = canvas.legend_of_kinds(rows["kind"], "point", "bound: p lies in the bar (arrow: no limit)")
    if fit.measure in ("SMD", None):
        n = np.geomspace(smallest, largest, 200)
        for g, dashes in zip(contours, ("-", (0, (5, 2)), (0, (1, 1.5))), strict=False):
            z = g * np.sqrt(n) / 2 / np.sqrt(1 + g**2 / 8)
            at = -(np.log(2.0) + special.log_ndtr(-z)) / np.log(10.0)
            for sign in (-1, 1):
                ax.plot(sign * at, n, color=style.QUIET, lw=0.9, ls=dashes, zorder=0.6)
            entries.append((f"{scale.short} = ±{g:g}", Line2D([], [], color=style.QUIET, lw=0.9, ls=dashes)))
    _p_axis(ax, reach)
    bounds = rows[rows["kind"] == "bound"]
    half = 0.012 * float(np.log(largest / smallest))
    for at, (_, row) in zip(canvas.apart(np.log(bounds["n"]), 2.4 * half), bounds.iterrows(), strict=True):
        low, high = float(row["at_low"]), float(row["at_high"])
        canvas.draw_bar(ax, Scale(None), float(at), low, high, half, (-reach, reach), "x", np.exp)
    points = rows[rows["kind"] == "point"]
    ax.scatter(points["at"], points["n"], s=42, color=style.POINT, edgecolors="white", lw=0.7, zorder=3)
    ax.set_label(alt_text(fit, "Albatross plot"))
    lines = [t for t in footer_lines(fit) if not t.startswith("≈")] if not has_moderators(fit) else []
    return canvas.finish(ax, own, lines, entries)


def _p_axis(ax: Axes, reach: float) -> None:
    ax.axvline(0.0, color=style.QUIET, lw=0.8, zorder=0.5)
    for sign in (-1, 1):
        ax.axvline(sign * -np.log10(0.05), color=style.REFERENCE, lw=0.9, ls=(0, (5, 2)), zorder=0.5)
    values = [1.0, 0.05, *(p for p in (0.001, 1e-5, 1e-8, 1e-12, 1e-20) if -np.log10(p) <= reach)]
    size = style.FONT
    kept: list[float] = []
    per_unit = canvas.room(ax) / (2 * reach)
    for p in values:
        # A tick is left out where its label would touch one that is there already, on the same or the other side.
        at = -np.log10(p)
        if p == 1.0 or all(abs(at + np.log10(q)) * per_unit > 3.4 * size for q in kept):
            kept.append(p)
    ticks = sorted({sign * -np.log10(p) + 0.0 for p in kept for sign in (-1, 1)})
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    names = [f"{10 ** -abs(t):.3g}".replace("e-0", "e-").replace("-", "−") for t in ticks]
    ax.xaxis.set_major_formatter(FixedFormatter(names))
    ax.xaxis.set_minor_locator(NullLocator())
