"""Each rule of `metamiq check` by a bad example, which it must find, and a good one, on which it must be silent.

The tables are invented for these tests, except where a comment names a paper.
"""

from __future__ import annotations

import pandas as pd
import pytest

from metamiq.datasets import read_dataset
from metamiq.living.check import check
from metamiq.living.rules import COLUMNS, RULES

ARMS = {"m1i": 12.4, "sd1i": 4.1, "n1i": 24, "m2i": 14.9, "sd2i": 4.3, "n2i": 25}
COUNTS = {**dict.fromkeys(ARMS), "n1i": 48, "n2i": 50}
OTHERS = [
    {"study": f"other{i}", "m1i": 12.0 + i, "sd1i": 4.0 + i / 5, "n1i": 20 + i, "m2i": 14.1 + i, "sd2i": 4.2, "n2i": 22}
    for i in range(5)
]
TWO_TIMES = {
    "m1i_pre": 20.1, "sd1i_pre": 5.0, "m1i_post": 14.2, "sd1i_post": 5.2, "n1i": 30,
    "m2i_pre": 20.4, "sd2i_pre": 5.1, "m2i_post": 17.0, "sd2i_post": 5.3, "n2i": 30,
}  # fmt: skip


def one(**cells):
    """A study table of one row."""
    return pd.DataFrame([{"study": "a", **ARMS, **cells}])


def among(**cells):
    """A row among five others."""
    return pd.DataFrame([*OTHERS, {"study": "a", **ARMS, **cells}])


def effects(yi, vi=0.04, **columns):
    return pd.DataFrame({"study": [f"s{i}" for i in range(len(yi))], "yi": yi, "vi": vi, **columns})


def two_times(**columns):
    """Six trials with scores before and after treatment."""
    rows = [{"study": f"s{i}", **TWO_TIMES, "m1i_post": 14.2 + i} for i in range(6)]
    return pd.DataFrame(rows).assign(**columns)


def read_with(*notes):
    frame = one()
    frame.attrs["notes"] = list(notes)
    return frame


def evidence(tmp_path, trials, results):
    """A folder with the columns that an evidence dataset must have."""
    base = {"label": "", "year": 2010, "disorder": "OCD", "role": "candidate"}
    rows = [{"trial_id": t["trial_id"], **base, **t, "label": t.get("label", t["trial_id"])} for t in trials]
    pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
    common = {"domain": "symptoms", "timepoint": "post", "certainty": "reported", "source": "abstract"}
    pd.DataFrame([{**common, **r} for r in results]).to_csv(tmp_path / "results.csv", index=False)
    return read_dataset(tmp_path)


