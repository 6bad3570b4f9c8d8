"""The steps of one trial of a dataset: its point or its bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.effects.arm_sizes import arm_sizes
from metamiq.effects.bounds import VERDICTS
from metamiq.effects.cells import Record, number, records, text
from metamiq.effects.choice import choose_results, unusable
from metamiq.effects.continuous import hedges_g
from metamiq.effects.derivation import Derivation, Worksheet
from metamiq.effects.measures import MEASURES
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.explaining.measures import RECIPES, explain_row, finish
from metamiq.explaining.reported import convert


def explain_trial(ds: Dataset, name: str, *, level: float = 0.95) -> Derivation:
    """Derive the effect of a trial, or of one of its results, from what the report states.

    Parameters
    ----------
    ds : Dataset
        With the tables ``trials`` and ``results``.
    name : str
        A trial_id, whose primary result is taken, or a result_id.
    level : float
        Coverage of the interval.

    Returns
    -------
    Derivation
        Results ``estimate variance`` of a point, or ``yi_low yi_high`` of a bound: those of `trial_effects`.

    Raises
    ------
    DataError
        If there is no such trial or result, or it gives neither a point nor a bound; the message says why.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> print(explain_trial(load_dataset("mi_cbt_anxiety"), "merlo2010-score-mid").conclusion)
    g = 1.186, 95% interval 0.124 to 2.249 (SE 0.542).
    """
    trials = {text(t, "trial_id"): t for t in records(ds.trials)}
    results = {text(r, "result_id"): r for r in records(ds.results)}
    if name in results:
        result = results[name]
    elif name in trials:
        chosen, reasons = choose_results(ds)
        if name not in chosen:
            own = [r for r, row in results.items() if text(row, "trial_id") == name]
            more = f" Its results are {', '.join(own)}." if own else ""
            raise DataError(f"Trial {name!r} gives nothing to pool: {reasons[name].rstrip('.')}.{more}")
        result = chosen[name]
    else:
        raise DataError(
            f"There is no trial or result {name!r}. The trials are {', '.join(sorted(trials))}. For another dataset or "
            "a study table, name it."
        )
    if why := unusable(result):
        raise DataError(f"Result {name!r} gives nothing to pool: {why}.")
    trial_id, result_id = text(result, "trial_id"), text(result, "result_id")
    engine = _engine_row(ds, trial_id, result_id)
    derivation = convert(
        **_inputs(trials[trial_id], result), level=level, title=_title(trials[trial_id], result)
    ).derivation
    _same(derivation, engine)
    notes = [f"the report states: {text(result, 'report')}; certainty: {text(result, 'certainty')}"]
    notes += [text(result, "note")] if text(result, "note") else []
    others = [r for r, row in results.items() if text(row, "trial_id") == trial_id and r != result_id]
    notes += [f"other results of this trial: {', '.join(others)}"] if others else []
    extra = str(engine.get("assumption") or "")
    return Derivation(
        title=derivation.title,
        given=derivation.given,
        steps=derivation.steps,
        results=derivation.results,
        conclusion=derivation.conclusion,
        assumptions=(*([extra] if extra else []), *derivation.assumptions),
        notes=(*derivation.notes, *notes),
    )


def _title(trial: Record, result: Record) -> str:
    what = text(result, "outcome") or text(result, "domain")
    return f"{text(trial, 'label') or text(trial, 'trial_id')}: {what}, {text(result, 'timepoint')}"


def _engine_row(ds: Dataset, trial_id: str, result_id: str) -> Mapping[str, Any]:
    """The row that the analyses use for this result."""
    table = trial_effects(ds, choice={trial_id: result_id})
    row = table.loc[table["trial_id"] == trial_id]
    if row.empty:  # it reports the same people as another trial, which is the one that counts
        alone = ds.trials.assign(overlaps_with=None)
        table = trial_effects(_Tables(alone, ds.results), choice={trial_id: result_id})
        row = table.loc[table["trial_id"] == trial_id]
    return {str(key): value for key, value in row.iloc[0].to_dict().items()}


class _Tables:
    def __init__(self, trials: pd.DataFrame, results: pd.DataFrame) -> None:
        self.trials, self.results = trials, results


def _inputs(trial: Record, result: Record) -> dict[str, Any]:
    """What `convert` takes, from the cells of a result."""
    report = text(result, "report")
    sizes = arm_sizes(trial, result)
    cells: dict[str, Any] = {"n1": sizes.n1i, "n2": sizes.n2i}
    favours = text(result, "favours") or None
    value, se = number(result, "value"), number(result, "se")
    low, high = number(result, "ci_low"), number(result, "ci_high")
    if report in VERDICTS:
        return {**cells, "verdict": report, "favours": favours}
    if report in ("means", "change_means"):
        names = {"m1": "mean_mi", "sd1": "sd_mi", "m2": "mean_cbt", "sd2": "sd_cbt"}
        numbers = {key: number(result, column) for key, column in names.items()}
        g, _ = hedges_g(numbers["m1"], numbers["sd1"], sizes.n1i, numbers["m2"], numbers["sd2"], sizes.n2i)  # type: ignore[arg-type]
        # Whether a high score is good is not in the table: `favours` gives the sign.
        turned = (g > 0) != (favours == "mi")
        return {**cells, **numbers, "lower_is_better": turned}
    if report == "t":
        return {**cells, "t": value}
    if report == "F":
        return {**cells, "f": value, "favours": favours}
    if report == "p":
        return {**cells, "p": number(result, "p"), "favours": favours}
    scale = "d" if report == "d" else "g"
    known: dict[str, Any] = {**cells, scale: value} if value is not None else cells
    if se is not None:
        return {**known, "se": se}
    if low is not None and high is not None:
        return {**known, "ci_low": low, "ci_high": high, "ci_level": number(result, "ci_level") or 0.95}
    return known


def _same(derivation: Derivation, engine: Mapping[str, Any]) -> None:
    """Refuse an explanation of other numbers than the analyses use."""
    pairs = (
        [("estimate", "yi"), ("variance", "vi")]
        if "estimate" in derivation.results
        else [("yi_low", "yi_low"), ("yi_high", "yi_high")]
    )
    for mine, column in pairs:
        a, b = derivation.results[mine], float(engine[column])
        if not (a == b or abs(a - b) <= 1e-9 * max(1.0, abs(b))):
            raise RuntimeError(
                f"The steps of {derivation.title!r} give {column} = {a:.10g}, but the analyses use {b:.10g}. This is a "
                "fault of metamiq: please report it."
            )


#: Which measure the columns of a study table point to, the first that fits.
_GUESSES = ("PPC_PRE", "SMD", "OR", "ZCOR", "PR")


def explain_study(frame: pd.DataFrame, name: str, measure: str | None = None, *, level: float = 0.95) -> Derivation:
    """Derive one row of a study table, found by its study, trial_id or label.

    Parameters
    ----------
    frame : DataFrame
        A study table.
    name : str
        The row's key.
    measure : str, optional
        By default what its columns point to: PPC_PRE, SMD, OR, ZCOR or PR, the first whose columns are all there.
    level : float
        Coverage of the interval.

    Returns
    -------
    Derivation
        As `explain_row`.

    Raises
    ------
    DataError
        If there is no such row, more than one, or no measure fits.

    Examples
    --------
    >>> from metamiq.datasets import load_dataset
    >>> print(explain_study(load_dataset("normand1999").trials, "edinburgh").conclusion)
    g = -0.355, 95% interval -0.579 to -0.131 (SE 0.114).
    """
    found = pd.DataFrame()
    for column in ("trial_id", "study", "label"):
        if column in frame:
            found = frame.loc[frame[column].astype(str) == name]
            if not found.empty:
                break
    if found.empty:
        keys: list[str] = next(
            (list(frame[c].astype(str).unique()) for c in ("trial_id", "study", "label") if c in frame), []
        )
        known = ", ".join(keys[:30]) + (", ..." if len(keys) > 30 else "")
        raise DataError(f"There is no row {name!r}. The rows are {known}.")
    if len(found) > 1:
        raise DataError(f"{name!r} names {len(found)} rows. Use a trial_id, or cut the table to one row.")
    row = {str(key): value for key, value in found.iloc[0].to_dict().items() if not pd.isna(value)}
    if measure is None:
        fits = [code for code in _GUESSES if set(MEASURES[code].columns) <= set(row)]
        if not fits and {"yi", "vi"} <= set(row):
            return _as_given(row, name, level)
        if not fits:
            raise DataError(
                f"The columns of {name!r} ({', '.join(row)}) do not say which effect size is meant. Name a measure: "
                f"{', '.join(RECIPES)}."
            )
        measure = fits[0]
    return explain_row(row, measure, level=level)


def _as_given(row: Mapping[str, Any], name: str, level: float) -> Derivation:
    """A row that holds its effect size and variance: only the interval is left to derive."""
    sheet = Worksheet(f"Effect size of {name}, as the table gives it")
    sheet.given(y=float(row["yi"]), v=float(row["vi"]))
    sheet.notes.append("the table holds the effect size and its variance, not the numbers that they come from")
    return finish(sheet, "y", level, "effect size")
