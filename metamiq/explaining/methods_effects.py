"""What a methods section says about the effect sizes of a fit, found out from the numbers themselves.

A table does not record by which formula its yi and vi were made, and a program that trusts a label can be wrong. So
the formulas are tried: what a row's means, SDs, counts and sizes give under a formula is compared with the row's yi
and vi, and only a formula that gives all of them is named.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from metamiq.effects.continuous import smd_variance
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.measures import MEASURES, effect_sizes
from metamiq.errors import DataError
from metamiq.wording import count

_RTOL, _ATOL = 1e-9, 1e-12  # one formula, evaluated in another order

_SMD_VARIANCES = {
    "LS": "large-sample variances (@hedges1982)",
    "LS2": "large-sample variances multiplied by the squared correction (@borenstein2009)",
    "UB": "unbiased variances (@hedges1983)",
    "AV": "large-sample variances at the mean effect",
}
_PRE_POST = {"exact": "exact variances", "LS": "large-sample variances"}
#: What the options `vtype` mean, by measure; the first is the default.
_VARIANCES: dict[str, dict[str, str]] = {
    "SMD": _SMD_VARIANCES,
    "MD": {"LS": "variances that let the SDs differ", "HO": "variances that assume equal SDs"},
    "ROM": {"LS": "first-order variances", "SO": "second-order variances"},
    "UCOR": {"LS": "large-sample variances", "UB": "unbiased variances"},
    **dict.fromkeys(("PPC_PRE", "PPC_POST", "PPC_ALL"), _PRE_POST),
}
_CORRECTIONS = {
    "exact": "the exact small-sample correction (@hedges1981)",
    "approx": "the approximate small-sample correction 1 - 3 / (4 m - 1) (@hedges1981)",
    "none": "no small-sample correction",
}
_CITED = {
    "SMDH": "bonett2009", "SMD1": "glass1976", "SMD1H": "bonett2008", "ROM": "hedges1999", "VR": "nakagawa2015",
    "CVR": "nakagawa2015", "OR": "woolf1955", "AS": "ruecker2009", "PETO": "yusuf1985", "ZCOR": "fisher1921",
    "UCOR": "olkin1958", "PFT": "freeman1950", **dict.fromkeys(("PPC_PRE", "PPC_POST", "PPC_ALL"), "morris2008"),
}  # fmt: skip
_TABLES_ADDED = {
    "only0": "in tables with a zero cell",
    "all": "in all tables",
    "if0all": "in all tables, because one has a zero cell",
}


def effect_sentence(frame: pd.DataFrame, yi: Any, vi: Any, measure: str | None) -> str:
    """Say what the effect sizes are and by which formulas they were computed, as far as the table shows it.

    Parameters
    ----------
    frame : DataFrame
        The effects table.
    yi, vi : array_like, shape (k,)
        What was fitted.
    measure : str or None
        Code of the measure, if the table records one.

    Examples
    --------
    >>> from metamiq.effects.measures import effect_sizes
    >>> table = pd.DataFrame({"ai": [4, 6], "n1i": [123, 306], "ci": [11, 29], "n2i": [139, 303]})
    >>> es = effect_sizes(table, "OR")
    >>> print(effect_sentence(es, es["yi"], es["vi"], "OR"))
    The effect of each row is the log odds ratio (@woolf1955).
    """
    if measure is None:
        return (
            "Effect sizes and their sampling variances were taken as the table gives them (columns yi and vi); it does "
            "not record the measure."
        )
    name = MEASURES[measure].meaning if measure in MEASURES else measure
    found = _formula(frame, np.asarray(yi, dtype=float), np.asarray(vi, dtype=float), measure)
    if found is None:
        return (
            f"The effect of each row is the {name} (measure {measure}); effect sizes and sampling variances were taken "
            "as the table gives them."
        )
    cited = f" (@{_CITED[measure]})" if measure in _CITED else ""
    return f"The effect of each row is the {name}{cited}{_details(measure, found, frame)}."


def _details(measure: str, options: Mapping[str, Any], frame: pd.DataFrame) -> str:
    said = []
    if "correction" in options:
        said.append(_CORRECTIONS[options["correction"]])
    if measure == "ROM":
        said.append(
            "the correction for small-sample bias (@lajeunesse2015)" if options["correct"] else "no bias correction"
        )
    if "vtype" in options:
        said.append(_VARIANCES[measure][options["vtype"]])
    out = f", with {' and '.join(said)}" if said else ""
    if "to" in options and _has_zero_cell(frame):
        where, add = _TABLES_ADDED.get(options["to"]), options["add"]
        out += f"; {add:g} was added to each cell {where}" if where and add else "; zero cells were left as they are"
        out += "; tables without events, or with nothing but events, in both groups were left out" * options["drop00"]
    return out


def _has_zero_cell(frame: pd.DataFrame) -> bool:
    cells = [frame[c] for c in ("ai", "bi", "ci", "di") if c in frame]
    pairs = (("n1i", "ai"), ("n2i", "ci"))
    cells += [frame[total] - frame[event] for total, event in pairs if {total, event} <= set(frame)]
    return any(bool((cell == 0).any()) for cell in cells)


def _formula(frame: pd.DataFrame, yi: Any, vi: Any, measure: str) -> dict[str, Any] | None:
    """Options under which the measure's function gives these yi and vi; None when none does."""
    if measure not in MEASURES:
        return None
    for options in _options(measure):
        try:
            made = effect_sizes(frame, measure, **options)
        except DataError:  # the table does not hold what the measure is computed from
            return None
        pairs = ((made["yi"], yi), (made["vi"], vi))
        if all(np.allclose(x, given, rtol=_RTOL, atol=_ATOL, equal_nan=True) for x, given in pairs):
            return options
    return None


