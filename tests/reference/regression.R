# Writes regression.json (meta-regressions, contrasts, predictions, VIF, subgroups) and permutation.json.
source("common.R")

# table, formula (the same text means the same in R and in formulaic), predict at these rows of the table.
MODELS <- list(
  c("bcg_RR", "ablat"), c("bcg_RR", "alloc"), c("bcg_RR", "ablat + alloc"), c("bcg_RR", "ablat * alloc"), c("bcg_RR", "ablat + year"), c("bcg_OR", "ablat"),
  c("raudenbush1985", "weeks3"), c("raudenbush1985", "weeks"), c("raudenbush1985", "setting"), c("raudenbush1985", "setting + tester"),
  c("bangertdrowns2004", "length"), c("bangertdrowns2004", "wic + feedback + info + pers + imag + meta"), c("bangertdrowns2004", "length * feedback"),
  c("hackshaw1998", "year"), c("hackshaw1998", "design + year"), c("molloy2014_ZCOR", "design"), c("molloy2014_ZCOR", "controls + meanage + quality"),
  c("curtis1998_ROM", "time"), c("curtis1998_ROM", "method + fungrp"), c("landenberger2005_OR", "design"), c("landenberger2005_OR", "design + age + sessions"),
  c("crede2010_ZCOR", "criterion"), c("crede2010_ZCOR", "criterion + year"), c("mcdaniel1994_ZCOR", "struct"), c("mcdaniel1994_ZCOR", "struct + type"),
  c("linde2005_RR", "dosage_c * baseline_c"), c("lipsey2001", "random"), c("lipsey2001", "random + intensity"), c("jackson2014a", "x"), c("jackson2014b", "x"),
  c("viechtbauer2021_OR", "dose"), c("gibson2002_SMD", "year"), c("baskerville2012", "design"), c("laopaiboon2015_RR", "year"), c("dorn2007_RR", "days"), c("begg1989", "trt"),
  c("li2007_OR", "year"), c("egger2001_OR", "year"), c("nielweise2007_OR", "year")
)
METHODS <- c("EE", "DL", "HE", "HS", "HSk", "SJ", "ML", "REML", "EB", "PM", "PMM")
TESTS <- c("z", "knha")

complete <- function(id, formula) {
  table <- effects_of(id)
  table$.row <- seq_len(nrow(table)) - 1
  table[complete.cases(table[all.vars(as.formula(paste("~", formula)))]), ]
}
finite <- function(x) if (length(x) == 1 && is.finite(x)) x else NA
arrays <- function(x) lapply(x, function(column) I(vec(column)))

regression <- function(id, formula, method, test) {
  table <- complete(id, formula)
  X <- model.matrix(as.formula(paste("~", formula)), table)
  scale <- mean(table$vi)
  fit_with <- function(control) rma(table$yi, table$vi, mods = X[, -1, drop = FALSE], method = method, test = test, control = control)
  fit <- tight(fit_with, scale)
  case <- list(
    id = paste(id, gsub(" ", "", formula), method, test, sep = "-"), table = id, formula = formula, method = method, test = test,
    call = sprintf("rma(yi, vi, mods = ~ %s, method='%s', test='%s')", formula, method, test), k = fit$k, terms = I(colnames(X)),
    coefficients = arrays(list(estimate = fit$beta, se = fit$se, statistic = fit$zval, p_value = fit$pval, ci_low = fit$ci.lb, ci_high = fit$ci.ub)),
    dof = finite(fit$ddf[1]), tau2 = fit$tau2, QM = fit$QM, QM_df = finite(fit$QMdf[1]), QM_df2 = finite(fit$QMdf[2]), QM_p = fit$QMp,
    QE = fit$QE, QE_df = fit$k - fit$p, QE_p = fit$QEp
  )
  if (method != "EE") case <- c(case, list(se_tau2 = finite(fit$se.tau2), I2 = fit$I2, H2 = fit$H2, R2 = finite(fit$R2)))
  # metafor computes R2 with its default stopping rule for the model without moderators; this one is tight.
  if (method != "EE") {
    base <- tight(function(control) rma(table$yi, table$vi, method = method, control = control), scale)$tau2
    case$R2 <- if (base > 0) max(0, 100 * (base - fit$tau2) / base) else NA
  }
  if (method %in% c("ML", "REML")) {
    stats <- fit$fit.stats[[method]]
    case <- c(case, list(loglik = stats[1], AIC = stats[3], BIC = stats[4], AICc = stats[5]))
  }
  if (method == "REML") {
    rows <- unique(round(seq(1, nrow(table), length.out = 4)))
    future <- predict(fit, newmods = X[rows, -1, drop = FALSE])
    case$predict <- list(rows = I(table$.row[rows]), estimate = I(vec(future$pred)), se = I(vec(future$se)), ci_low = I(vec(future$ci.lb)), ci_high = I(vec(future$ci.ub)), pi_low = I(vec(future$pi.lb)), pi_high = I(vec(future$pi.ub)))
    case$hat <- I(vec(hatvalues(fit)))
    if (ncol(X) > 2) {
      case$vif <- I(vec(vif(fit)$vifs))
      last <- ncol(X)
      # Test of the last two coefficients together, and of the difference between them.
      joint <- anova(fit, btt = c(last - 1, last))
      contrast <- matrix(0, 1, last)
      contrast[c(last - 1, last)] <- c(1, -1)
      difference <- anova(fit, X = contrast)
      case$joint_last_two <- list(QM = vec(joint$QM), p_value = vec(joint$QMp))
      case$difference_last_two <- list(estimate = vec(difference$Xb), statistic = vec(difference$zval), se = vec(difference$se), p_value = vec(difference$pval))
    }
  }
  case
}

