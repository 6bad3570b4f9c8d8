"""Risk of bias: the share of each judgement in each domain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from metamiq.datasets.risk_of_bias import domains_of
from metamiq.datasets.risk_of_bias_join import weights_of
from metamiq.plots.judgements import COLOURS, EMPTY, HATCHES, SIGNS
from metamiq.plots.sheet import Sheet, sheet
from metamiq.plots.style import FONT, text_height, text_width, wrap_to
from metamiq.plots.traffic_lights import MARGIN, PAD, judgements_of
from metamiq.pooling.records import PooledEffect

BAR = 300.0  # points: 100%
_HIGH = 19.0
_LABELS = 210.0
_SWATCH, _KEY_HIGH = 22.0, 1.7 * FONT
_AXIS = 2 * FONT + 9.0  # tick marks, their texts and the name of the axis


def rob_summary_rows(
    rob: pd.DataFrame, weights: PooledEffect | Mapping[str, float] | ArrayLike | None = None
) -> pd.DataFrame:
    """The percentage of each judgement in each domain.

    Parameters
    ----------
    rob : DataFrame
        As `read_risk_of_bias` returns it.
    weights : PooledEffect, mapping or array_like, optional
        How much each study counts; see `rob_summary`.

    Returns
    -------
    DataFrame
        One row per domain and one for the overall judgement; columns ``domain`` and the judgements, in percent, with
        "not judged" where cells are empty. A row sums to 100.

    Examples
    --------
    Made-up judgements:

    >>> rob = pd.DataFrame({"study": ["A", "B"], "D1": ["low", "high"], "overall": ["low", "high"]})
    >>> print(rob_summary_rows(rob, [3, 1]).to_string(index=False))
     domain  low  high
         D1 75.0  25.0
    Overall 75.0  25.0
    """
    domains = domains_of(rob)
    shares = weights_of(rob, weights)
    shares = 100 * shares / shares.sum()
    rows = []
    for column, title in {**domains, "overall": "Overall"}.items():
        words = [EMPTY if pd.isna(word) else str(word) for word in rob[column]]
        rows.append({"domain": title, **{w: float(shares[np.equal(words, w)].sum()) for w in dict.fromkeys(words)}})
    order = [*judgements_of(rob), EMPTY]
    table = pd.DataFrame(rows)
    return table.reindex(columns=["domain", *(w for w in order if w in table or w != EMPTY)]).fillna(0.0)


def rob_summary(
    rob: pd.DataFrame,
    weights: PooledEffect | Mapping[str, float] | ArrayLike | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """The share of each judgement in each domain, as stacked bars with colours, hatches and percentages.

    Parameters
    ----------
    rob : DataFrame
        As `read_risk_of_bias` returns it.
    weights : PooledEffect, mapping or array_like, optional
        A fit, whose weights the studies get by name (a study without effect counts nothing); weights by name; or one
        number per study, such as ``rob["weight"]``. By default every study counts the same.
    ax : Axes, optional
        Where to draw; by default a new figure as large as its content.

    Returns
    -------
    Axes
        Data coordinates: points from the upper left corner. Its label is the alternative text.

    Raises
    ------
    DataError
        If `rob` is no such table, a weight is negative or not finite, or a study of the fit was not judged.
    ValueError
        If there are not as many weights as studies.

    References
    ----------
    McGuinness LA, Higgins JPT (2021). Risk-of-bias VISualization (robvis). Research Synthesis Methods 12:55-61.

    Examples
    --------
    Made-up judgements:

    >>> rob = pd.DataFrame({"study": ["A", "B"], "D1": ["low", "high"], "overall": ["low", "high"]})
    >>> print(rob_summary(rob).get_label())
    Risk of bias by domain, percent of studies. D1: low 50%, high 50%. Overall: low 50%, high 50%.
    """
    table = rob_summary_rows(rob, weights)
    words = list(table.columns[1:])
    titles = [wrap_to(title, _LABELS, weight="bold" if title == "Overall" else "normal") for title in table["domain"]]
    wide = max(text_width(title, weight="bold" if title == "Overall" else "normal") for title in titles)
    left = MARGIN + wide + PAD
    highs = [max(_HIGH, text_height(title)) + PAD for title in titles]
    keys = [(word, f"{SIGNS.get(word, '')} {word.capitalize()}".strip()) for word in words]
    places = _places(keys, wide + PAD + BAR)
    legend_high = places[-1][1] + _KEY_HIGH
    bottom = MARGIN + sum(highs)
    page = sheet(ax, left + BAR + 16.0 + MARGIN, bottom + _AXIS + PAD + legend_high + MARGIN)
    y = MARGIN
    for title, high, row in zip(titles, highs, table[words].to_numpy(dtype=float), strict=True):
        page.say(title, left - PAD, y + high / 2, across="right", along="center", bold=title == "Overall")
        _bar(page, words, row, left, y + (high - _HIGH) / 2)
        y += high
    _axis(page, left, bottom, "Percent of studies" if weights is None else "Percent of the weight")
    _legend(page, keys, places, bottom + _AXIS + PAD)
    what = "studies" if weights is None else "the weight"
    said = [
        f"{row['domain']}: {', '.join(f'{w} {row[w]:.0f}%' for w in words if row[w] > 0)}"
        for row in table.to_dict("records")
    ]
    page.ax.set_label(f"Risk of bias by domain, percent of {what}. {'. '.join(said)}.")
    return page.ax


def _look(word: str) -> tuple[str, str]:
    sign = SIGNS.get(word)
    return ("white", "") if sign is None else (COLOURS[sign], HATCHES[sign])


def _bar(page: Sheet, words: list[str], shares: np.ndarray, left: float, y: float) -> None:
    x = left
    for word, share in zip(words, shares, strict=True):
        if not share > 0:
            continue
        across = BAR * share / 100
        fill, hatch = _look(word)
        page.box(x, y, across, _HIGH, fill=fill, hatch=hatch, gid=f"share {word}")
        text = f"{SIGNS.get(word, '')} {share:.0f}%".strip()
        room = text_width(text, weight="bold") + 4.0
        if room + 3.0 <= across:
            # Letters on a hatch need a ground of their own.
            if hatch:
                page.patch(x + (across - room) / 2, y + 3.0, room, _HIGH - 6.0, fill)
            page.say(text, x + across / 2, y + _HIGH / 2, across="center", along="center", bold=True)
        x += across


def _axis(page: Sheet, left: float, y: float, name: str) -> None:
    page.line([(left, y), (left + BAR, y)])
    for percent in (0, 25, 50, 75, 100):
        x = left + BAR * percent / 100
        page.line([(x, y), (x, y + 3.0)])
        page.say(f"{percent}%", x, y + 4.0, across="center")
    page.say(name, left + BAR / 2, y + 6.0 + 1.25 * FONT, across="center")


def _places(keys: list[tuple[str, str]], width: float) -> list[tuple[float, float]]:
    """Where each entry of the legend stands: beside the one before it, or on a new line."""
    out, x, y = [], 0.0, 0.0
    for _, text in keys:
        across = _SWATCH + PAD + text_width(text)
        if x > 0 and x + across > width:
            x, y = 0.0, y + _KEY_HIGH
        out.append((x, y))
        x += across + 3 * PAD
    return out


def _legend(page: Sheet, keys: list[tuple[str, str]], places: list[tuple[float, float]], top: float) -> None:
    for (word, text), (dx, dy) in zip(keys, places, strict=True):
        fill, hatch = _look(word)
        page.box(MARGIN + dx, top + dy, _SWATCH, 1.2 * FONT, fill=fill, hatch=hatch, gid=f"key {word}")
        page.say(text, MARGIN + dx + _SWATCH + PAD, top + dy + 0.6 * FONT, along="center")
