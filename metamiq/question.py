"""The analyses of the first question (does MI added to CBT help with anxiety?), each done once.

The audit, the figures and the report all read from here, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset
from metamiq.effects.dropout import dropout_counts
from metamiq.effects.measures import effect_sizes
from metamiq.effects.trials import excluded_trials, trial_effects
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.count_tables import CommonEffect
from metamiq.pooling.counts import mantel_haenszel
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect

DROPOUT_MEASURES = {"OR": "odds ratio", "RR": "risk ratio", "RD": "risk difference"}
FEW_SESSIONS = 2
CUTOFF = "published_by_2018_04"
LEAST_FOR_DROPOUT_MODERATOR = 4  # a slope, an intercept and tau2 need one row more than there are parameters


@dataclass(frozen=True, slots=True)
class CannotFit:
    """Why an analysis could not be done with this evidence."""

    reason: str


Attempt = BoundedFit | CannotFit


def attempt(fit: Callable[[], BoundedFit]) -> Attempt:
    """The fit, or the reason why there is none."""
    try:
        return fit()
    except (DataError, ConvergenceError) as error:
        return CannotFit(str(error))


class Answers:
    """Every analysis of one dataset of trials of MI added to CBT, computed when first asked for.

    Parameters
    ----------
    ds : Dataset
        With the tables trials, results, dropout and claims.
    level : float
        Coverage of all intervals.
    """

    def __init__(self, ds: Dataset, level: float = 0.95) -> None:
        if ds.results.empty:
            raise DataError(
                f"The folder must hold results.csv with what the trials report, but {ds.path} has none. "
                "Start from a copy of the bundled mi_cbt_anxiety."
            )
        self.ds, self.level = ds, level
        self.effects = trial_effects(ds)
        self.excluded = excluded_trials(ds)

    def _pool(self, keep: pd.Series[bool] | None = None, moderators: str | None = None) -> Attempt:
        rows = self.effects if keep is None else self.effects.loc[keep]
        return attempt(lambda: random_effects_bounded(rows, moderators, level=self.level))

    @cached_property
    def pooled(self) -> Attempt:
        """All candidate trials with a usable result."""
        return self._pool()

    @cached_property
    def early(self) -> Attempt:
        """Candidates published by April 2018: those that could have been among the twelve."""
        return self._pool(self.effects[CUTOFF] == "yes")

    @cached_property
    def later(self) -> Attempt:
        """Candidates published after April 2018."""
        return self._pool(self.effects[CUTOFF] == "no")

    @cached_property
    def era(self) -> Attempt:
        """The difference between earlier and later trials."""
        return self._pool(moderators=CUTOFF)

    @cached_property
    def no_assumptions(self) -> Attempt:
        """Without the trials whose arm sizes are assumed."""
        return self._pool(self.effects["n_source"] != "assumed")

    @cached_property
    def disorder(self) -> Attempt:
        """Disorder as a categorical moderator."""
        return self._pool(moderators="disorder")

    @cached_property
    def dose(self) -> Attempt:
        """Number of MI sessions as a numeric moderator."""
        return self._pool(moderators="mi_sessions")

    @cached_property
    def few_sessions(self) -> Attempt:
        """Trials with one or two MI sessions."""
        return self._pool(self.effects["mi_sessions"] <= FEW_SESSIONS)

    def of_disorder(self, name: str) -> Attempt:
        """The trials of one disorder, pooled alone."""
        return self._pool(self.effects["disorder"] == name)

    @cached_property
    def dropout(self) -> pd.DataFrame:
        """Dropout counts of trials that give them for both arms."""
        return dropout_counts(self.ds)

    def dropout_effects(self, measure: str = "OR") -> pd.DataFrame:
        """Dropout effect of each trial; positive means more dropout with MI + CBT."""
        return effect_sizes(self.dropout, measure)

    @cached_property
    def dropout_common(self) -> dict[str, CommonEffect]:
        """Mantel-Haenszel estimates, by measure; the first choice when counts are this small."""
        if self.dropout.empty:
            return {}
        return {measure: mantel_haenszel(self.dropout, measure, level=self.level) for measure in DROPOUT_MEASURES}

    @cached_property
    def dropout_pooled(self) -> dict[str, PooledEffect]:
        """Random-effects estimates, by measure, with normal intervals: t(k - 1) says nothing for two trials."""
        if self.dropout.empty:
            return {}
        return {
            m: random_effects(self.dropout_effects(m), method="REML", test="z", level=self.level)
            for m in DROPOUT_MEASURES
        }

    @cached_property
    def dropout_as_moderator(self) -> Attempt:
        """The effect on symptoms by the log odds ratio of dropout."""
        if self.dropout.empty:
            return CannotFit("No trial has dropout counts in both arms.")
        odds = self.dropout_effects("OR").set_index("trial_id")["yi"]
        table = self.effects.assign(dropout_log_or=self.effects["trial_id"].map(odds).astype(float))
        both = int(table["dropout_log_or"].notna().sum())
        if both < LEAST_FOR_DROPOUT_MODERATOR:
            names = ", ".join(table.loc[table["dropout_log_or"].notna(), "trial_id"])
            return CannotFit(
                f"{both} trials have both a usable effect and dropout counts ({names}); a slope needs at least "
                f"{LEAST_FOR_DROPOUT_MODERATOR}."
            )
        return attempt(lambda: random_effects_bounded(table, "dropout_log_or", level=self.level))

    @cached_property
    def points_only(self) -> PooledEffect | CannotFit:
        """What tools that drop verdicts would pool; one point alone has only its sampling error."""
        points = self.effects[self.effects["kind"] == "point"]
        if points.empty:
            return CannotFit("No trial gives an effect size.")
        return random_effects(points, test="knha" if len(points) > 1 else "z", level=self.level)

    @cached_property
    def dose_range(self) -> tuple[float, float]:
        """Fewest and most MI sessions among the usable trials."""
        sessions = self.effects["mi_sessions"].to_numpy(dtype=float)
        if np.isnan(sessions).all():
            return np.nan, np.nan
        return float(np.nanmin(sessions)), float(np.nanmax(sessions))
