"""Binomial-normal models: closed cases, lme4, metafor and statsmodels, and what is true of any counts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.binomial_normal import Conditional, Unconditional, marginal
from metamiq.pooling.glmm import glmm

HERE = Path(__file__).parent / "reference"
ITERATIVE = {"rtol": 1e-6}  # two optimisers, two stopping rules
QUADRATURE = {"rtol": 1e-9, "atol": 1e-11}  # two ways to integrate, both near rounding error
MORE = json.loads((HERE / "counts_glmm.json").read_text(encoding="utf-8"))
TABLES = json.loads((HERE / "datasets.json").read_text(encoding="utf-8"))["tables"]
TIGHT = [c for c in MORE["cases"] if c["model"] in ("UM.FS", "CM.EL")]
METAFOR = [
    c
    for c in json.loads((HERE / "counts.json").read_text(encoding="utf-8"))["cases"]
    if c["model"] in ("glmm UM.FS", "glmm CM.EL")
]
MODELS = ("UM.FS", "CM.EL")


def named(name):
    name = name.removesuffix("_counts")
    return pd.DataFrame((MORE["tables"].get(name) or TABLES[f"{name}_counts"])["columns"])


def counts(*rows):
    return pd.DataFrame(rows, columns=["ai", "n1i", "ci", "n2i"])


def swapped(table):
    return table.rename(columns={"ai": "ci", "ci": "ai", "n1i": "n2i", "n2i": "n1i"})


SPARSE = named("sparse_invented")


@pytest.mark.parametrize("case", TIGHT, ids=[c["id"] for c in TIGHT])
def test_matches_a_converged_fit_elsewhere(case):
    fit = glmm(named(case["table"]), case["model"])
    assert fit.k == case["k"]
    assert_allclose([fit.estimate, fit.se], [case["estimate"], case["se"]], **ITERATIVE)
    assert_allclose(fit.tau2, case["tau2"], **ITERATIVE)
    for key, value in (("tau2_se", fit.tau2_se), ("loglik", fit.loglik)):
        if key in case:
            assert_allclose(value, case[key], **ITERATIVE)


@pytest.mark.parametrize("case", METAFOR, ids=[c["id"] for c in METAFOR])
def test_matches_metafor(case):
    common = case["method"] == "EE"
    fit = glmm(named(case["table"]), case["model"].split()[1], tau2=0 if common else None)
    assert fit.k == case["k"]
    # glm and nlminb stop early in the last digits of a common-effect fit too.
    assert_allclose(fit.lrt.statistic, case["Q_lrt"], rtol=1e-6)
    if not common and fit.tau2 == 0:
        # On the boundary metafor's CM.EL stops at a tau2 of about 1e-4, with a standard error near 1e-7.
        assert case["tau2"] < 2e-4
        assert_allclose(fit.estimate, case["estimate"], rtol=3e-3)
        return
    # lme4 and numDeriv under metafor's own settings: their distance from a converged fit, see counts_glmm.json.
    loose = 2e-6 if common else 4e-4
    assert_allclose([fit.estimate, fit.tau2], [case["estimate"], case["tau2"]], rtol=loose)
    if case["se"] is not None:
        assert_allclose(fit.se, case["se"], rtol=2e-3)
    if common or case["model"] == "glmm CM.EL":
        assert_allclose(fit.loglik, case["loglik"], rtol=1e-6)
    if np.isfinite(fit.wald.statistic):
        # metafor takes the curvature of CM.EL's saturated model from a numerical Hessian.
        assert_allclose(fit.wald.statistic, case["Q_wald"], rtol=1e-2 if "CM" in case["model"] else 1e-5)


def test_i2_matches_metafor():
    # I2 moves with tau2, which metafor stops early.
    for case in TIGHT:
        if case["model"] == "UM.FS" and case["table"] != "sparse_invented":
            assert_allclose(glmm(named(case["table"])).I2, case["metafor_I2"], rtol=4e-4)


@pytest.mark.parametrize("name", ["nielweise2007", "collins1985b"])
def test_common_effect_matches_statsmodels(name):
    import statsmodels.api as sm
    from statsmodels.discrete.conditional_models import ConditionalLogit

    d = named(name)
    d = d[(d.ai + d.ci > 0)]
    k = len(d)
    X = np.column_stack([np.r_[np.ones(k), np.zeros(k)], np.vstack([np.eye(k)] * 2)])
    y = np.column_stack([np.r_[d.ai, d.ci], np.r_[d.n1i - d.ai, d.n2i - d.ci]])
    other = sm.GLM(y, X, family=sm.families.Binomial()).fit(tol=1e-14)
    fit = glmm(d, tau2=0)
    assert_allclose([fit.estimate, fit.se, fit.loglik], [other.params[0], other.bse[0], other.llf], **ITERATIVE)
    assert_allclose(fit.lrt.statistic, other.deviance, **ITERATIVE)
    if name == "nielweise2007":
        # One row a person: its sums over permutations are only feasible for few events.
        few = d[d.ai + d.ci < 8]
        cells = [(1, 1, "ai"), (1, 0, "bi"), (0, 1, "ci"), (0, 0, "di")]
        few = few.assign(bi=few.n1i - few.ai, di=few.n2i - few.ci)
        people = [
            (i, g, e)
            for i, row in enumerate(few.itertuples())
            for g, e, c in cells
            for _ in range(int(getattr(row, c)))
        ]
        study, group, event = np.array(people).T
        other = ConditionalLogit(event, group[:, None].astype(float), groups=study).fit(disp=0, gtol=1e-10)
        fit = glmm(few, "CM.EL", tau2=0)
        # Its optimiser stops early (a gradient averaged over people), but the slope of its likelihood is exact.
        assert abs(other.model.score(np.array([fit.estimate]))[0]) < 1e-10
        assert other.model.loglike(other.params) < other.model.loglike(np.array([fit.estimate]))
        assert_allclose(fit.estimate, other.params[0], rtol=1e-3)


@pytest.mark.parametrize("coding", [0.5, 1, 0])
def test_one_study_is_its_log_odds_ratio(coding):
    fit = glmm(counts((5, 20, 10, 20)), coding=coding)
    assert_allclose([fit.estimate, fit.se**2], [np.log(50 / 150), 1 / 5 + 1 / 15 + 1 / 10 + 1 / 10], rtol=1e-10)
    assert np.isnan(fit.tau2)
    assert np.isnan(fit.lrt.p_value)
    assert all(np.isnan(fit.tau2_ci()))
    assert np.isnan(fit.pi_low)


def test_one_event_per_study_is_a_coin_with_known_odds():
    # With one event in all, P(it fell in group 1) = expit(theta + log(n1 / n2)): equal arms and 3 of 4 give log 3.
    fit = glmm(counts((1, 50, 0, 50), (1, 60, 0, 60), (1, 70, 0, 70), (0, 80, 1, 80)), "CM.EL")
    assert_allclose([fit.estimate, fit.se**2], [np.log(3), 1 / (4 * 0.75 * 0.25)], rtol=1e-10)
    # Every tau2 is as likely as 0 here, and 0 is what is given.
    assert fit.tau2 == 0


@pytest.mark.parametrize("tau", [0.3, 2.0, 12.8])
def test_integral_matches_scipy(tau):
    ai, n1i, ci, n2i = (np.array(x, dtype=float) for x in ([0, 7], [30, 40], [4, 2], [35, 20]))
    alpha, theta = np.array([-2.0, -0.5]), -0.4
    # Gauss-Legendre on short panels, the probabilities written out.
    x, w = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-10, 10, 401)
    z = (0.5 * (edges[:-1] + edges[1:])[:, None] + 0.025 * x).ravel()
    w = np.tile(0.025 * w, 400) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    by_hand = {"UM.FS": 0.0, "CM.EL": 0.0}
    for a, n1, c, n2, intercept in zip(ai, n1i, ci, n2i, alpha, strict=True):
        delta = theta + tau * z
        p1, p2 = special.expit(intercept + delta / 2), special.expit(intercept - delta / 2)
        by_hand["UM.FS"] += np.log(w @ (stats.binom.pmf(a, n1, p1) * stats.binom.pmf(c, n2, p2)))
        j = np.arange(max(0, a + c - n2), min(n1, a + c) + 1)
        ways = np.log(special.comb(n1, j) * special.comb(n2, a + c - j))
        chance = np.exp(ways[j == a] - special.logsumexp(ways + np.outer(delta, j - a), axis=1))
        by_hand["CM.EL"] += np.log(w @ chance)
    um, cm = Unconditional(ai, n1i, ci, n2i, 0.5), Conditional(ai, n1i, ci, n2i)
    assert_allclose(marginal(um, theta, tau, alpha, 511).loglik, by_hand["UM.FS"], **QUADRATURE)
    assert_allclose(marginal(cm, theta, tau, alpha, 511).loglik, by_hand["CM.EL"], **QUADRATURE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("points", [31, 255])
def test_slopes_match_differences(model, points):
    table = named("nielweise2007")
    table = table[table.ai + table.ci > 0]
    columns = [table[c].to_numpy(dtype=float) for c in ("ai", "n1i", "ci", "n2i")]
    kernel = Conditional(*columns) if model == "CM.EL" else Unconditional(*columns, 0.5)
    alpha, theta, tau, h = kernel.start(), -1.0, 0.7, 1e-4

    def height(dt=0.0, ds=0.0):
        return marginal(kernel, theta + dt, tau + ds, alpha, points).loglik

    m = marginal(kernel, theta, tau, alpha, points)
    # Central differences: error of order h^2 times the third derivative.
    assert_allclose(m.gradient[0], (height(h) - height(-h)) / (2 * h), rtol=1e-6)
    assert_allclose(m.gradient[1], (height(0, h) - height(0, -h)) / (2 * h), rtol=1e-6)
    # tau2 moves tau by d tau2 / (2 tau).
    assert_allclose(m.score_tau2, m.gradient[1] / (2 * tau), rtol=1e-8)
    if model == "CM.EL":
        assert_allclose(m.information[0, 0], -(height(h) - 2 * height() + height(-h)) / h**2, rtol=1e-5)
        assert_allclose(m.information[1, 1], -(height(0, h) - 2 * height() + height(0, -h)) / h**2, rtol=1e-5)
        cross = (height(h, h) - height(h, -h) - height(-h, h) + height(-h, -h)) / (4 * h**2)
        assert_allclose(m.information[0, 1], -cross, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_points_beyond_the_default_change_nothing(model):
    fit = glmm(SPARSE, model)
    more = glmm(SPARSE, model, points=511)
    assert fit.points < 511
    assert_allclose([fit.estimate, fit.tau2, fit.se], [more.estimate, more.tau2, more.se], rtol=1e-8)


def test_seven_points_are_what_lme4_takes_by_default():
    case = next(c for c in TIGHT if c["id"] == "lee2004-UM.FS")
    fit = glmm(named("lee2004"), points=7)
    # metamiq solves for zero slopes of the integral, lme4 maximises its approximation: they meet as points are added.
    assert_allclose([fit.estimate, fit.tau2], [case["estimate_7"], case["tau2_7"]], **ITERATIVE)


@pytest.mark.parametrize("model", MODELS)
def test_no_tau2_is_more_likely(model):
    for name in ("sparse_invented", "nielweise2007", "axfors2021"):
        table = named(name)
        fit = glmm(table, model)
        for tau in np.geomspace(0.05, 8, 5):
            # Rounding error of a sum of log-likelihoods.
            assert glmm(table, model, tau2=tau**2).loglik <= fit.loglik + 1e-9


@pytest.mark.parametrize("model", MODELS)
def test_tau2_of_zero_is_the_common_effect(model):
    fit, common = glmm(named("hahn2001"), model), glmm(named("hahn2001"), model, tau2=0)
    assert (fit.tau2, fit.points) == (0, 0)
    assert (fit.estimate, fit.se, fit.loglik) == (common.estimate, common.se, common.loglik)
    assert np.isnan(fit.tau2_se)
    assert fit.tau2_ci().low == 0
    assert fit.tau2_ci().high > 0


@pytest.mark.parametrize("model", MODELS)
def test_tau2_interval_ends_where_the_likelihood_has_dropped(model):
    table = named("lee2004")
    fit = glmm(table, model)
    low, high = fit.tau2_ci(0.9)
    assert 0 < low < fit.tau2 < high
    for end in (low, high):
        drop = fit.loglik - glmm(table, model, tau2=end).loglik
        assert_allclose(2 * drop, stats.chi2.ppf(0.9, 1), rtol=1e-6)


def test_record():
    fit = glmm(SPARSE.rename(columns={"study": "trial_id"}), "CM.EL", test="t", level=0.9)
    assert (fit.k, fit.n_studies, len(fit.effects), fit.dof) == (11, 11, 12, 10)
    assert (fit.method, fit.measure, fit.Q, fit.Q_df) == ("CM.EL", "OR", fit.lrt.statistic, 10)
    assert list(fit.effects.index[~fit.included]) == [5]
    assert fit.weights[5] == 0
    assert_allclose(fit.weights.sum(), 1, rtol=1e-12)
    assert (fit.weights >= 0).all()
    assert fit.pi_low < fit.ci_low < fit.estimate < fit.ci_high < fit.pi_high
    assert np.isnan(fit.wald.statistic)
    assert fit.to_frame().loc["mean", "dof"] == 10
    text = fit.summary()
    assert "CM.EL: conditional, exact likelihood" in text
    assert "k = 11 tables from 11 studies (1 without events or without non-events left out)" in text
    assert "90% prediction interval" in text
    with pytest.raises(ValueError, match="must be 'PL'"):
        fit.tau2_ci(method="QP")


@pytest.mark.parametrize("model", MODELS)
def test_shrunken_effects_lie_between_own_and_mean(model):
    table = named("lee2004")
    fit = glmm(table, model)
    own, own_se = fit.effects.yi.to_numpy(), np.sqrt(fit.effects.vi.to_numpy())
    shrunk = fit.shrunken()
    assert np.corrcoef(own, shrunk.estimate)[0, 1] > 0.9
    clear = np.abs(own - fit.estimate) > own_se
    assert (np.abs(shrunk.estimate - fit.estimate)[clear] < np.abs(own - fit.estimate)[clear]).all()
    assert (shrunk.se < np.sqrt(fit.tau2)).all()
    sparse = glmm(SPARSE, model)
    assert_allclose(sparse.shrunken().iloc[5], [sparse.estimate, np.sqrt(sparse.tau2)])


@pytest.mark.parametrize("model", MODELS)
def test_infinite_odds_ratios_are_refused(model):
    one_sided = counts((0, 20, 3, 20), (0, 30, 2, 30), (0, 10, 0, 10))
    with pytest.raises(ConvergenceError, match=r"each of the 2 informative studies.*metamiq\.peto"):
        glmm(one_sided, model)
    with pytest.raises(ConvergenceError, match="each of the 2 informative studies"):
        glmm(swapped(one_sided), model)
    # Zero cells of both kinds point the same way too: no events there, nothing but events here.
    with pytest.raises(ConvergenceError, match="rises without end"):
        glmm(counts((0, 20, 3, 20), (4, 30, 30, 30)), model)


@pytest.mark.parametrize("model", MODELS)
def test_infinite_tau2_is_refused(model):
    extremes = counts((0, 20, 20, 20), (20, 20, 0, 20), (0, 30, 30, 30), (30, 30, 0, 30))
    with pytest.raises(ConvergenceError, match="tau2 must be finite, but the likelihood still rises"):
        glmm(extremes, model)


def test_bad_data_and_options():
    with pytest.raises(DataError, match="ai must not exceed n1i, but 'b' has ai 21, n1i 20"):
        glmm(counts((1, 20, 3, 20), (21, 20, 3, 20)).assign(study=["a", "b"]))
    with pytest.raises(DataError, match="both events and non-events, but none of the 2 has"):
        glmm(counts((0, 20, 0, 20), (20, 20, 20, 20)))
    for options, message in (
        ({"model": "UM.RS"}, "model must be one of 'CM.EL', 'UM.FS', not 'UM.RS'"),
        ({"test": "knha"}, "test must be one of 't', 'z', not 'knha'"),
        ({"coding": 2}, "coding must be 0, 0.5 or 1"),
        ({"points": 3}, "points must lie between 7 and 511"),
        ({"tau2": -1}, "tau2 must be a finite number"),
        ({"level": 1.5}, "level must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            glmm(SPARSE, **options)


@st.composite
def any_counts(draw):
    """Invented tables; the first two studies have all cells filled, so that the odds ratio is finite."""
    rows = [(2, 9, 3, 11), (5, 12, 2, 15)]
    for _ in range(draw(st.integers(1, 5))):
        n1, n2 = draw(st.integers(1, 60)), draw(st.integers(1, 60))
        rows.append((draw(st.integers(0, min(n1, 9))), n1, draw(st.integers(0, min(n2, 9))), n2))
    return counts(*rows)


@pytest.mark.parametrize("model", MODELS)
@given(table=any_counts())
@settings(max_examples=4, deadline=None)
def test_invariance(model, table):
    fit = glmm(table, model)
    expected = [fit.estimate, fit.se, fit.tau2, fit.loglik, fit.Q]
    close = {"rtol": 1e-6, "atol": 1e-7}  # tau2 near 0 is the root of a flat curve
    flipped = glmm(swapped(table), model)
    assert_allclose([-flipped.estimate, flipped.se, flipped.tau2, flipped.loglik, flipped.Q], expected, **close)
    survivors = glmm(table.assign(ai=table.n1i - table.ai, ci=table.n2i - table.ci), model)
    assert_allclose(
        [-survivors.estimate, survivors.se, survivors.tau2, survivors.loglik, survivors.Q], expected, **close
    )
    more = pd.concat([table.iloc[::-1], counts((0, 30, 0, 20), (7, 7, 5, 5))], ignore_index=True)
    again = glmm(more, model)
    assert_allclose([again.estimate, again.se, again.tau2, again.loglik, again.Q], expected, **close)
    assert again.k == fit.k


def test_coding_follows_the_groups():
    table = named("lee2004")
    first, second = glmm(table, coding=1), glmm(swapped(table), coding=0)
    assert_allclose([first.estimate, first.tau2], [-second.estimate, second.tau2], rtol=1e-8)
    assert abs(first.estimate - glmm(table).estimate) > 1e-3
