"""Which of a trial's reported results is the one to pool: a visible rule, and overrides by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metamiq.effects.bounds import VERDICTS
from metamiq.effects.cells import Evidence, ReadEvidence, Record, number, text
from metamiq.errors import DataError

#: Statements that give an effect size, with the columns that must be filled.
POINT_REPORTS: dict[str, tuple[str, ...]] = {
    "F": ("value", "favours"),
    "change_means": ("mean_mi", "sd_mi", "mean_cbt", "sd_cbt", "favours"),
    "ci": ("ci_low", "ci_high"),
    "d": ("value",),
    "g": ("value",),
    "means": ("mean_mi", "sd_mi", "mean_cbt", "sd_cbt", "favours"),
    "p": ("p", "favours"),
    "smd": ("value",),
    "t": ("value",),
}

#: Statements that give nothing to pool, and why.
UNUSABLE_REPORTS: dict[str, str] = {
    "means_without_sd": "arm means without standard deviations",
    "not_reported": "no comparison of the two arms is given",
    "odds_ratio": "an odds ratio without its interval",
    "slope": "a slope over time, which is not a standardised mean difference",
}


@dataclass(frozen=True, slots=True)
class PrimaryRule:
    """Rule that picks one result per trial.

    A result is eligible when its domain, time point and certainty allow it and when it states something that
    can be pooled. Among a trial's eligible results the first domain in the list wins, then a preferred rater,
    then a point over a bound, then the order of the table. The rater comes before the kind of statement, so
    that the outcome does not depend on how fully it was reported.

    Attributes
    ----------
    domains : tuple of str
        Domains in order of preference.
    timepoints : tuple of str
        Time points that count; ``post`` is the end of CBT.
    raters : tuple of str
        Preferred raters in order; any other rater, or none named, comes after them.
    not_certainty : tuple of str
        Values of `certainty` that keep a result for sensitivity analyses.
    """

    domains: tuple[str, ...] = ("symptoms", "response")
    timepoints: tuple[str, ...] = ("post",)
    raters: tuple[str, ...] = ("clinician",)
    not_certainty: tuple[str, ...] = ("direction inferred",)

    def describe(self) -> str:
        """Put the rule in one sentence.

        Examples
        --------
        >>> print(PrimaryRule().describe())
        One result per trial: symptoms before response, at post, clinician-rated where both exist, points
        before bounds, nothing whose certainty is 'direction inferred'.
        """
        unwanted = ", ".join(repr(word) for word in self.not_certainty)
        parts = [" before ".join(self.domains), "at " + " or ".join(self.timepoints)]
        parts += [" before ".join(self.raters) + "-rated where both exist"] if self.raters else []
        parts += ["points before bounds"]
        parts += [f"nothing whose certainty is {unwanted}"] if unwanted else []
        return "One result per trial: " + ", ".join(parts) + "."

    def objection(self, result: Record) -> str:
        """Why this result is not eligible, in words; empty when it is."""
        what = text(result, "outcome") or text(result, "domain")
        if text(result, "domain") not in self.domains:
            return f"{what}: the domain is {text(result, 'domain')}, not {' or '.join(self.domains)}"
        if text(result, "timepoint") not in self.timepoints:
            return f"{what}: measured at {text(result, 'timepoint')}, not at {' or '.join(self.timepoints)}"
        if text(result, "certainty") in self.not_certainty:
            return f"{what}: {text(result, 'certainty')}, kept for sensitivity analyses"
        return unusable(result)

    def rank(self, result: Record) -> tuple[int, int, int]:
        """Order of preference among eligible results, smallest first."""
        rater = text(result, "rater")
        return (
            self.domains.index(text(result, "domain")),
            self.raters.index(rater) if rater in self.raters else len(self.raters),
            0 if text(result, "report") in POINT_REPORTS else 1,
        )


#: The rule of the primary analysis.
PRIMARY_RULE = PrimaryRule()


def unusable(result: Record) -> str:
    """Why a result gives neither a point nor a bound, in words; empty when it does give one.

    Examples
    --------
    >>> unusable({"report": "means_without_sd", "outcome": "OCD severity"})
    'OCD severity: arm means without standard deviations'
    >>> unusable({"report": "nonsignificant", "outcome": "worry"})
    ''
    """
    report, what = text(result, "report"), text(result, "outcome") or text(result, "domain")
    if report in UNUSABLE_REPORTS:
        return f"{what}: {UNUSABLE_REPORTS[report]}"
    if report in VERDICTS:
        needs: tuple[str, ...] = () if report == "nonsignificant" else ("favours",)
    elif report in POINT_REPORTS:
        needs = POINT_REPORTS[report]
    else:
        return f"{what}: report {report!r} is not one that can be pooled"
    missing = [column for column in needs if not text(result, column)]
    if missing:
        return f"{what}: report is {report!r} but {', '.join(missing)} is empty"
    sign = number(result, "value")
    if report in ("d", "g", "smd", "t") and sign and text(result, "favours"):
        agrees = (sign > 0) == (text(result, "favours") == "mi")
        if not agrees:
            raise DataError(
                f"value must be positive when favours is 'mi' and negative when it is 'cbt', but result "
                f"{text(result, 'result_id')!r} of trial {text(result, 'trial_id')!r} has {sign:g} and "
                f"{text(result, 'favours')!r}. Turn the sign so that positive means that MI + CBT did better."
            )
    return ""


def choose_results(
    ds: Evidence, choice: Mapping[str, str] | None = None, rule: PrimaryRule = PRIMARY_RULE
) -> tuple[dict[str, Record], dict[str, str]]:
    """Pick the result of each trial, and say in words why a trial has none.

    Parameters
    ----------
    ds : Dataset
        With the tables ``trials`` and ``results``.
    choice : mapping of trial_id to result_id, optional
        Overrides the rule for these trials; any usable result of the trial may be named.
    rule : PrimaryRule
        The rule for all others.

    Returns
    -------
    chosen : dict of trial_id to result
        In the order of ``trials``.
    reasons : dict of trial_id to str
        Every other trial.

    Raises
    ------
    DataError
        If `choice` names an unknown or excluded trial, a result of another trial, or one that cannot be used.
    """
    return choose_records(ReadEvidence(ds), choice, rule)


def choose_records(
    read: ReadEvidence, choice: Mapping[str, str] | None = None, rule: PrimaryRule = PRIMARY_RULE
) -> tuple[dict[str, Record], dict[str, str]]:
    """`choose_results` for tables that have been read already."""
    choice = dict(choice or {})
    trials, by_trial = read.trials, read.results
    _check_choice(choice, trials, by_trial)

    chosen: dict[str, Record] = {}
    reasons: dict[str, str] = {}
    for trial_id, trial in trials.items():
        results = by_trial.get(trial_id, [])
        if text(trial, "role") == "excluded":
            reasons[trial_id] = text(trial, "reason") or "excluded, without a stated reason"
            continue
        if trial_id in choice:
            chosen[trial_id] = next(r for r in results if text(r, "result_id") == choice[trial_id])
            continue
        objections = [(result, rule.objection(result)) for result in results]
        eligible = [result for result, objection in objections if not objection]
        if eligible:
            chosen[trial_id] = min(eligible, key=rule.rank)  # min keeps the first of equals
        elif not results:
            reasons[trial_id] = "no result is recorded"
        else:
            reasons[trial_id] = "; ".join(
                objection + (f" ({note.rstrip('.')})" if (note := text(result, "note")) else "")
                for result, objection in objections
            )
    for trial_id in list(chosen):
        other = text(trials[trial_id], "overlaps_with")
        if other in chosen:
            reasons[trial_id] = f"reports the same people as {other}, which is pooled"
            del chosen[trial_id]
    return chosen, reasons


def _check_choice(
    choice: Mapping[str, str], trials: Mapping[str, Record], by_trial: Mapping[str, list[Record]]
) -> None:
    problems = []
    for trial_id, result_id in sorted(choice.items()):
        if trial_id not in trials:
            problems.append(f"there is no trial {trial_id!r}")
            continue
        if text(trials[trial_id], "role") == "excluded":
            problems.append(f"trial {trial_id!r} is excluded ({text(trials[trial_id], 'reason')})")
            continue
        own = {text(result, "result_id"): result for result in by_trial.get(trial_id, [])}
        if result_id not in own:
            known = ", ".join(repr(name) for name in sorted(own)) or "none"
            problems.append(f"trial {trial_id!r} has no result {result_id!r} (its results: {known})")
        elif unusable(own[result_id]):
            problems.append(f"result {result_id!r} cannot be pooled ({unusable(own[result_id])})")
    if problems:
        raise DataError("choice must name a usable result of each trial, but " + "; ".join(problems) + ".")
