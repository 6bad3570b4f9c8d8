"""The methods section of a report, put together from the methods paragraphs of its fits."""

from __future__ import annotations

from typing import Any

from metamiq.explaining.methods import MethodsParagraph, joined, methods_paragraph
from metamiq.question import Answers, CannotFit
from metamiq.report.document import Block, Listed, Text

_RULE = (
    "One symptom result per trial at the end of CBT, clinician-rated where both exist; a positive effect favours MI + "
    "CBT."
)


def first_question(answers: Answers) -> list[MethodsParagraph]:
    """What was done to answer the first question: symptoms with their moderators, and dropout.

    Examples
    --------
    >>> import metamiq as mm
    >>> symptoms, dropout = first_question(Answers(mm.load_dataset("mi_cbt_anxiety")))
    >>> print(dropout.sentences[0])
    Dropout was pooled in two ways.
    """
    out = []
    if not isinstance(answers.pooled, CannotFit):
        tried = (answers.disorder, answers.dose, answers.era, answers.dropout_as_moderator)
        formulas = [fit.design.formula for fit in tried if not isinstance(fit, CannotFit) and fit.design is not None]
        moderators = f"Moderators were entered into that model one at a time: {', '.join(formulas)}."
        out.append(joined(_RULE, methods_paragraph(answers.pooled), *([moderators] if formulas else [])))
    if "OR" in answers.dropout_common:
        common, random = (methods_paragraph(fits["OR"]) for fits in (answers.dropout_common, answers.dropout_pooled))
        others = "The same was done with risk ratios and risk differences."
        out.append(joined("Dropout was pooled in two ways.", common, "For comparison:", random, others))
    return out


def blocks(paragraphs: list[MethodsParagraph], made: str) -> tuple[Block, ...]:
    """The section: paragraphs, what it was computed with, references."""
    together = joined(*paragraphs)
    said = (Text(" ".join(p.sentences)) for p in paragraphs)
    return (*said, Text(made, soft=True), Listed("References", together.references))


def data(paragraphs: list[MethodsParagraph]) -> dict[str, Any]:
    """The same for results.json."""
    return {"methods": [" ".join(p.sentences) for p in paragraphs], "references": list(joined(*paragraphs).references)}
