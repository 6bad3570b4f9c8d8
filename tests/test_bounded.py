"""Points and bounds together. All tables here are synthetic, made to have a known answer."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

import metamiq as mm
from metamiq.pooling import batch_bounded
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.bounded_likelihood import Rows, derivatives, row_terms, value
from metamiq.pooling.bounded_profile import profile
from metamiq.pooling.bounded_search import global_maximum, maximise

CLOSED_FORM = {"rtol": 1e-10, "atol": 1e-12}
ITERATIVE = {"rtol": 1e-8, "atol": 1e-8}  # two searches of one maximum
QUICK = settings(max_examples=30, deadline=None)
NAN, INF = np.nan, np.inf
COLUMNS = ["yi", "vi", "yi_low", "yi_high", "n1i", "n2i"]


def table(*rows, names=None):
    """Rows are (yi, vi) for points and (low, high, n1, n2) for bounds."""
    full = [(*r, NAN, NAN, 40, 40) if len(r) == 2 else (NAN, NAN, *r) for r in rows]
    out = pd.DataFrame(full, columns=COLUMNS).astype(float)
    out.insert(0, "study", names or [f"s{i + 1}" for i in range(len(rows))])
    return out


def bound(verdict, n1, n2):
    """The bound that a two-sided 5% t test gives, J left out: only the order of size matters here."""
    c = stats.t.ppf(0.975, n1 + n2 - 2) * np.sqrt(1 / n1 + 1 / n2)
    return {"ns": (-c, c, n1, n2), "up": (c, INF, n1, n2), "down": (-INF, -c, n1, n2)}[verdict]


MIXED = table((0.31, 0.04), (0.72, 0.05), bound("ns", 40, 41), bound("up", 30, 33), bound("ns", 25, 20))


@st.composite
def tables(draw, bounds_only=False):
    k = draw(st.integers(3, 8))
    rows = []
    for _ in range(k):
        n1, n2 = draw(st.integers(10, 80)), draw(st.integers(10, 80))
        kind = draw(st.sampled_from(["ns", "up", "down"] if bounds_only else ["point", "ns", "up", "down"]))
        if kind == "point":
            g = round(draw(st.floats(-0.8, 1.2)), 3)
            rows.append((g, 1 / n1 + 1 / n2 + g * g / (2 * (n1 + n2))))
        else:
            rows.append(bound(kind, n1, n2))
    rows.append((0.2, 0.05))
    return table(*rows)


def log_likelihood(frame, mu, tau2):
    """The model written out once more, row by row, on the slow and plain road."""
    total = 0.0
    for r in frame.itertuples():
        if np.isfinite(r.yi):
            total += stats.norm.logpdf(r.yi, mu, np.sqrt(r.vi + tau2))
        else:
            s = np.sqrt(1 / r.n1i + 1 / r.n2i + mu**2 / (2 * (r.n1i + r.n2i)) + tau2)
            total += np.log(stats.norm.cdf(r.yi_high, mu, s) - stats.norm.cdf(r.yi_low, mu, s))
    return total


def log_likelihood_at(frame, mu, tau2):
    """`log_likelihood` of bounds at one mean and many tau2."""
    s = np.sqrt(1 / frame["n1i"] + 1 / frame["n2i"] + mu**2 / (2 * (frame["n1i"] + frame["n2i"])))
    s = np.sqrt(s.to_numpy() ** 2 + tau2[:, None])
    high, low = ((frame[c].to_numpy() - mu) / s for c in ("yi_high", "yi_low"))
    return np.log(stats.norm.cdf(high) - stats.norm.cdf(low)).sum(axis=1)


def arrays(frame):
    return [frame[c].to_numpy() for c in COLUMNS]


# By hand


def test_one_point_is_its_own_answer():
    fit = random_effects_bounded(table((0.4, 0.09)))
    assert (fit.estimate, fit.tau2) == (0.4, 0.0)
    assert_allclose(fit.se, 0.3, **CLOSED_FORM)
    assert_allclose(fit.loglik, stats.norm.logpdf(0, 0, 0.3), **CLOSED_FORM)
    # Away from 0.4 the best tau2 is r^2 - v, so that the log-likelihood falls by (log(r^2 / v) + 1 - 1) / 2 ...
    half = 0.3 * np.exp(stats.chi2.ppf(0.95, 1) / 2 - 0.5)
    assert_allclose(fit.ci(), (0.4 - half, 0.4 + half), **ITERATIVE)


def test_two_like_points_and_an_open_interval():
    fit = random_effects_bounded(table((0.2, 0.1), (0.6, 0.1), (-INF, INF, 30, 30)))
    assert_allclose((fit.estimate, fit.tau2), (0.4, 0.0), **ITERATIVE)
    assert_allclose(fit.se, np.sqrt(0.05), **ITERATIVE)
    assert_allclose(fit.weights, [0.5, 0.5, 0.0], atol=1e-12)


def test_like_points_that_differ_have_the_variance_of_ml():
    # Equal vi: tau2 = mean squared deviation - v.
    fit = random_effects_bounded(table((0.0, 0.05), (1.0, 0.05)))
    assert_allclose((fit.estimate, fit.tau2), (0.5, 0.25 - 0.05), **ITERATIVE)
    assert_allclose(fit.loglik, 2 * stats.norm.logpdf(0.5, 0, 0.5), **CLOSED_FORM)


def test_one_nonsignificant_row_sits_at_zero_and_its_likelihood_is_its_probability():
    fit = random_effects_bounded(table((-0.5, 0.5, 20, 20)))
    assert_allclose((fit.estimate, fit.tau2), (0.0, 0.0), atol=1e-8)
    assert_allclose(np.exp(fit.loglik), 2 * stats.norm.cdf(0.5 / np.sqrt(0.1)) - 1, **CLOSED_FORM)


def test_opposed_directions_that_overlap_have_a_maximum():
    fit = random_effects_bounded(table((-0.3, INF, 50, 50), (-INF, 0.3, 50, 50)))
    assert_allclose((fit.estimate, fit.tau2), (0.0, 0.0), atol=1e-7)
    assert_allclose(fit.loglik, 2 * stats.norm.logcdf(0.3 / np.sqrt(0.04)), **CLOSED_FORM)


def test_likelihood_matches_the_plain_formula():
    rows = random_effects_bounded(MIXED).rows
    for mu, tau2 in [(0.1, 0.0), (0.5, 0.2), (-1.0, 1.5)]:
        theta = np.array([[mu, tau2]])
        expected = log_likelihood(MIXED, mu, tau2)
        assert_allclose(derivatives(rows, theta).f, [expected], **CLOSED_FORM)
        assert_allclose(value(rows, theta), [expected], **CLOSED_FORM)


def test_maximum_agrees_with_a_general_optimiser():
    best = max(
        (
            optimize.minimize(
                lambda t: -log_likelihood(MIXED, t[0], np.exp(t[1])), [m, -3.0], method="Nelder-Mead", tol=1e-12
            )
            for m in (0.0, 0.5)
        ),
        key=lambda r: -r.fun,
    )
    fit = random_effects_bounded(MIXED)
    assert fit.loglik >= -best.fun - 1e-10
    assert_allclose((fit.estimate, fit.tau2), (best.x[0], np.exp(best.x[1])), rtol=1e-4, atol=1e-6)


# Points only


@pytest.mark.parametrize("seed", range(6))
def test_points_only_is_ml(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 25))
    vi = rng.uniform(0.01, 0.3, k)
    frame = pd.DataFrame({"yi": rng.normal(0.4, np.sqrt(vi + 0.1 * (seed % 2))), "vi": vi})
    ours, ml = random_effects_bounded(frame), mm.random_effects(frame, method="ML", test="z")
    assert_allclose(
        (ours.estimate, ours.tau2, ours.loglik, ours.I2), (ml.estimate, ml.tau2, ml.loglik, ml.I2), **ITERATIVE
    )
    assert_allclose(ours.weights, ml.weights, **ITERATIVE)
    assert_allclose(ours.ci(), ml.ci(method="PL"), **ITERATIVE)
    # The observed information has no cross term in the expected one, and se differs by that alone.
    w = 1 / (vi + ours.tau2)
    r = frame["yi"] - ours.estimate
    information = np.array([[w.sum(), (w**2 * r).sum()], [(w**2 * r).sum(), (w**3 * r**2 - 0.5 * w**2).sum()]])
    if ours.tau2 > 0:
        assert_allclose(ours.se, np.sqrt(np.linalg.inv(information)[0, 0]), **ITERATIVE)
        assert_allclose(ours.tau2_se, np.sqrt(np.linalg.inv(information)[1, 1]), **ITERATIVE)
    else:
        assert_allclose(ours.se, ml.se, **ITERATIVE)
        assert np.isnan(ours.tau2_se)


# The search


def some_rows(rng, k, kp, p=None):
    n = rng.integers(5, 100, (2, 1, k)).astype(float)
    base = (1 / n).sum(axis=0)
    g = rng.normal(0.4, 0.4, (1, k)) + rng.normal(size=(1, k)) * np.sqrt(base)
    c = 2 * np.sqrt(base)
    low = np.where(g > c, c, np.where(g < -c, -INF, -c))
    high = np.where(g > c, INF, np.where(g < -c, -c, c))
    x = None if p is None else np.concatenate([np.ones((1, k, 1)), rng.normal(size=(1, k, p - 1))], axis=2)
    return Rows(g[:, :kp], base[:, :kp], low[:, kp:], high[:, kp:], base[:, kp:], n.sum(0)[:, kp:], x, None, 1)


@pytest.mark.parametrize("p", [None, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_analytic_derivatives_are_those_of_finite_differences(p, seed):
    rng = np.random.default_rng(seed)
    rows = some_rows(rng, 9, 3, p)
    rows = rows._replace(n=rng.integers(1, 3, (1, 9)).astype(float))
    q = (p or 1) + 1
    theta = np.append(rng.normal(0, 0.3, q - 1), rng.uniform(0.05, 0.3))[None]
    d = derivatives(rows, theta)
    h = 1e-5
    for j in range(q):
        step = h * np.eye(q)[j]
        up, down = derivatives(rows, theta + step), derivatives(rows, theta - step)
        assert_allclose(d.g[0, j], (up.f - down.f)[0] / (2 * h), rtol=1e-6, atol=1e-6)
        assert_allclose(d.h[0, j], (up.g - down.g)[0] / (2 * h), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_no_grid_point_is_higher_than_the_maximum(seed):
    rng = np.random.default_rng(1000 + seed)
    k = int(rng.integers(2, 10))
    rows = some_rows(rng, k, int(rng.integers(0, k + 1)))
    two_sided = np.isfinite(rows.low) & np.isfinite(rows.high)
    if rows.y.size == 0 and not two_sided.any():
        rows = some_rows(rng, k, k)
    found = global_maximum(rows)
    assert found.ok.all()
    mu, tau2 = np.meshgrid(np.linspace(-3, 3, 121), np.append(0, np.geomspace(1e-6, 20, 60)))
    grid = np.column_stack([mu.ravel(), tau2.ravel()])
    with np.errstate(divide="ignore"):
        assert value(rows, grid).max() <= found.f[0] + 1e-9


def test_two_hills_the_higher_is_found():
    # Four precise rows at 0, one at 3 that is nearly as precise as all of them: tau2 = 0 is a hill, not the top.
    frame = table((0.0, 0.01), (0.02, 0.01), (-0.02, 0.01), (0.01, 0.01), (3.0, 0.01))
    fit = random_effects_bounded(frame)
    assert fit.tau2 > 1
    assert fit.tau2_p < 1e-6
    assert fit.loglik > log_likelihood(frame, 0.6, 0.0)


# Extremes


def test_bound_thirty_standard_errors_away():
    fit = random_effects_bounded(table((0.0, 0.02), (0.1, 0.02), (30 * np.sqrt(0.02), INF, 100, 100)))
    assert np.isfinite([fit.estimate, fit.tau2, fit.loglik, *fit.ci(), *fit.tau2_ci()]).all()
    assert fit.estimate > 0.1
    assert fit.tau2 > 1
    # At tau2 = 0 too: log Phi(-30) is about -455, far from where Phi itself is 0.
    at_zero = row_terms(fit.rows, np.array([[0.0, 0.0]]))[0, 0, -1]
    assert_allclose(at_zero, stats.norm.logcdf(-30), **CLOSED_FORM)


def test_a_million_participants_and_two():
    n = 1_000_000
    fit = random_effects_bounded(table(bound("ns", n, n), (0.3, 0.05), bound("up", 2, 2), (0.1, 0.02)))
    assert np.isfinite([fit.estimate, fit.se, fit.tau2, *fit.ci()]).all()
    grid = np.array([[m, t] for m in np.linspace(-0.5, 1, 151) for t in np.append(0, np.geomspace(1e-8, 3, 60))])
    with np.errstate(divide="ignore"):
        assert value(fit.rows, grid).max() <= fit.loglik + 1e-9


def test_all_rows_two_sided():
    fit = random_effects_bounded(table(bound("ns", 20, 20), bound("ns", 50, 40), (0.1, 0.9, 30, 30)))
    assert 0 < fit.estimate < 0.5
    assert fit.tau2 == 0
    assert fit.k_points == 0
    assert_allclose(fit.weights.sum(), 1, **CLOSED_FORM)


def test_same_side_only_is_an_error_that_says_so():
    with pytest.raises(mm.DataError, match=r"3 rows.*0 points, 3 bounds.*stops the mean on one side.*same way"):
        random_effects_bounded(table(bound("up", 20, 20), bound("up", 30, 30), (0.0, INF, 10, 10)))


def test_opposed_without_overlap_is_an_error_that_says_so():
    with pytest.raises(mm.DataError, match=r"one side only and contradict each other.*larger tau2"):
        random_effects_bounded(table((0.5, INF, 40, 40), (-INF, -0.5, 40, 40)))
    with pytest.raises(mm.DataError, match="contradict each other"):
        random_effects_bounded(table(*[(0.5, INF, 40, 40)] * 3, (-INF, -0.5, 40, 40)))


def test_open_intervals_alone_are_an_error():
    with pytest.raises(mm.DataError, match="stops the mean"):
        random_effects_bounded(table((-INF, INF, 40, 40), (-INF, INF, 30, 30)))


def test_extreme_bound_far_from_precise_points_has_its_interval():
    fit = random_effects_bounded(table((0.2, 1e-6), (0.2, 1e-6), (-INF, -2.0, 20, 20), bound("ns", 10, 10)))
    low, high = fit.ci()
    assert low < fit.estimate < high


# Bad input


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table((0.1, 0.0)), "vi must be greater than 0, but 's1' has 0"),
        (table((0.1, NAN)), "needs both yi and vi, but 's1'"),
        (table((NAN, 0.5, 20, 20)), "must be a point or have both yi_low and yi_high, but 's1'"),
        (table((0.5, 0.5, 20, 20)), "yi_low must be below yi_high, but 's1' has 0.5 and 0.5"),
        (table((0.5, 0.2, 20, 20), (0.1, -0.1, 3, 3)), "'s1' has 0.5 and 0.2; .*'s2' has 0.1 and -0.1"),
        (table((-0.5, 0.5, 1, 20)), "arm sizes of at least 2, but 's1' has n1i = 1"),
        (table((-0.5, 0.5, 20, NAN)), "arm sizes of at least 2, but 's1'"),
        (table((0.5, 0.5 + 1e-9, 20, 20)), "as narrow as that of 's1'.*is a point"),
        (table(), "at least one usable trial"),
        (table((-0.5, 0.5, 20, 20)).drop(columns=["n1i", "yi_low"]), "yi_low, n1i is missing.*s1.*trial_effects"),
        (pd.DataFrame({"yi": [0.1]}), "must have the columns yi and vi"),
        (table((0.1, 0.2)).assign(yi="much"), "yi must hold numbers"),
    ],
)
def test_bad_input_is_named(frame, message):
    with pytest.raises(mm.DataError, match=message):
        random_effects_bounded(frame)


def test_level_is_checked():
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, not 95"):
        random_effects_bounded(MIXED, level=95)


# Properties


@QUICK
@given(tables(), st.randoms())
def test_row_order_does_not_matter(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    one, two = random_effects_bounded(frame), random_effects_bounded(frame.iloc[order])
    assert_allclose((two.estimate, two.tau2, two.loglik), (one.estimate, one.tau2, one.loglik), rtol=1e-7, atol=1e-7)
    assert_allclose(two.weights, one.weights[order], rtol=1e-6, atol=1e-8)


@QUICK
@given(tables())
def test_swapping_the_arms_flips_the_answer(frame):
    flipped = frame.assign(
        yi=-frame["yi"], yi_low=-frame["yi_high"], yi_high=-frame["yi_low"], n1i=frame["n2i"], n2i=frame["n1i"]
    )
    one, two = random_effects_bounded(frame), random_effects_bounded(flipped)
    assert_allclose((two.estimate, two.tau2), (-one.estimate, one.tau2), rtol=1e-7, atol=1e-7)
    assert_allclose(two.ci(), (-one.ci().high, -one.ci().low), rtol=1e-6, atol=1e-7)
    assert_allclose(two.p_value, one.p_value, rtol=1e-6, atol=1e-8)


@QUICK
@given(tables())
def test_every_row_twice_keeps_the_mean_and_narrows_the_interval(frame):
    one, two = random_effects_bounded(frame), random_effects_bounded(pd.concat([frame, frame]))
    assert_allclose((two.estimate, two.tau2), (one.estimate, one.tau2), rtol=1e-7, atol=1e-7)
    assert_allclose(two.loglik, 2 * one.loglik, **ITERATIVE)
    assert two.ci().low > one.ci().low
    assert two.ci().high < one.ci().high


@QUICK
@given(tables())
def test_an_interval_open_at_both_ends_tells_nothing(frame):
    one = random_effects_bounded(frame)
    two = random_effects_bounded(pd.concat([frame, table((-INF, INF, 30, 30))]))
    assert_allclose((two.estimate, two.tau2, two.loglik), (one.estimate, one.tau2, one.loglik), rtol=1e-7, atol=1e-7)
    assert_allclose(two.ci(), one.ci(), rtol=1e-7, atol=1e-7)


@QUICK
@given(tables(), st.floats(0.01, 3))
def test_wider_bounds_are_likelier(frame, more):
    """Each row's probability grows with its interval, so the maximum can only rise, to that without the row."""
    bounds = frame["yi"].isna().to_numpy()
    wider = frame.assign(yi_low=frame["yi_low"] - more, yi_high=frame["yi_high"] + more)
    points = random_effects_bounded(frame[~bounds]).loglik
    assert random_effects_bounded(frame).loglik <= random_effects_bounded(wider).loglik + 1e-9
    assert random_effects_bounded(wider).loglik <= points + 1e-9
    widest = frame.assign(yi_low=frame["yi_low"] - 1e4, yi_high=frame["yi_high"] + 1e4)
    assert_allclose(random_effects_bounded(widest).loglik, points, rtol=1e-6, atol=1e-6)


