# Writes location_scale.json: location-scale models by rma(scale=).
source("common.R")

# table, formula of the mean, formula of log tau2 (the same text means the same in R and in formulaic), rows where the
# model is predicted.
MODELS <- list(
  c("bangertdrowns2004", "1", "1"), c("bangertdrowns2004", "1", "grade"), c("bangertdrowns2004", "1", "meta"), c("bangertdrowns2004", "meta", "meta"),
  c("bangertdrowns2004", "1", "length"), c("bangertdrowns2004", "length", "length + meta"), c("bangertdrowns2004", "ni", "ni"), c("bangertdrowns2004", "ni + meta", "ni + imag"),
  c("bcg_RR", "alloc", "ablat"), c("bcg_RR", "1", "ablat"), c("bcg_OR", "ablat", "year"), c("raudenbush1985", "1", "weeks"), c("hackshaw1998", "1", "design"),
  c("curtis1998_ROM", "1", "method"), c("curtis1998_ROM", "time", "time + method"), c("landenberger2005_OR", "1", "design"), c("landenberger2005_OR", "sessions", "sessions"),
  c("crede2010_ZCOR", "criterion", "criterion"), c("crede2010_ZCOR", "1", "class"), c("mcdaniel1994_ZCOR", "struct", "struct"), c("mcdaniel1994_ZCOR", "struct + type", "type"),
  c("molloy2014_ZCOR", "1", "meanage"), c("assink2016", "1", "pubstatus"), c("assink2016", "deltype", "year"), c("jackson2014a", "x", "x"), c("jackson2014b", "1", "x"),
  c("baskerville2012", "1", "design"), c("lipsey2001", "1", "intensity"), c("konstantopoulos2011", "1", "year"), c("linde2005_RR", "1", "dosage_c")
)

complete <- function(id, ...) {
  table <- effects_of(id)
  table$.row <- seq_len(nrow(table)) - 1
  variables <- unlist(lapply(c(...), function(formula) all.vars(as.formula(paste("~", formula)))))
  table[complete.cases(table[variables]), ]
}
finite <- function(x) if (length(x) == 1 && is.finite(x)) x else NA
arrays <- function(x) lapply(x, function(column) I(vec(column)))

# metafor climbs numerically from one start: of several optimisers and stopping rules the highest end is kept. NULL where
# none converges.
highest <- function(fit_with) {
  best <- NULL
  tries <- c(
    lapply(c(1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-8), function(tol) list(optimizer = "nlminb", rel.tol = tol, x.tol = 1e-12, iter.max = 5000, eval.max = 5000)),
    lapply(c(1e-15, 1e-13, 1e-10), function(tol) list(optimizer = "BFGS", reltol = tol, maxit = 5000)),
    list(list(optimizer = "Nelder-Mead", reltol = 1e-15, maxit = 20000))
  )
  for (control in tries) {
    fit <- tryCatch(suppressWarnings(fit_with(control)), error = function(e) NULL)
    if (is.null(fit) || anyNA(fit$se.alpha)) next
    if (is.null(best) || logLik(fit) > logLik(best) + 1e-13) {
      best <- fit
      best$named <- control$optimizer
    }
  }
  best
}

location_scale <- function(model, method, test) {
  table <- complete(model[1], model[2], model[3])
  X <- model.matrix(as.formula(paste("~", model[2])), table)
  Z <- model.matrix(as.formula(paste("~", model[3])), table)
  fit_with <- function(control) {
    if (ncol(X) == 1) return(rma(table$yi, table$vi, scale = Z, method = method, test = test, control = control))
    rma(table$yi, table$vi, mods = X[, -1, drop = FALSE], scale = Z, method = method, test = test, control = control)
  }
  id <- paste(gsub(" ", "", c(model, method, test)), collapse = "-")
  fit <- highest(fit_with)
  if (is.null(fit)) {
    message("no convergence: ", id)
    return(NULL)
  }
  stats <- fit$fit.stats[[method]]
  rows <- unique(round(seq(1, nrow(table), length.out = 3)))
  if (ncol(Z) > 1) {
    future <- if (ncol(X) == 1) NULL else predict(fit, newmods = X[rows, -1, drop = FALSE], newscale = Z[rows, -1, drop = FALSE])
    scaled <- predict(fit, newscale = Z[rows, -1, drop = FALSE])
  }
  constant <- tight(function(control) if (ncol(X) == 1) rma(table$yi, table$vi, method = method, control = control) else rma(table$yi, table$vi, mods = X[, -1, drop = FALSE], method = method, control = control), mean(table$vi))
  columns <- function(part) {
    suffix <- if (part == "alpha") ".alpha" else ""
    arrays(list(
      estimate = fit[[part]], se = fit[[paste0("se", suffix)]], statistic = fit[[paste0("zval", suffix)]], p_value = fit[[paste0("pval", suffix)]],
      ci_low = fit[[paste0("ci.lb", suffix)]], ci_high = fit[[paste0("ci.ub", suffix)]]
    ))
  }
  case <- list(
    id = id, table = model[1], formula = model[2], scale = model[3], method = method, test = test,
    call = sprintf("rma(yi, vi, mods = ~ %s, scale = ~ %s, method='%s', test='%s')", model[2], model[3], method, test), optimizer = fit$named, k = fit$k,
    location = columns("beta"), scale_part = columns("alpha"), tau2_range = I(range(fit$tau2)),
    QM = fit$QM, QM_p = fit$QMp, QE = fit$QE, QE_p = fit$QEp, QS = fit$QS, QS_p = fit$QSp,
    loglik = stats[1], AIC = stats[3], BIC = stats[4], loglik_constant = constant$fit.stats[[method]][1]
  )
  if (ncol(Z) > 1) {
    case$predict <- list(rows = I(table$.row[rows]), log_tau2 = I(vec(scaled$pred)), log_tau2_low = I(vec(scaled$ci.lb)), log_tau2_high = I(vec(scaled$ci.ub)))
    if (!is.null(future)) case$predict <- c(case$predict, arrays(list(estimate = future$pred, se = future$se, ci_low = future$ci.lb, ci_high = future$ci.ub, pi_low = future$pi.lb, pi_high = future$pi.ub)))
  }
  if (max(fit$se.alpha) > 1000) case$known_difference <- "No maximum: tau2 of some rows runs to 0, their log tau2 to minus infinity, and the search stops on the way with errors without meaning."
  else if (id %in% names(LOWER)) case$known_difference <- LOWER[[id]]
  case
}

# Where the search ends on a hill that is not the highest.
LOWER <- list(
  "lipsey2001-1-intensity-ML-z" = "A lower hill: the likelihood is higher, and without a maximum, where all rows but those of the highest intensity have tau2 near 0.",
  "molloy2014_ZCOR-1-meanage-ML-z" = "A lower hill: the likelihood is higher, and without a maximum, where all rows but the one of the highest meanage have tau2 near 0."
)

cases <- list()
for (model in MODELS) {
  for (method in c("REML", "ML")) cases[[length(cases) + 1]] <- location_scale(model, method, "z")
  cases[[length(cases) + 1]] <- location_scale(model, "REML", "knha")
}
for (test in c("t", "adhoc")) cases[[length(cases) + 1]] <- location_scale(c("bangertdrowns2004", "ni", "ni"), "REML", test)
write_cases("location-scale models", Filter(Negate(is.null), cases), "location_scale.json", list(
  iterative = 1e-5, numerical_hessian = 1e-4, note = "metafor searches numerically and takes standard errors of the scale from a numerical Hessian. loglik_constant is that of rma() without scale. tau2_range is over the rows with every moderator; predict$rows count from 0 in the table."
))
