"""One estimate per row: cumulative and leave-one-out fits, and any other table of estimates, drawn as a forest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from metamiq.errors import DataError
from metamiq.plots.effect_table import drawn_from_fit, one_mean
from metamiq.plots.forest_rows import COLUMNS, mean_row, row_labels
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.row_layout import TextColumn
from metamiq.plots.scale import Scale
from metamiq.plots.style import number
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect

_EXTRA = {"tau2": ("τ²", 3), "I2": ("I²", 0), "k": ("k", 0)}


def estimate_rows(table: pd.DataFrame, measure: str | None = None, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of a forest plot from a table with `estimate ci_low ci_high`, one row each; its `k tau2 I2` become text.

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.4], "ci_low": [0.1], "ci_high": [0.7], "tau2": [0.05]}, index=["b"])
    >>> print(estimate_rows(table)[["label", "effect_text", "tau2_text"]].to_numpy().tolist())
    [['b', '0.40 [0.10, 0.70]', '0.050']]
    """
    missing = [c for c in ("estimate", "ci_low", "ci_high") if c not in table]
    if missing:
        raise DataError(
            f"A table of estimates must have the columns estimate, ci_low and ci_high, but {', '.join(missing)} is not "
            f"among {', '.join(sorted(map(str, table.columns)))}."
        )
    names = [str(x) for x in table.index] if labels is None else list(labels)
    rows = []
    for name, row in zip(names, table[["estimate", "ci_low", "ci_high"]].to_numpy(dtype=float), strict=True):
        estimate, low, high = (float(x) for x in row)
        rows.append(mean_row(measure, name, estimate, low, high, "estimate"))
    out = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, (_, digits) in _EXTRA.items():
        if name in table:
            values = table[name].to_numpy(dtype=float)
            unit = "%" if name == "I2" else ""
            out[f"{name}_text"] = ["" if np.isnan(v) else number(float(v), digits) + unit for v in values]
    return out


def estimates(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    measure: str | None = None,
    labels: Sequence[str] | None = None,
    header: str = "",
    reference: tuple[float, str] | None = None,
    favours: tuple[str, str] | None = None,
    guide: float | None = None,
    level: float = 0.95,
    footer: Sequence[str] = (),
) -> Axes:
    """Draw a table of estimates, one row each, with their intervals.

    Parameters
    ----------
    table : DataFrame
        `estimate ci_low ci_high` on the scale of analysis; `k`, `tau2`, `I2` are shown beside the plot if present.
    ax, reference, favours : Axes, (value, label), (left, right), optional
        As in `forest`.
    measure : str, optional
        Effect measure; ratios get a log axis.
    labels : sequence of str, optional
        A name for each row; by default the index.
    header : str
        Header of the names.
    guide : float, optional
        A faint line down the plot, on the scale of analysis.
    level : float
        Coverage that the header of the intervals states.
    footer : sequence of str
        Lines below the plot.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If a column is missing.

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.4, 0.3], "ci_low": [0.1, 0.0], "ci_high": [0.7, 0.6]}, index=["DL", "PM"])
    >>> print(estimates(table).get_label())
    2 estimates from 0.30 (PM) to 0.40 (DL).
    """
    rows = estimate_rows(table, measure, labels)
    columns = [TextColumn("label", header, "left", "left")]
    if "k_text" in rows:
        columns.append(TextColumn("k_text", "k"))
    columns.append(TextColumn("effect_text", f"Estimate [{100 * level:g}% CI]", "right"))
    columns += [
        TextColumn(f"{name}_text", title, "right")
        for name, (title, _) in _EXTRA.items()
        if name != "k" and f"{name}_text" in rows
    ]
    ax = draw_rows(
        ax,
        rows,
        measure=measure,
        columns=columns,
        reference=reference,
        favours=favours,
        guide=guide,
        footer=footer,
    )
    ax.set_label(_range_text(rows, measure))
    return ax


def _range_text(rows: pd.DataFrame, measure: str | None) -> str:
    known = rows[rows["yi"].notna()]
    if known.empty:
        return "No estimates."
    scale = Scale(measure)
    order = known.sort_values("yi", kind="stable")
    low, high = order.iloc[0], order.iloc[-1]
    return (
        f"{len(rows)} estimates from {scale.text(low['yi'])} ({low['label']}) to {scale.text(high['yi'])} "
        f"({high['label']})."
    )