def test_a_narrow_interval_becomes_a_point():
    y, n = 0.4, 100
    others = [(0.1, 0.03), (0.7, 0.05), (0.2, 0.02)]
    gaps = []
    for width in (0.2, 0.02, 0.002, 0.0002):
        fit = random_effects_bounded(table(*others, (y - width / 2, y + width / 2, n, n)))
        mu, tau2 = fit.estimate, fit.tau2
        # The point that it becomes: density times width, with the variance at the model mean.
        v = 2 / n + mu**2 / (4 * n)
        as_point = sum(stats.norm.logpdf(a, mu, np.sqrt(b + tau2)) for a, b in [*others, (y, v)])
        gaps.append(abs(fit.loglik - np.log(width) - as_point))
    assert all(later < earlier / 50 for earlier, later in pairwise(gaps[:3]))  # order width^2
    assert gaps[-1] < 1e-7


@QUICK
@given(tables())
def test_the_likelihood_at_an_end_is_chi2_half_lower(frame):
    fit = random_effects_bounded(frame)
    for level in (0.5, 0.95):
        drop = stats.chi2.ppf(level, 1) / 2
        for end in fit.ci(level):
            grid = np.column_stack([np.full(600, end), np.append(0, np.geomspace(1e-6, 1e5, 599))])
            best = value(fit.rows, grid).max()
            assert best <= fit.loglik - drop + 1e-7
            assert best >= fit.loglik - drop - 2e-3  # the grid misses the top by a little
        low, high = fit.tau2_ci(level)
        assert low <= fit.tau2 <= high
        held = profile(fit.rows, np.array([[fit.estimate, fit.tau2]]), 1, np.array([high]))
        assert_allclose(held.f, fit.loglik - drop, rtol=0, atol=1e-7)


