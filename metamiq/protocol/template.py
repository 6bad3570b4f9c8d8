"""A protocol file with the meaning of each field, written from the models."""

from __future__ import annotations

import textwrap
from typing import Any

from metamiq.protocol.models import Amendment, FurtherAnalyses, Part, Plan, ProtocolFile, Registration
from metamiq.protocol.record import Protocol
from metamiq.protocol.toml_value import toml_value
from metamiq.protocol.vocabulary import DROPOUT_MODELS, SENSITIVITY
from metamiq.question import DROPOUT_MEASURES

_HEAD = """A protocol: what is planned before the evidence is pooled. Beside the data, as protocol.toml, it is found by
itself; elsewhere, name it with --protocol. Fill in what is empty and take away the # before what is planned; what is
left out is left open. `metamiq protocol FILE` checks it."""
_NAMED = {"sensitivity": SENSITIVITY, "dropout_measures": DROPOUT_MEASURES, "dropout_models": DROPOUT_MODELS}
_TABLES = ("plan", "analyses")
_WIDTH = 110


def template_text(filled: Protocol | None = None) -> str:
    """A protocol file with comments: an empty one, or one that has been read.

    Parameters
    ----------
    filled : Protocol, optional
        Protocol to write again. Without it, fields that must be filled are empty and the others are examples behind #.

    Returns
    -------
    str
        The content of the file.

    Examples
    --------
    >>> text = template_text()
    >>> [line for line in text.splitlines() if line.startswith(("title", "[", "method"))]
    ['title = ""', '[registration]', '[plan]', 'method = ""', '[analyses]']
    """
    content = None if filled is None else filled.content
    out = _comment(_HEAD)
    out += ["", *_fields(ProtocolFile, content)]
    tables: tuple[tuple[str, type[Part]], ...] = (
        ("registration", Registration),
        ("plan", Plan),
        ("analyses", FurtherAnalyses),
    )
    for name, model in tables:
        given = None if content is None else getattr(content, name)
        title = ProtocolFile.model_fields[name].description or ""
        out += ["", *_comment(title), f"[{name}]", *_fields(model, given)]
    out += ["", *_comment(f"{Amendment.__doc__}")]
    for amendment in (None,) if content is None else content.amendment:
        out += _amendment(amendment)
    return "\n".join(out) + "\n"


def _fields(model: type[Part], given: Part | None) -> list[str]:
    out: list[str] = []
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or "example" not in extra or (model is Amendment and name in _TABLES):
            continue  # a table of its own
        allowed = extra.get("allowed", [])
        out += _comment(f"{name}: {field.description}{' Must be filled.' if field.is_required() else ''}")
        if name in _NAMED:
            out += [line for key, meaning in _NAMED[name].items() for line in _comment(f"  {key}: {meaning}")]
        elif isinstance(allowed, list) and allowed:
            out += _comment(f"  one of: {', '.join(map(str, allowed))}")
        value = getattr(given, name) if given is not None else None
        if given is not None and value not in (None, (), {}):
            out.append(f"{name} = {toml_value(value)}")
        elif given is None and field.is_required():
            out.append(f'{name} = ""' if model is not Amendment else f"# {name} = {toml_value(extra['example'])}")
        else:
            out.append(f"# {name} = {toml_value(extra['example'])}")
    return out


def _amendment(given: Amendment | None) -> list[str]:
    sign = "# " if given is None else ""
    out = [f"{sign}[[amendment]]", *_fields(Amendment, given)]
    for name in _TABLES:
        extra = Amendment.model_fields[name].json_schema_extra
        values: Any = getattr(given, name) if given is not None else extra["example"] if isinstance(extra, dict) else {}
        if values:
            out.append(f"{sign}[amendment.{name}]")
            out += [f"{sign}{key} = {toml_value(value)}" for key, value in values.items()]
    return out


def _comment(text: str) -> list[str]:
    indent = "  " if text.startswith("  ") else ""
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}")
    return lines or ["#"]
