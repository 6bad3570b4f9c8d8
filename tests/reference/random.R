# Writes random.json: random tables that nobody observed, seeded, made to be awkward, with metafor's and clubSandwich's
# numbers. Counts with empty and full arms, tiny groups, SDs over six orders of magnitude, correlations near -1 and 1,
# single-group proportions; clusters of one effect. For testing only.
source("common.R")
suppressMessages(library(clubSandwich))
RNGversion("4.2.0")
set.seed(20261123)

cases <- list()
add <- function(...) cases[[length(cases) + 1]] <<- list(...)
arr <- function(x) I(vec(x))
columns <- function(...) lapply(list(...), arr)

effects <- function(id, columns, measure, out, call, options = NULL) {
  add(id = paste(id, measure, paste(options, collapse = "-"), sep = "-"), what = "effect sizes", columns = columns, measure = measure, options = options, call = call, yi = arr(out$yi), vi = arr(out$vi))
}

for (i in 1:6) {
  k <- 12
  n <- matrix(sample(2:c(4, 12, 200, 1e5)[1 + i %% 4], 2 * k, TRUE), 2)
  sd <- signif(matrix(10^runif(2 * k, -3, 3), 2), 6)
  m <- signif(matrix(abs(rnorm(2 * k)) * 10^runif(1, -1, 1), 2), 6)
  if (i %% 3 == 0) sd[2, ] <- sd[1, ]
  two <- columns(m1i = m[1, ], sd1i = sd[1, ], n1i = n[1, ], m2i = m[2, ], sd2i = sd[2, ], n2i = n[2, ])
  # The exact J of metafor is good to about 1e-10 for the largest groups.
  for (vtype in c("LS", "LS2", "AV")) effects(paste0("means", i), two, "SMD", escalc("SMD", m1i = m[1, ], sd1i = sd[1, ], n1i = n[1, ], m2i = m[2, ], sd2i = sd[2, ], n2i = n[2, ], vtype = vtype), sprintf("escalc('SMD', vtype='%s')", vtype), list(vtype = vtype))
  for (measure in c("MD", "SMD1", "VR", "CVR", "RPB", "D2ORL", "D2ORN")) effects(paste0("means", i), two, measure, escalc(measure, m1i = m[1, ], sd1i = sd[1, ], n1i = n[1, ], m2i = m[2, ], sd2i = sd[2, ], n2i = n[2, ]), sprintf("escalc('%s')", measure))

  n <- sample(c(2:9, 50, 1e4), k, TRUE)
  r <- signif(ifelse(runif(k) < 0.3, sign(runif(k) - 0.5) * (1 - 10^runif(k, -9, -1)), runif(k, -0.99, 0.99)), 10)
  twice <- columns(m1i = m[1, ], m2i = m[2, ], sd1i = sd[1, ], sd2i = sd[2, ], ni = n, ri = r)
  for (measure in c("MC", "SMCC", "ROMC")) effects(paste0("change", i), twice, measure, escalc(measure, m1i = m[1, ], m2i = m[2, ], sd1i = sd[1, ], sd2i = sd[2, ], ni = n, ri = r), sprintf("escalc('%s')", measure))
  effects(paste0("change", i), twice[names(twice) != "sd2i"], "SMCR", escalc("SMCR", m1i = m[1, ], m2i = m[2, ], sd1i = sd[1, ], ni = n, ri = r), "escalc('SMCR')")
  n <- n + 4
  effects(paste0("correlation", i), columns(ri = r, ni = n), "COR", escalc("COR", ri = r, ni = n), "escalc('COR')")

  n <- matrix(sample(1:c(3, 20, 500, 1e5)[1 + i %% 4], 2 * k, TRUE), 2)
  p <- matrix(rbeta(2 * k, 0.2, 0.3), 2)
  x <- matrix(rbinom(2 * k, n, p), 2)
  x[, 1] <- 0
  x[, 2] <- n[, 2]
  counts <- columns(ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ])
  for (measure in c("OR", "RR", "RD", "AS", "PETO", "PBIT", "OR2DL", "OR2DN")) {
    for (option in list(list(add = 0.5, to = "only0", drop00 = FALSE), list(add = 0.5, to = "only0", drop00 = TRUE), list(add = 0.25, to = "if0all", drop00 = FALSE), list(add = 0.5, to = "none", drop00 = FALSE))) {
      out <- suppressWarnings(do.call(escalc, c(list(measure, ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ]), option)))
      effects(paste0("counts", i), counts, measure, out, sprintf("escalc('%s', add=%s, to='%s', drop00=%s)", measure, option$add, option$to, option$drop00), option)
    }
  }
  one <- columns(xi = x[1, ], ni = n[1, ])
  effects(paste0("proportions", i), one, "PLO", escalc("PLO", xi = x[1, ], ni = n[1, ]), "escalc('PLO')")
  # The other scales need no correction, and have none here; escalc adds 1/2 unless told otherwise.
  for (measure in c("PR", "PAS", "PFT")) effects(paste0("proportions", i), one, measure, suppressWarnings(escalc(measure, xi = x[1, ], ni = n[1, ], add = 0)), sprintf("escalc('%s', add=0)", measure))
  for (measure in c("OR", "RR", "RD")) {
    # One study that can tell, at least, and no pooled ratio of 0 or infinity.
    x[, 3] <- 1
    n[, 3] <- 3
    fit <- suppressWarnings(rma.mh(ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ], measure = measure))
    add(id = paste0("counts", i, "-MH-", measure), what = "Mantel-Haenszel", columns = columns(ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ]), measure = measure, call = sprintf("rma.mh(measure='%s')", measure),
      estimate = vec(fit$beta), se = fit$se, Q = fit$QE, p_value = vec(fit$pval))
  }
  fit <- suppressWarnings(rma.peto(ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ]))
  add(id = paste0("counts", i, "-peto"), what = "Peto", columns = columns(ai = x[1, ], n1i = n[1, ], ci = x[2, ], n2i = n[2, ]), measure = "OR", call = "rma.peto()", estimate = vec(fit$beta), se = fit$se, Q = fit$QE, p_value = vec(fit$pval))
}