@QUICK
@given(tables())
def test_test_and_interval_tell_the_same(frame):
    fit = random_effects_bounded(frame)
    low, high = fit.ci()
    assert (fit.p_value < 0.05) == (not low <= 0 <= high)
    assert_allclose(fit.likelihood_ratio(0.0), fit.p_value, rtol=1e-6, atol=1e-12)
    assert_allclose((fit.likelihood_ratio(low), fit.likelihood_ratio(high)), 0.05, rtol=1e-6)
    assert fit.likelihood_ratio(fit.estimate) == pytest.approx(1, abs=1e-4)


def test_a_bound_is_the_integral_of_its_points():
    """The probability of an interval is the density of a point, integrated over it."""
    low, high, n1, n2 = bound("ns", 30, 25)
    mu, tau2 = 0.3, 0.07
    v = 1 / n1 + 1 / n2 + mu**2 / (2 * (n1 + n2))
    area, _ = integrate.quad(lambda y: stats.norm.pdf(y, mu, np.sqrt(v + tau2)), low, high)
    rows = random_effects_bounded(table((low, high, n1, n2))).rows
    assert_allclose(np.exp(value(rows, np.array([[mu, tau2]]))), area, **CLOSED_FORM)


# Moderators


def grouped():
    rows = [(0.2, 0.04), (0.5, 0.05), bound("ns", 40, 40), (0.9, 0.06), bound("up", 30, 30), (0.7, 0.04)]
    return table(*rows).assign(group=list("aaabbb"), dose=[1.0, 2, 3, 4, 3, NAN])


