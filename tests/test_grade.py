"""The GRADE summary of findings, and the documents of a review in reports.

Every judgement, flow and risk-of-bias table here is made up; none is about a real review.
"""

import itertools
import json
import tomllib

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.cli import main
from metamiq.question import CannotFit
from metamiq.report import grade_facts, study_report
from metamiq.report import reproduce as reproduce_module
from metamiq.report.grade import NOT_JUDGED, grade_table
from metamiq.report.grade_judgements import DOMAINS, DOWN, LEVELS, UP, Judged, Judgement, read_judgements, template
from metamiq.report.markdown import markdown
from metamiq.report.page import page
from metamiq.report.review import NOTHING, find_review

CLOSED_FORM = {"rtol": 1e-10}  # same arithmetic in another order
NONE = {domain: next(iter(words)) for domain, words in DOWN.items()}  # the first word moves no level


def judged(design="randomised", **changed):
    return Judged("a", design, judgements={d: Judgement(d, w, "made up") for d, w in {**NONE, **changed}.items()})


def toml(name="outcome", design="randomised", extra="", **words):
    lines = ["[[outcome]]", f"name = {json.dumps(name)}", f"design = {json.dumps(design)}", extra]
    for domain, word in words.items():
        lines += [f"[outcome.{domain}]", f"judgement = {json.dumps(word)}", 'reason = "made up"']
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def bcg():
    return mm.load_dataset("bcg").trials


@pytest.fixture(scope="module")
def ratios(bcg):
    return mm.effect_sizes(bcg, "RR")


