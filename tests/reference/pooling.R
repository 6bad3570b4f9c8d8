# Writes pooling.json: every tau2 estimator with every test on every effect table, and intervals for tau2, I2, H2.
source("common.R")

METHODS <- c("EE", "DL", "HE", "HS", "HSk", "SJ", "ML", "REML", "EB", "PM", "PMM", "GENQ", "DL2", "CA2")
ITERATED <- c("ML", "REML", "EB", "PM", "PMM", "SJ")

# One estimator on one table. GENQ takes the weights 1/sqrt(vi), with which it is not DL; DL2 and CA2 are
# the two-step estimators of DerSimonian & Kacker (2007): GENQ with the weights of a first DL or HE fit.
fitter <- function(table, method, test) {
  yi <- table$yi
  vi <- table$vi
  function(control) {
    if (method == "GENQ") return(rma(yi, vi, method = "GENQ", weights = 1 / sqrt(vi), test = test, control = control))
    if (method %in% c("DL2", "CA2")) {
      first <- rma(yi, vi, method = if (method == "DL2") "DL" else "HE")$tau2
      tau2 <- rma(yi, vi, method = "GENQ", weights = 1 / (vi + first))$tau2
      return(rma(yi, vi, tau2 = tau2, test = test))
    }
    rma(yi, vi, method = method, test = test, control = control)
  }
}

finite <- function(x) if (length(x) == 1 && is.finite(x)) x else NA

one_table <- function(id) {
  table <- effects_of(id)
  scale <- mean(table$vi)
  cases <- list()
  for (method in METHODS) {
    fits <- lapply(c(z = "z", t = "t", knha = "knha", adhoc = "adhoc"), function(test) {
      if (method == "EE" && test %in% c("knha", "adhoc")) return(NULL)
      # GENQ keeps its own weights for the mean, and then has no Knapp-Hartung form.
      if (method == "GENQ" && test %in% c("knha", "adhoc")) return(NULL)
      if (test %in% c("t", "adhoc") && !method %in% c("EE", "DL", "REML")) return(NULL)
      tryCatch(tight(fitter(table, method, test), scale), error = function(e) {
        message(id, " ", method, " ", test, ": ", conditionMessage(e))
        NULL
      })
    })
    z <- fits$z
    if (is.null(z)) next
    likelihood <- if (method %in% c("ML", "EE")) z$fit.stats$ML else z$fit.stats$REML
    tests <- lapply(Filter(Negate(is.null), fits), function(fit) {
      future <- predict(fit)
      list(se = fit$se, statistic = vec(fit$zval), dof = finite(vec(fit$ddf)), p_value = vec(fit$pval), ci_low = vec(fit$ci.lb), ci_high = vec(fit$ci.ub), pi_low = finite(vec(future$pi.lb)), pi_high = finite(vec(future$pi.ub)))
    })
    case <- list(
      id = paste(id, method, sep = "-"), table = id, method = method,
      call = sprintf("rma(yi, vi, method='%s')", method), k = z$k, estimate = vec(z$beta), tau2 = z$tau2, se_tau2 = finite(z$se.tau2),
      Q = z$QE, Q_p = z$QEp, I2 = z$I2, H2 = z$H2, tests = tests
    )
    if (method %in% c("ML", "REML")) case <- c(case, list(loglik = likelihood[1], AIC = likelihood[3], BIC = likelihood[4], AICc = likelihood[5]))
    if (method == "EE") case$loglik <- likelihood[1]
    cases[[length(cases) + 1]] <- case
  }
  cases
}

# Henmi & Copas, Q-profile and profile-likelihood intervals.
intervals <- function(id) {
  table <- effects_of(id)
  scale <- mean(table$vi)
  out <- list()
  profile <- function(kind, method) {
    fit <- tight(fitter(table, method, "z"), scale)
    ends <- list(tol = scale * 1e-12, tau2.max = 1e5 * scale, maxiter = 1e5)
    ci <- tryCatch(confint(fit, type = kind, control = ends)$random, error = function(e) NULL)
    if (is.null(ci)) return(NULL)
    list(id = paste(id, kind, method, sep = "-"), table = id, method = method, interval = kind, call = sprintf("confint(rma(method='%s')%s)", method, if (kind == "PL") ", type='PL'" else ""),
      tau2_low = ci["tau^2", 2], tau2_high = ci["tau^2", 3], I2_low = ci["I^2(%)", 2], I2_high = ci["I^2(%)", 3], H2_low = ci["H^2", 2], H2_high = ci["H^2", 3])
  }
  for (method in c("DL", "REML")) out[[length(out) + 1]] <- profile("QP", method)
  for (method in c("ML", "REML")) out[[length(out) + 1]] <- profile("PL", method)
  fit <- rma(table$yi, table$vi, method = "DL")
  hc_fit <- tryCatch(hc(fit, control = list(tol = 1e-12)), error = function(e) NULL)
  if (!is.null(hc_fit)) {
    out[[length(out) + 1]] <- list(id = paste(id, "HC", sep = "-"), table = id, method = "DL", interval = "HC", call = "hc(rma(method='DL'))", estimate = vec(hc_fit$beta), se = hc_fit$se, ci_low = hc_fit$ci.lb, ci_high = hc_fit$ci.ub)
  }
  Filter(Negate(is.null), out)
}

ids <- names(effect_tables)
write_cases("pooling", do.call(c, lapply(ids, one_table)), "pooling.json", list(
  closed_form = 1e-10, iterative = 1e-6, closed_form_methods = I(setdiff(METHODS, ITERATED)), iterative_methods = I(ITERATED),
  note = "EE, DL, HE, HS, HSk, GENQ, DL2 and CA2 are closed formulas. ML, REML, EB, PM, PMM and SJ were iterated to 1e-9 or less of the mean vi; a tau2 at its bound of 0 may be up to 1e-9 of the mean vi there."
))
write_cases("intervals for tau2, and Henmi-Copas", do.call(c, lapply(ids, intervals)), "intervals.json", list(
  iterative = 1e-6,
  note = "Ends are roots found to 1e-12 of the mean vi (QP), or by metafor's own search (PL); ends at 0 are exact. Henmi-Copas integrates numerically: 1e-5."
))