def test_term_test_is_the_difference_in_log_likelihood():
    frame = grouped()
    full, null = random_effects_bounded(frame, "group"), random_effects_bounded(frame)
    row = full.term_tests.loc["group"]
    assert_allclose(row["statistic"], 2 * (full.loglik - null.loglik), **ITERATIVE)
    assert_allclose(row["p_value"], stats.chi2.sf(row["statistic"], 1), **CLOSED_FORM)
    assert row["dof"] == 1
    # With one column the term's test is that of its coefficient.
    coefficient = full.coefficients.loc["group[T.b]"]
    assert_allclose(coefficient["statistic"] ** 2, row["statistic"], rtol=1e-6)
    assert_allclose(coefficient["p_value"], row["p_value"], rtol=1e-6)


def test_group_means_are_predictions_and_coding_does_not_matter():
    frame = grouped()
    fit = random_effects_bounded(frame, "group")
    means = fit.group_means()
    predicted = fit.predict(pd.DataFrame({"group": ["a", "b"]}))
    assert_allclose(means[predicted.columns], predicted, **CLOSED_FORM)
    assert means["k_points"].tolist() == [2, 2]
    assert means["k_bounds"].tolist() == [1, 1]
    assert_allclose(means.loc["a", "estimate"], fit.coefficients.loc["Intercept", "estimate"], **CLOSED_FORM)
    other = random_effects_bounded(frame, "0 + group").coefficients
    assert_allclose(other[["estimate", "se", "ci_low", "ci_high"]], means.iloc[:, :4], rtol=1e-6)


