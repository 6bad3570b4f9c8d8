"""What the columns of a bundle's table mean, in the words of whoever made the table. The data are made up."""

import csv
import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from metamiq.cli import main
from metamiq.living.codebook import read_meanings
from metamiq.living.table_bundle import bundle_table
from metamiq.living.table_settings import Reading, TableAnalysis

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

TABLE = (
    "Author,TE,vi,n1i,n2i,disorder,length\na,0.2,0.04,20,21,GAD,6\nb,0.6,0.05,30,29,OCD,8\nc,0.4,0.03,41,40,GAD,12\n"
)
MEANINGS = """column;meaning;unit
length;Time from first to last session, as planned;weeks
disorder;Diagnosis that the trial treated;
TE;Self-rated anxiety at the end of treatment;SD
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trials.csv").write_text(TABLE, encoding="utf-8")
    Path("codebook.csv").write_text(MEANINGS, encoding="utf-8")
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def rows_of(content):
    text = examples.opened(content)["codebook.csv"].decode()
    return {row["column"]: row for row in csv.DictReader(io.StringIO(text))}


def test_the_codebook_has_what_was_said_and_is_computed_again(folder):
    result = run("bundle", "trials.csv", "--codebook", "codebook.csv", "--licence", "CC BY 4.0")
    assert result.exit_code == 0, result.stderr
    assert "nobody says" not in result.stderr
    content = Path("trials.zip").read_bytes()
    rows, files = rows_of(content), examples.opened(content)
    assert files["meanings.csv"].decode() == MEANINGS, "byte for byte"
    assert "meanings.csv" in files["README.txt"].decode()
    assert rows["length"] == {
        "column": "length",
        "taken_for": "",
        "type": "number",
        "unit": "weeks",
        "meaning": "Time from first to last session, as planned",
    }
    assert (rows["disorder"]["type"], rows["disorder"]["unit"]) == ("string", "")
    assert rows["TE"]["taken_for"] == "yi"
    assert rows["TE"]["meaning"] == "Effect size. Self-rated anxiety at the end of treatment", "behind our own words"
    assert rows["TE"]["unit"] == "SD"
    assert rows["n1i"]["unit"] == "participants"
    checked = run("verify", "trials.zip")
    assert (checked.exit_code, checked.stdout.strip()[-9:]) == (0, "0 differ.")


def test_columns_without_a_meaning_are_named(folder):
    note = "note: nobody says what these columns mean: {}; --codebook FILE does (CSV with column,meaning,unit)\n"
    assert note.format("disorder, length") in run("bundle", "trials.csv").stderr
    Path("codebook.csv").write_text("column,meaning\nlength,Weeks\n", encoding="utf-8")
    assert note.format("disorder") in run("bundle", "trials.csv", "--codebook", "codebook.csv").stderr
    assert "not known to metamiq" in rows_of(Path("trials.zip").read_bytes())["disorder"]["meaning"]
    assert "nobody says" not in run("bundle", "bcg", "--measure", "RR").stderr


def test_a_column_is_named_as_in_the_file(folder):
    reading = Reading(columns={"length": "weeks"})
    made = bundle_table(Path("trials.csv"), TableAnalysis(), reading=reading, meanings=Path("codebook.csv"))
    assert rows_of(made.content)["length"]["unit"] == "weeks"
    assert made.unexplained == []


WRONG = {
    "column,meaning\nweekz,x\nlenght,y\n": "but it names 'lenght', 'weekz'. Write each as",
    "column,meaning\nyi,x\n": "but it names 'yi'.",
    "column,meaning,source\nlength,x,y\n": "must have the columns column and meaning, and may have unit, but it has",
    "column,unit\nlength,weeks\n": "must have the columns column and meaning, and may have unit, but it has",
    "column,meaning\nlength,\n": "meaning must be filled",
    "column,meaning\n,x\n": "column must be filled",
    "column,meaning\nlength,x\nlength,y\n": "column must differ from row to row",
    "column,meaning\nlength," + "x" * 2_001 + "\n": "meaning must",
    "column,meaning\nlength,=HYPERLINK(1)\n": "has a formula",
    "column,meaning\n": "at least one row",
    "": "the file is empty",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_codebook_is_one_sentence(folder, text):
    Path("codebook.csv").write_text(text, encoding="utf-8")
    result = run("bundle", "trials.csv", "--codebook", "codebook.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    said = result.stderr.splitlines()[-1]
    assert said.startswith("metamiq: ")
    assert WRONG[text] in said
    assert not Path("trials.zip").exists()


def test_a_codebook_is_for_a_table_in_a_file(folder):
    assert "datapackage.json" in run("bundle", "bcg", "--measure", "RR", "--codebook", "codebook.csv").stderr
    assert "--codebook cannot be chosen for a dataset of evidence" in run("bundle", "--codebook", "codebook.csv").stderr
    assert "is no ordinary file" in run("bundle", "trials.csv", "--codebook", "/dev/null").stderr
    assert "absent.csv" in run("bundle", "trials.csv", "--codebook", "absent.csv").stderr


def changed(content, name, old, new):
    """A bundle with another text in one of its files, and its checksums put right."""
    files = examples.opened(content)
    files[name] = files[name].replace(old, new)
    assert files[name] != examples.opened(content)[name]
    sums = "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files) if n != "SHA256SUMS")
    files["SHA256SUMS"] = sums.encode()
    return files


@pytest.mark.parametrize("name", ["meanings.csv", "codebook.csv"])
def test_a_changed_meaning_is_found(folder, name):
    made = bundle_table(Path("trials.csv"), TableAnalysis(), meanings=Path("codebook.csv"))
    write(changed(made.content, name, b"first to last", b"last to first"))
    result = run("verify", "b.zip")
    assert result.exit_code == 1
    assert "codebook.csv" in result.stdout
    assert "last to first" in result.stdout


def test_a_codebook_of_somebody_else_that_cannot_be_read_is_refused(folder, tmp_path):
    made = bundle_table(Path("trials.csv"), TableAnalysis(), meanings=Path("codebook.csv"))
    for old, new in ((b"column;", b"name;"), (b"length;", b"absent;"), (b"disorder;", b"length;")):
        write(changed(made.content, "meanings.csv", old, new))
        result = run("verify", "b.zip")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("metamiq: The data of b.zip cannot be pooled again by its settings: ")
        assert "/tmp" not in result.stderr.replace(str(tmp_path), "")


def write(files):
    with zipfile.ZipFile("b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_any_dialect_is_read(folder):
    Path("codebook.csv").write_bytes(MEANINGS.replace(";", "\t").encode("utf-16"))
    assert read_meanings("codebook.csv")["length"]["unit"] == "weeks"
