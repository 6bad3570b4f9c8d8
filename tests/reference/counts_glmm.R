# Writes counts_glmm.json: binomial-normal models, converged far past the defaults, and Mantel-Haenszel and Peto on tables
# that counts.json lacks. Run from this folder: Rscript counts_glmm.R
#
# UM.FS: lme4's glmer on the model that rma.glmm(model = "UM.FS") states (group and study as fixed effects, a random slope
# of +-1/2 by group), with 25 quadrature points, its most, tight stopping rules, and Newton steps to finish.
# CM.EL: the conditional likelihood written out (sums over all tables with the same margins), integrated over the normal
# random effect with integrate() to 1e-12, maximised by nlminb and finished with Newton steps. rma.glmm integrates over
# plus and minus 5 standard deviations only and takes its standard errors from a numerical Hessian, so it is kept beside.
source("common.R")
suppressMessages(library(lme4))

# lme4's inner iteration cannot always reach the tightest tolerance; the tightest that works is kept.
tight_um <- function(d, points) {
  for (power in 13:7) {
    fit <- tryCatch(tight_um_at(d, points, 10^-power), error = function(e) NULL)
    if (!is.null(fit)) return(fit)
  }
  stop("lme4 does not fit")
}

tight_um_at <- function(d, points, tolerance) {
  k <- nrow(d)
  long <- data.frame(events = c(d$ai, d$ci), n = c(d$n1i, d$n2i), study = factor(rep(seq_len(k), 2)), group = rep(c(1, 0), each = k))
  long$half <- long$group - 0.5
  control <- glmerControl(optimizer = "bobyqa", tolPwrss = tolerance, calc.derivs = TRUE, optCtrl = list(rhobeg = 1e-2, rhoend = 1e-10, maxfun = 1e6))
  formula <- cbind(events, n - events) ~ -1 + study + group + (half - 1 | study)
  fit <- suppressWarnings(suppressMessages(glmer(formula, data = long, family = binomial, nAGQ = points, control = control)))
  # Restarting from the optimum frees bobyqa from an early end of its trust region.
  for (again in 1:3) {
    start <- list(theta = getME(fit, "theta"), fixef = fixef(fit))
    fit <- suppressWarnings(suppressMessages(glmer(formula, data = long, family = binomial, nAGQ = points, control = control, start = start)))
  }
  p <- c(getME(fit, "theta"), fixef(fit))
  se <- sqrt(diag(as.matrix(vcov(fit))))[k + 1]
  if (p[1] > 1e-4) {
    # bobyqa stops where the deviance is flat to its eye; Newton steps on the same deviance go to where its slope is 0.
    deviance <- update(fit, devFunOnly = TRUE)
    for (again in 1:2) {
      H <- numDeriv::hessian(deviance, p)
      p <- p - solve(H, numDeriv::grad(deviance, p))
    }
    se <- sqrt(2 * diag(solve(H)))[k + 2]
  }
  list(estimate = unname(p[k + 2]), se = se, tau2 = unname(p[1])^2)
}

# log P(ai | margins) as a function of the log odds ratio; x holds the possible counts less the observed one.
conditional <- function(a, n1, c, n2) {
  j <- max(0, a + c - n2):min(n1, a + c)
  x <- j - a
  lw <- lchoose(n1, j) + lchoose(n2, a + c - j) - lchoose(n1, a) - lchoose(n2, c)
  function(delta) vapply(delta, function(t) { v <- lw + x * t; -max(v) - log(sum(exp(v - max(v)))) }, 0)
}

tight_cm <- function(d) {
  studies <- Map(conditional, d$ai, d$n1i, d$ci, d$n2i)
  one <- function(f, theta, tau) {
    g <- function(z) f(theta + tau * z) + dnorm(z, log = TRUE)
    peak <- optimize(g, c(-12, 12), maximum = TRUE, tol = 1e-10)
    h <- function(z) exp(g(z) - peak$objective)
    left <- integrate(h, -Inf, peak$maximum, rel.tol = 1e-12, subdivisions = 2000)$value
    right <- integrate(h, peak$maximum, Inf, rel.tol = 1e-12, subdivisions = 2000)$value
    log(left + right) + peak$objective
  }
  nll <- function(p) -sum(vapply(studies, one, 0, theta = p[1], tau = p[2]))
  fit <- nlminb(c(0, 0.5), nll, lower = c(-20, 1e-4), control = list(rel.tol = 1e-14, x.tol = 1e-10))
  p <- fit$par
  for (again in 1:2) p <- p - solve(numDeriv::hessian(nll, p), numDeriv::grad(nll, p))
  V <- solve(numDeriv::hessian(nll, p))
  list(estimate = p[1], se = sqrt(V[1, 1]), tau2 = p[2]^2, tau2_se = 2 * p[2] * sqrt(V[2, 2]), loglik = -nll(p))
}

informative <- function(d) d[d$ai + d$ci > 0 & d$ai + d$ci < d$n1i + d$n2i, ]

