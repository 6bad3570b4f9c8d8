"""The record of a multiverse: every specification, and what can be asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from metamiq.arguments import check_finite
from metamiq.errors import DataError
from metamiq.pooling.wls import Array
from metamiq.sensitivity.choices import Choice
from metamiq.sensitivity.influence import side
from metamiq.wording import count, fixed, in_short

NUMBERS = ("k_points", "k_bounds", "estimate", "se", "ci_low", "ci_high", "p_value", "tau2")
BY_LIKELIHOOD = "with bounds: likelihood"


@dataclass(frozen=True, slots=True, eq=False)
class Multiverse:
    """Every specification, and what it comes to.

    `table` has one row per specification, the primary one first: a column per choice with the option's name; `model`
    (estimator and test); ``k_points k_bounds estimate se ci_low ci_high p_value tau2``, NaN where nothing can be
    fitted; `fit`, equal where specifications come to the same rows and model; `stands_for`, the combinations of options
    that are this one specification (more than one where estimator and test do not apply), which all shares use as
    weights, so that every option counts equally; and `members` (bit i: trial i), for up to 63 trials.
    """

    table: pd.DataFrame
    choices: tuple[Choice, ...]
    trials: tuple[str, ...]
    level: float
    measure: str | None = None
    rows: Array = field(default_factory=lambda: np.zeros(0), repr=False)  # (fits, 6, trials)

    def curve(self) -> pd.DataFrame:
        """Specifications that could be fitted, from the smallest estimate to the largest."""
        fitted = self.table[np.isfinite(self.table["estimate"])]
        return pd.DataFrame(fitted.sort_values("estimate", kind="stable").reset_index(drop=True))

    def distinct(self) -> pd.DataFrame:
        """One row per distinct fit: the first specification that comes to it, and how many do (`specifications`)."""
        counts = self.table["fit"].value_counts()
        first = self.table.drop_duplicates("fit")
        return first.assign(specifications=first["fit"].map(counts)).reset_index(drop=True)

    def share(self, value: float = 0.0) -> pd.Series[float]:
        """Shares of specifications whose estimate and whose interval lie on each side of a value.

        `estimate_below` and `estimate_above` are of those that could be fitted; `interval_below`, `interval_around` and
        `interval_above` of those that have an interval. `fitted` and `with_interval` are counts.
        """
        estimate, low, high, w = (
            self.table[c].to_numpy(dtype=float) for c in ("estimate", "ci_low", "ci_high", "stands_for")
        )
        fitted, known = w * np.isfinite(estimate), w * ~np.isnan(low + high)
        where = side(low, high, value)
        n, m = fitted.sum() or np.nan, known.sum() or np.nan
        return pd.Series(
            {
                "fitted": float(np.isfinite(estimate).sum()),
                "estimate_below": float(fitted[estimate < value].sum() / n),
                "estimate_above": float(fitted[estimate > value].sum() / n),
                "with_interval": float((known > 0).sum()),
                "interval_below": float(known[where == -1].sum() / m),
                "interval_around": float(known[where == 0].sum() / m),
                "interval_above": float(known[where == 1].sum() / m),
            }
        )

    def decomposition(self) -> pd.DataFrame:
        """Which choice moves the answer most: the main effect of each choice on the estimate.

        `eta2` is the share of the variance of the estimates that lies between the options of the choice, in percent.
        Shares need not add up to 100: choices interact, and what was not fitted makes the cross product uneven. A
        choice of estimator or test is judged where it applies.
        `lowest`, `highest` are the options with the smallest and largest mean estimate, `span` the distance between.
        """
        fitted = self.table[np.isfinite(self.table["estimate"])]
        if fitted.empty:
            raise DataError("At least one specification must have been fitted to compare choices, but none was.")
        estimate, w = (fitted[c].to_numpy(dtype=float) for c in ("estimate", "stands_for"))
        total = float((w * (estimate - np.average(estimate, weights=w)) ** 2).sum())
        rows = []
        for choice in self.choices:
            options = fitted[choice.name]
            asked = (options != BY_LIKELIHOOD).to_numpy()
            group, found = pd.factorize(options[asked], sort=True)
            names = [str(option) for option in found]
            size = np.bincount(group, weights=w[asked])
            mean = np.bincount(group, weights=(w * estimate)[asked]) / size
            if len(names) == 0:
                rows.append((np.nan, "", "", np.nan))
                continue
            between = float((size * (mean - np.average(mean, weights=size)) ** 2).sum())
            eta2 = 100.0 * between / total if total > 0 else np.nan
            lowest, highest = str(names[mean.argmin()]), str(names[mean.argmax()])
            rows.append((eta2, lowest, highest, float(mean.max() - mean.min())))
        out = pd.DataFrame(
            rows,
            columns=["eta2", "lowest", "highest", "span"],
            index=pd.Index([choice.name for choice in self.choices], name="choice"),
        )
        return out.sort_values("eta2", ascending=False, kind="stable")

    def options(self) -> pd.DataFrame:
        """What the specifications of each option come to.

        One row per choice and option: `specifications` (fitted ones), the weighted mean, the smallest and the largest
        `estimate`, and the shares of intervals wholly below and above 0.
        """
        rows, names = [], []
        numbers = self.table[["estimate", "ci_low", "ci_high", "stands_for"]]
        for choice in self.choices:
            taken = self.table[choice.name]
            for option in choice.options:
                part = replace(self, table=numbers[(taken == option.name).to_numpy()])
                fitted = part.table[np.isfinite(part.table["estimate"])]
                names.append((choice.name, option.name))
                if fitted.empty:
                    rows.append((0, *[np.nan] * 5))
                    continue
                shares = part.share()
                mean = np.average(fitted["estimate"], weights=fitted["stands_for"])
                ends = fitted["estimate"].min(), fitted["estimate"].max()
                rows.append((len(fitted), mean, *ends, shares["interval_below"], shares["interval_above"]))
        columns = ["specifications", "mean", "lowest", "highest", "interval_below", "interval_above"]
        return pd.DataFrame(rows, columns=columns, index=pd.MultiIndex.from_tuples(names, names=["choice", "option"]))

    def nearest(self, value: float, n: int = 10) -> pd.DataFrame:
        """The distinct fits whose estimates come nearest to a value, with their `distance`."""
        table = self.distinct()
        table.insert(0, "distance", (table["estimate"] - value).abs())
        table = table[np.isfinite(table["distance"])]
        return pd.DataFrame(table.sort_values("distance", kind="stable").head(n).reset_index(drop=True))

    def members(self, row: int) -> tuple[str, ...]:
        """The trials that count in a row of `table`."""
        used = np.isfinite(self.rows[int(self.table["fit"].iloc[row])]).any(axis=0)
        return tuple(name for name, here in zip(self.trials, used, strict=True) if here)

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self, value: float | None = None) -> str:
        """The result in a few lines; with a published `value` also how it compares. The caller prints them."""
        if value is not None:
            check_finite("value", value)
        distinct, shares, first = self.distinct(), self.share(), self.table.iloc[0]
        estimate = self.table["estimate"].dropna()
        lines = [
            f"{count(len(self.table), 'specification')} of {count(len(self.choices), 'choice')}, "
            f"{count(len(distinct), 'distinct fit')}; "
            f"{count(len(self.table) - len(estimate), 'specification')} cannot be fitted."
        ]
        if estimate.empty:
            return lines[0]
        lines.append(
            f"Primary: {fixed(first['estimate'])} ({fixed(first['ci_low'])} to {fixed(first['ci_high'])}). All: "
            f"{fixed(estimate.min())} to {fixed(estimate.max())}."
        )
        at_0 = 1 - shares["estimate_above"] - shares["estimate_below"]
        exactly = f", and {100 * at_0:.0f}% are exactly 0" if at_0 > 0.005 else ""
        lines.append(
            f"Of the estimates, {100 * shares['estimate_above']:.0f}% lie above 0 and "
            f"{100 * shares['estimate_below']:.0f}% below 0{exactly}. Of the intervals, "
            f"{100 * shares['interval_above']:.0f}% lie wholly above 0 and {100 * shares['interval_below']:.0f}% "
            f"wholly below 0; {100 * shares['interval_around']:.0f}% include 0."
        )
        table = self.decomposition()
        lines.append(
            "What moves the answer most: "
            + "; ".join(f"{name} ({row['eta2']:.0f}% of the variance)" for name, row in table.head(3).iterrows())
            + "."
        )
        if value is not None:
            against, best = self.share(value), self.nearest(value, 1).iloc[0]
            options = ", ".join(f"{c.name}: {best[c.name]}" for c in self.choices if best[c.name] != first[c.name])
            lines.append(
                f"Against the published {value:g}: {100 * against['estimate_below']:.0f}% of the estimates lie below "
                f"it and {100 * against['estimate_above']:.0f}% above it; {100 * against['interval_around']:.0f}% of "
                f"the intervals include it. The nearest estimate is {fixed(best['estimate'], 3)} "
                f"({options or 'the primary analysis'})."
            )
        return "\n".join(lines)
