"""The defensible choices of an analysis, declared in one readable place and checked before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from metamiq.datasets.toml_file import read_toml
from metamiq.errors import DataError

#: What an option may set, and the type of its value.
SETTINGS: dict[str, type | tuple[type, ...]] = {
    "method": str,  # estimator of tau2, or "FE"
    "test": str,
    "verdicts": str,  # what is done with bounds: see VERDICTS
    "vtype": str,
    "measure": str,  # study tables only
    "raters": list,  # preferred first; these five choose among a trial's results
    "timepoints": list,
    "domains": list,
    "not_certainty": list,
    "results": dict,  # trial -> result
    "turn": list,  # trials whose effect changes sign
    "assume": bool,  # False: without trials whose arm sizes are assumed
    "without": list,  # trials
    "only": dict,  # column -> value, or list of values, that a trial must have
    "without_where": dict,  # column -> value, or list of values, that it must not have
}
#: Treatments of rows that are bounds.
VERDICTS = ("bounds", "drop", "zeros", "zeros and thresholds")
#: Settings that several choices may give, and that are then taken together.
_JOINED = ("results", "turn", "without", "only", "without_where")


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to a choice: what it sets, and why somebody would."""

    name: str
    settings: Mapping[str, Any]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with several defensible answers; the first is the one of the primary analysis."""

    name: str
    options: tuple[Option, ...]
    question: str = ""


def read_choices(file: str | PathLike[str]) -> tuple[Choice, ...]:
    """Read choices from a TOML file.

    Each ``[[choice]]`` has a `name`, a `question` and two or more ``[[choice.option]]``; an option has a `name`, a
    reason `why`, and what it sets (keys of `SETTINGS`). The first option of each choice is the primary analysis.

    Parameters
    ----------
    file : str or path-like
        Such as ``data/mi_cbt_anxiety/choices.toml``.

    Returns
    -------
    tuple of Choice
        In file order.

    Raises
    ------
    DataError
        If the file cannot be read or breaks a rule; all faults are named.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> choices = read_choices(load_dataset("mi_cbt_anxiety").path / "choices.toml")
    >>> choices[0].name, choices[0].options[0].name
    ('verdicts', 'as bounds')
    """
    path = Path(file)
    if not path.exists():
        raise DataError(
            f"A multiverse needs its choices, but {path} was not found. Write them there, or give them as `choices`."
        )
    content = read_toml(path, "The file of choices")
    entries = content.get("choice", [])
    if not _are_tables(entries) or not all(_are_tables(entry.get("option", [])) for entry in entries):
        raise DataError(f"{path}: choices must be tables [[choice]], and their options [[choice.option]].")
    out = []
    for i, entry in enumerate(entries, start=1):
        options = [
            Option(str(o.get("name", "")), {k: v for k, v in o.items() if k not in ("name", "why")}, o.get("why", ""))
            for o in entry.get("option", [])
        ]
        out.append(Choice(str(entry.get("name", f"choice {i}")), tuple(options), entry.get("question", "")))
    check_choices(out, str(path))
    return tuple(out)


def choices_of(given: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[Choice, ...]:
    """Choices from a mapping: choice -> option -> settings.

    Examples
    --------
    >>> choices = choices_of({"estimator": {"REML": {"method": "REML"}, "DL": {"method": "DL"}}})
    >>> [option.name for option in choices[0].options]
    ['REML', 'DL']
    """
    out = [
        Choice(str(name), tuple(Option(str(label), dict(settings)) for label, settings in options.items()))
        for name, options in given.items()
    ]
    check_choices(out, "choices")
    return tuple(out)


def check_choices(choices: list[Choice], where: str) -> None:
    """Raise DataError with everything that is wrong."""
    faults = [] if choices else ["there must be at least one choice, but there is none"]
    names = [choice.name for choice in choices]
    faults += [
        f"choices must have names of their own, but {n!r} comes twice" for n in sorted(set(names)) if _twice(n, names)
    ]
    owner: dict[str, str] = {}
    for choice in choices:
        labels = [option.name for option in choice.options]
        if len(labels) < 2:
            faults.append(f"choice {choice.name!r} must have at least two options, but it has {len(labels)}")
        faults += [
            f"the options of {choice.name!r} must have names of their own, but {n!r} comes twice"
            for n in sorted(set(labels))
            if _twice(n, labels)
        ]
        for option in choice.options:
            faults += [f"{choice.name!r}, {option.name!r}: {fault}" for fault in _faults(option)]
        for key in sorted({key for option in choice.options for key in option.settings}):
            if key in owner and key not in _JOINED:
                faults.append(f"{key} must be set by one choice, but {owner[key]!r} and {choice.name!r} both set it")
            owner[key] = choice.name
    if faults:
        raise DataError(f"{where}: {'; '.join(faults)}. Correct the choices.")


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(x, dict) for x in value)


def _twice(name: str, names: list[str]) -> bool:
    return names.count(name) > 1


def _faults(option: Option) -> list[str]:
    faults = [] if option.name else ["an option must have a name"]
    for key, value in option.settings.items():
        if key not in SETTINGS:
            faults.append(f"an option may set {', '.join(sorted(SETTINGS))}, not {key!r}")
        elif not isinstance(value, SETTINGS[key]):
            faults.append(f"{key} must be of type {SETTINGS[key].__name__}, not {value!r}")  # type: ignore[union-attr]
        elif key == "verdicts" and value not in VERDICTS:
            faults.append(f"verdicts must be one of {', '.join(map(repr, VERDICTS))}, not {value!r}")
    return faults


def joined(options: list[Option], keys: tuple[str, ...]) -> dict[str, Any]:
    """Settings of several options together, those named in `keys` only."""
    out: dict[str, Any] = {}
    for option in options:
        for key, value in option.settings.items():
            if key not in keys:
                continue
            if isinstance(value, list) and key in _JOINED:
                out[key] = [*out.get(key, []), *value]
            elif isinstance(value, dict) and key in ("only", "without_where"):
                out.setdefault(key, []).append(value)
            elif isinstance(value, dict):
                clash = sorted(name for name in value if out.get(key, {}).get(name, value[name]) != value[name])
                if clash:
                    raise DataError(
                        f"Options that are combined must agree, but two of them set {key} of {', '.join(clash)} "
                        "differently. Put both into one choice."
                    )
                out[key] = out.get(key, {}) | value
            else:
                out[key] = value
    return out
