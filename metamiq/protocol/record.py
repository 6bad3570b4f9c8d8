"""A protocol that has been read, and the question whether an analysis was planned."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamiq.protocol.vocabulary import DROPOUT_MODELS, KINDS, SENSITIVITY
from metamiq.wording import count

if TYPE_CHECKING:
    from metamiq.protocol.models import Amendment, FurtherAnalyses, Plan, ProtocolFile, Registration

PLANNED, NOT_PLANNED = "planned", "not planned"
PLANS = "The protocol plans "
#: What outputs say once when there is no protocol.
NO_PROTOCOL = "No protocol file was used, so every analysis counts as not planned."
_TABLES = ("plan", "analyses")
#: Settings that have no meaning when points and bounds are pooled together.
_OF_POINTS = ("method", "test", "pi_method")


class Planned(NamedTuple):
    """Whether an analysis was planned, and why so."""

    label: str  # "planned", "not planned" or "planned, changed by amendment of DATE"
    why: str

    @property
    def is_planned(self) -> bool:
        """Whether it was planned, at first or by an amendment."""
        return self.label != NOT_PLANNED


@dataclass(frozen=True, slots=True)
class Stage:
    """What was planned from a date on; None is the start."""

    date: datetime.date | None
    plan: Plan
    analyses: FurtherAnalyses


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """A protocol file that has been read and checked.

    Attributes
    ----------
    file : str
        The file as it was named.
    content : ProtocolFile
        Every field of the file.
    stages : tuple of Stage
        The plan at first and after each amendment.

    See Also
    --------
    read_protocol
    """

    file: str
    content: ProtocolFile
    stages: tuple[Stage, ...]

    @property
    def title(self) -> str:
        """What the protocol is called."""
        return self.content.title

    @property
    def version(self) -> str:
        """Version of the protocol."""
        return self.content.version

    @property
    def registration(self) -> Registration:
        """Where it can be looked up."""
        return self.content.registration

    @property
    def plan(self) -> Plan:
        """The main analysis as it is planned now."""
        return self.stages[-1].plan

    @property
    def analyses(self) -> FurtherAnalyses:
        """The further analyses as they are planned now."""
        return self.stages[-1].analyses

    @property
    def amendments(self) -> tuple[Amendment, ...]:
        """Changes of the plan."""
        return self.content.amendment

    def describe(self) -> str:
        """Title, version and registration, for a sentence."""
        r = self.registration
        date = None if r.date is None else f"{r.date}"
        registered = ", ".join(x for x in (r.where, r.identifier, date) if x)
        return f"{self.title!r}, version {self.version}" + (
            f" (registered: {registered})" if registered else " (not registered)"
        )

    @property
    def note(self) -> str:
        """Which protocol the labels of an output come from."""
        return f"Labels planned and not planned are by the protocol {self.describe()}."

    def to_frame(self) -> pd.DataFrame:
        """The plan: ``field first now``, one row per field; what is not stated is left open."""
        first, last = self.stages[0], self.stages[-1]
        rows = [
            (name, *("left open" if x is None else in_words(x) for x in (getattr(one, name), getattr(other, name))))
            for one, other in ((first.plan, last.plan), (first.analyses, last.analyses))
            for name in type(one).model_fields
        ]
        return pd.DataFrame(rows, columns=["field", "first", "now"])

    def to_dict(self) -> dict[str, Any]:
        """Every field of the file, and what was planned from each date on, as one JSON-ready object."""
        whole: dict[str, Any] = self.content.model_dump(mode="json")
        stages = [
            {"from": s.date and s.date.isoformat(), **{n: getattr(s, n).model_dump(mode="json") for n in _TABLES}}
            for s in self.stages
        ]
        return {"file": self.file, **whole, "stages": stages}

    def planned(
        self,
        kind: str,
        what: str = "",
        *,
        table: pd.DataFrame | None = None,
        rows: ArrayLike | None = None,
        **settings: Any,
    ) -> Planned:
        r"""Say whether an analysis was planned.

        An analysis is planned when the protocol names it and states nothing that differs from what it was done with.
        What the protocol leaves open contradicts nothing, and is named in the answer.

        Parameters
        ----------
        kind : {"estimate", "subgroup", "moderator", "sensitivity", "dropout"}
            "estimate" is the main analysis.
        what : str
            Column of a subgroup analysis, column or formula of a moderator, name of a sensitivity analysis, measure of
            dropout.
        table : DataFrame, optional
            Trials that could count, to see which of them the protocol's rule takes.
        rows : array_like of bool, optional
            Which rows of `table` were analysed; all by default.
        **settings
            What it was done with: fields of [plan], and `model` for dropout. Only what is given is compared.

        Returns
        -------
        Planned
            ``label`` and ``why``.

        Raises
        ------
        ValueError
            If `kind`, a sensitivity analysis or a setting is none that a protocol can name.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from metamiq.protocol.reading import read_protocol
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name, "made_up.toml")
        >>> _ = file.write_text('title = "a"\n[plan]\nmeasure = "SMD"\nmethod = "REML"\n')
        >>> protocol = read_protocol(file)
        >>> protocol.planned("estimate", method="REML").label
        'planned'
        >>> print(protocol.planned("estimate", method="DL").why)
        The protocol plans method REML, not DL.
        >>> print(protocol.planned("moderator", "year").why)
        The protocol plans no moderator 'year'.
        >>> folder.cleanup()
        """
        self._check(kind, what, settings)
        item = item_of(kind, what, settings.pop("model", None))
        found = [contradictions(stage, item, settings, table, rows) for stage in self.stages]
        if found[-1]:
            was = [i for i, faults in enumerate(found) if not faults]
            until = f" It was planned until the amendment of {self.stages[was[-1] + 1].date}." if was else ""
            return Planned(NOT_PLANNED, f"{PLANS}{'; '.join(found[-1])}.{until}")
        since = len(found)
        while since and not found[since - 1]:
            since -= 1
        if since == 0:
            return Planned(PLANNED, self._open(settings) if kind == "estimate" else "")
        date = self.stages[since].date
        amendment = self.amendments[since - 1]
        told = [_sentence(amendment.what), _sentence(amendment.why)]
        if amendment.results_known:
            told.append("Results were known when this was decided.")
        return Planned(f"{PLANNED}, changed by amendment of {date}", " ".join(told))

    def _open(self, settings: Mapping[str, Any]) -> str:
        together = settings.get("bounds") == "bounds"
        left = [name for name in settings if getattr(self.plan, name) is None and not (together and name in _OF_POINTS)]
        return f"The protocol leaves open: {', '.join(left)}." if left else ""

    def _check(self, kind: str, what: str, settings: Mapping[str, Any]) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}.")
        if kind == "sensitivity" and what not in SENSITIVITY:
            close = difflib.get_close_matches(what, SENSITIVITY, n=1)
            meant = f"Did you mean {close[0]!r}?" if close else "`metamiq protocol` lists them."
            raise ValueError(f"what must be a sensitivity analysis that a protocol can name, not {what!r}. {meant}")
        allowed = {*type(self.plan).model_fields, *(("model",) if kind == "dropout" else ())}
        for name in sorted(set(settings) - allowed):
            raise ValueError(f"settings must be among {', '.join(sorted(allowed))}, not {name!r}.")


Item = tuple[str, str, str]  # kind, what, model of dropout


def item_of(kind: str, what: str, model: str | None = None) -> Item:
    """An analysis as the plan lists it: a formula does not depend on blanks or the order of its terms."""
    if kind == "moderator":
        what = " + ".join(sorted(term.strip() for term in what.split("+")))
    return kind, what, model or ""


def items_of(stage: Stage) -> dict[Item, str]:
    """Everything that is planned, with its name in words."""
    further = stage.analyses
    models = further.dropout_models or ("",)
    out = {item_of("estimate", ""): "main analysis"}
    out |= {item_of("subgroup", x): f"subgroups by {x}" for x in further.subgroups}
    out |= {item_of("moderator", x): f"moderator {x}" for x in further.moderators}
    out |= {item_of("sensitivity", x): x for x in further.sensitivity}
    for measure in further.dropout_measures:
        for model in models:
            how = f", {DROPOUT_MODELS[model]}" if model else ""
            out[item_of("dropout", measure, model)] = f"dropout as {measure}{how}"
    return out


def contradictions(
    stage: Stage, item: Item, settings: Mapping[str, Any], table: pd.DataFrame | None, rows: ArrayLike | None
) -> list[str]:
    """What the plan says instead, in words; nothing when the analysis is as planned."""
    listed = items_of(stage)
    kind, what, model = item
    if item not in listed and (kind, what, "") not in listed:
        words = {"sensitivity": "sensitivity analysis", "dropout": "dropout measure"}.get(kind, kind)
        return [f"no {words} {what!r}{f' by {model}' if model else ''}"]
    plan = stage.plan
    together = settings.get("bounds") == plan.bounds == "bounds"
    out = []
    for name, used in settings.items():
        planned = getattr(plan, name)
        if planned is None or (together and name in _OF_POINTS):
            continue
        used = tuple(used) if isinstance(used, list) else used
        if planned != used:
            out.append(f"{name} {in_words(planned)}, not {in_words(used)}")
    if table is not None:
        out += _other_trials(plan, table, rows)
    return out


def _other_trials(plan: Plan, table: pd.DataFrame, rows: ArrayLike | None) -> list[str]:
    lacking = sorted(set(plan.only) - set(table.columns))
    if lacking:
        return [f"only trials by {', '.join(lacking)}, which the table does not have"]
    wanted = counted(plan, table)
    used = np.ones(len(table), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    if (wanted == used).all():
        return []
    return [f"the {count(int(wanted.sum()), 'trial')} that its rule takes, not these {used.sum()}"]


def counted(plan: Plan, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows of a table of trials the plan's rule takes."""
    keep = np.ones(len(table), dtype=bool)
    for column, values in plan.only.items():
        keep &= np.asarray([in_words(x) in values for x in table[column]], dtype=bool)
    for column in ("trial_id", "study", "label"):
        if column in table:
            keep &= ~table[column].astype(str).isin(plan.without).to_numpy()
            break
    if plan.assume is False and "n_source" in table:
        keep &= (table["n_source"] != "assumed").to_numpy()
    return keep


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def in_words(value: Any) -> str:
    """A value of the plan as a reader wants to see it.

    Examples
    --------
    >>> in_words(("clinician", "self")), in_words(True), in_words({"year": ("2010", "2011")}), in_words(())
    ('clinician, self', 'yes', 'year = 2010 or 2011', 'none')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name} = {' or '.join(values)}" for name, values in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
