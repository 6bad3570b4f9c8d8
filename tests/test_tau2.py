"""Every tau2 estimator: by hand, against printed and R values, and by its own estimating equation on random tables."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

from metamiq.errors import DataError
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.tau2 import METHODS, TAU2, general_q, general_q_median
from metamiq.pooling.wls import tables

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]

CLOSED_FORM = {"rtol": 1e-10}  # the same arithmetic in another order
PRINTED_12 = {"rtol": 1e-9}  # R values printed to twelve digits, their iteration stopped at a change of 1e-12
EQUATION = 1e-8  # of either side of an estimating equation

ITERATED = ("ML", "REML", "PM", "EB", "PMM")
MOMENT = tuple(m for m in METHODS if m not in ITERATED)


def data(name):
    columns = TABLES[name]["columns"]
    return np.array(columns["yi"]), np.array(columns["vi"])


# By hand.

Y, V = [0, 2, 4], [1, 1, 2]


def moment(weights, y=Y, v=V):
    """(Q_a - tr P_a V) / tr P_a in fractions."""
    a = [Fraction(x) for x in weights]
    total = sum(a)
    mean = sum(x * yi for x, yi in zip(a, y, strict=True)) / total
    q = sum(x * (yi - mean) ** 2 for x, yi in zip(a, y, strict=True))
    expected = sum(x * (1 - x / total) * vi for x, vi in zip(a, v, strict=True))
    return (q - expected) / (total - sum(x * x for x in a) / total)


def by_hand():
    dl, he = moment([1, 1, Fraction(1, 2)]), moment([1, 1, 1])
    q = Fraction(28, 5)  # mean 8/5: 64/25 + 4/25 + (1/2) 144/25
    crude = Fraction(8, 3)
    a = [1 / (Fraction(vi) / crude + 1) for vi in V]
    mean = sum(x * y for x, y in zip(a, Y, strict=True)) / sum(a)
    return {
        "DL": dl,
        "HE": he,
        "HS": (q - 3) / Fraction(5, 2),
        "HSk": (q * Fraction(3, 2) - 3) / Fraction(5, 2),
        "SJ": sum(x * (y - mean) ** 2 for x, y in zip(a, Y, strict=True)) / 2,
        "DL2": moment([1 / (vi + dl) for vi in V]),
        "CA2": moment([1 / (vi + he) for vi in V]),
    }


def test_the_hand_table_itself():
    assert by_hand()["DL"] == Fraction(9, 4)  # (28/5 - 2) / (8/5)
    assert by_hand()["HE"] == Fraction(8, 3)  # 4 - 4/3
    assert by_hand()["HS"] == Fraction(26, 25)


@pytest.mark.parametrize("method", MOMENT)
def test_moment_estimators_by_hand(method):
    assert_allclose(TAU2[method](Y, V), float(by_hand()[method]), rtol=1e-13)


def test_general_q_by_hand():
    assert_allclose(general_q(Y, V, weights=[3, 2, 1]), float(moment([3, 2, 1])), rtol=1e-13)


def test_equal_variances_have_closed_answers():
    y, v = np.array([1.0, 4.0, 2.0, 9.0, 3.0]), 0.75
    s2, crude = y.var(ddof=1), y.var()
    expected = dict.fromkeys(("DL", "HE", "HSk", "REML", "PM", "EB", "DL2", "CA2"), s2 - v)
    expected |= {"ML": crude - v, "HS": crude - v, "SJ": s2 * crude / (crude + v)}
    expected["PMM"] = 4 * s2 / stats.chi2.median(4) - v
    for method in METHODS:
        assert_allclose(TAU2[method](y, np.full(5, v)), expected[method], rtol=1e-12, err_msg=method)
    assert_allclose(general_q_median(y, np.full(5, v)), expected["PMM"], rtol=1e-10)


def test_equal_variances_with_a_moderator():
    x = np.column_stack([np.ones(6), [0, 1, 2, 3, 4, 5]])
    y, v = np.array([0.0, 3.0, 1.0, 6.0, 2.0, 9.0]), 0.5
    rss = float(np.linalg.lstsq(x, y, rcond=None)[1][0])
    for method in ("DL", "HE", "REML", "PM", "EB", "DL2", "CA2"):
        assert_allclose(TAU2[method](y, np.full(6, v), x), rss / 4 - v, rtol=1e-12, err_msg=method)
    assert_allclose(TAU2["ML"](y, np.full(6, v), x), rss / 6 - v, rtol=1e-12)


def test_standard_errors_with_equal_variances():
    y, v = np.array([1.0, 4.0, 2.0, 9.0, 3.0]), 0.75
    t = tables(y, np.full(5, v))
    total = np.array([y.var(ddof=1)])  # v + tau2
    # s^2 has standard error s^2 sqrt(2 / (k - 1)); for HS and ML divided by k, for SJ shrunk by its weights.
    classical = total[0] * np.sqrt(2 / 4)
    for method in ("DL", "HE", "HSk", "REML", "DL2", "CA2", "PM", "EB"):
        factor = np.sqrt(5**2 / 4) / 5 * np.sqrt(4) if method in ("PM", "EB") else 1.0
        assert_allclose(estimators.standard_error(t, method, total - v), factor * classical, rtol=1e-12, err_msg=method)
    assert_allclose(estimators.standard_error(t, "HS", total - v), classical * 4 / 5, rtol=1e-12)
    assert_allclose(estimators.standard_error(t, "ML", total - v), total * np.sqrt(2 / 5), rtol=1e-12)
    assert_allclose(estimators.standard_error(t, "SJ", total - v), classical * y.var() / (y.var() + v), rtol=1e-12)


def test_likelihoods_are_those_of_the_multivariate_normal():
    y, v = data("normand1999_SMD")
    x = np.column_stack([np.ones(9), np.arange(9.0)])
    beta = np.linalg.solve(x.T @ (x / (v + 0.4)[:, None]), x.T @ (y / (v + 0.4)))
    full = stats.multivariate_normal(x @ beta, np.diag(v + 0.4)).logpdf(y)
    t, at = tables(y, v, x), np.array([0.4])
    assert_allclose(estimators.loglik(t, at, "ML"), full, rtol=1e-12)
    # Restricted: the density of contrasts K'y, K an orthonormal complement of X.
    contrast = np.linalg.svd(x)[0][:, 2:]
    restricted = stats.multivariate_normal(np.zeros(7), contrast.T @ np.diag(v + 0.4) @ contrast).logpdf(contrast.T @ y)
    assert_allclose(estimators.loglik(t, at, "REML"), restricted, rtol=1e-12)


# Printed values, and R's.


@pytest.mark.parametrize(
    ("name", "ml", "reml", "eb"),
    [
        ("bcg_RR", 0.280028137269, 0.313243258136, 0.318068452205),
        ("raudenbush1985", 0.0125518947507, 0.0188182881411, 0.0517733101032),
        ("hackshaw1998", 0.0203586743744, 0.0223945309724, 0.0128767168047),
        ("borenstein2009", 0.0247245998589, 0.0321093457661, 0.0227151060811),
    ],
)
def test_tightly_converged_values_of_metafor(name, ml, reml, eb):
    y, v = data(name)
    for method, value in (("ML", ml), ("REML", reml), ("EB", eb), ("PM", eb)):
        assert_allclose(TAU2[method](y, v), value, **PRINTED_12, err_msg=method)


def test_clasp_trials_as_printed():
    """tau of the six CLASP log odds ratios, as metafor and the paper behind the table print them."""
    y, v = data("clasp_OR")
    printed = {
        "PM": 0.3681, "HE": 0.4410, "DL": 0.2323, "CA2": 0.3831, "DL2": 0.3254, "REML": 0.1843, "HS": 0.1330,
        "SJ": 0.4572, "HSk": 0.1644, "PMM": 0.4341,
    }  # fmt: skip
    for method, tau in printed.items():
        assert_allclose(np.sqrt(TAU2[method](y, v)), tau, atol=5.001e-5, err_msg=method)
    # metafor's search for GENQM stops within 1.2e-4 of tau2.
    assert_allclose(general_q_median(y, v), 0.2929409001**2, atol=1.2e-4)


# Properties.


def random_table(rng, sizes=(2, 3, 4, 5, 8, 12, 30, 80, 200)):
    """Invented: variances over six orders of magnitude, tau2 from 0 to huge, with and without moderators."""
    k = int(rng.choice(sizes))
    p = int(rng.integers(1, min(k, 4)))
    v = 10 ** rng.uniform(-4, 2, k)
    tau2 = 0.0 if rng.random() < 0.25 else 10 ** rng.uniform(-5, 6)
    y = rng.normal(size=k) * np.sqrt(v + tau2) + rng.normal()
    x = None if p == 1 else np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))])
    return y, v, x


def pieces(y, v, x, tau2):
    """y'Py, y'PPy, tr P, sum w, log |V| and log |X'WX| at each tau2, by plain linear algebra."""
    design = np.ones((len(y), 1)) if x is None else x
    w = 1 / (v + np.atleast_1d(tau2)[:, None])
    m = np.einsum("kp,gk,kq->gpq", design, w, design, optimize=True)
    beta = np.linalg.solve(m, np.einsum("kp,gk,k->gp", design, w, y, optimize=True)[..., None])[..., 0]
    r = y - beta @ design.T
    m2 = np.einsum("kp,gk,kq->gpq", design, w**2, design, optimize=True)
    trace = w.sum(axis=1) - np.trace(np.linalg.solve(m, m2), axis1=1, axis2=2)
    return (
        (w * r**2).sum(axis=1),
        (w**2 * r**2).sum(axis=1),
        trace,
        w.sum(axis=1),
        -np.log(w).sum(axis=1),
        np.linalg.slogdet(m)[1],
    )


