"""Many fits at once against one at a time, and one at a time against arithmetic written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.tau2 import METHODS

CLOSED_FORM = {"rtol": 1e-12}  # the same sums, with rows that count nothing between the terms
ITERATIVE = {"rtol": 1e-8}  # the same equation from another start

ITERATED = ("ML", "REML", "PM", "EB", "PMM")
NUMBERS = ("estimate", "se", "dof", "tau2", "Q", "Q_df", "I2", "H2", "k", "statistic", "p_value", "Q_p")
ENDS = ("ci_low", "ci_high", "pi_low", "pi_high")
TESTS = batch.TESTS


def invented(seed, size=12, k=9, p=1):
    """B tables of k rows, moderate variances, and a design of p columns."""
    rng = np.random.default_rng(seed)
    v = 10 ** rng.uniform(-2, 0.5, (size, k))
    y = rng.normal(size=(size, k)) * np.sqrt(v + rng.choice([0, 0.1, 2], (size, 1)))
    x = np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))])
    return rng, y, v, (None if p == 1 else x)


def assert_same(many, i, one, method):
    """Table i of `many` against the only table of `one`."""
    tolerance = ITERATIVE if method in ITERATED else CLOSED_FORM
    for name in NUMBERS + ENDS:
        # An estimate, a statistic or tau2 may be near 0.
        atol = tolerance["rtol"] * (1.0 if name in ("statistic", "I2", "estimate", *ENDS) else 1e-3)
        ours, theirs = getattr(many, name)[i], getattr(one, name)[0]
        assert_allclose(ours, theirs, **tolerance, atol=atol, err_msg=f"{name} of table {i}, {method}")


@pytest.mark.parametrize("method", batch.METHODS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_masked_tables_equal_their_rows_alone(method, p):
    rng, y, v, x = invented(p, p=p)
    mask = rng.random(y.shape) < 0.8
    mask[:, : p + 2] = True
    holes_y, holes_v = np.where(mask, y, np.nan), np.where(mask, v, -1.0)
    many = batch.random_effects(holes_y, holes_v, mask, x, method=method)
    for i, rows in enumerate(mask):
        one = batch.random_effects(y[i, rows], v[i, rows], X=None if x is None else x[rows], method=method)
        assert_same(many, i, one, method)


@pytest.mark.parametrize("method", batch.METHODS)
@pytest.mark.parametrize("p", [1, 2])
def test_weights_repeat_rows(method, p):
    rng, y, v, x = invented(7, p=p)
    counts = rng.integers(0, 4, y.shape)
    counts[:, : p + 2] = np.maximum(counts[:, : p + 2], 1)
    many = batch.random_effects(y, v, X=x, weights=counts, method=method)
    for i, n in enumerate(counts):
        again = None if x is None else np.repeat(x, n, axis=0)
        one = batch.random_effects(np.repeat(y[i], n), np.repeat(v[i], n), X=again, method=method)
        assert_same(many, i, one, method)


@pytest.mark.parametrize("method", batch.METHODS)
@pytest.mark.parametrize("shared", [True, False])
def test_one_table_shared_by_many_masks(method, shared):
    """All subsets of one table, the table given once or written out for every subset."""
    _, y, v, _ = invented(11, size=1, k=6)
    mask = ((np.arange(1, 64)[:, None] >> np.arange(6)) & 1).astype(bool)
    shape = (1, 6) if shared else (63, 6)
    many = batch.random_effects(np.broadcast_to(y, shape), np.broadcast_to(v, shape), mask, method=method)
    assert_array_equal(many.k, mask.sum(axis=1))
    for i, rows in enumerate(mask):
        assert_same(many, i, batch.random_effects(y[0, rows], v[0, rows], method=method), method)


@pytest.mark.parametrize("method", ["DL", "REML", "ML", "PM", "SJ", "FE"])
def test_a_design_of_its_own_for_every_table(method):
    rng, y, v, _ = invented(13)
    x = np.stack([np.column_stack([np.ones(9), rng.normal(size=(9, 2))]) for _ in y])
    many = batch.random_effects(y, v, X=x, method=method)
    assert many.estimate.shape == (12, 3)
    for i in range(12):
        assert_same(many, i, batch.random_effects(y[i], v[i], X=x[i], method=method), method)
        # The design is shared by permuted effects, too.
        shared = batch.random_effects(y, v, X=x[i], method=method)
        assert_same(shared, i, batch.random_effects(y[i], v[i], X=x[i], method=method), method)


def test_more_tables_than_one_chunk():
    _, y, v, _ = invented(17, size=5000, k=12)
    many = batch.random_effects(y, v)
    assert many.estimate.shape == (5000,)
    for i in (0, 1364, 1365, 1366, 4999):
        assert_same(many, i, batch.random_effects(y[i], v[i]), "REML")


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("method", ["FE", "DL", "REML"])
@pytest.mark.parametrize("p", [1, 3])
def test_standard_errors_and_intervals_written_out(test, method, p):
    _, y, v, x = invented(19, size=6, p=p)
    design = np.ones((9, 1)) if x is None else x
    fits = batch.random_effects(y, v, X=x, method=method, test=test, level=0.9)
    for i in range(6):
        w = 1 / (v[i] + fits.tau2[i])
        cov = np.linalg.inv(design.T @ (w[:, None] * design))
        beta = cov @ design.T @ (w * y[i])
        s2 = (w * (y[i] - design @ beta) ** 2).sum() / (9 - p)
        factor = {"z": 1.0, "t": 1.0, "knha": s2, "adhoc": max(s2, 1.0)}[test]
        se = np.sqrt(cov.diagonal() * factor)
        law = stats.norm if test == "z" else stats.t(9 - p)
        half = law.ppf(0.95)
        squeeze = (lambda a: a[0]) if p == 1 else (lambda a: a)
        assert_allclose(fits.estimate[i], squeeze(beta), rtol=1e-9, atol=1e-12)
        assert_allclose(fits.se[i], squeeze(se), rtol=1e-9)
        assert_allclose(fits.p_value[i], squeeze(2 * law.sf(np.abs(beta / se))), rtol=1e-7)
        assert_allclose(
            [fits.ci_low[i], fits.ci_high[i]], [squeeze(beta - half * se), squeeze(beta + half * se)], rtol=1e-8
        )
        spread = half * np.sqrt(se**2 + fits.tau2[i])
        assert_allclose([fits.pi_low[i], fits.pi_high[i]], [squeeze(beta - spread), squeeze(beta + spread)], rtol=1e-8)
    assert np.isinf(fits.dof).all() if test == "z" else (fits.dof == 9 - p).all()


def test_levels_are_computed_when_asked():
    _, y, v, _ = invented(23)
    fits = batch.random_effects(y, v, level=0.8)
    assert_allclose(fits.ci(0.95), batch.random_effects(y, v, level=0.95).ci())
    assert_allclose(fits.pi(0.95), batch.random_effects(y, v, level=0.95).pi())
    assert (fits.ci(0.95)[0] < fits.ci_low).all()


def test_i2_of_a_fixed_effect_model_comes_from_q():
    _, y, v, _ = invented(29)
    fits = batch.random_effects(y, v, method="FE")
    assert (fits.tau2 == 0).all()
    assert_allclose(fits.I2, 100 * np.maximum(fits.Q - 8, 0) / fits.Q, rtol=1e-12)
    assert_allclose(fits.H2, fits.Q / 8, rtol=1e-12)
    assert_allclose(fits.Q_p, stats.chi2.sf(fits.Q, 8), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("test", TESTS)
def test_tables_of_one_two_and_more_rows_together(method, test):
    y = np.array([[0.4, 9.0, 9.0], [0.4, 0.6, 9.0], [0.4, 0.6, 1.5]])
    v = np.full((3, 3), 0.04)
    fits = batch.random_effects(y, v, np.tri(3, dtype=bool), method=method, test=test)
    assert_array_equal(fits.k, [1, 2, 3])
    # One study: its own effect and sampling error, and nothing about the spread of effects.
    assert_allclose(fits.estimate[0], 0.4)
    for name in ("tau2", "I2", "H2", "Q_p"):
        assert np.isnan(getattr(fits, name)[0]), name
    assert_array_equal(np.isnan(fits.se)[0], test in ("knha", "adhoc"))
    if test == "z":
        assert_allclose(fits.se[0], 0.2)
        assert_allclose([fits.ci_low[0], fits.ci_high[0]], [0.4 - 1.959964 * 0.2, 0.4 + 1.959964 * 0.2], rtol=1e-6)
    else:
        assert np.isnan([fits.ci_low[0], fits.ci_high[0], fits.p_value[0]]).all()
    assert np.isfinite([fits.se[1:], fits.tau2[1:], fits.ci_low[1:]]).all()


def test_a_design_without_full_rank_spoils_its_own_table_only():
    _, y, v, _ = invented(31, size=2)
    good = np.column_stack([np.ones(9), np.arange(9.0)])
    x = np.stack([good, np.ones((9, 2))])
    for method in batch.METHODS:
        fits = batch.random_effects(y, v, X=x, method=method)
        assert np.isnan(fits.estimate[1]).all(), method
        assert np.isnan(fits.se[1]).all(), method
        assert_same(fits, 0, batch.random_effects(y[0], v[0], X=good, method=method), method)


@pytest.mark.parametrize("method", ["REML", "DL", "PM"])
def test_empty_and_saturated_tables_are_nan(method):
    y, v = np.ones((2, 3)), np.ones((2, 3))
    fits = batch.random_effects(y, v, np.array([[0, 0, 0], [1, 1, 1]], dtype=bool), method=method)
    assert np.isnan(fits.estimate[0])
    assert np.isnan(fits.se[0])
    assert fits.estimate[1] == 1
    saturated = batch.random_effects(y[:1, :2], v[:1, :2], X=np.array([[1.0, 0], [1, 1]]), method=method, test="z")
    assert_allclose(saturated.estimate, [[1, 0]], atol=1e-14)
    assert np.isnan(saturated.tau2).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(batch.METHODS), st.sampled_from(TESTS))
def test_the_order_of_tables_and_rows_does_not_matter(seed, method, test):
    rng, y, v, _ = invented(seed, size=5, k=6)
    many = batch.random_effects(y, v, method=method, test=test)
    tables, rows = rng.permutation(5), rng.permutation(6)
    again = batch.random_effects(y[tables][:, rows], v[tables][:, rows], method=method, test=test)
    for name in ("estimate", "se", "tau2", "Q", "I2"):
        expected = getattr(many, name)[tables]
        assert_allclose(getattr(again, name), expected, rtol=1e-7, atol=1e-9, err_msg=name)


def test_results_cannot_be_replaced():
    fits = batch.random_effects([0.1, 0.2], [0.1, 0.1])
    with pytest.raises(AttributeError):
        fits.estimate = 3


def test_messages():
    with pytest.raises(ValueError, match=r"method must be one of 'CA2', .*'SJ', not 'XX'"):
        batch.random_effects([0.1, 0.2], [0.1, 0.1], method="XX")
    with pytest.raises(ValueError, match=r"test must be one of 'adhoc', 'knha', 't', 'z', not 'hksj'"):
        batch.random_effects([0.1, 0.2], [0.1, 0.1], test="hksj")
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        batch.random_effects([0.1, 0.2], [0.1, 0.1], level=95)
    with pytest.raises(DataError, match="row 2 has yi = nan"):
        batch.random_effects([[0.1, 0.2], [0.1, np.nan]], [[0.1, 0.1], [0.1, 0.1]])
    with pytest.raises(DataError, match=r"row 1 has yi = 0\.1 and vi = -1"):
        batch.random_effects([0.1, 0.2], [-1, 0.1], np.array([[True, True], [False, True]]))
    with pytest.raises(DataError, match="the table is empty"):
        batch.random_effects([], [])


@pytest.mark.parametrize("method", METHODS)
def test_a_long_table_is_summed_in_blocks_with_the_same_result(method):
    rng = np.random.default_rng(11)
    v = 10.0 ** rng.uniform(-2, 0, 20_000)
    y = rng.normal(0.4, np.sqrt(v + 0.1))
    long = batch.random_effects(y, v, method=method)
    # A table with weights of one is not summed in blocks.
    plain = batch.random_effects(y, v, weights=np.ones((1, 20_000)), method=method)
    for name in ("estimate", "se", "tau2", "Q", "I2"):
        assert_allclose(getattr(long, name), getattr(plain, name), rtol=1e-9)


def test_tables_that_share_their_variances():
    rng = np.random.default_rng(5)
    v = rng.uniform(0.01, 0.5, 9)
    many_y = rng.normal(0, np.sqrt(v + 0.3), (40, 9))
    for method in METHODS:
        many = batch.random_effects(many_y, v, method=method)
        one = [batch.random_effects(y, v, method=method) for y in many_y]
        assert_allclose(many.tau2, [f.tau2[0] for f in one], rtol=1e-9, atol=1e-12)
        assert_allclose(many.estimate, [f.estimate[0] for f in one], rtol=1e-9)
