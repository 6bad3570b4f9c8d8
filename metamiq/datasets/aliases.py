"""Other programs' names for our columns, and the rule by which a header is understood.

Names are compared without case, blanks and punctuation: ``Mean.e``, ``mean e`` and ``MEAN_E`` are one name. What is
listed here is what other programs write or ask for, or what is common in tables made by hand; a name that two programs
use for different things (``T``, ``R``, ``P``) is left out. ``docs/formats.md`` says which names were confirmed, and
where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from metamiq.datasets.faults import Fault, FaultyDataError, quoted
from metamiq.datasets.layouts import Layout, meanings

# Group 1 is the arm under study. Comments name the program whose spelling it is; the rest are common in hand-made
# tables.
ALIASES: dict[str, tuple[str, ...]] = {
    "study": (
        "studlab",  # R meta
        "slab",  # metafor
        "study name",  # CMA
        "study id",
        "studyid",
        "study label",
        "author",
        "authors",
        "trial",
    ),
    "trial_id": ("trial id", "effect id", "es.id", "row id"),
    "year": ("year of study", "study year", "publication year", "pub year"),  # RevMan
    "m1i": (
        "mean1",
        "m1",
        "mean.e",  # R meta
        "mean 1",  # RevMan 5
        "experimental mean",  # RevMan Web
        "mean_arm1",  # Metapsy
        "mean.1",  # MetaInsight
        "group-a mean",  # CMA
        "grp1m",  # R esc
        "mean_t",
        "mean treatment",
        "treatment mean",
        "mean intervention",
        "intervention mean",
        "mean experimental",
    ),
    "sd1i": (
        "sd1",
        "sd.e",
        "experimental sd",
        "sd_arm1",
        "group-a std-dev",
        "grp1sd",
        "sd_t",
        "sd treatment",
        "treatment sd",
        "sd intervention",
        "intervention sd",
        "sd experimental",
    ),
    "n1i": (
        "n1",
        "n.e",
        "total 1",
        "experimental total",
        "experimental n",
        "n_arm1",
        "totaln_arm1",
        "group-a sample size",
        "grp1n",
        "n_t",
        "n treatment",
        "treatment n",
        "n intervention",
        "intervention n",
        "n experimental",
        "total experimental",
        "total treatment",
        "total intervention",
    ),
    "m2i": (
        "mean2",
        "m2",
        "mean.c",
        "control mean",
        "mean_arm2",
        "group-b mean",
        "grp2m",
        "mean control",
    ),
    "sd2i": ("sd2", "sd.c", "control sd", "sd_arm2", "group-b std-dev", "grp2sd", "sd control"),
    "n2i": (
        "n2",
        "n.c",
        "total 2",
        "control total",
        "control n",
        "n_arm2",
        "totaln_arm2",
        "group-b sample size",
        "grp2n",
        "n control",
        "total control",
    ),
    "ai": (
        "event.e",
        "events 1",
        "event1",
        "experimental events",
        "experimental cases",
        "event_arm1",
        "r.1",  # MetaInsight
        "group-a events",
        "events treatment",
        "treatment events",
        "events experimental",
        "events intervention",
        "intervention events",
        "tpos",  # metadat's dat.bcg
    ),
    "bi": ("tneg",),
    "ci": (
        "event.c",
        "events 2",
        "event2",
        "control events",
        "control cases",
        "event_arm2",
        "r.2",
        "group-b events",
        "events control",
        "cpos",
    ),
    "di": ("cneg",),
    "ri": ("cor", "correlation"),
    "ni": ("n", "sample size", "total n"),
    "ti": ("t value", "t statistic"),
    "yi": (
        "te",  # R meta
        ".g",  # Metapsy
        "g",
        "d",
        "smd",
        "es",
        "effect",
        "effect size",
        "effect estimate",
        "estimate",
        "giv mean",  # RevMan Web
        "hedges g",
        "hedges's g",  # CMA
        "cohens d",
        "cohen's d",
        "std diff in means",  # CMA
        "log odds ratio",
        "log or",
        "lnor",
    ),
    "vi": ("var", "variance", "v", "sampling variance", "var_g", "var_d"),
    "sei": (
        "se",
        "sete",  # R meta
        ".g_se",  # Metapsy
        "std err",  # CMA
        "std error",
        "giv se",  # RevMan Web
        "effect size standard error",  # JASP
        "standard error",
        "stderr",
        "se_g",
        "se_d",
    ),
    "ci_low": ("ci.lb", "lower", "lower limit", "ci lower", "ci start", "lcl", "conf.low", "ll"),
    "ci_high": ("ci.ub", "upper", "upper limit", "ci upper", "ci end", "ucl", "conf.high", "ul"),
}


def simplified(name: str) -> str:
    """A column name without case, blanks and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())


_MEANING = {simplified(alias): ours for ours, names in ALIASES.items() for alias in names}
# Our own names in another spelling (``Study``, ``YI``), where it cannot mean something else: ``CI`` is a confidence
# interval far more often than events in group 2.
_OURS = {simplified(ours): ours for ours in ALIASES if len(ours) > 2 or ours in ("yi", "vi")}


def understand(
    header: Sequence[str], chosen: Mapping[str, str], file: str, layout: Layout | None = None
) -> dict[str, str]:
    """Say which of a table's columns stands for which of ours.

    A column that has our name already is taken as it is; then `chosen` decides; then the layout that the header as a
    whole has; then our names in another spelling; then the table of aliases.

    Parameters
    ----------
    header : sequence of str
        Column names of the file.
    chosen : mapping of str to str
        Column of the file -> our name, as the user decided.
    file : str
        For messages.
    layout : Layout, optional
        From `layout_of`.

    Returns
    -------
    dict of str to str
        Column of the file -> our name, for the columns to rename.

    Raises
    ------
    DataError
        If several columns could be the same one of ours; the message lists them.
    """
    claims: dict[str, list[str]] = {}
    taken = set(header) | set(chosen.values())
    by_layout = meanings(layout, [n for n in header if n not in chosen], taken - {*layout.names}) if layout else {}
    settled = {*chosen, *by_layout, *(layout.left if layout else ()), *(layout.names if layout else ())}
    taken |= set(by_layout.values())
    for meaning in (_OURS, _MEANING):
        found: dict[str, list[str]] = {}
        for name in header:
            ours = meaning.get(simplified(name))
            if name not in settled and ours and ours not in taken:
                found.setdefault(ours, []).append(name)
        claims |= found
        taken |= set(found)
    faults = []
    renamed = {**by_layout, **chosen}
    for ours, names in sorted(claims.items()):
        if len(names) > 1:
            came = f"{', '.join(quoted(name) for name in sorted(names))} could each be it"
            first = sorted(names)[0]
            advice = (
                f"Say which, for instance columns={{{first!r}: {ours!r}}} (on the command line --column "
                f'"{first}={ours}"), or rename it in the file.'
            )
            faults.append(Fault(f"one column must stand for {ours}", came, file, 1, column=ours, advice=advice))
        else:
            renamed[names[0]] = ours
    if faults:
        raise FaultyDataError(faults)
    return renamed
