"""One made-up review through several commands: they must say the same number, and the same side.

The trials are synthetic: anxiety scores, of which fewer are better.
"""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.text import Text

import metamiq as mm
from metamiq.cli import main
from metamiq.living.exports import export_files, export_table
from metamiq.report import what_if

TRIALS = """study,year,kind,m1i,sd1i,n1i,m2i,sd2i,n2i
Adler,2005,GAD,23.1,8.34,46,27.1,7.36,50
Bohm,2006,SAD,21.9,6.91,57,22.6,6.27,55
Castro,2007,GAD,20.7,7.85,43,25.9,6.47,46
Dubois,2008,SAD,23.9,8.33,30,25.6,6.98,29
Eriksson,2009,GAD,22.5,7.99,32,25.0,7.37,32
Fischer,2010,SAD,19.9,7.54,34,26.5,6.09,35
"""
PROTOCOL = """title = "made up"
[plan]
measure = "SMD"
vtype = "UB"
method = "DL"
test = "t"
level = 0.9
pi_method = "HTS"
"""
NAMES = ("--groups", "MI + CBT", "CBT")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trials.csv").write_text(TRIALS, encoding="utf-8")

    def call(*args, code=0):
        found = CliRunner().invoke(main, list(args), catch_exceptions=False)
        assert found.exit_code == code, found.output
        return found.stdout

    return call


@pytest.fixture
def planned(tmp_path, run):
    (tmp_path / "protocol.toml").write_text(PROTOCOL, encoding="utf-8")
    return run


def test_grade_pools_as_the_protocol_says(planned):
    pooled = json.loads(planned("pool", "trials.csv", "--json"))["results"][0]
    said = planned("grade", "trials.csv")
    assert f"g {pooled['estimate']:.2f} (90% interval {pooled['ci_low']:.2f} to {pooled['ci_high']:.2f})" in said
    assert f"90% prediction interval {pooled['pi_low']:.2f} to {pooled['pi_high']:.2f}" in said
    other = planned("grade", "trials.csv", "--protocol", "none", "--measure", "SMD")
    assert "95% interval" in other


def test_each_of_several_outcomes_is_graded_at_the_protocols_level(planned, tmp_path):
    lines = TRIALS.splitlines()
    rows = [f"{line},{name}" for line, name in zip(lines, ["outcome", *["worry", "mood"] * 3], strict=True)]
    (tmp_path / "trials.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said = planned("grade", "trials.csv")
    assert said.count("(90% interval") >= 2
    assert "(95% interval" not in said


def test_names_do_not_say_which_arm_did_better(run):
    page = run("report", "trials.csv", "--measure", "SMD", *NAMES, "--out", "-")
    assert "Lower in MI + CBT" in page
    assert "n of MI + CBT" in page  # the head of a column of the characteristics
    assert "Favours" not in page
    said = run("grade", "trials.csv", "--measure", "SMD", *NAMES)
    assert "the one of MI + CBT scored higher in 3" in said


def test_lower_scores_that_are_better_favour_the_arm_that_has_them(run):
    page = run("report", "trials.csv", "--measure", "SMD", *NAMES, "--better", "lower", "--out", "-")
    assert "← Favours MI + CBT" in page
    assert "lies below 0: it favours MI + CBT." in page
    said = run("grade", "trials.csv", "--measure", "SMD", *NAMES, "--better", "lower")
    share = int(re.search(r"did better in (\d+)% of pairs", said)[1])
    other = int(re.search(r"scored higher in (\d+)%", run("grade", "trials.csv", "--measure", "SMD"))[1])
    assert share + other == 100


def unpacked(panel, model, name):
    table = next(t for t in panel.payload()["tables"] if t["model"] == model)
    return np.frombuffer(base64.b64decode(table[name]), dtype="<i2")


def test_what_if_has_the_prediction_interval_of_the_report(run):
    es = mm.effect_sizes(mm.datasets.read_table("trials.csv"), "SMD")
    fit = mm.random_effects(es, pi_method="HTS")
    panel = what_if.study_table(fit, ("a", "b"))
    everything = panel.tables[0].numbers
    half = (fit.pi_high - fit.pi_low) / 2
    assert abs(everything.pi_half[everything.members.argmax()] - half) < 1e-9
    two = np.bitwise_count(everything.members) == 2
    assert np.isnan(everything.pi_half[two]).all()  # t(k - 2) has no degrees of freedom


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(-0.56497, 2, "-0.56"), (-0.56503, 2, "-0.57"), (0.12497, 2, "0.12"), (0.01248, 3, "0.012"), (0.3399, 2, "0.34")],
)
def test_a_page_does_not_round_twice(value, digits, shown):
    (stored,) = np.frombuffer(base64.b64decode(what_if.pack(np.array([value]), digits)), dtype="<i2")
    assert f"{stored * what_if.UNIT:.{digits}f}" == shown
    assert abs(stored * what_if.UNIT - value) <= 1.001 * what_if.UNIT


