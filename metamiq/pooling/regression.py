"""Moderators of the effect: meta-regression, and a screen of several moderators."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.pooling import batch, tau2
from metamiq.pooling.design import design_matrix
from metamiq.pooling.models import source_of
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array, tables


def meta_regression(
    effects: pd.DataFrame, formula: str, *, method: str = "REML", test: str = "knha", level: float = 0.95
) -> MetaRegression:
    r"""Mixed-effects meta-regression: :math:`y_i \sim N(x_i'\beta, v_i + \tau^2)`.

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi`, the moderators, and `study` (or `trial_id`) where there is one.
    formula : str
        Moderators, right-hand side only: ``"disorder + mi_sessions"``. Text columns are factors compared with their
        first level in sorted order; see `metamiq.pooling.design.design_matrix`.
    method, test, level : str, str, float
        As in `random_effects`; "knha" refers coefficients to t(k - p) and the omnibus test to F.

    Returns
    -------
    MetaRegression
        Rows without a moderator are left out and named in `omitted`.

    Raises
    ------
    DataError
        If columns are not linearly independent, or fewer than p + 1 rows remain.

    References
    ----------
    Knapp & Hartung (2003) for "knha"; Viechtbauer (2005); Raudenbush (2009), R2.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> reg = meta_regression(es, "dose")
    >>> print(f"{reg.coefficients.loc['dose', 'estimate']:.3f}, p = {reg.QM_p:.4f}")
    0.231, p = 0.0069
    """
    batch.check_choices(method, test, level)
    source_of(effects, None, None)  # yi and vi checked on the whole table, so that no fault hides behind a moderator
    design = design_matrix(formula, effects)
    used, t0 = source_of(effects.iloc[design.rows], None, None)
    p = len(design.names)
    if len(design.rows) <= p:
        raise DataError(
            f"A model with {p} coefficients needs at least {p + 1} effect sizes with every moderator, but "
            f"{len(design.rows)} have {formula!r}. Use fewer moderators."
        )
    # On an orthonormal basis X R^-1 the sums of squares do not square the condition of the design, which is large for
    # calendar years and for moderators that nearly depend on each other.
    basis, R = np.linalg.qr(design.X)
    back = np.linalg.inv(R)
    c = batch.core(tables(used.yi, used.vi, basis), method, test)
    without = 0.0 if method == "FE" else float(tau2.estimate(t0, method)[0])
    labels = source_of(effects, None, None)[0].labels()
    return MetaRegression(
        beta=frozen_copy(back @ c.beta[0]),
        root=frozen_copy(back @ _root(c.cov[0])),
        dof=None if test == "z" else float(c.dof[0]),
        tau2=float(c.tau2[0]),
        tau2_without=without,
        QE=float(c.Q[0]),
        method=method,
        test=test,
        level=level,
        source=used,
        design=design,
        omitted=tuple(labels[i] for i in design.omitted),
    )


def _root(cov: Array) -> Array:
    """A with A A' = cov; zero or NaN where that is."""
    try:
        return np.asarray(np.linalg.cholesky(cov))
    except np.linalg.LinAlgError:
        if not np.isfinite(cov).all():
            return cov
        values, vectors = np.linalg.eigh(cov)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def screen_moderators(
    effects: pd.DataFrame,
    moderators: list[str],
    *,
    method: str = "REML",
    test: str = "knha",
    adjust: str = "holm",
) -> pd.DataFrame:
    """One meta-regression per moderator, with p-values adjusted for their number.

    Parameters
    ----------
    effects, method, test
        As in `meta_regression`.
    moderators : list of str
        Formulas, each fitted alone.
    adjust : str
        A method of `statsmodels.stats.multitest.multipletests`: "holm", "bonferroni", "fdr_bh" ...

    Returns
    -------
    DataFrame
        One row per moderator: k, QM, QM_df, p_value, p_adjusted, R2, tau2.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3], "year": [2001, 2009, 2004, 2012, 2005]})
    >>> table = screen_moderators(es, ["dose", "year"])
    >>> print([f"{p:.3f}" for p in table["p_adjusted"]])
    ['0.014', '0.837']
    """
    from statsmodels.stats.multitest import multipletests

    if isinstance(moderators, str) or not moderators:
        raise ValueError(f"moderators must be a list of at least one formula, not {moderators!r}.")
    rows = []
    for formula in moderators:
        reg = meta_regression(effects, formula, method=method, test=test)
        rows.append((reg.k, reg.QM, reg.QM_df, reg.QM_p, reg.R2, reg.tau2))
    table = pd.DataFrame(
        rows, columns=["k", "QM", "QM_df", "p_value", "R2", "tau2"], index=pd.Index(moderators, name="moderator")
    )
    table.insert(4, "p_adjusted", multipletests(table["p_value"], method=adjust)[1])
    return table
