"""Meta-regression and subgroups: by least squares, edge cases, messages."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

import metamiq as mm
from metamiq.pooling.design import design_matrix

CLOSED_FORM = {"rtol": 1e-10}  # a different factorisation of the same normal equations


@pytest.fixture
def effects():
    rng = np.random.default_rng(4)  # made-up numbers
    k = 16
    vi = rng.uniform(0.02, 0.1, k)
    return pd.DataFrame(
        {
            "study": [f"s{i:02d}" for i in range(k)],
            "yi": rng.normal(0.3, np.sqrt(vi + 0.1)),
            "vi": vi,
            "dose": rng.integers(1, 6, k),
            "disorder": ["GAD", "OCD", "SAD", "OCD"] * 4,
            "online": [True, False] * 8,
        }
    )


def test_coefficients_are_weighted_least_squares(effects):
    reg = mm.meta_regression(effects, "dose + disorder", method="DL", test="z")
    X = np.column_stack(
        [
            np.ones(16),
            effects["dose"],
            effects["disorder"] == "OCD",
            effects["disorder"] == "SAD",
        ]
    ).astype(float)
    W = np.diag(1 / (effects["vi"] + reg.tau2))
    cov = np.linalg.inv(X.T @ W @ X)
    table = reg.coefficients
    assert_allclose(table["estimate"], cov @ X.T @ W @ effects["yi"], **CLOSED_FORM)
    assert_allclose(table["se"], np.sqrt(np.diag(cov)), **CLOSED_FORM)
    assert table.index.tolist() == ["Intercept", "dose", "disorder[T.OCD]", "disorder[T.SAD]"]
    assert reg.design.reference_levels == {"disorder": "GAD"}
    W0 = np.diag(1 / effects["vi"])
    P0 = W0 - W0 @ X @ np.linalg.inv(X.T @ W0 @ X) @ X.T @ W0
    Q = effects["yi"] @ P0 @ effects["yi"]
    assert_allclose(reg.QE, Q, **CLOSED_FORM)
    assert_allclose(reg.tau2, max(0, (Q - 12) / np.trace(P0)), **CLOSED_FORM)


def test_omnibus_and_terms(effects):
    z = mm.meta_regression(effects, "dose + disorder", test="z")
    assert (z.QM_df, z.QE_df) == (3, 12)
    b, V = z.beta[2:], z.cov[2:, 2:]
    statistic = b @ np.linalg.solve(V, b)
    row = z.term_tests.loc["disorder"]
    assert_allclose([row["statistic"], row["p_value"]], [statistic, stats.chi2.sf(statistic, 2)], **CLOSED_FORM)
    hk = mm.meta_regression(effects, "dose + disorder")
    assert_allclose(hk.QM_p, stats.f.sf(hk.QM, 3, 12), **CLOSED_FORM)
    row = hk.term_tests.loc["dose"]
    assert_allclose(row["p_value"], hk.coefficients.loc["dose", "p_value"], **CLOSED_FORM)


def test_a_model_without_moderators_is_the_pooled_effect(effects):
    reg = mm.meta_regression(effects, "1")
    fit = mm.random_effects(effects)
    assert_allclose([reg.beta[0], reg.tau2], [fit.estimate, fit.tau2], rtol=1e-10)
    assert_allclose(reg.coefficients.loc["Intercept", "ci_low"], fit.ci_low, rtol=1e-10)


def test_predictions(effects):
    reg = mm.meta_regression(effects, "dose * disorder")
    new = pd.DataFrame({"dose": [2.0, 3.0, np.nan], "disorder": ["OCD", "GAD", "SAD"]}, index=["x", "y", "z"])
    out = reg.predict(new)
    assert out.index.tolist() == ["x", "y", "z"]
    by_hand = reg.coefficients["estimate"]
    assert_allclose(
        out.loc["x", "estimate"],
        by_hand["Intercept"] + 2 * by_hand["dose"] + by_hand["disorder[T.OCD]"] + 2 * by_hand["dose:disorder[T.OCD]"],
        **CLOSED_FORM,
    )
    assert (out["pi_low"] <= out["ci_low"])[:2].all()
    assert out.loc["z"].isna().all()
    with pytest.raises(mm.DataError, match=r"disorder must be one of GAD, OCD, SAD.* but new rows have PTSD"):
        reg.predict(pd.DataFrame({"dose": [1], "disorder": ["PTSD"]}))


def test_contrasts(effects):
    reg = mm.meta_regression(effects, "disorder")
    difference = reg.contrast([[0, 1, -1]])
    assert_allclose(difference["estimate"], reg.beta[1] - reg.beta[2], **CLOSED_FORM)
    statistic, m, dof, p = reg.wald_test([[0, 1, -1]])
    assert (m, dof) == (1, 13)
    assert_allclose([statistic, p], [difference["statistic"][0] ** 2, difference["p_value"][0]], **CLOSED_FORM)
    with pytest.raises(ValueError, match="must have 3 columns"):
        reg.wald_test([[1, 0]])
    with pytest.raises(ValueError, match="linearly independent"):
        reg.wald_test([[0, 1, 0], [0, 2, 0]])


def test_splines_booleans_and_chosen_reference(effects):
    assert mm.meta_regression(effects, "bs(dose, df=3)").QM_df == 3
    assert mm.meta_regression(effects, "online").names == ("Intercept", "online")
    other = mm.meta_regression(effects, 'C(disorder, contr.treatment("SAD"))')
    assert other.QM_df == 2
    assert_allclose(other.QM, mm.meta_regression(effects, "disorder").QM, rtol=1e-9)
    no_intercept = mm.meta_regression(effects, "0 + disorder", test="z")
    assert (no_intercept.QM_df, len(no_intercept.names)) == (3, 3)


def test_rows_without_the_moderator_are_left_out_and_named(effects):
    effects["dose"] = effects["dose"].astype(float)
    effects.loc[[2, 5], "dose"] = np.nan
    reg = mm.meta_regression(effects, "dose")
    assert (reg.k, reg.omitted) == (14, ("s02", "s05"))
    assert "left out, moderator unknown: s02, s05" in reg.summary()
    assert_allclose(reg.beta, mm.meta_regression(effects.dropna(), "dose").beta, rtol=1e-12)


def test_faults(effects):
    with pytest.raises(mm.DataError, match="but sessions is not among disorder, dose"):
        mm.meta_regression(effects, "sessions")
    with pytest.raises(mm.DataError, match="must be linearly independent"):
        mm.meta_regression(effects.assign(twice=2 * effects["dose"]), "dose + twice")
    with pytest.raises(mm.DataError, match="may not vary"):
        mm.meta_regression(effects.assign(same=1.0), "same")
    with pytest.raises(mm.DataError, match="needs at least 4 effect sizes"):
        mm.meta_regression(effects.iloc[:3], "disorder")
    with pytest.raises(ValueError, match="no left-hand side"):
        mm.meta_regression(effects, "yi ~ dose")
    with pytest.raises(ValueError, match="could not be read"):
        mm.meta_regression(effects, "dose +* disorder")
    with pytest.raises(mm.DataError, match="At least one row must have every moderator"):
        mm.meta_regression(effects.assign(nothing=np.nan), "nothing")


def test_r2_and_vif(effects):
    reg = mm.meta_regression(effects, "dose + disorder", method="DL", test="z")
    without = mm.random_effects(effects, method="DL").tau2
    assert_allclose(reg.R2, max(0, 100 * (without - reg.tau2) / without), **CLOSED_FORM)
    vif = reg.vif()
    assert vif.loc["disorder", "columns"] == 2
    # Of one moderator beside a factor: 1 / (1 - R2) of its weighted regression on the others.
    w = 1 / (effects["vi"] + reg.tau2)
    Z = np.column_stack([np.ones(16), effects["disorder"] == "OCD", effects["disorder"] == "SAD"]).astype(float)
    x = effects["dose"].to_numpy(dtype=float)
    root = np.sqrt(w.to_numpy())
    fitted = Z @ np.linalg.lstsq(Z * root[:, None], x * root, rcond=None)[0]
    mean = (w * x).sum() / w.sum()
    inflation = (w * (x - mean) ** 2).sum() / (w * (x - fitted) ** 2).sum()
    assert_allclose(vif.loc["dose", "gvif"], inflation, rtol=1e-8)


def test_subgroups_are_separate_fits(effects):
    sub = mm.subgroups(effects, "disorder")
    for name, rows in effects.groupby("disorder"):
        fit = mm.random_effects(rows, test="z")
        assert_allclose(sub.table.loc[name, ["estimate", "se", "tau2"]].astype(float), [fit.estimate, fit.se, fit.tau2])
    w, y = sub.table["se"] ** -2, sub.table["estimate"]
    mean = (w * y).sum() / w.sum()
    assert_allclose(sub.Q_between, (w * (y - mean) ** 2).sum(), **CLOSED_FORM)
    assert_allclose(sub.Q_p, stats.chi2.sf(sub.Q_between, 2), **CLOSED_FORM)


def test_common_tau2_is_the_meta_regression(effects):
    sub = mm.subgroups(effects, "disorder", common_tau2=True)
    reg = mm.meta_regression(effects, "disorder", test="z")
    assert_allclose([sub.Q_between, sub.tau2], [reg.QM, reg.tau2], rtol=1e-9)
    new = pd.DataFrame({"disorder": ["GAD", "OCD", "SAD"]})
    assert_allclose(sub.table["estimate"], reg.predict(new)["estimate"], rtol=1e-9)


def test_a_subgroup_of_one_is_named_and_not_tested(effects):
    effects.loc[0, "disorder"] = "PTSD"
    effects.loc[3, "disorder"] = None
    sub = mm.subgroups(effects, "disorder")
    assert (sub.single, sub.Q_df, sub.omitted) == (("PTSD",), 2, ("s03",))
    assert np.isnan(sub.table.loc["PTSD", "tau2"])
    assert "one row only, not in the test: PTSD" in sub.summary()
    assert mm.subgroups(effects, "disorder", common_tau2=True).Q_df == 3
    with pytest.raises(mm.DataError, match="at least two groups with rows, but there is 1"):
        mm.subgroups(effects[effects["disorder"] == "OCD"], "disorder")


def test_screening_adjusts_for_the_number_of_moderators(effects):
    table = mm.screen_moderators(effects, ["dose", "disorder", "online"], adjust="bonferroni")
    assert_allclose(table["p_adjusted"], np.minimum(3 * table["p_value"], 1), **CLOSED_FORM)


def test_design_shows_its_coding(effects):
    design = design_matrix("disorder + dose", effects)
    assert design.terms == {"disorder": (1, 2), "dose": (3,)}
    assert_allclose(design.new_rows(effects), design.X)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1e-3, 1e3, 1e6]))
@settings(max_examples=25, deadline=None)
def test_rescaling_a_moderator_rescales_its_coefficient(seed, scale):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(5, 30))
    vi = rng.uniform(0.01, 0.2, k)
    table = pd.DataFrame({"yi": rng.normal(0, np.sqrt(vi + 0.1)), "vi": vi, "x": rng.normal(size=k)})
    one = mm.meta_regression(table, "x")
    other = mm.meta_regression(table.assign(x=table["x"] * scale), "x")
    assert_allclose(other.beta[1] * scale, one.beta[1], rtol=1e-6, atol=1e-9)
    assert_allclose(other.tau2, one.tau2, rtol=1e-6, atol=1e-10)
    assert_allclose(other.QM_p, one.QM_p, rtol=1e-5)


@pytest.mark.parametrize(
    "formula",
    [
        "dose.to_csv('{file}')",
        "dose + np.savetxt('{file}', dose)",
        "{{__import__('os').mkdir('{file}')}}",
        "{{[dose for dose in [1]]}}",
        "{{dose.__class__}} + dose",
        "log(`dose`.to_csv('{file}'))",
        "{{9**9**9}} + dose",
        "{{[1] * 99999999}} + dose",
        "C(dose, contr.custom(dose))",
    ],
)
def test_a_formula_computes_and_does_nothing_else(tmp_path, formula):
    """A formula may come with somebody else's protocol or bundle."""
    file = tmp_path / "written"
    effects = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2], "vi": 0.04, "dose": [1.0, 2.0, 3.0, 5.0]})
    with pytest.raises(ValueError, match="A moderator formula may hold"):
        mm.meta_regression(effects, formula.format(file=file))
    assert not file.exists()