@pytest.mark.parametrize("seed", range(300))
def test_iterated_estimators_solve_their_equations(seed):
    y, v, x = random_table(np.random.default_rng(seed))
    dof = len(y) - (1 if x is None else x.shape[1])
    # Covers every variance and all the spread there is, hence every root.
    grid = np.append(0.0, np.geomspace(1e-3 * v.min(), 100 * v.max() + 100 * y.var(), 400))
    q, _, _, _, logdet, logm = pieces(y, v, x, grid)
    heights = {"ML": -0.5 * (logdet + q), "REML": -0.5 * (logdet + q + logm)}
    for method in ITERATED:
        tau2 = TAU2[method](y, v, x)
        q, spread, trace, weight, logdet, logm = (float(a[0]) for a in pieces(y, v, x, tau2))
        left, right = {
            "ML": (spread, weight),
            "REML": (spread, trace),
            "PM": (q, dof),
            "EB": (q, dof),
            "PMM": (q, special.chdtri(dof, 0.5)),
        }[method]
        if tau2 > 0:
            assert abs(left - right) <= EQUATION * max(left, right), method
        else:
            assert tau2 == 0
            assert left <= right * (1 + EQUATION), method
        if method in heights:
            here = -0.5 * (logdet + q + (logm if method == "REML" else 0.0))
            best = heights[method].max()
            assert here >= best - 1e-10 * (1 + abs(best)), method