def test_without_an_intercept_a_term_test_compares_with_a_mean_of_zero():
    frame = grouped()[:3]
    fit = random_effects_bounded(frame, "0 + group")
    mean = random_effects_bounded(frame)
    assert_allclose(fit.term_tests["statistic"], [mean.statistic**2], rtol=1e-6)


def test_points_only_with_a_moderator_is_ml_meta_regression():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"yi": rng.normal(0.3, 0.5, 14), "vi": rng.uniform(0.02, 0.2, 14), "x": rng.normal(9, 3, 14)})
    ours = random_effects_bounded(frame, "x")
    ml = mm.meta_regression(frame, "x", method="ML", test="z")
    assert_allclose(ours.beta, ml.coefficients["estimate"], rtol=1e-7)
    assert_allclose(ours.tau2, ml.tau2, rtol=1e-7)


def test_rescaling_a_moderator_rescales_its_coefficient():
    frame = grouped().dropna(subset=["dose"])
    one = random_effects_bounded(frame, "dose").coefficients.loc["dose"]
    two = random_effects_bounded(frame.assign(dose=1000 * frame["dose"]), "dose").coefficients.loc["dose"]
    assert_allclose(
        1000 * two[["estimate", "se", "ci_low", "ci_high"]], one[["estimate", "se", "ci_low", "ci_high"]], rtol=1e-6
    )
    assert_allclose(two["p_value"], one["p_value"], rtol=1e-6)


