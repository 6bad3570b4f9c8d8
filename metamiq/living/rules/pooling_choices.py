"""P01-P03, R01-R02, A01-A03: what is pooled with what, and what the data can bear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.effects.measures import effect_sizes
from metamiq.effects.trials import trial_effects
from metamiq.errors import ConvergenceError, DataError
from metamiq.living.rules.arithmetic import cohen_d, correction
from metamiq.living.rules.material import Hit, Line, Material, grouped, keys_of, rule
from metamiq.pooling import batch
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.sensitivity.deletion import leave_one_out
from metamiq.wording import fixed

LEAST_FOR_TEST = 10  # studies per moderator, or for a test of asymmetry
FEW_FOR_WALD = 10
LEAST_TO_LEAVE_ONE = 5  # with fewer, what is left is too few for any interval
LARGEST = 400  # rows up to which each is left out in turn
CORRELATIONS = (0.3, 0.5, 0.7, 0.9)
Array = NDArray[np.float64]
_FOLLOWUPS = ("timepoint", "followup_weeks", "followup_months")


@rule(
    "P01",
    "warning",
    "post and change scores pooled together",
    why="A standardised effect of change has another SD under it than one of scores, so the two are not on one scale.",
    do="Pool them apart, or turn change into post with the correlation; mean differences (MD) may be pooled together.",
    reference="Cochrane Handbook, chapter 10",
)
def _post_and_change(material: Material) -> Iterator[Hit]:
    kinds = grouped((row.score if row.score in ("post", "change") else "", row) for row in _pooled_rows(material))
    if len(kinds) == 2:
        fewer = min(kinds, key=lambda kind: len(kinds[kind]))
        total = sum(map(len, kinds.values()))
        yield Hit(None, f"{len(kinds[fewer])} of {total} rows hold {fewer} scores ({keys_of(kinds[fewer])})")


def _pooled_rows(material: Material) -> tuple[Line, ...]:
    """Rows that the primary analysis pools: all of a study table, the chosen results that are points of evidence."""
    if material.ds is None:
        return material.rows
    effects = _evidence_effects(material)
    chosen = set(effects.loc[effects["kind"] == "point", "result_id"]) if len(effects) else set()
    return tuple(row for row in material.rows if row.text("result_id") in chosen)


def _evidence_effects(material: Material) -> pd.DataFrame:
    try:
        return trial_effects(material.ds) if material.ds is not None else pd.DataFrame()
    except DataError:
        return pd.DataFrame()


@rule(
    "P02",
    "error",
    "within-arm effect used as between-arm",
    why="A change within one arm mixes time, regression to the mean and treatment; it is no contrast of arms.",
    do="Take the difference between the arms at the time point, or the pre-post-control effect.",
    reference="Cuijpers et al. 2017, Epidemiology and Psychiatric Sciences 26:364-368",
)
def _within_arm(material: Material) -> Iterator[Hit]:
    for row in material.rows:
        kind = row.text("contrast").casefold()
        if kind.startswith("within") and row.number("yi") == row.number("yi"):
            yield Hit(row, f"contrast is {row.text('contrast')!r}, and yi = {row.number('yi'):.3g}")
        elif not kind:
            found = _is_prepost(row)
            if found:
                yield Hit(row, found)


def _is_prepost(row: Line) -> str:
    """Whether yi is the pre-post effect of arm 1 and not the difference between the arms."""
    effect = abs(row.number("yi"))
    before, sd_before, after, sd_after = row.numbers("m1i_pre", "sd1i_pre", "m1i", "sd1i")
    m2, sd2, n1, n2 = row.numbers("m2i", "sd2i", "n1i", "n2i")
    if np.isnan(after):
        after, sd_after, m2, sd2 = row.numbers("m1i_post", "sd1i_post", "m2i_post", "sd2i_post")
    if any(np.isnan((effect, before, after, m2))) or not (sd_before > 0 and sd_after > 0 and sd2 > 0):
        return ""
    if not (n1 >= 2 and n2 >= 2):
        return ""
    d = cohen_d(after, sd_after, n1, m2, sd2, n2).value
    between = [d, d * correction(n1, n2)]
    pre_m2 = row.number("m2i_pre")
    if pre_m2 == pre_m2:  # the pre-post-control effect is between arms too
        between.append(abs((after - before) - (m2 - pre_m2)) / sd_before)
    within = [abs(after - before) / sd for sd in (sd_before, sd_after)]
    if min(abs(effect - w) for w in within) <= 0.02 and min(abs(effect - b) for b in between) >= 0.1:
        return f"yi = {effect:.3g} is the change within arm 1 over its SD; between the arms it is {d:.2f}"
    return ""


@rule(
    "P03",
    "note",
    "different follow-ups pooled",
    why="Effects at the end of treatment and a year later answer different questions, and effects often fade.",
    do="Pool one time point, or take the time as a moderator.",
    reference="Borenstein et al. 2009, Introduction to Meta-Analysis, chapter 24",
)
def _follow_ups(material: Material) -> Iterator[Hit]:
    if material.ds is not None:  # the evidence's rule takes one time point
        return
    for column in _FOLLOWUPS:
        times = material.groups(column)
        if len(times) > 1:
            shown = ", ".join(f"{time} ({len(rows)})" for time, rows in list(times.items())[:5])
            yield Hit(None, f"{column} has {len(times)} values: {shown}{' ...' if len(times) > 5 else ''}")
            return


@rule(
    "R01",
    "note",
    "assumed pre-post correlation without source",
    why="The variance of a change effect hangs on this correlation, which papers seldom print.",
    do="Give where it comes from in ri_source, and show the result for other values.",
    reference="Morris & DeShon 2002, Psychological Methods 7:105-125",
)
def _assumed_correlation(material: Material) -> Iterator[Hit]:
    rows = _assumed(material)
    if rows:
        values = sorted({row.number("ri") for row in rows})
        shown = ", ".join(f"{value:g}" for value in values[:4])
        yield Hit(rows[0], f"ri = {shown} in {len(rows)} rows with pre and post scores, and ri_source is empty")


def _assumed(material: Material) -> list[Line]:
    """Rows of two times whose ri has no source: one value for several rows, or one said to be assumed."""
    paired = [row for row in material.rows if row.number("ri") == row.number("ri") and _has_two_times(row)]
    alike = grouped((f"{row.number('ri'):g}", row) for row in paired)
    return [
        row
        for row in paired
        if (not row.text("ri_source") and len(alike[f"{row.number('ri'):g}"]) > 1)
        or "assum" in row.text("ri_source").casefold()
    ]


def _has_two_times(row: Line) -> bool:
    return row.number("m1i_pre") == row.number("m1i_pre") or (
        row.number("ni") == row.number("ni") and row.number("m2i") == row.number("m2i")
    )


@rule(
    "R02",
    "warning",
    "the result hangs on the assumed correlation",
    why="With another plausible correlation the interval crosses zero, or no longer does.",
    do="Report the range of results over plausible correlations, and look for the trials' own.",
    reference="Morris & DeShon 2002, Psychological Methods 7:105-125",
)
def _hangs_on_correlation(material: Material) -> Iterator[Hit]:
    assumed = {row.place for row in _assumed(material)}
    if not assumed:
        return
    measure = "PPC_PRE" if material.has("m1i_pre") else "SMCC"
    verdicts = {}
    for ri in CORRELATIONS:
        used = [ri if row.place in assumed else row.number("ri") for row in material.rows]
        try:
            effects = effect_sizes(material.frame.assign(ri=used), measure).dropna(subset=["yi", "vi"])
            fit = batch.random_effects(effects["yi"], effects["vi"], test=material.plan.test)
        except (DataError, ConvergenceError, ValueError):
            return
        verdicts[ri] = bool(fit.ci_low[0] > 0 or fit.ci_high[0] < 0)
    if len(set(verdicts.values())) > 1:
        clear = [f"{ri:g}" for ri, excludes in verdicts.items() if excludes]
        unclear = [f"{ri:g}" for ri, excludes in verdicts.items() if not excludes]
        words = f"excludes zero with ri = {', '.join(clear)} and not with {', '.join(unclear)}"
        yield Hit(None, f"the interval of the pooled effect ({measure}) {words}")


@rule(
    "A01",
    "note",
    "too few trials for the test asked",
    why="With fewer than ten trials (per moderator; for asymmetry) a test finds little, and that is fragile.",
    do="Show the trials by group and give intervals; do not read a test without result as no difference.",
    reference="Cochrane Handbook, chapter 10; Sterne et al. 2011, BMJ 343:d4002",
)
def _too_few(material: Material) -> Iterator[Hit]:
    if material.ds is not None:
        yield from _too_few_for_claims(material)
        return
    k = len(material.studies()) or len(material.rows)
    if material.plan.asymmetry and k < LEAST_FOR_TEST:
        yield Hit(None, f"{k} trials for a test of funnel asymmetry")
    terms = len(material.plan.moderators)
    if terms and k < LEAST_FOR_TEST * terms:
        yield Hit(
            None, f"{k} trials for {terms} moderator{'s' if terms > 1 else ''} ({', '.join(material.plan.moderators)})"
        )


def _too_few_for_claims(material: Material) -> Iterator[Hit]:
    """The tests that the published claims ask of this evidence."""
    effects = _evidence_effects(material)
    for claim in material.claims:
        asked = claim.text("claim_id")
        if asked == "disorder" and len(effects):
            counts = effects["disorder"].value_counts()
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            if len(effects) < LEAST_FOR_TEST * (len(counts) - 1):
                yield Hit(claim, f"{len(effects)} trials for {len(counts)} disorders ({shown})")
        elif asked == "dose" and len(effects):
            k = int(effects["mi_sessions"].notna().sum())
            if k < LEAST_FOR_TEST:
                yield Hit(claim, f"{k} trials with a known number of MI sessions")
        elif asked == "dropout":
            arms = grouped((row.text("trial_id"), row) for row in material.dropout if row.number("dropouts") >= 0)
            k = sum(len(rows) >= 2 for rows in arms.values())
            if k < LEAST_FOR_TEST:
                yield Hit(claim, f"{k} trial{'s' if k != 1 else ''} with dropout counts in both arms")


@rule(
    "A02",
    "note",
    "few trials with a Wald interval",
    why="With few trials the normal interval is too narrow: it takes the variance between trials as known.",
    do="Use Knapp-Hartung (test='knha'), and show the prediction interval.",
    reference="IntHout, Ioannidis & Borm 2014, BMC Medical Research Methodology 14:25",
)
def _few_with_wald(material: Material) -> Iterator[Hit]:
    k = len(effects_of(material))
    if material.plan.test == "z" and 2 <= k <= FEW_FOR_WALD:
        yield Hit(None, f"test is 'z' with {k} rows")


@rule(
    "A03",
    "note",
    "one trial decides",
    why="A conclusion that falls with one trial rests on that trial, not on the body of evidence.",
    do="Show the result without it (mm.leave_one_out), and check that trial twice.",
    reference="Viechtbauer & Cheung 2010, Research Synthesis Methods 1:112-125",
)
def _one_decides(material: Material) -> Iterator[Hit]:
    names, estimates, low, high = _without_each(material)
    clear = (low > 0) | (high < 0)
    decisive = [position for position in range(1, len(clear)) if clear[position] != clear[0]]
    if decisive:
        with_all = f"{fixed(low[0])} to {fixed(high[0])}"
        worst = max(decisive, key=lambda position: abs(estimates[position] - estimates[0]))
        without = f"{fixed(low[worst])} to {fixed(high[worst])} without {names[worst - 1]}"
        others = [names[position - 1] for position in decisive if position != worst]
        more = f"; likewise without {', '.join(others[:4])}{' ...' if len(others) > 4 else ''}" if others else ""
        yield Hit(None, f"the interval of the pooled effect is {with_all}, but {without}{more}")


def _without_each(material: Material) -> tuple[list[str], Array, Array, Array]:
    """Names of the trials; estimate and interval of all of them (first) and without each; empty when not fitted."""
    nothing: tuple[list[str], Array, Array, Array] = [], np.empty(0), np.empty(0), np.empty(0)
    try:
        if material.ds is not None:
            fit = random_effects_bounded(_evidence_effects(material))
            left = leave_one_out(fit)
            ends = [np.append(getattr(fit, c), left[c].to_numpy()) for c in ("estimate", "ci_low", "ci_high")]
            return [str(name) for name in left.index], ends[0], ends[1], ends[2]
        effects = effects_of(material)
        studies = effects["study_"].to_numpy()
        names = list(dict.fromkeys(studies))
        if not (len(names) >= LEAST_TO_LEAVE_ONE and len(effects) <= LARGEST):
            return nothing
        mask = np.vstack([np.ones(len(effects), dtype=bool), *(studies != name for name in names)])
        fits = batch.random_effects(effects["yi"], effects["vi"], mask=mask, test=material.plan.test)
    except (DataError, ConvergenceError):
        return nothing
    return [str(name) for name in names], fits.estimate, fits.ci_low, fits.ci_high


def effects_of(material: Material) -> pd.DataFrame:
    """Effects of a study table: yi and vi as they are, or what its columns give; empty for evidence."""
    empty = pd.DataFrame(columns=["yi", "vi", "study_"])
    if material.ds is not None or not material.rows:
        return empty
    frame = material.frame
    if material.has("yi", "vi"):
        effects = frame
    elif material.has("yi", "sei"):
        effects = frame.assign(vi=pd.to_numeric(frame["sei"], errors="coerce") ** 2)
    else:
        needs = {
            "SMD": ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"),
            "OR": ("ai", "n1i", "ci", "n2i"),
            "ZCOR": ("ri", "ni"),
        }
        measure = next((code for code, columns in needs.items() if material.has(*columns)), None)
        if measure is None:
            return empty
        try:
            effects = effect_sizes(frame, measure)
        except (DataError, ValueError):
            return empty
        ways = np.array([row.direction for row in material.rows])
        if measure == "SMD" and ways.all():  # turned, so that positive is better throughout
            effects = effects.assign(yi=effects["yi"] * ways)
    numbers = pd.DataFrame({c: pd.to_numeric(effects[c], errors="coerce") for c in ("yi", "vi")})
    numbers["study_"] = [row.study or row.key for row in material.rows]
    good = np.isfinite(numbers["yi"]) & np.isfinite(numbers["vi"]) & (numbers["vi"] > 0)
    return pd.DataFrame(numbers.loc[good])


RULES = (
    _post_and_change,
    _within_arm,
    _follow_ups,
    _assumed_correlation,
    _hangs_on_correlation,
    _too_few,
    _few_with_wald,
    _one_decides,
)