cases <- list()
for (model in MODELS) for (method in METHODS) for (test in TESTS) {
  if (method == "EE" && test == "knha") next
  if (test == "knha" && !method %in% c("DL", "REML")) next
  cases[[length(cases) + 1]] <- regression(model[1], model[2], method, test)
}
for (model in MODELS[c(1, 3, 7, 26)]) for (test in c("t", "adhoc")) cases[[length(cases) + 1]] <- regression(model[1], model[2], "REML", test)

# Subgroups: each level on its own, and Q between from their estimates and errors.
for (pair in list(c("bcg_RR", "alloc"), c("raudenbush1985", "setting"), c("raudenbush1985", "tester"), c("molloy2014_ZCOR", "design"), c("curtis1998_ROM", "method"), c("landenberger2005_OR", "design"), c("crede2010_ZCOR", "criterion"), c("mcdaniel1994_ZCOR", "struct"), c("begg1989", "trt"))) {
  table <- complete(pair[1], pair[2])
  groups <- split(table, table[[pair[2]]])
  for (method in c("EE", "DL", "REML")) for (test in c("z", "knha")) {
    if (method == "EE" && test == "knha") next
    fits <- lapply(groups, function(group) tight(function(control) rma(group$yi, group$vi, method = method, test = test, control = control), mean(group$vi)))
    pick <- function(name) I(vapply(fits, function(fit) vec(fit[[name]]), 0, USE.NAMES = FALSE))
    wi <- 1 / pick("se")^2
    between <- sum(wi * (pick("beta") - sum(wi * pick("beta")) / sum(wi))^2)
    common <- tight(function(control) rma(table$yi, table$vi, mods = ~ factor(table[[pair[2]]]) - 1, method = method, test = test, control = control), mean(table$vi))
    cases[[length(cases) + 1]] <- list(
      id = paste(pair[1], "by", pair[2], method, test, sep = "-"), table = pair[1], by = pair[2], method = method, test = test,
      call = sprintf("rma(subset = %s == level, method='%s', test='%s')", pair[2], method, test), levels = I(names(groups)), k = pick("k"),
      separate = list(estimate = pick("beta"), se = pick("se"), ci_low = pick("ci.lb"), ci_high = pick("ci.ub"), tau2 = pick("tau2"), Q = pick("QE"), I2 = pick("I2")),
      Q_between = between, Q_between_df = length(fits) - 1, Q_between_p = pchisq(between, length(fits) - 1, lower.tail = FALSE),
      common = list(tau2 = common$tau2, estimate = I(vec(common$beta)), se = I(common$se))
    )
  }
}
write_cases("meta-regression and subgroups", cases, "regression.json", list(
  closed_form = 1e-10, iterative = 1e-6, closed_form_methods = I(c("EE", "DL", "HE", "HS", "HSk")), iterative_methods = I(c("SJ", "ML", "REML", "EB", "PM", "PMM")),
  note = "terms are R's names in the order of the design's columns. Predictions are for the named rows (from 0) of the table. A tau2 that metafor leaves below 1e-9 of the mean vi is 0. Rows with a missing moderator were left out."
))

permutations <- list()
permute <- function(id, formula, method, test) {
  table <- complete(id, if (formula == "1") "yi" else formula)
  fit <- if (formula == "1") rma(yi, vi, data = table, method = method, test = test) else rma(yi, vi, mods = as.formula(paste("~", formula)), data = table, method = method, test = test)
  out <- permutest(fit, exact = TRUE, progbar = FALSE)
  permutations[[length(permutations) + 1]] <<- list(
    id = paste(id, formula, method, test, sep = "-"), table = id, formula = formula, method = method, test = test, call = "permutest(exact=TRUE)",
    p_value = I(vec(out$pval)), QM_p = if (formula == "1") NA else vec(out$QMp), draws = nrow(out$zval.perm)
  )
}
permute("hine1989_RD", "1", "DL", "z")
permute("clasp_OR", "1", "DL", "z")
permute("borenstein2009", "1", "DL", "z")
permute("borenstein2009", "1", "REML", "z")
permute("collins1985b_OR", "1", "DL", "knha")
permute("lipsey2001", "1", "DL", "z")
permute("lipsey2001", "random", "DL", "z")
permute("hine1989_RD", "n1i", "DL", "z")
permute("clasp_OR", "n1i", "DL", "knha")
write_cases("exact permutation tests", permutations, "permutation.json", list(
  exact = 1e-12, note = "Counts over all sign flips (mean) or all distinct orders of the moderator (regression): equal up to rounding."
))
