"""Sums of tables that share their yi keep their digits, whichever rows count. Values here are made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.pooling.shared_mean import LOST, SharedMeanFit
from metamiq.pooling.wls import fit_tau2, tables

# A sum of squares may lose the digits of LOST before it is summed anew.
DIGITS = {"rtol": 1e-15 / LOST * 10, "atol": 0.0}
NAMES = ("a", "mu", "s2", "s3", "q1", "q2", "q3")


def by_residuals(y: np.ndarray, w: np.ndarray, n: np.ndarray) -> dict[str, float]:
    """The sums of one table, in more digits, from their definitions."""
    y, w, n = (np.asarray(a, dtype=np.longdouble) for a in (y, w, n))
    a = (n * w).sum()
    mu = (n * w * y).sum() / a
    r = y - mu
    powers = {f"q{p}": (n * w**p * r**2).sum() for p in (1, 2, 3)}
    return {"a": a, "mu": mu, "s2": (n * w**2).sum(), "s3": (n * w**3).sum(), **powers, "rss": (n * r**2).sum()}


def compare(y: np.ndarray, v: np.ndarray, n: np.ndarray, tau2: np.ndarray) -> None:
    fit = fit_tau2(tables(y, v, weights=n), tau2)
    assert isinstance(fit, SharedMeanFit)
    for i, row in enumerate(n):
        expected = by_residuals(y, 1.0 / (v + tau2[i]), row)
        size = float(np.abs(y[row > 0]).max())
        for name in NAMES:
            # mu near 0 is a difference of larger numbers, whatever the way it is summed.
            slack = {"atol": 1e-14 * size} if name == "mu" else {"atol": 1e-28 * size**2 * float(expected["a"]) ** 3}
            np.testing.assert_allclose(getattr(fit, name)[i], float(expected[name]), err_msg=name, **DIGITS | slack)
        np.testing.assert_allclose(fit.rss()[i], float(expected["rss"]), **DIGITS | {"atol": 1e-28 * size**2})


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
def test_sums_are_those_of_residuals(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    y, v = rng.normal(0.5, 0.4, k), 10.0 ** rng.uniform(-3, 1, k)
    n = rng.integers(0, 3, (6, k)).astype(float)
    n[:, :2] = 1.0
    compare(y, v, n, rng.exponential(0.1, 6))


@pytest.mark.parametrize("far", [1e2, 1e4, 1e8])
def test_a_heavy_row_far_away_that_does_not_count(far: float) -> None:
    # It draws the centre to itself, 1e8 times as far from the rows that count as these are from one another.
    y, v = np.array([far, 0.1, 0.4, 0.2]), np.array([1e-6, 0.04, 0.05, 0.03])
    n = np.array([[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    compare(y, v, n, np.array([0.0, 0.02, 0.1]))


def test_rows_that_are_all_alike_have_no_spread() -> None:
    y, v = np.array([0.3, 0.3, 0.3, 9.0]), np.array([0.04, 0.05, 0.03, 0.02])
    fit = fit_tau2(tables(y, v, weights=[[1.0, 1, 1, 0], [1, 0, 0, 0]]), np.zeros(2))
    np.testing.assert_allclose(fit.q1, 0.0, atol=1e-30)  # the square of a rounding
