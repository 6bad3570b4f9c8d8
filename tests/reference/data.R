# The data: raw tables as published, and effect tables (yi, vi) computed from them. Sourced by common.R.

METADAT <- function(name) sprintf("metadat %s, dat.%s", VERSIONS$metadat, name)

# The source that the dataset's own help page names.
rd_pages <- tools::Rd_db("metadat")
rd_section <- function(name, tag) {
  for (part in rd_pages[[sprintf("dat.%s.Rd", name)]]) {
    if (identical(attr(part, "Rd_tag"), tag)) return(trimws(gsub("\\s+", " ", paste(unlist(part), collapse = ""))))
  }
  NA
}
cite <- function(name) {
  text <- rd_section(name, "\\source")
  if (text == "Personal communication.") text <- paste("Personal communication to the authors of metadat; published in:", rd_section(name, "\\references"))
  gsub("--", "-", gsub(" https?://\\S+", "", text))
}

# Small tables that metadat lacks: values as in the publication, read in metafor's analysis examples.
morris_t <- data.frame(study = 1:5, m1i = c(38.5, 26.8, 0.7, 75.9, 36.0), m2i = c(30.6, 23.5, 0.5, 53.4, 35.6), sd1i = c(11.6, 4.1, 0.1, 4.4, 4.6), sd2i = c(15.0, 3.1, 0.1, 14.5, 4.7), ni = c(20, 50, 9, 10, 14), ri = c(.47, .64, .77, .89, .44))
morris_c <- data.frame(study = 1:5, m1i = c(19.7, 25.3, 0.6, 60.7, 33.4), m2i = c(23.1, 24.9, 0.6, 55.7, 34.8), sd1i = c(14.8, 3.3, 0.2, 17.9, 6.9), sd2i = c(13.8, 4.1, 0.2, 17.3, 3.1), ni = c(20, 42, 9, 11, 14), ri = c(.47, .64, .77, .89, .44))
elsewhere <- list(
  morris2008_treated = list(morris_t, "Morris (2008), Organizational Research Methods 11, 364-386, Table 5, treatment groups (1 = post, 2 = pre)"),
  morris2008_control = list(morris_c, "Morris (2008), Organizational Research Methods 11, 364-386, Table 5, control groups (1 = post, 2 = pre)"),
  viechtbauer2005a = list(data.frame(
    study = 1:10, yi = c(-0.581, 0.530, 0.771, 1.031, 0.553, 0.295, 0.078, 0.573, -0.176, -0.232),
    vi = c(0.023, 0.052, 0.060, 0.115, 0.095, 0.203, 0.200, 0.211, 0.051, 0.040)), "Viechtbauer (2005), Journal of Educational and Behavioral Statistics 30, 261-293, example 1"),
  viechtbauer2005b = list(data.frame(
    study = 1:18, yi = c(0.100, -0.162, -0.090, -0.049, -0.046, -0.010, -0.431, -0.261, 0.134, 0.019, 0.175, 0.056, 0.045, 0.103, 0.121, -0.482, 0.290, 0.342),
    vi = c(0.016, 0.015, 0.050, 0.050, 0.032, 0.052, 0.036, 0.024, 0.034, 0.033, 0.031, 0.034, 0.039, 0.167, 0.134, 0.096, 0.016, 0.035)), "Viechtbauer (2005), Journal of Educational and Behavioral Statistics 30, 261-293, example 2"),
  lipsey2001 = list(data.frame(
    study = c(100, 308, 1596, 2479, 9021, 9028, 161, 172, 537, 7049), yi = c(-0.33, 0.32, 0.39, 0.31, 0.17, 0.64, -0.33, 0.15, -0.02, 0.00),
    vi = c(0.084, 0.035, 0.017, 0.034, 0.072, 0.117, 0.102, 0.093, 0.012, 0.067), random = rep(0:1, c(6, 4)), intensity = c(7, 3, 7, 5, 7, 7, 4, 4, 5, 6)), "Lipsey & Wilson (2001), Practical Meta-Analysis, pp. 130-141"),
  clasp = list(data.frame(
    study = 1:6, ai = c(5, 5, 12, 69, 9, 313), n1i = c(156, 303, 565, 1570, 103, 4659), ci = c(8, 17, 9, 94, 11, 352), n2i = c(74, 303, 477, 1565, 105, 4650)), "DerSimonian & Kacker (2007), Contemporary Clinical Trials 28, 105-114, CLASP"),
  jackson2014a = list(data.frame(
    study = 1:16, yi = c(0.0267, 0.8242, 0.3930, 2.4405, 2.1401, 1.2528, 2.4849, 0.3087, 1.4246, 0.1823, 1.1378, 1.2321, 2.0695, 4.0237, 1.4383, 1.6021),
    vi = c(0.1285, 0.0315, 0.0931, 2.0967, 1.0539, 0.1602, 1.0235, 0.0218, 0.5277, 0.0556, 0.3304, 0.1721, 0.4901, 2.0200, 0.3399, 0.1830), x = rep(0:1, c(10, 6))), "Jackson, Turner, Rhodes & Viechtbauer (2014), BMC Medical Research Methodology 14, 103, example 1"),
  jackson2014b = list(data.frame(
    study = 1:19, yi = c(0.54, 0.4, 0.64, 0.365, 0.835, 0.02, 0.12, 0.085, 1.18, 0.08, 0.18, 0.325, 0.06, 0.715, 0.065, 0.245, 0.24, 0.06, 0.19),
    vi = c(0.0176, 0.019, 0.0906, 0.0861, 0.0063, 0.0126, 0.0126, 0.0041, 0.0759, 0.0126, 0.0104, 0.0242, 0.0026, 0.2629, 0.0169, 0.0156, 0.0481, 0.0084, 0.0044),
    x = c(1986, 1987, 1988, 1988, 1998, 1999, 2000, 2000, 2000, 2001, 2001, 2001, 2002, 2002, 2002, 2002, 2003, 2003, 2003)), "Jackson, Turner, Rhodes & Viechtbauer (2014), BMC Medical Research Methodology 14, 103, example 2"),
  borenstein2009 = list(data.frame(
    study = 1:6, yi = c(0.09452, 0.27736, 0.36654, 0.66438, 0.46181, 0.18516), vi = c(0.03295, 0.03070, 0.04988, 0.01051, 0.04266, 0.02342)), "Borenstein, Hedges, Higgins & Rothstein (2009), Introduction to Meta-Analysis, ch. 18, first example")
)

