# Writes synthetic.json: random tables that nobody observed, seeded, with metafor's estimates. For testing only.
source("common.R")
RNGversion("4.2.0")
set.seed(20180401)

METHODS <- c("DL", "HE", "HS", "SJ", "ML", "REML", "PM")
SIZES <- c(2, 2, 3, 3, 4, 5, 5, 6, 7, 8, 8, 10, 10, 12, 12, 15, 15, 18, 20, 20, 25, 25, 30, 30, 40, 40, 50, 60, 60, 60, 3, 4, 6, 9, 12, 17, 23, 35, 45, 55)
TAU2 <- rep(c(0, 0.001, 0.02, 0.1, 0.5, 2, 25, 1000), length.out = length(SIZES))
SPREAD <- rep(c(0.5, 1, 2, 3), length.out = length(SIZES)) # half the range of log10(vi)

finite <- function(x) if (length(x) == 1 && is.finite(x)) x else NA
cases <- list()
for (i in seq_along(SIZES)) {
  k <- SIZES[i]
  vi <- signif(10^runif(k, -1.5 - SPREAD[i], -1.5 + SPREAD[i]), 6)
  yi <- signif(rnorm(k, rnorm(1), sqrt(vi + TAU2[i])), 6)
  results <- list()
  for (method in METHODS) {
    fit_with <- function(test) function(control) rma(yi, vi, method = method, test = test, control = control)
    # With variances over orders of magnitude the smallest sets how far the iteration must go.
    z <- tryCatch(tight(fit_with("z"), min(vi)), error = function(e) tryCatch(tight(fit_with("z"), mean(vi)), error = function(e) NULL))
    if (is.null(z)) {
      message("table ", i, " ", method, ": no convergence in metafor")
      next
    }
    knha <- suppressWarnings(rma(yi, vi, tau2 = z$tau2, test = "knha"))
    results[[method]] <- list(tau2 = z$tau2, se_tau2 = finite(z$se.tau2), estimate = vec(z$beta), se = z$se, p_value = vec(z$pval), knha_se = knha$se, knha_p = vec(knha$pval), I2 = z$I2, H2 = z$H2)
  }
  equal <- rma(yi, vi, method = "EE")
  cases[[length(cases) + 1]] <- list(id = sprintf("synthetic-%02d-k%d", i, k), yi = I(yi), vi = I(vi), Q = equal$QE, Q_p = equal$QEp, fixed = list(estimate = vec(equal$beta), se = equal$se), results = results)
}
write_cases("synthetic tables (invented, seeded)", cases, "synthetic.json", list(
  closed_form = 1e-9, iterative = 1e-6,
  note = "Invented data. DL, HE and HS are closed formulas. A REML or ML answer of metafor may be a local maximum: an answer with a higher likelihood is right."
))
