"""The rows behind a fit, and what a record says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq.pooling.wls import Array
from metamiq.wording import count, from_studies


def frozen_copy(a: Array) -> Array:
    """A read-only copy, so that no assignment can make an estimate that no data produced."""
    out = np.array(a, dtype=float)
    out.flags.writeable = False
    return out


@dataclass(frozen=True, slots=True)
class Source:
    """The rows behind a fit: the caller's table, or the arrays it was given."""

    yi: Array
    vi: Array
    frame: pd.DataFrame | None = None
    label_column: str | None = None

    def table(self) -> pd.DataFrame:
        """The rows in input order, as an ordinary DataFrame with yi and vi."""
        if self.frame is None:
            return pd.DataFrame({"yi": self.yi, "vi": self.vi})
        return self.frame.copy(deep=False)

    def labels(self) -> list[str]:
        """A name for each row: the study's, else its number."""
        if self.frame is None or self.label_column is None:
            return [f"row {i + 1}" for i in range(len(self.yi))]
        return [str(x) for x in self.frame[self.label_column]]

    @property
    def n_studies(self) -> int:
        """Distinct studies; rows when there is no column that names them."""
        if self.frame is None:
            return len(self.yi)
        for column in ("study", "trial_id"):
            if column in self.frame:
                return int(self.frame[column].nunique())
        return len(self.yi)

    @property
    def dependence(self) -> str:
        """What a model of independent rows must say of studies that have several; empty where none has."""
        k, n = len(self.yi), self.n_studies
        if k == n:
            return ""
        return (
            f"{from_studies(k, n)} are taken as independent: where those of one study go together, intervals are too "
            "narrow. multilevel and robust allow for it."
        )

    def scarcity(self, moderators: int) -> str:
        """What a model must say that has fewer than ten studies for each moderator; empty otherwise."""
        if self.n_studies >= 10 * moderators:
            return ""
        return (
            f"{from_studies(len(self.yi), self.n_studies)} for {count(moderators, 'moderator')}: with fewer than ten "
            "studies for each, what is found is easily chance."
        )

    @property
    def measure(self) -> str | None:
        """The effect measure that `effect_sizes` recorded."""
        return None if self.frame is None else self.frame.attrs.get("measure")


class WithSource:
    """`k`, `effects` and `measure` of a record that keeps its rows in `source`."""

    __slots__ = ()

    source: Source

    @property
    def effects(self) -> pd.DataFrame:
        """The rows used, in input order."""
        return self.source.table()

    @property
    def k(self) -> int:
        """Effect sizes used."""
        return len(self.source.yi)

    @property
    def measure(self) -> str | None:
        """The effect measure, where the table records it."""
        return self.source.measure
