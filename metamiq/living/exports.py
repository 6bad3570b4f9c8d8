"""Effects for other programs: tables in their column names, and an R script that redoes the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.living.spreadsheet import PLAIN, Dialect, spreadsheet_csv


@dataclass(frozen=True, slots=True)
class Program:
    """How a program wants a table of effects.

    Attributes
    ----------
    columns : dict of str to str
        Column of the program -> column of ours (empty where the table has none), or a text in quotation marks that
        stands in every row; ``{group1}`` and ``{group2}`` are the names of the groups.
    dialect : Dialect
        What stands between cells, in numbers, and for no value.
    known : str
        What is known of the format, and from where; told with every export.
    """

    columns: dict[str, str]
    dialect: Dialect = PLAIN
    known: str = ""


PROGRAMS: dict[str, Program] = {
    "metafor": Program(
        {"slab": "label", "year": "year", "yi": "yi", "vi": "vi", "n1i": "n1i", "n2i": "n2i"},
        known="the names of metafor's own arguments; metafor.R reads the file and pools it",
    ),
    "meta": Program(
        {"studlab": "label", "year": "year", "TE": "yi", "seTE": "sei", "n.e": "n1i", "n.c": "n2i"},
        known="the names of R meta's arguments: metagen(TE, seTE, studlab, data = read.csv(...))",
    ),
    "metapsy": Program(
        {
            "study": "label", "year": "year", "condition_arm1": "'{group1}'", "condition_arm2": "'{group2}'",
            "multi_arm1": "", "multi_arm2": "", "mean_arm1": "m1i", "mean_arm2": "m2i", "sd_arm1": "sd1i",
            "sd_arm2": "sd2i", "n_arm1": "n1i", "n_arm2": "n2i",
            "precalc_g": "yi", "precalc_g_se": "sei", ".g": "yi", ".g_se": "sei",
        },
        dialect=Dialect(separator=";", decimal=",", missing="NA"),
        known="variables and dialect of the Metapsy data standard (docs.metapsy.org, Data Format): semicolons, decimal "
        "commas, NA. What it asks for beyond the effects (outcome_type, instrument, time, rating) is not in the table, "
        "and study is our label",
    ),
    "jasp": Program(
        {
            "Study": "label", "Year": "year", "Effect Size": "yi", "Effect Size Standard Error": "sei",
            "N group 1": "n1i", "N group 2": "n2i",
        },
        known="columns are named after the boxes of JASP's meta-analysis that they are dragged to (Effect Size, Effect "
        "Size Standard Error; Study for the labels); JASP takes any names",
    ),
    "revman": Program(
        {
            "Analysis group": "'1'", "Analysis number": "'1'", "Analysis name": "'Pooled effect'",
            "Subgroup": "subgroup", "Applicability": "", "Study": "label", "Study year": "year",
            "GIV Mean": "yi", "GIV SE": "sei",
            "Experimental mean": "m1i", "Experimental SD": "sd1i", "Experimental cases": "ai", "Experimental N": "n1i",
            "Control mean": "m2i", "Control SD": "sd2i", "Control cases": "ci", "Control N": "n2i", "O-E": "",
            "Variance": "", "Weight": "", "Mean": "", "CI start": "", "CI end": "", "Footnotes": "",
        },
        known="columns of the data rows in RevMan's data package, as the import function of R meta (read.cdir) reads "
        "them. Unconfirmed: that RevMan takes this file. Its import of study data wants templates of its own for the "
        "review at hand, whose columns could not be read; enter GIV Mean and GIV SE in an analysis of "
        "contrast-level data, or fill those templates from this table",
    ),
}  # fmt: skip
_METAFOR = """# Pools metafor.csv with metafor: method {method}, test {test}.
# The columns: slab, year, yi (effect size), vi (sampling variance), n1i, n2i (arm sizes), and the table's own.
library(metafor)
d <- read.csv("metafor.csv", stringsAsFactors = FALSE, check.names = FALSE)
fit <- rma(yi, vi, data = d, slab = slab, method = "{method}", test = "{test}", level = {percent:g})
print(fit)
print(predict(fit))
if (interactive()) forest(fit)
"""
#: Estimators of tau2 that metafor 3.8 has under the same name.
_METAFOR_METHODS = ("DL", "EB", "FE", "HE", "HS", "HSk", "ML", "PM", "PMM", "REML", "SJ")
#: Numbers of a study table that the effect sizes hold already, or that a program takes in columns of its own.
_RAW = {
    *("label", "study", "trial_id", "year", "yi", "vi", "sei", "m1i", "m2i", "sd1i", "sd2i", "n1i", "n2i"),
    *("ai", "bi", "ci", "di", "x1i", "x2i", "t1i", "t2i"),
}
_SCRIPT_COLUMNS = ["trial_id", "label", "year", "kind", "yi", "vi", "yi_low", "yi_high", "n1i", "n2i"]
_SCRIPT = r"""# Redoes the pooled effect of "{name}" in R. Needs metafor for the first part only.
# effects.csv: one trial per row; a point has yi and vi, a bound yi_low and yi_high (-Inf, Inf where open).
d <- read.csv("effects.csv", stringsAsFactors = FALSE)
points <- d[d$kind == "point", ]
bounds <- d[d$kind == "bound", ]

