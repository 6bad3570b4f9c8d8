"""The HTML page: one file, no network."""

from __future__ import annotations

import math
import re
from importlib import resources
from typing import Any

import pandas as pd

import metamiq
from metamiq.question import Answers
from metamiq.report import content
from metamiq.verdicts import Audit
from metamiq.wording import fixed

GLOSSARY = {
    "MI": "Motivational interviewing: a way of talking that helps people find their own reasons to change.",
    "CBT": "Cognitive behaviour therapy.",
    "Hedges g": "Difference of two means in units of their standard deviation, corrected for small samples. Positive "
    "here means that MI + CBT did better.",
    "point": "A trial whose report gives an effect size, or the numbers for one.",
    "bound": "A trial whose report gives only a verdict. 'Significant' puts g beyond the threshold of the test, "
    "'not significant' within it; the arm sizes set the threshold.",
    "tau2, I2": "How much the true effects of trials differ: their variance, and its share of all variation.",
    "prediction interval": "Where the true effect of a new trial would lie.",
    "profile-likelihood interval": "All values of the mean that the data do not contradict at the 5% level.",
}
_HEADINGS = {
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
    "term_p": "p of the moderator",
    "vi": "variance",
    "yi": "g",
    "yi_high": "bound high",
    "yi_low": "bound low",
}


def cell(value: Any) -> str:
    """A value as a reader wants to see it."""
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


def heading(name: str) -> str:
    """A column name in words."""
    return _HEADINGS.get(name, name.replace("_", " "))


def inline_svg(svg: str, name: str) -> str:
    """An SVG element whose ids cannot clash with those of another one in the same page."""
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    body = re.sub(r'(href=")#([^"]+)"', rf'\1#{name}-\2"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)


def page(answers: Answers, audit: Audit, tables: dict[str, pd.DataFrame], figures: dict[str, str]) -> str:
    """The report as HTML.

    Parameters
    ----------
    answers, audit
        What was computed.
    tables : dict
        From `content.tables`.
    figures : dict
        Name to SVG element, from `figures.first_question`.
    """
    import jinja2
    from markupsafe import Markup

    template = resources.files("metamiq.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = cell
    environment.filters["heading"] = heading
    drawings = {name: Markup(inline_svg(svg, name)) for name, svg in figures.items()}
    return environment.from_string(template).render(
        question=content.QUESTION,
        answer=content.answer(answers),
        tables={name: _rows(table) for name, table in tables.items()},
        verdicts=tables["verdicts"].to_dict(orient="records"),
        figures=drawings,
        glossary=GLOSSARY,
        versions=versions(),
        dataset=answers.ds.name,
    )


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    return {"columns": list(table.columns), "rows": table.to_dict(orient="records")}


def versions() -> dict[str, str]:
    """Version of each program that the numbers depend on."""
    from importlib.metadata import version

    names = ("numpy", "scipy", "pandas", "matplotlib")
    return {"metamiq": metamiq.__version__, **{name: version(name) for name in names}}
