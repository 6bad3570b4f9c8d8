"""What is known of a few instruments from the papers that define them.

Only facts of the definition: how many whole-number items are summed, and the range that follows. Nothing about samples,
such as a usual mean or SD, is here.
"""

from __future__ import annotations

from typing import NamedTuple


class Instrument(NamedTuple):
    """A sum score of whole-number items.

    Attributes
    ----------
    low, high : float
        Smallest and largest possible score.
    direction : int
        1 when a high score is good, -1 when a low one is.
    source : str
        The paper that defines it.
    """

    low: float
    high: float
    direction: int
    source: str


INSTRUMENTS: dict[str, Instrument] = {
    "Y-BOCS": Instrument(0, 40, -1, "Goodman et al. 1989, Archives of General Psychiatry 46:1006-1011"),
    "CY-BOCS": Instrument(
        0, 40, -1, "Scahill et al. 1997, Journal of the American Academy of Child & Adolescent Psychiatry 36:844-852"
    ),
    "HADS-A": Instrument(0, 21, -1, "Zigmond & Snaith 1983, Acta Psychiatrica Scandinavica 67:361-370"),
    "PSWQ": Instrument(16, 80, -1, "Meyer et al. 1990, Behaviour Research and Therapy 28:487-495"),
}
