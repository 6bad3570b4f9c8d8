"""Mantel-Haenszel, Peto and binomial-normal models of metafor 3.8 against `mantel_haenszel`, `peto` and `glmm`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.pooling.glmm import glmm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
CASES = json.loads((REFERENCE / "counts.json").read_text(encoding="utf-8"))["cases"]

CLOSED_FORM = 1e-10  # the same sums in another order
TARONE = 1e-8  # expected counts are roots of a quadratic, solved by another formula
P_VALUE = 1e3  # a p-value magnifies a relative error by about the square of its statistic
GLMM = 1e-3  # where lme4, or the numerical integration of the exact conditional likelihood, stops


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def number(value):
    return np.nan if value is None else value


def select(model):
    chosen = [case for case in CASES if case["model"] == model]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def assert_mean(ours, case, rtol):
    for name in ("estimate", "se", "statistic", "ci_low", "ci_high", "Q"):
        assert_allclose(getattr(ours, name), case[name], rtol=rtol, atol=rtol * case["se"], err_msg=name)
    assert_allclose(ours.p_value, case["p_value"], rtol=rtol * P_VALUE, atol=1e-300)
    assert ours.Q_df == case["Q_df"]
    assert_allclose(ours.Q_p, case["Q_p"], rtol=rtol * P_VALUE, atol=1e-300)
    assert_allclose([ours.I2, ours.H2], [case["I2"], case["H2"]], rtol=rtol, atol=rtol)


@select("mantel_haenszel")
def test_mantel_haenszel_matches_metafor(case):
    counts = frame(case["table"])
    ours = mm.mantel_haenszel(counts, measure=case["measure"])
    assert_mean(ours, case, CLOSED_FORM)
    if case["measure"] == "OR":
        plain = mm.mantel_haenszel(counts, measure="OR", correct=False)
        assert_allclose(ours.cmh.statistic, case["CMH"], rtol=CLOSED_FORM)
        assert_allclose(ours.cmh.p_value, case["CMH_p"], rtol=CLOSED_FORM * P_VALUE)
        assert_allclose(plain.cmh.statistic, case["CMH_uncorrected"], rtol=CLOSED_FORM)
        assert_allclose(ours.tarone.statistic, number(case["tarone"]), rtol=TARONE)
        assert_allclose(ours.tarone.p_value, number(case["tarone_p"]), rtol=TARONE * P_VALUE)


@select("peto")
def test_peto_matches_metafor(case):
    assert_mean(mm.peto(frame(case["table"])), case, CLOSED_FORM)


@pytest.mark.parametrize("model", ["UM.FS", "CM.EL"])
def test_binomial_normal_models_match_metafor(model):
    checked = 0
    for case in CASES:
        if case["model"] != f"glmm {model}" or "known_difference" in case:
            continue
        ours = glmm(frame(case["table"]), model=model, tau2=0.0 if case["method"] == "EE" else None)
        where = case["id"]
        assert_allclose(ours.estimate, case["estimate"], rtol=0, atol=GLMM * ours.se * 2, err_msg=where)
        assert_allclose(ours.tau2, case["tau2"], rtol=GLMM, atol=1e-7, err_msg=where)
        if case["se"] is not None:  # metafor's Hessian can fail
            assert_allclose(ours.se, case["se"], rtol=2 * GLMM, err_msg=where)
        if model == "CM.EL" or case["method"] == "EE":
            assert_allclose(ours.loglik, case["loglik"], rtol=1e-7, err_msg=where)
        checked += 1
    assert checked >= 9


def test_binomial_normal_beats_a_failed_search():
    """Where metafor's search ends beside the maximum at tau2 = 0, our likelihood is the higher one."""
    failed = [case for case in CASES if "known_difference" in case and case["model"] == "glmm CM.EL"]
    assert failed
    for case in failed:
        ours = glmm(frame(case["table"]), model="CM.EL")
        assert ours.tau2 == 0
        assert ours.loglik > case["loglik"]
