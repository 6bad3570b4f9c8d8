"""`metamiq.check`: the bundled evidence, what is ignored, strange tables, and the command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import metamiq as mm
from metamiq.cli import main
from metamiq.datasets import StudyRow
from metamiq.errors import DataError
from metamiq.living.check import check
from metamiq.living.ignored import add_ignored, read_ignored
from metamiq.living.rules import COLUMNS, RULES

# Invented: the second row has an SE in place of an SD, the third more people than were randomised.
TABLE = """study,m1i,sd1i,n1i,m2i,sd2i,n2i,n_total
a,12.4,4.1,24,14.9,4.3,25,49
b,11.9,0.85,26,14.2,4.4,24,50
c,13.1,4.6,31,14.0,4.5,30,58
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "studies.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.fixture
def evidence(tmp_path):
    """A copy of the bundled evidence that a test may write to."""
    return shutil.copytree(mm.load_dataset("mi_cbt_anxiety").path, tmp_path / "mi_cbt_anxiety")


def run(*arguments):
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


def test_bundled_evidence_says_what_is_worth_saying_and_nothing_else():
    findings = mm.check(mm.load_dataset("mi_cbt_anxiety"))
    said = list(zip(findings.table["code"], findings.table["severity"], findings.table["row"], strict=True))
    assert said == [
        ("M02", "warning", "navidian2009-ybocs-post"),
        ("S01", "warning", "titov2010-social-post-nma"),
        ("G04", "warning", "merlo2010-change-mid"),
        ("G04", "warning", "merlo2010-score-mid"),
        ("N03", "note", "mccabe2019-ybocs-post"),
        ("U05", "note", "meyer2010b"),
        ("A01", "note", "disorder"),
        ("A01", "note", "dropout"),
    ]
    found = dict(zip(findings.table["row"], findings.table["found"], strict=True))
    assert "d = 1.255 (g = 1.186); 1.34 fits 2t/sqrt(df)" in found["merlo2010-score-mid"]
    assert "mean 17.23 with n = 20; or mean 19.92 with n = 20" in found["navidian2009-ybocs-post"]
    assert findings.table.loc[3, "place"] == "mi_cbt_anxiety/results.csv, line 13"
    assert not findings.is_clean


@pytest.mark.parametrize("name", mm.available_datasets())
def test_published_tables_give_few_findings(name):
    findings = check(mm.load_dataset(name))
    # No more than one grave finding in ten rows, and room for one in a short table.
    assert (findings.table["severity"] != "note").sum() <= max(2, 0.1 * findings.n_rows)


def test_summary_counts_by_severity(file):
    findings = check(mm.read_table(file))
    assert findings.counts() == {"error": 1, "warning": 1, "note": 0}
    assert findings.summary() == "studies.csv: 1 error, 1 warning in 3 rows."
    assert findings.table["place"].tolist() == ["studies.csv, line 4", "studies.csv, line 3"]
    assert findings.details().startswith(
        "N01 error: analysed more than randomised, or parts do not sum [c; studies.csv"
    )
    assert "\n  Do:    " in findings.details()


def test_line_is_left_out_when_rows_can_no_longer_be_told(file):
    table = mm.read_table(file)
    kept = table.iloc[[1]]
    assert check(kept).table["place"].tolist() == ["studies.csv, line 3"]
    moved = table.iloc[::-1].reset_index(drop=True)
    moved.attrs = table.attrs
    assert check(moved).table["place"].tolist() == ["studies.csv, row 1", "studies.csv, row 2"]


def test_clean_table_is_clean():
    table = pd.DataFrame({"study": ["a", "b", "c"], "yi": [0.3, 0.5, 0.4], "vi": [0.02, 0.03, 0.02]})
    findings = check(table)
    assert findings.is_clean
    assert findings.summary() == "table: nothing found in 3 rows."
    assert findings.details() == ""


def test_columns_of_the_rules_are_known_in_another_spelling(file):
    table = mm.read_table(file).rename(columns={"n_total": "N total"}).assign(**{"Scale max": 14})
    assert set(check(table).table["code"]) == {"M01", "N01", "SD01"}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_order_of_rows_does_not_change_what_is_found(file, order):
    table = mm.read_table(file)
    whole = check(table).table.sort_values(["code", "row"])[["code", "row", "found"]].to_numpy().tolist()
    again = check(table.iloc[order]).table.sort_values(["code", "row"])[["code", "row", "found"]].to_numpy().tolist()
    assert whole == again


def test_ignored_finding_is_set_aside_with_its_reason(file):
    add_ignored(file, "SD01", "SDs confirmed by the authors", "b", tuple(RULES))
    findings = check(mm.read_table(file))
    assert findings.table["code"].tolist() == ["N01"]
    assert findings.ignored[["code", "row", "ignored"]].to_numpy().tolist() == [
        ["SD01", "b", "SDs confirmed by the authors"]
    ]
    assert findings.summary() == "studies.csv: 1 error in 3 rows; 1 ignored."
    assert "Reason: SDs confirmed by the authors" in findings.details()