def _options(measure: str) -> Iterator[dict[str, Any]]:
    """Settings of a measure's function, its defaults first."""
    function = MEASURES[measure].function
    preset = set(function.keywords) if isinstance(function, partial) else set()
    names = {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in preset and p.default is not p.empty
    }
    given = {n: d for n, d in names.items() if n in ("vtype", "correction", "correct", "add", "to", "drop00")}
    others: dict[str, tuple[Any, ...]] = {
        "vtype": tuple(_VARIANCES.get(measure, {})),
        "correction": ("exact", "approx", "none"),
        "correct": (True, False),
        "to": ("only0", "all", "if0all", "none"),
        "drop00": (False, True),
    }
    yield given
    keys = [n for n in given if others.get(n)]
    for values in itertools.product(*(others[n] for n in keys)):
        yield {**given, **dict(zip(keys, values, strict=True))}


def evidence_sentences(frame: pd.DataFrame) -> list[str]:
    """Say what the points and bounds of a table from `trial_effects`, or of any table with bounds, are."""
    kinds = frame["kind"] if "kind" in frame else np.where(frame["yi"].notna(), "point", "bound")
    kinds = pd.Series(np.asarray(kinds), index=frame.index)
    n_points, n_bounds = int((kinds == "point").sum()), int((kinds == "bound").sum())
    out = []
    if n_points:
        what = "Hedges' g with the exact small-sample correction (@hedges1981)" if _is_g(frame) else "effect sizes"
        out.append(
            f"{count(n_points, 'row')} of {len(frame)} {'is a point' if n_points == 1 else 'are points'}: {what}."
        )
        out += _variances_of_points(frame.loc[(kinds == "point").to_numpy()]) if _is_g(frame) else []
    if n_bounds:
        verdict = {"report", "n1i", "n2i"} <= set(frame.columns) and "verdict_level" in frame.attrs
        line = f"{count(n_bounds, 'row')} {'is a bound' if n_bounds == 1 else 'are bounds'}"
        line += " (after @hedges1980; @bushman1996)"
        if verdict:
            percent = 100.0 * (1.0 - float(frame.attrs["verdict_level"]))
            line += (
                f": the report states a verdict and no number, and a two-sided {percent:g}% t test with these arm "
                "sizes says that g lies beyond, or within, a threshold"
            )
            assumed = int((frame.loc[(kinds == "bound").to_numpy(), "n_source"] == "assumed").sum())
            line += f" (arm sizes assumed in {assumed})" if assumed else ""
        out.append(line + ".")
    return out


def _is_g(frame: pd.DataFrame) -> bool:
    return frame.attrs.get("measure") == "SMD"


def _variances_of_points(points: pd.DataFrame) -> list[str]:
    if not {"n1i", "n2i"} <= set(points.columns):
        return []
    g, v, n1, n2 = (points[c].to_numpy(dtype=float) for c in ("yi", "vi", "n1i", "n2i"))
    known = np.isfinite(n1) & np.isfinite(n2) & (n1 + n2 > 2)
    agree = {}
    for vtype in ("LS", "LS2", "UB"):
        same = np.zeros(len(g), dtype=bool)
        if known.any():
            J = small_sample_correction(n1[known] + n2[known] - 2.0, "exact")
            same[known] = np.isclose(
                smd_variance(g[known], J, n1[known], n2[known], vtype), v[known], rtol=_RTOL, atol=_ATOL
            )
        agree[vtype] = int(same.sum())
    best = max(agree, key=lambda name: agree[name])
    n = agree[best]
    words = _SMD_VARIANCES[best]
    if n == len(points):
        return [f"Its variance is the {words.replace('variances', 'variance')}." if n == 1 else f"They have {words}."]
    if n == 0:
        return ["Their variances come from the precision that their reports state."]
    return [f"{n} of the points {'has' if n == 1 else 'have'} {words}; the others what their reports state."]
