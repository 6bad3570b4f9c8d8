"""All defensible specifications of an analysis at once.

References
----------
Steegen, Tuerlinckx, Gelman & Vanpaemel (2016): multiverse analysis. Simonsohn, Simmons & Nelson (2020): specification
curves. Voracek, Kossmeier & Tran (2019): multiverse meta-analysis. Rosenthal (1995), for the conventions that enter
"not significant" as 0 and "significant" as just significant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.arguments import check_level
from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.batch_bounded import random_effects_bounded
from metamiq.pooling.wls import Array
from metamiq.sensitivity.choices import Choice, check_choices, choices_of, joined, read_choices
from metamiq.sensitivity.multiverse_record import BY_LIKELIHOOD, NUMBERS, Multiverse
from metamiq.sensitivity.specifications import COLUMNS, EFFECT_SETTINGS, Trials, treated
from metamiq.sensitivity.workers import run

MOST = 2_000_000  # specifications; a cross product grows faster than one expects
MODEL = ("method", "test")
_PIECE = 2_000  # fits per task: fixed, so that the numbers do not depend on the number of workers
_WHICH = ("without", "only", "without_where")

Ints = NDArray[np.int64]


def multiverse(
    data: Dataset | pd.DataFrame,
    choices: Sequence[Choice] | Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    level: float = 0.95,
    verdict_level: float = 0.95,
    n_jobs: int = 1,
) -> Multiverse:
    """Run the cross product of defensible choices.

    Each choice has options, each option settings: ``method``, ``test`` (as in `random_effects`), ``vtype``; which
    trials count (``without``, ``only``, ``without_where``); for a dataset of trials and results the outcome rule
    (``raters timepoints domains not_certainty results``, see `trial_effects`), ``assume``, ``turn``; for a study table
    ``measure``; and ``verdicts``, what is done with bounds: "bounds" (`random_effects_bounded`; method and test do not
    apply, so such specifications are not repeated for them), "drop", "zeros" (not significant as g = 0) or "zeros and
    thresholds" (and significant as just significant), the last two being what others do.

    Parameters
    ----------
    data : Dataset or DataFrame
        A dataset; an effects table with `yi`, `vi` (and the columns of bounds); or a study table whose measure a choice
        sets. One row per trial.
    choices : sequence of Choice, or mapping, optional
        Choice -> option -> settings. By default the ``choices.toml`` of the dataset's folder.
    level : float
        Coverage of intervals.
    verdict_level : float
        0.95 when the verdicts of trials are those of two-sided 5% tests.
    n_jobs : int
        Workers, through joblib (extra `parallel`): -1 for all cores. Under an active ``joblib.parallel_config`` its
        backend (local processes, a Dask or Ray cluster) and number of workers are used when this is 1. The numbers
        are the same bits whatever the number of workers.

    Returns
    -------
    Multiverse
        `table` and what can be asked of it.

    Raises
    ------
    DataError
        If choices contradict each other or name trials, columns or values that are not there.
    ValueError
        If there are no choices, or too many specifications.
    ImportError
        If more than one worker is asked for and joblib is not installed.

    References
    ----------
    Steegen et al. (2016); Simonsohn, Simmons & Nelson (2020); Voracek, Kossmeier & Tran (2019).

    Examples
    --------
    >>> es = pd.DataFrame({"study": list("abcd"), "yi": [0.1, 0.5, 0.9, 0.2], "vi": [0.04, 0.02, 0.05, 0.03]})
    >>> result = multiverse(es, {"estimator": {"REML": {"method": "REML"}, "fixed": {"method": "FE"}},
    ...                          "trials": {"all": {}, "without c": {"without": ["c"]}}})
    >>> print(result.table[["estimator", "trials", "estimate"]].round(3).to_string(index=False))
    estimator    trials  estimate
         REML       all     0.415
         REML without c     0.295
        fixed       all     0.406
        fixed without c     0.315
    """
    check_level(level)
    declared = declared_choices(data, choices)
    trials = Trials(data)
    codes = cross(declared)
    method, test, verdicts = _models(declared, codes)
    only_model = [j for j, c in enumerate(declared) if {k for o in c.options for k in o.settings} <= set(MODEL)]
    by_likelihood = verdicts == "bounds"
    once = ~by_likelihood | (codes[:, only_model] == 0).all(axis=1)
    repeats = int(np.prod([len(declared[j].options) for j in only_model]))
    stands_for = np.where(by_likelihood, repeats, 1)[once]
    codes, method, test, by_likelihood, verdicts = (a[once] for a in (codes, method, test, by_likelihood, verdicts))
    method[by_likelihood], test[by_likelihood] = "ML", "LR"
    for m in sorted(set(method[~by_likelihood])):
        for t in sorted(set(test[~by_likelihood])):
            batch.check_choices(m, t, level)

    rows, sample = _samples(trials, declared, codes, verdicts, verdict_level)
    model_id, models = pd.factorize(pd.Series(method) + "|" + pd.Series(test))
    _, at, fit = np.unique(sample * len(models) + model_id, return_index=True, return_inverse=True)
    order = np.argsort(at)  # fits are numbered in order of first appearance
    fit = np.argsort(order)[fit]
    at = at[order]
    numbers = _fitted(rows[sample[at]], method[at], test[at], level, n_jobs)

    columns: dict[str, Any] = {}
    for j, choice in enumerate(declared):
        names = [option.name for option in choice.options]
        own = codes[:, j].copy()
        if j in only_model and by_likelihood.any():
            names, own[by_likelihood] = [*names, BY_LIKELIHOOD], len(names)
        columns[choice.name] = _labelled(own, names)
    columns["model"] = _labelled(model_id, [str(name).replace("|", ", ") for name in models])
    columns |= {name: numbers[name][fit] for name in NUMBERS} | {"fit": fit, "stands_for": stands_for}
    columns |= {name: columns[name].astype(np.int64) for name in ("k_points", "k_bounds")}
    if len(trials.names) <= 63:
        used = np.isfinite(rows[:, :4]).any(axis=1)
        bits = (used * (np.int64(1) << np.arange(used.shape[1], dtype=np.int64))).sum(axis=1)
        columns["members"] = bits[sample]
    return Multiverse(
        pd.DataFrame(columns), declared, tuple(trials.names), level, trials.measure, rows=rows[sample[at]][:, :4]
    )


def _labelled(codes: Ints, names: list[str]) -> pd.Categorical[str]:
    return pd.Categorical.from_codes(codes, categories=pd.Index(names))


def declared_choices(
    data: Dataset | pd.DataFrame, choices: Sequence[Choice] | Mapping[str, Mapping[str, Mapping[str, Any]]] | None
) -> tuple[Choice, ...]:
    """The choices as given, or those of the dataset's folder; checked."""
    if not isinstance(data, (Dataset, pd.DataFrame)):
        raise ValueError(f"multiverse takes a dataset or a table (DataFrame), not a {type(data).__name__}.")
    if choices is None:
        if isinstance(data, pd.DataFrame):
            raise ValueError("A table has no choices of its own. Give them: choice -> option -> settings.")
        return read_choices(data.path / "choices.toml")
    declared = choices_of(choices) if isinstance(choices, Mapping) else tuple(choices)
    check_choices(list(declared), "choices")
    reserved = {"model", "fit", "members", "stands_for", "distance", "specifications", *NUMBERS}
    taken = sorted(reserved & {choice.name for choice in declared})
    if taken:
        raise ValueError(f"A choice must not have the name of a result, but {', '.join(taken)} does. Rename it.")
    return declared


