"""Influence and flip sets: by deleting rows one at a time, against metafor, and in words."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
STORED = json.loads((REFERENCE / "sensitivity.json").read_text(encoding="utf-8"))
CASES = [case for case in STORED["cases"] if case["what"] in ("influence", "influence_regression")]
COLUMNS = ("rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "Q_del", "hat", "weight")

ITERATIVE = {"rtol": 1e-6, "atol": 1e-9}  # two searches for tau2, and differences of fits that are nearly equal
PRINTED = {"rtol": 1e-8}  # ten printed digits
SAME = {"rtol": 1e-7, "atol": 1e-10}  # the same rows by another call


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


@pytest.fixture(scope="module")
def bounded():
    return mm.random_effects_bounded(mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")))


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_statistics_match_metafor(case):
    table = frame(case["table"])
    if "formula" in case:
        fit = mm.meta_regression(table, case["formula"], test="z")
        own = {"dfbetas_intercept": "dfbs_Intercept", "dfbetas_slope": f"dfbs_{fit.names[-1]}"}
    else:
        fit = mm.random_effects(table, method=case["method"], test="z")
        own = {"dfbetas": "dfbs"}
    out = mm.influence(fit)
    names = {name: name for name in COLUMNS if name in case} | own
    assert len(names) >= 8
    for theirs, ours in names.items():
        assert_allclose(out[ours], np.array(case[theirs], dtype=float), err_msg=theirs, **ITERATIVE)


def test_the_numbers_in_metafors_own_checks_are_met():
    with (REFERENCE / "published_numbers.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["id"] in ("F01", "F02", "F07")]
    fit, table = mm.random_effects(frame("bcg_RR"), test="z"), frame("bcg_RR")
    one, out = mm.influence(fit), mm.leave_one_out(fit)
    ablat = mm.influence(mm.meta_regression(table, "ablat", test="z"))
    # rstandard1 and blup1 are no deletion statistics; all of F07 are of row 1.
    columns = {"rstudent": "rstudent", "dffits": "dffits", "cook.d": "cook_d", "cov.r": "cov_r", "tau2.del": "tau2_del"}
    columns |= {"hat": "hat", "weight": "weight", "dfbs": "dfbs", "est": "estimate", "se": "se", "tau2": "tau2"}
    columns |= {"I2": "I2", "Q": "Q"}
    first = {"hat.1": "hat", "cook.1": "cook_d", "rstud1": "rstudent", "dfb1": "dfbs_Intercept", "dfb2": "dfbs_ablat"}
    checked = 0
    for row in rows:
        label = row["label"]
        if label.startswith(("rstandard", "blup")):
            continue
        if row["id"] == "F07":
            ours = ablat[first[label]].iloc[0]
        else:
            ours = (one if row["id"] == "F01" else out)[columns[label[:-1]]].iloc[int(label[-1]) - 1]
        # metafor at its default stopping rule, which small differences of two fits magnify.
        assert_allclose(ours, float(row["metafor"]), rtol=2e-3, err_msg=f"{row['id']} {label}")
        checked += 1
    assert checked == 22


def test_statistics_of_a_hartung_knapp_fit_match_metafor():
    # influence(rma(yi, vi, data=dat.bcg, test="knha", control=list(threshold=1e-12, maxiter=10000))), metafor 3.8
    first = mm.influence(mm.random_effects(frame("bcg_RR"), test="knha")).iloc[0]
    theirs = {
        "rstudent": -0.213597850408,
        "dffits": -0.039859473556,
        "cook_d": 0.00169741156091,
        "cov_r": 1.15148565411,
        "dfbs": -0.0394270164406,
    }
    for name, value in theirs.items():
        assert_allclose(first[name], value, err_msg=name, **PRINTED)
    # the same with mods = ~ ablat
    first = mm.influence(mm.meta_regression(frame("bcg_RR"), "ablat", test="knha")).iloc[0]
    theirs = {"rstudent": 0.193600002907, "cook_d": 0.00369783551715, "weight": 2.82286880188}
    theirs |= {"dfbs_Intercept": 0.00557884019401, "dfbs_ablat": 0.0191752248529}
    for name, value in theirs.items():
        assert_allclose(first[name], value, err_msg=name, **PRINTED)


def test_statistics_of_a_fixed_effect_fit_match_metafor():
    # influence(rma(yi, vi, data=dat.bcg, method="FE")), metafor 3.8, row 4
    row = mm.influence(mm.fixed_effect(frame("bcg_RR"))).iloc[3]
    theirs = {"rstudent": -7.46126082582, "cook_d": 4.97051430416, "cov_r": 1.08928466714, "hat": 0.08196633059610}
    for name, value in theirs.items():
        assert_allclose(row[name], value, err_msg=name, **PRINTED)
    assert row["tau2_del"] == 0


def test_statistics_of_bounds_are_those_of_fits_without_the_row(bounded):
    out = mm.influence(bounded)
    assert list(out.columns) == ["rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "weight"]
    table = bounded.effects
    for name in ("westra2006", "peters2019", "peynenburg2022"):
        rest = mm.random_effects_bounded(table[table["trial_id"] != name])
        row = table.set_index("trial_id").loc[name]
        change = bounded.estimate - rest.estimate
        assert_allclose(out.loc[name, "tau2_del"], rest.tau2, **SAME)
        assert_allclose(out.loc[name, "cook_d"], (change / bounded.se) ** 2, **SAME)
        assert_allclose(out.loc[name, "cov_r"], (rest.se / bounded.se) ** 2, **SAME)
        assert_allclose(out.loc[name, "dffits"], change / rest.se, **SAME)
        if row["kind"] == "point":
            nearest, own = row["yi"], row["vi"]
        else:
            nearest = min(max(rest.estimate, row["yi_low"]), row["yi_high"])
            n1, n2 = row["n1i"], row["n2i"]
            own = 1 / n1 + 1 / n2 + rest.estimate**2 / (2 * (n1 + n2))
        spread = np.sqrt(own + rest.tau2 + rest.se**2)
        assert_allclose(out.loc[name, "rstudent"], (nearest - rest.estimate) / spread, **SAME)
    assert out["weight"].sum() == pytest.approx(100)
    # A verdict that the others expect is no surprise.
    assert out.loc["barrera2016", "rstudent"] == 0
    assert out.loc["soucy2021", "rstudent"] < 0 < out.loc["jcp2021", "rstudent"]


def test_bounds_with_moderators(bounded):
    fit = mm.random_effects_bounded(bounded.effects, "mi_sessions")
    out = mm.influence(fit)
    rest = mm.random_effects_bounded(fit.effects[fit.effects["trial_id"] != "soucy2021"], "mi_sessions")
    change = fit.beta - rest.beta
    assert_allclose(out.loc["soucy2021", "cook_d"], change @ np.linalg.solve(fit.cov, change), rtol=1e-6)
    assert_allclose(out.loc["soucy2021", "cov_r"], np.linalg.det(rest.cov) / np.linalg.det(fit.cov), rtol=1e-6)
    assert "the coefficient of mi_sessions" in mm.influence_summary(fit)


def test_points_only_through_the_bounded_model_agree_with_ml():
    table = frame("normand1999_SMD")
    ours = mm.influence(mm.random_effects_bounded(table))
    plain = mm.influence(mm.random_effects(table, method="ML", test="z"))
    assert_allclose(ours["tau2_del"], plain["tau2_del"], rtol=1e-5, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    yi=st.lists(st.floats(-2, 2), min_size=4, max_size=9),
    seed=st.integers(0, 1000),
)
def test_fixed_effect_deletion_has_closed_forms(yi, seed):
    vi = np.random.default_rng(seed).uniform(0.05, 0.5, len(yi))
    out = mm.influence(mm.fixed_effect(yi=yi, vi=vi))
    w = 1 / vi
    h, mean = w / w.sum(), (w * yi).sum() / w.sum()
    residual = np.asarray(yi) - mean
    assert_allclose(out["hat"], h, rtol=1e-12)
    assert_allclose(out["rstudent"], residual / np.sqrt(vi * (1 - h)), rtol=1e-8, atol=1e-9)
    assert_allclose(out["cov_r"], 1 / (1 - h), rtol=1e-9)
    assert_allclose(out["cook_d"], (h * residual / (1 - h)) ** 2 * w.sum(), rtol=1e-7, atol=1e-12)


def test_a_row_without_which_nothing_can_be_fitted():
    table = pd.DataFrame({"study": list("abcd"), "yi": [0.1, 0.4, 0.3, 0.9], "vi": 0.05, "x": [0, 0, 0, 1]})
    fit = mm.meta_regression(table, "x", test="z")
    assert np.isnan(mm.influence(fit).loc["d", "cook_d"])
    first = mm.influence_summary(fit).splitlines()[0]
    assert first == "Without d, the coefficient of x cannot be estimated; d carries 25% of the weight."


def test_equal_effects_have_no_error_to_measure_a_change_by():
    fit = mm.random_effects(yi=[0.1] * 3, vi=[0.1] * 3)
    assert fit.se == pytest.approx(0, abs=1e-12)
    assert np.isnan(mm.influence(fit)["cook_d"]).all()
    assert "the mean stays at 0.10" in mm.influence_summary(fit)


def test_words_give_ratios_as_ratios_and_name_what_hangs_on_one_row():
    table = frame("bcg_RR")
    table.attrs["measure"] = "RR"
    fit = mm.random_effects(table)
    lines = mm.influence_summary(fit).splitlines()
    assert lines[0] == "Without 4, the risk ratio rises from 0.49 to 0.53; 4 carries 10% of the weight."
    assert lines[-1] == "The interval lies below no effect whichever single row is left out."
    assert len(mm.influence_summary(fit, n=None).splitlines()) == fit.k + 1
    one = mm.fixed_effect(pd.DataFrame({"study": list("abc"), "yi": [0.0, 0.1, 0.9], "vi": 0.08}))
    assert mm.influence_summary(one).splitlines()[-1] == "The interval lies above no effect, but not without c."


@pytest.mark.parametrize(("method", "test"), [("REML", "knha"), ("DL", "z")])
def test_flip_set_is_the_smallest_by_brute_force(method, test):
    table = frame("bcg_RR").iloc[:9].reset_index(drop=True)
    fit = mm.random_effects(table, method=method, test=test)
    found = mm.flip_set(fit)
    labels = [str(x) for x in table["study"]]

    def where(rows):
        part = mm.random_effects(table.iloc[rows], method=method, test=test)
        return (part.ci_low > 0) * 1 - (part.ci_high < 0) * 1

    for size in range(1, 8):
        flipping = {
            tuple(labels[i] for i in out)
            for out in itertools.combinations(range(9), size)
            if where([i for i in range(9) if i not in out]) != found.before
        }
        if flipping:
            break
    assert found.size == size
    assert set(found.sets["without"]) == flipping
    assert found.members in flipping


def test_flip_set_of_points_and_bounds(bounded):
    found = mm.flip_set(bounded)
    assert found.before == 1
    assert found.size == 4
    table = bounded.effects
    rest = mm.random_effects_bounded(table[~table["trial_id"].isin(found.members)])
    assert rest.ci_low < 0 < rest.ci_high
    assert_allclose(found.sets.iloc[0][["ci_low", "ci_high"]].astype(float), rest.ci(), rtol=1e-5)
    words = found.summary()
    assert words.startswith("The 95% interval of all 15 rows lies above 0. Leaving out ")
    assert "24 other sets of this size" in words


def test_flip_set_that_is_not_there_says_how_far_it_looked():
    fit = mm.fixed_effect(yi=[1.0, 1.1, 1.2, 0.9], vi=[0.01] * 4)
    found = mm.flip_set(fit)
    assert (found.size, found.members, found.searched) == (None, (), 2)
    assert "Leaving out any 2 rows or fewer does not change that" in found.summary()
    assert mm.flip_set(fit, null=1.0).before == 0
    assert mm.flip_set(fit, largest=1).searched == 1


def test_faults(bounded):
    with pytest.raises(mm.DataError, match="at least two rows"):
        mm.influence(mm.fixed_effect(yi=[1], vi=[1]))
    with pytest.raises(ValueError, match="weights of its own"):
        mm.influence(mm.random_effects(frame("bcg_RR"), weights="equal"))
    with pytest.raises(ValueError, match="n must be at least 1"):
        mm.influence_summary(mm.random_effects(frame("bcg_RR")), n=0)
    with pytest.raises(mm.DataError, match="at least three rows"):
        mm.flip_set(mm.fixed_effect(yi=[1, 2], vi=[1, 1]))
    with pytest.raises(mm.DataError, match="has moderators"):
        mm.flip_set(mm.meta_regression(frame("bcg_RR"), "ablat"))
    with pytest.raises(mm.DataError, match="has moderators"):
        mm.flip_set(mm.random_effects_bounded(bounded.effects, "mi_sessions"))
