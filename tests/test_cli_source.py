"""Every command opens a table or a dataset in the same way. The table is made up."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import metamiq as mm
from metamiq.cli import main
from metamiq.cli.common import open_source

TABLE = "Study;TE;seTE\na;0,5;0,1\nb;-0,2;0,25\nc;0,1;0,2\n"
COMMANDS = {
    "report": ["--out", "-"],
    "characteristics": [],
    "grade": [],
    "export": ["--out", "out"],
    "bundle": ["--out", "b.zip"],
    "sensitivity": [],
    "small-study": [],
    "check": [],
}
WITH_OPTIONS = sorted(set(COMMANDS) - {"check"})


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("odd.csv").write_text(TABLE, encoding="utf-8")
    return lambda command, *args: CliRunner().invoke(main, [command, *args], catch_exceptions=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_noticed_in_a_table_is_said_by_every_command(run, command):
    result = run(command, "odd.csv", *COMMANDS[command])
    assert result.exit_code in (0, 1), result.stderr
    for note in ("note: semicolon separators read", "note: decimal commas read", "note: 'TE' taken for yi"):
        assert note in result.stderr


def test_and_by_those_that_name_a_table_in_an_option(run):
    Path("odd.csv").write_text(TABLE.replace("seTE", "vi"), encoding="utf-8")
    for args in (("explain", "yi", "--pooled", "--dataset", "odd.csv"), ("compare", "--table", "odd.csv")):
        result = run(*args)
        assert result.exit_code == 0, result.stderr
        assert "note: 'TE' taken for yi" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_there_is_one_sentence(run, command):
    for name, words in {
        "absent.csv": "absent.csv",
        "./absent": "absent",
        "absent": "one of the bundled datasets",
    }.items():
        result = run(command, name, *COMMANDS[command])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("metamiq: ")
        assert words in result.stderr


@pytest.mark.parametrize("command", WITH_OPTIONS)
@pytest.mark.parametrize("option", [("--where", "study=a"), ("--column", "x=yi"), ("--sheet", "first")])
def test_options_of_a_table_are_refused_for_a_dataset(run, command, option):
    result = run(command, "bcg", *COMMANDS[command], *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "metamiq: --sheet, --column and --where are for a study table in a file, not for a dataset.\n"
    )


def test_what_a_source_is(run, tmp_path):
    shutil.copytree(mm.load_dataset("bcg").path, "mine")
    table = open_source("odd.csv", where=("Study=a",))
    assert (table.path, table.home, table.name, table.dataset, table.evidence) == (
        Path("odd.csv"), Path(), "odd", None, None,
    )  # fmt: skip
    assert table.content is table.table
    assert table.table["yi"].tolist() == [0.5]
    folder = open_source("mine")
    assert (folder.home.name, folder.evidence, folder.content) == ("mine", None, folder.dataset)
    assert folder.table.equals(open_source("bcg").table)
    evidence = open_source("mi_cbt_anxiety")
    assert evidence.evidence is evidence.dataset is evidence.content