def test_suspects_of_a_negative_number_round_to_the_digits_typed(run):
    for typed, low, high in (("-0.30", -0.305, -0.295), ("-0.4", -0.45, -0.35)):
        slips = json.loads(run("suspects", "trials.csv", typed, "--json"))["slips"]
        slips = [s for s in slips if s["error"] != "nothing"]
        assert {s["agrees"] for s in slips if low < s["estimate"] < high} <= {True}
        assert not any(s["agrees"] for s in slips if not low - 1e-9 < s["estimate"] < high + 1e-9)
        assert f"come to {typed} when rounded" in run("suspects", "trials.csv", typed)


def test_suspects_say_that_the_sign_may_be_turned(run):
    assert "turn VALUE's sign" in run("suspects", "trials.csv", "0.42")
    assert "turn VALUE's sign" not in run("suspects", "trials.csv", "-0.42")
    wrong = CliRunner().invoke(main, ["suspects", "trials.csv", "0.42", "--metod", "DL"])
    assert (wrong.exit_code, "--metod" in wrong.output) == (2, True)


def exported(run, program, *more):
    run("export", "trials.csv", "--to", program, "--out", "out", *more)
    return pd.read_csv(f"out/{program}.csv")


@pytest.mark.parametrize("program", ["metafor", "meta", "jasp"])
def test_exports_keep_the_columns_for_subgroups_and_moderators(run, program):
    found = exported(run, program, "--measure", "SMD")
    assert found["kind"].tolist() == ["GAD", "SAD"] * 3
    assert not {"m1i", "sd1i", "study"} & set(found)


@pytest.mark.parametrize("name", ["subgroup", "Subgroup"])
def test_revman_gets_the_subgroups(run, tmp_path, name):
    (tmp_path / "trials.csv").write_text(TRIALS.replace("kind", name), encoding="utf-8")
    found = exported(run, "revman", "--measure", "SMD")
    assert found["Subgroup"].tolist() == ["GAD", "SAD"] * 3
    assert list(found.columns)[-1] == "Footnotes"


def test_an_export_holds_the_effects_and_the_model_of_the_protocol(planned):
    found = exported(planned, "metafor")
    asked = mm.effect_sizes(mm.datasets.read_table("trials.csv"), "SMD", vtype="UB")
    assert found["vi"].tolist() == asked["vi"].tolist()
    script = Path("out/metafor.R").read_text(encoding="utf-8")
    assert 'method = "DL", test = "t", level = 90' in script


def test_the_head_of_a_further_column_is_no_formula():
    table = pd.DataFrame({"study": ["a"], "yi": [0.1], "vi": [0.2], "=1+1": ["x"]})
    assert export_table(table, "jasp", further=["=1+1"]).splitlines()[0].endswith(",'=1+1")


def test_metafor_is_not_asked_for_a_method_that_it_lacks():
    table = pd.DataFrame({"study": ["a"], "yi": [0.1], "vi": [0.2]})
    with pytest.raises(ValueError, match="method must be one that metafor has"):
        export_files(table, "metafor", method="CA2")


def test_subgroups_are_pooled_labelled_drawn_and_described(planned, tmp_path):
    (tmp_path / "protocol.toml").write_text(PROTOCOL + '[analyses]\nsubgroups = ["kind"]\n', encoding="utf-8")
    said = planned("pool", "trials.csv", "--subgroups", "kind", "--methods", "--forest", "forest.svg")
    assert "\nSubgroups by kind: planned.\n" in said
    assert "Planned and not carried out" not in said
    assert "6 effect sizes in 2 subgroups by kind were pooled separately" in said
    picture = (tmp_path / "forest.svg").read_text(encoding="utf-8")
    assert "Mean of GAD" in picture
    assert "Mean of SAD" in picture
    found = json.loads(planned("pool", "trials.csv", "--subgroups", "kind", "--json"))["subgroups"]
    es = mm.effect_sizes(mm.datasets.read_table("trials.csv"), "SMD", vtype="UB")
    asked = mm.subgroups(es, "kind", method="DL", test="t", level=0.9)
    assert found["between"]["Q"] == pytest.approx(asked.Q_between, rel=1e-12)
    assert [g["estimate"] for g in found["groups"]] == pytest.approx(asked.table["estimate"].tolist(), rel=1e-12)