@pytest.mark.parametrize("formula", ["np.sqrt(dose)", "I(dose ** 2)", "{dose - 2}", "log(`my dose`)", "scale(dose)"])
def test_a_formula_may_transform_its_columns(formula):
    effects = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2], "vi": 0.04, "dose": [1.0, 2.0, 3.0, 5.0]})
    assert len(mm.meta_regression(effects.assign(**{"my dose": effects["dose"]}), formula).beta) == 2


def exact_regression(y, v, columns):
    """Coefficients and their covariance by elimination with fractions, without any rounding."""
    rows = [[Fraction(float(x)) for x in row] for row in zip(*columns, strict=True)]
    y, w = [Fraction(float(a)) for a in y], [1 / Fraction(float(a)) for a in v]
    p = len(columns)
    left = [[sum(a * r[i] * r[j] for a, r in zip(w, rows, strict=True)) for j in range(p)] for i in range(p)]
    right = [sum(a * r[i] * b for a, r, b in zip(w, rows, y, strict=True)) for i in range(p)]
    table = [[*left[i], right[i], *(Fraction(i == j) for j in range(p))] for i in range(p)]
    for i in range(p):
        table[i] = [a / table[i][i] for a in table[i]]
        for j in range(p):
            if j != i:
                table[j] = [a - table[j][i] * b for a, b in zip(table[j], table[i], strict=True)]
    return [row[p] for row in table], [row[p + 1 :] for row in table]


