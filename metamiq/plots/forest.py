"""Forest plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from metamiq.datasets.risk_of_bias_join import join_risk_of_bias
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import drawn_from_fit
from metamiq.plots.footer import footer_lines, total_lines
from metamiq.plots.forest_columns import (
    LAYOUTS,
    risk_of_bias_line,
    text_columns,
    with_arms,
    with_columns,
    with_risk_of_bias,
)
from metamiq.plots.forest_rows import Fit, Mean, effects_of, forest_rows, level_of, measure_of
from metamiq.plots.revman import revman_rows
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.scale import Scale
from metamiq.plots.style import COLOURED, PLAIN
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.subgroups import Subgroups


def forest(
    fit: Fit,
    *,
    ax: Axes | None = None,
    level: float | None = None,
    reference: tuple[float, str] | None = None,
    groups: tuple[str, str] | None = None,
    favours: tuple[str, str] | None = None,
    columns: Sequence[str] | Mapping[str, str] = (),
    sort_by: str | None = None,
    also: Mapping[str, Mean] | None = None,
    layout: str = "default",
    arms: bool | None = None,
    risk_of_bias: pd.DataFrame | None = None,
) -> Axes:
    """Every row with its interval or bound, the mean as a diamond, and the prediction interval.

    Points are squares (area by weight) with intervals; bounds are hatched bars with an arrow where they have no limit.
    Subgroups have a mean each, and below them the mean of all rows: a fit of its own that ignores the groups, and whose
    weights are shown.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit, MetaRegression, Subgroups, MultilevelFit or BayesianEffect
        What to show; see `forest_rows` for the table behind it.
    ax : Axes, optional
        Where to draw; the plot and its text fill the place of `ax`. By default a new figure whose size follows the
        content (a pyplot figure where one may be shown, else a plain one; see `style.new_axes`).
    level : float, optional
        Coverage of all intervals; the fit's own by default.
    reference : (value, label), optional
        A value to compare with, such as ``(0.59, "published: 0.59")``, in the units of the axis (ratios as ratios).
    groups : (group 1, group 2), optional
        Names of the two arms, for the headers of their sizes and the words below the axis; by default those that the
        effects table carries in ``attrs["groups"]``, else "group 1" and "group 2".
    favours : (left, right), optional
        Words below the two sides of the axis. By default they say in which arm scores are higher, or events more. They
        say which arm is favoured where the effects table says which effects are good: ``attrs["better"]`` is "higher"
        or "lower"; `trial_effects` sets it.
    columns : sequence of str, or mapping from str to str
        Columns of the effects table to show beside the labels; a mapping gives their headers.
    sort_by : str, optional
        Column of the effects table that orders the rows (within groups); by default they stay as they are.
    also : mapping, optional
        Other models of the same rows, by label, whose means are drawn below: ``{"Fixed effect": fixed_effect(es)}``.
    layout : {"default", "revman", "apa"}
        "revman" is that of Cochrane reviews: all numbers left of the plot, events and totals in columns of their own,
        subtotals and totals, and below them heterogeneity, the test for overall effect and the test for subgroup
        differences. "apa" has no colour and no weights, and a note.
    arms : bool, optional
        Whether to show the means and SDs of both arms (`m1i sd1i m2i sd2i`), where the effects table has them; by
        default in the layout "revman" only.
    risk_of_bias : DataFrame, optional
        Judgements as `read_risk_of_bias` returns them: a dot for each study and domain, matched by the study's name
        (see `join_risk_of_bias`).

    Returns
    -------
    Axes
        Its label (``ax.get_label()``) is the alternative text that `save_svg` stores.

    Raises
    ------
    DataError
        If `columns` or `sort_by` names a column that the effects table lacks, a risk of bias is none of the words, or a
        study has no judgements in `risk_of_bias`.
    ValueError
        If `layout` is none of the three.

    Notes
    -----
    Columns of the effects table that begin with ``rob_`` (low, some concerns, high, unclear, moderate, serious,
    critical, no information, or empty) are risk-of-bias judgements: a coloured dot with a symbol each, explained below
    the plot.

    Examples
    --------
    >>> import pandas as pd
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": ["a", "b", "c"], "yi": [0.1, 0.5, 0.9], "vi": [0.04, 0.02, 0.05]})
    >>> ax = forest(random_effects(es), reference=(0.59, "published: 0.59"))
    >>> print(ax.get_label().split(".")[0])
    Forest plot of 3 effects
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}, not {layout!r}.")
    drawn_from_fit(fit, "A forest plot", groups=True, models=True)
    effects, measure = effects_of(fit), measure_of(fit)
    if risk_of_bias is not None:
        effects = join_risk_of_bias(effects, risk_of_bias)
    headers = dict(columns) if isinstance(columns, Mapping) else {c: c.replace("_", " ") for c in columns}
    rows = with_columns(forest_rows(fit, level, sort_by=sort_by, also=also), effects, list(headers))
    rows, domains, signs = with_risk_of_bias(with_arms(rows, effects), effects)
    revman = layout == "revman"
    if revman:
        rows = revman_rows(rows, fit, level_of(fit, level))
    arms = revman if arms is None else arms
    groups = effects.attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    whole = rows.loc[rows["kind"] == "mean", "yi"]
    ax = draw_rows(
        ax,
        rows,
        measure=measure,
        columns=text_columns(
            rows, headers, groups, level_of(fit, level), fit=fit, layout=layout, arms=arms, domains=domains
        ),
        reference=reference,
        favours=Scale(measure).favours(groups, effects.attrs.get("better")) if favours is None else favours,
        footer=[*_footer(fit, level, layout), *risk_of_bias_line(effects, domains, signs)],
        guide=float(whole.iloc[0]) if len(whole) else None,
        look=PLAIN if layout == "apa" else COLOURED,
    )
    ax.set_label(alt_text(fit, "Forest plot", level))
    return ax


def _footer(fit: Fit, level: float | None, layout: str) -> list[str]:
    lines = [*footer_lines(fit, level), *total_lines(fit, "Total" if layout == "revman" else "Mean of all groups")]
    if layout == "revman" and isinstance(fit, PooledEffect | Subgroups):
        return lines[1:]  # the first one stands below the total already
    if layout == "apa" and lines:
        return [f"Note. {lines[0]}", *lines[1:]]
    return lines
