# Writes multilevel.json: three-level and correlated-and-hierarchical effects (CHE) models, and cluster-robust variances.
source("common.R")
suppressMessages(library(clubSandwich))

# rma.mv stops where its optimiser is content. Start from the best of three, then take Newton steps on the root of each
# variance with the likelihood that rma.mv gives when the variances are held.
best_fit <- function(fit_at) {
  starts <- list(list(optimizer = "nlminb", rel.tol = 1e-14), list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14), list(optimizer = "optim", optmethod = "Nelder-Mead", reltol = 1e-14, maxit = 5000))
  fits <- Filter(Negate(is.null), lapply(starts, function(control) tryCatch(suppressWarnings(fit_at(NA, control)), error = function(e) NULL)))
  fit <- fits[[which.max(vapply(fits, function(f) as.numeric(logLik(f)), 0))]]
  sigma <- sqrt(fit$sigma2)
  free <- sigma > 1e-4
  if (any(free)) {
    minus <- function(root) {
      all <- ifelse(free, 0, sigma)
      all[free] <- root
      -as.numeric(logLik(fit_at(all^2, list())))
    }
    root <- sigma[free]
    for (step in 1:4) {
      slope <- numDeriv::grad(minus, root, method.args = list(eps = 1e-4, r = 6))
      move <- solve(numDeriv::hessian(minus, root, method.args = list(eps = 1e-3)), slope)
      root <- root - move
      if (max(abs(move)) < 1e-10) break
    }
    sigma[free] <- root
  }
  sigma[!free] <- 0
  held <- fit_at(sigma^2, list())
  stopifnot(as.numeric(logLik(held)) >= as.numeric(logLik(fit)) - 1e-9)
  list(fit = held, sigma2 = sigma^2)
}

constant_correlation <- function(table, cluster, rho) {
  cov <- rho * outer(sqrt(table$vi), sqrt(table$vi)) * outer(cluster, cluster, "==")
  diag(cov) <- table$vi
  cov
}

# I2 by level: sigma2_l / (sum of sigma2 + typical variance), from the projection of the inverse sampling covariance.
typical_variance <- function(V, X) {
  W <- solve(V)
  P <- W - W %*% X %*% solve(t(X) %*% W %*% X) %*% t(X) %*% W
  (nrow(X) - ncol(X)) / sum(diag(P))
}

TABLES <- list(
  konstantopoulos2011 = list(cluster = "district", inner = "study"),
  assink2016 = list(cluster = "study", inner = "id"),
  tannersmith2016 = list(cluster = "studyid", inner = ".es"),
  berkey1998 = list(cluster = "trial", inner = ".es"),
  crede2010_ZCOR = list(cluster = "studyid", inner = ".es"),
  curtis1998_ROM = list(cluster = "paper", inner = "id"),
  bangertdrowns2004 = list(cluster = "grade", inner = "id")
)
RUNS <- list(
  c("konstantopoulos2011", "1"), c("konstantopoulos2011", "year"), c("assink2016", "1"), c("assink2016", "pubstatus + year"), c("assink2016", "deltype"),
  c("tannersmith2016", "1"), c("tannersmith2016", "propmale"), c("berkey1998", "outcome"), c("crede2010_ZCOR", "1"), c("crede2010_ZCOR", "criterion"),
  c("curtis1998_ROM", "1"), c("bangertdrowns2004", "1")
)

