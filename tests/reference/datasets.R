# Writes datasets.json: every input once, with its citation. Effect tables hold exactly the rows that were fitted.
source("common.R")

columns <- function(table) lapply(as.list(table), function(x) if (is.factor(x)) I(as.character(x)) else I(unclass(as.vector(x))))
citation_of <- function(name) if (name %in% names(elsewhere)) elsewhere[[name]][[2]] else cite(name)
source_of <- function(name) if (name %in% names(elsewhere)) "values as in the publication, read in metafor's analysis examples" else METADAT(name)

entry <- function(name, kind, table, call = NULL) {
  list(kind = kind, dataset = name, citation = citation_of(name), source = source_of(name), call = call, columns = columns(table))
}
tables <- list()
for (name in names(binary)) tables[[paste0(name, "_counts")]] <- entry(name, "counts", binary[[name]])
for (name in names(continuous)) tables[[paste0(name, "_means")]] <- entry(name, "means", continuous[[name]])
for (name in names(correlations)) tables[[paste0(name, "_correlations")]] <- entry(name, "correlations", correlations[[name]])
for (name in c("morris2008_treated", "morris2008_control")) tables[[name]] <- entry(name, "change", elsewhere[[name]][[1]])
for (id in names(effect_tables)) tables[[id]] <- entry(effect_tables[[id]][[1]], "effects", effects_of(id), effect_tables[[id]][[3]])
write_json(list(versions = VERSIONS, tables = tables), "datasets.json")
