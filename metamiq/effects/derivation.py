"""How a number came about, as data: named steps with formula, values, result, unit and source."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metamiq.effects.expression import Expression, number, symbol


@dataclass(frozen=True, slots=True)
class Given:
    """One number that a derivation starts from."""

    name: str
    value: float
    meaning: str = ""
    unit: str = ""
    shown: str = ""  # as it was printed, when that differs

    def text(self) -> str:
        """Such as "n₁ = 8"."""
        return f"{symbol(self.name)} = {self.shown or number(self.value, digits=10)}" + (
            f" {self.unit}" if self.unit else ""
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One line of arithmetic.

    Attributes
    ----------
    name : str
        Name of the result in the formulas of later steps.
    meaning : str
        What the result is, in words.
    formula, latex : str
        The formula with symbols; empty where the result comes from an iteration.
    put_in, latex_put_in : str
        The same with the numbers in place of the symbols.
    inputs : mapping of str to float
        The numbers put in; of a column of numbers, nothing (see the table).
    result : float
        What it gives.
    unit, source : str
        Unit of the result; paper and equation, where they are known.
    """

    name: str
    meaning: str
    formula: str
    latex: str
    put_in: str
    latex_put_in: str
    inputs: Mapping[str, float]
    result: float
    unit: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers of several rows that the steps add up."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Derivation:
    """The steps of one number, from what was given to the result.

    `to_text`, `to_latex`, `to_markdown` and `to_dict` say the same in four ways. ``results`` holds the numbers that
    were derived, by name; ``derivation["g"]`` looks one up.
    """

    title: str
    given: tuple[Given, ...] = ()
    steps: tuple[Step, ...] = ()
    results: Mapping[str, float] = field(default_factory=dict)
    conclusion: str = ""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    table: Table | None = None

    def __getitem__(self, name: str) -> float:
        return self.results[name]

    def __repr__(self) -> str:
        return f"Derivation({self.title})"

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int = 80) -> str:
        """Aligned lines of Unicode text, at most `width` characters wide wherever a formula has a place to break."""
        lines = textwrap.wrap(self.title, width)
        if self.given:
            # A no-break space keeps "n₁ = 8" together until the lines are made.
            together = ", ".join(g.text().replace(" ", "\u00a0") for g in self.given)
            lines += [line.replace("\u00a0", " ") for line in _hanging("given  ", together, width)]
        if self.table is not None:
            lines += ["", *_columns(self.table)]
        for i, step in enumerate(self.steps, start=1):
            lines += ["", *_hanging(f"{i:>2}  ", step.meaning, width)]
            shown = symbol(step.name)
            result = number(step.result, digits=7) + (f" {step.unit}" if step.unit else "")
            written = [step.formula] if step.formula else []
            written += [step.put_in] if step.put_in not in ("", step.formula, number(step.result, digits=7)) else []
            for j, right in enumerate([*written, result]):
                lines += _hanging("    " + (shown if j == 0 else " " * len(shown)) + " = ", right, width)
            if step.source:
                lines += _hanging("    from ", step.source, width)
        lines += ["", *textwrap.wrap(self.conclusion, width)] if self.conclusion else []
        for head, texts in (("assumed: ", self.assumptions), ("note: ", self.notes)):
            for text in texts:
                lines += _hanging(head, text, width)
        return "\n".join(line.rstrip() for line in lines)

    def to_latex(self) -> str:
        """LaTeX: one displayed equation per step (package amsmath)."""
        parts = [rf"\textbf{{{_escape(self.title)}}}"]
        if self.given:
            known = ", ".join(f"${symbol(g.name, True)} = {number(g.value, True, 10)}$" for g in self.given)
            parts.append(f"Given: {known}.")
        if self.table is not None:
            parts.append(_latex_table(self.table))
        for step in self.steps:
            rows = [part for part in (step.latex, step.latex_put_in) if part]
            unit = rf"\ \text{{{_escape(step.unit)}}}" if step.unit else ""
            rows.append(number(step.result, True, 7) + unit)
            body = " \\\\\n  &= ".join(dict.fromkeys(rows))
            source = f" {_escape(step.source)}." if step.source else ""
            parts.append(
                f"{_escape(_sentence(step.meaning))}.{source}\n\\begin{{align*}}\n  {symbol(step.name, True)} &= {body}"
                "\n\\end{align*}"
            )
        parts += [_escape(text) for text in (self.conclusion, *self._remarks()) if text]
        return "\n\n".join(parts) + "\n"

    def to_markdown(self) -> str:
        """Markdown: a numbered list of steps, formulas as inline LaTeX."""
        lines = [f"### {self.title}", ""]
        if self.given:
            known = ", ".join(f"${symbol(g.name, True)} = {number(g.value, True, 10)}$" for g in self.given)
            lines += [f"Given: {known}.", ""]
        if self.table is not None:
            table = self.table
            lines += ["| " + " | ".join(symbol(c) for c in table.columns) + " |", "|" + "---|" * len(table.columns)]
            lines += ["| " + " | ".join(_cell(x) for x in row) + " |" for row in table.rows]
            lines.append("")
        for i, step in enumerate(self.steps, start=1):
            rows = [part for part in (step.latex, step.latex_put_in, number(step.result, True, 7)) if part]
            unit = f" {step.unit}" if step.unit else ""
            source = f" ({step.source})" if step.source else ""
            equation = " = ".join([symbol(step.name, True), *dict.fromkeys(rows)])
            lines.append(f"{i}. {_sentence(step.meaning)}: ${equation}${unit}{source}")
        lines += ["", self.conclusion] if self.conclusion else []
        lines += [part for remark in self._remarks() for part in ("", f"*{remark}*")]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The whole as JSON-ready data; a number that is undefined or infinite is text."""
        return {
            "title": self.title,
            "given": [
                {"name": g.name, "value": _json(g.value), "meaning": g.meaning, "unit": g.unit} for g in self.given
            ],
            "steps": [
                {
                    "step": i,
                    "name": s.name,
                    "symbol": symbol(s.name),
                    "meaning": s.meaning,
                    "formula": s.formula,
                    "latex": s.latex,
                    "put_in": s.put_in,
                    "inputs": {name: _json(value) for name, value in s.inputs.items()},
                    "result": _json(s.result),
                    "unit": s.unit,
                    "source": s.source,
                }
                for i, s in enumerate(self.steps, start=1)
            ],
            "table": None
            if self.table is None
            else [dict(zip(self.table.columns, (_json(x) for x in row), strict=True)) for row in self.table.rows],
            "results": {name: _json(value) for name, value in self.results.items()},
            "conclusion": self.conclusion,
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
        }

    def _remarks(self) -> list[str]:
        return [f"Assumed: {text}" for text in self.assumptions] + [f"Note: {text}" for text in self.notes]


class Worksheet:
    """Collects the steps of a derivation while they are computed.

    Examples
    --------
    >>> sheet = Worksheet("Cohen's d from t")
    >>> sheet.given(t=2.51, n1=8, n2=8)
    >>> d = sheet.step("d", "standardised mean difference", "t*sqrt(1/n1 + 1/n2)")
    >>> print(sheet.derivation(conclusion=f"d = {d:.3f}"))
    Cohen's d from t
    given  t = 2.51, n₁ = 8, n₂ = 8
    <BLANKLINE>
     1  standardised mean difference
        d = t·√(1/n₁ + 1/n₂)
          = 2.51·√(1/8 + 1/8)
          = 1.255
    <BLANKLINE>
    d = 1.255
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.values: dict[str, Any] = {}
        self.assumptions: list[str] = []
        self.notes: list[str] = []
        self.table: Table | None = None
        self._given: list[Given] = []
        self._steps: list[Step] = []

    def given(self, **values: float) -> None:
        """Numbers to start from."""
        for name, value in values.items():
            self.values[name] = float(value)
            self._given.append(Given(name, float(value)))

    def columns(self, **columns: Any) -> None:
        """Columns of numbers that formulas may sum."""
        self.values.update({name: np.asarray(column, dtype=float) for name, column in columns.items()})

    def step(
        self, name: str, meaning: str, formula: str, *, shown: str = "", unit: str = "", source: str = ""
    ) -> float:
        """Compute `formula` from what is known so far, and keep it as a step.

        `shown` is another form of the same formula, for the reader, where the one computed hides what it does.
        """
        computed = Expression(formula)
        written = Expression(shown or formula)
        result = float(computed.value(self.values))
        known = {n: self.values[n] for n in (*computed.names(), *written.names())}
        self._steps.append(
            Step(
                name=name,
                meaning=meaning,
                formula=written.text(),
                latex=written.latex(),
                put_in=written.text(self.values),
                latex_put_in=written.latex(self.values),
                inputs={n: float(v) for n, v in known.items() if np.ndim(v) == 0},
                result=result,
                unit=unit,
                source=source,
            )
        )
        self.values[name] = result
        return result

    def found(self, name: str, meaning: str, value: float, *, unit: str = "", source: str = "") -> float:
        """A number that no closed formula gives, such as the root of an equation."""
        self._steps.append(Step(name, meaning, "", "", "", "", {}, float(value), unit, source))
        self.values[name] = float(value)
        return float(value)

    def matches(self, name: str, engine: float, rtol: float = 1e-8) -> None:
        """Refuse to explain a number that the engine does not give."""
        own = self.values[name]
        if not np.isclose(own, engine, rtol=rtol, atol=1e-12, equal_nan=True):
            raise RuntimeError(
                f"The steps of {self.title!r} give {name} = {own:.10g}, but the engine gives {engine:.10g}. This is a "
                "fault of metamiq: please report it with these numbers."
            )

    def derivation(
        self, results: Sequence[str] | Mapping[str, float] = (), conclusion: str = "", title: str = ""
    ) -> Derivation:
        """What was collected; `results` names values, or gives them."""
        named = results if isinstance(results, Mapping) else {name: float(self.values[name]) for name in results}
        return Derivation(
            title=title or self.title,
            given=tuple(self._given),
            steps=tuple(self._steps),
            results=dict(named),
            conclusion=conclusion,
            assumptions=tuple(self.assumptions),
            notes=tuple(self.notes),
            table=self.table,
        )


