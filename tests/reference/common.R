# What the other scripts here share: packages, a JSON writer that keeps every bit, and the data.
# Run from this folder. Needs metafor 3.8, metadat, clubSandwich, lme4, BiasedUrn and numDeriv (Debian: r-cran-*).

suppressMessages({
  library(metafor)
  library(metadat)
})
options(warn = 1, stringsAsFactors = FALSE, na.action = "na.omit")

VERSIONS <- list(
  R = paste(R.version$major, R.version$minor, sep = "."),
  metafor = as.character(packageVersion("metafor")),
  metadat = as.character(packageVersion("metadat")),
  clubSandwich = as.character(packageVersion("clubSandwich")),
  lme4 = as.character(packageVersion("lme4"))
)

# 15 digits where they name the same double, 17 otherwise.
number <- function(x) {
  short <- sprintf("%.15g", x)
  ifelse(as.numeric(short) == x, short, sprintf("%.17g", x))
}

scalar <- function(x) {
  if (is.numeric(x) && is.nan(x)) return("null")
  if (is.na(x)) return("null")
  if (is.logical(x)) return(if (x) "true" else "false")
  if (is.numeric(x)) {
    if (is.infinite(x)) return(if (x > 0) "\"Infinity\"" else "\"-Infinity\"")
    return(number(x))
  }
  x <- gsub("\\", "\\\\", as.character(x), fixed = TRUE)
  x <- gsub("\"", "\\\"", x, fixed = TRUE)
  paste0("\"", x, "\"")
}

# Named list: object. Unnamed list, or vector of other than one value: array. One value: scalar; wrap it in I() for an array.
json <- function(x, indent = "") {
  deeper <- paste0(indent, " ")
  if (is.null(x)) return("null")
  if (is.list(x)) {
    if (length(x) == 0) return(if (is.null(names(x))) "[]" else "{}")
    parts <- vapply(x, json, "", indent = deeper)
    flat <- all(vapply(x, function(e) !is.list(e) && length(e) == 1, NA))
    keys <- names(x)
    if (!is.null(keys)) parts <- paste0("\"", keys, "\": ", parts)
    brackets <- if (is.null(keys)) c("[", "]") else c("{", "}")
    if (flat) return(paste0(brackets[1], paste(parts, collapse = ", "), brackets[2]))
    return(paste0(brackets[1], "\n", deeper, paste(parts, collapse = paste0(",\n", deeper)), "\n", indent, brackets[2]))
  }
  if (is.factor(x)) x <- as.character(x)
  if (length(x) == 1 && !inherits(x, "AsIs")) return(scalar(x))
  paste0("[", paste(vapply(unclass(x), scalar, "", USE.NAMES = FALSE), collapse = ", "), "]")
}

write_json <- function(x, file) {
  writeLines(json(x), file, useBytes = TRUE)
  message(file, ": ", format(file.size(file), big.mark = ","), " bytes")
}

write_cases <- function(theme, cases, file, tolerance) {
  ids <- vapply(cases, function(case) case$id, "")
  stopifnot(!anyDuplicated(ids))
  write_json(list(theme = theme, versions = VERSIONS, tolerance = tolerance, cases = unname(cases)), file)
  message(length(cases), " cases")
}

# Iterations stop at an absolute change in tau2, so the threshold follows the scale of the table. The tightest that
# converges is kept.
tight <- function(fit_with, scale) {
  for (power in 14:9) {
    control <- list(threshold = scale * 10^-power, maxiter = 20000, tau2.max = 1e5 * scale, tol = scale * 10^-power)
    fit <- tryCatch(suppressWarnings(fit_with(control)), error = function(e) e)
    if (!inherits(fit, "error")) return(fit)
  }
  stop(conditionMessage(fit))
}

vec <- function(x) as.numeric(x)
source("data.R")
