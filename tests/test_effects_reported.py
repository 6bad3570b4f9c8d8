"""From reported statistics to g, and from verdicts to bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.effects.bounds import bound, significance_threshold
from metamiq.effects.continuous import hedges_g
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.reported import g_from_f, g_from_p, g_from_r, g_from_t
from metamiq.effects.reported_estimates import g_from_ci, g_from_d, g_from_or, g_from_se
from metamiq.errors import DataError

CLOSED_FORM = {"rtol": 1e-10}  # the same arithmetic in another order
PRINTED_10 = {"rtol": 1e-9}  # other software's value at the ten digits it printed
quick = settings(max_examples=40, deadline=None)


def test_g_from_t_and_d_as_metafor():
    """escalc('SMD', ti=): t 2.5 with 20 and 22 people; di= 0.8 with the same."""
    t, d = g_from_t(2.5, 20, 22), g_from_d(0.8, 20, 22)
    assert_allclose([t.yi, t.vi], [0.7578041675, 0.1022910592], **PRINTED_10)
    assert_allclose([d.yi, d.vi], [0.7848897555, 0.102788497], **PRINTED_10)


def test_merlo_2010_is_not_the_shortcut():
    """t(14) = 2.51 with 8 and 8: the abstract prints d = 1.34, which is 2t / sqrt(df); the exact d is 1.255."""
    g = g_from_t(2.51, 8, 8, dof=14)
    assert_allclose(g.yi / small_sample_correction(14), 2.51 / 2, **CLOSED_FORM)
    assert g.route == "t statistic and arm sizes"


groups = st.tuples(
    st.floats(-3, 3), st.floats(0.5, 5), st.integers(2, 200), st.floats(-3, 3), st.floats(0.5, 5), st.integers(2, 200)
)


@quick
@given(groups, st.sampled_from(["LS", "LS2", "UB"]))
def test_every_route_leads_to_the_g_of_the_means(x, vtype):
    m1, sd1, n1, m2, sd2, n2 = x
    truth = hedges_g(*x, vtype=vtype)
    test = stats.ttest_ind_from_stats(m1, sd1, n1, m2, sd2, n2)
    t, p = test.statistic, test.pvalue
    side = "mi" if t >= 0 else "cbt"
    m, d = n1 + n2 - 2, hedges_g(*x, correction="none").yi
    routes = [
        g_from_t(t, n1, n2, dof=m, vtype=vtype),
        g_from_f(t**2, n1, n2, side, dof2=m, vtype=vtype),
        g_from_d(d, n1, n2, vtype=vtype),
        g_from_d(truth.yi, n1, n2, reported="g", vtype=vtype),
        g_from_r(t / np.sqrt(t**2 + m), n1, n2, vtype=vtype),
    ]
    if abs(m1 - m2) > 1e-3:
        se = (m1 - m2) / t
        half = stats.t.ppf(0.975, m) * se
        routes += [
            g_from_se(m1 - m2, se, n1, n2, scale="md", vtype=vtype),
            g_from_ci(m1 - m2 - half, m1 - m2 + half, n1, n2, scale="md", vtype=vtype),
        ]
    if p > 1e-200 and abs(t) > 1e-3:
        routes.append(g_from_p(p, n1, n2, side, vtype=vtype))
    for route in routes:
        # t to p and back costs digits; the interval's limits are rounded numbers.
        assert_allclose([route.yi, route.vi], truth, rtol=1e-6, atol=1e-8)


def test_p_near_zero_keeps_its_digits():
    t = 30.0
    g = g_from_p(2 * stats.t.sf(t, 98), 50, 50, "cbt")
    assert_allclose(g.yi, -g_from_t(t, 50, 50).yi, rtol=1e-8)


def test_reported_precision_is_kept():
    assert_allclose(g_from_se(-0.151445806, 0.1743)[:2], [-0.151445806, 0.1743**2])
    J = small_sample_correction(38)
    assert_allclose(g_from_se(0.5, 0.2, 20, 20, scale="d")[:2], [J * 0.5, (J * 0.2) ** 2])
    ci = g_from_ci(0.1, 0.9, level=0.9)
    assert_allclose(ci[:2], [0.5, (0.4 / stats.norm.ppf(0.95)) ** 2])
    assert "90% confidence interval" in ci.route


def test_odds_ratio_on_the_logistic_scale():
    J, factor = small_sample_correction(98), np.sqrt(3) / np.pi
    g = g_from_or(2.0, 1.0, 4.0, 50, 50)
    se = np.log(4) / (2 * stats.norm.ppf(0.975))
    assert_allclose(g[:2], [J * np.log(2) * factor, (J * se * factor) ** 2], **CLOSED_FORM)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: g_from_t(2.0, 20, 20, dof=30), r"dof must be n1i \+ n2i - 2, but row 1 has dof 30, n1i 20, n2i 20"),
        (lambda: g_from_t(np.nan, 20, 20), "ti must be a finite number, but row 1 has no value"),
        (lambda: g_from_t(2.0, 1, 20), "n1i must be at least 2"),
        (lambda: g_from_f(4.0, 20, 20, "mi", dof1=2), "dof1 must be 1"),
        (lambda: g_from_f(-4.0, 20, 20, "mi"), "fi must be 0 or more"),
        (lambda: g_from_p(0.0, 20, 20, "mi"), "p_value must be above 0 and at most 1, but row 1 has 0"),
        (lambda: g_from_se(0.5, 0.0), "se must be greater than 0"),
        (lambda: g_from_se(0.5, 0.2, scale="md"), "n1i must be given"),
        (lambda: g_from_se(0.5, 0.2, 10, None, scale="d"), "n2i must be given"),
        (lambda: g_from_ci(0.9, 0.1), "ci_low must be below ci_high"),
        (lambda: g_from_ci(0.1, 0.9, estimate=1.5), "estimate must lie inside its interval"),
        (lambda: g_from_r(1.0, 20, 20), "ri must lie strictly between -1 and 1"),
        (lambda: g_from_or(5.0, 1.0, 4.0, 20, 20), "odds_ratio must lie inside its interval"),
        (lambda: g_from_t("two", 20, 20), "ti must hold numbers"),
    ],
)
def test_contradictions_are_data_errors(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: g_from_p(0.05, 20, 20, "control"),
        lambda: g_from_p(0.05, 20, 20, 0),
        lambda: g_from_t(2.0, 20, 20, vtype="AV"),
        lambda: g_from_se(0.5, 0.2, scale="raw"),
        lambda: g_from_d(0.5, 20, 20, reported="r"),
    ],
)
def test_wrong_options_are_value_errors(call):
    with pytest.raises(ValueError, match="must be"):
        call()


def test_bounds_by_hand():
    """20 and 20 people: t(38) = 2.0244, J = 0.98011, sqrt(1/10) = 0.31623, product 0.62744."""
    c = 0.98011040 * 2.02439416 * 0.31622777
    assert_allclose(significance_threshold(20, 20), c, rtol=1e-7)
    assert_allclose(bound("significant", "mi", 20, 20), [c, np.inf], rtol=1e-7)
    assert_allclose(bound("significant", "cbt", 20, 20), [-np.inf, -c], rtol=1e-7)
    assert_allclose(bound("nonsignificant", "mi", 20, 20), [-c, c], rtol=1e-7)
    assert bound("direction", "mi") == (0, np.inf)
    assert bound("direction", "cbt", 20, 20) == (-np.inf, 0)


def test_bounds_of_several_trials_at_once():
    low, high = bound(
        ["significant", "nonsignificant", "direction"], ["cbt", None, "mi"], [20, 42, np.nan], [20, 43, np.nan]
    )
    for i, one in enumerate(
        [bound("significant", "cbt", 20, 20), bound("nonsignificant", None, 42, 43), bound("direction", "mi")]
    ):
        assert (low[i], high[i]) == one


@quick
@given(st.integers(2, 300), st.integers(2, 300), st.sampled_from([0.9, 0.95, 0.99]))
def test_a_result_just_significant_lies_on_the_bound(n1, n2, level):
    low, high = bound("nonsignificant", None, n1, n2, level)
    assert low == -high
    assert bound("significant", "mi", n1, n2, level).yi_low == high
    assert bound("significant", "cbt", n1, n2, level).yi_high == low
    assert_allclose(g_from_p(1 - level, n1, n2, "mi").yi, high, rtol=1e-9)


def test_bounds_refuse_what_they_cannot_know():
    with pytest.raises(DataError, match="n1i must be a finite number"):
        bound("nonsignificant", None)
    with pytest.raises(DataError, match="n2i must be at least 2, but row 1 has 1"):
        bound("significant", "mi", 20, 1)
    with pytest.raises(ValueError, match="report must be one of 'direction', 'nonsignificant', 'significant', not 'p'"):
        bound("p", "mi", 20, 20)
    with pytest.raises(ValueError, match="favours must be 'mi'"):
        bound("significant", None, 20, 20)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bound("significant", "mi", 20, 20, level=95)
