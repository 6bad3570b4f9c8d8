"""The data dictionary of a dataset folder (``datapackage.json``), written from the row models.

Frictionless Data Package, version 2.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from metamiq.datasets.cells import CsvTable
from metamiq.datasets.columns import Column, columns_of
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import Fault, FaultyDataError
from metamiq.datasets.models import Row
from metamiq.datasets.reading import TABLES, holds_evidence, row_models

_PROFILES = "https://datapackage.org/profiles/2.0"
_TITLES = {
    "trials": "Trials",
    "results": "Reported results",
    "dropout": "Dropout by arm",
    "claims": "Published claims",
    "published": "Published results to recompute",
}
#: Foreign keys of the evidence tables: column -> table of reference (None: the table itself).
_REFERENCES: dict[str, dict[str, str | None]] = {
    "trials": {"overlaps_with": None},
    "results": {"trial_id": "trials"},
    "dropout": {"trial_id": "trials"},
}


def datapackage(folder: str | PathLike[str]) -> dict[str, Any]:
    """Describe every column of every table of a dataset folder.

    Known columns are described by their row model. Columns that only this dataset has keep the description, type and
    unit that the folder's ``datapackage.json`` gives them, and so do title, licences, sources and whatever else it says
    about the whole.

    Parameters
    ----------
    folder : str or path-like
        The dataset folder.

    Returns
    -------
    dict
        The content of ``datapackage.json``.

    Raises
    ------
    DataError
        If a table cannot be read, or a column that no model knows has no description.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> package = datapackage(load_dataset("mi_cbt_anxiety").path)
    >>> [resource["name"] for resource in package["resources"]]
    ['trials', 'results', 'dropout', 'claims']
    >>> package["resources"][1]["schema"]["foreignKeys"]
    [{'fields': ['trial_id'], 'reference': {'resource': 'trials', 'fields': ['trial_id']}}]
    """
    path = Path(folder)
    before = _existing(path)
    tables = {table: read_csv_table(path / f"{table}.csv") for table in TABLES if (path / f"{table}.csv").exists()}
    evidence = holds_evidence(tables, map(str, tables["trials"].frame if "trials" in tables else ()))
    models = row_models(evidence)
    described = {
        str(Path(resource["path"]).stem if isinstance(resource.get("path"), str) else resource.get("name")): resource
        for resource in before.get("resources", [])
    }
    faults: list[Fault] = []
    resources = [
        _resource(table, cells, models[table], described.get(table, {}), evidence, path, faults)
        for table, cells in tables.items()
    ]
    if faults:
        raise FaultyDataError(faults)
    kept = {key: value for key, value in before.items() if key not in ("$schema", "name", "resources")}
    name = path.resolve().name
    return {"$schema": f"{_PROFILES}/datapackage.json", "name": name, **kept, "resources": resources}


def write_datapackage(folder: str | PathLike[str]) -> Path:
    """Write ``datapackage.json`` into a dataset folder, as `datapackage` gives it.

    Parameters
    ----------
    folder : str or path-like
        The dataset folder.

    Returns
    -------
    Path
        The file. Writing it again changes nothing.

    Raises
    ------
    DataError
        As `datapackage`; then nothing is written.
    """
    text = to_json(datapackage(folder))
    file = Path(folder) / "datapackage.json"
    file.write_text(text, encoding="utf-8", newline="\n")
    return file


def to_json(package: dict[str, Any]) -> str:
    """Text of ``datapackage.json``."""
    return json.dumps(package, indent=2, ensure_ascii=False) + "\n"


def _existing(path: Path) -> dict[str, Any]:
    file = path / "datapackage.json"
    if not file.exists():
        return {}
    rule = "datapackage.json must hold one JSON object"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise FaultyDataError([Fault(rule, f"it cannot be read: {error}", str(file))]) from None
    if not isinstance(content, dict):
        raise FaultyDataError([Fault(rule, f"it holds a {type(content).__name__}", str(file))])
    if problem := _misshapen(content):
        advice = "Correct it, or delete the file: what metamiq knows of the columns is written again."
        raise FaultyDataError([Fault("datapackage.json must be a data package", problem, str(file), advice=advice)])
    return content


def _misshapen(package: dict[str, Any]) -> str:
    """What is not of the shape that a data package has, in words; empty when all is."""
    if not isinstance(package.get("title", ""), str):
        return "title is no text"
    for name in ("resources", "licenses"):
        items = package.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return f"{name} is no list of objects"
    for resource in package.get("resources", []):
        schema = resource.get("schema", {})
        fields = schema.get("fields", []) if isinstance(schema, dict) else None
        if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
            return f"the schema of resource {resource.get('name')!r} has no list of fields"
        if not all(isinstance(field.get("name", ""), str) for field in fields):
            return f"a field of resource {resource.get('name')!r} has a name that is no text"
        key = schema.get("primaryKey", [])
        if not isinstance(key, str) and not (isinstance(key, list) and all(isinstance(name, str) for name in key)):
            return f"the primaryKey of resource {resource.get('name')!r} names no columns"
    return ""


def _resource(
    table: str,
    cells: CsvTable,
    model: type[Row],
    before: dict[str, Any],
    evidence: bool,
    path: Path,
    faults: list[Fault],
) -> dict[str, Any]:
    known = columns_of(model)
    schema_before = before.get("schema", {})
    fields_before = {field["name"]: field for field in schema_before.get("fields", []) if "name" in field}
    header = [str(name) for name in cells.frame]
    key = list(model.KEY) or _listed(schema_before.get("primaryKey", [])) or _natural_key(cells)
    fields = []
    for name in header:
        field = dict(fields_before.get(name, {}))
        if name in known:
            field = {**field, **_field(known[name], unique=key == [name])}
        elif not field.get("description"):
            rule = f"a column that metamiq does not know must be described in {path / 'datapackage.json'}"
            came = f"{name!r} is not"
            advice = f"Add it to the fields of resource {table!r}: name, type, description."
            faults.append(Fault(rule, came, str(path / f"{table}.csv"), 1, column=name, advice=advice))
        fields.append(_ordered({"name": name, "type": "string", **field}))
    schema: dict[str, Any] = {"$schema": f"{_PROFILES}/tableschema.json", "fields": fields, "missingValues": [""]}
    if key:
        schema["primaryKey"] = key
    references = [
        {"fields": [column], "reference": ({"resource": other} if other else {}) | {"fields": ["trial_id"]}}
        for column, other in (_REFERENCES.get(table, {}) if evidence else {}).items()
        if column in header
    ]
    if references:
        schema["foreignKeys"] = references
    about: dict[str, Any] = {key: before[key] for key in ("title", "description") if key in before}
    return {
        "$schema": f"{_PROFILES}/dataresource.json",
        "name": table,
        "type": "table",
        "path": f"{table}.csv",
        "title": _TITLES[table],
        **about,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": schema,
    }


def _field(column: Column, unique: bool) -> dict[str, Any]:
    constraints: dict[str, Any] = {}
    if column.required:
        constraints["required"] = True
    if unique:
        constraints["unique"] = True
    constraints |= column.limits
    field: dict[str, Any] = {"name": column.name, "type": column.type, "description": column.description}
    if column.unit:
        field["unit"] = column.unit
    if constraints:
        field["constraints"] = constraints
    return field


def _ordered(field: dict[str, Any]) -> dict[str, Any]:
    """The same field with its properties in one order, so that rebuilding changes nothing."""
    first = [key for key in ("name", "type", "description", "unit", "constraints") if key in field]
    return {key: field[key] for key in (*first, *sorted(set(field) - set(first)))}


def _natural_key(cells: CsvTable) -> list[str]:
    """The key of a table whose model names none: trial_id or study, if it tells all rows apart."""
    for column in ("trial_id", "study"):
        if column in cells.frame and cells.frame[column].is_unique and (cells.frame[column] != "").all():
            return [column]
    return []


def _listed(key: str | list[str]) -> list[str]:
    return [key] if isinstance(key, str) else list(key)