for (i in 1:8) {
  size <- sample(c(1, 1, 1, 2, 3, 6), 6 + i, TRUE)
  cluster <- rep(seq_along(size), size)
  k <- length(cluster)
  vi <- signif(10^runif(k, -1.5, 1.5), 6)
  yi <- signif(rnorm(length(size), 0, i %% 3)[cluster] + rnorm(k, 0, sqrt(vi)), 6)
  x <- signif(if (i %% 2) rnorm(k) else rnorm(length(size))[cluster], 6)
  for (formula in c("1", "x")) {
    X <- if (formula == "1") matrix(1, k, 1) else cbind(1, x)
    fit <- tight(function(control) rma(yi, vi, mods = X, intercept = FALSE, control = control), mean(vi))
    robust <- list()
    for (type in c("CR0", "CR1", "CR1p", "CR2")) {
      test <- coef_test(fit, vcov = type, cluster = cluster, test = "Satterthwaite")
      robust[[type]] <- list(se = arr(test$SE), dof = arr(test$df_Satt))
    }
    add(id = paste0("clusters", i, "-", formula), what = "clusters", columns = columns(study = cluster, yi = yi, vi = vi, x = x), formula = formula, call = "clubSandwich::coef_test(rma(yi, vi, mods=), cluster = study)", estimate = arr(fit$beta), tau2 = fit$tau2, robust = robust)
  }
}

write_cases("random tables (invented, seeded)", cases, "random.json", list(
  closed_form = 1e-9, iterative = 1e-6,
  note = "Invented data. Effect sizes, Mantel-Haenszel and Peto are closed formulas; metafor's gamma functions leave 1e-10. The robust variances are those of a fit iterated to 1e-9 of the mean vi."
))
