"""Deletion, cumulative fits, subsets and permutation tests of metafor 3.8 against ours."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.plots.diagnostic import baujat_rows

REFERENCE = Path(__file__).parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
CASES = load("sensitivity.json")["cases"]
PERMUTATION = load("permutation.json")["cases"]

CLOSED_FORM = 1e-9  # the same sums in another order
ITERATIVE = 1e-6  # two searches for tau2
GOSH = 1e-4  # gosh() refits at metafor's default stopping rule
SAME = 1e-12  # counts over the same arrangements


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def select(what):
    chosen = [case for case in CASES if case["what"] == what]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


@select("leave_one_out")
def test_leave_one_out_matches_metafor(case):
    effects = frame(case["table"])
    ours = mm.leave_one_out(mm.random_effects(effects, method=case["method"], test=case["test"]))
    size = {"tau2": effects["vi"].mean(), "I2": 1.0}
    for name in ("estimate", "se", "ci_low", "ci_high", "Q", "tau2", "I2", "H2"):
        atol = ITERATIVE * size.get(name, max(case["se"]))
        assert_allclose(ours[name], case[name], rtol=ITERATIVE, atol=atol, err_msg=name)
    for name in ("p_value", "Q_p"):
        assert_allclose(ours[name], case[name], rtol=1e3 * ITERATIVE, atol=1e-300, err_msg=name)


@select("cumulative")
def test_cumulative_fits_match_metafor(case):
    effects = frame(case["table"])
    # Trials of one year come in together here, and one by one, in the order of the table, in metafor.
    effects["place"] = np.argsort(np.argsort(effects["year"], kind="stable"))
    ours = mm.cumulative(mm.random_effects(effects, method=case["method"], test="z"), by="place")
    for name in ("estimate", "se", "ci_low", "ci_high"):
        assert_allclose(ours[name], case[name], rtol=CLOSED_FORM, atol=CLOSED_FORM, err_msg=name)
    # metafor calls tau2 of the first trial alone 0; it is not defined.
    assert_allclose(ours["tau2"][1:], case["tau2"][1:], rtol=CLOSED_FORM, atol=CLOSED_FORM * effects["vi"].mean())


@select("baujat")
def test_baujat_coordinates_match_metafor(case):
    ours = baujat_rows(mm.fixed_effect(frame(case["table"])))
    for name in ("x", "y"):
        assert_allclose(ours[name], case[name], rtol=CLOSED_FORM, atol=CLOSED_FORM, err_msg=name)


@select("subsets")
def test_all_subsets_match_metafor(case):
    effects = frame(case["table"])
    fit = mm.fixed_effect(effects) if case["method"] == "EE" else mm.random_effects(effects, method=case["method"])
    ours = mm.subsets(fit)
    assert len(ours) == case["n"]
    rtol = GOSH if case["method"] == "REML" else CLOSED_FORM
    for name in ("mean", "std", "median", "min", "max"):
        theirs = case[f"{'sd' if name == 'std' else name}_estimate"]
        assert_allclose(getattr(ours["estimate"], name)(), theirs, rtol=rtol, atol=rtol * 1e-2, err_msg=name)
    # Subsets of one row have no tau2 here and 0 in metafor.
    for name in ("tau2", "I2"):
        assert_allclose(ours[name].fillna(0).mean(), case[f"mean_{name}"], rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize("case", PERMUTATION, ids=[case["id"] for case in PERMUTATION])
def test_exact_permutation_tests_match_metafor(case):
    effects = frame(case["table"])
    method, test = case["method"], case["test"]
    if case["formula"] == "1":
        fit = mm.random_effects(effects, method=method, test=test)
        ours = mm.permutation_test(fit, exact=True)
        assert ours.n == case["draws"]
        assert_allclose(ours.p_value, case["p_value"], rtol=SAME)
        return
    reg = mm.meta_regression(effects, case["formula"], method=method, test=test)
    # We go through all orders of the rows, metafor through the distinct ones: each as often as every other.
    ours = mm.permutation_test(reg, exact=True)
    assert ours.n % case["draws"] == 0
    assert_allclose(ours.table["p_permutation"], [*case["p_value"], case["QM_p"]], rtol=SAME)
