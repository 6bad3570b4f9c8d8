"""One row per trial: the effect size, or the bound, that its report gives for symptoms at the end of CBT."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from metamiq.effects.cells import Evidence, text
from metamiq.effects.choice import PRIMARY_RULE, PrimaryRule
from metamiq.effects.trial_rows import EFFECT_COLUMNS, LAST_COLUMNS, NUMERIC, RESULT_COLUMNS, TRIAL_COLUMNS, TrialReader
from metamiq.errors import DataError

#: What groups 1 and 2 are in every table of this evidence.
ARMS = ("MI + CBT", "CBT")

#: Columns of trials.csv that a moderator analysis has no use for, or that the table has under another name.
_LEFT_BEHIND = {
    "doi",
    "n_arms",
    "n_cbt",
    "n_mi",
    "n_randomised_all",
    "n_total",
    "note",
    "overlaps_with",
    "pmid",
    "reason",
    "registry",
    "role",
}


def trial_effects(
    ds: Evidence,
    *,
    choice: Mapping[str, str] | None = None,
    assume: bool = True,
    vtype: str = "LS",
    level: float = 0.95,
    rule: PrimaryRule = PRIMARY_RULE,
) -> pd.DataFrame:
    """Turn the evidence into an effects table: one row per trial with a usable result, a point or a bound.

    A point (``kind`` "point") is Hedges' g with its variance, in ``yi`` and ``vi``. A bound (``kind``
    "bound") comes from a verdict: ``yi_low`` and ``yi_high`` are the interval in which g must lie, see
    `bound`, and ``yi``, ``vi`` are NaN. Positive always means that MI + CBT (group 1) did better.

    Parameters
    ----------
    ds : Dataset
        With the tables ``trials`` and ``results``.
    choice : mapping of trial_id to result_id, optional
        Results to use instead of those that `rule` picks.
    assume : bool
        False drops the trials whose arm sizes are not known but assumed (column ``n_source``).
    vtype : {"LS", "LS2", "UB"}
        Variance formula of the points, see `hedges_g`.
    level : float
        0.95 when verdicts are those of two-sided 5% tests.
    rule : PrimaryRule
        Which result of a trial counts.

    Returns
    -------
    DataFrame
        In the order of ``ds.trials``. Besides trial and result columns: ``kind yi vi yi_low yi_high n1i n2i
        n_source assumption route``. ``assumption`` is empty where nothing was assumed, ``route`` says in
        words how the row was computed. Further columns of ``ds.trials``, possible
        moderators, follow. ``attrs`` holds ``measure`` ("SMD"), ``groups`` (the arms' names) and ``verdict_level``.

    Raises
    ------
    DataError
        If no trial is usable, `choice` names something that cannot be used, or numbers of a result contradict
        each other; all such results are listed.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> trials = pd.DataFrame([{"trial_id": "a", "role": "candidate", "n_total": 40}])
    >>> results = pd.DataFrame([{"result_id": "a1", "trial_id": "a", "domain": "symptoms",
    ...     "timepoint": "post", "report": "significant", "favours": "mi"}])
    >>> row = trial_effects(SimpleNamespace(trials=trials, results=results)).iloc[0]
    >>> print(f"{row.kind}: {row.yi_low:.3f} to {row.yi_high} ({row.assumption})")
    bound: 0.627 to inf (arm sizes: total 40 split 20 and 20)
    """
    effects, _ = _split_trials(ds, choice, assume, vtype, level, rule)
    if effects.empty:
        advice = " Allow assumed arm sizes with assume=True." if not assume else ""
        raise DataError(
            f"At least one trial must have a result that gives a point or a bound, but none of "
            f"{len(ds.trials)} has. excluded_trials(ds) says why for each.{advice}"
        )
    return effects


def excluded_trials(
    ds: Evidence,
    *,
    choice: Mapping[str, str] | None = None,
    assume: bool = True,
    rule: PrimaryRule = PRIMARY_RULE,
) -> pd.DataFrame:
    """List the trials that `trial_effects` leaves out, with the reason in words.

    Parameters
    ----------
    ds, choice, assume, rule
        As in `trial_effects`.

    Returns
    -------
    DataFrame
        ``trial_id label role reason``, in the order of ``ds.trials``. ``role`` tells trials of another
        question ("excluded") from candidates whose reports give nothing to pool ("candidate").

    Raises
    ------
    DataError
        As `trial_effects`, except that every trial may be excluded.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> trials = pd.DataFrame([{"trial_id": "b", "label": "B 2012", "role": "excluded", "reason": "no CBT"}])
    >>> results = pd.DataFrame(columns=["result_id", "trial_id"])
    >>> print(excluded_trials(SimpleNamespace(trials=trials, results=results)).to_string(index=False))
    trial_id  label     role reason
           b B 2012 excluded no CBT
    """
    _, excluded = _split_trials(ds, choice, assume, "LS", 0.95, rule)
    return excluded


def bounds_statement(effects: pd.DataFrame) -> str:
    """Say in one line how many rows are bounds and what they rest on.

    Parameters
    ----------
    effects : DataFrame
        From `trial_effects`, or any selection of its rows.

    Returns
    -------
    str
        One line, without a final line break.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": ["point", "bound"], "n_source": ["reported", "assumed"],
    ...                       "domain": ["symptoms", "response"]})
    >>> print(bounds_statement(table))
    1 of 2 rows is a bound, which rests on a two-sided 5% t test at the end of treatment with these arm sizes
    (assumed in 1), except 1 on a verdict on response.
    """
    n, total = int((effects["kind"] == "bound").sum()), len(effects)
    if n == 0:
        return f"No row is a bound: {'the only row is a point' if total == 1 else f'all {total} are points'}."
    percent = 100.0 * (1.0 - float(effects.attrs.get("verdict_level", 0.95)))
    bounds = effects[effects["kind"] == "bound"]
    assumed = int((bounds["n_source"] == "assumed").sum())
    response = int((bounds["domain"] != "symptoms").sum())
    words = "is a bound, which rests" if n == 1 else "are bounds, which rest"
    test = f"a two-sided {percent:g}% t test at the end of treatment"
    line = f"{n} of {total} rows {words} on {test} with these arm sizes"
    line += f" (assumed in {assumed})" if assumed else ""
    directions = int((bounds["report"] == "direction").sum()) if "report" in bounds else 0
    apart = [f"{directions} on a direction alone"] if directions else []
    apart += [f"{response} on a verdict on response"] if response else []
    return line + (f", except {' and '.join(apart)}" if apart else "") + "."


def _split_trials(
    ds: Evidence,
    choice: Mapping[str, str] | None,
    assume: bool,
    vtype: str,
    level: float,
    rule: PrimaryRule,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    reader = TrialReader(ds)
    rows, reasons = reader.rows(choice, assume, vtype, level, rule)
    columns = ["trial_id", *TRIAL_COLUMNS, *RESULT_COLUMNS, *EFFECT_COLUMNS, *LAST_COLUMNS]
    effects = pd.DataFrame(rows, columns=columns)
    others = [name for name in ds.trials.columns if name not in {*columns, *_LEFT_BEHIND}]
    extra = ds.trials.set_index("trial_id")[others].reindex(effects["trial_id"])
    effects = pd.concat([effects, extra.reset_index(drop=True)], axis=1)
    effects = effects.astype({name: "float64" for name in NUMERIC})
    if effects["year"].notna().all():
        effects["year"] = effects["year"].astype("int64")
    effects.attrs |= {"measure": "SMD", "verdict_level": level, "groups": ARMS, "better": "higher"}
    excluded = [
        {name: text(trial, name) for name in ("trial_id", "label", "role")} | {"reason": reasons[trial_id]}
        for trial_id, trial in reader.read.trials.items()
        if trial_id in reasons
    ]
    return effects, pd.DataFrame(excluded, columns=["trial_id", "label", "role", "reason"])