def test_rows_without_the_moderator_are_named():
    fit = random_effects_bounded(grouped(), "dose")
    assert fit.omitted == ("s6",)
    assert fit.k == 5
    assert "left out, moderator unknown: s6" in fit.summary()


def test_a_group_of_one_sided_bounds_is_an_error_that_names_the_formula():
    frame = table((0.2, 0.04), (0.5, 0.05), bound("up", 40, 40), bound("up", 30, 30)).assign(group=list("aabb"))
    with pytest.raises(mm.DataError, match=r"stops the coefficients of 'group' on one side.*fewer moderators"):
        random_effects_bounded(frame, "group")
    opposed = frame.copy()
    opposed.loc[3, ["yi_low", "yi_high"]] = [-INF, 1.5]
    fit = random_effects_bounded(opposed, "group")
    assert 0.4 < fit.group_means().loc["b", "estimate"] < 1.6


def test_what_a_model_cannot_say_is_an_error():
    fit = random_effects_bounded(grouped(), "group")
    with pytest.raises(mm.DataError, match="no single estimate"):
        _ = fit.estimate
    with pytest.raises(mm.DataError, match="one categorical moderator"):
        random_effects_bounded(grouped(), "dose").group_means()
    with pytest.raises(mm.DataError, match="predicts its one mean"):
        random_effects_bounded(MIXED).predict(MIXED)


def test_predict_leaves_unknown_rows_empty():
    fit = random_effects_bounded(grouped(), "dose")
    out = fit.predict(pd.DataFrame({"dose": [2.0, NAN]}, index=["x", "y"]))
    assert out.loc["x"].notna().all()
    assert out.loc["y"].isna().all()


# What a fit answers


