"""The columns that a user may add for the rules to read."""

from __future__ import annotations

#: Columns that a user may add to a study table, or to results.csv (design: to trials.csv), beyond those of the row
#: models; "1" stands for either arm.
COLUMNS: dict[str, str] = {
    "instrument": "Measuring instrument; rows with one instrument are compared with each other.",
    "score": "post (scores at a time) or change.",
    "outcome": "The outcome in words.",
    "timepoint": "When it was measured.",
    "followup_weeks": "When it was measured, in weeks after treatment.",
    "followup_months": "When it was measured, in months after treatment.",
    "higher_is_better": "yes or no: whether a high score on the instrument is good.",
    "favours": "The arm that did better in the authors' words: 1 or 2 (mi or cbt).",
    "scale_min": "Smallest possible score.",
    "scale_max": "Largest possible score.",
    "items": "Whole-number answers averaged in each person's score; 1 for a sum score.",
    "se1i": "Standard error of m1i, as printed.",
    "m1i_ci_low": "Lower end of the 95% interval of m1i, as printed.",
    "m1i_ci_high": "Upper end of it.",
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
    "icc": "Intracluster correlation of a cluster trial.",
    "design_effect": "Design effect by which n1i and n2i were divided.",
    "n_effective": "Effective size of a cluster trial.",
    "overlaps_with": "Study that reports the same people.",
    "ri_source": "Where the pre-post correlation ri comes from; assumed if it was assumed.",
}
