"""The PRISMA 2020 flow diagram."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from metamiq.datasets.flow import (
    IDENTIFIED,
    OTHER_IDENTIFIED,
    OTHER_REPORTS,
    PREVIOUS,
    REMOVED,
    TOTALS,
    has_counts,
)
from metamiq.datasets.flow_arithmetic import Box, flow_boxes
from metamiq.plots.sheet import Sheet, sheet
from metamiq.plots.style import text_height, text_width, wrap_to

WIDTH = 172.0  # points across a box
GAP = 26.0  # between columns, for the arrows
ROW_GAP = 20.0
PAD = 6.0  # between a box and its text
INDENT = 10.0  # of reasons and sources
PHASE = 20.0  # points across the bar that names a phase
MARGIN = 7.0
MOST_PARTS = 30  # reasons of one box that are drawn; more are added up in one line
_HEADING, _PHASE_FILL, _ASIDE = "#FFF2CC", "#D4E6F5", "#F2F2F2"
_COUNT = re.compile(r"\(n = [^()]*\):?$")
_NAMES = {
    "databases": "Databases",
    "registers": "Registers",
    "websites": "Websites",
    "organisations": "Organisations",
    "citation_searching": "Citation searching",
    "other_sources": "Other methods",
    "duplicates_removed": "Duplicate records removed",
    "automation_removed": "Records marked as ineligible by automation tools",
    "other_removed": "Records removed for other reasons",
    "records_screened": "Records screened",
    "records_excluded": "Records excluded",
    "reports_sought": "Reports sought for retrieval",
    "reports_not_retrieved": "Reports not retrieved",
    "reports_assessed": "Reports assessed for eligibility",
    "reports_excluded": "Reports excluded",
    "previous_studies": "Studies included in previous version of review",
    "previous_reports": "Reports of studies included in previous version of review",
    "total_studies": "Total studies included in review",
    "total_reports": "Reports of total included studies",
}


@dataclass(frozen=True, slots=True)
class _Placed:
    """A box where it stands, in points, with its wrapped lines and their indents."""

    x: float
    y: float
    height: float
    lines: tuple[tuple[str, float], ...]

    @property
    def middle(self) -> float:
        return self.x + WIDTH / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def flow_rows(flow: pd.DataFrame) -> pd.DataFrame:
    """The boxes of a flow diagram and what is written in each.

    Parameters
    ----------
    flow : DataFrame
        As `read_flow` returns it.

    Returns
    -------
    DataFrame
        One row per line of text: ``box``, ``column`` ("previous", "main", "side", "other" or "other side"), ``step``
        (1 to 6, from above), ``text`` and ``detail`` (whether it is a reason or source).

    Raises
    ------
    DataError
        If `flow` is no such table.

    Examples
    --------
    Made-up counts:

    >>> flow = pd.DataFrame({"key": ["databases", "records_screened"], "n": [1200, 1000]})
    >>> rows = flow_rows(flow)
    >>> print(rows.loc[rows["box"] == "identified", "text"].tolist())
    ['Records identified from:', 'Databases (n = 1,200)']
    """
    boxes = flow_boxes(flow)
    previous, other = has_counts(flow, PREVIOUS), has_counts(flow, OTHER_IDENTIFIED + OTHER_REPORTS)
    rows: list[tuple[str, str, int, str, bool]] = []

    def add(box: str, column: str, step: int, keys: tuple[str, ...], title: str = "", always: bool = True) -> None:
        given = [key for key in keys if key in boxes] or list(keys[:1] if always else ())
        if title:
            rows.append((box, column, step, title if given else f"{title.rstrip(':')} (n = not stated)", False))
        for key in given:
            lines = _lines(_name(key, previous), boxes.get(key))
            rows.extend((box, column, step, text, detail) for text, detail in lines)

    if previous:
        add("previous", "previous", 1, PREVIOUS)
    add("identified", "main", 1, IDENTIFIED, "Records identified from:")
    add("removed", "side", 1, REMOVED, "Records removed before screening:", always=False)
    if other:
        add("other identified", "other", 1, OTHER_IDENTIFIED, "Records identified from:", always=False)
    for step, (key, beside) in enumerate(
        (
            ("records_screened", "records_excluded"),
            ("reports_sought", "reports_not_retrieved"),
            ("reports_assessed", "reports_excluded"),
        ),
        start=2,
    ):
        add(key, "main", step, (key,))
        add(beside, "side", step, (beside,))
        if other and step > 2:
            add(f"other_{key}", "other", step, (f"other_{key}",))
            add(f"other_{beside}", "other side", step, (f"other_{beside}",))
    add("included", "main", 5, ("studies_included",))
    if "reports_included" in boxes:
        add("included", "main", 5, ("reports_included",))
    if previous:
        add("total", "main", 6, TOTALS)
    return pd.DataFrame(rows, columns=["box", "column", "step", "text", "detail"])


def flow_diagram(flow: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The PRISMA 2020 flow diagram: how records became studies, and why the others did not.

    The part for other methods is there when any of its counts is stated, and so is the part for a previous review,
    whose studies are then added up. A count that is not stated is shown as such; whether counts add up is a question
    for `flow_arithmetic`.

    Parameters
    ----------
    flow : DataFrame
        As `read_flow` returns it: columns ``key``, ``n`` and, if there are any, ``reason``.
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
        If `flow` is no such table.

    References
    ----------
    Page MJ et al. (2021). The PRISMA 2020 statement. BMJ 372:n71.

    Examples
    --------
    Made-up counts:

    >>> flow = pd.DataFrame({"key": ["databases", "duplicates_removed", "records_screened"], "n": [1200, 200, 1000]})
    >>> print(flow_diagram(flow).get_label().split(";")[0])
    PRISMA 2020 flow diagram. Records identified from databases and registers: 1,200
    """
    rows = flow_rows(flow)
    shown = [c for c in ("previous", "main", "side", "other", "other side") if (rows["column"] == c).any()]
    left = {c: MARGIN + PHASE + GAP / 2 + i * (WIDTH + GAP) for i, c in enumerate(shown)}
    headings = _headings(shown, left)
    top = MARGIN + max(text_height(text) for text, _, _ in headings) + 2 * PAD + ROW_GAP / 2
    placed, steps = _place(rows, left, top)
    width = max(left.values()) + WIDTH + MARGIN
    page = sheet(ax, width, max(end for _, end in steps.values()) + MARGIN)
    for text, x, across in headings:
        page.box(x, MARGIN, across, top - MARGIN - ROW_GAP / 2, fill=_HEADING, rounded=True, gid="heading")
        page.say(text, x + across / 2, (MARGIN + top - ROW_GAP / 2) / 2, across="center", along="center", bold=True)
    for name, first, last in (("Identification", 1, 1), ("Screening", 2, 4), ("Included", 5, max(steps))):
        start, end = steps[first][0], steps[last][1]
        page.box(MARGIN, start, PHASE, end - start, fill=_PHASE_FILL, rounded=True, gid="phase")
        page.say(name, MARGIN + PHASE / 2, (start + end) / 2, across="center", along="center", bold=True, rotation=90)
    for name, box in placed.items():
        aside = name in ("previous", "total") or name.startswith("other")
        page.box(box.x, box.y, WIDTH, box.height, fill=_ASIDE if aside else "white", gid=f"box {name}")
        y = box.y + PAD
        for text, indent in box.lines:
            page.say(text, box.x + PAD + indent, y)
            y += text_height(text) + 1.0
    _arrows(page, placed)
    page.ax.set_label(_alt_text(flow_boxes(flow), flow))
    return page.ax


