"""Signs and colours of risk-of-bias judgements, the same in every picture: each has a sign besides its colour."""

from __future__ import annotations

#: The sign of each judgement, the mildest first; those that share one belong to different tools.
SIGNS = {
    "low": "+",
    "some concerns": "!",
    "moderate": "!",
    "unclear": "?",
    "high": "−",
    "serious": "−",
    "critical": "×",
    "no information": "n",
}
#: Colours of Okabe and Ito, which people with any common colour blindness can tell apart.
COLOURS = {"+": "#56B4E9", "!": "#E69F00", "?": "#F0E442", "−": "#D55E00", "×": "#CC79A7", "n": "#DDDDDD"}
EMPTY = "not judged"
#: Hatches, so that bars differ without colour.
HATCHES = {"+": "", "!": "///", "?": "...", "−": "xxx", "×": "+++", "n": "\\\\\\"}
