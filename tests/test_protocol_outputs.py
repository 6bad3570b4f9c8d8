"""Labels planned and not planned in every output. All protocols are made up, and so is the table."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner

import metamiq as mm
from metamiq.cli import main
from metamiq.living.bundle import bundle, verify
from metamiq.living.folders import copy_dataset
from metamiq.protocol.first_question import first_question_compliance
from metamiq.protocol.reading import read_protocol
from metamiq.protocol.record import NO_PROTOCOL
from metamiq.protocol.vocabulary import DROPOUT_MODELS
from metamiq.question import Answers

LEAST = 'title = "a"\n[plan]\nmeasure = "SMD"\nmethod = "REML"\n'
AMENDED = """
title = "made up"
[registration]
where = "a registry"
identifier = "R1"
date = 2024-01-31
[plan]
measure = "MD"
method = "DL"
test = "z"
[analyses]
moderators = ["dose", "year + dose"]
sensitivity = ["leave_one_out", "begg_test"]
[[amendment]]
date = 2025-02-28
what = "REML in place of DL"
why = "few trials"
results_known = false
[amendment.plan]
method = "REML"
[[amendment]]
date = "2025-06-30"
what = "no rank test"
why = "too few trials."
[amendment.analyses]
sensitivity = ["leave_one_out", "egger_test"]
"""
FIRST_QUESTION = """
title = "made up for the first question"
[plan]
measure = "SMD"
method = "REML"
bounds = "bounds"
raters = ["clinician"]
[analyses]
subgroups = ["disorder"]
moderators = ["mi_sessions", "dropout"]
sensitivity = ["leave_one_out", "egger_test", "points_only", "influence", "audit"]
dropout_measures = ["OR"]
dropout_models = ["mantel_haenszel"]
"""
TABLE = "study,year,dose,m1i,sd1i,n1i,m2i,sd2i,n2i\n" + "".join(
    f"{s},{y},{d},{m},2,20,5,2,{n}\n"
    for s, y, d, m, n in [
        ("a", 2001, 1, 6, 20),
        ("b", 2004, 3, 7.5, 30),
        ("c", 2009, 2, 6.5, 22),
        ("d", 2011, 5, 9, 25),
    ]
)


@pytest.fixture
def written(tmp_path):
    def write(text, name="made_up.toml"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return file

    return write


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *args: runner.invoke(main, list(args), catch_exceptions=False)


def test_pool_takes_the_protocol_beside_the_data(run, written):
    written(TABLE, "t.csv")
    assert run("pool", "t.csv", "--measure", "MD").stdout.endswith(f"\n{NO_PROTOCOL}\n")
    written(AMENDED, "protocol.toml")
    result = run("pool", "t.csv")
    assert "protocol: protocol.toml, found beside the data: 'made up', version 1" in result.stderr
    assert "taken from the protocol: measure MD, method REML, test z" in result.stderr
    assert result.stdout.startswith("Random-effects model (REML), test z: k = 4")
    assert "This analysis was planned, changed by amendment of 2025-02-28." in result.stdout
    assert "not carried out here: moderator dose, moderator year + dose, leave_one_out, egger_test." in result.stdout
    other = run("pool", "t.csv", "--method", "DL", "--test", "knha").stdout
    assert "This analysis was not planned. The protocol plans method REML, not DL; test z, not knha." in other
    slope = run("pool", "t.csv", "--moderators", "dose").stdout
    assert "This analysis was planned, changed by amendment of 2025-02-28." in slope
    assert NO_PROTOCOL in run("pool", "t.csv", "--measure", "MD", "--protocol", "none").stdout


def test_pool_says_it_in_json(run, written):
    written(TABLE, "t.csv")
    assert json.loads(run("pool", "t.csv", "--measure", "MD", "--json").stdout)["protocol"] == {"note": NO_PROTOCOL}
    written(AMENDED)
    data = json.loads(run("pool", "t.csv", "--json", "--protocol", "made_up.toml", "--moderators", "year").stdout)
    assert data["planned"] == "not planned"
    assert data["protocol"]["analyses"][0]["why"] == "The protocol plans no moderator 'year'."
    assert data["protocol"]["registration"] == {"where": "a registry", "identifier": "R1", "date": "2024-01-31"}
    assert {"analysis": "main analysis", "why": "not part of this output"} in data["protocol"]["not_carried_out"]


def test_a_table_with_effects_of_its_own_is_not_taken_for_checked(run, written):
    written("study,yi,vi\na,0.1,0.04\nb,0.5,0.02\nc,0.9,0.05\n", "t.csv")
    written(LEAST)
    shown = run("pool", "t.csv", "--protocol", "made_up.toml").stdout
    assert "effect sizes of its own: that they are as planned was not checked." in shown


def test_a_faulty_or_linked_protocol_beside_the_data(run, written, tmp_path):
    written(TABLE, "t.csv")
    elsewhere = written(LEAST)
    (tmp_path / "protocol.toml").symlink_to(elsewhere)
    linked = run("pool", "t.csv", "--measure", "MD")
    assert linked.exit_code == 0
    assert "is a symbolic link and is not taken" in linked.stderr
    assert NO_PROTOCOL in linked.stdout
    (tmp_path / "protocol.toml").unlink()
    written("x = 1\n", "protocol.toml")
    faulty = run("pool", "t.csv", "--measure", "MD")
    assert faulty.exit_code == 2
    assert "found beside the data; --protocol none sets it aside." in faulty.stderr
    assert run("pool", "t.csv", "--measure", "MD", "--protocol", "none").exit_code == 0


def test_a_study_report_labels_every_analysis(run, written, tmp_path):
    written(TABLE, "t.csv")
    written(AMENDED.replace('"made up"', '"<script>alert(1)</script>"'), "protocol.toml")
    run("report", "t.csv", "--out", "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>" in page  # the title of the protocol, not of its table
    text = run("report", "t.csv", "--out", "-", "--format", "md").stdout
    assert "\nTable: t. Measure: MD." in text
    assert "This analysis was planned, changed by amendment of 2025-02-28." in text
    assert "Adding trials in the order of publication: not planned." in text
    assert "## Planned and not planned" in text
    data = json.loads(run("report", "t.csv", "--out", "-", "--format", "json").stdout)
    assert data["pooled"]["planned"] == "planned, changed by amendment of 2025-02-28"
    labels = {row["method"]: row["planned"] for row in data["small_study"]["methods"]}
    assert labels.pop("Egger's regression") == "planned, changed by amendment of 2025-06-30"
    assert set(labels.values()) == {"not planned"}
    assert {row["planned"] for row in data["tables"]["cumulative"]} == {"not planned"}
    plain = run("report", "t.csv", "--measure", "MD", "--out", "-", "--format", "md", "--protocol", "none").stdout
    assert plain.startswith("# t: a random-effects meta-analysis")
    assert plain.count(NO_PROTOCOL) == 1
    assert plain.count("planned") == 1


def test_small_study_sensitivity_and_multiverse_label_each_analysis(run, written):
    written(TABLE, "t.csv")
    written(AMENDED, "protocol.toml")
    shown = run("small-study", "t.csv").stdout
    assert re.search(r"^Egger's regression .* planned, changed by amendment of 2025-06-30$", shown, re.MULTILINE)
    assert re.search(r"^p-curve .* not planned$", shown, re.MULTILINE)
    data = json.loads(run("small-study", "t.csv", "--json").stdout)
    assert {row["planned"] for row in data["methods"] if row["method"] != "Egger's regression"} == {"not planned"}
    shown = run("sensitivity", "t.csv").stdout
    assert "leaving each trial out in turn: planned, changed by amendment of 2025-02-28\n" in shown
    assert "what each trial does to the fit: not planned\n" in shown
    other = json.loads(run("sensitivity", "t.csv", "--method", "DL", "--json").stdout)["protocol"]["analyses"]
    assert {row["planned"] for row in other} == {"not planned"}
    written(FIRST_QUESTION)
    shown = run("multiverse", "--protocol", "made_up.toml").stdout
    assert "all choices at once: not planned\n" in shown
    shown = run("sensitivity", "mi_cbt_anxiety", "--protocol", "made_up.toml").stdout
    assert "pooled mean: planned\nthe smallest set" in shown
    assert run("small-study", "t.csv", "--measure", "MD", "--protocol", "none").stdout.endswith(f"\n{NO_PROTOCOL}\n")


def test_without_a_protocol_its_models_are_not_loaded():
    code = (
        "import sys, metamiq as mm\nfrom metamiq.report.reproduce import assemble\n"
        "import metamiq.report.terminal, metamiq.protocol.study\nprint('metamiq.protocol.models' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    (folder / "p.toml").write_text(FIRST_QUESTION, encoding="utf-8")
    arguments = ["reproduce", "--out", str(folder / "out"), "--protocol", str(folder / "p.toml")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout, folder / "out"


def test_the_first_question_labels_every_row_that_is_an_analysis(reproduced):
    _, out = reproduced
    rows = {}
    for name in ("estimates", "moderators", "groups", "dropout", "leave_one_out", "cumulative", "verdicts"):
        with open(out / "tables" / f"{name}.csv", encoding="utf-8", newline="") as file:
            rows[name] = list(csv.DictReader(file))
            assert {row["planned"] for row in rows[name]} <= {"planned", "not planned", ""}
    assert [row["planned"] for row in rows["estimates"]] == ["planned", *["not planned"] * 4, "planned"]
    by = {row["moderator"]: row["planned"] for row in rows["moderators"]}
    assert by == {"disorder": "planned", "MI sessions": "planned", "era": "not planned", "dropout": "planned"}
    pooled = [row for row in rows["dropout"] if row["row"] in DROPOUT_MODELS.values()]
    assert [row["planned"] for row in pooled] == ["planned", *["not planned"] * 5]
    assert {row["planned"] for row in rows["dropout"] if row not in pooled} == {""}
    assert {row["planned"] for row in rows["groups"] + rows["leave_one_out"] + rows["verdicts"]} == {"planned"}
    assert {row["planned"] for row in rows["cumulative"]} == {"not planned"}


def test_the_first_question_says_what_was_planned_and_not_done(reproduced):
    shown, out = reproduced
    data = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert data["pooled"]["planned"] == "planned"
    assert data["tables"]["estimates"][1]["planned"] == "not planned"
    missing = {row["analysis"]: row["why"] for row in data["protocol"]["not_carried_out"]}
    assert list(missing) == ["moderator dropout", "egger_test", "influence"]
    assert missing["egger_test"] == "there are fewer than 3 effect sizes"
    assert "a slope needs at least 4" in missing["moderator dropout"]
    flat = " ".join(shown.split())
    assert (
        "This analysis was planned. The protocol leaves open: vtype, level, domains, timepoints, not_certainty." in flat
    )
    assert "Planned and not carried out here: moderator dropout (2 trials have" in flat
    assert "k: NOT TESTABLE [planned]" in shown
    for name in ("report.html", "report.md"):
        text = (out / name).read_text(encoding="utf-8")
        for line in ("All candidate trials: planned.", "report's what if: not planned.", "choices.toml: not planned."):
            assert line in text.replace("&#39;", "'")


def test_an_outcome_rule_of_another_kind_makes_the_first_answer_unplanned(written):
    answers = Answers(mm.load_dataset("mi_cbt_anxiety"))
    other = read_protocol(written(LEAST + 'raters = ["self"]\nbounds = "bounds"\n'))
    found = first_question_compliance(other, answers)
    assert found.label("pooled") == "not planned"
    assert found.why("pooled") == "The protocol plans raters self, not clinician."
    early = read_protocol(written(LEAST + 'bounds = "bounds"\nonly = { published_by_2018_04 = "yes" }\n'))
    found = first_question_compliance(early, answers)
    assert (found.label("pooled"), found.label("early"), found.label("later")) == (
        "not planned",
        "planned",
        "not planned",
    )
    drop = read_protocol(written(LEAST + 'bounds = "drop"\ntest = "knha"\n'))
    found = first_question_compliance(drop, answers)
    assert (found.label("pooled"), found.label("points_only")) == ("not planned", "planned")


def test_bundles_and_copies_keep_the_protocol(tmp_path, written):
    folder = copy_dataset("mi_cbt_anxiety", tmp_path / "mine")
    plain = bundle(mm.read_dataset(folder))
    assert "planned" not in json.loads(zipfile.ZipFile(io.BytesIO(plain)).read("results.json"))
    assert json.loads(zipfile.ZipFile(io.BytesIO(plain)).read("settings.json"))["protocol"] == NO_PROTOCOL
    shutil.copyfile(written(FIRST_QUESTION), folder / "protocol.toml")
    content = bundle(mm.read_dataset(folder))
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.read("data/protocol.toml").decode("utf-8") == FIRST_QUESTION
    labels = json.loads(archive.read("results.json"))["planned"]
    assert labels["all candidate trials"] == "planned"
    assert labels["published after April 2018"] == "not planned"
    (tmp_path / "b.zip").write_bytes(content)
    assert verify(tmp_path / "b.zip").agrees
    changed = FIRST_QUESTION.replace('method = "REML"\n', 'method = "REML"\nlevel = 0.9\n')
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as target:
        for name in archive.namelist():
            target.writestr(name, changed if name == "data/protocol.toml" else archive.read(name))
    faults = verify(tmp_path / "c.zip").faults.set_index("place")
    assert faults.loc["results.json: planned.all candidate trials", "computed"] == "not planned"


def test_audit_labels_the_comparison(run, written):
    written(FIRST_QUESTION)
    data = json.loads(run("audit", "--json", "--protocol", "made_up.toml").stdout)
    assert {row["planned"] for row in data["verdicts"]} == {"planned"}
    assert NO_PROTOCOL in run("audit").stdout