def _name(key: str, previous: bool) -> str:
    new = "New studies" if previous else "Studies"
    if key == "studies_included":
        return f"{new} included in review"
    if key == "reports_included":
        return "Reports of new included studies" if previous else "Reports of included studies"
    return _NAMES[key.removeprefix("other_")] if key in OTHER_REPORTS else _NAMES[key]


def _count(n: int | None) -> str:
    return "not stated" if n is None else f"{n:,}"


def _lines(name: str, box: Box | None) -> list[tuple[str, bool]]:
    """Text of one count and of its reasons or sources."""
    parts = box.parts if box else ()
    out = [(f"{name} (n = {_count(box.total if box else None)}){':' if parts else ''}", False)]
    out += [(f"{reason} (n = {_count(n)})", True) for reason, n in parts[:MOST_PARTS]]
    rest = [n for _, n in parts[MOST_PARTS:]]
    if rest:
        added = None if None in rest else sum(n for n in rest if n is not None)
        out.append((f"and {len(rest)} more (n = {_count(added)})", True))
    return out


def _headings(shown: list[str], left: dict[str, float]) -> list[tuple[str, float, float]]:
    """Text, place and width of the titles above the columns."""
    new = "new studies" if "previous" in shown else "studies"
    out = []
    for first, last, text in (
        ("previous", "previous", "Previous studies"),
        ("main", "side", f"Identification of {new} via databases and registers"),
        ("other", "other side", f"Identification of {new} via other methods"),
    ):
        if first in shown:
            across = left[last] + WIDTH - left[first]
            out.append((wrap_to(text, across - 2 * PAD, weight="bold"), left[first], across))
    return out


