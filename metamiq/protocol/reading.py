"""A TOML file -> a protocol, or one error that says everything that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from metamiq.datasets.faults import Fault, FaultyDataError, quoted
from metamiq.datasets.toml_file import LARGEST_FILE, parse_toml
from metamiq.protocol.models import Part, ProtocolFile
from metamiq.protocol.record import Protocol, Stage
from metamiq.protocol.toml_value import toml_value
from metamiq.protocol.vocabulary import NAME

_START = "`metamiq protocol` prints a template."

P = TypeVar("P", bound=Part)


def read_protocol(path: str | PathLike[str]) -> Protocol:
    r"""Read a protocol: what was planned before the evidence was pooled.

    Parameters
    ----------
    path : str or path-like
        A TOML file; ``metamiq protocol`` prints a template with the meaning of each field.

    Returns
    -------
    Protocol
        `plan`, `analyses`, `amendments`, and `planned` to ask whether an analysis was planned.

    Raises
    ------
    DataError
        If the file cannot be read or breaks a rule. All faults are in one message, each with its field, what must
        hold and what came.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "made_up.toml")
    >>> _ = file.write_text('title = "a"\n[plan]\nmeasure = "SMD"\nmethod = "REML"\n')
    >>> protocol = read_protocol(file)
    >>> protocol.plan.method, protocol.plan.test
    ('REML', None)
    >>> folder.cleanup()
    """
    name = str(path)
    content = _load(Path(path), name)
    faults: list[Fault] = []
    whole = _validated(ProtocolFile, content, "", name, faults)
    changes = whole.amendment if whole else ()
    stages = [Stage(None, whole.plan, whole.analyses)] if whole else []
    for number, change in enumerate(changes, start=1):
        before = stages[-1]
        place = f"amendment {number}, "
        if before.date is not None and change.date < before.date:
            came = f"amendment {number} of {change.date} follows one of {before.date}"
            faults.append(Fault("amendments must stand in order of date", came, name, advice="Move it up."))
        plan = _amended(before.plan, change.plan, f"{place}plan.", name, faults)
        analyses = _amended(before.analyses, change.analyses, f"{place}analyses.", name, faults)
        stages.append(Stage(change.date, plan, analyses))
    if faults:
        raise FaultyDataError(faults)
    assert whole is not None
    return Protocol(name, whole, tuple(stages))


def protocol_beside(folder: Path) -> Protocol | None:
    """The protocol that lies beside the data; None where there is none. A symbolic link is not taken."""
    file = folder / NAME
    return read_protocol(file) if file.exists() and not file.is_symlink() else None


def _load(file: Path, name: str) -> dict[str, Any]:
    rule, advice = "a protocol must be a TOML file in UTF-8", _START
    came = None
    try:
        if file.is_dir():
            came = "this is a folder"
        elif not file.exists():
            rule, came = "the protocol file must exist", "it was not found"
        elif not file.is_file():
            came = "this is no ordinary file"
        elif (size := file.stat().st_size) > LARGEST_FILE:
            rule, came = f"a protocol must have at most {LARGEST_FILE:,} bytes", f"it has {size:,}"
        else:
            return parse_toml(file.read_bytes())
    except UnicodeDecodeError as error:
        came, advice = f"byte {error.start} does not fit", "Save it as UTF-8."
    except OSError as error:
        rule, came = "the protocol file must be readable", f"the system says {str(error)!r}"
    except ValueError as error:
        came, advice = f"it cannot be read: {error}", "Texts stand in quotes, lists in [ ]; " + _START
    raise FaultyDataError([Fault(rule, str(came), name, advice=advice)])


def _amended(before: P, given: Mapping[str, Any], place: str, name: str, faults: list[Fault]) -> P:
    merged = {field: getattr(before, field) for field in type(before).model_fields} | dict(given)
    return _validated(type(before), merged, place, name, faults) or before


def _validated(model: type[P], content: Mapping[str, Any], place: str, name: str, faults: list[Fault]) -> P | None:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults += [_fault(model, item, place, name) for item in error.errors(include_url=False)]
        return None


def _fault(model: type[Part], item: Any, place: str, name: str) -> Fault:
    """One fault that pydantic found, in our words."""
    where = (place + _place(item["loc"])).rstrip(".")
    field = _field(model, item["loc"])
    example = _example(field)
    advice = " ".join(
        ([str(field.description)] if field is not None else []) + ([f"Example: {example}."] * bool(example))
    )
    context, came = item.get("ctx", {}), f"it is {quoted(item['input'])}"
    match item["type"]:
        case "missing":
            rule, came = f"{where} must be there", "it is not"
        case "extra_forbidden":
            known = sorted(_model_at(model, item["loc"][:-1]).model_fields)
            rule, came = "a field must be one of the template's", f"there is {where!r}"
            advice = _nearest(str(item["loc"][-1]), known) or f"Known here: {', '.join(known)}."
        case "one_of":
            allowed, wrong = [str(x) for x in context["allowed"]], context["wrong"]
            rule = f"{where} must be one of {', '.join(map(repr, allowed))}"
            came = f"it has {', '.join(map(quoted, wrong))}"
            near = [sentence for x in wrong if (sentence := _nearest(x, allowed))]
            advice = " ".join(near) or "Choose one of them."
        case "plain":
            rule, came = f"{where} must be plain text", f"it holds the control character {context['sign']}"
        case "filled":
            required = field is not None and field.is_required()
            rule, came = f"{where} must be filled{'' if required else ' or left out'}", "it is empty"
        case "once":
            rule, came = f"{where} must name each thing once", f"{quoted(context['text'])} comes twice"
        case "one_variance":
            rule = f"{where} must leave out vtype, for {context['measure']} has one variance formula"
            came, advice = "it is there", ""
        case "dropout":
            rule = f"{where} must say which measures"
            came = "it has dropout_models without dropout_measures"
        case "string_type":
            rule = f"{where} must be text, in quotes"
        case "bool_type":
            rule = f"{where} must be true or false"
        case "tuple_type" if where == "amendment":
            rule = "amendments must be written as [[amendment]]"
        case "tuple_type":
            rule = f"{where} must be a list of texts"
        case "date_type" | "date_parsing":
            rule = f"{where} must be a date such as 2026-01-31"
        case "float_type" | "finite_number" | "greater_than" | "less_than":
            rule = f"{where} must be a number between 0 and 1"
        case "dict_type" | "model_type":
            rule = f"{where} must be a table"
        case _:
            rule = f"{where} must hold ({item['msg']})"
    return Fault(rule, came, name, column=where, advice=advice)


def _nearest(text: str, known: Sequence[str]) -> str:
    """Which of the known names was probably meant, as a sentence; empty when none is near."""
    folded = {x.casefold(): x for x in known}
    close = difflib.get_close_matches(text.casefold(), folded, n=1)
    return f"Did you mean {folded[close[0]]!r}?" if close else ""


def _place(loc: tuple[Any, ...]) -> str:
    """Where in the file: names joined by dots, places in lists counted from 1."""
    out = ""
    for part in loc:
        if isinstance(part, int):
            out += f" {part + 1}"
        else:
            out += f"{', ' if out[-1:].isdigit() else '.' if out else ''}{part}"
    return out


def _steps(model: type[Part], loc: tuple[Any, ...]) -> Iterator[tuple[type[Part], Any]]:
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        yield model, field
        inner = None if field is None else _part_in(field.annotation)
        if inner is None:
            return
        model = inner


def _part_in(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    parts = [x for x in getattr(annotation, "__args__", ()) if isinstance(x, type) and issubclass(x, Part)]
    return parts[0] if parts else None


def _model_at(model: type[Part], loc: tuple[Any, ...]) -> type[Part]:
    for before, field in _steps(model, loc):
        model = _part_in(field.annotation) or before
    return model


def _field(model: type[Part], loc: tuple[Any, ...]) -> Any:
    found = None
    for _, field in _steps(model, loc):
        found = field
    return found


def _example(field: Any) -> str:
    extra = getattr(field, "json_schema_extra", None)
    return toml_value(extra["example"]) if isinstance(extra, dict) and "example" in extra else ""