def cross(choices: tuple[Choice, ...]) -> Ints:
    """Every combination of options, the first option of every choice first, shape (N, choices)."""
    if not choices:
        return np.zeros((1, 0), dtype=np.int64)
    sizes = [len(choice.options) for choice in choices]
    total = int(np.prod(np.array(sizes, dtype=float)))
    if total > MOST:
        raise ValueError(f"At most {MOST:,} specifications are run, but these choices make {total:,}. Leave some out.")
    return np.stack(np.unravel_index(np.arange(total), sizes), axis=1).astype(np.int64)


def combinations(choices: tuple[Choice, ...], codes: Ints, keys: tuple[str, ...]) -> tuple[list[dict[str, Any]], Ints]:
    """The different settings of `keys` among the specifications, and which of them each has."""
    columns = [j for j, c in enumerate(choices) if any(k in keys for o in c.options for k in o.settings)]
    sizes = [len(choices[j].options) for j in columns]
    key = np.ravel_multi_index(tuple(codes[:, j] for j in columns), sizes) if columns else np.zeros(len(codes), int)
    different, which = np.unique(key, return_inverse=True)
    picks = np.stack(np.unravel_index(different, sizes), axis=1) if columns else np.zeros((1, 0), int)
    settings = [joined([choices[j].options[i] for j, i in zip(columns, pick, strict=True)], keys) for pick in picks]
    return settings, which.astype(np.int64)