def test_subgroups_that_were_not_planned_are_said_to_be_so(planned):
    assert "Subgroups by kind: not planned." in planned("pool", "trials.csv", "--subgroups", "kind")


def test_a_plan_made_when_results_were_known_says_so(planned, tmp_path):
    change = '[[amendment]]\ndate = 2026-06-30\nwhat = "kind added"\nwhy = "asked"\nresults_known = {}\n'
    more = '[amendment.analyses]\nsubgroups = ["kind"]\n'
    for known in ("true", "false"):
        (tmp_path / "protocol.toml").write_text(PROTOCOL + change.format(known) + more, encoding="utf-8")
        said = planned("pool", "trials.csv", "--subgroups", "kind")
        assert "changed by amendment of 2026-06-30. Kind added. Asked." in said
        assert ("Results were known when this was decided." in said) == (known == "true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--subgroups", "kind", "--moderators", "kind"), "two analyses"),
        (("--common-tau2",), "Give --subgroups COLUMN"),
        (("--subgroups", "size"), "by must be a column of the table, but 'size'"),
    ],
)
def test_choices_of_subgroups_that_make_no_sense(run, options, message):
    wrong = CliRunner().invoke(main, ["pool", "trials.csv", "--measure", "SMD", *options])
    assert (wrong.exit_code, message in wrong.stderr) == (2, True)


def test_reconciling_says_the_next_step_and_that_agreed_is_for_a(run, tmp_path):
    run("copy-dataset", "mi_cbt_anxiety", "a")
    run("copy-dataset", "mi_cbt_anxiety", "b")
    results = tmp_path / "b" / "results.csv"
    text = results.read_text(encoding="utf-8")
    results.write_text(text.replace(",0.25,", ",0.26,", 1), encoding="utf-8")
    assert results.read_text(encoding="utf-8") != text
    call = ["reconcile", "a", "b", "--out", "agreed"]
    first = CliRunner().invoke(main, call, catch_exceptions=False)
    assert "fill in choice in agreed/differences.csv; then: metamiq reconcile a b --decide" in first.stderr
    assert "next: --out FOLDER" in CliRunner().invoke(main, call[:3], catch_exceptions=False).stderr
    table = pd.read_csv("agreed/differences.csv", dtype=str)
    for choice, told in (
        ("B", "add agreed/agreed.csv --dataset a --replace"),
        ("A", "every difference was decided for A"),
    ):
        table.assign(choice=choice, source="made up", locator="p. 1").to_csv("decided.csv", index=False)
        decided = CliRunner().invoke(main, [*call, "--decide", "decided.csv"], catch_exceptions=False)
        assert decided.exit_code == 0, decided.output
        assert told in decided.stderr


def test_no_p_value_is_zero_and_percent_have_one_decimal(run, tmp_path):
    (tmp_path / "big.csv").write_text("study,yi,vi\na,0.5,0.001\nb,0.52,0.001\nc,0.49,0.002\n", encoding="utf-8")
    said = run("sensitivity", "big.csv", "--test", "z")
    assert "< 0.001" in said
    row = next(line for line in said.splitlines() if line.startswith("a  ")).split()
    assert row[-4:] == ["<", "0.001", "0.000", "0.0"]  # p, tau2 and I2 without a
    page = run("report", "big.csv", "--out", "-", "--format", "md")
    assert "| 0.000 | 0.0 |" in page  # tau2 and I2 without one


