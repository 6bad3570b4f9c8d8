"""Protocol files: reading, labels, the template, the command. All protocols are made up."""

import datetime
import json
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import metamiq as mm
from metamiq.cli import main
from metamiq.errors import DataError
from metamiq.pooling.batch import METHODS, TESTS
from metamiq.protocol.compliance import Analysis, Ask, comply
from metamiq.protocol.models import FurtherAnalyses, Plan, ProtocolFile
from metamiq.protocol.reading import LARGEST_FILE, read_protocol
from metamiq.protocol.record import Protocol
from metamiq.protocol.study import settings_for
from metamiq.protocol.template import template_text
from metamiq.protocol.vocabulary import SENSITIVITY, SMALL_STUDY
from metamiq.sensitivity.small_study_overview import _METHODS as EVERY_METHOD

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


def test_a_protocol_is_read_as_it_is_written(written):
    protocol = mm.read_protocol(written(AMENDED))
    assert protocol.describe() == "'made up', version 1 (registered: a registry, R1, 2024-01-31)"
    assert [s.date for s in protocol.stages] == [None, datetime.date(2025, 2, 28), datetime.date(2025, 6, 30)]
    assert [s.plan.method for s in protocol.stages] == ["DL", "REML", "REML"]
    assert protocol.plan.level is None
    assert protocol.analyses.sensitivity == ("leave_one_out", "egger_test")
    with pytest.raises(Exception, match="frozen"):
        protocol.plan.method = "PM"


def test_labels_by_hand(written):
    protocol = read_protocol(written(AMENDED))
    first = protocol.planned("estimate", method="REML", test="z", level=0.95)
    assert first.label == "planned, changed by amendment of 2025-02-28"
    assert first.why == "REML in place of DL. Few trials."
    assert protocol.planned("estimate", test="z", level=0.9) == ("planned", "The protocol leaves open: level.")
    assert protocol.planned("estimate", method="DL", test="knha") == (
        "not planned",
        "The protocol plans method REML, not DL; test z, not knha.",
    )
    was = protocol.planned("estimate", method="DL")
    assert not was.is_planned
    assert was.why.endswith("It was planned until the amendment of 2025-02-28.")
    assert protocol.planned("sensitivity", "leave_one_out").label == "planned"
    assert protocol.planned("sensitivity", "egger_test").label == "planned, changed by amendment of 2025-06-30"
    assert protocol.planned("sensitivity", "begg_test").why == (
        "The protocol plans no sensitivity analysis 'begg_test'. It was planned until the amendment of 2025-06-30."
    )
    assert protocol.planned("moderator", " dose+year").label == "planned"
    assert protocol.planned("moderator", "year").label == "not planned"
    assert protocol.planned("subgroup", "dose").why == "The protocol plans no subgroup 'dose'."


def test_dropout_by_measure_and_model(written):
    both = read_protocol(written(LEAST + '[analyses]\ndropout_measures = ["OR"]\n'))
    assert both.planned("dropout", "OR", model="random_effects").label == "planned"
    one = read_protocol(written(LEAST + '[analyses]\ndropout_measures = "OR"\ndropout_models = "mantel_haenszel"\n'))
    assert one.planned("dropout", "OR", model="mantel_haenszel").label == "planned"
    assert one.planned("dropout", "OR", model="random_effects").label == "not planned"
    assert one.planned("dropout", "RD", model="mantel_haenszel").label == "not planned"


def test_which_trials_count(written):
    rule = 'only = { early = ["yes"] }\nwithout = ["c"]\nassume = false\n'
    protocol = read_protocol(written(LEAST + rule))
    table = pd.DataFrame(
        {"trial_id": list("abcd"), "early": ["yes", "yes", "yes", "no"], "n_source": ["reported", "assumed"] * 2}
    )
    rows = [True, False, False, False]
    assert protocol.planned("estimate", table=table, rows=rows).label == "planned"
    found = protocol.planned("estimate", table=table)
    assert found == ("not planned", "The protocol plans the 1 trial that its rule takes, not these 4.")
    assert "which the table does not have" in protocol.planned("estimate", table=table.drop(columns="early")).why


