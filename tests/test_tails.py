import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.tails import chi2_sf, critical_value, f_sf, two_sided_p


@pytest.mark.parametrize("dof", [1, 2.5, 9, 1000])
def test_t_tail_and_quantile_match_scipy_stats(dof):
    assert_allclose(two_sided_p([-3.2, 0.0, 1.1], dof), 2 * stats.t.sf([3.2, 0.0, 1.1], dof), rtol=1e-12)
    assert_allclose(critical_value(0.9, dof), stats.t.ppf(0.95, dof), rtol=1e-12)


def test_infinite_dof_is_the_normal():
    assert_allclose(two_sided_p([1.0, 2.0], [np.inf, 5.0]), [2 * stats.norm.sf(1), 2 * stats.t.sf(2, 5)])
    assert_allclose(critical_value(0.95, [np.inf, 3.0]), [stats.norm.ppf(0.975), stats.t.ppf(0.975, 3)])
    assert critical_value(0.95).shape == ()


def test_tails_keep_precision_far_out():
    assert two_sided_p(30.0) > 0
    assert_allclose(two_sided_p(30.0), 2 * stats.norm.sf(30.0), rtol=1e-10)


def test_chi2_and_f():
    assert_allclose(chi2_sf([3.0, 9.0], [2, 4]), stats.chi2.sf([3.0, 9.0], [2, 4]), rtol=1e-12)
    assert np.isnan(chi2_sf(0.0, 0))
    assert_allclose(f_sf(2.5, 3, 7), stats.f.sf(2.5, 3, 7), rtol=1e-12)
