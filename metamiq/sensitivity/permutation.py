"""Permutation tests of a mean and of moderators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from metamiq.arguments import check_whole, generator
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import batch
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import Array
from metamiq.progress import track
from metamiq.sensitivity import readable
from metamiq.sensitivity.refits import CELLS
from metamiq.wording import fixed, in_short

_TIE = 1e-9  # two statistics this close (relative) came from the same arrangement of the same numbers


@dataclass(frozen=True, slots=True, eq=False)
class PermutationTest:
    """Permutation p-values beside those of the fitted model."""

    table: pd.DataFrame  # one row per coefficient (and "moderators"): statistic p_value p_permutation
    n: int  # arrangements compared
    exact: bool  # all there are, or a seeded sample
    fit: PooledEffect | MetaRegression = field(repr=False)
    seed: int

    @property
    def p_value(self) -> float:
        """Permutation p-value of the mean, or of all moderators together."""
        return float(self.table["p_permutation"].iloc[-1])

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        how = f"all {self.n:,} arrangements" if self.exact else f"{self.n:,} arrangements, seed {self.seed}"
        return f"Permutation test, {how}\n" + self.table.to_string(float_format=lambda x: fixed(x, 4))

    def ci(self, level: float = 0.95) -> Interval:
        """All values of the mean that the permutation test does not reject; for a pooled effect only.

        Raises
        ------
        DataError
            If the fit has moderators, or so few rows that no value can be rejected at this level.

        References
        ----------
        Follmann & Proschan (1999), Biometrics 55, 732-737.
        """
        fit = self.fit
        if not isinstance(fit, PooledEffect):
            raise DataError("A permutation interval is that of a mean, but the fit has moderators.")
        signs = np.concatenate(list(_signs(fit.k, self.n, self.exact, self.seed)))
        if self.exact and 2.0 / len(signs) > 1 - level:
            raise DataError(
                f"No value can be rejected at level {level:g} with {fit.k} rows: the smallest p-value is "
                f"{2 / len(signs):g}."
            )

        def excess(mean: float) -> float:
            yi = fit.source.yi - mean
            observed = _statistics(fit, yi[None])[0, 0]
            return _share(_statistics(fit, signs * yi)[:, 0], observed) - (1 - level)

        ends = []
        for side in (-1.0, 1.0):
            step = fit.se if np.isfinite(fit.se) and fit.se > 0 else float(np.sqrt(fit.source.vi.mean()))
            far = step
            for _ in range(60):
                if excess(fit.estimate + side * far) < 0:
                    break
                far *= 1.5
            else:
                raise ConvergenceError("The permutation interval must end somewhere, but no end was found.")
            # The p-value is a step function: bisection finds the step.
            end = optimize.bisect(lambda d, s=side: excess(fit.estimate + s * d), 0.0, far, xtol=1e-9 * far)
            ends.append(fit.estimate + side * end)
        return Interval(float(ends[0]), float(ends[1]))


def permutation_test(
    fit: PooledEffect | MetaRegression, n: int = 1000, seed: int = 0, *, exact: bool | None = None
) -> PermutationTest:
    """Test a mean by flipping signs, or moderators by exchanging their rows, with tau2 estimated each time.

    Parameters
    ----------
    fit : PooledEffect or MetaRegression
        The model whose statistics are compared.
    n : int
        Random arrangements when not all are used (the observed one is counted with them).
    seed : int
        Makes them repeatable.
    exact : bool, optional
        All arrangements: 2^k sign flips, or k! orders. By default when there are no more than `n`.

    Returns
    -------
    PermutationTest
        The p-value is the share of arrangements whose statistic is at least as far from 0 as the observed one.

    Raises
    ------
    DataError
        If `exact` is asked for and there are more than ten million arrangements.

    References
    ----------
    Follmann & Proschan (1999); Higgins & Thompson (2004) for meta-regression.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2, 0.4, 0.3], vi=[0.04, 0.02, 0.05, 0.03, 0.02, 0.04])
    >>> test = permutation_test(fit)
    >>> print(test.n, test.exact, f"{test.p_value:.5f}")
    64 True 0.03125
    """
    check_whole("n", n, least=1)
    readable.rows_of(fit, "A permutation test", at_least=1)
    arrangements = 2**fit.k if isinstance(fit, PooledEffect) else math.factorial(fit.k)
    exact = arrangements <= n if exact is None else exact
    if exact and arrangements > 10_000_000:
        raise DataError(f"{arrangements:.3g} arrangements are too many to try. Take a sample: exact=False, n=10_000.")
    total = arrangements if exact else n
    if isinstance(fit, PooledEffect):
        observed = _statistics(fit, fit.source.yi[None])
        pieces = (_statistics(fit, s * fit.source.yi) for s in _signs(fit.k, total, exact, seed))
        names = ["mean"]
    else:
        observed = _moderator_statistics(fit, np.arange(fit.k)[None])
        pieces = (_moderator_statistics(fit, order) for order in _orders(fit.k, total, exact, seed))
        names = [*fit.names, "moderators"]
    step = max(1, CELLS // fit.k)
    values = np.concatenate(list(track(pieces, -(-total // step), f"{total:,} permutations")))
    shares = [_share(values[:, j], observed[0, j]) for j in range(values.shape[1])]
    model_p = [fit.p_value] if isinstance(fit, PooledEffect) else [*fit.coefficients["p_value"], fit.QM_p]
    table = pd.DataFrame(
        {"statistic": observed[0], "p_value": model_p, "p_permutation": shares}, index=pd.Index(names, name="term")
    )
    return PermutationTest(table, len(values), exact, fit, seed)


def _share(values: Array, observed: float) -> float:
    size = np.abs(values)
    return float((size >= abs(observed) * (1 - _TIE)).mean())


def _signs(k: int, total: int, exact: bool, seed: int) -> Iterator[Array]:
    """Sign vectors of shape (b, k); the first is the observed one."""
    step = max(1, CELLS // k)
    rng = generator(seed)
    for start in range(0, total, step):
        stop = min(start + step, total)
        if exact:
            bits = (np.arange(start, stop)[:, None] >> np.arange(k)) & 1
        else:
            bits = rng.integers(0, 2, size=(stop - start, k))
            if start == 0:
                bits[0] = 0
        yield np.asarray(1.0 - 2.0 * bits, dtype=float)


def _orders(k: int, total: int, exact: bool, seed: int) -> Iterator[NDArray[np.intp]]:
    """Orders of the rows, shape (b, k); the first is the observed one."""
    step = max(1, CELLS // (8 * k))
    if exact:
        every = permutations(range(k))
        while chunk := list(islice(every, step)):
            yield np.array(chunk)
        return
    rng = generator(seed)
    for start in range(0, total, step):
        size = min(step, total - start)
        orders = rng.permuted(np.tile(np.arange(k), (size, 1)), axis=1)
        if start == 0:
            orders[0] = np.arange(k)
        yield orders


def _statistics(fit: PooledEffect, yi: Array) -> Array:
    fits = batch.random_effects(yi, fit.source.vi, method=fit.method, test=fit.test, level=fit.level)
    return fits.statistic[:, None]


def _moderator_statistics(fit: MetaRegression, orders: NDArray[np.intp]) -> Array:
    """Statistics of each coefficient, and the omnibus one, with the rows of the design in other orders."""
    # The effects in the inverse order meet the same rows of one design, which all tables then share.
    back = np.argsort(orders, axis=1)
    fits = batch.random_effects(
        fit.source.yi[back], fit.source.vi[back], X=fit.design.X, method=fit.method, test=fit.test, level=fit.level
    )
    columns = [j for j, name in enumerate(fit.names) if name != "Intercept"] or list(range(len(fit.names)))
    beta = fits.estimate[:, columns]
    cov = fits.cov[:, columns][:, :, columns]
    omnibus = np.einsum("bi,bi->b", beta, np.linalg.solve(cov, beta[..., None])[..., 0])
    if fit.dof is not None:
        omnibus = omnibus / len(columns)
    return np.column_stack([fits.statistic, omnibus])
