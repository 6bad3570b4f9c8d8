"""Risk of bias: robvis' CSV format, the tools' rule, and the pictures as drawn objects. All judgements are made up."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq import plots
from metamiq.cli import main
from metamiq.datasets.risk_of_bias_tools import TOOLS, WORDS, word_of
from metamiq.errors import DataError
from metamiq.plots.judgements import COLOURS, HATCHES, SIGNS

SHARES = {"rtol": 1e-12}  # sums of a few shares
ROB1 = ("Random.sequence.generation", "Allocation.concealment", "Blinding", "Selective_reporting")
HOSTILE = ["<script>alert(1)</script>", "A & B < C", "$x^2$ costs $5", "כהן ולוי 1999", "a" * 180, "Ünal “et al.”"]


def cells(tool, k, seed=3, names=None):
    """Rows as robvis has them, with an overall judgement as severe as the worst domain."""
    rng = np.random.default_rng(seed)
    words = [w for w in TOOLS[tool].words if w != "no information"]
    domains = list(TOOLS[tool].domains) or list(ROB1)
    rows = []
    for i in range(k):
        judged = rng.choice(len(words), len(domains)).tolist()
        rows.append(
            [names[i] if names else f"Made up {i + 1}", *(words[j].title() for j in judged), words[max(judged)]]
        )
    return pd.DataFrame(rows, columns=["Study", *domains, "Overall"])


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="rob.csv"):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        path.write_text(content, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, list(args), catch_exceptions=False)


@pytest.fixture
def judged(write):
    return lambda tool="ROB2", k=5, **how: mm.read_risk_of_bias(write(cells(tool, k, **how)), tool)


# Reading


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_is_read_when_named(tool, judged):
    rob = judged(tool, 6)
    assert rob.attrs["tool"] == tool
    assert len(rob.attrs["domains"]) == (len(TOOLS[tool].domains) or len(ROB1))
    assert {w for c in (*rob.attrs["domains"], "overall") for w in rob[c]} <= set(TOOLS[tool].words)
    assert mm.risk_of_bias_findings(rob) == []


@pytest.mark.parametrize("tool", ["ROB2", "ROB2-Cluster", "ROBINS-I", "QUADAS-2"])
def test_a_tool_is_recognised_by_domains_and_judgements(tool, write):
    rob = mm.read_risk_of_bias(write(cells(tool, 12)))
    assert rob.attrs["tool"] == tool
    assert rob.attrs["notes"] == [f"judgements and domains taken for {TOOLS[tool].title}"]


def test_any_other_number_of_domains_with_its_words_is_the_template_for_any_domains(write):
    table = cells("QUADAS-2", 4).rename(columns=dict(zip(("D1", "D2", "D3"), ROB1, strict=False))).drop(columns="D4")
    rob = mm.read_risk_of_bias(write(table))
    assert rob.attrs["tool"] == "ROB1"
    assert rob.attrs["domains"] == {
        "D1": "Random sequence generation",
        "D2": "Allocation concealment",
        "D3": "Blinding",
    }


@pytest.mark.parametrize("words", [["Low", "High"], ["l", "h"], ["Low"]])
def test_an_unsure_table_is_asked_about(words, write):
    rows = "\n".join(f"S{i}," + ",".join(words[(i + j) % len(words)] for j in range(6)) for i in range(3))
    path = write(f"Study,D1,D2,D3,D4,D5,Overall\n{rows}\n")
    with pytest.raises(DataError, match=r"ROB2 \(RoB 2\) and ROB1 .*Name the tool: tool='ROB2' or tool='ROB1'"):
        mm.read_risk_of_bias(path)
    assert mm.read_risk_of_bias(path, "ROB2").attrs["tool"] == "ROB2"
    assert mm.read_risk_of_bias(path, "ROB1").attrs["tool"] == "ROB1"


def test_words_letters_case_blanks_and_abbreviations(write):
    text = "Study,D1,D2,D3,D4,D5,Overall\nA,LOW,some  concerns,h,NI,No Information,High\nB,l,S,SOME_CONCERNS,,n,some\n"
    rob = mm.read_risk_of_bias(write(text))
    first, second = rob.drop(columns=["study", "line"]).to_numpy().tolist()
    assert first == ["low", "some concerns", "high", "no information", "no information", "high"]
    assert second == ["low", "some concerns", "some concerns", None, "no information", "some concerns"]


def test_s_is_what_the_tool_says(write):
    text = "Study,D1,D2,D3,D4,D5,D6,D7,Overall\nA,L,M,S,C,N,L,L,C\n"
    rob = mm.read_risk_of_bias(write(text))
    assert rob.attrs["tool"] == "ROBINS-I"
    assert rob.loc[0, ["D2", "D3", "D4", "D5"]].tolist() == ["moderate", "serious", "critical", "no information"]


@pytest.mark.parametrize("tool", TOOLS)
def test_no_letter_has_two_meanings_in_a_tool(tool):
    letters = [word[0] for word in TOOLS[tool].words]
    assert len(set(letters)) == len(letters)
    assert [word_of(letter, TOOLS[tool]) for letter in letters] == list(TOOLS[tool].words)


def test_files_as_r_writes_them(write):
    """With row numbers in an unnamed first column, quotes, and weights."""
    table = cells("ROB2", 3).assign(Weight=[1.5, 2, 0])
    table.index = table.index + 1
    path = write(table.to_csv(quoting=2))
    rob = mm.read_risk_of_bias(path)
    assert rob["study"].tolist() == ["Made up 1", "Made up 2", "Made up 3"]
    assert rob["weight"].tolist() == [1.5, 2, 0]
    assert rob["line"].tolist() == [2, 3, 4]


def test_domain_columns_may_have_any_name_and_keep_their_order(write):
    table = cells("ROB2", 2).rename(columns={"D1": "randomisation", "D5": "D1"})
    rob = mm.read_risk_of_bias(write(table), "ROB2")
    assert rob["D1"].tolist() == table["randomisation"].str.lower().tolist()
    assert rob["D5"].tolist() == table["D1"].str.lower().tolist()


def test_all_faults_come_at_once_with_file_and_line(write):
    rows = ("A,Some concern,Low,Low,Low,Low,Low", ",Low,Low,Low,Low,Low,Low", "A,Low,1,Low,Low,Low,x")
    path = write("\n".join(["Study,Random,D2,D3,D4,D5,Overall", *rows]))
    with pytest.raises(DataError) as caught:
        mm.read_risk_of_bias(path, "ROB2")
    message = str(caught.value)
    assert "5 faults" in message
    assert "(D1 is the column 'Random'), but study 'A' has 'Some concern'" in message
    assert "Did you mean 'some concerns'?" in message
    assert f"study 'A' stands on line 2 already ({path}, line 4)" in message
    assert "study must be filled" in message


def test_a_typing_error_is_named_when_no_tool_fits(write):
    path = write("Study,D1,D2,D3,D4,D5,Overall\nA,Low,Low,Low,Low,Low,Low\nB,Low,Some concern,Low,Low,Low,Low\n")
    with pytest.raises(DataError, match=r"nearest to ROB2 .*does not have 'some concern' \(.*line 3\)"):
        mm.read_risk_of_bias(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("Study,D1,Overall\n", "there is only a header"),
        ("Study,D1,D2,D3,D4,D5\nA,Low,Low,Low,Low,Low\n", "Name the column Overall"),
        ("Study,Overall\nA,Low\n", "a column per domain"),
        ("Study,D1,D1,Overall\nA,Low,Low,Low\n", "column names must differ"),
        ("Study,D1,Overall,Weight\nA,Low,Low,-1\n", "weight must be at least 0"),
        ("Study,D1,Overall,Weight\nA,Low,Low,heavy\n", "weight must be a finite number"),
        ('Study,D1,Overall\n"=HYPERLINK(""http://x"")",Low,Low\n', "a formula"),
        ("Study,D1,Overall\nA\u202eB,Low,Low\n", "control characters"),
        ("Study,D1,Overall\n" + "a" * 201 + ",Low,Low\n", "study must have at most 200 characters"),
    ],
)
def test_hostile_and_empty_files_are_refused_in_a_sentence(write, text, said):
    with pytest.raises(DataError, match=said):
        mm.read_risk_of_bias(write(text), "ROB1")


def test_the_number_of_domains_must_be_the_tools(write):
    with pytest.raises(DataError, match=r"ROBINS-I must have 7 domains .* there are 5: 'D1'"):
        mm.read_risk_of_bias(write(cells("ROB2", 2)), "ROBINS-I")
    with pytest.raises(ValueError, match=r"tool must be one of 'ROB2'.*not 'RoB 2'"):
        mm.read_risk_of_bias(write(cells("ROB2", 2)), "RoB 2")


# The rule on the overall judgement


def test_a_milder_overall_judgement_is_a_finding_and_nothing_is_changed(write):
    path = write("Study,D1,D2,D3,D4,D5,Overall\nA,Low,High,Low,High,S,Some concerns\nB,Low,S,Low,Low,Low,High\n")
    rob = mm.read_risk_of_bias(path)
    assert rob["overall"].tolist() == ["some concerns", "high"]
    assert mm.risk_of_bias_findings(rob) == [
        "The overall judgement must be at least as severe as the worst domain, but study 'A' has 'some concerns' "
        f"overall and 'high' in D2, D4 ({path}, line 2). Correct one of them (RoB 2), or say in the review why the "
        "overall judgement is milder."
    ]


def test_no_information_and_empty_cells_are_no_severity(write):
    path = write("Study,D1,D2,D3,D4,D5,D6,D7,Overall\nA,NI,M,L,,L,L,L,M\nB,S,L,L,L,L,L,L,NI\nC,C,L,L,L,L,L,L,\n")
    assert mm.risk_of_bias_findings(mm.read_risk_of_bias(path)) == []


def test_other_tools_have_no_such_rule(write):
    path = write("Study,D1,D2,D3,D4,Overall\nA,High,Low,Low,Some concerns,Low\n")
    rob = mm.read_risk_of_bias(path)
    assert rob.attrs["tool"] == "QUADAS-2"
    assert mm.risk_of_bias_findings(rob) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["low", "some concerns", "high"]), min_size=6, max_size=6))
def test_a_finding_is_there_exactly_when_the_worst_is_worse(words):
    rob = pd.DataFrame([["A", *words]], columns=["study", "D1", "D2", "D3", "D4", "D5", "overall"])
    rob.attrs["tool"] = "ROB2"
    rank = ["low", "some concerns", "high"].index
    assert bool(mm.risk_of_bias_findings(rob)) is (max(map(rank, words[:5])) > rank(words[5]))


# Joining


def effects(names, column="study"):
    return pd.DataFrame({column: names, "yi": np.linspace(-0.2, 0.8, len(names)), "vi": 0.04})


def test_join_matches_by_name_whatever_the_order_case_and_blanks(judged):
    rob = judged("ROB2", 4)
    names = ["MADE UP 3", " made  up 1", "Made up 3"]
    for column in ("study", "trial_id", "label"):
        joined = mm.join_risk_of_bias(effects(names, column), rob)
        assert joined["rob_overall"].tolist() == rob["overall"].iloc[[2, 0, 2]].tolist()
        assert joined["rob_D2"].tolist() == rob["D2"].iloc[[2, 0, 2]].tolist()
    assert joined.attrs["risk_of_bias"]["rob_D1"] == "Bias arising from the randomization process"
    assert "rob_D1" not in effects(names)


def test_join_lists_all_studies_that_do_not_match(judged):
    with pytest.raises(DataError) as caught:
        mm.join_risk_of_bias(effects(["Made up 1", "Made up 22", "Somebody 2001"]), judged("ROB2", 3))
    message = str(caught.value)
    assert "2 are not: 'Made up 22' (did you mean 'Made up 2'?), 'Somebody 2001'" in message
    assert "judged and not matched: 'Made up 2', 'Made up 3'" in message
    with pytest.raises(DataError, match="must name their studies"):
        mm.join_risk_of_bias(effects(["a"], "x"), judged())


def test_a_table_that_is_no_judgements_is_refused():
    with pytest.raises(DataError, match="must have the columns study and overall"):
        plots.traffic_lights(pd.DataFrame({"study": ["A"]}))
    with pytest.raises(DataError, match="but 'medium' came"):
        plots.traffic_lights(pd.DataFrame({"study": ["A"], "D1": ["medium"], "overall": ["low"]}))


# Pictures


def dots(ax, gid="judgement"):
    return [line for line in ax.lines if str(line.get_gid()).startswith(gid)]


def test_every_judgement_has_a_sign_a_colour_and_a_hatch_of_its_own_in_each_tool():
    assert set(SIGNS) == set(WORDS)
    assert set(SIGNS.values()) == set(COLOURS) == set(HATCHES)
    for tool in TOOLS.values():
        signs = [SIGNS[word] for word in tool.words]
        assert len({*signs}) == len({COLOURS[s] for s in signs}) == len({HATCHES[s] for s in signs}) == len(tool.words)


@pytest.mark.parametrize(
    ("tool", "k", "names"),
    [*((tool, 4, None) for tool in TOOLS), ("ROB2", 1, None), ("ROB2", 40, None), ("ROBINS-I", 6, HOSTILE)],
)
def test_traffic_lights_are_readable(tool, k, names, judged):
    rob = judged(tool, k, names=names)
    ax = plots.traffic_lights(rob)
    assert plots.text_faults(ax.figure) == []
    assert len(dots(ax)) == k * (len(rob.attrs["domains"]) + 1)
    drawn = [str(dot.get_gid()).removeprefix("judgement ") for dot in dots(ax)]
    assert drawn == rob[[*rob.attrs["domains"], "overall"]].to_numpy().ravel().tolist()
    for dot in dots(ax):
        word = str(dot.get_gid()).removeprefix("judgement ")
        assert dot.get_color() == COLOURS[SIGNS[word]]


def test_signs_stand_in_the_middle_of_their_dots(judged):
    ax = plots.traffic_lights(judged("ROBINS-I", 3))
    ax.figure.draw_without_rendering()
    signs = [(t, b) for t, b in plots.text_boxes(ax.figure) if t in COLOURS]
    places = ax.transData.transform([(d.get_xdata()[0], d.get_ydata()[0]) for d in dots(ax) + dots(ax, "key")])
    assert len(signs) == len(places)
    radius = dots(ax)[0].get_markersize() / 2 * ax.figure.dpi / 72
    for _, box in signs:
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        assert min(np.hypot(*(places - middle).T)) < 0.35 * radius


def test_the_legend_names_domains_and_judgements(judged):
    ax = plots.traffic_lights(judged("ROB2", 3))
    said = " ".join(t.replace("\n", " ") for t, _ in plots.text_boxes(ax.figure))
    assert "D2: Bias due to deviations from intended interventions" in said
    assert [str(d.get_gid()) for d in dots(ax, "key")] == ["key low", "key some concerns", "key high"]
    assert "No information" not in said


def test_a_domain_that_was_not_judged_stays_empty_and_is_explained(judged):
    rob = judged("ROB2", 3)
    rob.loc[1, "D3"] = None
    ax = plots.traffic_lights(rob)
    assert len(dots(ax)) == 17
    assert "Empty: not judged" in [t for t, _ in plots.text_boxes(ax.figure)]
    rob[["D1", "D2", "D3", "D4", "D5", "overall"]] = None
    assert plots.traffic_lights(rob).get_label().endswith("Overall: not judged 3.")


def test_pictures_can_be_drawn_into_the_place_of_axes(judged):
    figure = Figure(figsize=(9, 4), layout="constrained")
    first, second = figure.subplots(1, 2)
    assert plots.traffic_lights(judged(), ax=first) is first
    assert plots.rob_summary(judged(), ax=second) is second
    assert plots.text_faults(figure) == []


def test_summary_counts_studies_or_weights(judged):
    rob = pd.DataFrame({"study": ["A", "B", "C"], "D1": ["low", "high", None], "overall": ["low", "high", "low"]})
    table = plots.rob_summary_rows(rob)
    assert table.columns.tolist() == ["domain", "low", "high", "not judged"]
    assert_allclose(table.iloc[:, 1:], [[100 / 3] * 3, [200 / 3, 100 / 3, 0]], **SHARES)
    for weights in ([1, 2, 5], {"c": 5, "a": 1, "b": 2}):
        assert_allclose(plots.rob_summary_rows(rob, weights).iloc[:, 1:], [[12.5, 25, 62.5], [75, 25, 0]], **SHARES)


def test_summary_takes_the_weights_of_a_fit_by_name(judged):
    rob = judged("ROB2", 5)
    fit = mm.random_effects(effects(["Made up 4", "Made up 2", "Made up 5"]).assign(vi=[0.01, 0.1, 0.3]), test="z")
    weight = dict.fromkeys(rob["study"], 0.0) | dict(
        zip(["Made up 4", "Made up 2", "Made up 5"], fit.weights, strict=True)
    )
    by_fit, by_hand = plots.rob_summary_rows(rob, fit), plots.rob_summary_rows(rob, list(weight.values()))
    assert_allclose(by_fit.iloc[:, 1:], by_hand.iloc[:, 1:], **SHARES)
    with pytest.raises(ValueError, match="one number per judged study"):
        plots.rob_summary(rob, [1, 2])
    with pytest.raises(DataError, match="none below 0"):
        plots.rob_summary(rob, [1, 2, -1, 0, 0])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**6), st.sampled_from(sorted(TOOLS)))
def test_summary_rows_sum_to_100(k, seed, tool):
    table = cells(tool, k, seed).rename(columns={"Study": "study", "Overall": "overall"})
    table.iloc[:, 1:] = table.iloc[:, 1:].map(str.lower)
    assert_allclose(plots.rob_summary_rows(table).iloc[:, 1:].sum(axis=1), 100, **SHARES)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_summary_is_readable_and_its_bars_are_as_long_as_their_shares(tool, judged):
    rob = judged(tool, 7)
    ax = plots.rob_summary(rob)
    assert plots.text_faults(ax.figure) == []
    bars = [p for p in ax.patches if str(p.get_gid()).startswith("share")]
    shares = plots.rob_summary_rows(rob).iloc[:, 1:].to_numpy().ravel()
    assert_allclose([b.get_width() / 3 for b in bars], shares[shares > 0], rtol=1e-9)  # 300 points are 100%
    assert ax.get_label().startswith("Risk of bias by domain, percent of studies. ")


@pytest.mark.parametrize("draw", [plots.traffic_lights, plots.rob_summary])
def test_svg_is_the_same_each_time_and_keeps_text_as_text(draw, judged):
    rob = judged("ROBINS-I", len(HOSTILE), names=HOSTILE)
    one, two = (plots.svg_text(draw(rob).figure) for _ in range(2))
    assert one == two
    assert "<script" not in one
    said = "".join(ElementTree.fromstring(one).itertext())
    assert "Risk of bias" in said
    if draw is plots.traffic_lights:
        assert "<script>alert(1)</script>" in said
        assert "כהן ולוי 1999" in said


# Beside the forest plot


@pytest.mark.parametrize("tool", ["ROB2", "ROBINS-I", "QUADAS-2"])
@pytest.mark.parametrize("layout", ["default", "revman", "apa"])
def test_judgements_stand_beside_the_forest_plot(tool, layout, judged):
    rob = judged(tool, 6)
    order = [3, 0, 5, 1]
    table = effects([rob["study"].iloc[i] for i in order])
    ax = plots.forest(mm.random_effects(table), risk_of_bias=rob, layout=layout)
    assert plots.text_faults(ax.figure) == []
    columns = [*rob.attrs["domains"], "overall"]
    assert len(dots(ax, "risk of bias")) == len(order) * len(columns)
    texts = [t for t, _ in plots.text_boxes(ax.figure)]
    assert [t for t in texts if t in columns] == list(rob.attrs["domains"])
    assert "Overall" in texts
    line = next(t for t in texts if t.startswith("Risk of bias:")).replace("\n", " ")
    for code, title in rob.attrs["domains"].items():
        assert f"{code} {title}" in line
    for word in {w for i in order for w in rob[columns].iloc[i]}:
        assert f"{SIGNS[word]} {word}" in line


def test_judgements_beside_bounds_follow_the_trials_names():
    trials = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    # Every word is made up: that all trials are judged alike says so.
    rob = pd.DataFrame({"study": trials["trial_id"], "D1": "unclear", "overall": "unclear"})
    ax = plots.forest(mm.random_effects_bounded(trials), risk_of_bias=rob)
    assert len(dots(ax, "risk of bias")) == 2 * len(trials)
    with pytest.raises(DataError, match="are not: "):
        plots.forest(mm.random_effects_bounded(trials), risk_of_bias=rob.iloc[2:])


# The commands


def test_rob_shows_judgements_and_writes_pictures(run, write, tmp_path):
    write(cells("ROB2", 3))
    shown = run("rob", "rob.csv", "--out", "lights.svg")
    assert shown.exit_code == 0
    assert "D4: Bias in measurement of the outcome" in shown.stdout
    assert (tmp_path / "lights.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "Percent of studies" in run("rob", "rob.csv", "--summary", "--out", "bars.png").stdout
    assert (tmp_path / "bars.png").stat().st_size > 5000
    weighted = write(cells("ROB2", 3).assign(Weight=[1, 2, 3]), "weighted.csv")
    assert "Percent of the weight" in run("rob", weighted.name, "--summary").stdout


def test_rob_ends_with_1_when_an_overall_judgement_is_too_mild(run, write):
    write("Study,D1,D2,D3,D4,D5,Overall\nA,Low,High,Low,S,Low,Low\n")
    result = run("rob", "rob.csv")
    assert result.exit_code == 1
    assert "study 'A' has 'low' overall and 'high' in D2 (rob.csv, line 2)" in " ".join(result.stdout.split())
    data = json.loads(run("rob", "rob.csv", "--json").stdout)
    assert data["agrees"] is False
    assert data["studies"][0]["D2"] == "high"


def test_rob_says_what_it_cannot_do(run, write):
    write("Study,D1,D2,D3,D4,D5,Overall\nA,Low,High,Low,High,Low,Low\n")
    for args, said in (
        (["rob.csv"], "Name the tool: tool='ROB2' or tool='ROB1'"),
        (["rob.csv", "--tool", "ROBINS-I"], "must have 7 domains"),
        (["rob.csv", "--out", "x.eps"], ".svg, .pdf or .png"),
        (["no.csv"], "was not found"),
    ):
        result = run("rob", *args)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_pool_puts_judgements_beside_its_forest_plot(run, write, tmp_path):
    write(cells("ROB2", 4))
    write(effects(["made up 2", "Made up 1", "Made up 4"]), "trials.csv")
    done = run("pool", "trials.csv", "--rob", "rob.csv", "--forest", "forest.svg")
    assert done.exit_code == 0
    assert "Risk of bias: D1 Bias arising" in (tmp_path / "forest.svg").read_text(encoding="utf-8")
    assert run("pool", "trials.csv", "--rob", "rob.csv").exit_code == 2
    write(effects(["Made up 2", "Unknown"]), "trials.csv")
    lost = run("pool", "trials.csv", "--rob", "rob.csv", "--forest", "forest.svg")
    assert lost.exit_code == 2
    assert lost.stdout == ""
    assert "1 is not: 'Unknown'" in lost.stderr
