"""The effect in each subgroup, and whether subgroups differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect, check_columns
from metamiq.pooling.regression import meta_regression
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.tails import chi2_sf
from metamiq.wording import p_text, table_text

MOST_GROUPS = 1_000  # more would each be fitted, for minutes, and read by nobody
_COLUMNS = ("k", "n_studies", "estimate", "se", "ci_low", "ci_high", "p_value", "tau2", "I2", "Q", "Q_p")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subgroups:
    """One mean per subgroup and the test of their difference."""

    by: str
    table: pd.DataFrame  # one row per subgroup
    Q_between: float
    Q_df: float
    Q_p: float
    common_tau2: bool
    tau2: float  # the common one, NaN when separate
    fits: dict[str, PooledEffect] = field(repr=False)
    regression: MetaRegression | None  # the equivalent model, with a common tau2
    single: tuple[str, ...]  # subgroups of one row: no tau2 of their own, not in Q_between
    omitted: tuple[str, ...]  # rows whose subgroup is unknown

    def __repr__(self) -> str:
        return f"Subgroups(by {self.by}: {', '.join(map(str, self.table.index))})"

    @property
    def Q_df_error(self) -> float:
        """Second degrees of freedom where `Q_between` is an F (a common tau2 and no normal test); else infinite."""
        reg = self.regression
        return np.inf if reg is None or reg.dof is None else float(reg.dof)

    def to_frame(self) -> pd.DataFrame:
        """The table of subgroups."""
        return self.table.copy()

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        kind = f"common tau2 = {self.tau2:.4f}" if self.common_tau2 else "tau2 of its own in each subgroup"
        statistic = f"Q({self.Q_df:g})" if np.isinf(self.Q_df_error) else f"F({self.Q_df:g}, {self.Q_df_error:g})"
        how = self.regression or next(iter(self.fits.values()))
        lines = [
            f"Subgroups by {self.by} ({how.method}, test {how.test}), {kind}",
            table_text(self.table),
            f"between subgroups: {statistic} = {self.Q_between:.3f}, {p_text(self.Q_p, 4)}",
        ]
        if self.single:
            lines.append(
                f"one row only, not in the test: {', '.join(self.single)} (common_tau2=True would include them)"
            )
        narrow = [name for name, fit in self.fits.items() if fit.is_narrower_than_common]
        if narrow:
            which = ", ".join(narrow)
            lines.append(
                f"Hartung-Knapp interval narrower than that of one common effect (test adhoc avoids it): {which}"
            )
        if self.omitted:
            lines.append(f"left out, {self.by} unknown: {', '.join(self.omitted)}")
        return "\n".join(lines)


def subgroups(
    effects: pd.DataFrame,
    by: str,
    *,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
    common_tau2: bool = False,
    pi_method: str = "test",
) -> Subgroups:
    r"""Mean effect in each subgroup, and Q between them.

    With separate tau2, :math:`Q_B = \sum_g (\hat\mu_g - \bar\mu)^2 / se_g^2`, chi-squared with (groups - 1) degrees
    of freedom, :math:`\bar\mu` the mean of the group means weighted by :math:`1 / se_g^2`. With a common tau2 it is
    the omnibus test of the meta-regression on `by` (an F for test "knha", "t" and "adhoc").

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi` and the column `by`.
    by : str
        Column that names the subgroup.
    method, test, level, pi_method : str, str, float, str
        As in `random_effects`.
    common_tau2 : bool
        One tau2 for all subgroups, the better choice when they are small.

    Returns
    -------
    Subgroups
        `table` has one row per subgroup, sorted by name. A subgroup of one row has no tau2 of its own (NaN).

    Raises
    ------
    DataError
        If `by` is not a column, or fewer than two or more than 1,000 subgroups have rows.

    References
    ----------
    Borenstein et al. (2009), chapter 19; Rubio-Aparicio et al. (2020) on separate and common tau2.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "disorder": ["GAD", "OCD", "OCD", "GAD", "OCD"]})
    >>> sub = subgroups(es, "disorder")
    >>> print(f"Q = {sub.Q_between:.2f}, p = {sub.Q_p:.4f}")
    Q = 7.99, p = 0.0047
    """
    check_columns(effects)
    if not isinstance(by, str):
        raise ValueError(f"by must be the name of one column, not {by!r}.")
    if by not in effects.columns:
        raise DataError(
            f"by must be a column of the table, but {by!r} is not among {', '.join(sorted(map(str, effects.columns)))}."
        )
    known = effects[by].notna().to_numpy()
    label = next((c for c in ("study", "trial_id", "label") if c in effects), None)
    omitted = tuple(str(effects[label].iloc[i]) if label else f"row {i + 1}" for i in np.flatnonzero(~known))
    used = effects.loc[known]
    names = used[by].astype(str)
    groups = sorted(names.unique())
    if len(groups) < 2:
        raise DataError(f"Subgroups by {by!r} need at least two groups with rows, but there is {len(groups)}.")
    if len(groups) > MOST_GROUPS:
        raise DataError(
            f"Subgroups must be at most {MOST_GROUPS:,}, but {by!r} names {len(groups):,}. Choose a column with fewer "
            "values."
        )
    if common_tau2:
        reg = meta_regression(
            used.assign(subgroup=names.astype("category")), "subgroup", method=method, test=test, level=level
        )
        fits = {
            g: random_effects(
                used.loc[(names == g).to_numpy()],
                method=method,
                test=_plain(test),
                level=level,
                tau2=reg.tau2,
                pi_method=pi_method,
            )
            for g in groups
        }
        means = _common_means(reg, groups)
        table = _table(fits).assign(**{c: means[c].to_numpy() for c in means.columns})
        return Subgroups(
            by=by,
            table=table.rename_axis(by),
            Q_between=reg.QM,
            Q_df=reg.QM_df,
            Q_p=reg.QM_p,
            common_tau2=True,
            tau2=reg.tau2,
            fits=fits,
            regression=reg,
            single=(),
            omitted=omitted,
        )
    own: dict[str, Any] = {"method": method, "test": test, "level": level, "pi_method": pi_method}
    fits = {g: random_effects(used.loc[(names == g).to_numpy()], **own) for g in groups}
    single = tuple(g for g in groups if fits[g].k == 1)
    estimate = np.array([fits[g].estimate for g in groups if fits[g].k > 1])
    se = np.array([fits[g].se for g in groups if fits[g].k > 1])
    dof = len(se) - 1
    with np.errstate(divide="ignore", invalid="ignore"):  # a group without any spread has se 0 under Hartung-Knapp
        w = se**-2.0
        q = float((w * (estimate - (w @ estimate) / w.sum()) ** 2).sum()) if dof > 0 else np.nan
    return Subgroups(
        by=by,
        table=_table(fits).rename_axis(by),
        Q_between=q,
        Q_df=max(dof, 0),
        Q_p=float(chi2_sf(q, dof)) if dof > 0 else np.nan,
        common_tau2=False,
        tau2=np.nan,
        fits=fits,
        regression=None,
        single=single,
        omitted=omitted,
    )


def _plain(test: str) -> str:
    # The Hartung-Knapp factor of the whole model is applied through the regression, not group by group.
    return "z" if test in ("knha", "adhoc", "t") else test


def _common_means(reg: MetaRegression, groups: list[str]) -> pd.DataFrame:
    p = len(groups)
    L = np.eye(p)
    L[:, 0] = 1.0
    return reg.contrast(L)[["estimate", "se", "ci_low", "ci_high", "p_value"]]


def _table(fits: dict[str, PooledEffect]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(
        {g: [getattr(f, c) for c in _COLUMNS] for g, f in fits.items()}, orient="index", columns=list(_COLUMNS)
    )