def _place(
    rows: pd.DataFrame, left: dict[str, float], top: float
) -> tuple[dict[str, _Placed], dict[int, tuple[float, float]]]:
    """Every box, and where each step begins and ends: the highest box of a step makes its height."""
    lines: dict[str, list[tuple[str, float]]] = {}
    where: dict[str, tuple[int, str]] = {}
    for row in rows.to_dict("records"):
        indent = INDENT if row["detail"] else 0.0
        wrapped = _wrapped(str(row["text"]), WIDTH - 2 * PAD - indent)
        lines.setdefault(row["box"], []).append((wrapped, indent))
        where[row["box"]] = (int(row["step"]), str(row["column"]))
    heights = {name: sum(text_height(t) + 1.0 for t, _ in given) - 1.0 + 2 * PAD for name, given in lines.items()}
    # The names of the phases stand upright and must fit into their bars.
    least = {1: text_width("Identification", weight="bold") + 2 * PAD, 5: 0.0}
    last = max(step for step, _ in where.values())
    if last == 5:
        least[5] = text_width("Included", weight="bold") + 2 * PAD
    steps: dict[int, tuple[float, float]] = {}
    y = top
    for step in range(1, last + 1):
        height = max([heights[n] for n, (s, _) in where.items() if s == step] + [least.get(step, 0.0)])
        steps[step] = (y, y + height)
        y += height + ROW_GAP
    placed = {
        name: _Placed(left[column], steps[step][0], heights[name], tuple(lines[name]))
        for name, (step, column) in where.items()
    }
    return placed, steps


def _wrapped(text: str, width: float) -> str:
    """`text` on lines of `width`; the count at its end stays on one line."""
    count = _COUNT.search(text)
    if count is None:
        return wrap_to(text, width)
    # A bar is about as wide as a blank.
    lines = wrap_to(text[: count.start()] + count[0].replace(" ", "¦"), width)
    start = max(len(lines) - len(count[0]), 0)
    return lines[:start] + lines[start:].replace("¦", " ")


def _arrows(page: Sheet, placed: dict[str, _Placed]) -> None:
    for first, second in (
        ("identified", "records_screened"),
        ("records_screened", "reports_sought"),
        ("reports_sought", "reports_assessed"),
        ("reports_assessed", "included"),
        ("included", "total"),
        ("other identified", "other_reports_sought"),
        ("other_reports_sought", "other_reports_assessed"),
    ):
        if first in placed and second in placed:
            start, end = placed[first], placed[second]
            page.arrow([(start.middle, start.bottom), (end.middle, end.y)])
    for first, second in (
        ("identified", "removed"),
        ("records_screened", "records_excluded"),
        ("reports_sought", "reports_not_retrieved"),
        ("reports_assessed", "reports_excluded"),
        ("other_reports_sought", "other_reports_not_retrieved"),
        ("other_reports_assessed", "other_reports_excluded"),
    ):
        if first in placed and second in placed:
            start, end = placed[first], placed[second]
            y = start.y + min(start.height, end.height) / 2
            page.arrow([(start.x + WIDTH, y), (end.x, y)])
    if "other_reports_assessed" in placed:
        start, end = placed["other_reports_assessed"], placed["included"]
        y = end.y + end.height / 2
        page.arrow([(start.middle, start.bottom), (start.middle, y), (end.x + WIDTH, y)])
    if "previous" in placed:
        start, end = placed["previous"], placed["total"]
        y = end.y + end.height / 2
        page.arrow([(start.middle, start.bottom), (start.middle, y), (end.x, y)])


def _alt_text(boxes: dict[str, Box], flow: pd.DataFrame) -> str:
    def total(*keys: str) -> str:
        given = [boxes[key].total for key in keys if key in boxes]
        return "not stated" if not given or None in given else f"{sum(n for n in given if n is not None):,}"

    said = [
        f"Records identified from databases and registers: {total(*IDENTIFIED)}",
        f"removed before screening: {total(*REMOVED)}",
        f"screened: {total('records_screened')}",
        f"excluded: {total('records_excluded')}",
        f"reports sought: {total('reports_sought')}",
        f"not retrieved: {total('reports_not_retrieved')}",
        f"assessed: {total('reports_assessed')}",
        f"excluded: {total('reports_excluded')}",
    ]
    if has_counts(flow, OTHER_IDENTIFIED + OTHER_REPORTS):
        said += [
            f"identified by other methods: {total(*OTHER_IDENTIFIED)}",
            f"of these assessed: {total('other_reports_assessed')}",
            f"and excluded: {total('other_reports_excluded')}",
        ]
    previous = has_counts(flow, PREVIOUS)
    said.append(f"{'new ' if previous else ''}studies included: {total('studies_included')}")
    if previous:
        said.append(f"studies of the previous review: {total('previous_studies')}")
        said.append(f"total: {total('total_studies')}")
    return f"PRISMA 2020 flow diagram. {'; '.join(said)}."
