"""Location-scale models: by hand, by dense matrices, what cannot be fitted, and what is true of any table.

metafor's numbers are in test_reference_location_scale.py.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize, stats

import metamiq as mm

CLOSED_FORM = {"rtol": 1e-9}  # at the maximum itself: its error is a rounding


@pytest.fixture
def effects():
    rng = np.random.default_rng(11)  # made-up numbers
    k = 30
    x = rng.uniform(0, 3, k)
    vi = rng.uniform(0.02, 0.1, k)
    kind = np.array(["loose", "strict"])[np.arange(k) % 2]
    tau2 = np.exp(-1.0 - 0.8 * x + (kind == "loose"))
    return pd.DataFrame(
        {"study": [f"s{i:02d}" for i in range(k)], "yi": rng.normal(0.4 + 0.1 * x, np.sqrt(vi + tau2)), "vi": vi}
    ).assign(x=x, kind=kind)


def dense(y, v, X, Z, alpha, restricted):
    """The log-likelihood from k x k matrices, and the coefficients of the mean."""
    V = np.diag(v + np.exp(Z @ alpha))
    W = np.linalg.inv(V)
    beta = np.linalg.solve(X.T @ W @ X, X.T @ W @ y)
    value = stats.multivariate_normal(X @ beta, V).logpdf(y)
    if restricted:
        value += 0.5 * (X.shape[1] * np.log(2 * np.pi) - np.linalg.slogdet(X.T @ W @ X)[1])
        value += 0.5 * np.linalg.slogdet(X.T @ X)[1]
    return value, beta


def designs(effects):
    ones = np.ones(len(effects))
    X = np.column_stack([ones, effects["kind"] == "strict"]).astype(float)
    return effects["yi"].to_numpy(), effects["vi"].to_numpy(), X, np.column_stack([ones, effects["x"]])


# By hand


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_two_groups_in_mean_and_scale_are_two_separate_fits(effects, method):
    fit = mm.location_scale(effects, "kind", "kind", method=method, test="z")
    parts = [
        mm.random_effects(effects[effects["kind"] == kind], method=method, test="z") for kind in ("loose", "strict")
    ]
    said = fit.predict(pd.DataFrame({"kind": ["loose", "strict"]}))
    for name in ("estimate", "se", "ci_low", "ci_high", "pi_low", "pi_high", "tau2"):
        assert_allclose(said[name], [getattr(part, name) for part in parts], **CLOSED_FORM, err_msg=name)
    assert_allclose(fit.loglik, sum(part.loglik for part in parts), **CLOSED_FORM)
    assert_allclose(fit.scale_coefficients.loc["kind[T.strict]", "estimate"], np.log(parts[1].tau2 / parts[0].tau2))
    assert_allclose(fit.tau2[:2], [part.tau2 for part in parts], **CLOSED_FORM)
    # The same two tau2 without an intercept; each is then a coefficient, and one tau2 is still a special case.
    cells = mm.location_scale(effects, "0 + kind", "0 + kind", method=method)
    assert_allclose(np.exp(cells.alpha), [part.tau2 for part in parts], **CLOSED_FORM)
    assert_allclose([cells.loglik, cells.lrt], [fit.loglik, fit.lrt], **CLOSED_FORM)
    assert cells.lrt_df == fit.lrt_df == 1


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("test", ["z", "t", "knha", "adhoc"])
@pytest.mark.parametrize("formula", ["1", "x + kind"])
def test_one_scale_for_all_is_a_meta_regression(effects, formula, test, method):
    fit = mm.location_scale(effects, formula, "1", method=method, test=test)
    reg = mm.meta_regression(effects, formula, method=method, test=test)
    assert_allclose(fit.coefficients, reg.coefficients, **CLOSED_FORM)
    assert_allclose(fit.tau2, reg.tau2, **CLOSED_FORM)
    assert_allclose([fit.loglik, fit.QM, fit.QE], [reg.loglik, reg.QM, reg.QE], **CLOSED_FORM)
    # The observed information of log tau2 where meta_regression has the expected one of tau2: alike, not equal.
    assert_allclose(fit.scale_coefficients["se"] * fit.tau2[0], reg.tau2_se, rtol=0.3)
    assert fit.lrt_df == 0
    assert np.isnan([fit.lrt, fit.lrt_p]).all()


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_likelihood_estimates_and_errors_by_dense_matrices(effects, method):
    y, v, X, Z = designs(effects)
    fit = mm.location_scale(effects, "kind", "x", method=method, test="z")

    def value(alpha):
        return dense(y, v, X, Z, alpha, method == "REML")[0]

    best = optimize.minimize(lambda alpha: -value(alpha), [-2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9})
    assert fit.loglik >= -best.fun - 1e-12
    assert_allclose(fit.alpha, best.x, rtol=1e-5)
    assert_allclose(fit.loglik, value(fit.alpha), **CLOSED_FORM)
    assert_allclose(fit.beta, dense(y, v, X, Z, fit.alpha, False)[1], **CLOSED_FORM)
    W = np.diag(1 / (v + fit.tau2))
    assert_allclose(fit.cov, np.linalg.inv(X.T @ W @ X), **CLOSED_FORM)
    h = 1e-3 * np.eye(2)
    corners = np.array([[[value(fit.alpha + i * a + j * b) for i in (1, -1) for j in (1, -1)] for a in h] for b in h])
    second = corners @ [1, -1, -1, 1] / 4e-6
    assert_allclose(fit.alpha_cov, -np.linalg.inv(second), rtol=1e-4)  # numerical second derivatives


def test_tests_intervals_and_predictions(effects):
    fit = mm.location_scale(effects, "kind", "x + kind", test="knha", level=0.9)
    table = fit.scale_coefficients
    k = 30
    assert_allclose(table["se"], np.sqrt(np.diag(fit.alpha_cov)))
    assert_allclose(table["p_value"], 2 * stats.t.sf(abs(table["statistic"]), k - 3))
    assert_allclose(table["ci_high"] - table["estimate"], stats.t.ppf(0.95, k - 3) * table["se"])
    b, V = fit.alpha[1:], fit.alpha_cov[1:, 1:]
    assert_allclose(fit.QS, b @ np.linalg.solve(V, b) / 2)
    assert_allclose(fit.QS_p, stats.f.sf(fit.QS, 2, k - 3))
    constant = mm.meta_regression(effects, "kind", test="z")
    assert_allclose(fit.lrt, 2 * (fit.loglik - constant.loglik))
    assert_allclose(fit.lrt_p, stats.chi2.sf(fit.lrt, 2))
    assert_allclose(fit.AIC, 10 - 2 * fit.loglik)
    assert_allclose(fit.BIC, 5 * np.log(k - 2) - 2 * fit.loglik)
    new = pd.DataFrame({"x": [1.0, np.nan], "kind": ["strict", "loose"]}, index=["a", "b"])
    said = fit.predict(new)
    z = np.array([1.0, 1.0, 1.0])
    half = stats.t.ppf(0.95, k - 3) * np.sqrt(z @ fit.alpha_cov @ z)
    assert fit.scale_names == ("Intercept", "x", "kind[T.strict]")
    assert_allclose(
        said.loc["a", ["tau2", "tau2_low", "tau2_high"]].astype(float), np.exp(z @ fit.alpha + [0, -half, half])
    )
    reach = stats.t.ppf(0.95, k - 2) * np.sqrt(said.loc["a", "se"] ** 2 + said.loc["a", "tau2"])
    assert_allclose(said.loc["a", "pi_high"], said.loc["a", "estimate"] + reach)
    assert said.loc["b", ["tau2", "tau2_low", "tau2_high", "pi_low"]].isna().all()
    assert said.loc["b", ["estimate", "se"]].notna().all()  # the mean does not need x
    assert list(fit.to_frame().index.get_level_values("part")) == ["location"] * 2 + ["scale"] * 3


def test_the_record_is_read_only_and_says_what_was_done(effects):
    gap = effects.assign(x=effects["x"].where(effects["study"] != "s04"))
    gap.loc[7, "kind"] = None
    fit = mm.location_scale(gap, "kind", "x")
    assert fit.omitted == ("s04", "s07")
    assert (fit.k, fit.n_studies, len(fit.tau2)) == (28, 28, 28)
    text = fit.summary()
    for part in (
        "Location-scale model (REML), test knha: k = 28",
        "against one tau2",
        "left out, moderator unknown: s04",
    ):
        assert part in text
    assert "kind: compared with loose" in text
    with pytest.raises(ValueError, match="read-only"):
        fit.tau2[0] = 1.0
    assert "28 effect sizes from 28 studies" in mm.methods_paragraph(fit).text
    assert fit.caution == ""
    pairs = mm.location_scale(effects.assign(study=effects.index // 2), "kind", "x + kind")
    assert "15 studies for 2 moderators: with fewer than ten" in pairs.summary()
    assert "taken as independent" in pairs.caution


def test_a_scale_without_a_constant_has_no_test_against_one(effects):
    fit = mm.location_scale(effects.assign(less=effects["x"] - 4), "1", "0 + less")
    assert np.isnan([fit.lrt, fit.lrt_p]).all()
    assert "against one tau2" not in fit.summary()
    assert_allclose(fit.tau2, np.exp(fit.alpha[0] * (effects["x"] - 4)))


def test_a_tau2_that_is_hardly_known_is_said_so():
    fit = mm.location_scale(mm.load_dataset("raudenbush1985").trials, "1", "weeks")
    assert "rows is hardly known: its interval spans a factor of more than a million" in fit.summary()


# What cannot be fitted


def test_no_heterogeneity_is_said_not_estimated(effects):
    alike = effects.assign(yi=0.3 + 0.01 * (np.arange(30) % 3))
    for scale in ("1", "x"):
        with pytest.raises(mm.ConvergenceError, match="rises as tau2 of all 30 rows goes to 0"):
            mm.location_scale(alike, "1", scale)


def test_a_group_without_heterogeneity_is_named(effects):
    strict = effects["kind"] == "strict"
    half = effects.assign(yi=effects["yi"].where(~strict, 0.5))
    with pytest.raises(
        mm.ConvergenceError, match=r"15 of 30 rows \(s01, s03.*metamiq.subgroups gives each level a tau2"
    ):
        mm.location_scale(half, "kind", "kind")
    parts = mm.subgroups(half, "kind", test="z")
    assert parts.table.loc["strict", "tau2"] == 0


def test_what_cannot_be_told_apart(effects):
    single = effects.assign(kind=["alone", *effects["kind"][1:]])
    for method in ("ML", "REML"):
        with pytest.raises(mm.DataError, match="the mean fits some rows exactly"):
            mm.location_scale(single, "kind", "kind", method=method)
    with pytest.raises(mm.DataError, match="2 coefficients of the mean and 3 of the scale needs at least 5"):
        mm.location_scale(effects.iloc[:4], "x", "x + kind")
    odd = effects["study"].isin(effects["study"][1::2])
    apart = effects.assign(x=effects["x"].where(odd), z=effects["x"].where(~odd))
    with pytest.raises(mm.DataError, match="every moderator of 'x' and 'z', but none has"):
        mm.location_scale(apart, "x", "z")
    with pytest.raises(mm.DataError, match="must be a column of the table"):
        mm.location_scale(effects, "1", "dose")
    with pytest.raises(mm.DataError, match="other than the effect"):
        mm.location_scale(effects, "1", "yi")


@pytest.mark.parametrize("options", [{"method": "DL"}, {"test": "wald"}, {"level": 95}, {"scale": "x.to_csv('f')"}])
def test_arguments_are_checked(effects, options):
    with pytest.raises(ValueError, match=r"must|may hold"):
        mm.location_scale(effects, **({"scale": "x"} | options))


# Any table


@st.composite
def random_tables(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))  # synthetic
    k = draw(st.sampled_from([8, 12, 25]))
    x, vi = rng.normal(size=k), 10.0 ** rng.uniform(-2, -1, k)
    yi = rng.normal(0.2, np.sqrt(vi + np.exp(rng.normal(-1, 1) + rng.normal(0, 1) * x)))
    return pd.DataFrame({"yi": yi, "vi": vi, "x": x})


@given(table=random_tables(), method=st.sampled_from(["ML", "REML"]), data=st.randoms(use_true_random=False))
@settings(max_examples=12, deadline=None)
def test_order_scale_shift_and_units(table, method, data):
    try:
        fit = mm.location_scale(table, "x", "x", method=method, test="z")
    except mm.ConvergenceError:
        assume(False)
    order = list(range(len(table)))
    data.shuffle(order)
    for changed, tau2, beta, alpha in (
        (table.iloc[order], fit.tau2[order], fit.beta, fit.alpha),
        (
            table.assign(yi=3 * table["yi"], vi=9 * table["vi"]),
            9 * fit.tau2,
            3 * fit.beta,
            fit.alpha + np.array([np.log(9), 0]),
        ),
        (table.assign(yi=table["yi"] + 50), fit.tau2, fit.beta + np.array([50, 0]), fit.alpha),
        (table.assign(x=table["x"] * 1000), fit.tau2, fit.beta / [1, 1000], fit.alpha / [1, 1000]),
    ):
        other = mm.location_scale(changed, "x", "x", method=method, test="z")
        size = np.sqrt(np.diag(fit.alpha_cov)).max()
        assert_allclose(other.tau2, tau2, rtol=1e-6 * (1 + size))
        assert_allclose(other.beta, beta, rtol=1e-6, atol=1e-7)
        assert_allclose(other.alpha, alpha, rtol=1e-6, atol=1e-8 * (1 + size))
        assert_allclose([other.lrt, other.QS], [fit.lrt, fit.QS], rtol=1e-6, atol=1e-7)


@given(table=random_tables())
@settings(max_examples=15, deadline=None)
def test_every_row_twice_halves_the_variances(table):
    try:
        fit = mm.location_scale(table, "1", "x", method="ML", test="z")
    except mm.ConvergenceError:
        assume(False)
    twice = mm.location_scale(pd.concat([table, table]), "1", "x", method="ML", test="z")
    assert_allclose([twice.loglik, twice.lrt], [2 * fit.loglik, 2 * fit.lrt], rtol=1e-9, atol=1e-9)
    assert_allclose(twice.alpha, fit.alpha, rtol=1e-6, atol=1e-8)
    assert_allclose(2 * twice.alpha_cov, fit.alpha_cov, rtol=1e-5, atol=1e-9)


@given(table=random_tables(), restricted=st.booleans())
@settings(max_examples=20, deadline=None)
def test_no_grid_finds_a_higher_likelihood(table, restricted):
    Z = np.column_stack([np.ones(len(table)), table["x"]])
    y, v = table["yi"].to_numpy(), table["vi"].to_numpy()
    try:
        fit = mm.location_scale(table, "1", "x", method="REML" if restricted else "ML")
        limit, rounding = fit.loglik, 1e-9
    except mm.ConvergenceError as error:
        rounding = 1e-4
        # What the message says, or of tables that vary less than by chance the likelihood at tau2 = 0.
        said = str(error).split("log-likelihood of ")
        limit = float(said[1].split(" ")[0]) if len(said) == 2 else None
    level, slope = (a.ravel() for a in np.meshgrid(np.linspace(-12, 4, 33), np.linspace(-8, 8, 33)))
    tau2 = np.exp(np.clip(Z @ np.stack([level, slope]), -60, 60).T)
    total = v + np.vstack([np.zeros_like(v), tau2])
    w = 1 / total
    mean = (w @ y) / w.sum(axis=1)
    grid = -0.5 * (np.log(2 * np.pi * total).sum(axis=1) + (w * (y - mean[:, None]) ** 2).sum(axis=1))
    if restricted:
        grid += 0.5 * (np.log(2 * np.pi) - np.log(w.sum(axis=1)) + np.log(len(table)))
    assert grid.max() <= (grid[0] if limit is None else limit) + rounding
