"""Tools for judging risk of bias: their domains, their words, and whether the worst domain decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Every judgement of any tool.
WORDS = (
    *("low", "some concerns", "moderate", "unclear", "high", "serious", "critical"),
    "no information",
)
_ABBREVIATED = {"ni": "no information", "some": "some concerns"}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes
    ----------
    name : str
        As robvis names it.
    title : str
        As its authors name it.
    domains : mapping of str to str
        Code of each domain and what it is about; empty when any domains will do.
    words : tuple of str
        Its judgements, the mildest first; "no information" at the end.
    worst_decides : bool
        Whether the overall judgement must be at least as severe as the worst domain.
    """

    name: str
    title: str
    domains: Mapping[str, str]
    words: tuple[str, ...]
    worst_decides: bool


_ROB2 = {
    "D1": "Bias arising from the randomization process",
    "D2": "Bias due to deviations from intended interventions",
    "D3": "Bias due to missing outcome data",
    "D4": "Bias in measurement of the outcome",
    "D5": "Bias in selection of the reported result",
}
_RECRUITMENT = "Bias arising from the timing of identification or recruitment of participants"
_ROBINS_I = {
    "D1": "Bias due to confounding",
    "D2": "Bias in selection of participants into the study",
    "D3": "Bias in classification of interventions",
    "D4": "Bias due to deviations from intended interventions",
    "D5": "Bias due to missing data",
    "D6": "Bias in measurement of outcomes",
    "D7": "Bias in selection of the reported result",
}
_QUADAS2 = {"D1": "Patient selection", "D2": "Index test", "D3": "Reference standard", "D4": "Flow and timing"}
_ROB2_WORDS = ("low", "some concerns", "high", "no information")

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("ROB2", "RoB 2", _ROB2, _ROB2_WORDS, True),
        Tool(
            "ROB2-Cluster",
            "RoB 2 for cluster-randomized trials",
            {"D1": _ROB2["D1"], "D1b": _RECRUITMENT, **{c: t for c, t in _ROB2.items() if c != "D1"}},
            _ROB2_WORDS,
            True,
        ),
        Tool("ROBINS-I", "ROBINS-I", _ROBINS_I, ("low", "moderate", "serious", "critical", "no information"), True),
        # The paper on QUADAS-2 has "unclear", robvis "some concerns"; both are read.
        Tool("QUADAS-2", "QUADAS-2", _QUADAS2, ("low", "some concerns", "unclear", "high", "no information"), False),
        Tool("ROB1", "any domains", {}, ("low", "some concerns", "unclear", "high", "no information"), False),
    )
}


def word_of(cell: str, tool: Tool) -> str | None:
    """The judgement that a cell means in a tool: a word, its first letter, or None when it is none of the tool's.

    Examples
    --------
    >>> word_of("S", TOOLS["ROB2"]), word_of("S", TOOLS["ROBINS-I"]), word_of("Medium", TOOLS["ROB2"])
    ('some concerns', 'serious', None)
    """
    given = " ".join(cell.replace("_", " ").split()).casefold()
    given = _ABBREVIATED.get(given, given)
    if given in tool.words:
        return given
    return next((word for word in tool.words if len(given) == 1 and word[0] == given), None)
