"""Which sets of trials, under which rules and models, give a published value: a search, and what its finds share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.batch_bounded import random_effects_bounded
from metamiq.pooling.wls import Array
from metamiq.progress import track
from metamiq.sensitivity.choices import Choice
from metamiq.sensitivity.multiverse import MODEL, combinations, cross, declared_choices
from metamiq.sensitivity.multiverse_record import BY_LIKELIHOOD
from metamiq.sensitivity.specifications import COLUMNS, EFFECT_SETTINGS, Bools, Rows, Trials, treated
from metamiq.wording import count, fixed, in_short

MOST_TRIALS = 16  # 65,535 sets per rule and model
_PIECE = 1 << 13
_KEYS = (*EFFECT_SETTINGS, "verdicts", "method")


@dataclass(frozen=True, slots=True, eq=False)
class SetsNear:
    """Sets of trials whose pooled effect comes near a value.

    `table` holds the finds, nearest first: ``distance estimate tau2 k trials model`` and the option of each choice
    about numbers. `common` compares them with everything searched: for each option the share of the finds, and of all
    fits, that have it; for each trial the share of the finds, and of all fits under the finds' own rules and models.
    """

    table: pd.DataFrame
    common: pd.DataFrame  # indexed by (what, name): in_finds, in_all
    value: float
    half_unit: float
    searched: int
    matched: int  # finds within half_unit; 0: `table` has the nearest ones instead
    among: tuple[str, ...]

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The finding in a few lines; the caller prints them."""
        lines = [f"{self.searched:,} fits of sets of {count(len(self.among), 'trial')} ({', '.join(self.among)})."]
        if self.table.empty:
            return f"{lines[0]} None could be fitted."
        best = self.table.iloc[0]
        if self.matched:
            sizes = sorted({int(self.table["k"].min()), int(self.table["k"].max())})
            lines.append(
                f"{self.matched:,} of them {'gives' if self.matched == 1 else 'give'} {self.value:g} when rounded, "
                f"with {' to '.join(map(str, sizes))} trials."
            )
        else:
            lines.append(
                f"None gives {self.value:g} when rounded; nearest: {fixed(best['estimate'], 4)} with "
                f"{', '.join(best['trials'])} ({best['model']})."
            )
        shares = self.common.loc["trial"]
        lift = (shares["in_finds"] - shares["in_all"]).sort_values(kind="stable")
        often = [_share(name, shares.loc[name]) for name in lift.index[::-1][:3] if lift[name] > 0.1]
        seldom = [_share(name, shares.loc[name]) for name in lift.index[:3] if lift[name] < -0.1]
        finds = "these" if self.matched else f"the nearest {len(self.table)}"
        if often:
            lines.append(f"More often in {finds} than in all: {'; '.join(often)}.")
        if seldom:
            lines.append(f"Less often: {'; '.join(seldom)}.")
        return "\n".join(lines)


def _share(name: str, row: pd.Series[float]) -> str:
    return f"{name} ({100 * row['in_finds']:.0f}% against {100 * row['in_all']:.0f}%)"


