# Writes univariate_extra.json: intervals for the residual tau2 of meta-regressions, at two levels.
source("common.R")

MODELS <- list(
  list("bcg_RR", "ablat + year"), list("bcg_OR", "alloc"), list("raudenbush1985", "weeks"), list("bangertdrowns2004", "length + feedback"),
  list("hackshaw1998", "year"), list("jackson2014a", "x"), list("jackson2014b", "x"), list("landenberger2005_OR", "design + sessions"),
  list("linde2005_RR", "dosage_c + baseline_c"), list("lipsey2001", "random + intensity"), list("viechtbauer2021_OR", "dose"), list("gibson2002_SMD", "type")
)

one_model <- function(model) {
  id <- model[[1]]
  table <- as.data.frame(effects_of(id))
  formula <- as.formula(paste("~", model[[2]]))
  table <- table[complete.cases(table[all.vars(formula)]), ]
  X <- model.matrix(formula, table)
  scale <- mean(table$vi)
  out <- list()
  for (kind in c("QP", "PL")) for (method in if (kind == "QP") "REML" else c("ML", "REML")) for (level in c(0.8, 0.95)) {
    fit <- tight(function(control) rma(table$yi, table$vi, mods = X, intercept = FALSE, method = method, level = 100 * level, control = control), scale)
    ci <- tryCatch(confint(fit, type = kind, control = list(tol = scale * 1e-12, tau2.max = 1e5 * scale, maxiter = 1e5))$random, error = function(e) NULL)
    if (is.null(ci)) next
    out[[length(out) + 1]] <- list(interval = kind, method = method, level = level, tau2_low = ci["tau^2", 2], tau2_high = ci["tau^2", 3])
  }
  list(
    id = id, table = id, formula = model[[2]], call = "confint(rma(yi, vi, mods = X, method=, level=), type=)",
    yi = I(vec(table$yi)), vi = I(vec(table$vi)), columns = lapply(seq_len(ncol(X)), function(j) I(vec(X[, j]))), intervals = out
  )
}

write_cases("intervals for the residual tau2 of meta-regressions", lapply(MODELS, one_model), "univariate_extra.json", list(
  iterative = 1e-6, note = "Ends are roots found to 1e-12 of the mean vi; ends at 0 are exact."
))