def test_bounds_and_points_together_have_no_estimator_to_compare(written):
    plan = read_protocol(written(LEAST + 'bounds = "bounds"\ntest = "knha"\n'))
    assert plan.planned("estimate", bounds="bounds", method="ML", test="LR").label == "planned"
    assert plan.planned("estimate", bounds="drop", method="REML").label == "not planned"
    plan = read_protocol(written(LEAST))
    assert plan.planned("estimate", bounds="bounds", method="ML").why == "The protocol plans method REML, not ML."


def test_planned_and_not_done(written):
    protocol = read_protocol(written(AMENDED))
    analyses = [
        Analysis("pooled", "mean", (Ask("estimate", settings={"method": "DL"}),)),
        Analysis("dose", "dose", (Ask("moderator", "dose"),), failed="no slope."),
        Analysis("leave_one_out", "without each", (Ask("sensitivity", "leave_one_out"),)),
    ]
    found = comply(protocol, analyses)
    assert found.label("pooled") == "not planned"
    assert (found.label("dose"), found.carried_out("dose")) == ("planned", False)
    assert dict(found.not_done.to_records(index=False).tolist()) == {
        "main analysis": "carried out otherwise; planned: method REML, not DL. It was planned until the amendment of "
        "2025-02-28",
        "moderator dose": "no slope",
        "moderator year + dose": "not part of this output",
        "egger_test": "not part of this output",
    }
    assert found.missing.endswith("moderator dose (no slope), moderator year + dose, egger_test.")


@pytest.mark.parametrize(
    ("kind", "what", "more", "message"),
    [
        ("figure", "", {}, r"kind must be one of 'estimate', .*, not 'figure'\."),
        ("sensitivity", "egger", {}, r"not 'egger'\. Did you mean 'egger_test'\?"),
        ("estimate", "", {"tau": 1}, r"settings must be among .*, not 'tau'\."),
    ],
)
def test_questions_that_no_protocol_answers(written, kind, what, more, message):
    with pytest.raises(ValueError, match=message):
        read_protocol(written(LEAST)).planned(kind, what, **more)