def sets_near(
    data: Dataset | pd.DataFrame,
    value: float,
    choices: Sequence[Choice] | Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    among: Sequence[str] | None = None,
    half_unit: float = 0.005,
    size: int | None = None,
    n: int = 100,
    verdict_level: float = 0.95,
) -> SetsNear:
    """Search all sets of trials, under every rule, formula and model, for those that give a published value.

    Choices about numbers (outcome rule, variance formula, treatment of verdicts, estimator) are crossed with every
    set of the trials that they leave; choices about which trials count are not used, since all sets are tried.

    Parameters
    ----------
    data, choices
        As in `multiverse`.
    value : float
        The published estimate.
    among : sequence of str, optional
        Search sets of these trials only: up to 16.
    half_unit : float
        Half the last printed digit: 0.005 for a value printed with two decimals.
    size : int, optional
        Sets of exactly this many trials.
    n : int
        How many of the nearest to give when none rounds to the value.
    verdict_level : float
        0.95 when the verdicts of trials are those of two-sided 5% tests.

    Returns
    -------
    SetsNear
        The finds, each set of numbers under each model once, and what they have in common.

    Raises
    ------
    DataError
        If there are more than 16 trials to choose from, or `among` names one that is not there.

    Notes
    -----
    Many sets give any value in the middle of the range, so that a find is no evidence that a set is the published
    one. Common features are worth reading; so is an empty search.

    Examples
    --------
    >>> es = pd.DataFrame({"study": list("abcd"), "yi": [0.1, 0.5, 0.9, 0.2], "vi": [0.04, 0.02, 0.05, 0.03]})
    >>> found = sets_near(es, 0.295, {"estimator": {"REML": {"method": "REML"}, "fixed": {"method": "FE"}}})
    >>> found.matched, found.table["trials"].iloc[0]
    (1, ('a', 'b', 'd'))
    """
    if half_unit < 0:
        raise ValueError(f"half_unit must be 0 or more, not {half_unit!r}.")
    trials = Trials(data)
    own = tuple(c for c in declared_choices(data, choices) if {k for o in c.options for k in o.settings} & set(_KEYS))
    eligible = np.ones(len(trials.names), dtype=bool)
    if among is not None:
        unknown = sorted(set(among) - set(trials.names))
        if unknown:
            raise DataError(f"among must name trials that may count, but {', '.join(unknown)} is not one of them.")
        eligible = np.isin(trials.names, list(among))
    jobs = _jobs(trials, own, verdict_level, eligible)
    usable = np.asarray(np.array([job.usable for job in jobs]).any(axis=0))
    if usable.sum() > MOST_TRIALS:
        raise DataError(
            f"At most {MOST_TRIALS} trials can be searched, but {usable.sum()} give an effect. Name fewer with `among`."
        )
    finds = _Finds(value, half_unit, n, len(trials.names))
    pieces = [(job, start) for job in jobs for start in range(1, 1 << int(job.usable.sum()), _PIECE)]
    for job, start in track(pieces, len(pieces), "searching sets of trials"):
        mask = _masks(job.usable, start)
        if size is not None:
            mask = mask[mask.sum(axis=1) == size]
        if len(mask):
            finds.add(job, mask, *_fit(job, mask))
    return finds.result(trials, usable)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One table of numbers under one model."""

    values: Array  # (6, k)
    usable: Bools
    model: str
    options: Mapping[str, str]


def _jobs(trials: Trials, choices: tuple[Choice, ...], verdict_level: float, eligible: Bools) -> list[_Job]:
    codes = cross(choices)
    settings, _ = combinations(choices, codes, _KEYS)
    seen: set[tuple[bytes, str]] = set()
    known: dict[str, Rows] = {}
    out = []
    uses_bounds = any("verdicts" in o.settings for c in choices for o in c.options)
    # Every choice here sets one of the keys, so that settings come in the order of the specifications.
    for code, wanted in zip(codes, settings, strict=True):
        about = {key: v for key, v in wanted.items() if key in EFFECT_SETTINGS}
        key = repr(sorted(about.items()))
        if key not in known:
            known[key] = trials.effects(about, verdict_level)
        verdicts = wanted.get("verdicts", "bounds" if uses_bounds else "drop")
        values = treated(known[key], verdicts, wanted.get("vtype", "LS")) + 0.0
        values[:, ~eligible] = np.nan
        values[np.isnan(values)] = np.nan  # one bit pattern, so that equal tables have equal bytes
        usable = np.asarray(~np.isnan(values[:4]).all(axis=0))
        model = "ML" if verdicts == "bounds" else wanted.get("method", "REML")
        if not usable.any() or (values.tobytes(), model) in seen:
            continue
        seen.add((values.tobytes(), model))
        names = {c.name: c.options[i].name for c, i in zip(choices, code, strict=True)}
        if verdicts == "bounds":
            names |= {
                c.name: BY_LIKELIHOOD for c in choices if {k for o in c.options for k in o.settings} <= set(MODEL)
            }
        out.append(_Job(values, usable, model, names))
    if not out:
        raise DataError("At least one trial must have a usable result to search, but none has.")
    return out


def _masks(usable: Bools, start: int) -> Bools:
    positions = np.flatnonzero(usable)
    members = np.arange(start, min(start + _PIECE, 1 << len(positions)))
    out = np.zeros((len(members), len(usable)), dtype=bool)
    out[:, positions] = (members[:, None] >> np.arange(len(positions))) & 1 == 1
    return out


def _fit(job: _Job, mask: Bools) -> tuple[Array, Array]:
    if job.model == "ML" and not np.isnan(job.values[2:4]).all():
        bounded = random_effects_bounded(**dict(zip(COLUMNS, job.values, strict=True)), mask=mask)
        return bounded.estimate, bounded.tau2
    fits = batch.random_effects(job.values[0], job.values[1], mask, method=job.model, test="z")
    return fits.estimate, fits.tau2


class _Finds:
    """What the search has met so far: all counts, the matches, and the nearest."""

    def __init__(self, value: float, half_unit: float, n: int, k: int) -> None:
        self.value, self.half_unit, self.n = value, half_unit, n
        self.searched, self.k = 0, k
        self.shares: dict[int, list[Array]] = {}  # per table and model: fits, and in how many of them each trial is
        self.options: dict[tuple[str, str], int] = {}
        self.kept: list[tuple[float, float, float, Bools, _Job]] = []

    def add(self, job: _Job, mask: Bools, estimate: Array, tau2: Array) -> None:
        distance = np.abs(estimate - self.value)
        fitted = np.isfinite(distance)
        self.searched += int(fitted.sum())
        self.shares.setdefault(id(job), []).append(np.append(fitted.sum(), mask[fitted].sum(axis=0)).astype(float))
        for item in (*job.options.items(), ("model", job.model)):
            self.options[item] = self.options.get(item, 0) + int(fitted.sum())
        # The tolerance is for 0.595, which no double is.
        near = np.flatnonzero(fitted & (distance <= self.half_unit + 1e-12))
        if len(near) == 0:
            near = np.argsort(np.where(fitted, distance, np.inf), kind="stable")[: self.n]
            near = near[fitted[near]]
        self.kept += [(float(distance[i]), float(estimate[i]), float(tau2[i]), mask[i], job) for i in near]

    def _distinct(self) -> Iterator[tuple[float, float, float, Bools, _Job]]:
        seen: set[tuple[bytes, str]] = set()
        for find in sorted(self.kept, key=lambda x: (x[0], int(x[3].sum()))):
            used = (np.where(find[3], find[4].values, np.nan).tobytes(), find[4].model)
            if used not in seen:
                seen.add(used)
                yield find

    def result(self, trials: Trials, usable: Bools) -> SetsNear:
        finds = list(self._distinct())
        matched = sum(find[0] <= self.half_unit + 1e-12 for find in finds)
        finds = finds[: matched or self.n]
        rows = [
            {
                "distance": distance,
                "estimate": estimate,
                "tau2": tau2,
                "k": int(mask.sum()),
                "trials": tuple(name for name, here in zip(trials.names, mask, strict=True) if here),
                "model": job.model,
                **job.options,
            }
            for distance, estimate, tau2, mask, job in finds
        ]
        share, expected = np.full((2, self.k), np.nan)
        if finds:
            share = np.mean([find[3] for find in finds], axis=0)
            # Of the same rules and models: some of them cannot use every trial.
            totals = {job: np.sum(parts, axis=0) for job, parts in self.shares.items()}
            expected = np.mean([totals[id(find[4])][1:] / totals[id(find[4])][0] for find in finds], axis=0)
        whole = max(self.searched, 1)
        common = {("trial", trials.names[i]): (float(share[i]), float(expected[i])) for i in np.flatnonzero(usable)}
        for what, name in sorted(self.options, key=lambda item: [*rows[0]].index(item[0]) if rows else 0):
            here = float(np.mean([row[what] == name for row in rows])) if rows else np.nan
            common[what, name] = (here, self.options[what, name] / whole)
        index = pd.MultiIndex.from_tuples(list(common), names=["what", "name"])
        among = tuple(trials.names[i] for i in np.flatnonzero(usable))
        return SetsNear(
            pd.DataFrame(rows),
            pd.DataFrame(list(common.values()), index=index, columns=["in_finds", "in_all"]),
            self.value,
            self.half_unit,
            self.searched,
            matched,
            among,
        )
