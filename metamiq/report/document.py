"""A report before it has a form: sections of text, tables, figures and panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd

from metamiq.wording import fixed

HEADINGS = {
    "ci_high": "high",
    "ci_low": "low",
    "I2": "I2 %",
    "k_bounds": "bounds",
    "k_points": "points",
    "mi_sessions": "MI sessions",
    "n1i": "n MI",
    "n2i": "n CBT",
    "n_source": "arm sizes",
    "p_value": "p",
    "pi_high": "PI high",
    "pi_low": "PI low",
    "sei": "SE",
    "term_p": "p of the moderator",
    "vi": "variance",
    "yi": "g",
    "yi_high": "bound high",
    "yi_low": "bound low",
}


def heading(name: str) -> str:
    """A column name in words."""
    return HEADINGS.get(name, name.replace("_", " "))


def cell_text(value: Any) -> str:
    """A value as a reader wants to see it.

    Examples
    --------
    >>> cell_text(-0.5), cell_text(20.0), cell_text(True), cell_text(None)
    ('−0.500', '20', 'yes', '')
    """
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        whole = math.isfinite(value) and value == int(value) and abs(value) >= 1
        text = f"{value:.0f}" if whole else fixed(value, 3)
        return text.replace("inf", "\N{INFINITY}").replace("-", "\N{MINUS SIGN}")
    return str(value)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    number: bool = False
    href: str = ""  # a web page
    why: str = ""  # key of the derivation that says how the number came about
    source: str = ""  # where the number was read


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    soft: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of texts under a name, such as references."""

    name: str
    items: tuple[str, ...]
    kind: ClassVar[str] = "list"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table with a caption."""

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, as an SVG element."""

    name: str
    svg: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Published claims, each with what was found."""

    rows: tuple[Mapping[str, Any], ...]
    kind: ClassVar[str] = "verdicts"


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Words and what they mean."""

    words: Mapping[str, str]
    kind: ClassVar[str] = "terms"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one number came about."""

    key: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanations:
    """Derivations, to be opened from the numbers they explain."""

    items: tuple[Explanation, ...]
    kind: ClassVar[str] = "explanations"


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The "what if" panel."""

    payload: Mapping[str, Any]
    description: str
    kind: ClassVar[str] = "panel"


@dataclass(frozen=True, slots=True)
class Calculator:
    """The calculator of Hedges' g."""

    kind: ClassVar[str] = "calculator"


@dataclass(frozen=True, slots=True, eq=False)
class Downloads:
    """Files inside the page: name to content."""

    files: Mapping[str, str]
    kind: ClassVar[str] = "downloads"


Block = Text | Listed | Table | Figure | Verdicts | Terms | Explanations | Panel | Calculator | Downloads


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A heading and what stands below it."""

    key: str
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A whole report."""

    title: str
    answer: tuple[str, ...]  # plain sentences; the last one says what it rests on
    explained: tuple[tuple[str, str], ...]  # derivations to open from the answer: key, name
    sections: tuple[Section, ...]
    data: Mapping[str, Any] = field(repr=False)  # the same content as one JSON object


def grid(
    name: str,
    frame: pd.DataFrame,
    caption: str,
    columns: Sequence[str] | None = None,
    *,
    cells: Mapping[str, Callable[[dict[str, Any]], Cell]] | None = None,
    heads: Mapping[str, str] | None = None,
) -> Table:
    """A table of some columns of `frame`; `cells` makes the cells of a column from the whole row.

    The label of an analysis, in a column `planned`, is always shown.
    """
    cells, heads = cells or {}, heads or {}
    chosen = list(frame.columns if columns is None else columns)
    if "planned" in frame and "planned" not in chosen:
        chosen.append("planned")
    rows = []
    for record in frame.to_dict(orient="records"):
        row = {str(key): value for key, value in record.items()}
        rows.append(tuple(cells[c](row) if c in cells else _cell(c, row[c]) for c in chosen))
    return Table(name, caption, tuple(heads.get(c, heading(c)) for c in chosen), tuple(rows))


def _cell(column: str, value: Any) -> Cell:
    if column == "I2" and isinstance(value, float) and math.isfinite(value):
        return Cell(fixed(value, 1), number=True)  # percent, of which thousandths say nothing
    if column == "p_value" and isinstance(value, float) and value < 0.001:
        return Cell("< 0.001", number=True)
    return plain_cell(value)


def plain_cell(value: Any) -> Cell:
    """A cell that only shows its value."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(cell_text(value), number=is_number)
