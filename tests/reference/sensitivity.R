# Writes sensitivity.json: influence, deletion, cumulative, small-study effects, fail-safe N, excess significance,
# selection models, GOSH.
source("common.R")

cases <- list()
keep <- function(id, table, what, call, ...) cases[[length(cases) + 1]] <<- c(list(id = id, table = table, what = what, call = call), list(...))
fit_of <- function(id, method = "REML", test = "z", formula = "1") {
  table <- effects_of(id)
  X <- model.matrix(as.formula(paste("~", formula)), table)
  tight(function(control) rma(table$yi, table$vi, mods = X, intercept = FALSE, method = method, test = test, control = control), mean(table$vi))
}
mean_fit <- function(id, method = "REML", test = "z") {
  table <- effects_of(id)
  tight(function(control) rma(yi = table$yi, vi = table$vi, method = method, test = test, control = control), mean(table$vi))
}
attempt <- function(what, expression) tryCatch(expression, error = function(e) message("not done: ", what, ": ", conditionMessage(e)))
arr <- function(x) I(vec(x))

TABLES <- c("bcg_RR", "raudenbush1985", "hackshaw1998", "hine1989_RD", "normand1999_SMD", "egger2001_OR", "molloy2014_ZCOR", "dorn2007_RR", "baskerville2012", "borenstein2009", "nielweise2007_OR", "gibson2002_SMD")

