# Writes multilevel.json: multilevel models, their profile intervals and cluster-robust tests,
# from metafor (rma.mv, rma, confint) and clubSandwich (vcovCR, coef_test, Wald_test).
# Run from this folder: Rscript multilevel.R
suppressMessages({
  library(metafor); library(clubSandwich); library(robumeta); library(jsonlite)
})

# nlminb reports no convergence when asked for more than rounding allows, so each model takes the tightest
# of these that it can; the best log-likelihood is kept.
tolerances <- 10^-(9:14)
control <- function(tol) list(optimizer = "nlminb", rel.tol = tol, eval.max = 5000, iter.max = 5000)

blocks <- function(vi, cluster, rho) {
  V <- outer(sqrt(vi), sqrt(vi)) * rho * outer(cluster, cluster, "==")
  diag(V) <- vi
  V
}

fit_mv <- function(data, cluster, mods, method, rho, test, tol = tolerances) {
  data$cluster <- data[[cluster]]
  data$row <- seq_len(nrow(data))
  V <- if (is.null(rho)) data$vi else blocks(data$vi, data$cluster, rho)
  best <- NULL
  for (t in tol) {
    fit <- try(rma.mv(yi, V, mods = mods, random = ~ 1 | cluster / row, data = data, method = method,
                      test = test, control = control(t)), silent = TRUE)
    if (!inherits(fit, "try-error") && (is.null(best) || logLik(fit) >= logLik(best))) best <- fit
  }
  best
}

i2 <- function(fit) {
  W <- solve(fit$V); X <- model.matrix(fit)
  P <- W - W %*% X %*% solve(t(X) %*% W %*% X) %*% t(X) %*% W
  100 * fit$sigma2 / (sum(fit$sigma2) + (fit$k - fit$p) / sum(diag(P)))
}

robust_numbers <- function(fit, cluster, terms) {
  out <- list()
  for (type in c("CR0", "CR1", "CR1p", "CR2")) {
    V <- vcovCR(fit, cluster = cluster, type = type)
    test <- coef_test(fit, vcov = V, cluster = cluster, test = "Satterthwaite")
    out[[type]] <- list(se = test$SE, satterthwaite = test$df, p = test$p_Satt,
                        cov = unname(as.matrix(V)[, , drop = FALSE]))
    if (length(terms) > 0) {
      w <- Wald_test(fit, constraints = constrain_zero(terms), vcov = V, test = "HTZ")
      out[[type]]$htz <- list(F = w$Fstat, df1 = length(terms), df2 = w$df_denom, p = w$p_val)
    }
  }
  out
}

mv_case <- function(id, data, name, cluster, mods, formula, method = "REML", rho = NULL, test = "z",
                    profile = FALSE, cr = TRUE) {
  fit <- fit_mv(data, cluster, mods, method, rho, test)
  pred <- if (fit$p == 1) predict(fit) else NULL
  tested <- setdiff(seq_len(fit$p), if (fit$int.incl) 1 else integer(0))
  case <- list(
    id = id, data = name, cluster = cluster, formula = formula, method = method, rho = rho, test = test,
    call = paste0("rma.mv(yi, V, mods = ", if (is.null(formula)) "~ 1" else paste("~", formula),
                  ", random = ~ 1 | ", cluster, " / row, method = '", method, "', test = '", test, "')"),
    terms = rownames(fit$beta), beta = c(fit$beta), se = fit$se, p = fit$pval, sigma2 = fit$sigma2,
    ci_low = fit$ci.lb, ci_high = fit$ci.ub, loglik = c(logLik(fit)), AIC = AIC(fit), BIC = BIC(fit),
    QE = fit$QE, QE_df = fit$k - fit$p, QE_p = fit$QEp, I2 = i2(fit), k = fit$k,
    n_clusters = length(unique(data[[cluster]])),
    pi = if (is.null(pred)) NULL else c(pred$pi.lb, pred$pi.ub),
    QM = if (length(tested)) fit$QM else NULL, QM_p = if (length(tested)) fit$QMp else NULL)
  if (profile) {
    # metafor's default tolerance for the root is 1.2e-4.
    loose <- fit_mv(data, cluster, mods, method, rho, test, tol = 1e-9)
    ci <- confint(loose, control = list(tol = 1e-12, maxiter = 10000))
    case$sigma2_ci <- lapply(seq_along(fit$sigma2), function(j) unname(ci[[j]]$random[1, 2:3]))
  }
  if (cr) case$robust <- robust_numbers(fit, data[[cluster]], if (fit$p > 1) tested else integer(0))
  case
}

uni_case <- function(id, data, name, cluster, mods, formula, method = "REML") {
  fit <- rma(yi, vi, mods = mods, data = data, method = method, control = list(threshold = 1e-13, maxiter = 10000))
  list(id = id, data = name, cluster = cluster, formula = formula, method = method, tau2 = fit$tau2,
       call = paste0("rma(yi, vi, mods = ", if (is.null(formula)) "~ 1" else paste("~", formula), ", method = '", method, "')"),
       terms = rownames(fit$beta), beta = c(fit$beta),
       robust = robust_numbers(fit, data[[cluster]], if (fit$p > 1) seq_len(fit$p)[-1] else integer(0)))
}

kon <- dat.konstantopoulos2011
ass <- dat.assink2016
ban <- as.data.frame(dat.bangertdrowns2004)
ban <- ban[complete.cases(ban[, c("length", "wic")]), ]
bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
bcg$alloc <- as.character(bcg$alloc)

