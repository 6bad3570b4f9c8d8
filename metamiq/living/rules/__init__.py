"""The rules by which data are checked, small and grouped by topic, and the columns that they read.

A rule reads only columns that are there; one that lacks its columns says nothing.
"""

from __future__ import annotations

from metamiq.living.rules import (
    dependence,
    direction,
    means,
    pooling_choices,
    reading,
    recompute,
    sizes,
    spread,
)
from metamiq.living.rules.material import Hit, Line, Material, Plan, Rule

#: Every rule by its code.
RULES: dict[str, Rule] = {
    rule.code: rule
    for topic in (spread, means, sizes, direction, recompute, dependence, pooling_choices, reading)
    for rule in topic.RULES
}

#: Columns that a user may add to a study table, or to results.csv (design: to trials.csv), beyond those of the row
#: models; "1" stands for either arm.
COLUMNS: dict[str, str] = {
    "instrument": "Measuring instrument; rows with one instrument are compared with each other.",
    "score": "post (scores at a time) or change.",
    "outcome": "The outcome in words.",
    "timepoint": "When it was measured; or followup_weeks, followup_months as numbers.",
    "higher_is_better": "yes or no: whether a high score on the instrument is good.",
    "favours": "The arm that did better in the authors' words: 1 or 2 (mi or cbt).",
    "scale_min": "Smallest possible score.",
    "scale_max": "Largest possible score.",
    "items": "Whole-number answers averaged in each person's score; 1 for a sum score.",
    "se1i": "Standard error of m1i, as printed.",
    "m1i_ci_low": "Lower end of the 95% interval of m1i, as printed (and m1i_ci_high).",
    "sd1i_change": "SD of change, as printed.",
    "n1i_randomised": "People randomised to the arm.",
    "n1i_lost": "People of the arm who were not analysed.",
    "n_total": "People in both arms together.",
    "analysis": "Who was analysed: ITT or completers; paired or first period for a crossover trial.",
    "df": "Degrees of freedom of the test, as printed.",
    "printed_d": "Standardised mean difference without correction, as printed.",
    "printed_g": "Hedges' g, as printed.",
    "ci_level": "Coverage of ci_low to ci_high as a fraction; empty means 0.95.",
    "contrast": "between (arms) or within (one arm).",
    "design": "parallel, cluster or crossover.",
    "icc": "Intracluster correlation; or design_effect, n_effective.",
    "overlaps_with": "Study that reports the same people.",
    "ri_source": "Where the pre-post correlation ri comes from; assumed if it was assumed.",
}

__all__ = ["COLUMNS", "RULES", "Hit", "Line", "Material", "Plan", "Rule"]