def test_decision_for_one_row_goes_before_one_for_all_and_a_new_reason_replaces(file):
    for reason, row in (("old", "b"), ("all of them", None), ("new, with a comma", "b")):
        add_ignored(file, "SD01", reason, row, tuple(RULES))
    assert [(d.code, d.row, d.reason) for d in read_ignored(file, RULES)] == [
        ("SD01", None, "all of them"),
        ("SD01", "b", "new, with a comma"),
    ]
    findings = check(mm.read_table(file))
    assert findings.ignored["ignored"].tolist() == ["new, with a comma"]
    assert [decision.reason for decision in findings.unused] == ["all of them"]
    assert "nothing left to ignore (all of them)" in findings.details()


def test_stored_decisions_are_checked(file):
    stored = file.with_name("studies.ignored.csv")
    stored.write_text("code,row,reason\nXX9,b,because\nSD01,b,\n", encoding="utf-8")
    with pytest.raises(DataError, match="code must be that of a rule") as error:
        check(mm.read_table(file))
    assert "reason must be filled" in str(error.value)
    assert "line 3" in str(error.value)


def test_arguments_that_cannot_be_are_refused(file):
    with pytest.raises(ValueError, match="data must be a Dataset or a DataFrame, not str"):
        check("trials.csv")
    with pytest.raises(ValueError, match="test must be one of 'knha', 't', 'z', 'adhoc', not 'wald'"):
        check(mm.read_table(file), test="wald")
    with pytest.raises(DataError, match="Column names must differ, but 'yi' stands there"):
        check(pd.DataFrame([[1, 2]], columns=["yi", "yi"]))
    with pytest.raises(ValueError, match="--reason must say why"):
        add_ignored(file, "SD01", " ", None, tuple(RULES))


CELLS = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.integers(-1000, 1000),
    st.sampled_from(["", "yes", "cluster", "crossover", "ITT", "completers", "Y-BOCS", "mi", "2010a", "within"]),
)
READ = sorted({*COLUMNS, *StudyRow.model_fields})


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_table_makes_a_rule_fail(data):
    columns = data.draw(st.lists(st.sampled_from(READ), min_size=1, max_size=14, unique=True))
    rows = data.draw(st.integers(0, 5))
    table = pd.DataFrame({name: data.draw(st.lists(CELLS, min_size=rows, max_size=rows)) for name in columns})
    with np.errstate(all="ignore"):  # numbers beyond all measure
        findings = check(table)
    assert set(findings.table["code"]) <= set(RULES)


def test_command_begins_with_one_line_and_fails_on_errors(file):
    result = run(file)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == f"{file.name}: 1 error, 1 warning in 3 rows."
    assert "Why:" not in result.stdout
    assert "Why:" in run(file, "--details").stdout


def test_command_on_clean_data_succeeds():
    result = run("bcg")
    assert (result.exit_code, result.stdout) == (0, "bcg: nothing found in 13 rows.\n")


def test_command_ignores_with_a_reason_that_stays_with_the_data(evidence):
    result = run(
        evidence, "--ignore", "G04", "--reason", "printed by the authors; not pooled", "--row", "merlo2010-score-mid"
    )
    assert result.exit_code == 1
    assert "3 warnings, 4 notes in 73 rows; 1 ignored." in result.stdout
    assert (evidence / "ignored.csv").read_text(encoding="utf-8") == (
        "code,row,reason\nG04,merlo2010-score-mid,printed by the authors; not pooled\n"
    )
    assert "Reason: printed by the authors; not pooled" in run(evidence, "--details").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ignore", "SD01"], "--ignore CODE and --reason TEXT must be given together"),
        (["--reason", "so"], "--ignore CODE and --reason TEXT must be given together"),
        (["--ignore", "SD9", "--reason", "so"], "--ignore must name a rule"),
        (["--ignore", "U04", "--reason", "so"], "U04 was not found"),
        (["--ignore", "SD01", "--row", "a", "--reason", "so"], "SD01 was not found in row 'a'"),
        (["--test", "wald"], "test must be one of"),
    ],
)
def test_command_refuses_what_it_cannot_do(file, arguments, message):
    result = run(file, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not file.with_name("studies.ignored.csv").exists()


def test_command_says_that_a_file_is_not_there():
    result = run("nowhere.csv")
    assert result.exit_code == 2
    assert "the file must exist" in result.stderr


def test_command_prints_json(file):
    content = json.loads(run(file, "--json").stdout)
    assert content["counts"] == {"error": 1, "warning": 1, "note": 0}
    assert content["findings"][0]["code"] == "N01"
    assert set(content["findings"][0]) == {
        "code", "severity", "row", "place", "found", "why", "do", "reference"
    }  # fmt: skip


def test_command_lists_rules_and_columns():
    listed = run("--rules").stdout
    assert all(code in listed for code in RULES)
    assert all(column in listed for column in COLUMNS)
    assert len(json.loads(run("--rules", "--json").stdout)["rules"]) == len(RULES)
