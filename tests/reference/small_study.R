# Writes small_study.json: regression tests with every predictor, rank tests, fail-safe numbers with targets, excess
# significance of a random-effects fit, selection models beyond those of sensitivity.R, robust means with weights.
source("common.R")
suppressMessages(library(robumeta))

cases <- list()
keep <- function(id, table, what, call, ...) cases[[length(cases) + 1]] <<- c(list(id = id, table = table, what = what, call = call), list(...))
arr <- function(x) I(vec(x))
mean_fit <- function(table, method = "REML", test = "z", mods = NULL) {
  if (is.null(mods)) return(tight(function(control) rma(yi = table$yi, vi = table$vi, method = method, test = test, control = control), mean(table$vi)))
  tight(function(control) rma(yi = table$yi, vi = table$vi, mods = mods, method = method, test = test, control = control), mean(table$vi))
}

# A table that metadat lacks, as published.
preston <- data.frame(
  ai = c(4, 0, 34, 7, 6, 1, 0, 11, 2, 0, 0, 33), n1i = c(19, 18, 341, 71, 45, 94, 22, 88, 82, 33, 15, 221),
  ci = c(5, 0, 50, 16, 5, 8, 0, 12, 7, 0, 1, 43), n2i = c(19, 18, 334, 69, 44, 96, 22, 82, 84, 30, 20, 218)
)
preston <- escalc("OR", ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = preston, drop00 = TRUE)
preston <- as.data.frame(preston[!is.na(preston$yi), ])
own <- list(preston2004 = preston)
table_of <- function(id) if (id %in% names(own)) own[[id]] else effects_of(id)

for (id in c("egger2001_OR", "bcg_RR", "dorn2007_RR", "normand1999_SMD", "raudenbush1985", "molloy2014_ZCOR")) {
  table <- effects_of(id)
  ni <- if ("ni" %in% names(table)) table$ni else table$n1i + table$n2i
  for (predictor in c("sei", "vi", "ni", "ninv", "sqrtni", "sqrtninv")) for (model in c("lm", "rma")) for (test in if (model == "lm") "z" else c("z", "knha")) {
    fit <- tight(function(control) rma(yi = table$yi, vi = table$vi, ni = ni, method = "REML", test = test, control = control), mean(table$vi))
    # The regression is fitted again with the same tight rule.
    x <- list(sei = sqrt(table$vi), vi = table$vi, ni = ni, ninv = 1 / ni, sqrtni = sqrt(ni), sqrtninv = 1 / sqrt(ni))[[predictor]]
    if (model == "lm") {
      out <- regtest(fit, model = "lm", predictor = predictor)
      keep(paste("regtest", id, predictor, "lm", sep = "-"), id, "regtest", sprintf("regtest(model='lm', predictor='%s')", predictor), model = "classical", predictor = predictor, test = "t", ni = arr(ni),
        statistic = vec(out$zval), dof = vec(out$dfs), p_value = vec(out$pval), limit = if (is.null(out$est)) NA else vec(out$est), limit_low = if (is.null(out$ci.lb)) NA else vec(out$ci.lb), limit_high = if (is.null(out$ci.ub)) NA else vec(out$ci.ub))
    } else {
      out <- tight(function(control) rma(yi = table$yi, vi = table$vi, mods = x, method = "REML", test = test, control = control), mean(table$vi))
      limit <- predictor %in% c("sei", "vi", "ninv", "sqrtninv")
      keep(paste("regtest", id, predictor, "rma", test, sep = "-"), id, "regtest", sprintf("rma(mods = ~ %s, test='%s')", predictor, test), model = "mixed", predictor = predictor, test = test, ni = arr(ni),
        statistic = vec(out$zval[2]), dof = if (test == "z") NA else vec(out$dfs), p_value = vec(out$pval[2]), limit = if (limit) vec(out$beta[1]) else NA, limit_low = if (limit) out$ci.lb[1] else NA, limit_high = if (limit) out$ci.ub[1] else NA)
    }
  }
}

for (id in c("raudenbush1985", "hackshaw1998", "mcdaniel1994_ZCOR", "egger2001_OR", "dorn2007_RR", "tannersmith2016", "bcg_RR")) {
  table <- effects_of(id)
  rank <- suppressWarnings(ranktest(table$yi, table$vi))
  keep(paste("ranktest", id, sep = "-"), id, "ranktest", "ranktest()", tau = vec(rank$tau), p_value = vec(rank$pval))
  if (abs(mean(table$yi)) < 0.05) next
  target <- sign(mean(table$yi)) * 0.05
  keep(paste("fsn", id, sep = "-"), id, "fsn", sprintf("fsn(), fsn('Orwin', target=%g)", target), target = target,
    rosenthal = vec(fsn(table$yi, table$vi)$fsnum), rosenberg = vec(fsn(table$yi, table$vi, type = "Rosenberg")$fsnum),
    orwin = vec(fsn(table$yi, table$vi, type = "Orwin", target = target)$fsnum), orwin_weighted = vec(fsn(table$yi, table$vi, type = "Orwin", target = target, weighted = TRUE)$fsnum))
}

for (id in c("dorn2007_RR", "hackshaw1998", "bcg_RR", "baskerville2012")) for (test in c("chi2", "binom")) for (method in c("EE", "REML")) {
  fit <- mean_fit(effects_of(id), method)
  out <- tes(fit, test = test)
  keep(paste("tes", id, test, method, sep = "-"), id, "tes", sprintf("tes(rma(method='%s'), test='%s')", method, test), method = method, test = test, theta = vec(out$theta), observed = vec(out$O), expected = vec(out$E), p_value = vec(out$pval), theta_lim = if (length(out$theta.lim) == 0 || is.na(out$theta.lim[1])) NA else vec(out$theta.lim[1]), power = arr(out$power))
}

