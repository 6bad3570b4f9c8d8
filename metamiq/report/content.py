"""What a report says, as tables and sentences; how it looks is decided elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.gaps import missing_numbers
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.protocol.compliance import Compliance, as_dict
from metamiq.question import DROPOUT_MEASURES, Answers, Attempt, CannotFit
from metamiq.sensitivity.deletion import cumulative, leave_one_out
from metamiq.tails import critical_value
from metamiq.verdicts import Audit
from metamiq.wording import count, fixed

QUESTION = "Does motivational interviewing (MI) added to cognitive behaviour therapy (CBT) help with anxiety?"
_SCOPE = (
    ("all", "all candidate trials", "pooled"),
    ("by-2018-04", "published by April 2018", "early"),
    ("later", "published after April 2018", "later"),
    ("no-assumptions", "without assumed arm sizes", "no_assumptions"),
    ("few-sessions", "one or two MI sessions", "few_sessions"),
)
_ESTIMATE_COLUMNS = (
    *("k", "k_points", "k_bounds"),
    *("estimate", "ci_low", "ci_high", "p_value", "pi_low", "pi_high", "tau2", "I2"),
)


def answer(answers: Answers) -> list[str]:
    """The answer in plain sentences, with its uncertainty and what it rests on."""
    fit = answers.pooled
    if isinstance(fit, CannotFit):
        return [f"The evidence cannot be pooled: {fit.reason}"]
    (low, high), (pi_low, pi_high) = fit.ci(), fit.pi()
    if low > 0:
        said = "On the evidence that can be read, MI added to CBT reduces anxiety more than CBT alone"
    elif high < 0:
        said = "On the evidence that can be read, MI added to CBT reduces anxiety less than CBT alone"
    else:
        said = "The evidence that can be read does not show whether MI added to CBT helps"
    percent = f"{100 * fit.level:g}%"
    first = (
        f"{said}: pooled Hedges g = {fixed(fit.estimate)} ({percent} interval {fixed(low)} to {fixed(high)}; "
        f"positive favours MI + CBT), from {fit.k} trials: {count(fit.k_points, 'effect size')} and "
        f"{count(fit.k_bounds, 'bound')}."
    )
    if pi_low <= 0 <= pi_high:
        second = (
            f"Trials differ (I2 = {fit.I2:.0f}%): in a new trial the effect may lie between {fixed(pi_low)} and "
            f"{fixed(pi_high)}, so that no benefit there would be no surprise."
        )
    else:
        second = f"In a new trial the effect may lie between {fixed(pi_low)} and {fixed(pi_high)} (I2 = {fit.I2:.0f}%)."
    return [first, second, fit.basis]


def effects_table(answers: Answers) -> pd.DataFrame:
    """One row per usable trial: point or bound, with the assumption, the route and the source."""
    columns = [
        *("trial_id", "label", "year", "disorder", "mi_sessions", "published_by_2018_04", "result_id", "outcome"),
        *("report", "kind", "yi", "vi", "yi_low", "yi_high", "n1i", "n2i", "n_source", "assumption", "route"),
        *("certainty", "source", "note"),
    ]
    table = answers.effects[columns].copy()
    table["doi"] = table["trial_id"].map(answers.ds.trials.set_index("trial_id")["doi"])
    fit = answers.pooled
    table["weight"] = np.nan if isinstance(fit, CannotFit) else 100.0 * fit.weights
    return table


def deletions_table(answers: Answers) -> pd.DataFrame:
    """The pooled mean without each trial in turn."""
    return _series(answers, "without", leave_one_out)


def cumulative_table(answers: Answers) -> pd.DataFrame:
    """The pooled mean as trials were published."""
    return _series(answers, "added", cumulative)


def _series(answers: Answers, name: str, refits: Callable[[BoundedFit], pd.DataFrame]) -> pd.DataFrame:
    fit = answers.pooled
    columns = [name, "k", "estimate", "se", "ci_low", "ci_high", "tau2"]
    try:
        if isinstance(fit, CannotFit):
            raise DataError(fit.reason)
        table = refits(fit).reset_index()
    except DataError:  # one trial, or a year that is not known
        return pd.DataFrame(columns=columns)
    labels = answers.effects.set_index("trial_id")["label"]
    return table.assign(**{name: table[name].map(labels)})[[*columns, *table.columns.difference(columns)]]


def _estimate_row(fit: Attempt, name: str) -> dict[str, Any]:
    if isinstance(fit, CannotFit):
        return {"analysis": name, "note": fit.reason}
    row: dict[str, Any] = {
        c: getattr(fit, c) for c in ("k", "k_points", "k_bounds", "estimate", "p_value", "tau2", "I2")
    }
    (row["ci_low"], row["ci_high"]), (row["pi_low"], row["pi_high"]) = fit.ci(), fit.pi()
    return {"analysis": name, **row, "note": ""}


def estimates_table(answers: Answers) -> pd.DataFrame:
    """The pooled effect under each choice of trials, and what is left when verdicts are dropped."""
    rows = [_estimate_row(getattr(answers, attribute), name) for _, name, attribute in _SCOPE]
    points = answers.points_only
    if isinstance(points, CannotFit):
        rows.append({"analysis": "effect sizes only, verdicts dropped", "note": points.reason})
    else:
        ci, pi = points.ci(), points.pi()
        rows.append(
            {
                "analysis": "effect sizes only, verdicts dropped",
                **{c: getattr(points, c) for c in ("k", "estimate", "p_value", "tau2", "I2")},
                "k_points": points.k, "k_bounds": 0,
                "ci_low": ci.low, "ci_high": ci.high, "pi_low": pi.low, "pi_high": pi.high,
                "note": "one effect size: its own sampling error only" if points.k == 1 else "REML, Knapp-Hartung",
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["analysis", *_ESTIMATE_COLUMNS, "note"])


def moderators_table(answers: Answers) -> pd.DataFrame:
    """Coefficients and likelihood-ratio tests of each moderator."""
    rows: list[dict[str, Any]] = []
    for name, fit in (("disorder", answers.disorder), ("MI sessions", answers.dose), ("era", answers.era)):
        if isinstance(fit, CannotFit):
            rows.append({"moderator": name, "note": fit.reason})
            continue
        p = float(fit.term_tests["p_value"].iloc[0])
        note = "; ".join(f"compared with {v}" for v in fit.design.reference_levels.values()) if fit.design else ""
        if fit.omitted:
            note += f"{'; ' if note else ''}left out, unknown: {', '.join(fit.omitted)}"
        for row in fit.coefficients.reset_index().to_dict(orient="records"):
            extra = {"moderator": name, "term_p": p, "k_points": fit.k_points, "k_bounds": fit.k_bounds, "note": note}
            rows.append({str(c): v for c, v in (row | extra).items()})
    dropout = answers.dropout_as_moderator
    if isinstance(dropout, CannotFit):
        rows.append({"moderator": "dropout", "note": dropout.reason})
    else:
        slope = dropout.coefficients.loc[["dropout_log_or"]].to_dict(orient="records")[0]
        rows.append(
            {"moderator": "dropout", "term": "log odds ratio", "note": ""} | {str(c): v for c, v in slope.items()}
        )
    columns = [
        "moderator", "term", "estimate", "se", "ci_low", "ci_high", "p_value", "term_p", "k_points", "k_bounds", "note",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def groups_table(answers: Answers) -> pd.DataFrame:
    """Mean effect per disorder under one common tau2."""
    fit = answers.disorder
    if isinstance(fit, CannotFit):
        return pd.DataFrame(columns=["disorder", "estimate", "se", "ci_low", "ci_high", "k_points", "k_bounds"])
    return fit.group_means().reset_index()


def dropout_table(answers: Answers) -> pd.DataFrame:
    """Dropout per trial and pooled, as odds ratio, risk ratio and risk difference."""
    rows: list[dict[str, Any]] = []
    for measure, words in DROPOUT_MEASURES.items():
        if answers.dropout.empty:
            break
        ratio = measure != "RD"
        effects = answers.dropout_effects(measure)
        half = critical_value(answers.level) * np.sqrt(effects["vi"].to_numpy())
        for row, h in zip(effects.to_dict(orient="records"), half, strict=True):
            rows.append(
                {
                    "measure": words,
                    "row": row["label"],
                    "counts": f"{row['ai']}/{row['n1i']} v {row['ci']}/{row['n2i']}",
                    **_on_scale(row["yi"], row["yi"] - h, row["yi"] + h, ratio),
                }
            )
        for label, fit in (
            ("Mantel-Haenszel", answers.dropout_common[measure]),
            ("random effects (REML)", answers.dropout_pooled[measure]),
        ):
            ci = fit.ci()
            rows.append(
                {"measure": words, "row": label, "counts": f"k = {fit.k}",
                 **_on_scale(fit.estimate, ci.low, ci.high, ratio), "p_value": fit.p_value}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["measure", "row", "counts", "estimate", "ci_low", "ci_high", "p_value"])


def _on_scale(estimate: float, low: float, high: float, ratio: bool) -> dict[str, float]:
    values = [math.exp(x) if ratio else float(x) for x in (estimate, low, high)]
    return dict(zip(("estimate", "ci_low", "ci_high"), values, strict=True))


def tables(answers: Answers, audit: Audit) -> dict[str, pd.DataFrame]:
    """Every table of the report, by file name."""
    return {
        "effects": effects_table(answers),
        "excluded": answers.excluded,
        "estimates": estimates_table(answers),
        "moderators": moderators_table(answers),
        "groups": groups_table(answers),
        "dropout": dropout_table(answers),
        "leave_one_out": deletions_table(answers),
        "cumulative": cumulative_table(answers),
        "verdicts": audit.to_frame(),
        "missing": missing_numbers(answers.ds),
    }


def results(
    answers: Answers, audit: Audit, contents: dict[str, pd.DataFrame], planned: Compliance | None = None
) -> dict[str, Any]:
    """Everything as one JSON-ready object; undefined numbers are null, infinite ends the strings "inf" and "-inf"."""
    fit = answers.pooled
    pooled: dict[str, Any] = {"error": fit.reason} if isinstance(fit, CannotFit) else _pooled(fit)
    if planned is not None:
        pooled["planned"] = planned.label("pooled")
    return {
        "question": QUESTION,
        "answer": answer(answers),
        "pooled": pooled,
        "tables": {name: json_rows(table) for name, table in contents.items()},
        "agrees": audit.agrees,
        "protocol": as_dict(planned),
    }


def _pooled(fit: BoundedFit) -> dict[str, Any]:
    row: dict[Any, Any] = fit.to_frame().iloc[0].to_dict()
    extra: dict[Any, Any] = {
        c: getattr(fit, c) for c in ("k", "k_points", "k_bounds", "n_studies", "tau2", "I2", "method", "test", "level")
    }
    tau2 = fit.tau2_ci()
    extra |= {"tau2_low": tau2.low, "tau2_high": tau2.high, "basis": fit.basis}
    return {k: json_value(v) for k, v in {**row, **extra}.items()}


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as objects that JSON can hold."""
    return [{str(k): json_value(v) for k, v in row.items()} for row in table.to_dict(orient="records")]


def json_value(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else None if math.isnan(number) else str(number)
    return None if value is None or value is pd.NA else str(value)