# 1. Trials that report a number, as most software pools them.
if (nrow(points) > 1 && requireNamespace("metafor", quietly = TRUE)) {{
  print(metafor::rma(yi, vi, data = points, slab = label, method = "REML", test = "knha"))
}} else cat("points:", nrow(points), "\n")

# 2. Points and bounds together, by maximum likelihood (base R). A bound counts with the probability of its interval;
#    its sampling variance is that of a standardised mean difference at the model mean.
loglik <- function(mu, tau2) {{
  v <- 1 / bounds$n1i + 1 / bounds$n2i + mu^2 / (2 * (bounds$n1i + bounds$n2i))
  s <- sqrt(v + tau2)
  inside <- function(low, high) {{
    # in the tail that keeps its digits
    up <- low > mu
    a <- ifelse(up, (mu - high) / s, (low - mu) / s)
    b <- ifelse(up, (mu - low) / s, (high - mu) / s)
    pnorm(b) - pnorm(a)
  }}
  sum(dnorm(points$yi, mu, sqrt(points$vi + tau2), log = TRUE)) + sum(log(inside(bounds$yi_low, bounds$yi_high)))
}}
profile <- function(mu) {{
  # tau2 on pieces of its range, so that a second hill is not missed
  edges <- c(0, 10^seq(-6, 2, by = 0.5))
  inner <- sapply(seq_along(edges)[-1], function(i)
    optimize(function(t) loglik(mu, t), edges[c(i - 1, i)], maximum = TRUE, tol = 1e-12)$objective)
  max(loglik(mu, 0), inner)
}}
grid <- seq(-3, 3, by = 0.05)
start <- grid[which.max(sapply(grid, profile))]
top <- optimize(profile, start + c(-0.1, 0.1), maximum = TRUE, tol = 1e-10)
end <- function(side) {{
  drop <- function(mu) 2 * (top$objective - profile(mu)) - qchisq(0.95, 1)
  far <- top$maximum + side * c(0.1, 0.2, 0.5, 1, 2, 5, 10)
  far <- far[sapply(far, drop) > 0]
  if (length(far) == 0) return(side * Inf)
  uniroot(drop, sort(c(top$maximum, far[1])), tol = 1e-10)$root
}}
cat(sprintf("points and bounds: k = %d, g = %.4f, 95%% interval %.4f to %.4f\n", nrow(d), top$maximum, end(-1), end(1)))
"""


def export_table(
    effects: pd.DataFrame, program: str, *, groups: tuple[str, str] = ("mi_cbt", "cbt"), further: Sequence[str] = ()
) -> str:
    """The points of an effects table as CSV in the column names and dialect of another program.

    What is known of each format, and from where, is in ``PROGRAMS[program].known``. That RevMan imports its table is
    unconfirmed.

    Parameters
    ----------
    effects : DataFrame
        From `trial_effects`, or a study table with yi and vi. Bounds are left out: no other program pools them.
    program : {"metafor", "meta", "metapsy", "jasp", "revman"}
        Whose names to use.
    groups : (str, str)
        Names of groups 1 and 2, where the program asks for them.
    further : sequence of str
        Other columns of the table, such as moderators, to write behind the program's own under their own names.
        RevMan's layout has no room for others; its Subgroup is the column `subgroup`.

    Returns
    -------
    str
        CSV with all digits, safe to open in a spreadsheet.

    Raises
    ------
    ValueError
        If the program is not one of them.
    DataError
        If no row is a point, or the program holds another measure only (Metapsy: Hedges' g).

    Examples
    --------
    >>> table = pd.DataFrame({"label": ["Made up"], "year": [2020], "yi": [0.5], "vi": [0.04], "n1i": 50, "n2i": 51})
    >>> print(export_table(table, "meta"))
    studlab,year,TE,seTE,n.e,n.c
    Made up,2020,0.5,0.2,50,51
    """
    if program not in PROGRAMS:
        raise ValueError(f"program must be one of {', '.join(map(repr, sorted(PROGRAMS)))}, not {program!r}.")
    points = effects[effects["yi"].notna()]
    if points.empty:
        raise DataError(
            f"A table for {program} needs at least one effect size, but all {len(effects)} rows are bounds, which it "
            "cannot pool. Export the R script instead."
        )
    measure = effects.attrs.get("measure", "SMD")
    if program == "metapsy" and measure != "SMD":
        raise DataError(f"A table for Metapsy holds Hedges' g (SMD), but these effects are {measure}.")
    points = points.assign(sei=points["vi"].astype(float) ** 0.5)
    if "Subgroup" in points and "subgroup" not in points:  # RevMan's own spelling
        points["subgroup"] = points["Subgroup"]
    if "label" not in points:
        column = next((name for name in ("study", "trial_id") if name in points), None)
        points["label"] = points[column] if column else [f"row {i + 1}" for i in range(len(points))]
    form = PROGRAMS[program]
    columns: dict[str, Any] = {}
    for theirs, ours in form.columns.items():
        if ours.startswith("'"):
            columns[theirs] = ours.strip("'").format(group1=groups[0], group2=groups[1])
        else:
            columns[theirs] = points.get(ours)
    taken = {name.lower() for name in columns}
    for name in further if program != "revman" else ():
        if str(name).lower() not in taken:
            columns[str(name)] = points[name]
    return spreadsheet_csv(pd.DataFrame(columns, index=points.index), form.dialect)


def further_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a study table that describe its studies: all but effect sizes and what they are computed from.

    Examples
    --------
    >>> further_columns(pd.DataFrame(columns=["study", "yi", "vi", "sessions"]))
    ['sessions']
    """
    return [str(name) for name in table.columns if name not in _RAW]


def export_files(
    effects: pd.DataFrame,
    program: str,
    *,
    groups: tuple[str, str] = ("mi_cbt", "cbt"),
    further: Sequence[str] = (),
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> dict[str, str]:
    """The files of an export: the table, and for metafor a script that pools it.

    Parameters
    ----------
    effects, program, groups, further
        As in `export_table`.
    method, test, level
        What metafor's script fits, as in `random_effects`.

    Returns
    -------
    dict of str to str
        Name -> content.

    Raises
    ------
    ValueError
        If metafor has no such method.
    """
    files = {f"{program}.csv": export_table(effects, program, groups=groups, further=further)}
    if program != "metafor":
        return files
    if method not in _METAFOR_METHODS:
        known = ", ".join(_METAFOR_METHODS)
        raise ValueError(f"method must be one that metafor has ({known}), not {method!r}.")
    return files | {"metafor.R": _METAFOR.format(method=method, test=test, percent=100 * level)}


def export_r(ds: Dataset) -> dict[str, str]:
    """An R script that redoes the pooled effect, with its data.

    Returns
    -------
    dict of str to str
        ``analysis.R`` and ``effects.csv``. The script pools the points with metafor, and points and bounds with base R.

    Raises
    ------
    DataError
        If no trial of the dataset is usable.
    """
    effects = trial_effects(ds)
    safe = "".join(sign for sign in ds.name if sign.isalnum() or sign in "_-. ")
    return {"analysis.R": _SCRIPT.format(name=safe), "effects.csv": spreadsheet_csv(effects[_SCRIPT_COLUMNS])}
