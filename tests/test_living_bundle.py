"""Bundles: what they hold, and that a changed byte or digit is found. The data are made up."""

import importlib.util
import io
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.cli import main
from metamiq.datasets import read_dataset
from metamiq.errors import DataError
from metamiq.living.bundle import bundle, verify

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return bundle(read_dataset(examples.write_dataset(tmp_path_factory.mktemp("bundle") / "mine")))


@pytest.fixture
def write(tmp_path):
    def put(content):
        file = tmp_path / "bundle.zip"
        file.write_bytes(content)
        return file

    return put


def changed(content, mend_sums=True, **files):
    """The bundle with its results or a table changed, and its checksums put right."""
    places = {"results": "results.json", "table": "data/results.csv"}
    return examples.changed(content, {places[name]: change for name, change in files.items()}, mend_sums)


def test_a_bundle_is_complete_stable_and_verified(packed, write):
    file = write(packed)
    names = set(zipfile.ZipFile(file).namelist())
    assert names == {
        "LICENSE.txt", "README.txt", "SHA256SUMS", "methods.txt", "results.json", "settings.json", "figures/forest.svg",
        "data/trials.csv", "data/results.csv", "data/claims.csv",
    }  # fmt: skip
    found = verify(file)
    assert found.agrees, found.summary()
    assert found.versions == {}
    assert found.n_files == 9
    assert found.n_values > 30


def test_a_bundle_is_the_same_twice(packed, tmp_path):
    assert bundle(read_dataset(examples.write_dataset(tmp_path / "mine"))).startswith(packed[:200])
    again = bundle(read_dataset(tmp_path / "mine"))
    assert again == packed


def test_a_changed_byte_fails_its_checksum(packed, write):
    found = verify(write(changed(packed, mend_sums=False, table=lambda c: c.replace(b"0.30", b"0.31"))))
    assert "data/results.csv" in set(found.faults["place"])
    assert not found.agrees


def test_a_changed_number_is_named_with_its_digits(packed, write):
    def nudge(content):
        results = json.loads(content)
        results["pooled"]["estimate"] *= 1 + 1e-5
        results["verdicts"] = {}
        return json.dumps(results).encode()

    faults = verify(write(changed(packed, results=nudge))).faults.set_index("place")
    assert set(faults.index) == {"results.json: pooled.estimate", "results.json: verdicts.pooled-g"}
    assert faults.loc["results.json: pooled.estimate", "digits"] in (4, 5)


def test_data_that_do_not_give_the_results_are_found(packed, write):
    found = verify(write(changed(packed, table=lambda c: c.replace(b"0.30", b"0.31"))))
    assert "results.json: pooled.estimate" in set(found.faults["place"])
    assert "results.json: trials.beta2012.yi" in set(found.faults["place"])
    assert "results.json: trials.alpha2010.yi_low" not in set(found.faults["place"])


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "data/../../evil", "a\\b", "data/.history/x", "other/x"])
def test_names_that_lead_elsewhere_are_refused(write, name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DataError, match="plain files of a bundle"):
        verify(write(out.getvalue()))


def test_links_bombs_and_other_files_are_refused(write, packed):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("results.json")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="plain files of a bundle"):
        verify(write(out.getvalue()))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", b" " * 100_000_001)
    with pytest.raises(DataError, match="at most 100,000,000 bytes"):
        verify(write(out.getvalue()))
    with pytest.raises(DataError, match="one JSON object"):
        verify(write(changed(packed, results=lambda c: b"[]")))
    with pytest.raises(DataError, match="must be JSON"):
        verify(write(changed(packed, results=lambda c: b"{")))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(DataError, match="must be a bundle of metamiq"):
        verify(write(empty.getvalue()))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "x.zip"
    file.write_bytes(content)
    with pytest.raises(DataError):
        verify(file)


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples.write_dataset(tmp_path / "mine")
    run = CliRunner()
    assert run.invoke(main, ["bundle", "mine"], catch_exceptions=False).exit_code == 0
    shown = run.invoke(main, ["verify", "mine.zip"], catch_exceptions=False)
    assert (shown.exit_code, "0 differ" in shown.stdout) == (0, True)
    file = tmp_path / "mine.zip"
    file.write_bytes(changed(file.read_bytes(), table=lambda c: c.replace(b"0.30", b"0.31")))
    assert run.invoke(main, ["verify", "mine.zip", "--json"], catch_exceptions=False).exit_code == 1
