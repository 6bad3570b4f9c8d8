# Writes counts.json: Mantel-Haenszel, Peto and binomial-normal models on tables of 2x2 counts.
source("common.R")

cases <- list()
keep <- function(...) cases[[length(cases) + 1]] <<- Filter(Negate(is.null), list(...))
number_or_na <- function(x) if (length(x) == 1 && is.finite(x)) vec(x) else NA

for (name in names(binary)) {
  table <- paste0(name, "_counts")
  data <- binary[[name]]
  for (measure in c("OR", "RR", "RD")) {
    fit <- rma.mh(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = data, measure = measure, correct = TRUE)
    plain <- rma.mh(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = data, measure = measure, correct = FALSE)
    keep(
      id = paste(name, "MH", measure, sep = "-"), table = table, model = "mantel_haenszel", measure = measure, call = sprintf("rma.mh(measure='%s')", measure),
      k = fit$k, k_used_for_Q = fit$k.yi, estimate = vec(fit$beta), se = fit$se, statistic = vec(fit$zval), p_value = vec(fit$pval), ci_low = fit$ci.lb, ci_high = fit$ci.ub,
      Q = fit$QE, Q_df = fit$k.yi - 1, Q_p = fit$QEp, I2 = fit$I2, H2 = fit$H2,
      CMH = number_or_na(fit$MH), CMH_p = number_or_na(fit$MHp), CMH_uncorrected = number_or_na(plain$MH), CMH_uncorrected_p = number_or_na(plain$MHp),
      tarone = number_or_na(fit$TA), tarone_p = number_or_na(fit$TAp)
    )
  }
  fit <- rma.peto(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = data)
  keep(
    id = paste(name, "peto", sep = "-"), table = table, model = "peto", measure = "OR", call = "rma.peto()",
    k = fit$k, estimate = vec(fit$beta), se = fit$se, statistic = vec(fit$zval), p_value = vec(fit$pval), ci_low = fit$ci.lb, ci_high = fit$ci.ub,
    Q = fit$QE, Q_df = fit$k.yi - 1, Q_p = fit$QEp, I2 = fit$I2, H2 = fit$H2
  )
}

glmm <- function(name, model, method, ...) {
  data <- binary[[name]]
  started <- Sys.time()
  fit <- tryCatch(suppressWarnings(rma.glmm(measure = "OR", ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = data, model = model, method = method, ...)), error = function(e) e)
  if (inherits(fit, "error")) {
    message(name, " ", model, ": ", conditionMessage(fit))
    return(invisible())
  }
  message(name, " ", model, " ", round(as.numeric(difftime(Sys.time(), started, units = "secs")), 1), " s")
  # Where its optimiser ends at a standard error near 0, metafor found no maximum (tau2 at its bound).
  failed <- method == "ML" && (is.na(fit$tau2) || fit$se < 1e-3)
  keep(
    known_difference = if (failed) "metafor's search ends without a maximum: tau2 is 0 or near it, and its standard error is meaningless.",
    id = paste(name, "glmm", model, method, sep = "-"), table = paste0(name, "_counts"), model = paste0("glmm ", model), measure = "OR", method = method,
    call = sprintf("rma.glmm(measure='OR', model='%s', method='%s')", model, method), k = fit$k, estimate = vec(fit$beta), se = fit$se, statistic = vec(fit$zval), p_value = vec(fit$pval), ci_low = fit$ci.lb, ci_high = fit$ci.ub,
    tau2 = fit$tau2, Q_wald = number_or_na(fit$QE.Wld), Q_lrt = number_or_na(fit$QE.LRT), loglik = fit$fit.stats["ll", "ML"]
  )
}
for (name in c("bcg", "hine1989", "collins1985b", "nielweise2007", "egger2001", "lee2004", "clasp", "hahn2001", "viechtbauer2021")) {
  glmm(name, "UM.FS", "EE")
  # Adaptive quadrature with many nodes, so that what is left is the integral itself.
  glmm(name, "UM.FS", "ML", nAGQ = 21)
  glmm(name, "UM.RS", "ML")
}
for (name in c("hine1989", "collins1985b", "nielweise2007", "egger2001", "clasp", "hahn2001")) {
  glmm(name, "CM.EL", "EE")
  glmm(name, "CM.EL", "ML", control = list(optimizer = "nlminb", rel.tol = 1e-14, hesspack = "numDeriv"))
  glmm(name, "CM.AL", "ML", nAGQ = 21)
}

write_cases("counts", cases, "counts.json", list(
  closed_form = 1e-10, tarone = 1e-8, glmm = 1e-3,
  note = "Mantel-Haenszel and Peto are closed formulas. The log-likelihood of lme4 with more than one quadrature point leaves out constants and is no target. GLMMs stop where lme4 (UM) or the integration (CM.EL) stops: 1e-3 of a standard error; CM.EL integrates over plus and minus 5 standard deviations only."
))
