"""Cluster-robust variances, their degrees of freedom and Wald tests."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.clustered import BlockCovariance, Clusters
from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.pooling.multilevel import multilevel
from metamiq.pooling.regression import meta_regression
from metamiq.pooling.robust import constraint_matrix, robust, robust_of, wald_test
from metamiq.pooling.sandwich import WorkingModel

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
MULTILEVEL = json.loads((REFERENCE / "multilevel.json").read_text(encoding="utf-8"))["cases"]
MODELS = [c for c in MULTILEVEL if "robust" in c and "sigma2" in c]
TWO_LEVEL = [c for c in MULTILEVEL if c["structure"] == "two-level"]
DEPENDENCE = json.loads((REFERENCE / "dependence.json").read_text(encoding="utf-8"))["cases"]
WALD = [c for c in DEPENDENCE if "htz" in c]
TYPES = ("CR0", "CR1", "CR1p", "CR2")

CLOSED_FORM = {"rtol": 1e-9}  # the same sums in another order
# Given the variances. With years near 2000 beside an intercept the condition number of X'WX, which clubSandwich
# inverts and we do not, is about 1e12.
GIVEN_VARIANCES = 1e-8
YEARS = 1e-6
ITERATIVE = {"rtol": 2e-6, "atol": 1e-9}  # two optimisers behind the variances
P_VALUE = {"rtol": 1e-4, "atol": 1e-12}


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def univariate(case):
    effects = frame(case["table"])
    if case["formula"] == "1":
        return random_effects(effects, test="z")
    return meta_regression(effects, case["formula"], test="z")


def design(case):
    effects = frame(case["table"])
    if case["formula"] == "1":
        return np.ones((len(effects), 1))
    return meta_regression(effects, case["formula"]).design.X


def hand_model(es, rho=0.3, between=0.05, within=0.02):
    """A working model with invented variances, rows sorted by study."""
    code = pd.factorize(es["study"])[0]
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    cov = BlockCovariance(Clusters(es["vi"].to_numpy(), code, starts, rho), between, within)
    X = np.column_stack([np.ones(len(es)), es["dose"], es["dose"] ** 2])
    return WorkingModel(es["yi"].to_numpy(), X, ("Intercept", "dose", "square"), cov, 0.95, es["study"])


def invented(seed=1, clusters=7):
    rng = np.random.default_rng(seed)
    study = np.repeat(np.arange(clusters), rng.integers(1, 5, clusters))
    k = len(study)
    return pd.DataFrame(
        {"study": study, "yi": rng.normal(size=k), "vi": rng.uniform(0.02, 0.2, k), "dose": rng.uniform(0, 4, k)}
    )


# Other software


@pytest.mark.parametrize("case", MODELS, ids=[c["id"] for c in MODELS])
def test_robust_variances_match_clubsandwich_at_its_variances(case):
    effects = frame(case["table"]).sort_values(case["cluster"], kind="stable")
    X = design(case)[effects.index]
    code = pd.factorize(effects[case["cluster"]])[0]
    clusters = Clusters(effects["vi"].to_numpy(), code, np.flatnonzero(np.diff(code, prepend=-1)), case["rho"] or 0.0)
    cov = BlockCovariance(clusters, *case["sigma2"])
    names = tuple(case["terms"])
    model = WorkingModel(effects["yi"].to_numpy(), X, names, cov, 0.95, effects[case["cluster"]])
    rtol = YEARS if "year" in case["formula"] else GIVEN_VARIANCES
    for type in TYPES:
        ours, theirs = robust_of(model, model.labels, case["cluster"], type), case["robust"][type]
        assert_allclose(ours.coefficients["se"], theirs["se"], rtol=rtol, err_msg=type)
        dof = ours.parts.satterthwaite(np.eye(len(names)))
        # The square of a variance over the variance of a variance: twice the digits lost.
        assert_allclose(dof, theirs["dof"], rtol=10 * rtol, err_msg=type)


@pytest.mark.parametrize("case", MODELS, ids=[c["id"] for c in MODELS])
def test_multilevel_coefficients_are_the_robust_ones(case):
    moderators = None if case["formula"] == "1" else case["formula"]
    fit = multilevel(
        frame(case["table"]), case["cluster"], structure=case["structure"], rho=case["rho"] or 0.0,
        moderators=moderators, method=case["method"], robust="CR2",
    )  # fmt: skip
    theirs = case["robust"]["CR2"]
    for column in ("se", "dof", "statistic", "ci_low", "ci_high"):
        assert_allclose(fit.coefficients[column], theirs[column], **ITERATIVE, err_msg=column)
    assert_allclose(fit.coefficients["p_value"], theirs["p_value"], **P_VALUE)
    if "wald_HTZ" in theirs:
        wald = theirs["wald_HTZ"]
        test = wald_test(fit, list(fit.names[1:]))
        assert test.dof1 == wald["df1"] == fit.QM_df
        assert_allclose([test.statistic, test.dof2], [wald["statistic"], wald["df2"]], **ITERATIVE)
        assert_allclose([test.p_value, fit.QM_p], [wald["p_value"]] * 2, **P_VALUE)
        assert test.statistic == fit.QM


@pytest.mark.parametrize("case", TWO_LEVEL, ids=[c["id"] for c in TWO_LEVEL])
def test_univariate_fits_match_clubsandwich(case):
    fit = univariate(case)
    assert_allclose(fit.tau2, case["tau2"], **ITERATIVE)
    for type, theirs in case["robust"].items():
        ours = robust(fit, case["cluster"], type)
        assert_allclose(ours.beta, case["estimate"], **ITERATIVE)
        assert_allclose(ours.coefficients["se"], theirs["se"], **ITERATIVE)
        assert_allclose(ours.parts.satterthwaite(np.eye(len(ours.beta))), theirs["dof"], **ITERATIVE)
        if type == "CR2":
            assert_allclose(ours.coefficients["p_value"], theirs["p_value"], **P_VALUE)
        if "wald_HTZ" in theirs:
            test = wald_test(ours, list(ours.names[1:]))
            wald = theirs["wald_HTZ"]
            assert_allclose([test.statistic, test.dof2], [wald["statistic"], wald["df2"]], **ITERATIVE)


@pytest.mark.parametrize("case", WALD, ids=[c["id"] for c in WALD])
def test_wald_tests_match_clubsandwich(case):
    if case["kind"] == "univariate":
        fit = univariate(case)
        se = robust(fit, case["cluster"]).coefficients["se"]
        # The mean of the only study of a level has none, where clubSandwich gives 0.0145: see the test of contrasts
        # that rest on one cluster.
        alone = [case["formula"] == "deltype", False, False]
        assert np.isnan(se[alone]).all()
        assert_allclose(se[np.logical_not(alone)], np.array(case["se"])[np.logical_not(alone)], **ITERATIVE)
    else:
        fit = multilevel(
            frame(case["table"]), case["cluster"], structure="che", rho=case["rho"], moderators=case["formula"],
            method=case["method"], test=case["test"],
        )  # fmt: skip
    for type, theirs in case["htz"].items():
        ours = robust(fit, case["cluster"], type)
        test = wald_test(ours, list(ours.names[1:]))
        assert test.dof1 == theirs["df1"]
        assert_allclose([test.statistic, test.dof2], [theirs["statistic"], theirs["df2"]], rtol=1e-5, err_msg=type)
        assert_allclose(test.p_value, theirs["p_value"], **P_VALUE)


def test_bcg_numbers_of_metafors_own_checks():
    with (REFERENCE / "published_numbers.csv").open(encoding="utf-8", newline="") as lines:
        rows = {r["label"]: float(r["metafor"]) for r in csv.DictReader(lines) if r["id"] == "D03"}
    effects = frame("bcg_RR")
    # metafor ran these with its tau2 stopped at 1e-5, so they hold to about that.
    loose = {"rtol": 5e-5}
    fit = meta_regression(effects, "ablat + year", test="z")
    ours = robust(fit, "study")
    assert_allclose(ours.coefficients["se"].iloc[0], rows["m.se1"], **loose)
    assert_allclose(ours.coefficients["dof"].iloc[0], rows["m.df1"], **loose)
    test = wald_test(ours, ["ablat", "year"])
    assert_allclose([test.statistic, test.dof2, test.p_value], [rows["AHT.F"], rows["AHT.df2"], rows["AHT.p"]], **loose)
    mean = random_effects(effects)
    # Given there are the variances of the mean.
    for type in ("CR0", "CR1", "CR2"):
        assert_allclose(robust(mean, "study", type).cov[0, 0], rows[type], **loose)
    for type in ("CR1", "CR2"):
        statistic = robust(mean, "study", type).coefficients["statistic"].iloc[0]
        assert_allclose(statistic, rows[f"{type}.t"], **loose)


# By hand: dense matrices and all pairs of clusters


def dense_parts(model, code, type):
    """The definition, with k by k matrices."""
    X, y, k = model.X, model.y, len(model.y)
    phi = model.covariance.dense(np.arange(k)[None])[0]
    W = np.linalg.inv(phi)
    B = np.linalg.inv(X.T @ W @ X)
    residual_maker = np.eye(k) - X @ B @ X.T @ W
    e = residual_maker @ y
    vectors, meat = [], np.zeros((X.shape[1],) * 2)
    for c in range(code.max() + 1):
        rows = np.flatnonzero(code == c)
        A = np.eye(len(rows))
        if type == "CR2":
            D = np.linalg.cholesky(phi[np.ix_(rows, rows)]).T
            inner = D @ (residual_maker @ phi @ residual_maker.T)[np.ix_(rows, rows)] @ D.T
            values, basis = np.linalg.eigh(inner)
            A = D.T @ (basis / np.sqrt(values)) @ basis.T @ D
        E = B @ X[rows].T @ W[np.ix_(rows, rows)] @ A
        u = E @ e[rows]
        meat += np.outer(u, u)
        vectors.append(E @ residual_maker[rows])  # contribution = this times y
    return meat, np.array(vectors), phi


@pytest.mark.parametrize("type", ["CR0", "CR2"])
def test_formulas_equal_their_definition(type):
    es = invented()
    model = hand_model(es)
    code = es["study"].to_numpy()
    fit = robust_of(model, model.labels, "study", type)
    meat, vectors, phi = dense_parts(model, code, type)
    assert_allclose(fit.cov, meat, rtol=1e-8)
    # Satterthwaite for each coefficient, over all pairs of clusters.
    for j in range(3):
        omega = vectors[:, j] @ phi @ vectors[:, j].T
        dof = np.trace(omega) ** 2 / np.sum(omega**2)
        assert_allclose(fit.parts.satterthwaite(np.eye(3)[[j]]), dof, rtol=1e-8)
    # HTZ for the last two together.
    pairs = np.einsum("csk,kl,dtl->csdt", vectors[:, 1:], phi, vectors[:, 1:])
    expected = np.einsum("csct->st", pairs)
    root = np.linalg.inv(np.linalg.cholesky(expected))
    pairs = np.einsum("as,csdt,bt->cadb", root, pairs, root)
    total = np.einsum("csds,ctdt->", pairs, pairs) + np.einsum("csdt,ctds->", pairs, pairs)
    eta = 2 * 3 / total
    value = fit.beta[1:]
    Q = value @ np.linalg.solve(fit.cov[1:, 1:], value)
    test = wald_test(fit, ["dose", "square"])
    assert_allclose([test.statistic, test.dof2], [(eta - 1) / (2 * eta) * Q, eta - 1], rtol=1e-7)


def test_cr2_is_unbiased_under_the_working_model():
    model = hand_model(invented(3))
    fit = robust_of(model, model.labels, "study", "CR2")
    X, phi = model.X, model.covariance.dense(np.arange(len(model.y))[None])[0]
    expected = fit.parts.moments(np.eye(3))[2]
    assert_allclose(expected, np.linalg.inv(X.T @ np.linalg.solve(phi, X)), rtol=1e-8)


def test_mean_of_independent_studies():
    # One effect per cluster, equal vi: CR2 is the usual variance of a mean, with k - 1 degrees of freedom.
    y = np.array([0.1, 0.5, 0.9, 0.2, 0.4])
    fit = robust(fixed_effect(yi=y, vi=np.full(5, 0.03)), cluster=list("abcde"))
    assert_allclose(
        fit.coefficients.loc["Intercept", ["se", "dof"]].astype(float), [y.std(ddof=1) / 5**0.5, 4], rtol=1e-12
    )
    cr0 = robust(fixed_effect(yi=y, vi=np.full(5, 0.03)), cluster=list("abcde"), type="CR0")
    assert_allclose(cr0.coefficients["se"], y.std(ddof=0) / 5**0.5, **CLOSED_FORM)
    assert cr0.coefficients["dof"].item() == 4


# Properties


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(TYPES), st.floats(0.1, 10))
def test_row_order_labels_and_scale(seed, type, scale):
    es = invented(seed, 8)
    fit = robust(meta_regression(es, "dose"), "study", type)
    order = np.random.default_rng(seed).permutation(len(es))
    shuffled = es.iloc[order].assign(study=[f"s{100 - s}" for s in es["study"].iloc[order]])
    again = robust(meta_regression(shuffled, "dose"), "study", type)
    bigger = robust(meta_regression(es.assign(yi=scale * es.yi, vi=scale**2 * es.vi), "dose"), "study", type)
    for column in ("se", "dof"):
        assert_allclose(again.coefficients[column], fit.coefficients[column], rtol=1e-6)
    assert_allclose(bigger.coefficients["se"], scale * fit.coefficients["se"], rtol=1e-6)
    assert_allclose(bigger.coefficients["dof"], fit.coefficients["dof"], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_one_constraint_is_the_t_test_squared(seed):
    fit = robust(meta_regression(invented(seed, 8), "dose"), "study")
    row, test = fit.coefficients.loc["dose"], wald_test(fit, "dose")
    assert_allclose(
        [test.statistic, test.dof2, test.p_value], [row["statistic"] ** 2, row["dof"], row["p_value"]], rtol=1e-8
    )


def test_wald_test_does_not_depend_on_the_basis_of_the_contrasts():
    fit = robust(meta_regression(invented(5, 9), "dose + I(dose**2)"), "study")
    one = wald_test(fit, np.eye(3)[1:])
    two = wald_test(fit, [[0, 1, 1], [0, 2, -5]])
    assert_allclose(one, two, rtol=1e-6)


# Choices and edges


def test_multilevel_and_robust_agree():
    es = invented(2)
    inside, outside = multilevel(es, robust="CR1"), robust(multilevel(es), type="CR1")
    pd.testing.assert_frame_equal(inside.coefficients, outside.coefficients)
    by_name = robust(multilevel(es.sample(frac=1, random_state=1)), "study", "CR1")
    assert_allclose(by_name.cov, outside.cov, rtol=1e-6)


def test_coarser_clusters_than_the_models():
    es = invented(2).assign(lab=lambda t: t["study"] // 2)
    fit = robust(multilevel(es), "lab")
    assert fit.n_clusters == 4
    assert fit.cluster == "lab"
    with pytest.raises(DataError, match="some are split"):
        robust(multilevel(es), np.arange(len(es)))


@pytest.mark.parametrize("type", TYPES)
def test_a_contrast_that_rests_on_one_cluster_has_no_robust_error(type):
    es = invented(2).assign(first=lambda t: (t["study"] == 0).astype(float))
    fit = robust(meta_regression(es, "first"), "study", type)
    assert fit.coefficients.notna().all(axis=None)
    # Intercept plus difference: the mean of the first cluster alone.
    mean = fit.contrast([[1.0, 1.0]]).iloc[0]
    weights = 1 / (es["vi"] + meta_regression(es, "first").tau2)
    own = es["study"] == 0
    assert_allclose(mean["estimate"], np.average(es["yi"][own], weights=weights[own]))
    assert mean[["se", "statistic", "p_value", "ci_low", "ci_high"]].isna().all()


def test_more_coefficients_than_clusters():
    es = invented(2, 3)
    fit = robust(meta_regression(es, "dose + I(dose**2)"), "study", "CR1p")
    assert np.isnan(fit.cov).all()
    assert np.isnan(fit.coefficients[["se", "dof", "p_value"]].to_numpy()).all()
    assert np.isnan(wald_test(fit, ["dose"])[2:]).all()
    cr2 = robust(meta_regression(es, "dose + I(dose**2)"), "study")
    assert np.isnan(wald_test(cr2, list(cr2.names)).p_value)


def test_naive_f():
    fit = robust(meta_regression(invented(4, 9), "dose"), "study", "CR1")
    test = wald_test(fit, ["Intercept", "dose"], test="naive-F")
    assert (test.dof1, test.dof2) == (2, 7.0)
    assert_allclose(test.statistic, fit.beta @ np.linalg.solve(fit.cov, fit.beta) / 2)


def test_default_cluster_is_the_study():
    es = invented(2)
    assert robust(random_effects(es)).cluster == "study"
    with pytest.raises(ValueError, match="Say which effects belong together"):
        robust(random_effects(yi=[0.1, 0.2], vi=[0.1, 0.1]))


def test_summary_and_table():
    fit = robust(random_effects(invented(2)))
    assert "Cluster-robust variance CR2" in fit.summary()
    assert "7 clusters (study)" in fit.summary()
    assert fit.to_frame().columns[-1] == "pi_high"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda es: robust(random_effects(es), type="HC3"), ValueError, "type must be one of 'CR0'"),
        (lambda es: robust(es), ValueError, "not DataFrame"),
        (lambda es: robust(random_effects(es, weights="equal")), ValueError, "inverse-variance weights"),
        (lambda es: robust(random_effects(es), "lab"), DataError, "'lab' is not among"),
        (lambda es: robust(random_effects(es), ["a", "b"]), DataError, r"one label per effect size \(\d+\), but 2"),
        (lambda es: robust(random_effects(es), np.zeros(len(es))), DataError, "at least 2 clusters"),
        (lambda es: wald_test(random_effects(es), "Intercept"), ValueError, "wrap it in metamiq.robust"),
        (lambda es: wald_test(multilevel(es), "Intercept"), ValueError, "wrap it in metamiq.robust"),
        (lambda es: wald_test(robust(random_effects(es)), "dose"), ValueError, "among Intercept, but dose came"),
        (lambda es: wald_test(robust(random_effects(es)), [[1, 0]]), ValueError, "must have 1 columns"),
        (lambda es: wald_test(robust(random_effects(es)), [[1], [2]]), ValueError, "linearly independent"),
        (lambda es: wald_test(robust(random_effects(es)), "Intercept", test="F"), ValueError, "'HTZ', 'naive-F'"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(invented(2))


def test_missing_labels_are_named():
    es = invented(2).astype({"study": object})
    es.loc[1, "study"] = None
    with pytest.raises(DataError, match=r"'study' is empty in 1 row\(s\): 2"):
        robust(random_effects(es), "study")


def test_constraints_by_name():
    assert constraint_matrix(["b"], ("a", "b")).tolist() == [[0.0, 1.0]]


def test_few_degrees_of_freedom_are_told():
    es = pd.DataFrame({"study": list("aabbccdd"), "yi": [0.1, 0.4, 0.5, 0.8, 0.9, 0.6, 0.0, 0.3], "vi": 0.02})
    few = robust(random_effects(es), "study")
    assert few.caution.startswith("Fewer than 4 degrees of freedom (")
    assert few.caution in few.summary()
    assert "Use CR2" in robust(random_effects(es), "study", type="CR1").caution
    fit = multilevel(es, structure="che", rho=0.5, robust="CR2")
    assert fit.robust.caution in fit.summary()
    rng = np.random.default_rng(2)
    many = pd.DataFrame({"study": np.repeat(np.arange(45), 2), "yi": rng.normal(size=90), "vi": 0.1})
    assert robust(random_effects(many), "study").caution == ""
    assert robust(random_effects(many), "study", type="CR0").caution == ""
