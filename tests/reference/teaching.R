# Writes trials.csv of the teaching datasets, ../../data/<name>/trials.csv, from metadat and from data.R.
# Columns take the calculators' names; values stay as published; rows are sorted by their key.
source("common.R")

key <- function(names, years = NULL) {
  base <- iconv(names, to = "ASCII//TRANSLIT")
  # The first author names the study: what stands before "et al.", "&" and the like.
  base <- sub("( et al.*| & .*|,.*| and .*)$", "", base)
  base <- gsub("[^a-z0-9]+", "-", tolower(base))
  base <- gsub("(^-+|-+$)", "", base)
  if (!is.null(years)) base <- paste0(base, ifelse(is.na(years), "", years))
  twice <- base %in% base[duplicated(base)]
  base[twice] <- paste0(base, ave(seq_along(base), base, FUN = seq_along) |> (\(i) letters[i])())[twice]
  base
}
named <- function(names, years) trimws(paste(names, ifelse(is.na(years), "", years)))
numbered <- function(n) formatC(n, width = nchar(max(n)), flag = "0", format = "d")
cell <- function(x) {
  text <- if (is.numeric(x)) ifelse(is.na(x), "", sprintf("%.15g", x)) else ifelse(is.na(x), "", as.character(x))
  quote <- grepl("[\",\n]", text)
  text[quote] <- paste0("\"", gsub("\"", "\"\"", text[quote]), "\"")
  text
}
save <- function(name, table) {
  by <- if ("trial_id" %in% names(table)) table$trial_id else table$study
  stopifnot(!anyDuplicated(by))
  table <- table[order(by, method = "radix"), ]
  folder <- file.path("..", "..", "data", name)
  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  rows <- do.call(paste, c(lapply(table, cell), sep = ","))
  file <- file(file.path(folder, "trials.csv"), "wb")
  writeLines(enc2utf8(c(paste(names(table), collapse = ","), rows)), file, sep = "\n", useBytes = TRUE)
  close(file)
}
order_of <- function(table) seq_len(nrow(table))

# Means, standard deviations and sample sizes.
save("normand1999", with(dat.normand1999, data.frame(study = key(source), label = source, published_order = study, m1i, sd1i, n1i, m2i, sd2i, n2i)))
save("curtis1998", with(dat.curtis1998, data.frame(
  trial_id = paste0("obs", numbered(id)), study = paste0("paper", numbered(paper)), genus, species, functional_group = fungrp, co2_ambient = co2.ambi, co2_elevated = co2.elev, co2_units = trimws(units),
  days = time, pot, facility = method, stock, treatment = xtrt, treatment_level = ifelse(level == ".", NA, level), m1i, sd1i, n1i, m2i, sd2i, n2i
)))
save("gibson2002", with(subset(dat.gibson2002, !is.na(m1i)), data.frame(study = key(author, year), label = named(author, year), year, type, m1i, sd1i, n1i, m2i, sd2i, n2i)))
pre_post <- function(t, c, names) data.frame(
  study = names, published_order = 1:5, m1i_pre = t$m2i, m1i_post = t$m1i, sd1i_pre = t$sd2i, sd1i_post = t$sd1i, n1i = t$ni,
  m2i_pre = c$m2i, m2i_post = c$m1i, sd2i_pre = c$sd2i, sd2i_post = c$sd1i, n2i = c$ni, ri = t$ri
)
save("morris2008", pre_post(morris_t, morris_c, paste0("study", 1:5)))

# 2x2 counts.
save("bcg", with(dat.bcg, data.frame(study = key(author, year), label = named(author, year), year, published_order = trial, ai = tpos, n1i = tpos + tneg, ci = cpos, n2i = cpos + cneg, latitude = ablat, allocation = alloc)))
save("hine1989", with(dat.hine1989, data.frame(study = key(source), label = source, published_order = study, ai, n1i, ci, n2i)))
save("collins1985b", with(dat.collins1985b, data.frame(study = key(author, year), label = named(author, year), year, published_order = id, ai = pre.xti, n1i = pre.nti, ci = pre.xci, n2i = pre.nci)))
save("lee2004", with(dat.lee2004, data.frame(study = key(study, year), label = named(study, year), year, published_order = id, ai, n1i, ci, n2i)))
save("egger2001", with(dat.egger2001, data.frame(study = key(study, year), label = named(study, year), year, published_order = id, ai, n1i, ci, n2i)))
save("nielweise2007", with(dat.nielweise2007, data.frame(study = key(author, year), label = named(author, year), year, published_order = study, ai, n1i, ci, n2i)))
save("linde2005", with(dat.linde2005, data.frame(
  study = key(study, year), label = named(study, year), year, published_order = id, country, ai, n1i, ci, n2i, participants = ni, major_depression = major, baseline, hrsd_items = version,
  weeks = duration, preparation = prep, dosage, response, stratum = group, reanalysed = as.integer(id %in% c(7:10, 13:25))
)))
save("dersimonian2007", with(elsewhere$clasp[[1]], data.frame(study = paste0("trial", study), published_order = study, ai, n1i, ci, n2i)))

# Correlations.
save("mcdaniel1994", with(dat.mcdaniel1994, data.frame(study = paste0("study", numbered(study)), ri, ni, type, structure = struct)))
save("molloy2014", with(dat.molloy2014, data.frame(study = key(authors, year), label = named(authors, year), year, published_order = order_of(dat.molloy2014), ri, ni, controls, design, adherence_measure = a_measure, conscientiousness_measure = c_measure, mean_age = meanage, quality)))

# Effects with moderators.
save("raudenbush1985", with(dat.raudenbush1985, data.frame(study = key(author, year), label = named(author, year), year, published_order = study, yi = vec(yi), vi, weeks, setting, tester, n1i, n2i)))
save("bangertdrowns2004", with(as.data.frame(dat.bangertdrowns2004), data.frame(
  study = key(author, year), label = named(author, year), year, published_order = id, yi = vec(yi), vi, ni, grade, length, minutes, in_class = wic, feedback, informational = info, personal = pers, imaginative = imag, metacognitive = meta, subject
)))
save("hackshaw1998", with(dat.hackshaw1998, data.frame(study = key(author, year), label = named(author, year), year, published_order = study, yi = vec(yi), vi, odds_ratio = or, odds_ratio_low = or.lb, odds_ratio_high = or.ub, country, design, cases)))
save("lipsey2001", with(elsewhere$lipsey2001[[1]], data.frame(study = paste0("study", study), yi, vi, random, intensity)))
save("borenstein2009", with(elsewhere$borenstein2009[[1]], data.frame(study = paste0("study", study), yi, vi)))

# Dependent effects.
save("konstantopoulos2011", with(as.data.frame(dat.konstantopoulos2011), data.frame(trial_id = paste0("study", numbered(study)), study = paste0("study", numbered(study)), district = paste0("district", numbered(district)), school = paste0("school", numbered(school)), year, yi = vec(yi), vi)))
save("assink2016", with(as.data.frame(dat.assink2016), data.frame(trial_id = paste0("effect", numbered(id)), study = paste0("study", numbered(study)), yi = vec(yi), vi, published = pubstatus, year_centred = year, delinquency = deltype)))
berkey <- with(as.data.frame(dat.berkey1998), data.frame(study = paste0(tolower(sub(" .*", "", author)), year), label = named(author, year), year, outcome, yi = vec(yi), vi, v1i, v2i, ni))
save("berkey1998", data.frame(trial_id = paste0(berkey$study, "-", tolower(berkey$outcome)), berkey))