FAULTS = {
    "unknown key": (LEAST + "levl = 0.9\n", "one of the template's, but there is 'plan.levl' .* Did you mean 'level'?"),
    "wrong case": (
        LEAST.replace("REML", "reml"),
        "plan.method must be one of .* it has 'reml' .* Did you mean 'REML'?",
    ),
    "percent": (LEAST + "level = 95\n", "plan.level must be a number between 0 and 1, but it is 95 "),
    "number as text": (LEAST + 'level = "0.95"\n', "plan.level must be a number between 0 and 1, but it is '0.95'"),
    "yes as truth": (LEAST + 'assume = "yes"\n', "plan.assume must be true or false, but it is 'yes'"),
    "empty title": (LEAST.replace('"a"', '" "'), "title must be filled, but it is empty"),
    "no plan": ('title = "a"\n', "plan must be there, but it is not"),
    "plan is no table": ('title = "a"\nplan = 3\n', "plan must be a table, but it is 3"),
    "number as date": (LEAST + "[registration]\ndate = 20240131\n", "registration.date must be a date such as"),
    "no such date": (LEAST + '[registration]\ndate = "2024-02-31"\n', "registration.date must be a date such as"),
    "text as table": (LEAST + 'only = ["x"]\n', "plan.only must be a table"),
    "twice": (
        LEAST + '[analyses]\nmoderators = ["x", "x"]\n',
        "analyses.moderators must name each thing once, but 'x'",
    ),
    "two unknown": (LEAST + '[analyses]\nsensitivity = ["egger", "zz"]\n', "it has 'egger', 'zz' .* 'egger_test'"),
    "models alone": (LEAST + '[analyses]\ndropout_models = ["random_effects"]\n', "analyses must say which measures"),
    "one variance": (LEAST.replace("SMD", "OR") + 'vtype = "LS"\n', "must leave out vtype, for OR has one variance"),
    "escape sequence": (LEAST.replace('"a"', '"a\\u001b[2J"'), "title must be plain text, but it holds the control"),
    "turned text": (LEAST.replace('"a"', '"a\\u202e"'), "title must be plain text"),
    "amendment value": (AMENDED.replace('"REML"', '"RML"'), "amendment 1, plan.method must be one of"),
    "amendment key": (AMENDED.replace("[amendment.plan]\nm", "[amendment.plan]\nx"), "amendment 1, plan.xethod"),
    "amendment order": (AMENDED.replace("2025-06-30", "2025-02-01"), "in order of date, but amendment 2 of 2025-02-01"),
    "amendment form": ('amendment = 1\ntitle = "a"\n', r"amendments must be written as \[\[amendment\]\]"),
    "not TOML": ("title = a\n", "must be a TOML file in UTF-8, but it cannot be read: Invalid value .at line 1"),
    "NUL": (b"title = \0\n", "must be a TOML file in UTF-8"),
    "UTF-16": ("title".encode("utf-16"), "byte 0 does not fit"),
    "deep": ("a = " + "[" * 100_000, "it cannot be read: it is nested too deeply"),
    "huge": ("#" * (LARGEST_FILE + 1), "at most 1,000,000 bytes, but it has 1,000,001"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_one_clear_sentence(written, case):
    text, message = FAULTS[case]
    with pytest.raises(DataError, match=message) as error:
        read_protocol(written(text))
    assert "made_up.toml" in str(error.value)
    assert "ValidationError" not in str(error.value)


def test_all_faults_come_at_once(written):
    text = LEAST.replace('"a"', "1").replace("REML", "reml") + 'level = 2\nfoo = 1\n[analyses]\nsubgroups = [""]\n'
    with pytest.raises(DataError) as error:
        read_protocol(written(text))
    assert str(error.value).startswith("5 faults were found; nothing was read.")


def test_what_is_no_file(tmp_path):
    for name, message in (
        (tmp_path, "a folder"),
        (tmp_path / "none", "not found"),
        ("a\0b", "must"),
        ("/dev/null", "no ord"),
    ):
        with pytest.raises(DataError, match=message):
            read_protocol(name)


words = st.text(st.characters(exclude_categories=("C", "Zl", "Zp", "Zs")), min_size=1, max_size=8)
names = st.lists(words, max_size=3, unique=True)


def of(known):
    return st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True)


plans = st.fixed_dictionaries(
    {"measure": st.sampled_from(["SMD", "OR"]), "method": st.sampled_from(METHODS)},
    optional={
        "test": st.sampled_from(TESTS),
        "level": st.floats(0.01, 0.99),
        "domains": names,
        "assume": st.booleans(),
        "only": st.dictionaries(words, st.lists(words, min_size=1, max_size=2, unique=True), max_size=2),
        "without": names,
    },
)
further = st.fixed_dictionaries({}, optional={"subgroups": names, "moderators": names, "sensitivity": of(SENSITIVITY)})
dates = st.dates(datetime.date(2000, 1, 1))
changes = st.fixed_dictionaries(
    {"date": dates, "what": words, "why": words},
    optional={"results_known": st.booleans(), "plan": st.fixed_dictionaries({"method": st.sampled_from(METHODS)})},
)
files = st.fixed_dictionaries(
    {"title": words, "plan": plans},
    optional={
        "version": words,
        "question": words,
        "registration": st.fixed_dictionaries({}, optional={"where": words, "identifier": words, "date": dates}),
        "analyses": further,
        "amendment": st.lists(changes, max_size=2).map(lambda x: sorted(x, key=lambda change: change["date"])),
    },
)


@settings(max_examples=50, deadline=None)
@given(files)
def test_what_the_template_writes_is_read_as_the_same(tmp_path_factory, content):
    whole = ProtocolFile.model_validate(content)
    file = tmp_path_factory.mktemp("protocol") / "made_up.toml"
    file.write_text(template_text(Protocol("", whole, ())), encoding="utf-8")
    again = read_protocol(file).content
    # An empty list says nothing, and is not written.
    assert again.model_dump() == whole.model_dump() or again.model_dump() == {
        **whole.model_dump(),
        "plan": {**whole.plan.model_dump(), "domains": whole.plan.domains or None},
    }


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60) | st.sampled_from([x for x, _ in FAULTS.values() if len(x) < 2000]).map(str))
def test_any_text_is_a_protocol_or_a_clear_error(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("protocol") / "made_up.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError):
        read_protocol(file)


def test_the_template_explains_every_field_and_its_examples_are_a_protocol(written):
    text = template_text()
    for model in (ProtocolFile, Plan, FurtherAnalyses):
        for name in model.model_fields:
            assert re.search(rf"^(# )?\[*{name}\b", text, re.MULTILINE), name
    with pytest.raises(DataError, match="3 faults"):  # title, measure and method are to be filled
        read_protocol(written(text))
    plain = re.sub(r"^# (\[|\w+ = )", r"\1", text, flags=re.MULTILINE)
    for name, value in (("title", "t"), ("measure", "SMD"), ("method", "DL")):
        plain = plain.replace(f'{name} = ""', f'{name} = "{value}"')
    protocol = read_protocol(written(plain))
    assert protocol.analyses.moderators == ("mi_sessions",)  # the example of an amendment
    assert protocol.stages[0].plan.method == "DL"
    assert protocol.plan.method == "REML"


def test_every_method_for_small_study_effects_has_a_name_in_protocols():
    assert {method.name for method in EVERY_METHOD} == set(SMALL_STUDY.values())


def test_the_command_prints_a_template_and_never_overwrites(run, tmp_path):
    assert run("protocol").stdout == template_text()
    assert run("protocol", "--out", "p.toml").exit_code == 0
    (tmp_path / "p.toml").write_text(LEAST, encoding="utf-8")
    refused = run("protocol", "--out", "p.toml")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "metamiq: A protocol must be a new file, but p.toml exists. Choose another --out.\n",
    )
    assert (tmp_path / "p.toml").read_text(encoding="utf-8") == LEAST
    assert run("protocol", "--json").exit_code == 2


