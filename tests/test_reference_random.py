"""Invented, awkward tables of tests/reference/random.json: metafor 3.8's and clubSandwich 0.5.8's numbers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

CASES = json.loads((Path(__file__).parent / "reference" / "random.json").read_text(encoding="utf-8"))["cases"]
CLOSED_FORM = 1e-9  # metafor's gamma functions leave ten digits of J in groups of 100,000
ITERATIVE = 1e-6  # two searches for tau2


def select(*what):
    chosen = [case for case in CASES if case["what"] in what]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


@select("effect sizes")
def test_effect_sizes_match_metafor(case):
    effects = mm.effect_sizes(pd.DataFrame(case["columns"]), case["measure"], **(case["options"] or {}))
    yi, vi = np.array(case["yi"], dtype=float), np.array(case["vi"], dtype=float)
    # Differences of two logarithms or arcsines near each other keep the digits of these, not their own.
    assert_allclose(effects["yi"], yi, rtol=CLOSED_FORM, atol=1e-15)
    assert_allclose(effects["vi"], vi, rtol=CLOSED_FORM)


@select("Mantel-Haenszel", "Peto")
def test_common_effects_match_metafor(case):
    counts = pd.DataFrame(case["columns"])
    fit = mm.peto(counts) if case["what"] == "Peto" else mm.mantel_haenszel(counts, case["measure"])
    assert_allclose([fit.estimate, fit.se, fit.Q], [case[name] for name in ("estimate", "se", "Q")], rtol=CLOSED_FORM)
    assert_allclose(fit.p_value, case["p_value"], rtol=1e3 * CLOSED_FORM)


@select("clusters")
def test_robust_variances_with_clusters_of_one_match_clubsandwich(case):
    effects = pd.DataFrame(case["columns"])
    fit = mm.random_effects(effects) if case["formula"] == "1" else mm.meta_regression(effects, case["formula"])
    for type, theirs in case["robust"].items():
        ours = mm.robust(fit, "study", type=type).coefficients
        assert_allclose(ours["se"], theirs["se"], rtol=ITERATIVE)
        if type == "CR2":
            assert_allclose(ours["dof"], theirs["dof"], rtol=ITERATIVE)