# code: (what to check, the options), a bad example and a good one, and words of what is found in the bad one
EXAMPLES = {
    "SD01": (
        among(instrument="X", sd1i=0.84, sd2i=0.86).assign(instrument="X"),
        among(instrument="X").assign(instrument="X"),
        "SDs around 4.2",
    ),
    "SD02": (one(sd1i=1.1, n1i=90), one(sd1i=2.9), "3.9 times"),
    "SD03": (one(scale_min=0, scale_max=21, sd1i=11.4), one(scale_min=0, scale_max=21, sd1i=7.9), "at most 10.56"),
    "SD04": (one(se1i=0.41), one(se1i=0.84), "sd1i / sqrt(n1i) = 0.837"),
    "SD05": (one(sd1i_change=4.1), one(sd1i_change=3.3), "is the SD of change"),
    "M01": (one(scale_min=0, scale_max=10), one(scale_min=0, scale_max=21), "the scale runs from 0 to 10"),
    # Ten whole numbers have no mean of 12.45, as none of Brown & Heathers' ten had one of 3.45.
    "M02": (one(m1i=12.45, n1i=10, items=1), one(m1i=12.4, n1i=10, items=1), "mean 12.45 with n = 10"),
    "M03": (one(**{**TWO_TIMES, "m2i_pre": 23.9}), one(**TWO_TIMES), "differ by 0.75 SD"),
    "N01": (one(n1i_randomised=22), one(n1i_randomised=26, n1i_lost=2), "24 analysed, but 22 randomised"),
    "N02": (one(n1i=49, n_total=49), one(n_total=49), "size of the whole trial"),
    "N03": (among().assign(analysis=["ITT"] * 5 + ["completers"]), among().assign(analysis="ITT"), "1 of 6 rows"),
    "N04": (one(ti=2.08, df=61), one(ti=2.08, df=47), "df = 61"),
    "N05": (one(**COUNTS, ai=18.75, ci=15), one(**COUNTS, ai=9, ci=15), "ai = 18.75 of 48; as percentages 9"),
    "L01": (among(sd1i=16.8, sd2i=18.5), among(sd1i=8.1, sd2i=8.4), "around 4.3; as variances they give 4.1 and 4.3"),
    "L02": (among(m1i=-12.4), among(), "m1i = -12.4 and m2i = 14.9, but the means of the other 5 rows are 12 to 18.1"),
    "L03": (among(m1i=17.4, n1i=60, n2i=60), among(m1i=13.4), "the effect is 0.59, 4.6 standard errors off"),
    "L04": (effects([0.3, 0.31, 0.29, 0.3, 0.32]), effects([0.1, 0.5, 0.2, 0.4, 0.3]), "Q = 0.01 with 4 degrees"),
    "S01": (
        pd.concat([one(instrument="X"), one(instrument="Y-BOCS", study="b", m1i=12.5)]),
        pd.concat([one(instrument="X", higher_is_better="no"), one(instrument="Y-BOCS", study="b", m1i=12.5)]),
        "whether a high X is good",
    ),
    "S02": (
        one(higher_is_better="yes", favours="1"),
        one(higher_is_better="no", favours="1"),
        "(a high score is good) says that group 2 did better",
    ),
    "S03": (
        among(higher_is_better="yes").assign(instrument="X").fillna({"higher_is_better": "no"}),
        among().assign(instrument="X", higher_is_better="no"),
        "'yes' in a only",
    ),
    "G01": (one(printed_g=0.93), one(printed_g=0.59), "printed_g is 0.93"),
    "G02": (one(m1i=2.1), one(), "the effect is 3.00"),
    "G03": (one(ti=3.41), one(ti=2.08), "t = 3.41, but means, SDs and ns give 2.08"),
    # Merlo et al. 2010 print d = 1.34 for t(14) = 2.51 with eight in each arm.
    "G04": (
        pd.DataFrame([{"study": "a", "ti": 2.51, "df": 14, "n1i": 8, "n2i": 8, "printed_d": 1.34}]),
        pd.DataFrame([{"study": "a", "ti": 2.51, "df": 14, "n1i": 8, "n2i": 8, "printed_d": 1.26}]),
        "1.34 fits 2t/sqrt(df)",
    ),
    "U01": (
        pd.DataFrame([{"study": "a", **ARMS}, {"study": "a", **ARMS, "m1i": 11.8}]),
        pd.DataFrame([{"study": "a", **ARMS}, {"study": "a", **ARMS, "m1i": 11.8, "m2i": 14.0, "n2i": 24}]),
        "2 rows have the same group 2 (m2i = 14.9, sd2i = 4.3, n2i = 25)",
    ),
    "U02": (
        effects([0.1, 0.3, 0.2]).assign(study=["a", "a", "b"]),
        effects([0.1, 0.3, 0.2]),
        "1 of 2 studies has more than one row; a has 2",
    ),
    "U03": (one(design="cluster"), one(design="cluster", icc=0.05), "design is 'cluster'"),
    "U04": (one(design="cross-over"), one(design="crossover", ri=0.6), "neither ri nor analysis"),
    "U05": (
        pd.DataFrame([{"study": "a", **ARMS}, {"study": "b", **ARMS}]),
        pd.DataFrame([{"study": "a", **ARMS}, {"study": "b", **ARMS, "m1i": 12.5}]),
        "all six numbers of the arms are the same in a, b",
    ),
    "P01": (
        among().assign(score=["post"] * 5 + ["change"]),
        among().assign(score="post"),
        "1 of 6 rows hold change scores",
    ),
    "P02": (one(m1i_pre=20.1, sd1i_pre=4.9, yi=1.57), one(m1i_pre=20.1, sd1i_pre=4.9, yi=0.59), "change within arm 1"),
    "P03": (
        among().assign(timepoint=["post"] * 5 + ["12 months"]),
        among().assign(timepoint="post"),
        "timepoint has 2 values",
    ),
    "R01": (two_times(ri=0.5), two_times(ri=0.5, ri_source="trial data"), "ri = 0.5 in 6 rows"),
    "R02": (
        (two_times(ri=0.5, m1i_post=[15.3, 15.4, 15.6, 15.5, 15.7, 15.5]), {"test": "z"}),
        (two_times(ri=0.5, m1i_post=14.2), {"test": "z"}),
        "excludes zero with ri = 0.5, 0.7, 0.9 and not with 0.3",
    ),
    "A01": ((effects([0.1, 0.3, 0.2]), {"asymmetry": True}), (effects([0.1, 0.3, 0.2]), {}), "3 trials for a test of"),
    "A02": ((effects([0.1, 0.3, 0.2]), {"test": "z"}), (effects([0.1, 0.3, 0.2]), {}), "test is 'z' with 3 rows"),
    "A03": (effects([0.4, 0.5, 0.45, 0.5, -0.3]), effects([0.5, 0.6, 0.4, 0.55, 0.5]), "without s4"),
    "D01": (read_with("semicolon separators read"), read_with("'Study' taken for study"), "semicolon separators read"),
    "D02": (among(n1i=999), among(n1i=60), "n1i = 999; the other 5 values run from 20 to 24"),
    "D04": (among(sd2i=None), among(), "sd2i is missing"),
    "D03": (pd.DataFrame([{"study": "a", **ARMS}] * 2), pd.DataFrame(OTHERS), "all cells are those of"),
}


