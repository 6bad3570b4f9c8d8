# Writes effects.json: every effect-size measure on every raw table that has its columns.
source("common.R")
cases <- list()
add <- function(id, table, measure, call, out, options = list(), known = NULL) {
  case <- list(id = id, table = table, measure = measure, call = call, options = options, yi = I(vec(out$yi)), vi = I(vec(out$vi)))
  if (!is.null(known)) case$known_difference <- known
  cases[[length(cases) + 1]] <<- case
}
NEWER_H <- "metafor 4.6 corrected this variance; 3.8 has the older one. yi is comparable, vi is not."
NEWER_ROM <- "metafor 5.1 corrects yi and vi for small-sample bias by default (Lajeunesse 2015); 3.8 does not."

for (name in names(continuous)) {
  table <- paste0(name, "_means")
  for (vtype in c("LS", "LS2", "UB", "AV")) {
    add(paste(name, "SMD", vtype, sep = "-"), table, "SMD", sprintf("escalc('SMD', vtype='%s')", vtype), two_arms("SMD", name, vtype = vtype), list(vtype = vtype))
  }
  # vtype HO: one standard deviation for both groups.
  add(paste0(name, "-MD-HO"), table, "MD", "escalc('MD', vtype='HO')", two_arms("MD", name, vtype = "HO"), list(equal_variances = TRUE))
  add(paste0(name, "-MD-LS"), table, "MD", "escalc('MD')", two_arms("MD", name), list(equal_variances = FALSE))
  for (measure in c("SMDH", "SMD1", "SMD1H", "ROM", "CVR", "VR")) {
    known <- if (measure %in% c("SMDH", "SMD1H")) NEWER_H else if (measure == "ROM") NEWER_ROM else NULL
    add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), two_arms(measure, name), known = known)
  }
}

for (name in names(binary)) {
  table <- paste0(name, "_counts")
  for (measure in c("OR", "RR", "RD", "AS", "PETO", "PHI", "YUQ", "YUY", "OR2DL", "OR2DN", "PBIT")) {
    add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), two_by_two(measure, name), list(add = 0.5, to = "only0", drop00 = FALSE))
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
  for (measure in c("COR", "UCOR", "ZCOR")) {
    add(paste(name, measure, sep = "-"), table, measure, sprintf("escalc('%s')", measure), correlated(measure, name))
  }
  add(paste0(name, "-UCOR-UB"), table, "UCOR", "escalc('UCOR', vtype='UB')", suppressWarnings(correlated("UCOR", name, vtype = "UB")), list(vtype = "UB"))
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
  add(paste0(name, "-SMCR"), name, "SMCR", "escalc('SMCR', sd1i=<SD before>)", out, list(standardiser = "sd2i"))
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