def test_the_shares_of_judgements_have_the_same_digits(run, tmp_path):
    lines = ["Study,D1,D2,D3,D4,D5,Overall", *(f"{s},Low,Low,Low,Low,Low,Low" for s in "ab")]
    lines.append("c,High,Low,Low,Low,Low,High")
    (tmp_path / "rob.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = run("rob", "rob.csv", "--summary", "--tool", "ROB2")
    assert "66.7" in said
    assert "100.0" in said
    assert "100 " not in said


def test_subgroups_in_the_layout_of_cochrane_reviews_and_as_ratios(run, tmp_path):
    rows = ["a,5,50,10,50,x", "b,8,60,12,58,x", "c,3,40,9,41,y", "d,2,30,4,31,y"]
    (tmp_path / "events.csv").write_text("\n".join(["study,ai,n1i,ci,n2i,kind", *rows]) + "\n", encoding="utf-8")
    given = ("pool", "events.csv", "--measure", "OR", "--subgroups", "kind", "--test", "z")
    said = run(*given, "--forest", "forest.svg", "--layout", "revman")
    table = mm.effect_sizes(mm.read_table("events.csv"), "OR")
    low, middle, high = (
        np.exp(mm.subgroups(table, "kind").table.loc["x", c]) for c in ("ci_low", "estimate", "ci_high")
    )
    assert f"as ratios: x {middle:.2f} ({low:.2f} to {high:.2f}), y " in said
    words = re.findall(r">([^<>]+)<", (tmp_path / "forest.svg").read_text(encoding="utf-8"))
    assert words.count("Subtotal (95% CI)") == 2
    assert {"110", "108", "70", "72", "180"} <= set(words)  # totals by arm: 50 + 60, 50 + 58, 40 + 30, 41 + 31, all
    wrong = CliRunner().invoke(main, [*given, "--layout", "revman"])
    assert (wrong.exit_code, "Give --forest" in wrong.stderr) == (2, True)


def test_a_report_carries_out_the_planned_subgroups_and_moderators(planned, tmp_path):
    further = '[analyses]\nsubgroups = ["kind", "country"]\nmoderators = ["year"]\n'
    (tmp_path / "protocol.toml").write_text(PROTOCOL + further, encoding="utf-8")
    page = planned("report", "trials.csv", "--out", "-", "--format", "md")
    asked = mm.subgroups(
        mm.effect_sizes(mm.read_table("trials.csv"), "SMD", vtype="UB"), "kind", method="DL", test="t", level=0.9
    )
    assert f"Subgroups by kind: planned. Between subgroups: Q(1) = {asked.Q_between:.3f}" in page
    assert "Meta-regression on year: planned. Moderators: F(1, 4) =" in page
    assert "Subgroups by country: planned, but it could not be done. by must be a column" in page
    missing = page.partition("Planned and not carried out.")[2].partition("##")[0]
    assert "subgroups by country" in missing
    assert "subgroups by kind" not in missing
    assert "moderator year" not in missing
    methods = page.partition("## Methods")[2]
    assert "6 effect sizes in 2 subgroups by kind were pooled separately" in methods
    assert methods.count("The effect of each row is") == 1
    data = json.loads(planned("report", "trials.csv", "--out", "-", "--format", "json"))
    assert data["tables"]["difference_1"][0]["kind"] == "GAD"
    assert "difference_2" not in data["tables"]
    html = planned("report", "trials.csv", "--out", "-")
    assert "Why studies may differ" in html
    assert "Mean of SAD" in html


def test_a_report_without_a_plan_has_no_section_of_differences(run):
    assert "Why studies may differ" not in run("report", "trials.csv", "--measure", "SMD", "--out", "-")


@pytest.mark.parametrize(
    "columns", [["cook_d"], ["rstudent", "cook_d"], ["rstudent", "dffits", "cook_d", "cov_r", "hat"]]
)
def test_the_influence_picture_explains_its_square_within_its_edges(columns):
    table = pd.DataFrame({c: [0.2, -2.1, 0.3] for c in columns}, index=["a", "b", "c"])
    figure = mm.plots.influence(table).figure
    figure.canvas.draw()
    (key,) = [t for t in figure.findobj(Text) if t.get_text().startswith("Square:")]
    box = key.get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.width


@pytest.mark.parametrize("command", ["report", "grade", "pool"])
def test_every_command_that_reads_judgements_can_be_told_their_tool(run, tmp_path, command):
    names = [line.split(",")[0] for line in TRIALS.splitlines()[1:]]
    rows = ["Study,D1,D2,D3,D4,D5,Overall", *(f"{name},Low,Low,Low,Low,High,High" for name in names)]
    (tmp_path / "judged.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    more = {"report": ("--out", "-"), "grade": (), "pool": ("--forest", "forest.svg")}[command]
    call = (command, "trials.csv", "--measure", "SMD", "--rob", "judged.csv", *more)
    wrong = CliRunner().invoke(main, list(call))
    assert (wrong.exit_code, "in a terminal --tool" in wrong.stderr) == (2, True)
    run(*call, "--tool", "ROB2")