for (id in TABLES) {
  message(format(Sys.time(), "%X"), " ", id)
  for (method in c("REML", "DL")) {
    fit <- mean_fit(id, method)
    inf <- influence(fit)$inf
    keep(paste("influence", id, method, sep = "-"), id, "influence", sprintf("influence(rma(method='%s'))", method), method = method,
      rstudent = arr(inf$rstudent), dffits = arr(inf$dffits), cook_d = arr(inf$cook.d), cov_r = arr(inf$cov.r), tau2_del = arr(inf$tau2.del), Q_del = arr(inf$QE.del), hat = arr(inf$hat), weight = arr(inf$weight),
      rstandard = arr(rstandard(fit)$z), dfbetas = arr(dfbetas(fit)[[1]]))
  }
  fit <- mean_fit(id, "REML", "knha")
  out <- leave1out(fit)
  keep(paste("leave1out", id, sep = "-"), id, "leave_one_out", "leave1out(rma(test='knha'))", method = "REML", test = "knha",
    estimate = arr(out$estimate), se = arr(out$se), p_value = arr(out$pval), ci_low = arr(out$ci.lb), ci_high = arr(out$ci.ub), Q = arr(out$Q), Q_p = arr(out$Qp), tau2 = arr(out$tau2), I2 = arr(out$I2), H2 = arr(out$H2))
  table <- effects_of(id)
  if ("year" %in% names(table)) {
    # Ties in year stay in the order of the table.
    order <- order(table$year)
    out <- cumul(mean_fit(id, "DL"), order = rank(table$year, ties.method = "first"))
    keep(paste("cumulative", id, sep = "-"), id, "cumulative", "cumul(rma(method='DL'), order=year)", method = "DL", rows = I(order - 1), estimate = arr(out$estimate), se = arr(out$se), ci_low = arr(out$ci.lb), ci_high = arr(out$ci.ub), tau2 = arr(out$tau2))
  }

  fit <- mean_fit(id)
  egger <- regtest(fit, model = "lm")
  keep(paste("egger", id, sep = "-"), id, "egger", "regtest(model='lm')", statistic = vec(egger$zval), dof = vec(egger$dfs), p_value = vec(egger$pval), limit = vec(egger$est), limit_low = vec(egger$ci.lb), limit_high = vec(egger$ci.ub))
  for (predictor in c("sei", "vi")) {
    mixed <- regtest(fit, model = "rma", predictor = predictor)
    keep(paste("egger-rma", predictor, id, sep = "-"), id, "egger_mixed", sprintf("regtest(model='rma', predictor='%s')", predictor), predictor = predictor, statistic = vec(mixed$zval), p_value = vec(mixed$pval), limit = vec(mixed$est), limit_low = vec(mixed$ci.lb), limit_high = vec(mixed$ci.ub))
  }
  begg <- suppressWarnings(ranktest(fit))
  keep(paste("begg", id, sep = "-"), id, "begg", "ranktest()", tau = vec(begg$tau), p_value = vec(begg$pval))
  for (estimator in c("L0", "R0", "Q0")) for (method in c("EE", "REML", "DL")) {
    attempt(paste("trimfill", id, estimator, method), {
      tf <- trimfill(mean_fit(id, method), estimator = estimator, control = list(threshold = 1e-10 * mean(table$vi), maxiter = 20000, tau2.max = 1e5))
      keep(paste("trimfill", id, estimator, method, sep = "-"), id, "trim_and_fill", sprintf("trimfill(rma(method='%s'), estimator='%s')", method, estimator), method = method, estimator = estimator,
        k0 = tf$k0, se_k0 = if (is.na(tf$se.k0)) NA else tf$se.k0, side = tf$side, p_k0 = if (is.null(tf$p.k0) || is.na(tf$p.k0)) NA else tf$p.k0, estimate = vec(tf$beta), se = tf$se, ci_low = tf$ci.lb, ci_high = tf$ci.ub, tau2 = tf$tau2, filled = arr(tf$yi[tf$fill]))
    })
  }
  rosenthal <- fsn(table$yi, table$vi, type = "Rosenthal")
  orwin <- fsn(table$yi, table$vi, type = "Orwin")
  rosenberg <- fsn(table$yi, table$vi, type = "Rosenberg")
  count <- function(x) if (is.null(x$fsnum) || is.na(x$fsnum)) NA else vec(x$fsnum)
  keep(paste("fsn", id, sep = "-"), id, "fail_safe_n", "fsn()", rosenthal = count(rosenthal), orwin = count(orwin), rosenberg = count(rosenberg), orwin_target = vec(orwin$target))
  # The exact test goes through all sets of significant results.
  for (test in c("chi2", "binom", if (nrow(table) <= 13) "exact")) {
    attempt(paste("tes", id, test), {
      es <- suppressWarnings(tes(table$yi, table$vi, test = test))
      keep(paste("tes", id, test, sep = "-"), id, "excess_significance", sprintf("tes(test='%s')", test), test = test, theta = vec(es$theta), observed = vec(es$O), expected = vec(es$E), p_value = vec(es$pval), power = arr(es$power))
    })
  }
  grDevices::pdf(NULL)
  bau <- baujat(mean_fit(id, "EE"))
  invisible(grDevices::dev.off())
  keep(paste("baujat", id, sep = "-"), id, "baujat", "baujat(rma(method='EE'))", x = arr(bau$x), y = arr(bau$y))
}

# Regression diagnostics.
for (pair in list(c("bcg_RR", "ablat"), c("raudenbush1985", "weeks3"), c("molloy2014_ZCOR", "design"))) {
  fit <- fit_of(pair[1], "REML", "z", pair[2])
  inf <- influence(fit)$inf
  keep(paste("influence", pair[1], pair[2], sep = "-"), pair[1], "influence_regression", sprintf("influence(rma(mods = ~ %s))", pair[2]), formula = pair[2], rstudent = arr(inf$rstudent), dffits = arr(inf$dffits), cook_d = arr(inf$cook.d), cov_r = arr(inf$cov.r), tau2_del = arr(inf$tau2.del), Q_del = arr(inf$QE.del), hat = arr(inf$hat), dfbetas_intercept = arr(dfbetas(fit)[[1]]), dfbetas_slope = arr(dfbetas(fit)[[2]]))
}