def test_the_command_shows_the_plan(run, written):
    written(AMENDED)
    shown = run("protocol", "made_up.toml")
    assert re.search(r"^method +DL +REML$", shown.stdout, re.MULTILINE)
    assert re.search(r"^level +left open +left open$", shown.stdout, re.MULTILINE)
    assert "Amendment of 2025-02-28, results not known: REML in place of DL (few trials)" in shown.stdout
    data = json.loads(run("protocol", "made_up.toml", "--json").stdout)
    assert [stage["plan"]["method"] for stage in data["stages"]] == ["DL", "REML", "REML"]
    assert data["registration"]["date"] == "2024-01-31"
    assert run("protocol", "made_up.toml", "--out", "again.toml").exit_code == 0
    assert read_protocol("again.toml").content == read_protocol("made_up.toml").content


def test_settings_come_from_the_user_then_the_protocol_then_custom(written):
    protocol = read_protocol(written(AMENDED + '[amendment.plan]\nvtype = "HO"\n'))
    taken = settings_for(protocol, needs_measure=True)
    assert (taken.measure, taken.vtype, taken.method, taken.test, taken.level) == ("MD", "HO", "REML", "z", 0.95)
    assert taken.describe() == "measure MD, vtype HO, method REML, test z"
    given_ = settings_for(protocol, needs_measure=True, measure="SMD", method="DL", test=None, level=0.9)
    assert (given_.measure, given_.vtype, given_.method, given_.test, given_.level) == ("SMD", None, "DL", "z", 0.9)
    assert settings_for(None, needs_measure=True).method == "REML"
    assert settings_for(protocol, needs_measure=False).measure is None
