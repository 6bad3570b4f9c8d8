"""Three-level and correlated-effects models (metafor 3.8) and robust variances (clubSandwich 0.5.8) against ours."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
CASES = json.loads((REFERENCE / "multilevel.json").read_text(encoding="utf-8"))["cases"]

ITERATIVE = 1e-6  # two maxima of one likelihood, both polished by Newton steps
ROBUST = 1e-6  # follows from the variances above
SEARCH = 1e-3  # metafor's own search for the ends of a profile interval
P_VALUE = 1e3  # a p-value magnifies a relative error by about the square of its statistic


def select(*structures):
    chosen = [case for case in CASES if case["structure"] in structures and "sigma2_low" not in case]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def assert_robust(fit, case, size):
    """Standard errors of each kind; for CR2 also the Satterthwaite degrees of freedom, p-values and Wald test."""
    for kind in ("CR0", "CR1", "CR1p", "CR2"):
        if kind in case["robust"]:
            ours = mm.robust(fit, cluster=case["cluster"], type=kind).coefficients
            assert_allclose(ours["se"], case["robust"][kind]["se"], rtol=ROBUST, atol=1e-9 * size, err_msg=kind)
    theirs = case["robust"]["CR2"]
    ours = mm.robust(fit, cluster=case["cluster"], type="CR2")
    assert_allclose(ours.coefficients["dof"], theirs["dof"], rtol=ROBUST)
    assert_allclose(ours.coefficients["p_value"], theirs["p_value"], rtol=ROBUST * P_VALUE)
    if "ci_low" in theirs:
        assert_allclose(ours.coefficients["ci_low"], theirs["ci_low"], rtol=ROBUST, atol=ROBUST * size)
        assert_allclose(ours.coefficients["ci_high"], theirs["ci_high"], rtol=ROBUST, atol=ROBUST * size)
    if "wald_HTZ" in theirs:
        wald, stored = mm.wald_test(ours, list(ours.coefficients.index[1:])), theirs["wald_HTZ"]
        assert_allclose(wald.statistic, stored["statistic"], rtol=10 * ROBUST)
        assert (wald.dof1, wald.dof2) == (stored["df1"], pytest.approx(stored["df2"], rel=10 * ROBUST))
        assert_allclose(wald.p_value, stored["p_value"], rtol=ROBUST * P_VALUE)


@select("three-level", "che")
def test_multilevel_models_match_metafor(case):
    fit = mm.multilevel(
        frame(case["table"]),
        cluster=case["cluster"],
        structure=case["structure"],
        rho=case["rho"] or 0.0,
        method=case["method"],
        moderators=None if case["formula"] == "1" else case["formula"],
        robust=None,
    )
    assert (fit.k, fit.n_studies) == (case["k"], case["n_clusters"])
    # A variance that is small beside the other is known less well relative to itself.
    assert_allclose(fit.sigma2, case["sigma2"], rtol=ITERATIVE, atol=ITERATIVE * max(case["sigma2"]))
    assert_allclose(fit.loglik, case["loglik"], rtol=0, atol=1e-8)
    size = max(case["se"])
    for name in ("estimate", "se", "statistic", "ci_low", "ci_high"):
        assert_allclose(fit.coefficients[name], case[name], rtol=ITERATIVE, atol=ITERATIVE * size, err_msg=name)
    assert_allclose(fit.coefficients["p_value"], case["p_value"], rtol=ITERATIVE * P_VALUE, atol=1e-300)
    assert_allclose(fit.QE, case["QE"], rtol=ITERATIVE)
    assert_allclose(fit.QE_p, case["QE_p"], rtol=ITERATIVE * P_VALUE, atol=1e-300)
    assert_allclose(fit.I2_by_level, case["I2_levels"], rtol=ITERATIVE, atol=1e-4)
    if "pi_low" in case:
        assert_allclose(fit.pi(), [case["pi_low"], case["pi_high"]], rtol=ITERATIVE, atol=ITERATIVE)
    assert_robust(fit, case, size)


@select("two-level")
def test_robust_variances_of_ordinary_fits_match_clubsandwich(case):
    table = frame(case["table"])
    if case["formula"] == "1":
        fit = mm.random_effects(table, method="REML", test="z")
    else:
        fit = mm.meta_regression(table, case["formula"], method="REML", test="z")
    assert_robust(fit, case, max(np.abs(case["estimate"])))


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_profile_intervals_of_the_variances_match_metafor(method):
    (case,) = [case for case in CASES if case["id"] == f"konstantopoulos2011-sigma2-interval-{method}"]
    fit = mm.multilevel(frame(case["table"]), cluster="district", structure="three-level", method=method, robust=None)
    interval = fit.sigma2_ci()
    assert_allclose(interval["ci_low"], case["sigma2_low"], rtol=SEARCH)
    assert_allclose(interval["ci_high"], case["sigma2_high"], rtol=SEARCH)
