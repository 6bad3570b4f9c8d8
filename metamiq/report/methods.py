"""The methods section of a report, from the methods paragraphs of its fits."""

from __future__ import annotations

from typing import Any

from metamiq.explaining.methods import MethodsParagraph, joined
from metamiq.report.document import Block, Listed, Text


def blocks(paragraphs: list[MethodsParagraph], made: str) -> tuple[Block, ...]:
    """The section: paragraphs, what it was computed with, references."""
    together = joined(*paragraphs)
    said = (Text(" ".join(p.sentences)) for p in paragraphs)
    return (*said, Text(made, soft=True), Listed("References", together.references))


def data(paragraphs: list[MethodsParagraph]) -> dict[str, Any]:
    """The same for results.json."""
    return {"methods": [" ".join(p.sentences) for p in paragraphs], "references": list(joined(*paragraphs).references)}