def test_moderators_that_nearly_depend_on_each_other_keep_their_digits():
    # Invented: calendar years, and a second moderator that differs from them by hours. X has condition 4e7.
    rng = np.random.default_rng(4)
    year = np.arange(1990.0, 2014.0)
    other = year + 1e-4 * rng.normal(size=24)
    v = rng.uniform(0.01, 0.1, 24)
    es = pd.DataFrame({"yi": rng.normal(0.3, np.sqrt(v)), "vi": v, "year": year, "other": other})
    fit = mm.meta_regression(es, "year + other", method="FE", test="z")
    beta, cov = exact_regression(es["yi"], v, [np.ones(24), year, other])
    # Rounding, 1e-16, times the condition of X and a margin.
    rtol = 1e-7
    assert_allclose(fit.beta, [float(b) for b in beta], rtol=rtol)
    assert_allclose(fit.cov, np.array(cov, dtype=float), rtol=rtol)
    det = cov[1][1] * cov[2][2] - cov[1][2] ** 2
    QM = (beta[1] ** 2 * cov[2][2] - 2 * beta[1] * beta[2] * cov[1][2] + beta[2] ** 2 * cov[1][1]) / det
    assert_allclose(fit.QM, float(QM), rtol=rtol)
    x = [Fraction(1), Fraction(float(year[3])), Fraction(float(other[3]))]
    mean = sum(a * b for a, b in zip(x, beta, strict=True))
    variance = sum(x[i] * cov[i][j] * x[j] for i in range(3) for j in range(3))
    predicted = fit.predict(es.iloc[[3]])
    assert_allclose(predicted["estimate"], float(mean), rtol=rtol)
    assert_allclose(predicted["se"], float(variance) ** 0.5, rtol=rtol)


def test_numbers_that_became_text_are_no_groups_unless_it_is_said():
    table = mm.effect_sizes(mm.load_dataset("bcg").trials, "RR")
    text = table.assign(north=(table["latitude"] > 30).astype(int).astype(str))
    with pytest.raises(mm.DataError, match=r"north must hold numbers, or names of groups.*write C\(north\)"):
        mm.meta_regression(text, "year + north")
    coded = mm.meta_regression(table.assign(north=(table["latitude"] > 30).astype(int)), "north")
    assert mm.meta_regression(text, "C(north)").beta[1] == pytest.approx(coded.beta[1], rel=1e-10)
    assert mm.subgroups(text, "north", common_tau2=True).regression.names == ("Intercept", "subgroup[T.1]")
