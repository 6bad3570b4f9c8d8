"""Location-scale models of metafor 3.8 against `location_scale`."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
STORED = json.loads((REFERENCE / "location_scale.json").read_text(encoding="utf-8"))
MATCHED = [case for case in STORED["cases"] if "known_difference" not in case]
APART = [case for case in STORED["cases"] if "known_difference" in case]

LIKELIHOOD = 1e-10  # of its size: where the other search ends
ITERATIVE = 1e-5  # a numerical search stops about the root of that away, in standard errors
NUMERICAL_HESSIAN = 1e-4  # metafor's standard errors of the scale
COLUMNS = ("estimate", "se", "statistic", "ci_low", "ci_high")


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def fitted(case):
    table = frame(case["table"])
    fit = mm.location_scale(table, case["formula"], case["scale"], method=case["method"], test=case["test"])
    return fit, fit.predict(table.iloc[case["predict"]["rows"]]) if "predict" in case else None


@pytest.mark.parametrize("case", MATCHED, ids=[case["id"] for case in MATCHED])
def test_estimates_match_metafor(case):
    fit, said = fitted(case)
    assert fit.k == case["k"]
    assert fit.loglik >= case["loglik"] - 1e-12 * (1 + abs(case["loglik"]))  # never on a lower hill
    for name in ("loglik", "AIC", "BIC"):
        assert_allclose(getattr(fit, name), case[name], rtol=LIKELIHOOD, atol=LIKELIHOOD, err_msg=name)
    if len(fit.alpha) > 1:
        assert_allclose(fit.loglik_constant, case["loglik_constant"], rtol=LIKELIHOOD, atol=LIKELIHOOD)
    theirs = case["location"]
    for name in COLUMNS:
        atol = ITERATIVE * (1.0 if name == "statistic" else np.max(theirs["se"]))
        assert_allclose(fit.coefficients[name], theirs[name], rtol=ITERATIVE, atol=atol, err_msg=name)
    assert_allclose(fit.coefficients["p_value"], theirs["p_value"], rtol=100 * ITERATIVE, atol=ITERATIVE)
    theirs = case["scale_part"]
    assert_allclose(fit.alpha, theirs["estimate"], rtol=ITERATIVE, atol=ITERATIVE * np.max(theirs["se"]))
    assert_allclose([fit.tau2.min(), fit.tau2.max()], case["tau2_range"], rtol=ITERATIVE)
    assert_allclose(fit.QM, case["QM"], rtol=10 * ITERATIVE)
    assert_allclose(fit.QE, case["QE"], rtol=1e-9)
    for name in ("QM_p", "QE_p"):
        assert_allclose(getattr(fit, name), case[name], rtol=1e-2, atol=ITERATIVE, err_msg="p_value")
    if said is not None:
        assert_allclose(np.log(said["tau2"]), case["predict"]["log_tau2"], rtol=ITERATIVE, atol=ITERATIVE)
        for name in ("estimate", "se", "ci_low", "ci_high", "pi_low", "pi_high"):
            if name in case["predict"]:
                assert_allclose(said[name], case["predict"][name], rtol=ITERATIVE, atol=ITERATIVE, err_msg=name)


@pytest.mark.parametrize("case", MATCHED, ids=[case["id"] for case in MATCHED])
def test_errors_of_the_scale_match_metafor(case):
    fit, said = fitted(case)
    ours, theirs = fit.scale_coefficients, case["scale_part"]
    for name in ("se", "statistic", "ci_low", "ci_high"):
        atol = NUMERICAL_HESSIAN * (1.0 if name == "statistic" else np.max(theirs["se"]))
        assert_allclose(ours[name], theirs[name], rtol=NUMERICAL_HESSIAN, atol=atol, err_msg=name)
    assert_allclose(ours["p_value"], theirs["p_value"], rtol=1e-2, atol=NUMERICAL_HESSIAN, err_msg="p_value")
    assert_allclose(fit.QS, case["QS"], rtol=10 * NUMERICAL_HESSIAN)
    assert_allclose(fit.QS_p, case["QS_p"], rtol=1e-2, atol=NUMERICAL_HESSIAN, err_msg="p_value")
    if said is not None:
        for name in ("tau2_low", "tau2_high"):
            expected = case["predict"]["log_" + name]
            assert_allclose(np.log(said[name]), expected, rtol=NUMERICAL_HESSIAN, atol=NUMERICAL_HESSIAN, err_msg=name)


@pytest.mark.parametrize("case", APART, ids=[case["id"] for case in APART])
def test_where_the_likelihood_has_no_maximum(case):
    """metafor gives numbers with errors of 20,000 and more, or a lower hill; here it is said that there is none."""
    with pytest.raises(mm.ConvergenceError, match="must have a maximum, but it rises") as refused:
        mm.location_scale(frame(case["table"]), case["formula"], case["scale"], method=case["method"])
    limit = float(str(refused.value).split("towards a log-likelihood of ")[1].split(" ")[0])
    assert limit >= case["loglik"] - 1e-3
    assert max(case["scale_part"]["se"]) > 1000 or limit > case["loglik"] + 0.01


def test_what_metafor_checks_itself_by():
    """Row C11 of published_numbers.csv."""
    with (REFERENCE / "published_numbers.csv").open(encoding="utf-8", newline="") as file:
        known = {row["label"]: float(row["metafor"]) for row in csv.DictReader(file) if row["id"] == "C11"}
    fit = mm.location_scale(frame("bangertdrowns2004"), "1", "grade")
    ours = [fit.beta[0], *fit.alpha, *fit.scale_coefficients["se"]]
    theirs = [known[name] for name in ("beta", "alpha1", "alpha2", "se.alpha1", "se.alpha2")]
    assert_allclose(ours, theirs, rtol=2e-6)  # at its default stopping rule


def test_the_reference_covers_what_it_should():
    assert len({case["table"] for case in MATCHED}) >= 12
    assert len(MATCHED) >= 75
    assert len(APART) <= 16
