"""Regression and rank tests of funnel asymmetry: metafor's numbers, statsmodels, the tests' own definitions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.counts import mantel_haenszel
from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.pooling.regression import meta_regression
from metamiq.sensitivity.small_study import begg_test, egger_test
from metamiq.sensitivity.small_study_counts import harbord_test, peters_test

REFERENCE = Path(__file__).parent / "reference"
CLOSED_FORM = {"rtol": 1e-9}  # the same formula in another order; p-values magnify it
ITERATIVE = {"rtol": 1e-6}  # two searches for tau2


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
SMALL = load("small_study.json")["cases"]
WIDE = load("sensitivity.json")["cases"]


def table(name):
    return pd.DataFrame(TABLES[name]["columns"])


def chosen(cases, what):
    return [pytest.param(c, id=c["id"]) for c in cases if c["what"] == what]


@pytest.mark.parametrize("case", chosen(SMALL, "regtest"))
def test_every_predictor_matches_metafor(case):
    es = table(case["table"]).assign(ni=case["ni"])
    fit = random_effects(es, test="knha" if case["test"] == "knha" else "z")
    ours = egger_test(fit, predictor=case["predictor"], model=case["model"])
    tolerance = CLOSED_FORM if case["model"] == "classical" else ITERATIVE
    assert_allclose(ours.statistic, case["statistic"], **tolerance)
    assert_allclose(ours.p_value, case["p_value"], rtol=10 * tolerance["rtol"])
    assert ours.dof == case["dof"]
    if case["limit"] is None:
        assert np.isnan(ours.limit)
    else:
        got = [ours.limit, *ours.limit_ci()]
        # The limit may be near 0, where its own size is no scale.
        assert_allclose(got, [case["limit"], case["limit_low"], case["limit_high"]], atol=1e-7, **tolerance)


@pytest.mark.parametrize("case", [*chosen(WIDE, "egger"), *chosen(WIDE, "egger_mixed")])
def test_egger_matches_metafor_on_every_table(case):
    classical = case["what"] == "egger"
    fit = random_effects(table(case["table"]), test="z")
    ours = egger_test(fit, predictor=case.get("predictor", "sei"), model="classical" if classical else "mixed")
    # metafor's mixed model is fitted at its default stopping rule, an absolute change of 1e-5 in tau2.
    rtol = 1e-9 if classical else 2e-3
    assert_allclose(ours.statistic, case["statistic"], rtol=rtol, atol=rtol)
    assert_allclose(ours.limit, case["limit"], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("case", [*chosen(SMALL, "ranktest"), *chosen(WIDE, "begg")])
def test_begg_matches_metafor(case):
    ours = begg_test(random_effects(table(case["table"])))
    assert_allclose([ours.tau, ours.p_value], [case["tau"], case["p_value"]], rtol=1e-9, atol=1e-12)


def test_begg_normal_approximation():
    # The value of R's package meta for these data, which always approximates: p 0.41770727.
    ours = begg_test(random_effects(table("egger2001_OR")), exact=False)
    assert_allclose(ours.p_value, 0.41770727, rtol=1e-7)
    assert not ours.exact


def test_eggers_test_is_the_regression_of_deviates_on_precision():
    import statsmodels.api as sm

    es = table("egger2001_OR")
    sei = np.sqrt(es["vi"])
    line = sm.OLS(es["yi"] / sei, sm.add_constant(1 / sei)).fit()
    ours = egger_test(fixed_effect(es))
    assert_allclose(ours.intercept, line.params["const"], rtol=1e-9)
    assert_allclose(ours.se, line.bse["const"], rtol=1e-9)
    assert_allclose(ours.p_value, line.pvalues["const"], rtol=1e-8)
    assert_allclose(ours.ci(0.9), line.conf_int(0.1).loc["const"], rtol=1e-9)


def test_moderators_stay_in_the_model():
    import statsmodels.api as sm

    es = table("bcg_RR")
    fit = meta_regression(es, "ablat", test="z")
    X = np.column_stack([np.ones(len(es)), es["ablat"], np.sqrt(es["vi"])])
    line = sm.WLS(es["yi"], X, weights=1 / es["vi"]).fit()
    ours = egger_test(fit)
    assert_allclose([ours.statistic, ours.p_value], [line.tvalues.iloc[2], line.pvalues.iloc[2]], rtol=1e-8)
    assert np.isnan(ours.limit)
    assert "endlessly" not in ours.summary()


def test_harbord_and_peters_by_their_definitions():
    import statsmodels.api as sm

    t = table("bcg_counts")
    a, n1, c, n2 = (t[x].to_numpy(float) for x in ("ai", "n1i", "ci", "n2i"))
    N, m = n1 + n2, a + c
    Z, V = a - n1 * m / N, n1 * n2 * m * (N - m) / N**2 / (N - 1)
    line = sm.OLS(Z / np.sqrt(V), sm.add_constant(np.sqrt(V))).fit()
    ours = harbord_test(t)
    assert_allclose([ours.intercept, ours.se, ours.p_value], [line.params[0], line.bse[0], line.pvalues[0]], rtol=1e-8)
    yi = np.log(a * (n2 - c) / c / (n1 - a))
    line = sm.WLS(yi, sm.add_constant(1 / N), weights=m * (N - m) / N).fit()
    ours = peters_test(t)
    assert_allclose([ours.intercept, ours.se, ours.p_value], [line.params[1], line.bse[1], line.pvalues[1]], rtol=1e-8)
    assert_allclose(ours.limit, line.params[0], rtol=1e-9)


def test_counts_come_from_a_fit_as_well_and_uninformative_studies_are_named():
    t = pd.concat(
        [table("bcg_counts"), pd.DataFrame({"study": ["none"], "ai": [0], "n1i": [10], "ci": [0], "n2i": [9]})]
    )
    from_table, from_fit = harbord_test(t), harbord_test(mantel_haenszel(t))
    assert from_table.k == 13
    assert from_fit.p_value == from_table.p_value
    assert any("1 study without events" in text for text in from_table.cautions)


# Invented effects and variances.
rows = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(0.01, 1)).map(lambda p: (round(p[0], 3), round(p[1], 4))),
    min_size=5,
    max_size=15,
    unique_by=(lambda p: p[0], lambda p: p[1]),
)


@settings(max_examples=30, deadline=None)
@given(rows, st.randoms(use_true_random=False), st.floats(0.1, 10))
def test_signs_orders_and_scales(pairs, random, scale):
    yi, vi = map(np.array, zip(*pairs, strict=True))
    order = list(range(len(yi)))
    random.shuffle(order)
    first = random_effects(yi=yi, vi=vi)
    for test in (egger_test, begg_test):
        name = "intercept" if test is egger_test else "tau"
        here = test(first)
        flipped = test(random_effects(yi=-yi, vi=vi))
        assert_allclose(getattr(flipped, name), -getattr(here, name), rtol=1e-7, atol=1e-9)
        for other in (
            test(random_effects(yi=yi[order], vi=vi[order])),
            test(random_effects(yi=scale * yi, vi=scale**2 * vi)),
            flipped,
        ):
            assert_allclose(other.p_value, here.p_value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: egger_test(random_effects(yi=[1, 2], vi=[1, 2])), "at least 3 effect sizes, but there are 2"),
        (lambda: egger_test(random_effects(yi=[1, 2, 3], vi=[1, 1, 1])), "it is 1 for every row"),
        (lambda: begg_test(random_effects(yi=[1, 2, 3], vi=[1, 1, 1])), "the same for all"),
        (
            lambda: egger_test(random_effects(yi=[1, 2, 3], vi=[1, 2, 3]), predictor="ninv"),
            "needs study sizes in a column ni",
        ),
        (
            lambda: begg_test(random_effects(yi=[1, 2, 3, 4], vi=[1, 2, 2, 3]), exact=True),
            "without ties",
        ),
        (lambda: harbord_test(pd.DataFrame({"yi": [1], "vi": [2]})), "needs the 2x2 counts"),
        (
            lambda: peters_test(pd.DataFrame({"ai": [1, 2, 3], "n1i": 9, "ci": [2, 2, 2], "n2i": 9})),
            "differ in 1/N",
        ),
    ],
)
def test_what_cannot_be_done_is_said(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_bounds_are_refused():
    es = pd.DataFrame(
        {
            "yi": [0.2, 0.5, 0.1, np.nan],
            "vi": [0.1, 0.2, 0.1, np.nan],
            "yi_low": [np.nan] * 3 + [0.1],
            "yi_high": [np.nan] * 3 + [np.inf],
            "kind": ["point"] * 3 + ["bound"],
            "n1i": 20,
            "n2i": 20,
        }
    )
    fit = random_effects_bounded(es)
    for test in (egger_test, begg_test, harbord_test):
        with pytest.raises(DataError, match="1 of 4 rows are bounds"):
            test(fit)


def test_cautions_are_printed():
    fit = random_effects(yi=[0.1, 0.4, 0.5, 0.2], vi=[0.1, 0.11, 0.12, 0.13])
    for result in (egger_test(fit), begg_test(fit)):
        assert any("k = 4" in text for text in result.cautions)
        assert any("precision hardly differs" in text for text in result.cautions)
        assert all(text in result.summary() for text in result.cautions)
    es = table("bcg_RR").assign(study=np.repeat(["a", "b"], [7, 6]))
    es.attrs["measure"] = "RR"
    cautions = egger_test(random_effects(es)).cautions
    assert any("13 effect sizes come from 2 studies" in text for text in cautions)
    assert any("depends on the effect" in text for text in cautions)


@pytest.mark.parametrize("options", [{"predictor": "n"}, {"model": "lm"}])
def test_options_have_names(options):
    with pytest.raises(ValueError, match="must be"):
        egger_test(random_effects(yi=[1, 2, 3], vi=[1, 2, 3]), **options)