# Selection models, from two or three optimisers; the best likelihood is kept.
select <- function(id, type, ..., alternative = "greater", prec = NULL) {
  base <- mean_fit(id, "ML")
  args <- c(list(base, type = type, alternative = alternative), list(...))
  if (!is.null(prec)) args$prec <- prec
  best <- NULL
  controls <- list(list(optimizer = "nlminb", rel.tol = 1e-13), list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14, maxit = 1000))
  if (type == "beta") controls <- list(list(optimizer = "nlminb", rel.tol = 1e-10), list())
  # Where every likelihood is an integral, one more search takes minutes.
  if (type == "stepfun") controls <- c(controls, list(list(optimizer = "optim", optmethod = "Nelder-Mead", reltol = 1e-14, maxit = 5000)))
  for (control in controls) {
    fit <- tryCatch(suppressWarnings(do.call(selmodel, c(args, list(control = control)))), error = function(e) NULL)
    if (!is.null(fit) && (is.null(best) || logLik(fit) > logLik(best))) best <- fit
  }
  message(format(Sys.time(), "%X"), " ", id, " ", type)
  if (is.null(best)) return(message("not done: selmodel ", id, " ", type))
  steps <- list(...)$steps
  label <- paste(c("selmodel", id, type, steps, alternative), collapse = "-")
  keep(label, id, "selection_model", sprintf("selmodel(rma(method='ML'), type='%s'%s, alternative='%s')", type, if (is.null(steps)) "" else sprintf(", steps=c(%s)", paste(steps, collapse = ", ")), alternative),
    type = type, steps = if (is.null(steps)) NA else I(steps), alternative = alternative, estimate = vec(best$beta), se = best$se, ci_low = best$ci.lb, ci_high = best$ci.ub, tau2 = best$tau2, se_tau2 = if (is.na(best$se.tau2)) NA else best$se.tau2,
    delta = arr(best$delta), se_delta = arr(best$se.delta), LRT = vec(best$LRT), LRT_p = vec(best$LRTp), loglik = as.numeric(logLik(best)))
}
for (id in c("hackshaw1998", "baskerville2012", "egger2001_OR", "dorn2007_RR", "bcg_RR")) {
  side <- if (vec(mean_fit(id)$beta) > 0) "greater" else "less"
  select(id, "stepfun", steps = 0.025, alternative = side)
  select(id, "stepfun", steps = c(0.025, 0.5), alternative = side)
  # The smooth weight functions only where metafor's searches end.
  if (id %in% c("hackshaw1998", "baskerville2012", "egger2001_OR")) for (type in c("halfnorm", "negexp", "logistic", "power", "beta")) select(id, type, alternative = side)
}
select("hackshaw1998", "stepfun", steps = c(0.05, 0.1, 0.5, 1), alternative = "greater")
select("hackshaw1998", "stepfun", steps = 0.05, alternative = "two.sided")

# All subsets.
for (pair in list(c("hine1989_RD", "EE"), c("borenstein2009", "REML"), c("clasp_OR", "DL"), c("collins1985b_OR", "EE"))) {
  all <- gosh(mean_fit(pair[1], pair[2]), progbar = FALSE)
  res <- all$res
  keep(paste("gosh", pair[1], pair[2], sep = "-"), pair[1], "subsets", sprintf("gosh(rma(method='%s'))", pair[2]), method = pair[2], n = nrow(res), mean_estimate = mean(res$estimate), sd_estimate = sd(res$estimate), median_estimate = median(res$estimate), min_estimate = min(res$estimate), max_estimate = max(res$estimate), mean_I2 = mean(res$I2), mean_tau2 = if ("tau2" %in% names(res)) mean(res$tau2) else NA)
}

write_cases("sensitivity", cases, "sensitivity.json", list(
  closed_form = 1e-8, iterative = 1e-5, selection = 1e-4,
  note = "Deletion statistics refit with the tightened rule of the fit. trimfill's k0 is exact. Selection models are the best of two or three optimisers: compare the log-likelihood (1e-6) first, an answer with a higher one is right; estimates bear 1e-4. GOSH refits at metafor's default rule: 1e-4 for iterative estimators."
))