more <- list(
  collins1985a = with(subset(dat.collins1985a, !is.na(b.xti)), data.frame(study = id, ai = b.xti, n1i = nti, ci = b.xci, n2i = nci)),
  collins1985a_deaths = with(subset(dat.collins1985a, !is.na(d.xti)), data.frame(study = id, ai = d.xti, n1i = nti, ci = d.xci, n2i = nci)),
  axfors2021 = with(subset(dat.axfors2021, hcq_cq == "hcq"), data.frame(study = id, ai = hcq_arm_event, n1i = hcq_arm_total, ci = control_arm_event, n2i = control_arm_total)),
  # Invented, to have zero cells in both directions, tables without events, and arms of unequal size.
  sparse_invented = data.frame(study = 1:12, ai = c(0, 1, 0, 2, 0, 0, 3, 1, 0, 5, 1, 0), n1i = c(20, 35, 50, 12, 80, 40, 15, 60, 25, 30, 10, 45),
                               ci = c(1, 0, 2, 6, 3, 0, 0, 4, 1, 2, 3, 5), n2i = c(22, 70, 25, 12, 40, 40, 30, 55, 50, 31, 10, 44))
)
more_source <- list(collins1985a = c("collins1985a", "bleeding outcomes (b.xti, nti, b.xci, nci), rows with counts"),
                    collins1985a_deaths = c("collins1985a", "deaths (d.xti, nti, d.xci, nci), rows with counts"),
                    axfors2021 = c("axfors2021", "hydroxychloroquine trials"))

tables <- lapply(names(more), function(name) {
  s <- more_source[[name]]
  if (is.null(s)) return(list(source = "invented for this test", columns = as.list(more[[name]])))
  list(source = paste0(METADAT(s[1]), ": ", s[2]), citation = cite(s[1]), columns = as.list(more[[name]]))
})
names(tables) <- names(more)

cases <- list()
keep <- function(...) cases[[length(cases) + 1]] <<- list(...)
for (name in names(more)) {
  d <- more[[name]]
  for (measure in c("OR", "RR", "RD")) {
    f <- suppressWarnings(rma.mh(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = d, measure = measure))
    keep(id = paste(name, "MH", measure, sep = "-"), table = name, model = "MH", measure = measure, call = sprintf("rma.mh(measure='%s')", measure),
         k = f$k, estimate = vec(f$beta), se = f$se, Q = f$QE, Q_df = f$k.yi - 1, I2 = f$I2, CMH = vec(f$MH), tarone = vec(f$TA))
  }
  f <- suppressWarnings(rma.mh(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = d, measure = "OR", add = c(1/2, 1/2), to = c("only0", "only0"), drop00 = c(TRUE, TRUE)))
  keep(id = paste(name, "MH-corrected", sep = "-"), table = name, model = "MH", measure = "OR", corrected = TRUE, call = "rma.mh(add=c(1/2,1/2), to=c('only0','only0'), drop00=c(TRUE,TRUE))",
       k = f$k, estimate = vec(f$beta), se = f$se, Q = f$QE, Q_df = f$k.yi - 1, I2 = f$I2)
  f <- suppressWarnings(rma.peto(ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = d))
  keep(id = paste(name, "peto", sep = "-"), table = name, model = "PETO", measure = "PETO", call = "rma.peto()", k = f$k, estimate = vec(f$beta), se = f$se, Q = f$QE, Q_df = f$k.yi - 1, I2 = f$I2)
}

everything <- c(binary[c("bcg", "nielweise2007", "collins1985b", "lee2004", "egger2001", "viechtbauer2021")], more)
for (name in names(everything)) {
  d <- informative(everything[[name]])
  started <- Sys.time()
  f <- tight_um(d, 25)
  seven <- tight_um(d, 7)
  i2 <- suppressWarnings(rma.glmm(measure = "OR", ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = everything[[name]], model = "UM.FS", nAGQ = 21))
  keep(id = paste(name, "UM.FS", sep = "-"), table = name, model = "UM.FS", call = "lme4::glmer(nAGQ=25), tight", k = nrow(d), estimate = f$estimate, se = f$se, tau2 = f$tau2,
       estimate_7 = seven$estimate, tau2_7 = seven$tau2, metafor_estimate = vec(i2$beta), metafor_tau2 = i2$tau2, metafor_I2 = i2$I2)
  if (name %in% c("bcg", "viechtbauer2021") || f$tau2 < 1e-8) next
  g <- tryCatch(tight_cm(d), error = function(e) NULL)
  if (!is.null(g)) keep(id = paste(name, "CM.EL", sep = "-"), table = name, model = "CM.EL", call = "conditional likelihood, integrate(), nlminb and Newton", k = nrow(d),
                        estimate = g$estimate, se = g$se, tau2 = g$tau2, tau2_se = g$tau2_se, loglik = g$loglik)
  message(name, " ", round(as.numeric(difftime(Sys.time(), started, units = "secs")), 1), " s")
}

write_json(list(theme = "counts_glmm", versions = VERSIONS, tolerance = list(closed_form = 1e-10, glmm = 1e-6, se = 1e-4,
  note = "glmm: two optimisers past their usual stopping rules. se: lme4 and numDeriv differentiate numerically."), tables = tables, cases = cases), "counts_glmm.json")