def codes_of(example):
    data, options = example if isinstance(example, tuple) else (example, {})
    table = check(data.reset_index(drop=True), **options).table
    return dict(zip(table["code"], table["found"], strict=True))


def test_every_rule_has_a_bad_and_a_good_example():
    assert set(EXAMPLES) == set(RULES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_bad_example_is_found_and_good_one_is_not(code):
    bad, good, words = EXAMPLES[code]
    assert words in codes_of(bad)[code]
    assert code not in codes_of(good)


@pytest.mark.parametrize("code", EXAMPLES)
def test_good_example_gives_nothing_else_that_is_grave(code):
    data, options = EXAMPLES[code][1] if isinstance(EXAMPLES[code][1], tuple) else (EXAMPLES[code][1], {})
    table = check(data.reset_index(drop=True), **options).table
    assert not set(table.loc[table["severity"] != "note", "code"]) - {"R02", "U01"}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rule_says_why_and_what_to_do(rule):
    assert rule.why.endswith(".")
    assert rule.do.endswith(".")
    assert rule.severity in ("error", "warning", "note")


def test_documented_columns_are_those_that_rules_read():
    read = {column for bad, good, _ in EXAMPLES.values() for e in (bad, good) for column in _frame(e)}
    unknown = read - set(COLUMNS) - set(ARMS) - set(TWO_TIMES) - {"study", "yi", "vi", "ti", "ri", "ai", "ci"}
    assert unknown == set()


def _frame(example):
    return example[0] if isinstance(example, tuple) else example


@pytest.mark.parametrize(
    ("cells", "code", "words"),
    [
        ({"sd1i": 0.84, "se1i": 0.84}, "SD01", "the same number"),
        ({"m1i_pre": 20.1, "sd1i_pre": 4.2, "sd1i": 0.84}, "SD01", "4.2 before treatment"),
        ({"sd1i": 0.84}, "SD01", "times sqrt(24) it is 4.12, like sd2i = 4.3"),
        ({"sd1i": 0.41, "sd2i": 0.52, "m1i": 14.0}, None, ""),  # g = 1.9: large, and not beyond belief
        ({"sd1i": 0.50, "sd2i": 0.52}, "SD01", "taken as SEs they give 0.97"),
        ({"m1i_ci_low": 11.9, "m1i_ci_high": 12.9}, "SD04", "the interval of mean 1"),
        ({"m1i_ci_low": 10.67, "m1i_ci_high": 14.13}, None, ""),
        ({"yi": -0.59, "sei": 0.29, "ci_low": -0.74, "ci_high": -0.44}, "SD04", "its SE of 0.29"),
        ({"yi": 0.3, "ci_low": -0.74, "ci_high": -0.44}, "SD04", "yi = 0.3 lies outside"),
        ({"yi": -0.59, "ci_low": 0.42, "ci_high": 0.74}, "SD04", "the interval that of a ratio"),
        ({"yi": 0.55, "ci_low": 0.36, "ci_high": 0.85}, "SD04", "yi must be its logarithm"),
        ({"yi": 0.55, "ci_low": 0.26, "ci_high": 0.84}, None, ""),
        ({"yi": -0.6, "ci_low": -1.02, "ci_high": -0.18}, None, ""),
        ({"score": "post", "outcome": "reduction in worry"}, "SD05", "reduction in worry"),
        ({"n1i": 24, "n2i": 25, "df": 41.3, "ti": 2.08}, None, ""),  # Welch
        ({"df": 44, "ti": 2.08}, None, ""),  # with three covariates
        ({"df": 39, "ti": 2.08}, "N04", "df = 39"),
        ({"n1i": 24, "n2i": 24, "df": 22, "ti": 2.08}, "N02", "df = 22"),
        ({"favours": "mi", "yi": -0.59, "higher_is_better": "no"}, None, ""),
        ({"pi": 0.043}, None, ""),
        ({"pi": 0.43}, "G03", "p = 0.43"),
        ({"pi": 0.05}, None, ""),  # "p < .05"
        (
            {"m1i": 12.41, "sd1i": 4.12, "n1i": 8, "m2i": 14.93, "sd2i": 4.31, "n2i": 8, "printed_g": 0.598},
            "G04",
            "fits d",
        ),
        ({"contrast": "within", "yi": 1.1}, "P02", "contrast is 'within'"),
        ({"n1i": 24, "n2i": 25, "n_total": 45}, "N01", "n1i + n2i = 49"),
    ],
)
def test_other_roads_to_a_finding(cells, code, words):
    found = codes_of(one(**cells))
    if code is None:
        assert not {c for c in found if RULES[c].severity != "note"}
    else:
        assert words in found[code]


def test_wrong_sign_of_one_effect_is_seen_by_the_others():
    table = effects([-0.4, -0.5, 0.3, -0.2, -0.6], favours=["1", "1", "1", "1", "1"])
    found = check(table).table.query("code == 'S02'")
    assert found["row"].tolist() == ["s2"]  # in this table a negative effect is one for group 1


def test_one_instrument_whose_words_and_means_part():
    table = pd.DataFrame(OTHERS).assign(instrument="X", favours="1")
    table.loc[2, "favours"] = "2"
    found = check(table).table.query("code == 'S03'")
    assert found["row"].tolist() == ["other2"]


def test_letters_after_the_year_do_not_hide_a_shared_control():
    table = pd.DataFrame([{"study": "Doe 2010a", **ARMS}, {"study": "Doe 2010b", **ARMS, "m1i": 11.8}])
    assert "U01" in codes_of(table)


def test_outcomes_with_their_own_controls_are_no_shared_control():
    rows = [{"study": "a", "outcome": o, "ai": 3, "n1i": 20, "ci": 0, "n2i": 20} for o in ("death", "stroke")]
    assert "U01" not in codes_of(pd.DataFrame(rows))


def test_extreme_effects_are_ordinary_among_their_like():
    assert "G02" not in codes_of(effects([2.9, 3.4, 2.6, 3.1, 2.2, 3.9, 2.7], vi=0.2))


def test_two_reports_of_the_same_people_matter_when_both_are_pooled(tmp_path):
    results = [{"result_id": f"{t}-post", "trial_id": t, "report": "nonsignificant", "favours": ""} for t in "ab"]
    trials = [{"trial_id": "a", "n_total": 40}, {"trial_id": "b", "n_total": 30, "overlaps_with": "a"}]
    found = check(evidence(tmp_path, trials, results)).table.query("code == 'U05'")
    assert found["severity"].tolist() == ["warning"]


def test_one_registration_of_two_trials(tmp_path):
    trials = [{"trial_id": t, "n_total": 40, "registry": "NCT00000000"} for t in "ab"]
    results = [{"result_id": f"{t}-post", "trial_id": t, "report": "nonsignificant"} for t in "ab"]
    found = check(evidence(tmp_path, trials, results)).table
    assert "have the same registry" in found.set_index("code").loc["U05", "found"]


def test_evidence_whose_sign_contradicts_its_words(tmp_path):
    results = [
        {"result_id": "a-post", "trial_id": "a", "report": "d", "value": -0.4, "favours": "mi", "n_mi": 20, "n_cbt": 20}
    ]
    found = check(evidence(tmp_path, [{"trial_id": "a", "n_total": 44}], results)).table.set_index("code")
    assert found.loc["S02", "place"] == f"{tmp_path.name}/results.csv, line 2"
    assert "d = -0.4 says that group 2 did better" in found.loc["S02", "found"]


def test_evidence_of_a_change_that_favours_the_other_arm(tmp_path):
    cells = {"mean_mi": 3.1, "sd_mi": 4.0, "mean_cbt": 6.2, "sd_cbt": 4.2, "n_mi": 20, "n_cbt": 20}
    results = [{"result_id": "a-post", "trial_id": "a", "report": "change_means", "favours": "mi", **cells}]
    assert "S02" in set(check(evidence(tmp_path, [{"trial_id": "a", "n_total": 44}], results)).table["code"])


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"sd1i": 0.84, "sd2i": 0.86}, "as SEs they give 4.12 and 4.3"),
        ({"sd1i": 0.41, "sd2i": 0.43, "n1i": 9, "n2i": 9}, "with the decimal point moved they are 4.1 and 4.3"),
        ({"sd1i": 410, "sd2i": 430, "m1i": 1240, "m2i": 1490}, "the means are 100 times as large, too"),
        ({"sd1i": 11.0, "sd2i": 70.0}, "around 4.3"),
    ],
)
def test_what_would_explain_unlike_sds(cells, words):
    assert codes_of(among(**cells))["L01"].endswith(words)


