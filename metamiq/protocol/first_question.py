"""The analyses of the first question, as a protocol names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metamiq.effects.choice import PRIMARY_RULE
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.protocol.compliance import Analysis, Ask, Compliance, comply
from metamiq.protocol.record import Protocol
from metamiq.protocol.vocabulary import DROPOUT_MODELS, SENSITIVITY, SMALL_STUDY
from metamiq.question import CUTOFF, DROPOUT_MEASURES, FEW_SESSIONS, Answers, CannotFit

#: Sensitivity analyses that refit the main model.
_REFITS = ("leave_one_out", "cumulative")

#: How points and bounds are pooled together.
TOGETHER = {"bounds": "bounds", "method": "ML", "test": "LR"}


def settings_of_effects(level: float) -> dict[str, Any]:
    """What `trial_effects` does by default."""
    which = {name: getattr(PRIMARY_RULE, name) for name in ("domains", "raters", "timepoints", "not_certainty")}
    return {"measure": "SMD", "vtype": "LS", "level": level, **which}


def first_question_compliance(protocol: Protocol, answers: Answers, done: Iterable[tuple[str, str]] = ()) -> Compliance:
    """Label the analyses of the first question.

    Parameters
    ----------
    protocol : Protocol
        From `read_protocol`.
    answers : Answers
        The analyses; their keys are its attributes ("pooled", "early", ...), and "dropout OR mantel_haenszel" and the
        like for dropout.
    done : iterable of (str, str)
        Sensitivity analyses beside them, each with why it could not be done ("" where it could).
    """
    effects = answers.effects
    numbers = settings_of_effects(answers.level)
    together = numbers | TOGETHER

    def ask(kind: str, what: str = "", **more: Any) -> Ask:
        return Ask(kind, what, together, **more)

    def alone(name: str) -> Ask:
        """A choice of trials that the protocol names as a sensitivity analysis of its own."""
        return Ask("sensitivity", name, together, any_trials=True)

    def group(column: str) -> Ask:
        return Ask("subgroup", column, together, any_trials=True)

    published = effects[CUTOFF].to_numpy()
    points = _points(answers, numbers)
    analyses = [
        Analysis("pooled", "all candidate trials", (ask("estimate"),), _reason(answers.pooled)),
        Analysis(
            "early",
            "published by April 2018",
            (ask("estimate", rows=published == "yes"), group(CUTOFF)),
            _reason(answers.early),
        ),
        Analysis(
            "later",
            "published after April 2018",
            (ask("estimate", rows=published == "no"), group(CUTOFF)),
            _reason(answers.later),
        ),
        Analysis(
            "no_assumptions",
            "without assumed arm sizes",
            (
                ask("estimate", rows=(effects["n_source"] != "assumed").to_numpy()),
                alone("without_assumed_sizes"),
            ),
            _reason(answers.no_assumptions),
        ),
        Analysis(
            "few_sessions",
            "one or two MI sessions",
            (
                ask("estimate", rows=(effects["mi_sessions"] <= FEW_SESSIONS).to_numpy()),
                alone("few_sessions"),
            ),
            _reason(answers.few_sessions),
        ),
        Analysis("points_only", "effect sizes only, verdicts dropped", points, _reason(answers.points_only)),
        Analysis("groups", "means by disorder", (ask("subgroup", "disorder"),), _reason(answers.disorder)),
        Analysis(
            "disorder",
            "disorder as a moderator",
            (ask("moderator", "disorder"), ask("subgroup", "disorder")),
            _reason(answers.disorder),
        ),
        Analysis("dose", "MI sessions as a moderator", (ask("moderator", "mi_sessions"),), _reason(answers.dose)),
        Analysis(
            "era",
            "earlier against later trials",
            (ask("moderator", CUTOFF), group(CUTOFF)),
            _reason(answers.era),
        ),
        Analysis(
            "dropout_as_moderator",
            "dropout as a moderator",
            (ask("moderator", "dropout"),),
            _reason(answers.dropout_as_moderator),
        ),
    ]
    for measure, words in DROPOUT_MEASURES.items():
        for model, how in DROPOUT_MODELS.items():
            failed = "No trial has dropout counts in both arms." if answers.dropout.empty else ""
            wanted = Ask("dropout", measure, {"model": model, "level": answers.level}, any_trials=True)
            analyses.append(Analysis(f"dropout {measure} {model}", f"dropout as {words}, {how}", (wanted,), failed))
    for name, failed in done:
        one = ask("sensitivity", name) if name in _REFITS else Ask("sensitivity", name, numbers, any_trials=True)
        what = SMALL_STUDY.get(name, SENSITIVITY[name])
        analyses.append(Analysis(name, what, (one,), failed))
    return comply(protocol, analyses, effects)


def _points(answers: Answers, numbers: dict[str, Any]) -> tuple[Ask, ...]:
    """Effect sizes alone: what a plan that drops verdicts means by its main analysis, or a sensitivity analysis."""
    fit = answers.points_only
    settings = numbers | {"bounds": "drop"}
    if isinstance(fit, PooledEffect) and fit.k > 1:  # one effect size has no tau2, whatever the estimator
        settings |= {"method": fit.method, "test": fit.test, "pi_method": fit.pi_method}
    sensitivity = {name: value for name, value in settings.items() if name != "bounds"}
    return (
        Ask("estimate", "", settings, any_trials=True),
        Ask("sensitivity", "points_only", sensitivity, any_trials=True),
    )


def _reason(fit: BoundedFit | PooledEffect | CannotFit) -> str:
    return fit.reason if isinstance(fit, CannotFit) else ""
