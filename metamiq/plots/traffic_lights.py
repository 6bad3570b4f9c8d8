"""Risk of bias: a sign for each study and domain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from metamiq.datasets.risk_of_bias import domains_of
from metamiq.datasets.risk_of_bias_tools import TOOLS, WORDS
from metamiq.plots.judgements import COLOURS, EMPTY, SIGNS
from metamiq.plots.sheet import Sheet, sheet
from metamiq.plots.style import FONT, text_height, text_width, wrap_to

CELL = 26.0  # points across, of a judgement with the room around it
DOT = 17.0
PAD = 6.0
MARGIN = 7.0
LABELS = 190.0  # widest name of a study
_WORDS = 300.0  # widest line of the legend
_RULE = "#BBBBBB"
_HEAD = 1.25 * FONT + 4.0  # the headings of the legend


def judgements_of(rob: pd.DataFrame) -> list[str]:
    """The judgements to be explained: those of the table's tool, else those that occur.

    Examples
    --------
    >>> judgements_of(pd.DataFrame({"study": ["A"], "D1": ["high"], "overall": ["low"]}))
    ['low', 'high']
    """
    columns = [*domains_of(rob), "overall"]
    used = {word for column in columns for word in rob[column] if not pd.isna(word)}
    tool = TOOLS.get(str(rob.attrs.get("tool")))
    # A tool that takes other spellings or any domains has words that its users may never have heard of.
    whole = tool is not None and tool.worst_decides
    words = [w for w in tool.words if w != "no information" or w in used] if tool is not None and whole else []
    return words or [word for word in WORDS if word in used]


def traffic_lights(rob: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The judgement of each study in each domain, as a coloured dot with a sign, explained below.

    Parameters
    ----------
    rob : DataFrame
        As `read_risk_of_bias` returns it: ``study``, the domains, ``overall``.
    ax : Axes, optional
        Where to draw, with smaller type where there is too little room; by default a new figure as large as its
        content.

    Returns
    -------
    Axes
        Data coordinates: points from the upper left corner. Its label is the alternative text.

    Raises
    ------
    DataError
        If `rob` is no such table.

    References
    ----------
    McGuinness LA, Higgins JPT (2021). Risk-of-bias VISualization (robvis). Research Synthesis Methods 12:55-61.

    Examples
    --------
    Made-up judgements:

    >>> rob = pd.DataFrame({"study": ["A", "B"], "D1": ["low", "high"], "overall": ["low", "high"]})
    >>> print(traffic_lights(rob).get_label())
    Risk of bias of 2 studies in 1 domain. Overall: low 1, high 1.
    """
    domains = domains_of(rob)
    columns = [*domains, "overall"]
    heads = [*domains, "Overall"]
    widths = [max(CELL, text_width(head, weight="bold") + 2 * PAD) for head in heads]
    labels = [wrap_to(study, LABELS) or "(no name)" for study in rob["study"]]
    first = max(map(text_width, ["Study", *labels])) + 2 * PAD
    titles, keys = _titles(domains), _keys(rob, domains)
    titles_wide = max(map(text_width, titles), default=0.0)
    table = first + sum(widths)
    width = max(table, titles_wide + 3 * PAD + _keys_width(keys)) + 2 * MARGIN
    rows = [max(CELL - 3.0, text_height(label) + PAD) for label in labels]
    head_high = 1.25 * FONT + 2 * PAD
    titles_high = sum(text_height(title) + 2.0 for title in titles)
    legend_high = max(titles_high, len(keys) * (DOT + 3.0)) + _HEAD
    bottom = MARGIN + head_high + sum(rows)
    page = sheet(ax, width, bottom + 2 * PAD + legend_high + MARGIN)
    left = [MARGIN + first + sum(widths[:i]) for i in range(len(widths))]
    _grid(page, first, left, widths, rows, MARGIN + head_high)
    middle = MARGIN + head_high / 2
    page.say("Study", MARGIN + PAD, middle, along="center", bold=True)
    for head, x, across in zip(heads, left, widths, strict=True):
        page.say(head, x + across / 2, middle, across="center", along="center", bold=True)
    y = MARGIN + head_high
    for label, high, judged in zip(labels, rows, rob[columns].to_dict("records"), strict=True):
        page.say(label, MARGIN + PAD, y + high / 2, along="center")
        for column, x, across in zip(columns, left, widths, strict=True):
            if not pd.isna(judged[column]):
                dot(page, str(judged[column]), x + across / 2, y + high / 2)
        y += high
    _draw_titles(page, titles, bottom + 2 * PAD)
    _draw_keys(page, keys, width - MARGIN - _keys_width(keys), bottom + 2 * PAD)
    page.ax.set_label(_alt_text(rob, len(domains)))
    return page.ax


