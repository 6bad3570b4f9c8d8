"""The methods paragraphs of the first question, from the fits that answer it."""

from __future__ import annotations

from metamiq.explaining.methods import MethodsParagraph, joined, methods_paragraph
from metamiq.question import Answers, CannotFit

_RULE = (
    "One symptom result per trial at the end of CBT, clinician-rated where both exist; a positive effect favours MI + "
    "CBT."
)


def first_question_methods(answers: Answers) -> list[MethodsParagraph]:
    """What was done to answer the first question: symptoms with their moderators, and dropout.

    Examples
    --------
    >>> import metamiq as mm
    >>> symptoms, dropout = first_question_methods(Answers(mm.load_dataset("mi_cbt_anxiety")))
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
