"""Traces of P against exact fractions. All tables here are synthetic."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from metamiq.pooling import batch
from metamiq.pooling.tau2 import general_q, standard_error
from metamiq.pooling.wls import fixed_effect_fit, tables

EXACT = {"rtol": 1e-9}  # floats against fractions, where plain differences keep from no to ten digits


def solved(A, B):
    """A^-1 B in fractions, by elimination."""
    rows = [list(a) + list(b) for a, b in zip(A, B, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [a / rows[i][i] for a in rows[i]]
        for r in range(len(rows)):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[len(A) :] for row in rows]


def exact_P(X, v):
    x = [[Fraction(float(a)) for a in row] for row in X]
    w = [1 / Fraction(float(a)) for a in v]
    k, p = range(len(x)), range(len(x[0]))
    A = [[sum(w[i] * x[i][a] * x[i][b] for i in k) for b in p] for a in p]
    H = solved(A, [[w[i] * x[i][a] for i in k] for a in p])
    return [[(w[i] if i == j else 0) - w[i] * sum(x[i][a] * H[a][j] for a in p) for j in k] for i in k]


def hard_tables():
    """Few rows, variances over eight orders: p rows fit their own coefficients."""
    rng = np.random.default_rng(20261123)
    for p in (1, 2, 3, 4):
        for extra in (1, 2, 4):
            k = p + extra
            X = np.column_stack([np.ones(k), rng.normal(size=(k, p - 1)), np.zeros((k, 0))])
            yield X, np.round(rng.normal(size=k), 3), 10.0 ** rng.uniform(-8, 0, k)
    yield (
        np.array([[1.0, 2009], [1, 2011], [1, 2014], [1, 2020]]),
        np.array([0.1, 0.5, 0.2, 0.9]),
        np.geomspace(1e-9, 1, 4),
    )


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("X", "y", "v"), list(hard_tables()))
def test_traces_are_those_of_exact_fractions(X, y, v, twice):
    k, p = X.shape
    n = np.array([2] * (k - 1) + [1]) if twice else np.ones(k, dtype=int)
    rows = np.repeat(np.arange(k), n)
    P = exact_P(X[rows], v[rows])
    d = np.linspace(0.5, 2.0, k)
    f = fixed_effect_fit(tables(y, v, None if p == 1 else X, weights=n if twice else None))
    each = range(len(rows))
    D = [Fraction(float(d[i])) for i in rows]
    assert_allclose(f.trP(), float(sum(P[i][i] for i in each)), **EXACT)
    assert_allclose(f.trPP(), float(sum(P[i][j] ** 2 for i in each for j in each)), **EXACT)
    assert_allclose(f.trPD(d[None]), float(sum(P[i][i] * D[i] for i in each)), **EXACT)
    assert_allclose(f.trPDPD(d[None]), float(sum(P[i][j] ** 2 * D[i] * D[j] for i in each for j in each)), **EXACT)


@pytest.mark.parametrize(("X", "y", "v"), list(hard_tables()))
def test_dersimonian_laird_and_I2_keep_their_digits(X, y, v):
    k, p = X.shape
    P = exact_P(X, v)
    Y = [Fraction(float(a)) for a in y]
    Q = sum(Y[i] * P[i][j] * Y[j] for i in range(k) for j in range(k))
    trace = sum(P[i][i] for i in range(k))
    tau2 = max((Q - (k - p)) / trace, 0)
    fits = batch.random_effects(y, v, X=X, method="DL", test="z")
    assert_allclose(fits.tau2, [float(tau2)], rtol=1e-8)
    assert_allclose(fits.I2, [float(100 * tau2 / (tau2 + (k - p) / trace))], rtol=1e-8)


def test_many_tables_at_once_are_mended_one_by_one():
    rng = np.random.default_rng(1)
    v = np.where(rng.random((40, 6)) < 0.3, 1e-9, 1.0) * rng.uniform(0.5, 2, (40, 6))
    y, X = rng.normal(size=(40, 6)), np.column_stack([np.ones(6), np.arange(6.0)])
    many = fixed_effect_fit(tables(y, v, X))
    for i in range(40):
        one = fixed_effect_fit(tables(y[i], v[i], X))
        assert_allclose([many.trP()[i], many.trPP()[i]], [one.trP()[0], one.trPP()[0]], rtol=1e-9)


def test_standard_error_of_tau2_where_one_study_has_nearly_all_the_weight():
    # With two rows P is the matrix [1 -1; -1 1] / (v1 + v2): every trace is known.
    t = tables([0.0, 0.4], [1e-12, 0.02])
    assert_allclose(standard_error(t, "REML", np.zeros(1)), np.sqrt(2.0 / (2.0 / 0.02) ** 2), rtol=1e-9)


def test_general_q_with_one_great_weight():
    # Q_a = y'Py = 0.16 a1 a2 / (a1 + a2); E Q_a = (v1 + v2 + 2 tau2) a1 a2 / (a1 + a2).
    assert_allclose(general_q([0.0, 0.4], [0.02, 0.03], weights=[1e12, 1.0]), (0.16 - 0.05) / 2, rtol=1e-9)
