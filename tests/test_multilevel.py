"""Three-level, correlated-and-hierarchical and correlated-effects models."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.clustered import BlockCovariance, ClusteredModel, Clusters
from metamiq.pooling.components import maximise
from metamiq.pooling.multilevel import multilevel
from metamiq.pooling.multilevel_fit import MultilevelFit

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
MULTILEVEL = json.loads((REFERENCE / "multilevel.json").read_text(encoding="utf-8"))["cases"]
MODELS = [c for c in MULTILEVEL if c["structure"] in ("three-level", "che") and "sigma2" in c]
DEPENDENCE = json.loads((REFERENCE / "dependence.json").read_text(encoding="utf-8"))
STATISTICS = [c for c in DEPENDENCE["cases"] if c["kind"] == "multilevel"]
CORRELATED = [c for c in DEPENDENCE["cases"] if c["kind"] == "correlated effects"]

CLOSED_FORM = {"rtol": 1e-9}  # the same arithmetic, block-wise against dense
ITERATIVE = {"rtol": 2e-6, "atol": 1e-8}  # two optimisers on a flat top; the smallest components are near 0
LIKELIHOOD = {"rtol": 0, "atol": 1e-8}  # at the top an error in sigma2 counts squared
P_VALUE = {"rtol": 1e-4, "atol": 1e-12}  # a p-value magnifies the relative error of its statistic


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def fitted(case, **options):
    moderators = None if case["formula"] == "1" else case["formula"]
    structure = case.get("structure") or ("che" if case["rho"] else "three-level")
    return multilevel(
        frame(case["table"]),
        case["cluster"],
        structure=structure,
        rho=case["rho"] or 0.0,
        moderators=moderators,
        method=case["method"],
        **options,
    )


def small(rng=None):
    """An invented table with four clusters."""
    return pd.DataFrame(
        {
            "study": ["a", "a", "b", "b", "b", "c", "c", "d"],
            "yi": [0.1, 0.4, 0.5, 0.8, 0.6, 0.9, 0.3, 0.0],
            "vi": [0.02, 0.03, 0.02, 0.05, 0.04, 0.03, 0.02, 0.06],
            "dose": [1.0, 2.0, 1.0, 3.0, 2.0, 4.0, 1.0, 2.0],
        }
    )


def dense_covariance(vi, code, rho, between, within):
    same = code[:, None] == code[None, :]
    cov = same * (rho * np.sqrt(np.outer(vi, vi)) + between)
    np.fill_diagonal(cov, vi + between + within)
    return cov


def dense_loglik(y, X, M, reml):
    W = np.linalg.inv(M)
    A = X.T @ W @ X
    e = y - X @ np.linalg.solve(A, X.T @ W @ y)
    k, p = X.shape
    value = k * np.log(2 * np.pi) + np.linalg.slogdet(M)[1] + e @ W @ e
    if reml:
        value += np.linalg.slogdet(A)[1] - np.linalg.slogdet(X.T @ X)[1] - p * np.log(2 * np.pi)
    return -0.5 * value


# Other software


@pytest.mark.parametrize("case", MODELS, ids=[c["id"] for c in MODELS])
def test_models_match_metafor(case):
    fit = fitted(case)
    assert (fit.k, fit.n_studies) == (case["k"], case["n_clusters"])
    assert_allclose(fit.loglik, case["loglik"], **LIKELIHOOD)
    assert fit.loglik >= case["loglik"] - 1e-10 * abs(case["loglik"])
    assert_allclose(fit.sigma2, case["sigma2"], **ITERATIVE)
    assert_allclose(fit.I2_by_level, case["I2_levels"], **ITERATIVE)
    assert_allclose(fit.I2, sum(case["I2_levels"]), **ITERATIVE)
    for column in ("estimate", "se", "statistic", "ci_low", "ci_high"):
        assert_allclose(fit.coefficients[column], case[column], **ITERATIVE, err_msg=column)
    assert_allclose(fit.coefficients["p_value"], case["p_value"], **P_VALUE)
    assert_allclose([fit.QE], [case["QE"]], **CLOSED_FORM)
    assert_allclose(fit.QE_p, case["QE_p"], **P_VALUE)
    if "pi_low" in case:
        assert_allclose([fit.pi_low, fit.pi_high], [case["pi_low"], case["pi_high"]], **ITERATIVE)


@pytest.mark.parametrize("case", STATISTICS, ids=[c["id"] for c in STATISTICS])
def test_fit_statistics_and_profile_intervals_match_metafor(case):
    fit = fitted(case, test=case["test"])
    assert_allclose([fit.loglik, fit.AIC, fit.BIC], [case["loglik"], case["AIC"], case["BIC"]], **LIKELIHOOD)
    for column in ("p_value", "ci_low", "ci_high"):
        assert_allclose(fit.coefficients[column], case[column], rtol=1e-5, atol=1e-7, err_msg=column)
    if "QM" in case:
        assert_allclose(fit.QM, case["QM"], rtol=1e-5)
        assert_allclose(fit.QM_p, case["QM_p"], **P_VALUE)
        predicted = fit.predict(frame(case["table"]).iloc[:3])
        for column, values in case["predicted"].items():
            assert_allclose(predicted[column], values, rtol=1e-5, err_msg=column)
    else:
        assert_allclose([fit.pi_low, fit.pi_high], [case["pi_low"], case["pi_high"]], **ITERATIVE)
        ends = fit.sigma2_ci()
        assert_allclose(ends["ci_low"], case["sigma2_low"], **ITERATIVE)
        assert_allclose(ends["ci_high"], case["sigma2_high"], **ITERATIVE)


@pytest.mark.parametrize("case", CORRELATED, ids=[c["id"] for c in CORRELATED])
def test_correlated_effects_match_robumeta(case):
    effects = pd.DataFrame(DEPENDENCE["corrdat"]["columns"])
    moderators = None if case["formula"] == "1" else case["formula"]
    fit = multilevel(effects, structure="ce", rho=case["rho"], moderators=moderators)
    assert fit.robust.type == "CR2"
    assert_allclose([fit.tau2, fit.sigma2["cluster"]], [case["tau2"]] * 2, **CLOSED_FORM)
    assert_allclose(fit.I2, case["I2"], **CLOSED_FORM)
    for column in ("estimate", "se", "dof", "p_value"):
        assert_allclose(fit.coefficients[column], case[column], **CLOSED_FORM, err_msg=column)


def agrees(printed, computed):
    """Whether `computed` rounds to `printed` at the precision the paper used."""
    half_unit = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent) / 2
    return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= half_unit


def published(row_id):
    with (REFERENCE / "published_numbers.csv").open(encoding="utf-8", newline="") as lines:
        return {row["label"]: row for row in csv.DictReader(lines) if row["id"] == row_id}


def test_konstantopoulos_2011_table_5():
    rows = published("D02")
    fit = multilevel(frame("konstantopoulos2011"), "district", method="ML")
    values = {"ML1": fit.estimate, "ML2": fit.se, "ML3": fit.sigma2["cluster"], "ML4": fit.sigma2["effect"]}
    for label, value in values.items():
        assert agrees(rows[label]["printed"], value), label
        assert_allclose(value, float(rows[label]["metafor"]), **ITERATIVE)
    reml = multilevel(frame("konstantopoulos2011"), "district")
    assert_allclose(reml.ICC, float(rows["ICC"]["metafor"]), **ITERATIVE)
    assert_allclose(reml.loglik, float(rows["ll"]["metafor"]), rtol=1e-9)


# By hand: dense matrices


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("reml", [True, False])
def test_block_formulas_equal_dense_matrices(rho, reml):
    es = small()
    code = pd.factorize(es["study"])[0]
    clusters = Clusters(es["vi"].to_numpy(), code, np.array([0, 2, 5, 7]), rho)
    X = np.column_stack([np.ones(8), es["dose"]])
    Q = np.linalg.qr(X)[0]
    model = ClusteredModel(es["yi"].to_numpy(), Q, clusters)
    M = dense_covariance(clusters.vi, code, rho, 0.03, 0.05)
    block = BlockCovariance(clusters, 0.03, 0.05)
    assert_allclose(block.solve(X), np.linalg.solve(M, X), **CLOSED_FORM)
    assert_allclose(block.logdet(), np.linalg.slogdet(M)[1], **CLOSED_FORM)
    assert_allclose(block.trace_inverse(), np.trace(np.linalg.inv(M)), **CLOSED_FORM)
    assert_allclose(block.trace_inverse_squared(), np.sum(np.linalg.inv(M) ** 2), **CLOSED_FORM)
    assert_allclose(block.dense(np.array([[2, 3, 4]]))[0], M[2:5, 2:5], **CLOSED_FORM)
    expected = dense_loglik(es["yi"].to_numpy(), X, M, reml)
    assert_allclose(model.loglik(0.03, 0.05, reml), expected, **CLOSED_FORM)
    assert_allclose(
        model.loglik_grid(np.array([0.03, 0.0]), np.array([0.05, 0.01]), reml),
        [expected, model.loglik(0.0, 0.01, reml)],
        **CLOSED_FORM,
    )


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_equal_central_differences(rho, reml):
    es = small()
    clusters = Clusters(es["vi"].to_numpy(), pd.factorize(es["study"])[0], np.array([0, 2, 5, 7]), rho)
    Q = np.linalg.qr(np.column_stack([np.ones(8), es["dose"]]))[0]
    model = ClusteredModel(es["yi"].to_numpy(), Q, clusters)
    at, step = np.array([0.04, 0.06]), 1e-5
    here = model.derivatives(*at, reml)
    for j in (0, 1):
        move = step * np.eye(2)[j]
        up, down = model.derivatives(*(at + move), reml), model.derivatives(*(at - move), reml)
        assert_allclose(here.score[j], (up.loglik - down.loglik) / (2 * step), rtol=1e-6)
        assert_allclose(here.observed[j], -(up.score - down.score) / (2 * step), rtol=1e-5)
    W = np.linalg.inv(dense_covariance(clusters.vi, clusters.code, rho, *at))
    P = W - W @ Q @ np.linalg.inv(Q.T @ W @ Q) @ Q.T @ W if reml else W
    blocks = (clusters.code[:, None] == clusters.code[None, :]).astype(float)
    parts = (P @ blocks, P)
    expected = [[0.5 * np.sum(a * b.T) for b in parts] for a in parts]
    assert_allclose(here.expected, expected, **CLOSED_FORM)


def test_equal_clusters_are_the_analysis_of_variance():
    # Balanced, equal vi: REML equates the mean squares with their expectations.
    y = np.array([[0.1, 0.5], [0.9, 1.3], [0.4, 0.2], [2.0, 1.4], [0.3, 0.8]])
    es = pd.DataFrame({"study": np.repeat(list("abcde"), 2), "yi": y.ravel(), "vi": 0.01})
    within = np.sum((y - y.mean(axis=1, keepdims=True)) ** 2) / 5
    between = 2 * np.var(y.mean(axis=1), ddof=1)
    fit = multilevel(es)
    assert_allclose(fit.sigma2["effect"], within - 0.01, **ITERATIVE)
    assert_allclose(fit.sigma2["cluster"], (between - within) / 2, **ITERATIVE)
    assert_allclose([fit.estimate, fit.se], [y.mean(), np.sqrt(between / 10)], **ITERATIVE)


def test_sigma2_can_be_zero():
    es = pd.DataFrame({"study": list("aabbcc"), "yi": [0.1, 0.9, 0.2, 0.8, 0.9, 0.1], "vi": 0.02})
    fit = multilevel(es)
    assert fit.sigma2["cluster"] == 0.0
    assert fit.sigma2["effect"] > 0
    same = multilevel(es.assign(yi=0.3))
    assert same.sigma2.tolist() == [0.0, 0.0]
    assert np.isnan(same.ICC)
    assert (0.0, pytest.approx(0.0, abs=1e-12)) == (same.I2, same.QE)


# Properties


@st.composite
def clustered_tables(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=3, max_size=8).filter(lambda n: max(n) > 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k, spread = sum(sizes), draw(st.sampled_from([0.2, 1.0, 3.0]))
    study = np.repeat(np.arange(len(sizes)), sizes)
    vi = 10.0 ** rng.uniform(-spread, spread, k)
    between, within = draw(st.sampled_from([0.0, 0.1, 10.0])), draw(st.sampled_from([0.0, 0.1, 10.0]))
    yi = rng.normal(size=len(sizes))[study] * between + rng.normal(size=k) * within + rng.normal(size=k) * np.sqrt(vi)
    return pd.DataFrame({"study": study, "yi": yi, "vi": vi})


@settings(max_examples=40, deadline=None)
@given(clustered_tables(), st.sampled_from([0.0, 0.5, 0.9]), st.booleans())
def test_no_grid_point_is_better_and_the_score_is_zero(es, rho, reml):
    code = es["study"].to_numpy()
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    k = len(es)
    model = ClusteredModel(
        es["yi"].to_numpy(), np.full((k, 1), k**-0.5), Clusters(es["vi"].to_numpy(), code, starts, rho)
    )
    best = maximise(model, reml)
    axis = np.concatenate([[0.0], np.geomspace(1e-4 * es["vi"].min(), 10 * np.ptp(es["yi"]) ** 2 + 1e-3, 40)])
    values = model.loglik_grid(np.repeat(axis, 41), np.tile(axis, 41), reml)
    assert values.max() <= best.loglik + 1e-8 * (1 + abs(best.loglik))
    here = model.derivatives(*best.sigma2, reml)
    in_standard_errors = here.score / np.sqrt(np.diag(here.expected))
    assert np.all(np.abs(in_standard_errors[best.sigma2 > 0]) < 1e-8)
    assert np.all(in_standard_errors[best.sigma2 == 0] < 1e-8)


# Invented tables whose likelihood has two hills side by side, all nearly as high as the saddle between them: the lower
# hill has components of another kind. Effects, sampling variances, clusters, rho, whether REML, and the highest hill,
# which a grid of 3000 totals by 1500 shares finds too.
TWO_HILLS = [
    (
        [-22.139922, -2.303522, -11.353014, -7.855093, -5.036528, -2.070392, 4.21505],
        [1.134448, 0.808937, 0.655223, 0.640636, 1.334468, 1.462521, 1.1032],
        [0, 1, 1, 2, 3, 3, 4], 0.5, False, (0.0, 59.4123), -24.2919914,
    ),
    (
        [-1.0, 2.0, 2.0, -3.0], [1.59288, 0.01374, 0.29269, 0.97122],
        [0, 0, 0, 1], 0.8, False, (1.67097, 2.87243), -8.7432625,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("yi", "vi", "code", "rho", "reml", "sigma2", "loglik"), TWO_HILLS)
def test_the_higher_of_two_hills_is_climbed(yi, vi, code, rho, reml, sigma2, loglik):
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    Q = np.full((len(yi), 1), len(yi) ** -0.5)
    best = maximise(ClusteredModel(np.array(yi), Q, Clusters(np.array(vi), np.array(code), starts, rho)), reml)
    assert_allclose(best.loglik, loglik, rtol=0, atol=1e-6)
    assert_allclose(best.sigma2, sigma2, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(clustered_tables(), st.randoms(use_true_random=False), st.sampled_from([1e-3, 0.5, 100.0]))
def test_row_order_shift_and_scale(es, random, scale):
    fit = multilevel(es, structure="che", rho=0.4, robust="CR2")
    order = list(range(len(es)))
    random.shuffle(order)
    shuffled = multilevel(es.iloc[order], structure="che", rho=0.4, robust="CR2")
    moved = multilevel(
        es.assign(yi=scale * es["yi"] + 3.0, vi=scale**2 * es["vi"]), structure="che", rho=0.4, robust="CR2"
    )
    # The two components can be traded for one another at little cost, so their own digits are fewer.
    close = {"rtol": 1e-6, "atol": 1e-7 * fit.tau2 + 1e-10}
    assert_allclose(shuffled.sigma2, fit.sigma2, **close)
    assert_allclose(moved.sigma2 / scale**2, fit.sigma2, **close)
    assert_allclose(
        [shuffled.estimate, shuffled.se, shuffled.dof], [fit.estimate, fit.se, fit.dof], rtol=1e-6, atol=1e-9
    )
    assert_allclose((moved.estimate - 3.0) / scale, fit.estimate, rtol=1e-6, atol=1e-6 * fit.se)
    assert_allclose([moved.se / scale, moved.dof, moved.I2], [fit.se, fit.dof, fit.I2], rtol=1e-6, atol=1e-6)
    assert_allclose(shuffled.weights, fit.weights[order], rtol=1e-5, atol=1e-7)
    assert_allclose(fit.weights @ es["yi"], fit.estimate, rtol=1e-9, atol=1e-9)
    assert_allclose(fit.weights.sum(), 1.0)


@settings(max_examples=15, deadline=None)
@given(clustered_tables())
def test_che_without_correlation_is_the_three_level_model(es):
    one, two = multilevel(es, structure="che", rho=0.0), multilevel(es, rho=0.9)
    assert_allclose(one.sigma2, two.sigma2, rtol=0, atol=0)
    assert one.loglik == two.loglik


# The record


def test_intercept_only_record():
    fit = multilevel(small(), test="t", level=0.9)
    assert isinstance(fit, MultilevelFit)
    assert fit.dof == 7.0
    row = fit.coefficients.loc["Intercept"]
    assert (fit.estimate, fit.se, fit.p_value) == (row["estimate"], row["se"], row["p_value"])
    assert tuple(fit.ci()) == (row["ci_low"], row["ci_high"])
    assert fit.ci(0.99).low < fit.ci_low
    assert fit.pi_low < fit.ci_low
    table = fit.to_frame()
    assert list(table.columns) == [
        "estimate", "se", "statistic", "dof", "p_value", "ci_low", "ci_high", "pi_low", "pi_high",
    ]  # fmt: skip
    assert table.loc["Intercept", "pi_high"] == fit.pi_high
    assert fit.tau2 == sum(fit.sigma2)
    assert (fit.Q, fit.Q_df, fit.Q_p) == (fit.QE, 7, fit.QE_p)
    assert_allclose(fit.H2, 1 / (1 - fit.I2 / 100))
    assert_allclose(fit.predict().iloc[0][["pi_low", "pi_high"]].astype(float), fit.pi())
    assert "4 clusters (study)" in fit.summary()
    assert fit.effects.equals(small())
    with pytest.raises(AttributeError):
        fit.loglik = 0.0
    with pytest.raises(ValueError, match="read-only"):
        fit.beta[0] = 1.0


def test_moderators_record():
    es = small()
    es.loc[3, "dose"] = np.nan
    fit = multilevel(es, moderators="dose")
    assert fit.omitted == ("b",)
    assert fit.k == 7
    assert (fit.QM_df, fit.QE_df) == (1, 5)
    assert_allclose(fit.QM, fit.coefficients.loc["dose", "statistic"] ** 2)
    predicted = fit.predict(pd.DataFrame({"dose": [1.0, np.nan]}, index=["x", "y"]))
    assert list(predicted.index) == ["x", "y"]
    assert predicted.loc["y"].isna().all()
    assert_allclose(predicted.loc["x", "estimate"], fit.coefficients["estimate"].sum())
    assert "left out, moderator unknown: b" in fit.summary()
    with pytest.raises(AttributeError, match="has no single mean"):
        _ = fit.estimate
    with pytest.raises(ValueError, match="Give the rows to predict"):
        fit.predict()


def test_formula_of_ones_is_no_moderator():
    assert multilevel(small(), moderators="1").estimate == multilevel(small()).estimate


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_profile_interval_ends_where_the_likelihood_ratio_test_rejects(method):
    fit = multilevel(frame("assink2016"), method=method)
    fine = np.linspace(0.0, 1.0, 20001)
    for j, name in enumerate(fit.sigma2.index):
        for end in fit.sigma2_ci(0.9).loc[name, ["ci_low", "ci_high"]]:
            pairs = [fine, fine]
            pairs[j] = np.full_like(fine, end)
            top = fit.model.loglik_grid(*pairs, method == "REML").max()
            assert_allclose(2 * (fit.loglik - top), 2.705543454095404, rtol=1e-5)  # chi-squared(1), 90%


def test_profile_interval_sees_the_other_hill_of_the_variance_maximised_out():
    # Invented. At the ends of the intervals the likelihood of the other component has its top far from the estimate.
    es = pd.DataFrame(
        {
            "study": [0, 0, 1, 1, 1, 1],
            "yi": [-31.2404, -31.9035, 8.4853, 9.4126, 11.1325, 34.1135],
            "vi": [65.60633, 388.11291, 1.3884, 3.36883, 151.65011, 291.85989],
        }
    )
    fit = multilevel(es, structure="che", rho=0.9)
    end = fit.sigma2_ci().loc["cluster", "ci_low"]
    others = np.linspace(0.0, 1000.0, 200001)
    top = fit.model.loglik_grid(np.full_like(others, end), others, True).max()
    assert_allclose(2 * (fit.loglik - top), 3.841458820694124, rtol=1e-6)


def test_two_clusters_leave_the_upper_end_far_but_finite():
    es = pd.DataFrame({"study": list("aabb"), "yi": [0.0, 0.1, 1.0, 1.1], "vi": 0.01})
    ends = multilevel(es).sigma2_ci().loc["cluster"]
    assert 50 * ends["estimate"] < ends["ci_high"] < np.inf


def test_ce_says_what_it_has_not():
    fit = multilevel(small(), structure="ce", rho=0.8)
    assert np.isnan([fit.loglik, fit.ICC, fit.QE_p, fit.H2, fit.sigma2["effect"]]).all()
    assert fit.method == "moments"
    assert "Correlated effects (moments, rho = 0.8)" in fit.summary()
    with pytest.raises(ValueError, match="use 'che'"):
        fit.sigma2_ci()
    with pytest.raises(ValueError, match="by moments"):
        multilevel(small(), structure="ce", method="ML")


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": list("abcdefgh")}, "every cluster has one effect. Use metamiq.random_effects"),
        ({"study": ["a"] * 8}, "there is one cluster of 'study'"),
        ({"study": ["a", None, "b", "b", "b", "c", None, "d"]}, r"'study' is empty in 2 row\(s\): 2, 7"),
        ({"yi": [0.1, np.nan, 0.5, 0.8, 0.6, 0.9, 0.3, np.nan]}, "2 such rows: a, d"),
        ({"vi": [0.02, 0.03, 0.02, 0.05, 0.04, 0.0, 0.02, 0.06]}, "'c' has yi = 0.9 and vi = 0"),
    ],
)
def test_bad_tables(change, message):
    with pytest.raises(DataError, match=message):
        multilevel(small().assign(**change))


def test_missing_cluster_column():
    with pytest.raises(DataError, match="'lab' is not among dose, study, vi, yi"):
        multilevel(small(), "lab")


def test_saturated_moderators():
    with pytest.raises(DataError, match="the 4 coefficients use up the 4 clusters"):
        multilevel(small(), moderators="0 + study")
    es = small().assign(x=[0, 1, 0, 0, 0, 0, 0, 0.0], z=[0, 0, 0, 1, 0, 0, 0, 0.0], w=[0, 0, 0, 0, 1, 0, 0, 0.0])
    with pytest.raises(DataError, match="use up what varies within clusters"):
        multilevel(es, moderators="x + z + w + dose")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "nested"}, "structure must be one of 'three-level', 'che', 'ce', not 'nested'"),
        ({"method": "DL"}, "method must be one of 'ML', 'REML', not 'DL'"),
        ({"test": "knha"}, "test must be one of 't', 'z', not 'knha'"),
        ({"robust": "CR3"}, "type must be one of 'CR0', 'CR1', 'CR1p', 'CR2', not 'CR3'"),
        ({"structure": "che", "rho": 1.0}, "rho must be at least 0 and below 1, not 1.0"),
        ({"level": 95}, "level"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        multilevel(small(), **options)
