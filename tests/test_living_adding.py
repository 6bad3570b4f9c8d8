"""Templates, proposals, dry runs and differences. Datasets and numbers here are made up."""

import csv
import dataclasses
import importlib.util
import io
import json
import math
import os
import tomllib
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.cli import main
from metamiq.datasets import load_dataset, read_dataset
from metamiq.datasets.columns import columns_of
from metamiq.datasets.reading import row_models
from metamiq.datasets.toml_file import parse_toml
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.living.compare import diff
from metamiq.living.difference import plain_text
from metamiq.living.dry_run import plan
from metamiq.living.merging import merge
from metamiq.living.proposal import read_proposal, text_fault
from metamiq.living.template import template_lines, template_text, template_workbook
from metamiq.living.todo import _within, todo
from metamiq.living.transaction import accept
from metamiq.pooling.bounded import random_effects_bounded

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


@pytest.fixture
def folder(tmp_path):
    return examples.write_dataset(tmp_path / "mine")


@pytest.fixture
def write(tmp_path):
    def put(text, name="proposal.toml"):
        file = tmp_path / name
        file.write_bytes(text) if isinstance(text, bytes) else file.write_text(text, encoding="utf-8")
        return file

    return put


def filled(values, form):
    """The CSV template with some of its values filled in."""
    rows = list(csv.DictReader(io.StringIO(form)))
    for row in rows:
        row["value"] = values.get((row["table"], row["row"], row["field"]), row["value"])
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


VALUES = {
    (table, "1", column): str(value["value"] if isinstance(value, dict) else value)
    for table, rows in tomllib.loads(examples.NEW).items()
    if table != "proposal"
    for column, value in rows[0].items()
}


# Templates


def test_a_template_has_every_column_of_the_row_models():
    lines = template_lines(load_dataset("mi_cbt_anxiety"))
    models = row_models(True)
    for table in ("trials", "results", "dropout"):
        have = {line.field for line in lines if line.table == table and line.row == "1"}
        assert have == set(columns_of(models[table])) | {"source", "locator"}
    by_field = {(line.table, line.field): line for line in lines}
    assert by_field["trials", "year"].unit == "year"
    assert by_field["trials", "role"].allowed == "candidate | excluded"
    assert by_field["results", "report"].required == "yes"
    assert by_field["results", "sd_mi"].allowed == "number, more than 0"
    assert all(line.meaning for line in lines)
    assert all(line.example for line in lines if line.allowed != "text" and "form" not in line.allowed)


def test_a_template_for_a_trial_has_its_keys():
    lines = template_lines(load_dataset("mi_cbt_anxiety"), "westra2016")
    keys = [line.value for line in lines if line.field == "result_id"]
    assert "westra2016-all-post" in keys
    assert {line.value for line in lines if line.field == "trial_id"} == {"westra2016"}
    assert {line.value for line in lines if line.field == "arm"} == {"mi", "cbt"}
    with pytest.raises(DataError, match="'nobody' is not"):
        template_lines(load_dataset("mi_cbt_anxiety"), "nobody")


def test_a_template_says_when_a_field_is_required():
    required = {line.field: line.required for line in template_lines() if line.table == "results"}
    assert "means" in required["favours"].removeprefix("if report is ").split(" | ")
    assert required["mean_mi"] == "if report is means | change_means | means_without_sd"
    assert required["report"] == "yes"
    assert required["note"] == ""
    assert "# favours (required if report is F | p | means | " in template_text("toml")


def test_an_empty_template_proposes_nothing(write):
    ds = load_dataset("mi_cbt_anxiety")
    tomllib.loads(template_text("toml", ds, "westra2009"))
    for file in (
        write(template_text("csv", ds), "a.csv"),
        write(template_text("toml", ds, "westra2009"), "b.toml"),
        write(template_workbook(ds, "westra2009"), "c.xlsx"),
    ):
        with pytest.raises(DataError, match="at least one filled row"):
            read_proposal(file)