@pytest.fixture
def file(tmp_path):
    def write(text, name="grade.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_nothing_is_judged_before_a_person_has(ratios):
    table = grade_table(ratios)
    found = table.to_frame()
    assert (found["judgement"] == "").all()
    assert (found["reason"] == "").all()
    assert found["levels"].isna().all()
    assert (found["facts"] != "").all()
    assert found["domain"].tolist() == [
        "risk of bias", "inconsistency", "indirectness", "imprecision", "publication bias", "large effect",
        "dose-response gradient", "plausible confounding",
    ]  # fmt: skip
    assert table.findings().loc[0, "certainty"] == ""
    assert table.summary().count(NOT_JUDGED) == len(DOMAINS) + 1


def test_facts_suggest_no_judgement(ratios):
    """No word of a judgement stands among the facts."""
    words = {w for allowed in DOMAINS.values() for w in allowed} - {"no", "yes", "large", "likely"}
    for source in (ratios, mm.load_dataset("mi_cbt_anxiety")):
        facts = " ".join(grade_table(source).to_frame()["facts"])
        assert not [w for w in words if w in facts]


@pytest.mark.parametrize(
    ("given_", "level"),
    [
        (judged(), "high"),
        (judged(inconsistency="serious"), "moderate"),
        (judged(inconsistency="serious", imprecision="serious"), "low"),
        (judged(risk_of_bias="very serious", imprecision="serious"), "very low"),
        (judged(risk_of_bias="very serious", imprecision="very serious", publication_bias="very likely"), "very low"),
        (judged(publication_bias="likely"), "moderate"),
        (judged("observational"), "low"),
        (judged("observational", large_effect="large"), "moderate"),
        (judged("observational", large_effect="very large"), "high"),
        (judged("observational", large_effect="very large", dose_response="yes"), "high"),
        (judged("observational", plausible_confounding="would reduce the effect"), "moderate"),
        (judged("observational, ROBINS-I", risk_of_bias="extremely serious"), "very low"),
        (judged("observational, ROBINS-I"), "high"),
    ],
)
def test_the_level_follows_the_handbook(given_, level):
    assert given_.certainty == level


@given(st.sampled_from(["randomised", "observational"]), st.data())
@settings(max_examples=50, deadline=None)
def test_the_level_only_falls_with_reasons_to_rate_down(design, data):
    words = {d: data.draw(st.sampled_from(list(w))) for d, w in DOWN.items()}
    better = judged(design, **words)
    domain = data.draw(st.sampled_from(list(DOWN)))
    worst = list(DOWN[domain])[-1]
    worse = judged(design, **{**words, domain: worst})
    assert LEVELS.index(worse.certainty) <= LEVELS.index(better.certainty)


@pytest.mark.parametrize("missing", [*DOWN, "design"])
def test_there_is_no_level_until_all_is_judged(missing):
    whole = judged()
    left = {d: j for d, j in whole.judgements.items() if d != missing}
    some = Judged("a", "" if missing == "design" else "randomised", judgements=left)
    assert some.certainty is None
    assert len(some.missing) == 1


def test_rating_up_against_the_advice_is_said():
    assert "observational studies" in judged(large_effect="large").caution
    assert "not usual" in judged("observational", large_effect="large", imprecision="serious").caution
    assert judged("observational", large_effect="large").caution == ""
    assert judged(large_effect="no").caution == ""


def test_a_whole_table_from_a_file(ratios, file):
    words = {**NONE, "inconsistency": "serious"}
    text = toml(name="tuberculosis", extra='assumed_risk = 0.02\nassumed_risk_source = "made up"', **words)
    table = mm.grade_table(ratios, file(text))
    found = table.findings().iloc[0]
    assert found["outcome"] == "tuberculosis"  # the only outcome may be called as one likes
    assert found["certainty"] == "moderate"
    fit = mm.random_effects(ratios)
    here, low, high = (1000 * 0.02 * np.exp([fit.estimate, *fit.ci()])).round().astype(int)
    said = f"20 per 1000 with group 2 (assumed: made up); {here} per 1000 with group 1 ({low} to {high}): 10 fewer"
    assert found["absolute"].startswith(said)
    assert found["participants"] == ratios["n1i"].sum() + ratios["n2i"].sum()
    row = table.to_frame().set_index("domain").loc["inconsistency"]
    assert (row["judgement"], row["levels"], row["reason"]) == ("serious", -1, "made up")
    assert "\N{CIRCLED PLUS}" * 3 + "\N{WHITE CIRCLE} moderate" in table.summary()


def test_the_same_judgements_as_csv(ratios, file):
    rows = [("outcome", "design", "randomised", ""), ("outcome", "assumed_risk", "0.02", "made up")]
    rows += [("outcome", domain, word, "made up") for domain, word in NONE.items()]
    text = "outcome,domain,judgement,reason\n" + "\n".join(map(",".join, rows)) + "\n"
    by_csv = grade_table(ratios, file(text, "grade.csv"))
    extra = 'assumed_risk = 0.02\nassumed_risk_source = "made up"'
    by_toml = grade_table(ratios, file(toml(extra=extra, **NONE)))
    assert by_csv.summary() == by_toml.summary()
    assert by_csv.findings().loc[0, "certainty"] == "high"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[outcome]]\nname = "outcome"\n[outcome.imprecision]\njudgement = "serious"\n', "'serious' without a reason"),
        (toml(imprecision="serious").replace("made up", "   "), "'serious' without a reason"),
        ('[[outcome]]\nname = "outcome"\n[outcome.imprecision]\nreason = "x"\n', "a reason but no judgement"),
        (toml(imprecision="bad"), "must be one of 'not serious', 'serious', 'very serious', not 'bad'"),
        (toml(inconsistency="extremely serious"), "not 'extremely serious'"),
        (toml(risk_of_bias="extremely serious"), "only when design is 'observational, ROBINS-I'"),
        (toml(design="rct"), "design of 'outcome' must be one of 'randomised'"),
        (toml(extra="assumed_risk = 20"), "must lie between 0 and 1"),
        (toml(extra="assumed_risk = true"), "must lie between 0 and 1"),
        (toml(extra="assumed_risk = 0.2"), "must say where it is from"),
        (toml(extra='assumed_risk_source = "x"'), "a source but no number"),
        (toml(extra="certainty = 'high'"), "keys of 'outcome' must be .* not 'certainty'"),
        ("[outcome]\nname = 'a'\n", r"\[\[outcome\]\]"),
        ("[[outcome]]\nimprecision = 3\nname = 'a'\n", "must have judgement and reason"),
        ("[[outcome]]\n", "outcome 1 must have a name"),
        (toml() + toml(), "is there again"),
        ("name = [", "must be TOML"),
    ],
)
def test_every_fault_of_a_file_is_a_sentence(file, text, message):
    with pytest.raises(mm.DataError, match=message):
        read_judgements(file(text), ["outcome"])