def _models(choices: tuple[Choice, ...], codes: Ints) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    settings, which = combinations(choices, codes, (*MODEL, "verdicts"))
    defaults = {"method": "REML", "test": "knha", "verdicts": "bounds" if _sets(choices, "verdicts") else "drop"}
    columns = [np.array([s.get(key, default) for s in settings], dtype=object) for key, default in defaults.items()]
    return columns[0][which], columns[1][which], columns[2][which]


def _sets(choices: tuple[Choice, ...], key: str) -> bool:
    return any(key in option.settings for choice in choices for option in choice.options)


def _samples(
    trials: Trials, choices: tuple[Choice, ...], codes: Ints, verdicts: NDArray[Any], verdict_level: float
) -> tuple[Array, Ints]:
    """The different tables of numbers, shape (S, 6, k), and which of them each specification has."""
    effects, which_effects = combinations(choices, codes, EFFECT_SETTINGS)
    kept, which_kept = combinations(choices, codes, _WHICH)
    allowed, which_allowed = combinations(choices, codes, ("assume",))
    treatments, which_treatment = np.unique(verdicts.astype(str), return_inverse=True)
    sizes = (len(effects), len(treatments), len(allowed), len(kept))
    key = np.ravel_multi_index((which_effects, which_treatment, which_allowed, which_kept), sizes)
    different, which = np.unique(key, return_inverse=True)

    given = [trials.effects(settings, verdict_level) for settings in effects]
    numbers = np.array(
        [[treated(r, str(t), s.get("vtype", "LS")) for t in treatments] for r, s in zip(given, effects, strict=True)]
    )
    assumed = np.array([r.assumed for r in given])
    masks = np.array([trials.kept(settings) for settings in kept])
    forbids = np.array([s.get("assume") is False for s in allowed])
    e, t, a, m = np.unravel_index(different, sizes)
    use = masks[m] & ~(forbids[a][:, None] & assumed[e])
    tables = np.where(use[:, None, :], numbers[e, t], np.nan) + 0.0
    tables[np.isnan(tables)] = np.nan  # one bit pattern, so that equal tables have equal bytes
    number: dict[bytes, int] = {}
    same = np.array([number.setdefault(table.tobytes(), len(number)) for table in tables], dtype=np.int64)
    first = np.unique(same, return_index=True)[1]
    return tables[first], same[which]


def _fitted(rows: Array, method: NDArray[Any], test: NDArray[Any], level: float, n_jobs: int) -> dict[str, Array]:
    """Numbers of each fit; `rows` has shape (F, 6, k)."""
    out = {name: np.full(len(rows), np.nan) for name in NUMBERS}
    point = np.isfinite(rows[:, 0]) & np.isfinite(rows[:, 1])
    bound = ~point & ~np.isnan(rows[:, 2]) & ~np.isnan(rows[:, 3])
    out["k_points"], out["k_bounds"] = point.sum(axis=1).astype(float), bound.sum(axis=1).astype(float)
    counted = (point | bound).any(axis=1)
    if not counted.any():
        raise DataError("At least one specification must have a trial with a usable result, but none has.")
    tasks, places = [], []
    for m, t in sorted(set(zip(method.tolist(), test.tolist(), strict=True))):
        at = np.flatnonzero((method == m) & (test == t) & counted)
        for start in range(0, len(at), _PIECE):
            places.append(at[start : start + _PIECE])
            tasks.append((rows[places[-1]], m, t, level))
    for at, numbers in zip(places, run(_fit, tasks, n_jobs, "fitting specifications"), strict=True):
        for name, values in numbers.items():
            out[name][at] = values
    return out


def _fit(rows: Array, method: str, test: str, level: float) -> dict[str, Array]:
    point = np.isfinite(rows[:, 0]) & np.isfinite(rows[:, 1])
    if test == "LR":
        bound = ~point & ~np.isnan(rows[:, 2]) & ~np.isnan(rows[:, 3])
        columns = dict(zip(COLUMNS, rows.transpose(1, 0, 2), strict=True))
        fits: Any = random_effects_bounded(**columns, mask=point | bound, level=level)
    else:
        fits = batch.random_effects(rows[:, 0], rows[:, 1], point, method=method, test=test, level=level)
    low, high = fits.ci()
    return {"ci_low": low, "ci_high": high} | {
        name: getattr(fits, name) for name in ("estimate", "se", "p_value", "tau2")
    }