cases <- list()
run <- function(id, formula, method, structure, rho) {
  spec <- TABLES[[id]]
  table <- effects_of(id)
  table$.es <- seq_len(nrow(table))
  cluster <- table[[spec$cluster]]
  inner <- table[[spec$inner]]
  X <- model.matrix(as.formula(paste("~", formula)), table)
  V <- if (structure == "che") constant_correlation(table, cluster, rho) else diag(table$vi)
  fit_at <- function(sigma2, control) {
    rma.mv(yi, V, mods = X, intercept = FALSE, random = ~ 1 | .cluster / .inner, sigma2 = sigma2, method = method, control = control,
      data = data.frame(yi = table$yi, .cluster = cluster, .inner = inner), sparse = FALSE)
  }
  best <- best_fit(fit_at)
  fit <- best$fit
  s2 <- typical_variance(V, X)
  robust <- list()
  for (type in c("CR0", "CR1", "CR1p", "CR1S", "CR2")) {
    tests <- coef_test(fit, vcov = type, cluster = cluster, test = "Satterthwaite")
    out <- list(se = I(vec(tests$SE)), dof = I(vec(tests$df_Satt)), statistic = I(vec(tests$tstat)), p_value = I(vec(tests$p_Satt)))
    if (type == "CR2") {
      ends <- conf_int(fit, vcov = "CR2", cluster = cluster)
      out$ci_low <- I(vec(ends$CI_L))
      out$ci_high <- I(vec(ends$CI_U))
      if (ncol(X) > 1) {
        wald <- Wald_test(fit, constraints = constrain_zero(2:ncol(X)), vcov = "CR2", cluster = cluster, test = "HTZ")
        out$wald_HTZ <- list(statistic = vec(wald$Fstat), df1 = vec(wald$df_num), df2 = vec(wald$df_denom), p_value = vec(wald$p_val))
      }
    }
    robust[[type]] <- out
  }
  case <- list(
    id = paste(id, gsub(" ", "", formula), structure, if (structure == "che") rho else "", method, sep = "-"), table = id, formula = formula, cluster = spec$cluster, inner = spec$inner,
    structure = structure, rho = if (structure == "che") rho else NA, method = method,
    call = sprintf("rma.mv(yi, V%s, mods = ~ %s, random = ~ 1 | %s/%s, method='%s')", if (structure == "che") sprintf(" of correlation %s within %s", rho, spec$cluster) else " = vi", formula, spec$cluster, spec$inner, method),
    terms = I(colnames(X)), k = nrow(table), n_clusters = length(unique(cluster)), estimate = I(vec(fit$beta)), se = I(fit$se), statistic = I(vec(fit$zval)), p_value = I(vec(fit$pval)), ci_low = I(fit$ci.lb), ci_high = I(fit$ci.ub),
    sigma2 = I(best$sigma2), loglik = as.numeric(logLik(fit)), QE = fit$QE, QE_p = fit$QEp, I2_levels = I(100 * best$sigma2 / (sum(best$sigma2) + s2)),
    robust = robust
  )
  if (formula == "1") {
    future <- predict(fit)
    case$pi_low <- vec(future$pi.lb)
    case$pi_high <- vec(future$pi.ub)
  }
  cases[[length(cases) + 1]] <<- case
}
for (r in RUNS) for (method in c("REML", "ML")) {
  run(r[1], r[2], method, "three-level", 0)
  for (rho in c(0.6, if (r[1] %in% c("assink2016", "konstantopoulos2011") && method == "REML") c(0.3, 0.8))) run(r[1], r[2], method, "che", rho)
}

# Cluster-robust variances of ordinary random-effects fits, each study its own cluster or several effects in one.
for (r in list(c("bcg_RR", "1", "study"), c("bcg_RR", "ablat", "study"), c("bcg_RR", "ablat + alloc", "study"), c("raudenbush1985", "weeks3", "study"), c("assink2016", "1", "study"), c("assink2016", "pubstatus + year", "study"))) {
  table <- effects_of(r[1])
  X <- model.matrix(as.formula(paste("~", r[2])), table)
  cluster <- table[[r[3]]]
  fit <- tight(function(control) rma(yi, vi, mods = X, intercept = FALSE, data = table, control = control), mean(table$vi))
  robust <- list()
  for (type in c("CR0", "CR1", "CR2")) {
    tests <- coef_test(fit, vcov = type, cluster = cluster, test = "Satterthwaite")
    robust[[type]] <- list(se = I(vec(tests$SE)), dof = I(vec(tests$df_Satt)), p_value = I(vec(tests$p_Satt)))
  }
  if (ncol(X) > 1) {
    wald <- Wald_test(fit, constraints = constrain_zero(2:ncol(X)), vcov = "CR2", cluster = cluster, test = "HTZ")
    robust$CR2$wald_HTZ <- list(statistic = vec(wald$Fstat), df1 = vec(wald$df_num), df2 = vec(wald$df_denom), p_value = vec(wald$p_val))
  }
  cases[[length(cases) + 1]] <- list(
    id = paste(r[1], gsub(" ", "", r[2]), "two-level-robust", sep = "-"), table = r[1], formula = r[2], cluster = r[3], structure = "two-level", method = "REML",
    call = sprintf("clubSandwich::coef_test(rma(yi, vi, mods = ~ %s), cluster = %s)", r[2], r[3]), estimate = I(vec(fit$beta)), tau2 = fit$tau2, robust = robust
  )
}

# Profile-likelihood intervals of the variances, ends found by metafor's own search.
konstantopoulos <- effects_of("konstantopoulos2011")
for (method in c("REML", "ML")) {
  fit <- rma.mv(yi, vi, random = ~ 1 | district / study, data = konstantopoulos, method = method)
  ends <- confint(fit, control = list(tol = 1e-10))
  rows <- lapply(ends[1:2], function(x) unname(x$random[1, 2:3]))
  cases[[length(cases) + 1]] <- list(id = paste0("konstantopoulos2011-sigma2-interval-", method), table = "konstantopoulos2011", formula = "1", cluster = "district", inner = "study", structure = "three-level", method = method, call = "confint(rma.mv())",
    sigma2_low = I(c(rows[[1]][1], rows[[2]][1])), sigma2_high = I(c(rows[[1]][2], rows[[2]][2])))
}

write_cases("multilevel models", cases, "multilevel.json", list(
  iterative = 1e-6, sigma2 = 1e-6, interval = 1e-3,
  note = "Variances are polished by Newton steps from the best of three optimisers: 1e-6 relative, or 1e-8 absolute where one is near 0. Everything else follows from them: 1e-6. Profile intervals of sigma2 use metafor's search: 1e-3. CR1p and CR1S as clubSandwich defines them."
))