def test_record_and_table_agree():
    fit = random_effects_bounded(MIXED, level=0.9)
    row = fit.to_frame().loc["mean"]
    assert_allclose(row[["estimate", "se", "ci_low", "ci_high"]].tolist(), [fit.estimate, fit.se, *fit.ci(0.9)])
    assert_allclose(fit.pi(), fit.estimate + np.array([-1, 1]) * 1.6448536269514722 * np.hypot(fit.se, fit.tau2**0.5))
    assert (fit.ci_low, fit.ci_high) == tuple(fit.ci())
    assert (fit.k, fit.k_points, fit.k_bounds, fit.n_studies) == (5, 2, 3, 5)
    assert "k = 5 (2 points, 3 bounds)" in fit.summary()
    assert "3 of 5 rows are bounds" in fit.summary()
    assert np.isnan([fit.Q, fit.Q_p]).all()


def test_tau2_test_is_half_a_chi2():
    fit = random_effects_bounded(table((0.0, 0.02), (0.9, 0.02), (0.4, 0.02), bound("ns", 60, 60)))
    held = optimize.minimize_scalar(lambda m: -value(fit.rows, np.array([[m, 0.0]]))[0], bounds=(-1, 2))
    assert_allclose(fit.tau2_p, stats.chi2.sf(2 * (fit.loglik + held.fun), 1) / 2, rtol=1e-6)
    assert random_effects_bounded(table((0.3, 0.1), (0.31, 0.1))).tau2_p == 1


# Many tables at once


@QUICK
@given(st.lists(tables(), min_size=2, max_size=4), st.randoms())
def test_batched_equals_single(frames, random):
    k = max(map(len, frames))
    padded = [f.reindex(range(k)) for f in frames]
    mask = np.array([[i < len(f) for i in range(k)] for f in frames])
    fits = batch_bounded.random_effects_bounded(
        *(np.array([f[c].to_numpy() for f in padded]) for c in COLUMNS), mask=mask
    )
    low, high = fits.ci()
    for i, frame in enumerate(frames):
        one = random_effects_bounded(frame)
        assert_allclose(
            (fits.estimate[i], fits.se[i], fits.tau2[i], fits.loglik[i]),
            (one.estimate, one.se, one.tau2, one.loglik),
            **ITERATIVE,
        )
        assert_allclose((low[i], high[i]), one.ci(), rtol=1e-7, atol=1e-7)
        assert_allclose(fits.p_value[i], one.p_value, rtol=1e-6, atol=1e-9)
        assert (fits.k_points[i], fits.k_bounds[i]) == (one.k_points, one.k_bounds)


def test_all_subsets_equal_single_fits_and_say_where_there_is_none():
    subsets = (np.arange(2**5)[:, None] >> np.arange(5) & 1).astype(bool)
    fits = batch_bounded.random_effects_bounded(*arrays(MIXED), mask=subsets)
    for i, chosen in enumerate(subsets):
        try:
            one = random_effects_bounded(MIXED[chosen])
        except mm.DataError:
            assert not fits.ok[i]
            assert np.isnan([fits.estimate[i], fits.se[i], fits.tau2[i], fits.loglik[i], fits.ci_low[i]]).all()
            continue
        assert fits.ok[i]
        assert_allclose((fits.estimate[i], fits.tau2[i]), (one.estimate, one.tau2), **ITERATIVE)
    assert (~fits.ok).sum() == 2  # none, and the one-sided bound alone


def test_a_row_that_does_not_count_adds_nothing_far_out():
    # Far out the probability of a narrow interval is 0 and its logarithm infinite; the table without it has a value.
    frame = table((0.0, INF, 7, 66), (-INF, 0.0, 14, 53), (0.0, INF, 73, 65), (0.1, 0.2, 40, 40))
    fits = batch_bounded.random_effects_bounded(*arrays(frame), mask=[[1, 1, 1, 0], [1, 1, 1, 1]])
    far = np.array([[-4e5, 1e36]])
    with np.errstate(all="ignore"):
        assert np.isfinite(value(fits.rows.take(np.array([0])), far)).all()
        assert np.isfinite(derivatives(fits.rows.take(np.array([0])), far).f).all()
    assert fits.ci()[0][0] == -INF  # the rows say a direction only, so that nothing bounds the mean below