def test_sds_are_compared_on_one_scale_only():
    assert "L01" not in codes_of(among(sd1i=16.8, sd2i=18.5).assign(instrument=["X"] * 5 + ["Y"]))
    spread = among(sd1i=90.0, sd2i=90.0).assign(sd2i=[4.2, 9.0, 20.0, 44.0, 70.0, 90.0])
    assert "L01" not in codes_of(spread)


def test_two_negative_means_among_six_are_a_scale_around_0():
    assert "L02" not in codes_of(among(m1i=-0.4).assign(m2i=[-0.3, 14.1, 15.1, 16.1, 17.1, 18.1]))


def test_parts_of_a_shared_control_group_may_be_broken():
    rows = [{"study": f"Doe 2010{x}", "ai": 3, "n1i": 20, "ci": 2.5, "n2i": 10.5} for x in "ab"]
    assert "N05" not in codes_of(pd.DataFrame(rows))
    assert "ci = 2.5 of 10.5" in codes_of(pd.DataFrame(rows[:1]))["N05"]


def test_an_unknown_table_is_not_said_to_be_free_of_faults():
    found = check(pd.DataFrame({"author": ["a", "b"], "tpos": [4, 6], "tneg": [119, 300]}))
    assert not found.is_clean
    assert found.table["found"].tolist() == [
        "no column that an effect size could come from is known, only author, tpos, tneg"
    ]
    assert codes_of(pd.DataFrame({"study": ["a", "b"], "yi": [0.1, 0.2]}))["D04"] == "yi stands without vi or sei"


def test_a_variance_that_is_a_standard_error_is_told():
    yi = [-0.431, -0.357, -0.545, -0.223, -0.598, -0.329]
    sei = [0.2, 0.25, 0.3, 0.18, 0.22, 0.28]
    assert "if vi held standard errors, Q would be 2.13" in codes_of(effects(yi, sei))["L04"]
    assert "L04" not in codes_of(effects(yi, [se**2 for se in sei]))
