"""Effects for other programs: tables in their column names, and an R script that redoes the analysis."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError

#: Column of ours -> column of the program, as its functions write it; JASP asks which column is which.
PROGRAMS: dict[str, dict[str, str]] = {
    "metafor": {"label": "slab", "year": "year", "yi": "yi", "vi": "vi", "n1i": "n1i", "n2i": "n2i"},
    "meta": {"label": "studlab", "year": "year", "yi": "TE", "sei": "seTE", "n1i": "n.e", "n2i": "n.c"},
    "metapsy": {"label": "study", "year": "year", "yi": ".g", "sei": ".g_se", "n1i": "n_arm1", "n2i": "n_arm2"},
    "jasp": {"label": "study", "year": "year", "yi": "effect size", "sei": "standard error"},
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


def export_table(effects: pd.DataFrame, program: str) -> str:
    """The points of an effects table as CSV in the column names of another program.

    Parameters
    ----------
    effects : DataFrame
        From `trial_effects`. Bounds are left out: no other program pools them.
    program : {"metafor", "meta", "metapsy", "jasp"}
        Whose names to use.

    Returns
    -------
    str
        CSV with all digits, safe to open in a spreadsheet.

    Raises
    ------
    ValueError
        If the program is not one of them.
    DataError
        If no row is a point.

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
    points = points.assign(sei=points["vi"].astype(float) ** 0.5)
    columns = PROGRAMS[program]
    return _csv(points[list(columns)].rename(columns=columns))


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
    return {"analysis.R": _SCRIPT.format(name=safe), "effects.csv": _csv(effects[_SCRIPT_COLUMNS])}


def _csv(table: pd.DataFrame) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_cell(value) for value in row] for row in table.itertuples(index=False, name=None))
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A cell that R and spreadsheets read alike: NA is empty, infinity R's word, a would-be formula text."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        if math.isinf(value):
            return "Inf" if value > 0 else "-Inf"
        return repr(int(value)) if value.is_integer() else repr(float(value))
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
