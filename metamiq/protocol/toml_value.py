"""Values as TOML: the standard library reads it and does not write it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any


def toml_value(value: Any) -> str:
    r"""A value as TOML.

    Examples
    --------
    >>> print(toml_value(("a", "b")), toml_value({"year": "2010"}), toml_value(True))
    ["a", "b"] { year = "2010" } true
    """
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    # JSON's escapes are TOML's, except that TOML wants no raw DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)
