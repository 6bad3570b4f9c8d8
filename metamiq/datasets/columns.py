"""What a row model says about each of its columns, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from metamiq.datasets.models import Row

_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_LIMITS = (*_RANGE, "pattern", "enum")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
        As in the header.
    type : str
        ``"string"``, ``"integer"`` or ``"number"``.
    description : str
        Meaning.
    required : bool
        Whether the column must be there and filled in every row.
    unit : str or None
        Unit of a number.
    limits : dict
        Range, pattern and allowed values, named as in JSON Schema and Table Schema alike.
    infinite : bool
        Whether an infinite end may be written (``inf``, ``-inf``).
    only_range : bool
        Whether a filled cell of the right type has to keep to a range, or to nothing, and to no other rule.
    """

    name: str
    type: str
    description: str
    required: bool
    unit: str | None
    limits: dict[str, Any]
    infinite: bool
    only_range: bool

    @property
    def is_number(self) -> bool:
        """Whether cells hold numbers."""
        return self.type != "string"


@cache
def columns_of(model: type[Row]) -> dict[str, Column]:
    """The columns of a row model, by name, in order.

    Parameters
    ----------
    model : type of Row
        A row model.

    Returns
    -------
    dict of str to Column
        Read from the model's JSON Schema.

    Examples
    --------
    >>> from metamiq.datasets.models import TrialRow
    >>> column = columns_of(TrialRow)["mi_minutes"]
    >>> column.type, column.unit, column.limits
    ('number', 'minutes', {'minimum': 0})
    """
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    return {name: _column(name, field, name in required) for name, field in schema["properties"].items()}


def _column(name: str, field: dict[str, Any], required: bool) -> Column:
    choices = [choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
    value = choices[0]
    limits = {limit: value[limit] for limit in _LIMITS if limit in value}
    return Column(
        name=name,
        type=value["type"],
        description=field["description"],
        required=required,
        unit=field.get("unit"),
        limits=limits,
        infinite=bool(field.get("infinite", False)),
        only_range=value.keys() - {"default", "description", "title", "unit", "infinite"} <= {"type", *_RANGE},
    )
