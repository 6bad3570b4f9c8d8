"""Univariate fits and intervals of metafor 3.8 against `random_effects` and `fixed_effect`."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.pooling.tau2 import general_q

REFERENCE = Path(__file__).parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
POOLING = load("pooling.json")
INTERVALS = load("intervals.json")
SYNTHETIC = load("synthetic.json")

CLOSED_FORM = 1e-10  # the same formula in another order
ITERATIVE = 1e-6  # two searches, two stopping rules
QUADRATURE = 1e-5  # metafor integrates the Henmi-Copas distribution by adaptive quadrature
PROFILE = 1e-4  # metafor's profile-likelihood search refits at its default threshold
# A p-value magnifies a relative error by about the square of its statistic.
P_VALUE = 1e3

ITERATED = set(POOLING["tolerance"]["iterative_methods"])
CASES = [case for case in POOLING["cases"] if case["method"] != "GENQ"]
GENQ = [case for case in POOLING["cases"] if case["method"] == "GENQ"]


def table(name):
    columns = TABLES[name]["columns"]
    return np.array(columns["yi"]), np.array(columns["vi"])


def fit(case, test):
    yi, vi = table(case["table"])
    if case["method"] == "EE":
        return mm.fixed_effect(yi=yi, vi=vi, test=test)
    return mm.random_effects(yi=yi, vi=vi, method=case["method"], test=test)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_fits_match_metafor(case):
    scale = float(np.mean(table(case["table"])[1]))  # an error in units of the data is small against these
    rtol = ITERATIVE if case["method"] in ITERATED else CLOSED_FORM
    for test, theirs in case["tests"].items():
        ours = fit(case, test)
        assert_allclose(ours.tau2, case["tau2"], rtol=rtol, atol=rtol * 1e-3 * scale)
        for name in ("estimate", "Q"):
            assert_allclose(getattr(ours, name), case[name], rtol=rtol, atol=rtol * np.sqrt(scale), err_msg=name)
        # metafor gives no prediction interval for one common effect; ours is the confidence interval.
        interval = () if case["method"] == "EE" else ("pi_low", "pi_high")
        for name in ("se", "statistic", "ci_low", "ci_high", *interval):
            assert_allclose(getattr(ours, name), theirs[name], rtol=rtol, atol=rtol * np.sqrt(scale), err_msg=name)
        assert ours.dof == theirs["dof"]
        assert_allclose(ours.p_value, theirs["p_value"], rtol=rtol * P_VALUE, atol=1e-300)
        assert_allclose(ours.Q_p, case["Q_p"], rtol=CLOSED_FORM * P_VALUE, atol=1e-300)
        if case["method"] not in ("DL2", "CA2"):  # metafor takes these tau2 as known
            assert_allclose(ours.I2, case["I2"], rtol=rtol, atol=rtol)
            assert_allclose(ours.H2, case["H2"], rtol=rtol)
            if case["se_tau2"] is not None:
                assert_allclose(ours.tau2_se, case["se_tau2"], rtol=rtol)
        if "loglik" in case:
            assert_allclose(ours.loglik, case["loglik"], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("case", GENQ, ids=[case["id"] for case in GENQ])
def test_generalised_q_with_weights_of_ones_own(case):
    yi, vi = table(case["table"])
    weights = 1 / np.sqrt(vi)
    tau2 = general_q(yi, vi, weights=weights)
    ours = mm.random_effects(yi=yi, vi=vi, tau2=tau2, weights=weights, test="z")
    assert_allclose(tau2, case["tau2"], rtol=CLOSED_FORM, atol=1e-13 * np.mean(vi))
    assert_allclose([ours.estimate, ours.se], [case["estimate"], case["tests"]["z"]["se"]], rtol=CLOSED_FORM)


@pytest.mark.parametrize("case", INTERVALS["cases"], ids=[case["id"] for case in INTERVALS["cases"]])
def test_intervals_match_metafor(case):
    yi, vi = table(case["table"])
    ours = mm.random_effects(yi=yi, vi=vi, method=case["method"], test="z")
    if case["interval"] == "HC":
        low, high = ours.ci(method="HC")
        assert_allclose([low, high], [case["ci_low"], case["ci_high"]], rtol=QUADRATURE, atol=1e-5 * case["se"])
        assert_allclose(mm.fixed_effect(yi=yi, vi=vi).estimate, case["estimate"], rtol=CLOSED_FORM, atol=1e-14)
        return
    rtol = ITERATIVE if case["interval"] == "QP" else PROFILE
    for name, interval in (("tau2", ours.tau2_ci), ("I2", ours.i2_ci), ("H2", ours.h2_ci)):
        expected = [case[f"{name}_low"], case[f"{name}_high"]]
        atol = rtol * (np.mean(vi) if name == "tau2" else 1)
        assert_allclose(interval(method=case["interval"]), expected, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", SYNTHETIC["cases"], ids=[case["id"] for case in SYNTHETIC["cases"]])
def test_invented_tables_match_metafor(case):
    """Seeded random tables: variances over orders of magnitude, tau2 from 0 to huge."""
    yi, vi = np.array(case["yi"]), np.array(case["vi"])
    fixed = mm.fixed_effect(yi=yi, vi=vi)
    assert_allclose([fixed.estimate, fixed.se, fixed.Q], [*case["fixed"].values(), case["Q"]], rtol=1e-9)
    for method, theirs in case["results"].items():
        rtol = 1e-9 if method in ("DL", "HE", "HS") else ITERATIVE  # sums of very unequal weights lose a digit
        ours = mm.random_effects(yi=yi, vi=vi, method=method, test="z")
        knha = mm.random_effects(yi=yi, vi=vi, method=method, test="knha")
        tiny = rtol * np.min(vi)
        assert_allclose(ours.tau2, theirs["tau2"], rtol=rtol, atol=tiny, err_msg=method)
        expected = [theirs["estimate"], theirs["se"], theirs["knha_se"]]
        assert_allclose([ours.estimate, ours.se, knha.se], expected, rtol=rtol, atol=tiny, err_msg=method)
        assert_allclose([ours.I2, ours.H2], [theirs["I2"], theirs["H2"]], rtol=rtol, atol=rtol, err_msg=method)
        assert_allclose(ours.p_value, theirs["p_value"], rtol=rtol * P_VALUE, atol=1e-300, err_msg=method)
        assert_allclose(knha.p_value, theirs["knha_p"], rtol=rtol * P_VALUE, atol=1e-300, err_msg=method)


def test_the_reference_covers_what_it_should():
    assert len({TABLES[case["table"]]["dataset"] for case in POOLING["cases"]}) >= 20
    methods = ["EE", "DL", "HE", "HS", "HSk", "SJ", "ML", "REML", "EB", "PM", "PMM", "DL2", "CA2"]
    assert {case["method"] for case in CASES} == set(methods)