# 2x2 tables under the calculator's names.
binary <- list(
  bcg = with(dat.bcg, data.frame(study = trial, year, ablat, alloc, ai = tpos, n1i = tpos + tneg, ci = cpos, n2i = cpos + cneg)),
  hine1989 = dat.hine1989[c("study", "ai", "n1i", "ci", "n2i")],
  collins1985b = with(dat.collins1985b, data.frame(study = id, year, ai = pre.xti, n1i = pre.nti, ci = pre.xci, n2i = pre.nci)),
  nielweise2007 = dat.nielweise2007[c("study", "year", "ai", "n1i", "ci", "n2i")],
  lee2004 = dat.lee2004[c("id", "study", "year", "ai", "n1i", "ci", "n2i")],
  egger2001 = dat.egger2001[c("id", "study", "year", "ai", "n1i", "ci", "n2i")],
  landenberger2005 = with(dat.landenberger2005, data.frame(study, design, group, age, sessions, ai = n.cbt.rec, n1i = n.cbt.rec + n.cbt.non, ci = n.ctrl.rec, n2i = n.ctrl.rec + n.ctrl.non)),
  dorn2007 = with(dat.dorn2007, data.frame(study, year, days, visits, ai = x.a, n1i = n.a, ci = x.p, n2i = n.p)),
  viechtbauer2021 = with(dat.viechtbauer2021, data.frame(study = trial, dose, ai = xTi, n1i = nTi, ci = xCi, n2i = nCi)),
  linde2005 = with(dat.linde2005[c(7:10, 13:25), ], data.frame(study = id, baseline, dosage, dosage_c = dosage * 7 / 1000 * duration - 34, baseline_c = baseline - 20, ai, n1i, ci, n2i)),
  clasp = elsewhere$clasp[[1]],
  laopaiboon2015 = dat.laopaiboon2015[c("author", "year", "ai", "n1i", "ci", "n2i")],
  li2007 = dat.li2007[c("id", "study", "year", "ai", "n1i", "ci", "n2i")],
  hahn2001 = dat.hahn2001
)
continuous <- list(
  normand1999 = dat.normand1999,
  curtis1998 = dat.curtis1998[c("id", "paper", "fungrp", "method", "time", "m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")],
  gibson2002 = subset(dat.gibson2002[c("author", "year", "type", "m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")], !is.na(m1i)),
  michael2013 = with(dat.michael2013, data.frame(study = Study, m1i = Brain_m, sd1i = Brain_s, n1i = Brain_n, m2i = No_brain_m, sd2i = No_brain_s, n2i = No_brain_n))
)
correlations <- list(
  mcdaniel1994 = dat.mcdaniel1994,
  molloy2014 = dat.molloy2014,
  crede2010 = dat.crede2010[c("studyid", "year", "criterion", "class", "ni", "ri")],
  cohen1981 = dat.cohen1981
)

two_by_two <- function(measure, name, ...) {
  as.data.frame(escalc(measure, ai = ai, n1i = n1i, ci = ci, n2i = n2i, data = binary[[name]], ...))
}
two_arms <- function(measure, name, ...) {
  as.data.frame(escalc(measure, m1i = m1i, sd1i = sd1i, n1i = n1i, m2i = m2i, sd2i = sd2i, n2i = n2i, data = continuous[[name]], ...))
}
correlated <- function(measure, name, ...) {
  as.data.frame(escalc(measure, ri = ri, ni = ni, data = correlations[[name]], ...))
}