def test_all_faults_come_at_once(file):
    text = toml(imprecision="bad", inconsistency="worse", design="none") + toml(name="other")
    with pytest.raises(mm.DataError) as caught:
        read_judgements(file(text), ["outcome", "second"])
    assert all(word in str(caught.value) for word in ("'bad'", "'worse'", "'none'", "'other'"))


def test_files_that_are_not_there_or_are_no_csv(tmp_path, file):
    with pytest.raises(mm.DataError, match="was not found"):
        read_judgements(tmp_path / "nothing.toml", ["outcome"])
    with pytest.raises(mm.DataError, match="outcome, domain, judgement, reason, but judgement, reason is missing"):
        read_judgements(file("outcome,domain\na,b\n", "grade.csv"), ["outcome"])
    with pytest.raises(mm.DataError, match="line 2 has 'quality'"):
        read_judgements(file("outcome,domain,judgement,reason\noutcome,quality,serious,x\n", "g.csv"), ["outcome"])


@pytest.mark.parametrize("sign", ["\\u202e", "\\u001b[2J", "\\u0000"])
def test_signs_that_turn_or_hide_text_are_refused(file, sign):
    for text in (f'name = "a{sign}"', f'name = "a"\n[outcome.indirectness]\njudgement = "serious"\nreason = "b{sign}"'):
        with pytest.raises(mm.DataError, match="must be plain text, but has the sign"):
            read_judgements(file(f"[[outcome]]\n{text}\n", "grade.toml"), ["outcome"])


@given(st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=3, unique=True))
@settings(max_examples=50, deadline=None)
def test_a_template_is_read_back_as_nothing_judged(tmp_path_factory, names):
    names = list(dict.fromkeys(" ".join(n.split()) for n in names))
    text = template(names, names[:1])
    assert [t["name"] for t in tomllib.loads(text)["outcome"]] == names
    path = tmp_path_factory.mktemp("grade") / "grade.toml"
    path.write_text(text, encoding="utf-8")
    assert read_judgements(path, names) == {name: Judged(name) for name in names}


