"""metamiq: from what trial reports print to a pooled answer that anyone can audit.

    >>> import metamiq as mm

Numbers travel one road: CSV folder -> Dataset -> table with ``yi``, ``vi`` -> fit -> table, picture or verdict.
Each public name is loaded when it is first used, so that importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metamiq import batch, plots
    from metamiq.datasets import Dataset, available_datasets, load_dataset, read_dataset, read_table, write_datapackage
    from metamiq.datasets.flow import flow_template, read_flow
    from metamiq.datasets.flow_arithmetic import flow_arithmetic
    from metamiq.datasets.risk_of_bias import read_risk_of_bias, risk_of_bias_findings
    from metamiq.datasets.risk_of_bias_join import join_risk_of_bias
    from metamiq.effects.binary import (
        arcsine_difference,
        log_odds_ratio,
        log_risk_ratio,
        peto_log_odds_ratio,
        risk_difference,
    )
    from metamiq.effects.bounds import bound, significance_threshold
    from metamiq.effects.change import (
        log_ratio_of_means_change,
        mean_change,
        pre_post_control,
        standardized_mean_change,
    )
    from metamiq.effects.combine import merge_arms, merge_counts, shared_control, split_shared_control
    from metamiq.effects.composite import aggregate, composite
    from metamiq.effects.continuous import glass_delta, hedges_g, smd_heteroscedastic
    from metamiq.effects.correction import small_sample_correction
    from metamiq.effects.correlation import biserial, correlation, fisher_z, point_biserial, unbiased_correlation
    from metamiq.effects.dropout import dropout_counts
    from metamiq.effects.measures import effect_sizes, measure_table
    from metamiq.effects.quantiles import mean_sd_from_quantiles
    from metamiq.effects.raw_means import log_ratio_of_means, mean_difference
    from metamiq.effects.reported import g_from_f, g_from_p, g_from_r, g_from_t
    from metamiq.effects.reported_estimates import g_from_ci, g_from_d, g_from_or, g_from_se
    from metamiq.effects.scales import d_to_log_or, d_to_r, log_or_to_d, r_to_d
    from metamiq.effects.smd_interval import hedges_g_ci
    from metamiq.effects.trials import bounds_statement, excluded_trials, trial_effects
    from metamiq.errors import ConvergenceError, DataError
    from metamiq.explaining import explain
    from metamiq.explaining.methods import methods_paragraph
    from metamiq.explaining.plain_words import plain_words
    from metamiq.explaining.presets import analyse, compare_presets
    from metamiq.explaining.programs import compare_programs
    from metamiq.explaining.quiz import exercise
    from metamiq.explaining.sleuth import which
    from metamiq.gaps import missing_numbers
    from metamiq.living.check import check
    from metamiq.living.compare import diff
    from metamiq.living.todo import todo
    from metamiq.pooling.bayes import bayes_random_effects
    from metamiq.pooling.bounded import random_effects_bounded
    from metamiq.pooling.counts import mantel_haenszel, peto
    from metamiq.pooling.glmm import glmm
    from metamiq.pooling.location_scale import location_scale
    from metamiq.pooling.models import fixed_effect, random_effects
    from metamiq.pooling.multilevel import multilevel
    from metamiq.pooling.published_priors import published_tau_prior
    from metamiq.pooling.regression import meta_regression, screen_moderators
    from metamiq.pooling.robust import robust, wald_test
    from metamiq.pooling.subgroups import subgroups
    from metamiq.pooling.tau_priors import TauPrior
    from metamiq.protocol.reading import read_protocol
    from metamiq.report.characteristics import characteristics
    from metamiq.report.grade import grade_table
    from metamiq.sensitivity.choices import read_choices
    from metamiq.sensitivity.deletion import cumulative, leave_one_out
    from metamiq.sensitivity.excess_significance import excess_significance
    from metamiq.sensitivity.fail_safe import fail_safe_n
    from metamiq.sensitivity.flip import flip_set
    from metamiq.sensitivity.gosh import gosh_clusters
    from metamiq.sensitivity.influence import influence, influence_summary
    from metamiq.sensitivity.limit import limit_meta_analysis
    from metamiq.sensitivity.multiverse import multiverse
    from metamiq.sensitivity.p_uniform import p_uniform_star
    from metamiq.sensitivity.p_value_methods import p_curve
    from metamiq.sensitivity.permutation import permutation_test
    from metamiq.sensitivity.pet_peese import pet_peese
    from metamiq.sensitivity.resampling import bootstrap
    from metamiq.sensitivity.selection_models import selection_model
    from metamiq.sensitivity.sets_near import sets_near
    from metamiq.sensitivity.simulated_trials import SimulationDesign
    from metamiq.sensitivity.simulation import simulate
    from metamiq.sensitivity.small_study import begg_test, egger_test
    from metamiq.sensitivity.small_study_counts import harbord_test, peters_test
    from metamiq.sensitivity.small_study_overview import small_study_effects
    from metamiq.sensitivity.subsets import subsets
    from metamiq.sensitivity.suspects import suspects
    from metamiq.sensitivity.sweep import sweep, sweep_r, sweep_rho
    from metamiq.sensitivity.trim_and_fill import trim_and_fill
    from metamiq.sensitivity.worst_case import worst_case
    from metamiq.verdicts import audit

__version__ = "0.1.0"

# Public names by the module they live in; the imports above say the same to type checkers, and a test compares them.
_EXPORTS = {
    "datasets": (
        "Dataset",
        "available_datasets",
        "load_dataset",
        "read_dataset",
        "read_table",
        "write_datapackage",
    ),
    "datasets.flow": (
        "flow_template",
        "read_flow",
    ),
    "datasets.flow_arithmetic": ("flow_arithmetic",),
    "datasets.risk_of_bias": (
        "read_risk_of_bias",
        "risk_of_bias_findings",
    ),
    "datasets.risk_of_bias_join": ("join_risk_of_bias",),
    "effects.binary": (
        "arcsine_difference",
        "log_odds_ratio",
        "log_risk_ratio",
        "peto_log_odds_ratio",
        "risk_difference",
    ),
    "effects.bounds": (
        "bound",
        "significance_threshold",
    ),
    "effects.change": (
        "log_ratio_of_means_change",
        "mean_change",
        "pre_post_control",
        "standardized_mean_change",
    ),
    "effects.combine": (
        "merge_arms",
        "merge_counts",
        "shared_control",
        "split_shared_control",
    ),
    "effects.composite": (
        "aggregate",
        "composite",
    ),
    "effects.continuous": (
        "glass_delta",
        "hedges_g",
        "smd_heteroscedastic",
    ),
    "effects.correction": ("small_sample_correction",),
    "effects.correlation": (
        "biserial",
        "correlation",
        "fisher_z",
        "point_biserial",
        "unbiased_correlation",
    ),
    "effects.dropout": ("dropout_counts",),
    "effects.measures": (
        "effect_sizes",
        "measure_table",
    ),
    "effects.quantiles": ("mean_sd_from_quantiles",),
    "effects.raw_means": (
        "log_ratio_of_means",
        "mean_difference",
    ),
    "effects.reported": (
        "g_from_f",
        "g_from_p",
        "g_from_r",
        "g_from_t",
    ),
    "effects.reported_estimates": (
        "g_from_ci",
        "g_from_d",
        "g_from_or",
        "g_from_se",
    ),
    "effects.scales": (
        "d_to_log_or",
        "d_to_r",
        "log_or_to_d",
        "r_to_d",
    ),
    "effects.smd_interval": ("hedges_g_ci",),
    "effects.trials": (
        "bounds_statement",
        "excluded_trials",
        "trial_effects",
    ),
    "errors": (
        "ConvergenceError",
        "DataError",
    ),
    "explaining": ("explain",),
    "explaining.methods": ("methods_paragraph",),
    "explaining.plain_words": ("plain_words",),
    "explaining.presets": (
        "analyse",
        "compare_presets",
    ),
    "explaining.programs": ("compare_programs",),
    "explaining.quiz": ("exercise",),
    "explaining.sleuth": ("which",),
    "gaps": ("missing_numbers",),
    "living.check": ("check",),
    "living.compare": ("diff",),
    "living.todo": ("todo",),
    "pooling.bayes": ("bayes_random_effects",),
    "pooling.bounded": ("random_effects_bounded",),
    "pooling.counts": (
        "mantel_haenszel",
        "peto",
    ),
    "pooling.glmm": ("glmm",),
    "pooling.location_scale": ("location_scale",),
    "pooling.models": (
        "fixed_effect",
        "random_effects",
    ),
    "pooling.multilevel": ("multilevel",),
    "pooling.published_priors": ("published_tau_prior",),
    "pooling.regression": (
        "meta_regression",
        "screen_moderators",
    ),
    "pooling.robust": (
        "robust",
        "wald_test",
    ),
    "pooling.subgroups": ("subgroups",),
    "pooling.tau_priors": ("TauPrior",),
    "protocol.reading": ("read_protocol",),
    "report.characteristics": ("characteristics",),
    "report.grade": ("grade_table",),
    "sensitivity.choices": ("read_choices",),
    "sensitivity.deletion": (
        "cumulative",
        "leave_one_out",
    ),
    "sensitivity.excess_significance": ("excess_significance",),
    "sensitivity.fail_safe": ("fail_safe_n",),
    "sensitivity.flip": ("flip_set",),
    "sensitivity.gosh": ("gosh_clusters",),
    "sensitivity.influence": (
        "influence",
        "influence_summary",
    ),
    "sensitivity.limit": ("limit_meta_analysis",),
    "sensitivity.p_uniform": ("p_uniform_star",),
    "sensitivity.p_value_methods": ("p_curve",),
    "sensitivity.multiverse": ("multiverse",),
    "sensitivity.permutation": ("permutation_test",),
    "sensitivity.pet_peese": ("pet_peese",),
    "sensitivity.resampling": ("bootstrap",),
    "sensitivity.simulated_trials": ("SimulationDesign",),
    "sensitivity.simulation": ("simulate",),
    "sensitivity.selection_models": ("selection_model",),
    "sensitivity.small_study": (
        "begg_test",
        "egger_test",
    ),
    "sensitivity.small_study_counts": (
        "harbord_test",
        "peters_test",
    ),
    "sensitivity.small_study_overview": ("small_study_effects",),
    "sensitivity.sets_near": ("sets_near",),
    "sensitivity.subsets": ("subsets",),
    "sensitivity.suspects": ("suspects",),
    "sensitivity.sweep": (
        "sweep",
        "sweep_r",
        "sweep_rho",
    ),
    "sensitivity.trim_and_fill": ("trim_and_fill",),
    "sensitivity.worst_case": ("worst_case",),
    "verdicts": ("audit",),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}
_MODULES = ("batch", "plots")

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"metamiq.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"metamiq.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'metamiq' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