# Effect tables on which models are fitted: id, table, how it was made.
effect_tables <- list(
  bcg_RR = list("bcg", two_by_two("RR", "bcg"), "escalc('RR')"),
  bcg_OR = list("bcg", two_by_two("OR", "bcg"), "escalc('OR')"),
  bcg_RD = list("bcg", two_by_two("RD", "bcg"), "escalc('RD')"),
  normand1999_SMD = list("normand1999", two_arms("SMD", "normand1999"), "escalc('SMD')"),
  normand1999_MD = list("normand1999", two_arms("MD", "normand1999", vtype = "HO"), "escalc('MD', vtype='HO')"),
  raudenbush1985 = list("raudenbush1985", transform(as.data.frame(dat.raudenbush1985), weeks3 = pmin(weeks, 3)), "as published"),
  bangertdrowns2004 = list("bangertdrowns2004", as.data.frame(dat.bangertdrowns2004)[c("id", "year", "grade", "length", "wic", "feedback", "info", "pers", "imag", "meta", "ni", "yi", "vi")], "as published"),
  hackshaw1998 = list("hackshaw1998", as.data.frame(dat.hackshaw1998)[c("study", "year", "country", "design", "cases", "yi", "vi")], "as published"),
  konstantopoulos2011 = list("konstantopoulos2011", as.data.frame(dat.konstantopoulos2011), "as published"),
  assink2016 = list("assink2016", as.data.frame(dat.assink2016), "as published"),
  curtis1998_ROM = list("curtis1998", {
    logs <- two_arms("ROM", "curtis1998")
    logs
  }, "escalc('ROM'), metafor 3.8: log ratio of means without small-sample correction"),
  gibson2002_SMD = list("gibson2002", two_arms("SMD", "gibson2002"), "escalc('SMD'), rows with means"),
  michael2013_SMD = list("michael2013", two_arms("SMD", "michael2013"), "escalc('SMD')"),
  nielweise2007_OR = list("nielweise2007", two_by_two("OR", "nielweise2007"), "escalc('OR')"),
  landenberger2005_OR = list("landenberger2005", two_by_two("OR", "landenberger2005"), "escalc('OR')"),
  linde2005_RR = list("linde2005", two_by_two("RR", "linde2005"), "rows 7-10 and 13-25, escalc('RR')"),
  collins1985b_OR = list("collins1985b", two_by_two("OR", "collins1985b"), "escalc('OR'), pre-eclampsia"),
  hine1989_RD = list("hine1989", two_by_two("RD", "hine1989"), "escalc('RD')"),
  lee2004_OR = list("lee2004", two_by_two("OR", "lee2004"), "escalc('OR')"),
  egger2001_OR = list("egger2001", two_by_two("OR", "egger2001"), "escalc('OR')"),
  dorn2007_RR = list("dorn2007", two_by_two("RR", "dorn2007"), "escalc('RR')"),
  viechtbauer2021_OR = list("viechtbauer2021", two_by_two("OR", "viechtbauer2021"), "escalc('OR')"),
  clasp_OR = list("clasp", two_by_two("OR", "clasp"), "escalc('OR')"),
  laopaiboon2015_RR = list("laopaiboon2015", two_by_two("RR", "laopaiboon2015"), "escalc('RR')"),
  li2007_OR = list("li2007", two_by_two("OR", "li2007"), "escalc('OR')"),
  mcdaniel1994_ZCOR = list("mcdaniel1994", correlated("ZCOR", "mcdaniel1994"), "escalc('ZCOR')"),
  molloy2014_ZCOR = list("molloy2014", correlated("ZCOR", "molloy2014"), "escalc('ZCOR')"),
  crede2010_ZCOR = list("crede2010", correlated("ZCOR", "crede2010"), "escalc('ZCOR')"),
  cohen1981_COR = list("cohen1981", correlated("COR", "cohen1981"), "escalc('COR')"),
  baskerville2012 = list("baskerville2012", transform(dat.baskerville2012[c("author", "year", "design", "hours", "tailor")], yi = dat.baskerville2012$smd, vi = dat.baskerville2012$se^2), "yi = smd, vi = se^2"),
  berkey1998 = list("berkey1998", as.data.frame(dat.berkey1998), "as published"),
  tannersmith2016 = list("tannersmith2016", as.data.frame(dat.tannersmith2016), "as published"),
  begg1989 = list("begg1989", as.data.frame(dat.begg1989)[c("study", "trt", "yi", "vi")], "as published"),
  viechtbauer2005a = list("viechtbauer2005a", elsewhere$viechtbauer2005a[[1]], "as published"),
  viechtbauer2005b = list("viechtbauer2005b", elsewhere$viechtbauer2005b[[1]], "as published"),
  lipsey2001 = list("lipsey2001", elsewhere$lipsey2001[[1]], "as published"),
  jackson2014a = list("jackson2014a", elsewhere$jackson2014a[[1]], "as published"),
  jackson2014b = list("jackson2014b", elsewhere$jackson2014b[[1]], "as published"),
  borenstein2009 = list("borenstein2009", elsewhere$borenstein2009[[1]], "as published")
)
effects_of <- function(id) {
  table <- effect_tables[[id]][[2]]
  table$yi <- vec(table$yi)
  table[!is.na(table$yi) & !is.na(table$vi), ]
}