def test_all_formats_say_the_same(folder, write):
    openpyxl = pytest.importorskip("openpyxl")
    sheet_file = write(template_workbook(read_dataset(folder)), "new.xlsx")
    book = openpyxl.load_workbook(sheet_file)
    sheet = book.worksheets[0]
    for row in sheet.iter_rows(min_row=2):
        key = (row[0].value, str(row[1].value), row[2].value)
        if key in VALUES:
            value = VALUES[key]
            row[3].value = float(value) if value.replace(".", "").isdigit() and key[2] != "mean_mi" else value
        if key[2] == "n_cbt" and key[0] == "trials":
            row[10].value = "p. 4"
    book.save(sheet_file)
    template = template_text("csv", read_dataset(folder))
    form = filled(VALUES, template)
    semicolons = io.StringIO()
    csv.writer(semicolons, delimiter=";").writerows(
        csv.reader(io.StringIO(form.replace("10.50", '"10,50"').replace("5.2,", '"5,2",')))
    )
    merged = {}
    for name, file in {
        "toml": write(examples.NEW),
        "csv": write(form, "new.csv"),
        "xlsx": sheet_file,
        "excel's csv": write("\ufeff" + semicolons.getvalue(), "excel.csv"),
    }.items():
        files, _ = merge(folder, read_proposal(file), replace=False)
        merged[name] = files
    assert merged["csv"] == merged["toml"]
    assert merged["xlsx"] == merged["toml"]
    assert merged["excel's csv"] == merged["toml"]
    assert b"10.50" in merged["toml"]["results.csv"], "numbers stay as they are printed"


def test_the_workbook_has_drop_downs(write):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(write(template_workbook(load_dataset("mi_cbt_anxiety")), "t.xlsx"))
    sheet = book["new trial"]
    lists = {}
    for rule in sheet.data_validations.dataValidation:
        column = rule.formula1.split("$")[1]
        choices = tuple(c.value for c in book["lists"][column] if c.value)
        for cell in str(rule.sqref).split():
            lists[sheet[f"C{cell[1:]}"].value] = choices
    assert lists["role"] == ("candidate", "excluded")
    assert "nonsignificant" in lists["report"]
    assert lists["arm"] == ("mi", "cbt")
    assert book["lists"].sheet_state == "hidden"


# Proposals


def test_every_value_needs_its_source_and_place(write):
    with pytest.raises(DataError, match=r"every value must have its place there \(page, table\)") as caught:
        read_proposal(write(examples.NEW.replace('locator = "Table 2"', 'locator = "-"')))
    assert "mean_mi" in str(caught.value)
    with pytest.raises(DataError, match="the source that it was read in"):
        read_proposal(write(examples.NEW.replace('source = "full text"\nlocator = "p. 3"', "")))
    own = examples.NEW.replace('source = "full text"\nlocator = "p. 3"', "").replace(
        'n_mi = 25\nn_cbt = { value = 26, locator = "p. 4" }', 'n_mi = { value = 25, source = "x", locator = "p. 1" }'
    )
    with pytest.raises(DataError) as caught:
        read_proposal(write(own))
    lacking = str(caught.value).partition("the source that it was read in, but ")[2].partition(" of trials")[0]
    assert lacking == "label, year, disorder, role, published_by_2018_04"


HOSTILE = {
    "a formula": ("Delta 2020", "=HYPERLINK(1)", "a spreadsheet runs"),
    "a plus": ("Delta 2020", "+cmd|calc", "a spreadsheet runs"),
    "an at": ("Delta 2020", "@SUM(A1)", "a spreadsheet runs"),
    "an escape": ("Delta 2020", "\\u001b[31mred", "control character"),
    "a turned text": ("Delta 2020", "abc\\u202ecba", "control character"),
    "a nul": ("Delta 2020", "a\\u0000b", "control character"),
    "nan": ("2020\ndisorder", "nan\ndisorder", "year must be a finite number"),
    "infinity": ("sd_mi = 5.2", "sd_mi = inf", "sd_mi must be a finite number"),
    "a path": ("delta2020", "../../x", "short key of letters"),
    "a list": ("sd_mi = 5.2", "sd_mi = [5, 2]", "must be a number or a text"),
    "another table": ("[[results]]", "[[claims]]", "tables must be"),
    "a wrong word": ('report = "means"', 'report = "mean"', "Did you mean 'means'"),
    "a wrong field": ("mean_cbt", "mean_ctb", "Did you mean 'mean_cbt'"),
    "a negative sd": ("sd_cbt = 6", "sd_cbt = -6", "sd_cbt must be greater than 0"),
    "no toml": ("[proposal]", "[proposal", "must be TOML"),
    "nothing": (examples.NEW, "", "at least one filled row"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_proposals_are_refused(folder, write, case):
    old, new, words = HOSTILE[case]
    before = examples.contents(folder)
    with pytest.raises(DataError) as caught:
        plan(folder, write(examples.NEW.replace(old, new)))
    assert words in str(caught.value)
    assert examples.contents(folder) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"table,row,field,value\ntrials,1,label,a\0b\n", "NUL byte"),
        ("x.csv", b"table,row,field,value,value\n", "stands there 2 times"),
        ("x.csv", b"table,row,field,value\nnowhere,1,label,a\n", "table must be one of"),
        ("x.csv", b"table,row,field,value\ntrials,1,label,a\ntrials,1,label,b\n", "stands there twice"),
        ("x.csv", b"a,b\n1,2\n", "a filled template"),
        ("x.csv", b"table,row,field,value\ntrials,1,label," + b"a" * 200_000 + b"\n", "at most 131,072 characters"),
        ("x.csv", b"x" * 5_000_001, "at most 5,000,000 bytes"),
        ("x.pdf", b"%PDF", "must be a .csv, .toml or .xlsx"),
        ("x.xlsx", b"PK nonsense", "must be a workbook"),
        ("x.toml", b"\xff", "must be TOML"),
    ],
)
def test_hostile_files_are_refused(write, name, content, words):
    with pytest.raises(DataError) as caught:
        read_proposal(write(content, name))
    assert words in str(caught.value)


