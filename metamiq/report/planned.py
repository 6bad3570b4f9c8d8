"""Labels of planned and not planned in a report: on tables, sections and in a section of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, overload

import pandas as pd

from metamiq.protocol.vocabulary import SMALL_STUDY
from metamiq.question import DROPOUT_MEASURES, Answers, CannotFit
from metamiq.report.choices import ChoicesFound
from metamiq.report.document import Block, Section, Text, grid

if TYPE_CHECKING:
    from metamiq.pooling.records import PooledEffect
    from metamiq.protocol.compliance import Compliance
    from metamiq.protocol.record import Protocol
    from metamiq.sensitivity.small_study_overview import SmallStudyEffects

LEAST_POINTS = 3  # a test or correction for small-study effects needs as many effect sizes
_METHODS = {words: name for name, words in SMALL_STUDY.items()}
_DROPOUT_ROWS = {"Mantel-Haenszel": "mantel_haenszel", "random effects (REML)": "random_effects"}
_DROPOUT_WORDS = {words: measure for measure, words in DROPOUT_MEASURES.items()}
_MODERATORS = {"disorder": "disorder", "MI sessions": "dose", "era": "era", "dropout": "dropout_as_moderator"}
#: Analyses that a section of a report shows and that no table of it labels.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "forest": ("pooled",),
    "verdicts": ("audit",),
    "what-if": ("subsets",),
    "sensitivity": ("leave_one_out", "cumulative"),
    "choices": ("multiverse",),
}


def first_question(
    protocol: Protocol,
    answers: Answers,
    tables: Mapping[str, pd.DataFrame],
    panel: object,
    choices: ChoicesFound | CannotFit | None,
    small: SmallStudyEffects | None,
) -> Compliance:
    """Label what the report on the first question holds."""
    from metamiq.protocol.first_question import first_question_compliance

    none = "one trial, or a year that is not known"
    done = [(name, none if tables[name].empty else "") for name in ("leave_one_out", "cumulative")]
    done += [("audit", "")]
    done += [(name, _reason(x)) for name, x in (("subsets", panel), ("multiverse", choices)) if x is not None]
    return first_question_compliance(protocol, answers, [*done, *_small_done(protocol, small)])


def study_report(
    protocol: Protocol,
    fit: PooledEffect,
    vtype: str | None,
    tables: Mapping[str, pd.DataFrame],
    panel: object,
    small: SmallStudyEffects | None,
    beside: Iterable[tuple[str, str, str]] = (),
) -> Compliance:
    """Label what the report on a study table holds."""
    from metamiq.protocol.study import study_compliance

    one = "it needs more studies than one"
    why = {"leave_one_out": one, "cumulative": one if fit.k == 1 else "years of publication are not known"}
    done = [(name, "" if name in tables else reason) for name, reason in why.items()]
    done += [("subsets", _reason(panel)), *_small_done(protocol, small)]
    return study_compliance(protocol, fit, vtype=vtype, beside=beside, done=done)


def label_tables(tables: Mapping[str, pd.DataFrame], planned: Compliance | None) -> dict[str, pd.DataFrame]:
    """Tables of refits that have the name of their analysis, each with a column `planned`."""
    if planned is None:
        return dict(tables)
    return {
        name: with_labels(table, [name] * len(table), planned) if planned.label(name) else table
        for name, table in tables.items()
    }


def small_study_done(small: SmallStudyEffects) -> list[tuple[str, str]]:
    """Methods for small-study effects by the names of a protocol, each with why it could not be used."""
    pairs = zip(small.table["method"], small.table["refused"], strict=True)
    return [(_METHODS[str(method)], str(refused)) for method, refused in pairs]


def _small_done(protocol: Protocol, small: SmallStudyEffects | None) -> list[tuple[str, str]]:
    if small is not None:
        return small_study_done(small)
    few = f"there are fewer than {LEAST_POINTS} effect sizes"
    return [(name, few) for name in protocol.analyses.sensitivity if name in SMALL_STUDY]


def label_first_question(tables: Mapping[str, pd.DataFrame], planned: Compliance) -> dict[str, pd.DataFrame]:
    """The tables with a column `planned` where one row is an analysis."""
    names = dict(zip(planned.table["analysis"], planned.table["key"], strict=True))

    def dropout(row: Mapping[str, object]) -> str:
        model = _DROPOUT_ROWS.get(str(row["row"]))
        return f"dropout {_DROPOUT_WORDS[str(row['measure'])]} {model}" if model else ""  # a trial is no analysis

    keys = {
        "estimates": [names.get(str(x), "") for x in tables["estimates"]["analysis"]],
        "moderators": [_MODERATORS.get(str(x), "") for x in tables["moderators"]["moderator"]],
        "groups": ["groups"] * len(tables["groups"]),
        "dropout": [dropout(row) for row in tables["dropout"].to_dict(orient="records")],  # type: ignore[arg-type]
        "verdicts": ["audit"] * len(tables["verdicts"]),
        **{name: [name] * len(tables[name]) for name in ("leave_one_out", "cumulative")},
    }
    return {name: with_labels(table, keys[name], planned) if name in keys else table for name, table in tables.items()}


def with_labels(table: pd.DataFrame, keys: Sequence[str], planned: Compliance) -> pd.DataFrame:
    """A table with a column `planned`; empty in rows that are no analysis."""
    return table.assign(planned=[planned.label(key) for key in keys])


@overload
def label_small_study(small: SmallStudyEffects, planned: Compliance | None) -> SmallStudyEffects: ...
@overload
def label_small_study(small: None, planned: Compliance | None) -> None: ...
def label_small_study(small: SmallStudyEffects | None, planned: Compliance | None) -> SmallStudyEffects | None:
    """The methods for small-study effects, each with its label."""
    from dataclasses import replace

    if planned is None or small is None:
        return small
    return replace(small, table=with_labels(small.table, [_METHODS[str(m)] for m in small.table["method"]], planned))


def mark(sections: Iterable[Section], planned: Compliance | None) -> list[Section]:
    """Sections with the labels of what they show; the sentence on the protocol stands with the methods.

    With a protocol a section before the methods lists every analysis with its label, and what was planned and is not
    there. Without one a sentence says so.
    """
    from metamiq.protocol.record import NO_PROTOCOL

    out = []
    for section in sections:
        blocks = section.blocks
        if planned is None:
            blocks = (*blocks, Text(NO_PROTOCOL)) if section.key == "methods" else blocks
        else:
            if section.key == "methods":
                out.append(Section("protocol", "Planned and not planned", _protocol(planned)))
            shown = [key for key in SECTIONS.get(section.key, ()) if planned.carried_out(key)]
            blocks = (*(Text(f"{planned.name(key)}: {planned.label(key)}.") for key in shown), *blocks)
        out.append(Section(section.key, section.heading, blocks))
    return out


def with_sentence(answer: Sequence[str], planned: Compliance | None) -> list[str]:
    """The answer with the label of the pooled mean; its last sentence stays what it rests on."""
    return list(answer) if planned is None else [*answer[:-1], planned.sentence("pooled"), answer[-1]]


def _protocol(planned: Compliance) -> tuple[Block, ...]:
    out: list[Block] = [
        Text(planned.protocol.note),
        grid(
            "planned",
            planned.table,
            "Every analysis of this report, and whether it was planned.",
            ["analysis", "planned", "why"],
        ),
    ]
    if planned.not_done.empty:
        out.append(Text("All that was planned was carried out."))
    else:
        out.append(grid("not_carried_out", planned.not_done, "Planned and not carried out.", ["analysis", "why"]))
    if changes := planned.protocol.amendments:
        known = {True: "yes", False: "no", None: "not stated"}
        frame = pd.DataFrame(
            [(f"{a.date}", a.what, a.why, known[a.results_known]) for a in changes],
            columns=["date", "what", "why", "results_known"],
        )
        out.append(grid("amendments", frame, "Amendments of the protocol."))
    return tuple(out)


def _reason(found: object) -> str:
    return found.reason if isinstance(found, CannotFit) else ""
