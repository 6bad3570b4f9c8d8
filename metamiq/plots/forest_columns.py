"""The columns of text beside a forest plot, in each of its layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.plots.forest_rows import Fit, measure_of, numbers
from metamiq.plots.judgements import SIGNS
from metamiq.plots.models import is_multilevel, is_posterior
from metamiq.plots.row_layout import TextColumn
from metamiq.plots.scale import Scale
from metamiq.plots.style import clean, number, wrap
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.subgroups import Subgroups
from metamiq.wording import true_minus

LAYOUTS = ("apa", "default", "revman")
ARM_FIELDS = ("m1i", "sd1i", "m2i", "sd2i")
ROB = {**{word: word for word in SIGNS}, "some": "some concerns"}  # spelling: judgement
_REVMAN = {"SMD": "Std. Mean Difference", "MD": "Mean Difference", "OR": "Odds Ratio", "PETO": "Peto Odds Ratio"}
_REVMAN |= {"RR": "Risk Ratio", "RD": "Risk Difference", "IRR": "Rate Ratio"}
_WEIGHING = {
    "UM.FS": "GLMM, Random",
    "CM.EL": "GLMM, Random",
    "FE": "IV, Fixed",
    "MH": "M-H, Fixed",
    "PETO": "Peto, Fixed",
}


def with_columns(rows: pd.DataFrame, effects: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows, with the user's columns of the effects table as `user_<name>`."""
    missing = [c for c in columns if c not in effects]
    if missing:
        raise DataError(
            f"Every column to show must be in the effects table, but {', '.join(missing)} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    at = rows["position"].to_numpy(dtype=int)
    for name in columns:
        values = effects[name].tolist()
        rows[f"user_{name}"] = [_cell(values[i]) if i >= 0 else "" for i in at]
    return rows


def with_arms(rows: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """The rows, with the texts `m1i_text sd1i_text m2i_text sd2i_text`, empty where a table lacks the numbers."""
    at = rows["position"].to_numpy(dtype=int)
    for name in ARM_FIELDS:
        values = numbers(effects, name)
        rows[f"{name}_text"] = [number(values[i]) if i >= 0 and np.isfinite(values[i]) else "" for i in at]
    return rows


def with_risk_of_bias(rows: pd.DataFrame, effects: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str], dict[str, str]]:
    """The rows with the sign of each judgement, the domains (columns `rob_<domain>`) by letter, and words by sign."""
    fields = [str(c) for c in effects.columns if str(c).startswith("rob_")]
    at = rows["position"].to_numpy(dtype=int)
    faults: list[str] = []
    used: set[str] = set()
    for name in fields:
        given = ["" if pd.isna(v) else clean(v).lower() for v in effects[name]]
        words = [ROB.get(v, "") for v in given]
        faults += [f"{name} has {v!r} in row {i + 1}" for i, v in enumerate(given) if v and v not in ROB]
        rows[f"{name}_text"] = [SIGNS.get(words[i], "") if i >= 0 else "" for i in at]
        used |= {words[i] for i in at if i >= 0}
    if faults:
        raise DataError(
            f"Risk of bias must be one of {', '.join(map(repr, sorted(ROB)))} or empty, but {'; '.join(faults)}. "
            "Correct it, or rename the column so that it does not begin with rob_."
        )
    # Judgements that were joined from a table of their own keep its names: D1, D2, ..., Overall.
    joined = effects.attrs.get("risk_of_bias", {})
    letters = (f"{chr(ord('A') + i % 26)}{i // 26 + 1 if i >= 26 else ''}" for i in range(len(fields)))
    named = [name[4:].replace("overall", "Overall") if name in joined else next(letters) for name in fields]
    signs: dict[str, str] = {}
    for word in (w for w in SIGNS if w in used):
        signs[SIGNS[word]] = f"{signs[SIGNS[word]]} or {word}" if SIGNS[word] in signs else word
    return rows, dict(zip(named, fields, strict=True)), signs


def risk_of_bias_line(effects: pd.DataFrame, domains: Mapping[str, str], signs: Mapping[str, str]) -> list[str]:
    """The footer line that says what letters and signs mean."""
    if not domains:
        return []
    joined = effects.attrs.get("risk_of_bias", {})
    titles = {letter: clean(joined.get(name, name[4:].replace("_", " "))) for letter, name in domains.items()}
    named = ", ".join(f"{letter} {title}" for letter, title in titles.items() if letter != title)
    symbols = ", ".join(f"{sign} {word}" for sign, word in signs.items())
    return [f"Risk of bias: {named or 'by domain'}" + (f". Symbols: {symbols}." if symbols else ".")]


def text_columns(
    rows: pd.DataFrame,
    headers: Mapping[str, str],
    groups: tuple[str, str],
    level: float,
    *,
    fit: Fit,
    layout: str,
    arms: bool,
    domains: Mapping[str, str],
) -> list[TextColumn]:
    """Which columns stand where: RevMan has all numbers left of the plot, the others have the estimate at its right."""
    revman = layout == "revman"
    out = [TextColumn("label", "Study or Subgroup" if revman else "", "left", "left")]
    out += [TextColumn(f"user_{field}", wrap(header, 20), "left", "left") for field, header in headers.items()]
    for i, group in enumerate(groups, start=1):
        shown = [(f"m{i}i_text", "Mean" if revman else "mean"), (f"sd{i}i_text", "SD")] if arms else []
        if revman:
            shown += [(f"events{i}_text", "Events"), (f"total{i}_text", "Total")]
        else:
            shown.append((f"n{i}_text", "events/n" if rows[f"n{i}_text"].str.contains("/").any() else "n"))
        shown = [(f, u) for f, u in shown if (rows[f] != "").any()]
        out += [TextColumn(f, unit, group=wrap(group, 14 * len(shown))) for f, unit in shown]
    side = "left" if revman else "right"
    bounds = " or bound" if (rows["kind"] == "bound").any() else ""
    scale = Scale(measure_of(fit))
    header = f"Estimate [{100 * level:g}% CI]{bounds}"
    if layout == "apa" and scale.measure is not None:
        header = f"{wrap(scale.short[:1].upper() + scale.short[1:], 24)} [{100 * level:g}% CI]{bounds}"
    if revman:
        name = _REVMAN.get(scale.measure or "", scale.name.removesuffix(" (log scale)"))
        header = f"{wrap(name, 24)}\n{_weighing(fit)}, {100 * level:g}% CI{bounds}"
    columns = [TextColumn("effect_text", header, side)]
    if (rows["weight_text"] != "").any() and layout != "apa":
        columns.insert(0 if revman else 1, TextColumn("weight_text", "Weight", side))
    dots = [TextColumn(f"{name}_text", letter, "right", "center", dot=True) for letter, name in domains.items()]
    return out + columns + dots


def _weighing(fit: Fit) -> str:
    if is_posterior(fit):
        return "Bayes, Random"
    if isinstance(fit, BoundedFit) or is_multilevel(fit):
        return f"{fit.method}, Random"
    if isinstance(fit, PooledEffect):
        return _WEIGHING.get(fit.method, "IV, Random" if fit.combine is None else "Random")
    if isinstance(fit, Subgroups):
        return _WEIGHING.get(next(iter(fit.fits.values())).method, "IV, Random")
    return "IV, Random"


def _cell(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    return true_minus(f"{value:g}" if isinstance(value, float) else str(value))