def test_chunks_do_not_change_a_bit(monkeypatch):
    subsets = (np.arange(1, 2**5)[:, None] >> np.arange(5) & 1).astype(bool)
    whole = batch_bounded.random_effects_bounded(*arrays(MIXED), mask=subsets)
    monkeypatch.setattr(batch_bounded, "_CHUNK", 15)
    pieces = batch_bounded.random_effects_bounded(*arrays(MIXED), mask=subsets)
    assert_allclose(pieces.estimate, whole.estimate, rtol=1e-12, atol=1e-14)
    assert_allclose(pieces.ci_high, whole.ci_high, rtol=1e-9)


def test_weights_count_rows():
    weights = np.array([[2, 1, 0, 3, 1]])
    fits = batch_bounded.random_effects_bounded(*arrays(MIXED), weights=weights)
    one = random_effects_bounded(MIXED.iloc[np.repeat(range(5), weights[0])])
    assert_allclose((fits.estimate[0], fits.tau2[0], fits.loglik[0]), (one.estimate, one.tau2, one.loglik), **ITERATIVE)
    assert fits.k[0] == 7


def test_batched_design_equals_single():
    frame = grouped()
    x = np.column_stack([np.ones(6), frame["group"] == "b"])
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1], [1, 1, 1, 0, 1, 0]])
    fits = batch_bounded.random_effects_bounded(*arrays(frame), mask=mask, X=x)
    low, _ = fits.ci()
    for i in (0, 1):
        one = random_effects_bounded(frame[mask[i] == 1], "group")
        assert_allclose(fits.estimate[i], one.beta, **ITERATIVE)
        assert_allclose(fits.se[i], one.coefficients["se"], rtol=1e-7)
        assert_allclose(low[i], one.coefficients["ci_low"], rtol=1e-6)
        assert_allclose(fits.p_value[i], one.coefficients["p_value"], rtol=1e-6)
    assert fits.ok.tolist() == [True, True, False]
    assert np.isnan(fits.estimate[2]).all()


def test_one_sided_contradiction_has_no_maximum_in_a_batch_either():
    frame = table((0.5, INF, 40, 40), (-INF, -0.5, 40, 40), (-INF, 0.9, 40, 40))
    fits = batch_bounded.random_effects_bounded(*arrays(frame), mask=[[1, 1, 0], [1, 0, 1]])
    assert fits.ok.tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vi": [-1.0, 0.05, NAN, NAN, NAN]}, r"table 1, row 1 has yi = 0.31, vi = -1"),
        ({"yi_high": [NAN, NAN, -5.0, INF, 0.6]}, "table 1, row 3 has"),
        ({"n1i": [40, 40, 1, 30, 30]}, "arms of at least 2"),
        ({"n2i": [40, 40]}, r"same number of columns.*\(1, 2\)"),
        ({"weights": [1.0, 1, 1, 1, -1]}, "not negative"),
    ],
)
def test_bad_arrays_are_named(change, message):
    given_arrays = dict(zip(COLUMNS, arrays(MIXED), strict=True)) | change
    with pytest.raises(mm.DataError, match=message):
        batch_bounded.random_effects_bounded(**given_arrays)


def test_a_second_hill_of_the_profile_of_tau2_is_found():
    # With disorder as moderator the bundled evidence has one maximum at tau2 = 0 and a higher one near 0.0096.
    effects = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    fit = mm.random_effects_bounded(effects, "disorder")
    held = np.array([*np.zeros(len(fit.beta), dtype=bool), True])
    for tau2 in [0.0, *np.geomspace(1e-4, 1.0, 60)]:
        found = maximise(fit.rows, np.append(fit.beta, tau2)[None], held)
        assert found.f[0] <= fit.loglik + 1e-9
    assert fit.tau2 > 0.009


def test_an_end_of_the_interval_lies_on_the_higher_hill_of_tau2():
    # Six verdicts of no difference and one of a difference. Below the mean the likelihood has one hill at tau2 = 0
    # and, near the end of the interval, a higher one at 0.018.
    frame = table(
        (-0.43, 0.43, 42, 42), (-0.66, 0.66, 18, 18), (0.63, INF, 20, 20), (-0.29, 0.29, 85, 101),
        (-0.18, 0.18, 231, 249), (-0.38, 0.38, 54, 54), (-0.43, 0.43, 42, 43),
    )  # fmt: skip
    fit = random_effects_bounded(frame)
    assert fit.tau2 == 0
    tau2 = np.append(0.0, np.geomspace(1e-4, 1.0, 20001))
    top = max(log_likelihood_at(frame, fit.ci_low, tau2))
    assert_allclose(2 * (fit.loglik - top), stats.chi2.ppf(0.95, 1), rtol=1e-6)
    low, _ = batch_bounded.random_effects_bounded(*arrays(frame)).ci()
    assert_allclose(low, fit.ci_low, rtol=1e-7)
