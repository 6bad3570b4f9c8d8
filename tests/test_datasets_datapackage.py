"""The data dictionary: written from the models, keeping what a dataset says of its own columns. Made-up tables."""

from __future__ import annotations

import json

import pytest

from metamiq.datasets import datapackage, write_datapackage
from metamiq.errors import DataError

STUDIES = "study,m1i,sd1i,n1i,m2i,sd2i,n2i,ward\na,1,2,3,4,5,6,north\n"


def folder(tmp_path, package=None, trials=STUDIES):
    (tmp_path / "trials.csv").write_text(trials)
    if package is not None:
        (tmp_path / "datapackage.json").write_text(json.dumps(package))
    return tmp_path


def described(**field):
    return {"resources": [{"path": "trials.csv", "schema": {"fields": [{"name": "ward", **field}]}}]}


def test_a_column_of_ones_own_must_be_described(tmp_path):
    for package in (None, {}, described(type="string"), described(description="")):
        with pytest.raises(
            DataError, match=r"must be described in .*datapackage\.json, but 'ward' is not .*line 1"
        ) as caught:
            write_datapackage(folder(tmp_path, package))
        assert "Add it to the fields of resource 'trials'" in str(caught.value)


def test_what_a_dataset_says_is_kept(tmp_path):
    package = {
        "title": "Wards",
        "licenses": [{"name": "CC0-1.0"}],
        "sources": [{"title": "A book"}],
        "resources": [
            {
                "name": "trials",
                "title": "Studies of wards",
                "schema": {
                    "fields": [
                        {"unit": "m", "name": "ward", "type": "string", "description": "Ward."},
                        {"name": "m1i", "description": "Overwritten.", "comment": "Days in hospital."},
                    ],
                    "primaryKey": "study",
                },
            }
        ],
    }
    file = write_datapackage(folder(tmp_path, package))
    first = file.read_bytes()
    written = json.loads(first)
    assert (written["title"], written["licenses"], written["sources"]) == tuple(
        package[key] for key in ("title", "licenses", "sources")
    )
    (resource,) = written["resources"]
    assert resource["title"] == "Studies of wards"
    assert resource["schema"]["primaryKey"] == ["study"]
    fields = {field["name"]: field for field in resource["schema"]["fields"]}
    assert list(fields) == STUDIES.splitlines()[0].split(",")
    assert fields["ward"] == {"name": "ward", "type": "string", "description": "Ward.", "unit": "m"}
    assert (
        fields["m1i"]["description"]
        == "Mean of group 1; of one group measured twice, the mean from which m2i is taken."
    )
    assert fields["m1i"]["comment"] == "Days in hospital."
    assert write_datapackage(tmp_path).read_bytes() == first


def test_nothing_is_written_when_a_description_is_missing(tmp_path):
    path = folder(tmp_path, {"title": "Wards"})
    before = (path / "datapackage.json").read_bytes()
    with pytest.raises(DataError):
        write_datapackage(path)
    assert (path / "datapackage.json").read_bytes() == before


def test_ranges_units_and_keys_are_those_of_the_models(tmp_path):
    package = datapackage(folder(tmp_path, described(type="string", description="Ward.")))
    fields = {field["name"]: field for field in package["resources"][0]["schema"]["fields"]}
    assert fields["sd1i"]["constraints"] == {"exclusiveMinimum": 0}
    assert fields["n1i"]["unit"] == "participants"
    assert package["resources"][0]["schema"]["primaryKey"] == ["study"]  # it tells the rows apart


def test_a_column_that_repeats_is_no_key(tmp_path):
    trials = "study,yi,vi\na,1,2\na,3,4\n"
    assert "primaryKey" not in datapackage(folder(tmp_path, trials=trials))["resources"][0]["schema"]


@pytest.mark.parametrize("content", ["{", "[]", "\udc80"])
def test_a_broken_dictionary_is_a_clear_error(tmp_path, content):
    path = folder(tmp_path)
    (path / "datapackage.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"datapackage\.json must hold one JSON object"):
        datapackage(path)
