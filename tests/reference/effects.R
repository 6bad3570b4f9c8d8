# Writes effects.json: every effect-size measure on every raw table that has its columns.
source("common.R")
cases <- list()
add <- function(id, table, measure, call, out, options = list(), known = NULL, rename = NULL, apart = NULL) {
  case <- list(id = id, table = table, measure = measure, call = call, options = options, yi = I(vec(out$yi)), vi = I(vec(out$vi)))
  if (!is.null(rename)) case$rename <- rename
  if (!is.null(known)) {
    case$known_difference <- known
    # Rows, from 0, in which yi or vi is no target.
    case$apart <- list(yi = I(if (is.null(apart$yi)) numeric(0) else apart$yi), vi = I(if (is.null(apart$vi)) seq_along(case$yi) - 1 else apart$vi))
  }
  cases[[length(cases) + 1]] <<- case
}
NEWER_H <- "metafor 4.6 corrected this variance; 3.8 has the older one. yi is comparable, vi is not."

for (name in names(continuous)) {
  table <- paste0(name, "_means")
  for (vtype in c("LS", "LS2", "UB", "AV")) {
    add(paste(name, "SMD", vtype, sep = "-"), table, "SMD", sprintf("escalc('SMD', vtype='%s')", vtype), two_arms("SMD", name, vtype = vtype), list(vtype = vtype))
  }
  # vtype HO: one standard deviation for both groups.
  add(paste0(name, "-MD-HO"), table, "MD", "escalc('MD', vtype='HO')", two_arms("MD", name, vtype = "HO"), list(vtype = "HO"))
  add(paste0(name, "-MD-LS"), table, "MD", "escalc('MD')", two_arms("MD", name), list(vtype = "LS"))
  beyond <- which(abs(two_arms("RBIS", name)$yi) > 1) - 1
  known <- if (length(beyond) > 0) "Where the biserial correlation exceeds 1 in size, metafor puts 1 into its variance."
  add(paste0(name, "-RBIS"), table, "RBIS", "escalc('RBIS')", two_arms("RBIS", name), known = known, apart = list(vi = beyond))
  for (measure in c("SMDH", "SMD1", "SMD1H", "CVR", "VR", "RPB")) {
    known <- if (measure %in% c("SMDH", "SMD1H")) NEWER_H else NULL
    add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), two_arms(measure, name), known = known)
  }
  # metafor 5.1 corrects for small-sample bias by default (Lajeunesse 2015); 3.8 has only the uncorrected form.
  add(paste0(name, "-ROM"), table, "ROM", "escalc('ROM')", two_arms("ROM", name), list(correct = FALSE))
}

for (name in names(binary)) {
  table <- paste0(name, "_counts")
  for (measure in c("OR", "RR", "RD", "AS", "PETO", "PHI", "YUQ", "YUY", "OR2DL", "OR2DN", "PBIT")) {
    add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), two_by_two(measure, name))
  }
  # The zero-cell options are shown where there are zero cells, and on one table without.
  if (!name %in% c("bcg", "nielweise2007", "hahn2001", "laopaiboon2015", "li2007")) next
  for (option in list(list(add = 0.5, to = "all", drop00 = FALSE), list(add = 0.25, to = "all", drop00 = FALSE), list(add = 0.5, to = "if0all", drop00 = FALSE), list(add = 0, to = "none", drop00 = FALSE), list(add = 0.5, to = "only0", drop00 = TRUE))) {
    for (measure in c("OR", "RR", "RD", "AS")) {
      out <- suppressWarnings(do.call(two_by_two, c(list(measure, name), option)))
      id <- paste(name, measure, option$to, option$add, if (option$drop00) "drop00" else "keep00", sep = "-")
      add(id, table, measure, sprintf("escalc('%s', add=%s, to='%s', drop00=%s)", measure, option$add, option$to, option$drop00), out, option)
    }
  }
}

for (name in names(correlations)) {
  table <- paste0(name, "_correlations")
  # The hypergeometric function of gsl, which metafor uses, loses digits when r is near 0.
  near0 <- which(abs(correlations[[name]]$ri) < 0.05) - 1
  lost <- if (length(near0) > 0) "For r near 0, metafor's UCOR is off by up to 1e-3: gsl's hypergeometric function loses digits there."
  for (measure in c("COR", "ZCOR")) add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), correlated(measure, name))
  for (vtype in c("LS", "UB")) {
    add(paste0(name, "-UCOR-", vtype), table, "UCOR", sprintf("escalc('UCOR', vtype='%s')", vtype), suppressWarnings(correlated("UCOR", name, vtype = vtype)), list(vtype = vtype), known = lost, apart = list(yi = near0, vi = near0))
  }
}

for (group in c("treated", "control")) {
  name <- paste0("morris2008_", group)
  data <- elsewhere[[name]][[1]]
  for (measure in c("SMCC", "MC", "SMCRH")) {
    out <- escalc(measure, m1i = m1i, m2i = m2i, sd1i = sd1i, sd2i = sd2i, ni = ni, ri = ri, data = data)
    add(paste(name, measure, sep = "-"), name, measure, sprintf("escalc('%s')", measure), out, known = if (measure == "SMCRH") NEWER_H)
  }
  # Raw-score standardisation uses the SD before treatment, which escalc calls sd1i.
  out <- escalc("SMCR", m1i = m1i, m2i = m2i, sd1i = sd2i, ni = ni, ri = ri, data = data)
  add(paste0(name, "-SMCR"), name, "SMCR", "escalc('SMCR', sd1i=<SD before>)", out, rename = list(sd1i = "after", sd2i = "sd1i"))
  out <- escalc("ROMC", m1i = m1i, m2i = m2i, sd1i = sd1i, sd2i = sd2i, ni = ni, ri = ri, data = data)
  add(paste0(name, "-ROMC"), name, "ROMC", "escalc('ROMC')", out)
}

# Conversions of d to a log odds ratio.
for (name in names(continuous)) for (measure in c("D2ORL", "D2ORN")) {
  add(paste(name, measure, sep = "-"), paste0(name, "_means"), measure, sprintf("escalc('%s')", measure), two_arms(measure, name))
}

write_cases("effect sizes", cases, "effects.json", list(
  closed_form = 1e-10,
  note = "yi and vi are closed formulas: 1e-10 relative (1e-9 for UCOR, whose yi metafor sums as a hypergeometric series). null means that metafor gives no value."
))
