"""The table of effect-size measures, and one function that computes any of them for a study table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from metamiq.arguments import check_distinct, check_kind, one_of
from metamiq.effects import association, binary, change, continuous, correlation, proportion, raw_means, scales
from metamiq.effects.records import BadRowsError, EffectSizes, Fault, FloatArray, describe_faults
from metamiq.errors import DataError

_TWO_GROUPS = ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
_TWO_COUNTS = ("ai", "n1i", "ci", "n2i")
_TWICE = ("m1i", "m2i", "sd1i", "sd2i", "ni", "ri")
_BOTH_TIMES = tuple(f"{stat}{group}i_{time}" for group in (1, 2) for time in ("pre", "post") for stat in ("m", "sd"))


class Measure(NamedTuple):
    """One effect-size measure.

    Attributes
    ----------
    meaning : str
        What it is, in a few words.
    columns : tuple of str
        Columns that a row must have filled to get a number.
    function : callable
        Takes these columns by name, and options, and gives `EffectSizes`.
    """

    meaning: str
    columns: tuple[str, ...]
    function: Callable[..., EffectSizes]


def _ppc(standardiser: str, used: str) -> tuple[tuple[str, ...], Callable[..., EffectSizes]]:
    columns = tuple(name for name in _BOTH_TIMES if not name.startswith("sd") or used in ("both", name[5:]))
    unused: dict[str, Any] = {name: None for name in _BOTH_TIMES if name not in columns}
    return (*columns, "n1i", "n2i", "ri"), partial(change.pre_post_control, standardiser=standardiser, **unused)


def _d_to_log_or(distribution: str, **columns: Any) -> EffectSizes:
    d = continuous.hedges_g(**columns, correction="none")
    return scales.d_to_log_or(d.yi, d.vi, distribution=distribution)


_SMC = change.standardized_mean_change
_GLASS = tuple(name for name in _TWO_GROUPS if name != "sd1i")
_RAW = tuple(name for name in _TWICE if name != "sd2i")

#: Every measure by its code; codes are metafor's where metafor has the measure.
MEASURES: dict[str, Measure] = {
    "SMD": Measure("standardised mean difference (Hedges' g)", _TWO_GROUPS, continuous.hedges_g),
    "SMDH": Measure("the same, SDs may differ", _TWO_GROUPS, continuous.smd_heteroscedastic),
    "SMD1": Measure("Glass's delta, SD of group 2", _GLASS, continuous.glass_delta),
    "SMD1H": Measure("the same, SDs may differ", _TWO_GROUPS, partial(continuous.glass_delta, heteroscedastic=True)),
    "MD": Measure("mean difference", _TWO_GROUPS, raw_means.mean_difference),
    "ROM": Measure("log ratio of means", _TWO_GROUPS, raw_means.log_ratio_of_means),
    "VR": Measure("log ratio of SDs", ("sd1i", "n1i", "sd2i", "n2i"), raw_means.log_variability_ratio),
    "CVR": Measure("log ratio of coefficients of variation", _TWO_GROUPS, raw_means.log_cv_ratio),
    "RPB": Measure("point-biserial correlation", _TWO_GROUPS, correlation.point_biserial),
    "RBIS": Measure("biserial correlation", _TWO_GROUPS, correlation.biserial),
    "D2ORL": Measure("d as log odds ratio, logistic", _TWO_GROUPS, partial(_d_to_log_or, "logistic")),
    "D2ORN": Measure("d as log odds ratio, normal", _TWO_GROUPS, partial(_d_to_log_or, "normal")),
    "MC": Measure("mean change", _TWICE, change.mean_change),
    "SMCC": Measure("mean change over the SD of change", _TWICE, partial(_SMC, standardiser="change")),
    "SMCR": Measure("mean change over the SD sd1i", _RAW, partial(_SMC, sd2i=None, standardiser="raw")),
    "SMCRH": Measure("the same, SDs may differ", _TWICE, partial(_SMC, standardiser="raw_h")),
    "ROMC": Measure("log ratio of means at two times", _TWICE, change.log_ratio_of_means_change),
    "PPC_PRE": Measure("pre-post-control over the pooled SD before", *_ppc("pooled_pre", "pre")),
    "PPC_POST": Measure("pre-post-control over the pooled SD after", *_ppc("pooled_post", "post")),
    "PPC_ALL": Measure("pre-post-control over all four SDs", *_ppc("all_four", "both")),
    "OR": Measure("log odds ratio", _TWO_COUNTS, binary.log_odds_ratio),
    "RR": Measure("log risk ratio", _TWO_COUNTS, binary.log_risk_ratio),
    "RD": Measure("risk difference", _TWO_COUNTS, binary.risk_difference),
    "AS": Measure("arcsine square-root difference", _TWO_COUNTS, binary.arcsine_difference),
    "PETO": Measure("log odds ratio by Peto's method", _TWO_COUNTS, binary.peto_log_odds_ratio),
    "PHI": Measure("phi coefficient", _TWO_COUNTS, association.phi_coefficient),
    "YUQ": Measure("Yule's Q", _TWO_COUNTS, association.yule_q),
    "YUY": Measure("Yule's Y", _TWO_COUNTS, association.yule_y),
    "RTET": Measure("tetrachoric correlation", _TWO_COUNTS, association.tetrachoric),
    "PBIT": Measure("probit difference", _TWO_COUNTS, association.probit_difference),
    "OR2DL": Measure(
        "log odds ratio as d, logistic", _TWO_COUNTS, partial(association.or_to_d, distribution="logistic")
    ),
    "OR2DN": Measure("log odds ratio as d, normal", _TWO_COUNTS, partial(association.or_to_d, distribution="normal")),
    "COR": Measure("correlation", ("ri", "ni"), correlation.correlation),
    "UCOR": Measure("unbiased correlation", ("ri", "ni"), correlation.unbiased_correlation),
    "ZCOR": Measure("Fisher's z of a correlation", ("ri", "ni"), correlation.fisher_z),
    "PR": Measure("proportion", ("xi", "ni"), proportion.proportion),
    "PLO": Measure("log odds of a proportion", ("xi", "ni"), proportion.logit_proportion),
    "PAS": Measure("arcsine square root of a proportion", ("xi", "ni"), proportion.arcsine_proportion),
    "PFT": Measure("Freeman-Tukey double arcsine of a proportion", ("xi", "ni"), proportion.freeman_tukey),
}


def measure_table() -> pd.DataFrame:
    """List the measures: code, meaning, and the columns that each needs.

    Returns
    -------
    DataFrame
        ``measure meaning columns``, one row per measure.

    Examples
    --------
    >>> print(measure_table().query("measure == 'ZCOR'").to_string(index=False))
    measure                     meaning columns
       ZCOR Fisher's z of a correlation   ri ni
    """
    rows = [(code, measure.meaning, " ".join(measure.columns)) for code, measure in MEASURES.items()]
    return pd.DataFrame(rows, columns=["measure", "meaning", "columns"])


def effect_sizes(frame: pd.DataFrame, measure: str, **options: Any) -> pd.DataFrame:
    """Compute one effect size per row of a study table.

    Columns have the names of the calculators' parameters, see `measure_table`. Counts may be given as events
    and group sizes (``ai n1i ci n2i``), as four cells (``ai bi ci di``), or row by row as either. ``SMD``,
    ``D2ORL`` and ``D2ORN`` also take t statistics (``ti n1i n2i``) in rows without means.

    Parameters
    ----------
    frame : DataFrame
        One comparison per row.
    measure : str
        Code of the measure, such as "SMD" or "OR".
    **options
        Options of the measure's function, such as ``vtype`` for SMD or ``add``, ``to``, ``drop00`` for
        counts.

    Returns
    -------
    DataFrame
        A copy of `frame` with ``yi`` and ``vi``; columns of that name that were there are replaced. A row in
        which a needed value is missing gets NaN in both: absent stays absent. ``attrs["measure"]`` is the
        code.

    Raises
    ------
    DataError
        If a needed column is missing, or rows hold impossible values; all such rows are named.
    ValueError
        If the measure or an option is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"study": ["Aronson", "Ferguson"], "ai": [4, 6], "n1i": [123, 306],
    ...                       "ci": [11, 29], "n2i": [139, 303]})
    >>> print(effect_sizes(table, "RR")[["study", "yi", "vi"]].round(4).to_string(index=False))
       study      yi     vi
     Aronson -0.8893 0.3256
    Ferguson -1.5854 0.1946
    """
    one_of("measure", measure, MEASURES)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(
            f"effect_sizes takes a table (DataFrame), not a {type(frame).__name__}. Of a dataset take .trials."
        )
    check_distinct(frame)
    spec = MEASURES[measure]
    _check_options(measure, spec, options)
    counts = spec.columns == _TWO_COUNTS
    numbers = _numbers(frame, {*spec.columns, "ti", "bi", "di"} if counts else {*spec.columns, "ti"})
    needed: tuple[str, ...]
    if counts:
        numbers = _complete_counts(numbers)
        needed = (*_TWO_COUNTS, *(name for name in ("bi", "di") if name in numbers))
    else:
        if "ti" in numbers and measure in ("SMD", "D2ORL", "D2ORN"):
            numbers = _means_from_t(numbers, len(frame))
        needed = spec.columns
    lacking = sorted(set(needed) - set(numbers))
    if lacking:
        wanted = "ai n1i ci n2i (or bi and di for n1i and n2i)" if counts else " ".join(spec.columns)
        raise DataError(
            f"Measure {measure!r} needs the columns {wanted}, but the table has no {', '.join(lacking)}. "
            f"Its columns are {', '.join(str(name) for name in frame.columns)}. Rename them, or say which is which, on "
            f'the command line with --column "NAME={lacking[0]}".'
        )
    columns = {name: numbers[name] for name in needed}
    complete = np.all([~np.isnan(values) for values in columns.values()], axis=0)
    rows = np.flatnonzero(complete)
    yi, vi = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
    if len(rows):
        try:
            effects = spec.function(**{name: values[rows] for name, values in columns.items()}, **options)
        except BadRowsError as problem:
            faults = [fault._replace(position=int(rows[fault.position])) for fault in problem.faults]
            raise DataError(describe_faults(faults, lambda position: _row_name(frame, position))) from None
        yi[rows], vi[rows] = effects
    out = frame.copy()
    out["yi"], out["vi"] = yi, vi
    out.attrs = {**frame.attrs, "measure": measure}
    return out


def _check_options(measure: str, spec: Measure, options: dict[str, Any]) -> None:
    preset = set(spec.function.keywords) if isinstance(spec.function, partial) else set()
    parameters = inspect.signature(spec.function).parameters.values()
    allowed = sorted(
        p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in preset | {"bi", "di", "sd2i"}
    )
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        known = ", ".join(repr(name) for name in allowed) or "none"
        raise ValueError(f"Options of measure {measure!r} are {known}; {unknown[0]!r} is not one of them.")


def _row_name(frame: pd.DataFrame, position: int) -> str:
    for column in ("study", "trial_id", "label"):
        if column in frame and not pd.isna(frame[column].iloc[position]):
            return f"{column} {frame[column].iloc[position]!r} (row {position + 1})"
    return f"row {position + 1}"


def _numbers(frame: pd.DataFrame, wanted: set[str]) -> dict[str, FloatArray]:
    """Read the wanted columns that the table has as float64; every cell that is not a number is a fault."""
    out: dict[str, FloatArray] = {}
    faults: list[Fault] = []
    for name in sorted(wanted & set(frame.columns)):
        column = frame[name]
        check_kind(column.dtype.kind, name)
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        for position in np.flatnonzero(np.isnan(values) & column.notna().to_numpy()):
            faults.append(Fault(int(position), f"{name} must be a number", repr(column.iloc[position])))
        out[name] = values
    if faults:
        raise DataError(describe_faults(faults, lambda position: _row_name(frame, position)))
    return out


def _complete_counts(numbers: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Fill group sizes from cells and cells from group sizes; where both are given they are left to be compared."""
    out = dict(numbers)
    for event, other, total in (("ai", "bi", "n1i"), ("ci", "di", "n2i")):
        if event not in out or (other not in out and total not in out):
            continue
        absent = np.full(out[event].shape, np.nan)
        others, totals = out.get(other, absent), out.get(total, absent)
        out[total] = np.where(np.isnan(totals), out[event] + others, totals)
        if other in out:
            out[other] = np.where(np.isnan(others), totals - out[event], others)
    return out


def _means_from_t(numbers: dict[str, FloatArray], k: int) -> dict[str, FloatArray]:
    """Where means are missing and t is given, put in means with SD 1 that have this t; g is the same for all such."""
    absent = np.full(k, np.nan)
    out = dict(numbers)
    means = [out.get(name, absent) for name in ("m1i", "sd1i", "m2i", "sd2i")]
    fill = np.any([np.isnan(values) for values in means], axis=0) & ~np.isnan(out["ti"])
    if "n1i" not in out or "n2i" not in out:
        return out
    with np.errstate(divide="ignore", invalid="ignore"):
        d = out["ti"] * np.sqrt(1.0 / out["n1i"] + 1.0 / out["n2i"])
    one, zero = np.ones(k), np.zeros(k)
    for name, values, stand_in in zip(("m1i", "sd1i", "m2i", "sd2i"), means, (d, one, zero, one), strict=True):
        out[name] = np.where(fill, stand_in, values)
    return out