def leave_one_out(
    fit: PooledEffect | BoundedFit,
    *,
    ax: Axes | None = None,
    table: pd.DataFrame | None = None,
    reference: tuple[float, str] | None = None,
    groups: tuple[str, str] | None = None,
) -> Axes:
    """The mean without each row in turn; the dotted line is the mean of all rows.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The fit of all rows.
    ax, reference, groups
        As in `forest`.
    table : DataFrame, optional
        What `metamiq.leave_one_out(fit)` returned, if it is there already.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> table = pd.DataFrame({"estimate": [0.51, 0.37, 0.29, 0.49], "ci_low": -0.2, "ci_high": 1.0})
    >>> print(leave_one_out(fit, table=table).get_label())
    Leave-one-out plot. 4 estimates from 0.29 (row 3) to 0.51 (row 1). All rows: 0.41.
    """
    drawn_from_fit(fit, "A leave-one-out plot")
    one_mean(fit, "A leave-one-out plot")
    if table is None:
        from metamiq.sensitivity import deletion

        table = deletion.leave_one_out(fit)
    return _series(fit, table, row_labels(fit), "Without", "Leave-one-out plot", ax, reference, groups)


def cumulative(
    fit: PooledEffect | BoundedFit,
    by: str = "year",
    *,
    ascending: bool = True,
    ax: Axes | None = None,
    table: pd.DataFrame | None = None,
    reference: tuple[float, str] | None = None,
    groups: tuple[str, str] | None = None,
) -> Axes:
    """The mean of the first row, the first two, and so on; the dotted line is the mean of all rows.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The fit of all rows.
    by, ascending : str, bool
        Order in which rows are added, as in `metamiq.cumulative`.
    ax, reference, groups
        As in `forest`.
    table : DataFrame, optional
        What `metamiq.cumulative(fit, by)` returned, if it is there already.

    Returns
    -------
    Axes

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": ["a", "b"], "yi": [0.1, 0.5], "vi": [0.04, 0.04]})
    >>> table = pd.DataFrame({"estimate": [0.1, 0.3], "ci_low": [-0.3, -0.1], "ci_high": [0.5, 0.7]}, index=["a", "b"])
    >>> print(cumulative(random_effects(es, test="z"), table=table.assign(year=[2001, 2003])).get_label())
    Cumulative plot by year. 2 estimates from 0.10 (+ a 2001) to 0.30 (+ b 2003). All rows: 0.30.
    """
    drawn_from_fit(fit, "A cumulative plot")
    one_mean(fit, "A cumulative plot")
    if table is None:
        from metamiq.sensitivity import deletion

        table = deletion.cumulative(fit, by, ascending=ascending)
    keys = [str(x) for x in (fit.labels if isinstance(fit, BoundedFit) else fit.source.labels())]
    shown = dict(zip(keys, row_labels(fit), strict=True))
    names = []
    for key, value in zip(table.index, table[by] if by in table else [""] * len(table), strict=True):
        name, suffix = (
            shown.get(str(key), str(key)),
            "" if value == "" else f"{value:g}" if _plain(value) else str(value),
        )
        names.append(f"+ {name}" if not suffix or suffix in name else f"+ {name} {suffix}")
    return _series(fit, table, names, f"Added by {by}", f"Cumulative plot by {by}", ax, reference, groups)


def _plain(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _series(
    fit: PooledEffect | BoundedFit,
    table: pd.DataFrame,
    labels: Sequence[str],
    header: str,
    kind: str,
    ax: Axes | None,
    reference: tuple[float, str] | None,
    groups: tuple[str, str] | None,
) -> Axes:
    scale = Scale(fit.measure)
    groups = fit.effects.attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    ax = estimates(
        table,
        ax=ax,
        measure=fit.measure,
        labels=labels,
        header=header,
        reference=reference,
        favours=scale.favours(groups, fit.effects.attrs.get("better")),
        guide=fit.estimate,
        level=fit.level,
        footer=[f"Dotted line: all {fit.k} rows, {scale.text(fit.estimate)}."]
        + ([fit.basis] if isinstance(fit, BoundedFit) and fit.k_bounds else []),
    )
    ax.set_label(f"{kind}. {ax.get_label()} All rows: {scale.text(fit.estimate)}.")
    return ax
