"""Verdicts: what each says on the bundled evidence, and that they follow the data."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import metamiq as mm
from metamiq.gaps import missing_numbers
from metamiq.question import Answers, CannotFit
from metamiq.verdicts import VERDICTS, agrees, detectable


@pytest.fixture(scope="module")
def evidence():
    return mm.load_dataset("mi_cbt_anxiety")


@pytest.fixture(scope="module")
def audit(evidence):
    return mm.audit(evidence)


def made_up(evidence, g, n=400, k=12, **columns):
    """The bundled dataset with made-up trials in place of the real ones: k reported d values around g."""
    trials = evidence.trials.iloc[[0] * k].reset_index(drop=True)
    trials["trial_id"] = [f"made_up_{i:02d}" for i in range(k)]
    trials["label"] = trials["trial_id"]
    trials[["n_mi", "n_cbt", "n_total"]] = [n, n, 2 * n]
    trials[["role", "published_by_2018_04", "overlaps_with", "reason", "note"]] = ["candidate", "yes", None, None, None]
    for column, values in columns.items():
        trials[column] = values
    results = evidence.results[evidence.results["report"] == "d"].iloc[[0] * k].reset_index(drop=True)
    results["trial_id"] = trials["trial_id"]
    results["result_id"] = [f"{t}-post" for t in trials["trial_id"]]
    results["value"] = np.asarray(g) * np.ones(k)
    results["favours"] = np.where(results["value"] < 0, "cbt", "mi")
    results[["n_mi", "n_cbt"]] = n
    dropout = evidence.dropout.iloc[:0]
    lines = {name: tuple(range(2, 2 + k)) for name in evidence.lines}
    return dataclasses.replace(evidence, trials=trials, results=results, dropout=dropout, lines=lines)


def verdict(audit, claim):
    return audit.table.set_index("claim_id").loc[claim]


def test_every_claim_has_a_verdict(audit, evidence):
    assert sorted(audit.table["claim_id"]) == sorted(evidence.claims["claim_id"])
    assert set(audit.table["verdict"]) <= set(VERDICTS)
    assert audit.agrees


def test_the_pooled_claim_is_consistent_and_thin(audit):
    row = verdict(audit, "pooled-g")
    fit = audit.answers.early
    assert row["verdict"] == "consistent"
    assert (row["k_points"], row["k_bounds"]) == (fit.k_points, fit.k_bounds) == (0, 9)
    assert f"{fit.estimate:.2f}" in row["ours"]
    assert fit.likelihood_ratio(0.59) > 0.05
    assert fit.ci_low < 0.59 < fit.ci_high
    assert row["reason"].endswith("The evidence is thin: 0 effect sizes and 9 bounds.")


def test_the_number_of_trials_cannot_be_tested(audit):
    row = verdict(audit, "k")
    assert row["verdict"] == "not testable"
    assert row["ours"] == "13 candidates published by April 2018, 9 of them usable"
    assert "trial list" in row["reason"]


def test_null_claims_say_what_they_could_have_seen(audit):
    for claim in ("dropout", "disorder", "dose"):
        row = verdict(audit, claim)
        assert row["verdict"] == "consistent"
        assert "with 80% power" in row["reason"]
        assert "thin" in row["reason"]
    slope = audit.answers.dose.coefficients.loc["mi_sessions", "se"]
    assert f"a slope of {detectable(slope):.2f} per session" in verdict(audit, "dose")["reason"]


def test_detectable_difference_has_the_stated_power():
    least = detectable(0.13)
    power = stats.norm.sf(stats.norm.ppf(0.975) - least / 0.13)
    assert_allclose(power, 0.8, rtol=1e-9)


@pytest.mark.parametrize(
    ("printed", "computed", "same"),
    [("0.59", 0.585, True), ("0.59", 0.5849, False), ("0.590", 0.5903, True), ("12", 11.6, True), ("none", 1.0, False)],
)
def test_rounding_decides_reproduced(printed, computed, same):
    assert agrees(printed, computed) is same


def test_strong_evidence_reproduces_or_contradicts(evidence):
    wobble = np.linspace(-0.05, 0.05, 12)
    same = verdict(mm.audit(made_up(evidence, 0.591 + wobble)), "pooled-g")
    assert same["verdict"] == "reproduced"
    assert not same["thin"]
    other = mm.audit(made_up(evidence, 0.1 + wobble))
    assert verdict(other, "pooled-g")["verdict"] == "inconsistent"
    assert not other.agrees


def test_moderation_in_the_data_contradicts_a_null_claim(evidence):
    disorders = ["GAD", "OCD"] * 6
    g = np.where(np.array(disorders) == "GAD", 0.1, 0.9) + np.linspace(-0.05, 0.05, 12)
    result = mm.audit(made_up(evidence, g, disorder=disorders, mi_sessions=[1.0, 4.0] * 6))
    assert verdict(result, "disorder")["verdict"] == "inconsistent"
    assert verdict(result, "dose")["verdict"] == "inconsistent"


def test_harm_contradicts_benefit(evidence):
    g = -0.5 + np.linspace(-0.05, 0.05, 12)
    result = mm.audit(made_up(evidence, g, disorder=["GAD", "OCD", "PTSD"] * 4, mi_sessions=1.0))
    assert verdict(result, "across-disorders")["verdict"] == "inconsistent"
    assert verdict(result, "few-sessions")["verdict"] == "inconsistent"


def test_what_is_missing_is_not_testable_and_says_what_would_help(evidence):
    result = mm.audit(made_up(evidence, 0.5, disorder="mixed", mi_sessions=np.nan))
    for claim in ("dropout", "disorder", "dose", "few-sessions", "across-disorders"):
        row = verdict(result, claim)
        assert row["verdict"] == "not testable", claim
        assert len(row["reason"]) > 20


def test_a_dataset_without_claims_is_refused(evidence):
    with pytest.raises(mm.DataError, match="An audit needs published claims"):
        mm.audit(dataclasses.replace(evidence, claims=evidence.claims.iloc[:0]))


def test_a_folder_without_results_is_told_so(evidence):
    with pytest.raises(mm.DataError, match=r"must hold results\.csv"):
        Answers(dataclasses.replace(evidence, results=evidence.results.iloc[:0]))


def test_an_unknown_claim_is_not_testable(evidence):
    claims = evidence.claims.iloc[:1].assign(claim_id="new")
    row = mm.audit(dataclasses.replace(evidence, claims=claims)).table.iloc[0]
    assert row["verdict"] == "not testable"


def test_gaps_name_the_open_sources(evidence):
    gaps = missing_numbers(evidence).set_index("trial_id")
    assert "PMC2861340" in gaps.loc["merlo2010", "where"]
    assert gaps.loc["jcp2021", "where"] == ""
    assert "peynenburg2022" not in gaps.index  # a point already
    assert "arm sizes" in gaps.loc["meyer2010", "lacks"]


def test_dropout_is_pooled_from_whole_counts(evidence):
    answers = Answers(evidence)
    assert answers.dropout["trial_id"].tolist() == ["mccabe2019", "westra2016"]
    assert answers.dropout[["ai", "n1i", "ci", "n2i"]].to_numpy().tolist() == [[2, 20, 3, 20], [4, 42, 10, 43]]
    a, b, c, d = np.array([2, 4]), np.array([18, 38]), np.array([3, 10]), np.array([17, 33])
    n = a + b + c + d
    by_hand = np.log((a * d / n).sum() / (b * c / n).sum())
    assert_allclose(answers.dropout_common["OR"].estimate, by_hand, rtol=1e-12)
    assert isinstance(answers.dropout_as_moderator, CannotFit)
    assert answers.dropout_as_moderator.reason.startswith("2 trials have both")


def test_a_trial_with_dropout_at_two_stages_is_refused(evidence):
    extra = evidence.dropout[evidence.dropout["trial_id"] == "westra2016"].assign(stage="follow-up")
    both = dataclasses.replace(evidence, dropout=pd.concat([evidence.dropout, extra], ignore_index=True))
    with pytest.raises(mm.DataError, match="at one stage only, but westra2016 has several"):
        mm.dropout_counts(both)