@pytest.mark.parametrize("seed", range(60))
def test_moment_estimators_solve_their_equations(seed):
    """E(Q_a) = tr(P_a V) + tau2 tr P_a at the estimate, with P_a written out."""
    y, v, x = random_table(np.random.default_rng(seed), sizes=(2, 3, 5, 12, 40))
    design = np.ones((len(y), 1)) if x is None else x
    k, p = design.shape

    def projection(a):
        weighted = a[:, None] * design
        return np.diag(a) - weighted @ np.linalg.solve(design.T @ weighted, weighted.T)

    def untruncated(a):
        form = projection(a)
        return (y @ form @ y - (form.diagonal() * v).sum()) / np.trace(form)

    crude = y.var()
    sj = projection(1 / (v / crude + 1))
    q = y @ projection(1 / v) @ y
    expected = {
        "DL": untruncated(1 / v),
        "HE": untruncated(np.ones(k)),
        "HS": (q - k) / (1 / v).sum(),
        "HSk": (q * k / (k - p) - k) / (1 / v).sum(),
        "SJ": y @ sj @ y / (k - p),
        "DL2": untruncated(1 / (v + max(untruncated(1 / v), 0.0))),
        "CA2": untruncated(1 / (v + max(untruncated(np.ones(k)), 0.0))),
    }
    for method in MOMENT:
        # With as many coefficients as rows but one, and variances over six orders of magnitude, tr P_a is a small
        # difference of large sums: both ways of taking it lose eight digits in the worst of these tables.
        tolerance = {"rtol": 1e-7, "atol": 1e-10 * y.var()}
        assert_allclose(TAU2[method](y, v, x), max(expected[method], 0.0), **tolerance, err_msg=method)


@pytest.mark.parametrize("seed", range(25))
def test_general_q_median_puts_the_observed_q_in_the_middle(seed):
    y, v, x = random_table(np.random.default_rng(seed), sizes=(3, 5, 12))
    design = np.ones((len(y), 1)) if x is None else x
    a = v**-0.6
    weighted = a[:, None] * design
    r = y - design @ np.linalg.solve(design.T @ weighted, weighted.T @ y)
    tau2 = general_q_median(y, v, x, weights=a)
    lower, upper = tails(float((a * r**2).sum()), a, v + tau2, design)
    if tau2 > 0:
        assert_allclose(lower, upper, rtol=1e-9)
    else:
        assert lower <= upper


def test_pm_and_eb_are_one():
    for seed in range(20):
        y, v, x = random_table(np.random.default_rng(seed))
        assert TAU2["PM"](y, v, x) == TAU2["EB"](y, v, x)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.floats(-5, 5), st.floats(0.01, 100))
