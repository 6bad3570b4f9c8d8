"""Every folder in data/: the dictionary matches the tables, keys resolve, packages rebuild, tables are tidy."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from metamiq.datasets import available_datasets, read_dataset
from metamiq.datasets.datapackage import datapackage, to_json

DATA = Path(__file__).parent.parent / "data"
EVIDENCE = DATA.parent.parent / "shared" / "evidence"
FOLDERS = sorted(entry for entry in DATA.iterdir() if entry.is_dir())
TABLES = sorted(DATA.glob("*/*.csv"))


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def resources_of(folder):
    return json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))["resources"]


def natural(value):
    """Order in which people sort keys: ``a2`` before ``a10``."""
    return [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", value) if part
    ]


def test_there_is_data():
    assert DATA / "mi_cbt_anxiety" in FOLDERS
    assert available_datasets() == [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_reads_without_a_note(folder):
    ds = read_dataset(folder)
    assert ds.notes == ()
    assert len(ds.trials) > 0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_says_what_it_is(folder):
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search("licen[cs]e", readme, re.IGNORECASE)
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    assert package["title"]
    assert package["licenses"]
    assert package["sources"]
    assert {resource["path"] for resource in package["resources"]} == {file.name for file in folder.glob("*.csv")}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_dictionary_is_what_the_models_write(folder):
    assert (folder / "datapackage.json").read_bytes().decode() == to_json(datapackage(folder))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_dictionary_matches_the_headers(folder):
    for resource in resources_of(folder):
        fields = resource["schema"]["fields"]
        assert [field["name"] for field in fields] == list(rows_of(folder / resource["path"])[0])
        assert all(field["description"] and field["type"] for field in fields)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_keys_are_unique_sorted_and_resolve(folder):
    tables = {resource["name"]: rows_of(folder / resource["path"]) for resource in resources_of(folder)}
    for resource in resources_of(folder):
        rows, schema = tables[resource["name"]], resource["schema"]
        if key := schema.get("primaryKey"):
            keys = [tuple(row[column] for column in key) for row in rows]
            assert len(set(keys)) == len(keys)
            # By trial, as code points or as people count.
            assert keys in (sorted(keys), sorted(keys, key=lambda values: [natural(value) for value in values]))
        for reference in schema.get("foreignKeys", []):
            (here,), (there,) = reference["fields"], reference["reference"]["fields"]
            other = tables[reference["reference"].get("resource", resource["name"])]
            assert {row[here] for row in rows} - {""} <= {row[there] for row in other}


@pytest.mark.parametrize("file", TABLES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_table_is_plain_utf8_with_commas_and_lf(file):
    raw = file.read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    rows = rows_of(file)
    assert all(cell == cell.strip() for row in rows for cell in row.values())


# Numbers that the gathered evidence gives in the words of a note.
IN_NOTES = ("n_arms", "n_randomised_all", "printed_d")


def test_numbers_taken_from_notes_are_in_them():
    sizes = ("n_arms", "n_randomised_all")
    rows = [row for row in rows_of(DATA / "mi_cbt_anxiety" / "trials.csv") if any(row[c] for c in sizes)]
    assert [row["trial_id"] for row in rows] == ["coffey2016"]
    assert (rows[0]["n_arms"], rows[0]["n_randomised_all"]) == ("3", "126")
    assert "Three arms, N = 126 in all" in rows[0]["note"]
    printed = {r["result_id"]: r for r in rows_of(DATA / "mi_cbt_anxiety" / "results.csv") if r["printed_d"]}
    assert {key: row["printed_d"] for key, row in printed.items()} == {
        "merlo2010-change-mid": "1.02",
        "merlo2010-score-mid": "1.34",
    }
    assert all(f"d = {row['printed_d']}" in row["note"] for row in printed.values())


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason="the evidence as gathered is not beside this checkout")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("trials", "trials"), ("results", "results"), ("dropout", "dropout"), ("claims", "published_claims")],
)
def test_no_gathered_fact_is_lost_or_added(ours, theirs):
    mine, gathered = rows_of(DATA / "mi_cbt_anxiety" / f"{ours}.csv"), rows_of(EVIDENCE / f"{theirs}.csv")
    mine = [{column: cell for column, cell in row.items() if column not in IN_NOTES} for row in mine]
    assert list(mine[0]) == list(gathered[0])
    assert sorted(map(repr, mine)) == sorted(map(repr, gathered))