def dot(page: Sheet, word: str, x: float, y: float, gid: str = "judgement") -> None:
    """The dot of a judgement, with its sign in the middle."""
    sign = SIGNS[word]
    page.ax.plot(
        [x],
        [y],
        "o",
        ms=DOT * page.factor,
        color=COLOURS[sign],
        mec="black",
        mew=0.7 * page.factor,
        gid=f"{gid} {word}",
    )
    page.say(sign, x, y, across="center", along="center_baseline", bold=True, size=FONT + 2)


def _grid(
    page: Sheet, first: float, left: Sequence[float], widths: Sequence[float], rows: Sequence[float], top: float
) -> None:
    end = left[-1] + widths[-1]
    bottom = top + sum(rows)
    y = top
    for high in [*rows, 0.0]:
        page.line([(MARGIN, y), (end, y)], color=_RULE, width=0.7)
        y += high
    for x in (MARGIN + first, *left[1:], end):
        page.line([(x, MARGIN), (x, bottom)], color=_RULE, width=0.7)
    page.line([(MARGIN, MARGIN), (end, MARGIN)], color=_RULE, width=0.7)
    page.line([(MARGIN, MARGIN), (MARGIN, bottom)], color=_RULE, width=0.7)
    # The overall judgement is none of the domains.
    page.line([(left[-1], MARGIN), (left[-1], bottom)], width=1.2)


def _titles(domains: dict[str, str]) -> list[str]:
    """What each domain is about, where the columns do not say it."""
    return [wrap_to(f"{code}: {title}", _WORDS) for code, title in domains.items() if code != title]


def _keys(rob: pd.DataFrame, domains: dict[str, str]) -> list[tuple[str, str]]:
    """Text and judgement of each entry of the legend; a cell without judgement has no dot."""
    keys = [(word.capitalize(), word) for word in judgements_of(rob)]
    empty = bool(rob[[*domains, "overall"]].isna().to_numpy().any())
    return [*keys, (f"Empty: {EMPTY}", "")] if empty else keys


def _keys_width(keys: Sequence[tuple[str, str]]) -> float:
    return max(text_width("Judgement", weight="bold"), DOT + PAD + max(text_width(text) for text, _ in keys))


def _draw_titles(page: Sheet, titles: Sequence[str], top: float) -> None:
    if titles:
        page.say("Domains", MARGIN, top, bold=True)
    y = top + _HEAD
    for title in titles:
        page.say(title, MARGIN, y)
        y += text_height(title) + 2.0


def _draw_keys(page: Sheet, keys: Sequence[tuple[str, str]], x: float, top: float) -> None:
    page.say("Judgement", x, top, bold=True)
    y = top + _HEAD + DOT / 2
    for text, word in keys:
        if word:
            dot(page, word, x + DOT / 2, y, gid="key")
        page.say(text, x + DOT + PAD, y, along="center")
        y += DOT + 3.0


def _alt_text(rob: pd.DataFrame, domains: int) -> str:
    counts = rob["overall"].value_counts()
    said = [f"{word} {int(counts[word])}" for word in WORDS if word in counts]
    empty = int(rob["overall"].isna().sum())
    said += [f"{EMPTY} {empty}"] if empty else []
    tool = f" ({rob.attrs['tool']})" if rob.attrs.get("tool") else ""
    studies = "1 study" if len(rob) == 1 else f"{len(rob)} studies"
    return (
        f"Risk of bias of {studies} in {domains} {'domain' if domains == 1 else 'domains'}{tool}. "
        f"Overall: {', '.join(said)}."
    )