def _hanging(head: str, text: str, width: int) -> list[str]:
    """Text after a head, later lines below its beginning."""
    lines = textwrap.wrap(text, max(width - len(head), 20), break_long_words=False, break_on_hyphens=False) or [""]
    return [(head if i == 0 else " " * len(head)) + line for i, line in enumerate(lines)]


def _cell(x: str | float) -> str:
    return x if isinstance(x, str) else number(x, digits=5)


def _columns(table: Table) -> list[str]:
    cells = [[symbol(c) for c in table.columns], *([_cell(x) for x in row] for row in table.rows)]
    cells = [[text if len(text) <= 24 else text[:23] + "…" for text in row] for row in cells]
    widths = [max(len(row[j]) for row in cells) for j in range(len(table.columns))]
    first_is_text = bool(table.rows) and isinstance(table.rows[0][0], str)
    return [
        "  "
        + "  ".join(
            text.ljust(w) if j == 0 and first_is_text else text.rjust(w)
            for j, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _latex_table(table: Table) -> str:
    head = " & ".join(
        _escape(c) if j == 0 and table.rows and isinstance(table.rows[0][0], str) else f"${symbol(c, True)}$"
        for j, c in enumerate(table.columns)
    )
    rows = [
        " & ".join(_escape(x) if isinstance(x, str) else f"${number(x, True, 5)}$" for x in row) for row in table.rows
    ]
    body = " \\\\\n".join([head, *rows])
    return f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}\n{body}\n\\end{{tabular}}"


def _escape(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, "\\" + sign)
    return text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _json(x: str | float) -> str | float:
    return x if isinstance(x, str) or np.isfinite(x) else str(float(x))
