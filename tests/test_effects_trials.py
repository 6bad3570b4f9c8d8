"""From the evidence to one row per trial: the real evidence, the rule, the assumptions, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from metamiq.datasets import load_dataset
from metamiq.effects.arm_sizes import arm_sizes
from metamiq.effects.bounds import bound, significance_threshold
from metamiq.effects.choice import PRIMARY_RULE, PrimaryRule
from metamiq.effects.continuous import hedges_g
from metamiq.effects.reported import g_from_p, g_from_t
from metamiq.effects.reported_estimates import g_from_d
from metamiq.effects.trials import bounds_statement, excluded_trials, trial_effects
from metamiq.errors import DataError

DS = load_dataset("mi_cbt_anxiety")
COLUMNS = [
    "trial_id",
    "label",
    "year",
    "disorder",
    "population",
    "published_by_2018_04",
    "mi_delivery",
    "mi_sessions",
    "mi_minutes",
    "comparator",
    "result_id",
    "outcome",
    "domain",
    "instrument",
    "rater",
    "timepoint",
    "report",
    "favours",
    "kind",
    "yi",
    "vi",
    "yi_low",
    "yi_high",
    "n1i",
    "n2i",
    "n_source",
    "assumption",
    "certainty",
    "source",
    "note",
    "route",
]


def real(**options) -> pd.DataFrame:
    return trial_effects(DS, **options).set_index("trial_id")


def made_up(*results: dict, **trial) -> SimpleNamespace:
    """One invented candidate trial with these invented results."""
    trials = pd.DataFrame([{"trial_id": "x", "label": "X", "year": 2001, "role": "candidate"} | trial])
    rows = [
        {"result_id": f"x{i}", "trial_id": "x", "domain": "symptoms", "timepoint": "post", "certainty": "reported"} | r
        for i, r in enumerate(results)
    ]
    return SimpleNamespace(trials=trials, results=pd.DataFrame(rows))


def test_columns_of_the_table():
    effects = trial_effects(DS)
    assert list(effects.columns)[: len(COLUMNS)] == COLUMNS
    assert effects.attrs["measure"] == "SMD"
    assert effects["trial_id"].is_unique
    points = effects["kind"] == "point"
    assert effects.loc[points, ["yi", "vi"]].notna().all(axis=None)
    assert effects.loc[points, ["yi_low", "yi_high"]].isna().all(axis=None)
    assert effects.loc[~points, ["yi", "vi"]].isna().all(axis=None)
    assert effects.loc[~points, ["yi_low", "yi_high"]].notna().all(axis=None)
    assert (effects.loc[~points, "yi_low"] < effects.loc[~points, "yi_high"]).all()


@pytest.mark.parametrize(
    ("trial", "result", "report", "favours", "n1", "n2", "n_source"),
    [
        ("westra2006", "westra2006-response-post", "significant", "mi", 28, 27, "assumed"),
        ("westra2009", "westra2009-worry-post", "significant", "mi", 38, 38, "assumed"),
        ("westra2016", "westra2016-all-post", "nonsignificant", None, 42, 43, "reported"),
        ("barrera2016", "barrera2016-severity-post", "nonsignificant", None, 20, 19, "reported"),
        ("merlo2010", "merlo2010-score-post", "nonsignificant", None, 8, 8, "derived"),
        ("meyer2010", "meyer2010-ocd-post", "significant", "mi", 47, 46, "assumed"),
        ("titov2010", "titov2010-social-post", "nonsignificant", None, 54, 54, "assumed"),
        ("hsieh2012", "hsieh2012-anxiety-post", "direction", "mi", 9, 10, "reported"),
        ("mccabe2019", "mccabe2019-ybocs-post", "significant", "mi", 20, 20, "reported"),
        ("peters2019", "peters2019-social-post", "nonsignificant", None, 85, 101, "reported"),
        ("marker2020", "marker2020-clinician-post", "nonsignificant", None, 18, 18, "assumed"),
        ("jcp2021", "jcp2021-anxiety-post", "significant", "mi", 20, 20, "assumed"),
        ("soucy2021", "soucy2021-anxiety-post", "nonsignificant", None, 231, 249, "reported"),
    ],
)
def test_each_verdict_of_the_evidence(trial, result, report, favours, n1, n2, n_source):
    row = real().loc[trial]
    assert (row["result_id"], row["report"], row["n_source"]) == (result, report, n_source)
    assert (row["n1i"], row["n2i"]) == (n1, n2)
    assert row["kind"] == "bound"
    assert_allclose([row["yi_low"], row["yi_high"]], bound(report, favours, n1, n2))
    assert (row["assumption"] != "") == (n_source == "assumed")


def test_the_only_point_of_the_default_table():
    effects = real()
    assert effects.index[effects["kind"] == "point"].tolist() == ["peynenburg2022"]
    row = effects.loc["peynenburg2022"]
    assert_allclose([row["yi"], row["vi"]], g_from_d(0.25, 153, 155)[:2])
    assert (row["n1i"], row["n2i"], row["assumption"]) == (153, 155, "")


def test_a_verdict_on_response_says_so():
    assumption = real().loc["westra2006", "assumption"]
    assert assumption == (
        "arm sizes: total 55 split 28 and 27; a verdict on response is taken on the scale of symptoms"
    )


def test_coffey_2016_has_two_of_three_equal_arms():
    row = real().loc["coffey2016"]
    assert (row["n1i"], row["n2i"], row["n_source"]) == (42, 42, "assumed")


def test_coffey_needs_the_numbers_of_its_three_arms():
    """The 126 are in three arms: with columns that say so, 42 and 42 by assumption; without, excluded."""
    trials = DS.trials.drop(columns=["n_arms", "n_randomised_all"], errors="ignore")
    without = SimpleNamespace(trials=trials, results=DS.results)
    reason = excluded_trials(without).set_index("trial_id").loc["coffey2016", "reason"]
    assert reason == "PTSD symptoms: nonsignificant, but no arm size and no total is known"
    coffey = trials["trial_id"] == "coffey2016"
    trials = trials.assign(n_arms=np.where(coffey, 3.0, np.nan), n_randomised_all=np.where(coffey, 126.0, np.nan))
    row = trial_effects(SimpleNamespace(trials=trials, results=DS.results)).set_index("trial_id").loc["coffey2016"]
    assert (row["n1i"], row["n2i"], row["n_source"]) == (42, 42, "assumed")
    assert row["assumption"] == "arm sizes: 126 in 3 arms taken as 42 and 42"
    assert_allclose(row["yi_high"], significance_threshold(42, 42))


def test_every_trial_is_either_in_or_out_with_a_reason():
    effects, excluded = trial_effects(DS), excluded_trials(DS)
    assert set(effects["trial_id"]) | set(excluded["trial_id"]) == set(DS.trials["trial_id"])
    assert not set(effects["trial_id"]) & set(excluded["trial_id"])
    assert (excluded["reason"].str.len() >= 10).all()
    reasons = excluded.set_index("trial_id")["reason"]
    assert reasons["navidian2009"].startswith("OCD severity: arm means without standard deviations")
    for trial in ("simpson2010", "ponsford2016", "dean2016", "ghaderi2022"):
        assert "no comparison of the two arms is given" in reasons[trial]
    assert reasons["korte2013"] == "no CBT in either arm"
    assert reasons["meyer2010b"].startswith("probably a subsample of meyer2010")


def test_without_assumptions_only_known_sizes_remain():
    effects, excluded = trial_effects(DS, assume=False), excluded_trials(DS, assume=False)
    assert set(effects["n_source"]) == {"reported", "derived"}
    assert (effects["assumption"] == "").all()
    reason = excluded.set_index("trial_id").loc["westra2009", "reason"]
    assert reason == "arm sizes: total 76 split 38 and 38 by assumption, and assumed sizes are not wanted"


def test_choice_overrides_the_rule():
    effects = real(
        choice={
            "merlo2010": "merlo2010-score-mid",
            "marker2020": "marker2020-self-post",
            "titov2010": "titov2010-social-post-nma",
        }
    )
    assert_allclose(effects.loc["merlo2010", ["yi", "vi"]].astype(float), g_from_t(2.51, 8, 8)[:2])
    assert effects.loc["marker2020", "yi_high"] == np.inf
    # A secondary data set gives g and its SE: arm sizes are not needed and none are assumed.
    titov = effects.loc["titov2010"]
    assert_allclose([titov["yi"], titov["vi"]], [-0.151445806, 0.1743**2])
    assert (titov["n_source"], titov["assumption"]) == ("", "")
    assert np.isnan(titov["n1i"])


def test_merlo_change_scores():
    """Reductions 16.75 (9.66) and 8.13 (6.01), 8 and 8: the plain d is 1.07 and g 1.01."""
    row = real(choice={"merlo2010": "merlo2010-change-mid"}).loc["merlo2010"]
    assert_allclose([row["yi"], row["vi"]], hedges_g(16.75, 9.66, 8, 8.13, 6.01, 8))
    assert f"{row['yi']:.2f}" == "1.01"
    assert "SD of the change" in row["route"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"nobody2000": "a"}, "there is no trial 'nobody2000'"),
        ({"meyer2010b": "a"}, "trial 'meyer2010b' is excluded"),
        ({"titov2010": "soucy2021-anxiety-post"}, "trial 'titov2010' has no result 'soucy2021-anxiety-post'"),
        ({"navidian2009": "navidian2009-ybocs-post"}, "cannot be pooled .OCD severity: arm means without standard"),
    ],
)
def test_choice_must_name_a_usable_result(choice, message):
    with pytest.raises(DataError, match=message):
        trial_effects(DS, choice=choice)


def test_the_rule_is_visible_and_can_be_changed():
    assert PRIMARY_RULE.describe().startswith("One result per trial: symptoms before response, at post")
    symptoms_only = trial_effects(DS, rule=PrimaryRule(domains=("symptoms",)))
    assert "westra2006" not in set(symptoms_only["trial_id"])
    reason = (
        excluded_trials(DS, rule=PrimaryRule(domains=("symptoms",))).set_index("trial_id").loc["westra2006", "reason"]
    )
    assert reason.startswith("responders to CBT: the domain is response, not symptoms")
    self_first = trial_effects(DS, rule=PrimaryRule(raters=("self",))).set_index("trial_id")
    assert self_first.loc["marker2020", "result_id"] == "marker2020-self-post"


def test_preferences_in_order():
    point = {"report": "d", "value": 0.4, "n_mi": 20, "n_cbt": 20}
    verdict = {"report": "nonsignificant", "n_mi": 20, "n_cbt": 20}
    # A point before a bound; the order of the table among equals.
    assert trial_effects(made_up(verdict, point, point)).loc[0, "result_id"] == "x1"
    # The clinician's verdict before the patient's number: the outcome must not depend on how it was reported.
    chosen = trial_effects(made_up(point | {"rater": "self"}, verdict | {"rater": "clinician"}))
    assert chosen.loc[0, "result_id"] == "x1"
    # Symptoms before response, whatever else.
    chosen = trial_effects(made_up(point | {"domain": "response"}, verdict))
    assert chosen.loc[0, "result_id"] == "x1"
    chosen = trial_effects(made_up(point | {"certainty": "direction inferred"}, verdict))
    assert chosen.loc[0, "result_id"] == "x1"


def test_every_kind_of_point():
    sizes = {"n_mi": 20, "n_cbt": 22}
    means = {"mean_mi": 10.0, "sd_mi": 4.0, "mean_cbt": 13.0, "sd_cbt": 5.0, "favours": "mi"}
    g = hedges_g(13, 4, 20, 10, 5, 22)
    cases = [
        ({"report": "means"} | means, g),
        ({"report": "means"} | means | {"favours": "cbt"}, (-g.yi, g.vi)),
        ({"report": "t", "value": 2.0, "df": 40}, g_from_t(2.0, 20, 22)),
        ({"report": "F", "value": 4.0, "favours": "mi"}, g_from_t(2.0, 20, 22)),
        ({"report": "g", "value": 0.3}, g_from_d(0.3, 20, 22, reported="g")),
        ({"report": "smd", "value": 0.3, "se": 0.2}, (0.3, 0.04)),
        ({"report": "ci", "ci_low": 0.1, "ci_high": 0.9}, (0.5, (0.4 / 1.959963984540054) ** 2)),
    ]
    for result, truth in cases:
        row = trial_effects(made_up(result | sizes)).iloc[0]
        assert row["kind"] == "point"
        assert_allclose([row["yi"], row["vi"]], truth[:2], err_msg=str(result))
    row = trial_effects(made_up({"report": "p", "p": 0.03, "favours": "cbt"} | sizes)).iloc[0]
    assert_allclose(row["yi"], g_from_p(0.03, 20, 22, "cbt").yi)


def test_arm_sizes_in_order_of_trust():
    trial = {"n_mi": 30, "n_cbt": 31, "n_total": 61}
    assert arm_sizes(trial, {"n_mi": 28, "n_cbt": 29})[:3] == (28, 29, "reported")
    assert arm_sizes(trial, {})[:3] == (30, 31, "reported")
    assert arm_sizes({"n_mi": 30, "n_total": 61}, {})[:3] == (30, 31, "derived")
    assert arm_sizes({"n_cbt": 31, "n_total": 61}, {})[:3] == (30, 31, "derived")
    assert arm_sizes({"n_total": 61}, {})[:3] == (31, 30, "assumed")
    analysed = arm_sizes({"n_total": 61}, {"report": "t", "df": 50})
    assert analysed[:3] == (26, 26, "assumed")
    assert analysed.assumption == "arm sizes: 50 degrees of freedom give 52, split 26 and 26"
    assert arm_sizes(trial, {"report": "t", "df": 59})[:3] == (30, 31, "reported")
    assert arm_sizes({}, {}) == (None, None, "", "")


def test_contradictions_are_listed_together():
    ds = made_up({"report": "t", "value": 2.0, "df": 30, "n_mi": 20, "n_cbt": 22})
    other = made_up({"report": "nonsignificant", "n_mi": 40, "n_cbt": 40}, n_total=60)
    trials = pd.concat([ds.trials, other.trials.assign(trial_id="y")], ignore_index=True)
    results = pd.concat([ds.results, other.results.assign(trial_id="y", result_id="y0")], ignore_index=True)
    with pytest.raises(DataError) as problem:
        trial_effects(SimpleNamespace(trials=trials, results=results))
    assert "result 'x0' of trial 'x': dof must be n1i + n2i - 2, but row 1 has dof 30" in str(problem.value)
    assert "result 'y0' of trial 'y': the arms must fit in their trial, but 40 + 40 is more than" in str(problem.value)


def test_a_sign_that_contradicts_its_direction_is_refused():
    ds = made_up({"report": "d", "value": -0.4, "favours": "mi", "n_mi": 20, "n_cbt": 20})
    with pytest.raises(DataError, match="value must be positive when favours is 'mi'"):
        trial_effects(ds)


def test_overlapping_candidates_are_not_both_pooled():
    ds = made_up({"report": "d", "value": 0.4, "n_mi": 20, "n_cbt": 20})
    again = ds.trials.assign(trial_id="y", overlaps_with="x")
    trials = pd.concat([ds.trials, again], ignore_index=True)
    results = pd.concat([ds.results, ds.results.assign(trial_id="y", result_id="y0")], ignore_index=True)
    both = SimpleNamespace(trials=trials, results=results)
    assert trial_effects(both)["trial_id"].tolist() == ["x"]
    assert excluded_trials(both)["reason"].tolist() == ["reports the same people as x, which is pooled"]


def test_no_usable_trial_is_an_error_that_says_where_to_look():
    ds = made_up({"report": "not_reported"})
    with pytest.raises(DataError, match=r"none of 1 has\. excluded_trials\(ds\) says why"):
        trial_effects(ds)
    assert len(excluded_trials(ds)) == 1
    assumed = made_up({"report": "nonsignificant"}, n_total=40)
    with pytest.raises(DataError, match="Allow assumed arm sizes"):
        trial_effects(assumed, assume=False)


def test_level_of_the_verdicts():
    assert_allclose(real(level=0.99).loc["mccabe2019", "yi_low"], significance_threshold(20, 20, 0.99))
    with pytest.raises(ValueError, match="level must lie"):
        trial_effects(DS, level=95)
    with pytest.raises(ValueError, match="vtype must be one of"):
        trial_effects(DS, vtype="AV")


def test_bounds_statement_counts_what_it_says():
    effects = trial_effects(DS)
    bounds = effects[effects["kind"] == "bound"]
    line = bounds_statement(effects)
    assert "\n" not in line
    assert line.startswith(f"{len(bounds)} of {len(effects)} rows are bounds")
    assert f"assumed in {(bounds['n_source'] == 'assumed').sum()}" in line
    assert line.endswith("and 1 on a verdict on response.")
    assert "two-sided 1% t test" in bounds_statement(trial_effects(DS, level=0.99))
    assert bounds_statement(effects[effects["kind"] == "point"]) == "No row is a bound: the only row is a point."


def test_columns_that_a_user_added_come_along():
    trials = DS.trials.assign(therapist_hours=np.arange(len(DS.trials), dtype=float))
    effects = trial_effects(SimpleNamespace(trials=trials, results=DS.results))
    assert "therapist_hours" in effects
    truth = trials.set_index("trial_id")["therapist_hours"]
    assert (effects["therapist_hours"].to_numpy() == truth[effects["trial_id"]].to_numpy()).all()
