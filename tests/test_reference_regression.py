"""Meta-regressions and subgroups of metafor 3.8 against `meta_regression` and `subgroups`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
STORED = json.loads((REFERENCE / "regression.json").read_text(encoding="utf-8"))

CLOSED_FORM = 1e-9  # the same projections by another decomposition
# metafor inverts X'WX, whose condition number with years near 2000 beside an intercept is about 1e12; ours does not.
YEARS = 1e-6
ITERATIVE = 1e-6  # two searches, two stopping rules
P_VALUE = 1e3  # a p-value magnifies a relative error by about the square of its statistic
ITERATED = set(STORED["tolerance"]["iterative_methods"])
MODELS = [case for case in STORED["cases"] if "formula" in case]
SUBGROUPS = [case for case in STORED["cases"] if "by" in case]
COLUMNS = ("estimate", "se", "statistic", "ci_low", "ci_high")


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def ours_of(name):
    return {"EE": "FE"}.get(name, name)


@pytest.mark.parametrize("case", MODELS, ids=[case["id"] for case in MODELS])
def test_meta_regressions_match_metafor(case):
    table = frame(case["table"])
    reg = mm.meta_regression(table, case["formula"], method=ours_of(case["method"]), test=case["test"])
    rtol = ITERATIVE if case["method"] in ITERATED else YEARS if "year" in case["formula"] else CLOSED_FORM
    scale = float(table["vi"].mean())
    assert reg.k == case["k"]
    assert len(reg.coefficients) == len(case["terms"])
    assert_allclose(reg.tau2, case["tau2"], rtol=rtol, atol=rtol * 1e-2 * scale)
    size = np.abs(case["coefficients"]["se"]).max()
    for name in COLUMNS:
        theirs = case["coefficients"][name]
        assert_allclose(reg.coefficients[name], theirs, rtol=rtol, atol=rtol * size, err_msg=name)
    p_values = case["coefficients"]["p_value"]
    assert_allclose(reg.coefficients["p_value"], p_values, rtol=rtol * P_VALUE, atol=1e-300)
    assert_allclose([reg.QM, reg.QE], [case["QM"], case["QE"]], rtol=10 * rtol)
    assert (reg.QM_df, reg.QE_df) == (case["QM_df"], case["QE_df"])
    assert_allclose([reg.QM_p, reg.QE_p], [case["QM_p"], case["QE_p"]], rtol=rtol * P_VALUE, atol=1e-300)
    if case["method"] == "EE":
        return
    assert_allclose([reg.I2, reg.H2], [case["I2"], case["H2"]], rtol=rtol, atol=rtol)
    if case["R2"] is not None:
        # A difference of two variances: near 0 it keeps fewer digits.
        assert_allclose(reg.R2, case["R2"], rtol=rtol, atol=100 * rtol)
    if case["se_tau2"] is not None:
        # A sum of squares of what was lost in inverting X'WX.
        assert_allclose(reg.tau2_se, case["se_tau2"], rtol=1e-4 if rtol == YEARS else rtol)
    if "loglik" in case:
        assert_allclose(reg.loglik, case["loglik"], rtol=rtol, atol=rtol)
    if "predict" in case:
        theirs = case["predict"]
        predicted = reg.predict(table.iloc[theirs["rows"]])
        for name in ("estimate", "se", "ci_low", "ci_high", "pi_low", "pi_high"):
            assert_allclose(predicted[name], theirs[name], rtol=rtol, atol=rtol * size, err_msg=name)
    if "vif" in case:
        moderators = [name for name in reg.coefficients.index if name != "Intercept"]
        assert_allclose(reg.vif().loc[moderators, "gvif"], case["vif"], rtol=rtol)
        contrast = np.zeros((2, len(reg.coefficients)))
        contrast[:, -2:] = np.eye(2)
        statistic, _, _, p_value = reg.wald_test(contrast)
        assert_allclose(statistic, case["joint_last_two"]["QM"], rtol=10 * rtol)
        assert_allclose(p_value, case["joint_last_two"]["p_value"], rtol=rtol * P_VALUE)
        difference = reg.contrast(contrast[0] - contrast[1])
        for name in ("estimate", "se", "statistic"):
            expected = case["difference_last_two"][name]
            assert_allclose(difference[name], expected, rtol=rtol, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("case", SUBGROUPS, ids=[case["id"] for case in SUBGROUPS])
def test_subgroups_match_metafor(case):
    table = frame(case["table"])
    method = ours_of(case["method"])
    rtol = ITERATIVE if case["method"] in ITERATED else CLOSED_FORM
    separate = mm.subgroups(table, by=case["by"], method=method, test=case["test"])
    assert list(separate.table.index) == case["levels"]
    assert list(separate.table["k"]) == case["k"]
    for name, theirs in case["separate"].items():
        atol = rtol * (table["vi"].mean() if name == "tau2" else 1)
        assert_allclose(separate.table[name], theirs, rtol=rtol, atol=atol, err_msg=name)
    assert_allclose(separate.Q_between, case["Q_between"], rtol=10 * rtol)
    assert separate.Q_df == case["Q_between_df"]
    assert_allclose(separate.Q_p, case["Q_between_p"], rtol=rtol * P_VALUE)
    common = mm.subgroups(table, by=case["by"], method=method, test=case["test"], common_tau2=True)
    assert_allclose(common.tau2, case["common"]["tau2"], rtol=rtol, atol=rtol * 1e-2 * table["vi"].mean())
    for name in ("estimate", "se"):
        assert_allclose(common.table[name], case["common"][name], rtol=rtol, err_msg=name)


def test_the_reference_covers_what_it_should():
    assert len({(case["table"], case["formula"]) for case in MODELS}) >= 35
    assert len(SUBGROUPS) >= 40
