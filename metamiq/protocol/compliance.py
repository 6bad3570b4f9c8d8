"""The analyses of an output, held against a protocol: which were planned, and what was planned and not done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from metamiq.protocol.record import NO_PROTOCOL, PLANS, Item, Planned, Protocol, item_of, items_of

_ABSENT = "not part of this output"


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One way in which a protocol may name an analysis; see `Protocol.planned`."""

    kind: str
    what: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: NDArray[Any] | None = None
    any_trials: bool = False  # the analysis does not depend on which trials count
    note: str = ""  # what a reader must know where it counts as planned

    @property
    def item(self) -> Item:
        """The analysis as a plan lists it."""
        return item_of(self.kind, self.what, self.settings.get("model"))


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """One analysis of an output.

    Attributes
    ----------
    key : str
        Short name, by which the output finds its label.
    name : str
        What a reader calls it.
    asks : tuple of Ask
        It was planned if the protocol names it in any of these ways; the first is the one that is explained.
    failed : str
        Why it could not be done, if it could not.
    """

    key: str
    name: str
    asks: tuple[Ask, ...]
    failed: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Compliance:
    """What came of a plan.

    Attributes
    ----------
    protocol : Protocol
        The plan.
    table : DataFrame
        ``key analysis planned carried_out why``: one row per analysis of the output.
    not_done : DataFrame
        ``analysis why``: what was planned and is not in the output.
    """

    protocol: Protocol
    table: pd.DataFrame
    not_done: pd.DataFrame

    def label(self, key: str) -> str:
        """The label of an analysis; empty for what is none."""
        found = self.table.loc[self.table["key"] == key, "planned"]
        return str(found.iloc[0]) if len(found) else ""

    def why(self, key: str) -> str:
        """Why an analysis has its label; empty where the label says all."""
        found = self.table.loc[self.table["key"] == key, "why"]
        return str(found.iloc[0]) if len(found) else ""

    def carried_out(self, key: str) -> bool:
        """Whether an analysis could be done."""
        return bool(self.table.loc[self.table["key"] == key, "carried_out"].any())

    def name(self, key: str) -> str:
        """What a reader calls an analysis, at the head of a sentence; empty for what is none."""
        found = self.table.loc[self.table["key"] == key, "analysis"]
        text = str(found.iloc[0]) if len(found) else ""
        return text[:1].upper() + text[1:]

    def sentence(self, key: str) -> str:
        """The label of an analysis as a sentence, with its reason."""
        return " ".join(filter(None, [f"This analysis was {self.label(key)}.", self.why(key)]))

    @property
    def missing(self) -> str:
        """What was planned and not done, as a sentence; empty when there is nothing."""
        if self.not_done.empty:
            return ""
        listed = [
            row["analysis"] + ("" if row["why"] == _ABSENT else f" ({row['why']})")
            for row in self.not_done.to_dict(orient="records")
        ]
        return f"Planned and not carried out here: {', '.join(listed)}."

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON-ready object."""
        r = self.protocol.registration
        return {
            "note": self.protocol.note,
            "title": self.protocol.title,
            "version": self.protocol.version,
            "registration": {"where": r.where, "identifier": r.identifier, "date": r.date and r.date.isoformat()},
            "amendments": [
                {"date": a.date.isoformat(), "what": a.what, "why": a.why, "results_known": a.results_known}
                for a in self.protocol.amendments
            ],
            "analyses": self.table.drop(columns="key").to_dict(orient="records"),
            "not_carried_out": self.not_done.to_dict(orient="records"),
        }


def comply(protocol: Protocol, analyses: Iterable[Analysis], table: pd.DataFrame | None = None) -> Compliance:
    """Label every analysis of an output, and find what was planned and is not in it.

    Parameters
    ----------
    protocol : Protocol
        From `read_protocol`.
    analyses : iterable of Analysis
        What the output holds.
    table : DataFrame, optional
        The trials that could count, to compare which of them an analysis took; without it that is not compared.

    Returns
    -------
    Compliance
    """
    rows = []
    due = {item: (name, _ABSENT) for item, name in items_of(protocol.stages[-1]).items()}
    for analysis in analyses:
        answers = [_ask(protocol, ask, table) for ask in analysis.asks]
        found = next((a for a in answers if a.is_planned), answers[0])
        why = f"Not carried out: {analysis.failed.rstrip('.')}." if analysis.failed else found.why
        rows.append((analysis.key, analysis.name, found.label, not analysis.failed, why))
        for ask, answer in zip(analysis.asks, answers, strict=True):
            for item in ({ask.item, (*ask.item[:2], "")}) & set(due):
                if not answer.is_planned:
                    planned = answer.why.removeprefix(PLANS).rstrip(".")
                    due[item] = due[item][0], f"carried out otherwise; planned: {planned}"
                elif analysis.failed:
                    due[item] = due[item][0], analysis.failed.rstrip(".")
                else:
                    del due[item]
    return Compliance(
        protocol,
        pd.DataFrame(rows, columns=["key", "analysis", "planned", "carried_out", "why"]),
        pd.DataFrame(list(due.values()), columns=["analysis", "why"]),
    )


def _ask(protocol: Protocol, ask: Ask, table: pd.DataFrame | None) -> Planned:
    compared = None if ask.any_trials else table
    found = protocol.planned(ask.kind, ask.what, table=compared, rows=ask.rows, **ask.settings)
    return found._replace(why=" ".join(filter(None, [found.why, ask.note]))) if found.is_planned else found


def note_of(compliance: Compliance | None) -> str:
    """Which protocol an output goes by, or that there is none."""
    return NO_PROTOCOL if compliance is None else compliance.protocol.note


def as_dict(compliance: Compliance | None) -> dict[str, Any]:
    """What an output's JSON says about the protocol."""
    return {"note": NO_PROTOCOL} if compliance is None else compliance.to_dict()


def labels_in_words(compliance: Compliance | None) -> str:
    """Every analysis with its label, a line each, and which protocol they go by; or that there is no protocol."""
    if compliance is None:
        return NO_PROTOCOL
    rows = compliance.table.to_dict(orient="records")
    lines = [f"{row['analysis']}: {row['planned']}" for row in rows if row["carried_out"]]
    return "\n".join(["Planned and not planned", *lines, compliance.protocol.note])