def test_shift_unit_order_and_sign_do_not_matter(seed, method, shift, unit):
    rng = np.random.default_rng(seed)
    y, v, x = random_table(rng, sizes=(3, 5, 12, 30))
    base = TAU2[method](y, v, x)
    atol = 1e-9 * v.min()
    order = rng.permutation(len(y))
    again = TAU2[method](y[order], v[order], None if x is None else x[order])
    assert_allclose(again, base, rtol=1e-6, atol=atol)
    moved = TAU2[method](shift - unit * y, unit**2 * v, x)
    # A shift adds rounding errors of its own size to effects that may differ by much less.
    assert_allclose(moved, unit**2 * base, rtol=1e-6, atol=atol * unit**2 + 1e-12 * (shift**2 + unit**2 * y.var()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METHODS))
def test_only_the_space_of_the_columns_matters(seed, method):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(5, 20))
    v = 10 ** rng.uniform(-1, 1, k)
    x = np.column_stack([np.ones(k), rng.normal(size=(k, 2))])
    y = rng.normal(size=k) * 2
    mixed = x @ np.array([[1, 3, -2], [0, 100, 1], [0, 0, 0.01]])
    assert_allclose(TAU2[method](y, v, mixed), TAU2[method](y, v, x), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize(("variance", "spread", "far"), [(0.01, 0.5, True), (0.1, 2.0, True), (1.0, 4.0, False)])
def test_the_higher_of_two_maxima_is_found(method, variance, spread, far):
    """Six precise studies agree and three imprecise ones do not: one peak near 0 and one far out."""
    v = np.concatenate([np.full(6, 1e-4), np.full(3, variance)])
    y = np.concatenate([np.tile([0.01, -0.01], 3), [spread, -spread, 0.5 * spread]])
    grid = np.append(0, np.geomspace(1e-9, 100, 2000))
    heights = estimators.loglik(tables(np.tile(y, (2001, 1)), v), grid, method)
    rises = np.concatenate([[True], np.diff(heights) > 0])
    assert (rises[:-1] & ~rises[1:]).sum() == 2
    tau2 = TAU2[method](y, v)
    assert estimators.loglik(tables(y, v), np.array([tau2]), method)[0] >= heights.max()
    assert (tau2 > 0.01) == far


# Edges and messages.


@pytest.mark.parametrize("method", METHODS)
def test_one_study_tells_nothing_about_tau2(method):
    assert np.isnan(TAU2[method]([0.3], [0.1]))
    assert np.isnan(TAU2[method]([0.3, 0.5], [0.1, 0.2], np.eye(2)))


@pytest.mark.parametrize("method", METHODS)
def test_no_spread_gives_zero(method):
    assert TAU2[method]([0.3, 0.3, 0.3], [0.1, 0.2, 0.4]) == 0


@pytest.mark.parametrize("method", METHODS)
def test_dependent_columns_give_nan(method):
    assert np.isnan(TAU2[method]([0.1, 0.5, 0.9, 0.3], [0.1, 0.2, 0.4, 0.1], np.ones((4, 2))))


def test_general_q_median_has_the_same_edges():
    assert np.isnan(general_q_median([0.3], [0.1]))
    assert general_q_median([0.3, 0.3], [0.1, 0.4]) == 0
    assert np.isnan(general_q_median([0.1, 0.5, 0.9, 0.3], [0.1, 0.2, 0.4, 0.1], np.ones((4, 2))))


def test_messages_name_the_row_and_the_choice():
    with pytest.raises(DataError, match=r"row 2 has yi = nan and vi = 0\.2 \(1 such rows in all\)"):
        TAU2["DL"]([0.1, np.nan], [0.1, 0.2])
    with pytest.raises(DataError, match=r"row 1 has yi = 0\.1 and vi = 0 "):
        TAU2["REML"]([0.1, 0.3], [0.0, 0.2])
    with pytest.raises(DataError, match="same length, but they have 2 and 3"):
        TAU2["DL"]([0.1, 0.3], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"method must be one of 'CA2', 'DL', .*, not 'reml'"):
        estimators.estimate(tables([0.1, 0.2], [0.1, 0.1]), "reml")
    for function in (general_q, general_q_median):
        with pytest.raises(DataError, match="weights must be finite and greater than 0"):
            function([0.1, 0.2], [0.1, 0.1], weights=[1, 0])
        with pytest.raises(DataError, match=r"one value per effect size \(2\), but 3 came"):
            function([0.1, 0.2], [0.1, 0.1], weights=[1, 1, 1])
