"""What a bundle of a study table says, computed from its data by its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metamiq.effects.study_effects import study_effects
from metamiq.explaining.methods import joined, methods_paragraph
from metamiq.living.archive import unpacked_data
from metamiq.living.codebook import MEANINGS, codebook, read_meanings
from metamiq.living.spreadsheet import spreadsheet_csv
from metamiq.living.table_settings import TableAnalysis, analysis_from, read_packed
from metamiq.pooling.beside import Beside, analyses_beside
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.subgroups import Subgroups
from metamiq.protocol.reading import read_protocol
from metamiq.protocol.record import NO_PROTOCOL, Protocol
from metamiq.protocol.study import study_compliance

PROTOCOL = "protocol.toml"


@dataclass(frozen=True, slots=True, eq=False)
class TableAnswer:
    """The answer of a bundle.

    Attributes
    ----------
    fit : PooledEffect
        The mean.
    beside : list of Beside
        Subgroups and moderators.
    results : dict
        Of results.json.
    texts : dict of str to str
        table.csv, codebook.csv and methods.txt.
    protocol_note : str
        By which protocol analyses are planned or not.
    unexplained : list of str
        Columns of which nobody says what they mean.
    """

    fit: PooledEffect
    beside: list[Beside]
    results: dict[str, Any]
    texts: dict[str, str]
    protocol_note: str
    unexplained: list[str]

    @property
    def parted(self) -> list[Subgroups]:
        """The subgroup analyses that could be done."""
        return [one.fit for one in self.beside if isinstance(one.fit, Subgroups)]


def table_answer(files: Mapping[str, bytes], settings: Mapping[str, Any], path: object) -> TableAnswer:
    """Read and pool what a bundle holds, by its settings.

    Parameters
    ----------
    files : mapping of str to bytes
        Data, protocol and meanings of columns in the bundle; the rest is not read.
    settings : mapping
        Its settings.json.
    path : object
        The bundle, for messages.

    Raises
    ------
    DataError
        If settings, protocol or data cannot be read, or the data cannot be pooled.
    ValueError
        If a setting is unknown.
    ConvergenceError
        If the estimator of tau2 finds no end.
    """
    analysis = analysis_from(settings, path)
    protocol = None
    with unpacked_data(files) as folder:
        if PROTOCOL in files:
            (folder.parent / PROTOCOL).write_bytes(files[PROTOCOL])
            protocol = read_protocol(folder.parent / PROTOCOL)
        table, described = read_packed(folder, settings, path)
        if MEANINGS in files:
            (folder.parent / MEANINGS).write_bytes(files[MEANINGS])
            described = read_meanings(folder.parent / MEANINGS)
    explained, unexplained = codebook(table, described)
    effects, left_out = study_effects(table, analysis.measure, analysis.vtype)
    named = {"groups": analysis.groups, "better": analysis.better}
    effects.attrs |= {name: value for name, value in named.items() if value is not None}
    fit = random_effects(
        effects, method=analysis.method, test=analysis.test, level=analysis.level, pi_method=analysis.pi_method
    )
    beside = analyses_beside(
        fit, by=analysis.subgroups, moderators=analysis.moderators, common_tau2=analysis.common_tau2
    )
    said = joined(methods_paragraph(fit), *(methods_paragraph(one.fit) for one in beside if one.fit is not None))
    texts = {
        "table.csv": spreadsheet_csv(table),
        "codebook.csv": explained,
        "methods.txt": f"{said}\n",
    }
    results = {
        # A setting that was changed and moves no number must be seen as well.
        "analysis": analysis.to_dict(),
        "pooled": _pooled(fit),
        "rows": _rows(fit),
        "left_out": left_out,
        **{
            f"{kind}s": {one.what: _part(one) for one in beside if one.kind == kind}
            for kind in ("subgroup", "moderator")
        },
        **_planned(protocol, analysis, fit, beside),
    }
    return TableAnswer(fit, beside, results, texts, NO_PROTOCOL if protocol is None else protocol.note, unexplained)


def _pooled(fit: PooledEffect) -> dict[str, Any]:
    low, high = fit.tau2_ci() if fit.k > 1 and math.isfinite(fit.tau2) and fit.method != "FE" else (math.nan, math.nan)
    names = ("k", "n_studies", "tau2", "tau2_se", "I2", "H2", "Q", "Q_df", "Q_p", "measure", "caution")
    return {
        **{str(name): x for name, x in fit.to_frame().iloc[0].to_dict().items()},
        **{name: getattr(fit, name) for name in names},
        "tau2_ci_low": low,
        "tau2_ci_high": high,
    }


def _rows(fit: PooledEffect) -> dict[str, Any]:
    values = zip(fit.source.labels(), fit.source.yi, fit.source.vi, fit.weights, strict=True)
    return {
        f"{i} {label}": {"yi": float(yi), "vi": float(vi), "weight": float(weight)}
        for i, (label, yi, vi, weight) in enumerate(values, start=1)
    }


def _part(one: Beside) -> dict[str, Any]:
    found = one.fit
    if found is None:
        return {"not done": one.failed}
    if isinstance(found, Subgroups):
        between = {"Q": found.Q_between, "df": found.Q_df, "df_error": found.Q_df_error, "p": found.Q_p}
        said = {"tau2": found.tau2, "single": list(found.single), "left_out": list(found.omitted)}
        return {"groups": found.to_frame().to_dict(orient="index"), "between": between, **said}
    names = ("k", "QM", "QM_df", "QM_p", "QE", "QE_df", "QE_p", "tau2", "I2", "R2")
    whole = {name: getattr(found, name) for name in names}
    return {"coefficients": found.coefficients.to_dict(orient="index"), **whole}


def _planned(
    protocol: Protocol | None, analysis: TableAnalysis, fit: PooledEffect, beside: list[Beside]
) -> dict[str, Any]:
    if protocol is None:
        return {}
    asked = [(one.kind, one.what, one.failed) for one in beside]
    found = study_compliance(protocol, fit, vtype=analysis.vtype, beside=asked)
    labels = dict(zip(found.table["analysis"], found.table["planned"], strict=True))
    return {"planned": labels, "planned_and_missing": found.not_done.to_dict(orient="records")}