# Selection models: the best likelihood of several optimisers.
select <- function(id, type, alternative, method = "ML", mods = NULL, ...) {
  table <- table_of(id)
  X <- if (is.null(mods)) NULL else table[[mods]]
  base <- mean_fit(table, method, mods = X)
  args <- c(list(base, type = type, alternative = alternative), list(...))
  best <- NULL
  for (control in list(list(optimizer = "nlminb", rel.tol = 1e-13), list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14, maxit = 5000), list(optimizer = "optim", optmethod = "Nelder-Mead", reltol = 1e-14, maxit = 20000))) {
    fit <- tryCatch(suppressWarnings(do.call(selmodel, c(args, list(control = control)))), error = function(e) NULL)
    if (!is.null(fit) && (is.null(best) || logLik(fit) > logLik(best))) best <- fit
  }
  if (is.null(best)) return(message("not done: ", id, " ", type))
  extra <- list(...)
  extra <- extra[setdiff(names(extra), "scaleprec")]
  label <- paste(c("selmodel", id, type, alternative, method, mods, names(extra), unlist(extra)), collapse = "-")
  keep(label, id, "selmodel", sprintf("selmodel(rma(method='%s'%s), type='%s', alternative='%s'%s)", method, if (is.null(mods)) "" else paste0(", mods=~", mods), type, alternative, paste0(", ", names(extra), "=", vapply(extra, function(x) paste(deparse(x), collapse = ""), ""), collapse = "")),
    type = type, method = method, mods = if (is.null(mods)) NA else mods, alternative = alternative, steps = if (is.null(extra$steps)) NA else I(vec(extra$steps)), prec = if (is.null(extra$prec)) NA else extra$prec, fixed_delta = if (is.null(extra$delta)) NA else I(vec(extra$delta)),
    beta = arr(best$beta), se = arr(best$se), tau2 = best$tau2, se_tau2 = if (is.na(best$se.tau2)) NA else best$se.tau2, delta = arr(best$delta), se_delta = arr(best$se.delta), LRT = if (is.null(best$LRT)) NA else vec(best$LRT), LRT_p = if (is.null(best$LRTp)) NA else vec(best$LRTp), loglik = as.numeric(logLik(best)))
}
for (type in c("halfnorm", "negexp", "logistic", "power")) {
  select("preston2004", type, "less", "EE")
  select("preston2004", type, "less", "EE", steps = 0.05)
  select("preston2004", type, "less", "EE", prec = "sei", scaleprec = FALSE)
}
select("baskerville2012", "beta", "greater")
select("hackshaw1998", "beta", "greater")
select("dorn2007_RR", "beta", "greater")
select("hackshaw1998", "stepfun", "greater", steps = 0.025)
select("hackshaw1998", "stepfun", "greater", steps = c(0.025, 0.5))
select("hackshaw1998", "stepfun", "greater", steps = c(0.05, 0.1, 0.5, 1))
select("hackshaw1998", "stepfun", "greater", "EE", steps = 0.025)
select("hackshaw1998", "stepfun", "two.sided", steps = c(0.05, 0.5))
select("dorn2007_RR", "stepfun", "greater", steps = 0.025)
select("dorn2007_RR", "halfnorm", "two.sided")
select("bcg_RR", "stepfun", "less", steps = 0.025)
select("bcg_RR", "stepfun", "less", mods = "ablat", steps = 0.025)
select("hackshaw1998", "negexp", "greater")
select("hackshaw1998", "logistic", "greater", steps = 0.025)
select("cohen1981_COR", "stepfun", "greater", steps = c(0.005, 0.01, 0.05, 0.10, 0.25, 0.35, 0.50, 0.65, 0.75, 0.90, 0.95, 0.99, 0.995, 1), delta = c(1, 0.99, 0.95, 0.80, 0.75, 0.65, 0.60, 0.55, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50))

# The mean that weights nonaffirmative studies up by eta, with a robust variance (package robumeta).
for (id in c("hackshaw1998", "dorn2007_RR", "bcg_RR")) for (eta in c(1, 5, 30)) {
  table <- effects_of(id)
  sign <- if (mean_fit(table)$beta > 0) 1 else -1
  tau2 <- mean_fit(table)$tau2
  affirmative <- sign * table$yi / sqrt(table$vi) > qnorm(0.975)
  w <- ifelse(affirmative, 1, eta) / (table$vi + tau2)
  table$cluster <- seq_len(nrow(table))
  out <- robu(yi ~ 1, data = transform(table, w = w), studynum = cluster, var.eff.size = vi, userweights = w, small = TRUE)$reg_table
  keep(paste("weighted", id, eta, sep = "-"), id, "weighted_mean", sprintf("robu(userweights=w), w = eta / (vi + tau2) for nonaffirmative rows, eta=%g", eta), eta = eta, affirmative = sum(affirmative), estimate = out$b.r, se = out$SE, dof = out$dfs, p_value = out$prob, ci_low = out$CI.L, ci_high = out$CI.U)
}

VERSIONS$robumeta <- as.character(packageVersion("robumeta"))
write_json(list(theme = "small_study", versions = VERSIONS, tolerance = list(
  closed_form = 1e-8, iterative = 1e-6, selection = 1e-4,
  note = "Selection models are the best of three optimisers: an answer with a higher log-likelihood is right. robumeta takes the sampling variances alone for its working covariance."
), tables = list(preston2004 = list(source = "Preston, Ashby & Smyth (2004), Journal of Evaluation in Clinical Practice 10, 313-322; studies without events in both groups left out", columns = lapply(as.list(preston[c("ai", "n1i", "ci", "n2i", "yi", "vi")]), arr))), cases = unname(cases)), "small_study.json")
message(length(cases), " cases")