mv <- list(
  mv_case("konstantopoulos REML", kon, "konstantopoulos2011", "district", ~ 1, NULL, profile = TRUE),
  mv_case("konstantopoulos ML", kon, "konstantopoulos2011", "district", ~ 1, NULL, "ML", profile = TRUE),
  mv_case("konstantopoulos t", kon, "konstantopoulos2011", "district", ~ 1, NULL, test = "t"),
  mv_case("konstantopoulos year", kon, "konstantopoulos2011", "district", ~ year, "year"),
  mv_case("konstantopoulos CHE 0.6", kon, "konstantopoulos2011", "district", ~ 1, NULL, rho = 0.6, profile = TRUE),
  mv_case("assink REML", ass, "assink2016", "study", ~ 1, NULL, profile = TRUE),
  mv_case("assink deltype", ass, "assink2016", "study", ~ deltype, "deltype"),
  mv_case("assink several t", ass, "assink2016", "study", ~ deltype + year + pubstatus, "deltype + year + pubstatus", test = "t"),
  mv_case("assink CHE REML", ass, "assink2016", "study", ~ 1, NULL, rho = 0.6, profile = TRUE),
  mv_case("assink CHE ML", ass, "assink2016", "study", ~ 1, NULL, "ML", rho = 0.6),
  mv_case("assink CHE deltype", ass, "assink2016", "study", ~ deltype + year, "deltype + year", rho = 0.4),
  mv_case("bangertdrowns by grade", ban, "bangertdrowns2004", "grade", ~ 1, NULL),
  mv_case("bangertdrowns by year", ban, "bangertdrowns2004", "year", ~ length, "length", "ML"),
  mv_case("bcg by allocation", as.data.frame(bcg), "bcg", "alloc", ~ 1, NULL, rho = 0.3)
)
uni <- list(
  uni_case("bcg", bcg, "bcg", "trial", ~ 1, NULL),
  uni_case("bcg ablat year", bcg, "bcg", "trial", ~ ablat + year, "ablat + year"),
  uni_case("bcg allocation", bcg, "bcg", "trial", ~ alloc, "alloc"),
  uni_case("bangertdrowns length DL", ban, "bangertdrowns2004", "year", ~ length + wic, "length + wic", "DL"),
  uni_case("assink clustered", ass, "assink2016", "study", ~ deltype, "deltype")
)

data(corrdat)
ce_fit <- robu(effectsize ~ 1, data = corrdat, studynum = studyid, var.eff.size = var, modelweights = "CORR", rho = 0.8, small = TRUE)
mods_fit <- robu(effectsize ~ males + binge + followup, data = corrdat, studynum = studyid, var.eff.size = var, modelweights = "CORR", rho = 0.8, small = TRUE)
ce <- lapply(list(list(ce_fit, NULL), list(mods_fit, "males + binge + followup")), function(x) {
  fit <- x[[1]]
  list(formula = x[[2]], rho = 0.8, beta = fit$reg_table$b.r, se = fit$reg_table$SE, dof = fit$reg_table$dfs,
       p = fit$reg_table$prob, tau2 = c(fit$mod_info$tau.sq), I2 = c(fit$mod_info$I.2))
})

columns <- function(d, keep) as.list(as.data.frame(d)[, keep])
out <- list(
  versions = list(R = R.version.string, metafor = as.character(packageVersion("metafor")),
                  clubSandwich = as.character(packageVersion("clubSandwich")),
                  robumeta = as.character(packageVersion("robumeta"))),
  data = list(
    konstantopoulos2011 = list(
      source = "Konstantopoulos, S. (2011). Fixed effects and variance components estimation in three-level meta-analysis. Research Synthesis Methods, 2(1), 61-76; as in metadat dat.konstantopoulos2011.",
      columns = columns(kon, c("district", "school", "year", "yi", "vi"))),
    assink2016 = list(
      source = "Assink, M. & Wibbelink, C. J. M. (2016). Fitting three-level meta-analytic models in R: A step-by-step tutorial. The Quantitative Methods for Psychology, 12(3), 154-174; as in metadat dat.assink2016.",
      columns = columns(ass, c("study", "esid", "yi", "vi", "pubstatus", "year", "deltype"))),
    bangertdrowns2004 = list(
      source = "Bangert-Drowns, R. L., Hurley, M. M. & Wilkinson, B. (2004). The effects of school-based writing-to-learn interventions on academic achievement: A meta-analysis. Review of Educational Research, 74(1), 29-58; as in metadat dat.bangertdrowns2004.",
      columns = columns(ban, c("id", "year", "grade", "length", "wic", "yi", "vi"))),
    bcg = list(
      source = "Colditz, G. A., et al. (1994). Efficacy of BCG vaccine in the prevention of tuberculosis. JAMA, 271(9), 698-702; as in metadat dat.bcg, log risk ratios by escalc.",
      columns = columns(bcg, c("trial", "ablat", "year", "alloc", "yi", "vi"))),
    corrdat = list(
      source = "Data set corrdat of the R package robumeta (Fisher, Tipton & Hou), 'Adolescent Drug Abuse Treatment Effectiveness Data, Clustered Example'.",
      columns = list(study = corrdat$studyid, yi = corrdat$effectsize, vi = corrdat$var, males = corrdat$males,
                     binge = corrdat$binge, followup = corrdat$followup))),
  multilevel = mv, univariate = uni, correlated_effects = ce)
write_json(out, "multilevel.json", digits = NA, auto_unbox = TRUE, null = "null", na = "null", pretty = FALSE)