def test_a_fault_in_toml_is_told_with_its_line(folder, write):
    text = examples.NEW.replace("sd_mi = 5.2", "sd_mi = -5.2")
    line = text[: text.index("[[results]]")].count("\n") + 1
    with pytest.raises(DataError, match=rf"proposal.toml, line {line}\)"):
        plan(folder, write("\ufeff" + text.replace("\n", "\r\n")))


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "9" * 5000, "1e999"])
def test_a_vast_number_in_toml_is_refused(folder, write, number):
    with pytest.raises(DataError, match=r"TOML|finite number"):
        plan(folder, write(examples.NEW.replace("5.2", number)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a." * 20_000 + "b = 1", "at most 100 dots"),
        ("x = {" + "a." * 20_000 + "b = 1}", "at most 100 dots"),
        ("x = 0x" + "f" * 300, "too large"),
    ],
)
def test_toml_that_takes_much_memory_is_refused(text, words):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            parse_toml(text.encode())
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_toml_may_have_many_sentences_and_deep_comments():
    text = 'x = "' + "Yes. " * 500 + '"  # ' + "." * 500
    assert parse_toml(text.encode())["x"].startswith("Yes.")


def test_a_named_pipe_is_no_proposal(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(DataError, match="must be a file"):
        read_proposal(tmp_path / "pipe.toml")


@pytest.mark.parametrize("name", ["gone.csv", "gone.toml", "gone.xlsx"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(DataError, match="the file must exist"):
        read_proposal(tmp_path / name)


def test_hostile_workbooks_are_refused(tmp_path, write):
    openpyxl = pytest.importorskip("openpyxl")
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 50_000_001)
    with pytest.raises(DataError, match="unpack to at most"):
        read_proposal(bomb)
    entity = tmp_path / "entity.xlsx"
    with zipfile.ZipFile(entity, "w") as archive:
        archive.writestr("[Content_Types].xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(DataError, match="XML entities"):
        read_proposal(entity)
    file = write(template_workbook(), "formula.xlsx")
    book = openpyxl.load_workbook(file)
    book.worksheets[0]["D5"] = '=HYPERLINK("http://x")'
    book.save(file)
    with pytest.raises(DataError, match="has a formula"):
        read_proposal(file)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["csv", "toml", "xlsx"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, ending):
    file = tmp_path_factory.mktemp("any") / f"x.{ending}"
    file.write_bytes(content)
    with pytest.raises(DataError):
        read_proposal(file)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_texts_that_pass_are_harmless(value):
    if not text_fault(value):
        assert not value.startswith(("=", "@")) or value == ""
        assert all(sign == "\n" or sign.isprintable() or sign.isspace() or ord(sign) > 127 for sign in value)
    shown = plain_text(value)
    assert "<" not in shown
    assert "\n" not in shown


def test_a_row_that_is_there_needs_replace(folder, write):
    file = write(examples.POINT)
    with pytest.raises(DataError, match="Use --replace"):
        plan(folder, file)
    change = plan(folder, file, replace=True)
    assert {c.column for c in change.changes} >= {"report", "mean_mi", "source"}
    assert not any(c.is_new for c in change.changes)
    blank = examples.POINT.replace("n_mi = 38", 'n_mi = "(empty)"')
    assert plan(folder, write(blank), replace=True).difference.answer.set_index("quantity")["after"]["k"] == 3


def test_a_proposal_that_breaks_the_dataset_names_the_dataset(folder, write):
    other = examples.NEW.replace('trial_id = "delta2020"\ndomain', 'trial_id = "nobody"\ndomain')
    with pytest.raises(DataError, match=r"trial_id must be a trial_id of trials\.csv") as caught:
        plan(folder, write(other))
    assert f"{folder / 'results.csv'} with the proposal" in str(caught.value)
    same = write("result_id,trial_id,value,source,locator\nbeta2012-post,beta2012,0.30,abstract,p. 1\n", "same.csv")
    with pytest.raises(DataError, match="must change something"):
        plan(folder, same, replace=True)
    table = folder.parent / "table"
    table.mkdir()
    (table / "trials.csv").write_text("study,yi,vi\na,0.1,0.2\n", encoding="utf-8")
    with pytest.raises(DataError, match="is a study table"):
        plan(table, write(examples.NEW))


# The answer before and after


def test_a_bound_becomes_a_point(folder, write):
    before = random_effects_bounded(trial_effects(read_dataset(folder)))
    change = plan(folder, write(examples.POINT), replace=True)
    assert examples.contents(folder)["results.csv"] == examples.RESULTS.encode(), "a dry run writes nothing"
    accept(change)
    after = random_effects_bounded(trial_effects(read_dataset(folder)))
    values = change.difference.answer.set_index("quantity")
    for name in ("k", "k_points", "k_bounds", "estimate", "ci_low", "ci_high", "pi_low", "pi_high", "tau2"):
        assert_allclose(values.loc[name, "before"], getattr(before, name), rtol=1e-10)  # the same fit
        assert_allclose(values.loc[name, "after"], getattr(after, name), rtol=1e-10)
    trials = change.difference.trials.set_index("trial_id")
    assert (trials.loc["alpha2010", "kind_before"], trials.loc["alpha2010", "kind_after"]) == ("bound", "point")
    # By hand: d = 5.1 / sqrt((37 * 7.5^2 + 38 * 8.1^2) / 75), J = 1 - 3 / (4 * 75 - 1).
    g = 5.1 / math.sqrt((37 * 7.5**2 + 38 * 8.1**2) / 75) * (1 - 3 / (4 * 75 - 1))
    assert trials.loc["alpha2010", "g_after"] == f"{g:.2f}"
    assert_allclose(trials["weight_after"].sum(), 1.0)
    assert any("Alpha 2010: a bound before, a point after." in sentence for sentence in change.difference.moved)
    source = read_dataset(folder).results.set_index("result_id")["source"]["alpha2010-post"]
    assert source == "abstract; full text", "the values that stay keep their source"


def test_a_difference_reads_the_same_in_all_forms(folder, write):
    hostile = examples.NEW.replace("Delta 2020", "<script>|alert(1)</script>")
    change = plan(folder, write(hostile))
    accept(change)
    difference = diff(f"{folder}@1", folder)
    assert difference.names == (f"{folder}@1", str(folder))
    text, page = difference.summary(), difference.to_markdown()
    assert "results delta2020-post: added" in text
    assert "<script>" not in page
    assert "<script>" not in (folder / "CHANGES.md").read_text(encoding="utf-8")
    data = json.loads(json.dumps(difference.to_dict(), allow_nan=False))
    assert data["answer"][0] == {"quantity": "k", "before": 3.0, "after": 4.0, "difference": 1.0}
    assert {row["change"] for row in data["data"]} == {"added"}
    back = diff(folder, f"{folder}@1")
    assert_allclose(back.answer["difference"], -difference.answer["difference"])
    assert set(back.data["change"]) == {"removed"}
    assert diff(f"{folder}@2", folder).is_empty, "the newest version, too, may be named by its number"
    for version in ("4", "0", "01", "../1"):
        with pytest.raises(DataError, match=r"one that .* has \(1, 2\)"):
            diff(f"{folder}@{version}", folder)


def test_a_state_without_an_answer_says_why(folder):
    ds = read_dataset(folder)
    empty = dataclasses.replace(ds, results=ds.results.iloc[:0])
    difference = diff(empty, ds)
    assert difference.reasons[0]
    assert np.isnan(difference.answer["before"]).all()
    assert "There is an answer now." in difference.moved
    assert "none" in difference.summary()
    assert diff(ds, ds).is_empty
    assert "No conclusion is different." in diff(ds, ds).to_markdown()


# What a number would buy


def test_the_expected_width_is_the_mean_over_five_fits(folder):
    ds = read_dataset(folder)
    effects = trial_effects(ds)
    fit = random_effects_bounded(effects)
    row = todo(ds).set_index("trial_id").loc["alpha2010"]
    low = float(effects.loc[0, "yi_low"])
    sd = math.sqrt(1 / 40 + 1 / 41 + fit.estimate**2 / (2 * 81) + fit.tau2)
    widths = []
    for y in _within(fit.estimate, sd, low, math.inf):
        table = effects.copy()
        table.loc[0, ["yi", "vi", "kind"]] = y, 1 / 40 + 1 / 41 + y**2 / (2 * 81), "point"
        ends = random_effects_bounded(table).ci()
        widths.append(ends.high - ends.low)
    # A point keeps its row's bounds here and loses them there: the same fit.
    assert_allclose(row["width_expected"], np.mean(widths), rtol=1e-6)
    assert_allclose([row["width_least"], row["width_most"]], [min(widths), max(widths)], rtol=1e-6)
    assert row["where"] == "Open full text: nowhere."


def test_todo_lists_candidates_that_are_no_points(folder):
    ds = read_dataset(folder)
    table = todo(ds)
    assert set(table["trial_id"]) == {"alpha2010", "gamma2015"}
    assert table["narrower"].is_monotonic_decreasing
    unknown = dataclasses.replace(ds, trials=ds.trials.assign(n_total=np.nan, n_mi=np.nan, n_cbt=np.nan))
    row = todo(unknown).set_index("trial_id").loc["gamma2015"]
    assert "weight cannot be foreseen" in row["why_not"]
    assert np.isnan(row["width_expected"])


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2), st.floats(0.05, 2), st.floats(-30, 30), st.floats(0.01, 5))
def test_draws_within_a_bound_stay_in_it(mean, sd, low, width):
    for high in (low + width, math.inf):
        values = _within(mean, sd, low, high)
        if all(map(math.isfinite, values)):
            assert values == sorted(values)
            assert all(low - 1e-9 <= y <= high + 1e-9 for y in values)


# The command line


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *args: runner.invoke(main, list(args), catch_exceptions=False)


def test_the_whole_way_on_the_command_line(run, tmp_path, write):
    assert run("copy-dataset", "mi_cbt_anxiety", "mine").exit_code == 0
    assert run("new-trial", "--dataset", "mine", "--trial", "westra2009", "--format", "csv").exit_code == 0
    assert run("new-trial", "--trial", "westra2009").exit_code == 2, "a template is never overwritten"
    write(examples.NEW, "new.toml")
    before = examples.contents(tmp_path / "mine")
    dry = run("add", "new.toml", "--dataset", "mine", "--out", "shown")
    assert dry.exit_code == 0
    assert "trials pooled                          15 -> 16" in dry.stdout
    assert "nothing was written" in dry.stderr
    assert examples.contents(tmp_path / "mine") == before
    assert {p.name for p in (tmp_path / "shown").iterdir()} == {
        "before_after.svg", "cumulative.svg", "difference.json", "difference.md", "trials.csv",
    }  # fmt: skip
    assert run("add", "new.toml", "--accept").exit_code == 2, "the bundled data stay as they are"
    done = run("add", "new.toml", "--dataset", "mine", "--accept", "--json")
    assert json.loads(done.stdout)["version"] == 2
    shown = run("diff", "mi_cbt_anxiety", "mine", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["answer"][0]["difference"] == 1.0
    assert run("restore", "mine", "1", "--why", "made up").exit_code == 0
    assert run("diff", "mi_cbt_anxiety", "mine").exit_code == 0


def test_todo_on_the_command_line(run):
    shown = run("todo")
    assert "Westra, Arkowitz & Dozois 2009: Open full text: PMC2760690" in shown.stdout
    rows = json.loads(run("todo", "--json").stdout)["trials"]
    assert len(rows) == len(pd.DataFrame(rows)["trial_id"].unique()) == 19
