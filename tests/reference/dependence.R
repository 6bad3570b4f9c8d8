# Writes dependence.json, beside multilevel.json: fit statistics and omnibus tests of multilevel models, profile intervals
# with a tight root, Wald tests with every robust variance, and the correlated-effects model of robumeta.
source("common.R")
suppressMessages({
  library(clubSandwich)
  library(robumeta)
})

cases <- list()
add <- function(case) cases[[length(cases) + 1]] <<- case

covariance <- function(table, cluster, rho) {
  V <- rho * outer(sqrt(table$vi), sqrt(table$vi)) * outer(cluster, cluster, "==")
  diag(V) <- table$vi
  V
}

# nlminb gives up when asked for more than rounding allows: of several tolerances the best log-likelihood is kept.
fit_mv <- function(table, cluster, formula, method, rho, test, tolerances = 10^-(9:14)) {
  data <- data.frame(table, .cluster = table[[cluster]], .row = seq_len(nrow(table)))
  V <- if (rho > 0) covariance(table, data$.cluster, rho) else data$vi
  best <- NULL
  for (tolerance in tolerances) {
    fit <- tryCatch(rma.mv(yi, V, mods = as.formula(paste("~", formula)), random = ~ 1 | .cluster / .row, data = data,
      method = method, test = test, control = list(optimizer = "nlminb", rel.tol = tolerance, eval.max = 5000, iter.max = 5000)),
      error = function(e) NULL)
    if (!is.null(fit) && (is.null(best) || logLik(fit) >= logLik(best))) best <- fit
  }
  best
}

htz <- function(fit, cluster) {
  tests <- list()
  for (type in c("CR0", "CR1", "CR1p", "CR2")) {
    wald <- Wald_test(fit, constraints = constrain_zero(2:fit$p), vcov = type, cluster = cluster, test = "HTZ")
    tests[[type]] <- list(statistic = vec(wald$Fstat), df1 = vec(wald$df_num), df2 = vec(wald$df_denom), p_value = vec(wald$p_val))
  }
  tests
}

for (r in list(
  c("konstantopoulos2011", "district", "1", "REML", 0, "t"), c("konstantopoulos2011", "district", "1", "ML", 0, "z"),
  c("konstantopoulos2011", "district", "1", "REML", 0.6, "z"), c("assink2016", "study", "1", "REML", 0, "z"), c("assink2016", "study", "1", "REML", 0.6, "z"),
  c("assink2016", "study", "deltype", "REML", 0, "z"), c("assink2016", "study", "deltype + year + pubstatus", "REML", 0, "t"),
  c("assink2016", "study", "deltype + year", "ML", 0.4, "t"), c("konstantopoulos2011", "district", "year", "REML", 0, "z")
)) {
  table <- effects_of(r[1])
  rho <- as.numeric(r[5])
  fit <- fit_mv(table, r[2], r[3], r[4], rho, r[6])
  case <- list(
    id = paste(r[1], gsub(" ", "", r[3]), r[4], rho, r[6], sep = "-"), kind = "multilevel", table = r[1], cluster = r[2], formula = r[3],
    method = r[4], rho = rho, test = r[6], call = sprintf("rma.mv(yi, V, mods = ~ %s, random = ~ 1 | %s / row, method='%s', test='%s')", r[3], r[2], r[4], r[6]),
    loglik = vec(logLik(fit)), AIC = AIC(fit), BIC = BIC(fit), p_value = I(fit$pval), ci_low = I(fit$ci.lb), ci_high = I(fit$ci.ub)
  )
  if (fit$p > 1) {
    new <- model.matrix(fit)[1:3, -1, drop = FALSE]
    future <- predict(fit, newmods = new)
    case <- c(case, list(QM = fit$QM, QM_p = fit$QMp, htz = htz(fit, table[[r[2]]]), predicted = list(
      estimate = I(vec(future$pred)), se = I(vec(future$se)), ci_low = I(vec(future$ci.lb)), ci_high = I(vec(future$ci.ub)), pi_low = I(vec(future$pi.lb)), pi_high = I(vec(future$pi.ub)))))
  } else {
    # metafor's default tolerance for the root is 1.2e-4.
    loose <- fit_mv(table, r[2], r[3], r[4], rho, r[6], 1e-9)
    ends <- confint(loose, control = list(tol = 1e-12, maxiter = 10000))
    case <- c(case, list(pi_low = vec(predict(fit)$pi.lb), pi_high = vec(predict(fit)$pi.ub),
      sigma2_low = I(vapply(1:2, function(j) ends[[j]]$random[1, 2], 0)), sigma2_high = I(vapply(1:2, function(j) ends[[j]]$random[1, 3], 0))))
  }
  add(case)
}

for (r in list(c("bcg_RR", "study", "ablat + year"), c("bcg_RR", "study", "alloc"), c("assink2016", "study", "deltype"))) {
  table <- effects_of(r[1])
  fit <- tight(function(control) rma(yi, vi, mods = as.formula(paste("~", r[3])), data = table, control = control), mean(table$vi))
  test <- coef_test(fit, vcov = "CR2", cluster = table[[r[2]]], test = "Satterthwaite")
  add(list(id = paste(r[1], gsub(" ", "", r[3]), "univariate", sep = "-"), kind = "univariate", table = r[1], cluster = r[2], formula = r[3],
    call = sprintf("Wald_test(rma(yi, vi, mods = ~ %s), cluster = %s, test='HTZ')", r[3], r[2]),
    se = I(vec(test$SE)), dof = I(vec(test$df_Satt)), htz = htz(fit, table[[r[2]]])))
}

data(corrdat)
for (formula in c("1", "males + college + binge")) {
  fit <- robu(as.formula(paste("effectsize ~", formula)), data = corrdat, studynum = studyid, var.eff.size = var, modelweights = "CORR", rho = 0.8, small = TRUE)
  add(list(id = paste("corrdat", gsub(" ", "", formula), sep = "-"), kind = "correlated effects", formula = formula, rho = 0.8,
    call = sprintf("robumeta::robu(effectsize ~ %s, studynum = studyid, var.eff.size = var, modelweights = 'CORR', rho = .8, small = TRUE)", formula),
    estimate = I(vec(fit$reg_table$b.r)), se = I(vec(fit$reg_table$SE)), dof = I(vec(fit$reg_table$dfs)), p_value = I(vec(fit$reg_table$prob)),
    tau2 = vec(fit$mod_info$tau.sq), I2 = vec(fit$mod_info$I.2)))
}

write_json(list(
  theme = "dependent effects", versions = c(VERSIONS, list(robumeta = as.character(packageVersion("robumeta")))),
  tolerance = list(iterative = 1e-6, sigma2_interval = 1e-6, closed = 1e-9,
    note = "rma.mv at the tightest stopping rule that converges: 1e-6, its log-likelihood 1e-9. robumeta is closed-form."),
  corrdat = list(
    source = "Data set corrdat of the R package robumeta 2.0 (Fisher, Tipton & Hou), 'Adolescent Drug Abuse Treatment Effectiveness Data, Clustered Example'.",
    columns = list(study = I(vec(corrdat$studyid)), yi = I(vec(corrdat$effectsize)), vi = I(vec(corrdat$var)), males = I(vec(corrdat$males)), college = I(vec(corrdat$college)), binge = I(vec(corrdat$binge)))),
  cases = cases
), "dependence.json")