@given(
    st.sampled_from(["OR", "RR", "RD", "PETO"]),
    st.floats(0.001, 0.999),
    st.lists(st.tuples(*[st.integers(1, 19)] * 2), min_size=2, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_absolute_effects_are_risks_that_undo_to_the_relative_effect(measure, risk, events):
    """Synthetic counts of 20 people in each group."""
    counts = pd.DataFrame(events, columns=["ai", "ci"]).assign(n1i=20, n2i=20)
    fit = mm.random_effects(mm.effect_sizes(counts, measure), test="z")
    here = grade_facts.absolute(fit, risk)
    assert all(0 <= x <= 1 for x in here)
    low, high = sorted(here[1:])
    assert low <= here[0] <= high
    if 0 < here[0] < 1:
        back = {
            "RD": lambda x: x - risk,
            "RR": lambda x: np.log(x / risk),
        }.get(measure, lambda x: np.log(x / (1 - x)) - np.log(risk / (1 - risk)))(here[0])
        assert_allclose(back, fit.estimate, rtol=1e-6, atol=1e-9)  # near 0 and 1 a logit keeps fewer digits


def test_an_assumed_risk_by_hand():
    """OR 0.5 at 200 in 1000: odds 0.25 become 0.125, which is 1 in 9."""
    fit = mm.random_effects(pd.DataFrame({"yi": [np.log(0.5)] * 2, "vi": [0.01] * 2}), test="z")
    fit.source.frame.attrs["measure"] = "OR"
    assert_allclose(grade_facts.absolute(fit, 0.2)[0], 1 / 9, **CLOSED_FORM)
    assert "111 per 1000 with group 1" in grade_facts.absolute_text(fit, 0.2, "made up")
    assert "89 fewer" in grade_facts.absolute_text(fit, 0.2, "made up")


def test_a_risk_is_for_outcomes_that_people_have_or_have_not(file):
    effects = mm.effect_sizes(mm.load_dataset("normand1999").trials, "SMD")
    text = toml(name="stay", extra='assumed_risk = 0.2\nassumed_risk_source = "x"')
    with pytest.raises(mm.DataError, match="Outcome 'stay': An assumed risk has a meaning for"):
        grade_table(effects, file(text))
    assert "assumed_risk" not in grade_table(effects).template()


def test_a_difference_in_plain_words():
    fit = mm.random_effects(mm.effect_sizes(mm.load_dataset("normand1999").trials, "SMD"))
    share = mm.plain_words(fit.estimate).superiority
    assert f"the one of group 1 scored higher in {100 * share:.0f}% of pairs" in grade_facts.in_plain_words(fit)
    assert grade_facts.in_plain_words(mm.random_effects(yi=[0.1, 0.2], vi=[0.1, 0.1], test="z")) == ""
    evidence = grade_table(mm.load_dataset("mi_cbt_anxiety")).findings().set_index("outcome")
    assert "the one of MI + CBT did better" in evidence.loc["symptoms at the end of CBT", "in_words"]


def test_the_outcomes_of_a_dataset_a_table_and_fits(ratios):
    assert grade_table(mm.load_dataset("mi_cbt_anxiety")).findings()["outcome"].tolist() == [
        "symptoms at the end of CBT", "dropout",
    ]  # fmt: skip
    berkey = grade_table(mm.load_dataset("berkey1998"))
    assert berkey.findings()["outcome"].tolist() == ["AL", "PD"]
    alone = berkey.rows[1].fit
    part = mm.load_dataset("berkey1998").trials.query("outcome == 'PD'")
    assert_allclose(alone.estimate, mm.random_effects(part).estimate, **CLOSED_FORM)
    two = grade_table({"x": mm.random_effects(ratios), "y": mm.fixed_effect(ratios)})
    assert "prediction" in two.rows[0].facts["inconsistency"]
    assert "prediction" not in two.rows[1].facts["inconsistency"]
    with pytest.raises(ValueError, match="'reg' is not"):
        grade_table({"reg": mm.meta_regression(ratios, "latitude")})
    with pytest.raises(ValueError, match="takes a Dataset, a table"):
        grade_table(3)
    with pytest.raises(mm.DataError, match="must have yi and vi"):
        grade_table(pd.DataFrame({"study": ["a"]}))


def test_people_are_counted_once_and_unknown_sizes_are_said():
    made_up = pd.DataFrame({"study": ["a", "a", "b"], "yi": [0.1, 0.2, 0.3], "vi": 0.1, "n1i": [10, 12, 5], "n2i": 10})
    assert grade_facts.people(mm.random_effects(made_up)) == (37.0, "")
    made_up.loc[2, "n1i"] = np.nan
    n, note = grade_facts.people(mm.random_effects(made_up))
    assert np.isnan(n)
    assert note == "the sizes of 1 row are not known"
    assert "no sizes" in grade_facts.people(mm.random_effects(yi=[0.1, 0.2], vi=[0.1, 0.1]))[1]
    evidence = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    total, note = grade_facts.people(mm.random_effects_bounded(evidence))
    assert total == evidence["n1i"].sum() + evidence["n2i"].sum()
    assert note == f"arm sizes assumed in {(evidence['n_source'] == 'assumed').sum()} trials"


def test_small_study_facts_only_where_they_can_be_read(bcg, ratios):
    found = grade_facts.facts(mm.random_effects(ratios))["publication_bias"]
    assert found.startswith("Egger's regression test: coefficient")
    harbord = grade_facts.facts(mm.random_effects(mm.effect_sizes(bcg, "OR")))["publication_bias"]
    assert "Harbord" in harbord
    few = grade_facts.facts(mm.random_effects(ratios.head(5)))["publication_bias"]
    assert few == "Egger's regression test should not be read with 5 effect sizes; it needs at least 10."
    bounds = mm.random_effects_bounded(mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")))
    assert "cannot be looked for" in grade_facts.facts(bounds)["publication_bias"]


# The documents of a review in reports.


@pytest.fixture
def folder(tmp_path, bcg):
    """A folder with a study table and made-up documents of a review."""
    bcg.to_csv(tmp_path / "trials.csv", index=False)
    names = bcg["study"].tolist()
    rows = [f"{name},Low,Low,High,Low,Some concerns,High" for name in names]
    (tmp_path / "risk_of_bias.csv").write_text("\n".join(["Study,D1,D2,D3,D4,D5,Overall", *rows]), encoding="utf-8")
    flow = "key,n,reason\ndatabases,100,\nduplicates_removed,20,\nrecords_screened,81,\nrecords_excluded,50,\n"
    (tmp_path / "flow.csv").write_text(flow, encoding="utf-8")
    (tmp_path / "grade.toml").write_text(toml(name="<b>tuberculosis</b>", **NONE), encoding="utf-8")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_a_report_finds_the_documents_beside_its_data(folder):
    out = folder / "report.html"
    done = run("report", folder / "trials.csv", "--measure", "RR", "--out", out)
    assert done.exit_code == 0, done.output
    html = out.read_text(encoding="utf-8")
    places = [
        html.index(f'<section id="{key}"')
        for key in ("certainty", "studies", "flow-of-studies", "characteristics", "risk-of-bias")
    ]
    assert places == sorted(places)
    assert "The counts do not agree with each other:" in html  # 81 screened of 80
    assert "Overall judgement of 13 studies (ROB2): high 13." in html
    assert "<b>tuberculosis</b>" not in html
    assert "&lt;b&gt;tuberculosis&lt;/b&gt;" in html
    assert "\N{CIRCLED PLUS}" * 4 in html
    assert html.count(">D3<") >= 2  # beside the forest plot and in the table
    ids = [part.split('"')[0] for part in html.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
    found = json.loads(run("report", folder / "trials.csv", "--measure", "RR", "--format", "json", "--out", "-").stdout)
    assert found["tables"]["summary_of_findings"][0]["certainty"] == "high"
    assert len(found["tables"]["characteristics"]) == 13


def test_a_report_without_documents_has_no_empty_shells(ratios):
    whole = study_report.document(mm.random_effects(ratios), "bcg", review=NOTHING)
    assert {"certainty", "flow-of-studies", "risk-of-bias"}.isdisjoint(s.key for s in whole.sections)
    assert "characteristics" in {s.key for s in whole.sections}
    bare = study_report.document(mm.random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.02, 0.05]), "bare")
    assert "characteristics" not in {s.key for s in bare.sections}


def test_named_files_come_before_those_beside_the_data(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "mine.toml"
    other.write_text(toml(**{**NONE, "imprecision": "serious"}), encoding="utf-8")
    done = run("report", folder / "trials.csv", "--measure", "RR", "--format", "json", "--out", "-", "--grade", other)
    assert json.loads(done.stdout)["tables"]["summary_of_findings"][0]["certainty"] == "moderate"
    missing = run("report", folder / "trials.csv", "--measure", "RR", "--out", "-", "--flow", other.parent / "no.csv")
    assert missing.exit_code == 2
    assert "no.csv" in missing.output


def test_judgements_that_do_not_fit_the_forest_are_shown_alone(folder, ratios):
    table = (folder / "risk_of_bias.csv").read_text(encoding="utf-8")
    (folder / "risk_of_bias.csv").write_text("\n".join(table.splitlines()[:5]), encoding="utf-8")
    found = find_review(folder)
    assert found.beside(ratios) is None
    whole = study_report.document(mm.random_effects(ratios), "bcg", review=found)
    text = markdown(whole)
    assert "Not shown beside the forest plot." in text
    assert "| D1 |" in text
    page(whole)


def test_the_first_question_with_documents(tmp_path, monkeypatch):
    quick = CannotFit("left out of this test for its time")
    monkeypatch.setattr(reproduce_module, "choices_of", lambda ds, printed: quick)
    monkeypatch.setattr(reproduce_module.what_if, "first_question", lambda answers, printed: quick)
    home = tmp_path / "mine"
    assert run("copy-dataset", "mi_cbt_anxiety", home).exit_code == 0
    ds = mm.read_dataset(home)
    (home / "grade.toml").write_text(grade_table(ds).template(), encoding="utf-8")
    (home / "flow.csv").write_text("key,n\ndatabases,100\nrecords_screened,100\n", encoding="utf-8")
    out = tmp_path / "answer"
    reproduce_module.reproduce(ds, out, review=find_review(home))
    assert (out / "flow.svg").is_file()
    assert "not judged (missing: design, risk of bias" in (out / "report.html").read_text(encoding="utf-8")
    assert "dropout" in (out / "tables" / "grade.csv").read_text(encoding="utf-8")
    kept = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [row["certainty"] for row in kept["tables"]["summary_of_findings"]] == ["", ""]
    assert any("Hedges" in reference for reference in kept["references"])


def test_the_commands(folder, bcg):
    named = run("grade", folder / "trials.csv", "--measure", "OR")
    assert named.exit_code == 0, named.output
    assert "certainty: \N{CIRCLED PLUS}" in named.stdout
    assert "grade.toml read" in named.stderr
    as_json = json.loads(run("grade", folder / "trials.csv", "--measure", "OR", "--format", "json").stdout)
    assert as_json["findings"][0]["certainty"] == "high"
    assert any("GRADE Handbook" in reference for reference in as_json["references"])
    empty = run("grade", folder / "trials.csv", "--measure", "OR", "--template")
    assert tomllib.loads(empty.stdout)["outcome"][0]["name"] == "outcome"
    assert "assumed_risk" in empty.stdout
    csv = run("grade", folder / "trials.csv", "--measure", "OR", "--format", "csv").stdout
    assert csv.splitlines()[0].startswith("outcome,effect,in_words,absolute,participants")
    refused = run("grade", folder / "trials.csv", "--measure", "OR", "--template", "--format", "csv")
    assert refused.exit_code == 2
    no_measure = run("grade", folder / "trials.csv")
    assert no_measure.exit_code == 2
    assert "--measure" in no_measure.output


def test_every_word_that_may_be_written_has_a_level():
    for domain, word in itertools.chain.from_iterable(((d, w) for w in words) for d, words in DOMAINS.items()):
        levels = Judgement(domain, word, "made up").levels
        assert levels <= 0 if domain in DOWN else levels >= 0
    assert set(DOWN) | set(UP) == set(DOMAINS)


def test_words_have_a_column_where_there_are_any():
    for name, measure, told in (("normand1999", "SMD", True), ("bcg", "RR", False)):
        fit = mm.random_effects(mm.effect_sizes(mm.load_dataset(name).trials, measure))
        table = grade_table({"outcome": fit}).blocks()[0]
        assert ("in plain words" in table.head) == told
        assert len(table.rows[0]) == len(table.head)
