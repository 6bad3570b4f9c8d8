"""The ways from what a report prints to Hedges' g: what each needs, the engine's call, and its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from metamiq.effects.binary import log_odds_ratio
from metamiq.effects.continuous import hedges_g
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.derivation import Worksheet
from metamiq.effects.quantiles import mean_sd_from_quantiles
from metamiq.effects.reported import g_from_f, g_from_p, g_from_r, g_from_t
from metamiq.effects.reported_estimates import g_from_ci, g_from_d, g_from_or, g_from_se
from metamiq.effects.scales import log_or_to_d
from metamiq.explaining.measures import HEDGES_1981, SMD_VARIANCES, Line, correction_lines, follow

Values = Mapping[str, float]


class Settings(NamedTuple):
    """Choices that several routes share."""

    vtype: str = "LS"
    correction: str = "exact"
    level: float = 0.95
    lower_is_better: bool = False

    @property
    def sign(self) -> float:
        """What a difference of means is multiplied by."""
        return -1.0 if self.lower_is_better else 1.0


Engine = Callable[[Values, Settings], tuple[float, float]]
Steps = Callable[[Worksheet, Settings], None]


@dataclass(frozen=True, slots=True)
class Route:
    """One way to g.

    Attributes
    ----------
    words : str
        What it starts from.
    needs : tuple of str
        Numbers that must be given.
    engine : callable
        g and its variance, by the functions that the analyses use.
    steps : callable
        Works the same on a sheet, ending with g and v.
    assumption : str
        What must be true for the result to be right.
    """

    words: str
    needs: tuple[str, ...]
    engine: Engine
    steps: Steps
    assumption: str = ""


_DF = Line("df", "degrees of freedom", "n1 + n2 - 2")
_NORMAL = "normal outcomes with one SD in both groups"
_UNADJUSTED = "an unadjusted test of two independent groups, not one with covariates, not Welch's"


def _to_g(sheet: Worksheet, settings: Settings) -> None:
    """From d on the sheet to g and its variance."""
    follow(sheet, correction_lines(settings.correction))
    follow(sheet, (Line("v", "its sampling variance", *SMD_VARIANCES[settings.vtype]),))


def _options(settings: Settings) -> dict[str, str]:
    return {"vtype": settings.vtype, "correction": settings.correction}


def _difference(settings: Settings) -> str:
    return "m2 - m1" if settings.lower_is_better else "m1 - m2"


def _means_engine(x: Values, s: Settings) -> tuple[float, float]:
    g, v = hedges_g(x["m1"], x["sd1"], x["n1"], x["m2"], x["sd2"], x["n2"], **_options(s))
    return s.sign * float(g), float(v)


def _means_steps(sheet: Worksheet, s: Settings) -> None:
    follow(
        sheet,
        (
            _DF,
            Line("sp", "pooled standard deviation", "sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/df)"),
            Line("d", "standardised mean difference, Cohen's d", f"({_difference(s)})/sp"),
        ),
    )
    _to_g(sheet, s)


def _se_engine(x: Values, s: Settings) -> tuple[float, float]:
    sds = {f"sd{i}": x[f"se{i}"] * x[f"n{i}"] ** 0.5 for i in (1, 2)}
    return _means_engine({**x, **sds}, s)


def _se_steps(sheet: Worksheet, s: Settings) -> None:
    for i in (1, 2):
        sheet.step(f"sd{i}", f"standard deviation of group {i} from its standard error", f"se{i}*sqrt(n{i})")
    _means_steps(sheet, s)


def _quantile_parts(x: Values, i: int) -> dict[str, float]:
    parts = {"q1": f"q1_{i}", "q3": f"q3_{i}", "minimum": f"min{i}", "maximum": f"max{i}"}
    return {name: x[key] for name, key in parts.items() if key in x}


def _quantile_engine(x: Values, s: Settings) -> tuple[float, float]:
    out = dict(x)
    for i in (1, 2):
        found = mean_sd_from_quantiles(x[f"median{i}"], x[f"n{i}"], **_quantile_parts(x, i))
        out |= {f"m{i}": float(found.mean), f"sd{i}": float(found.sd)}
    return _means_engine(out, s)


def _quantile_steps(sheet: Worksheet, s: Settings) -> None:
    luo, wan = "Luo et al. (2018)", "Wan et al. (2014)"
    for i in (1, 2):
        has = _quantile_parts(sheet.values, i)
        sd_q = f"(q3_{i} - q1_{i})/(2*zquantile((0.75*n{i} - 0.125)/(n{i} + 0.25)))"
        sd_r = f"(max{i} - min{i})/(2*zquantile((n{i} - 0.375)/(n{i} + 0.25)))"
        middle_q, middle_r = f"(q1_{i} + q3_{i})/2", f"(min{i} + max{i})/2"
        mean, sd = f"mean of group {i}", f"standard deviation of group {i}"
        if len(has) == 4:
            sheet.step(f"w{i}", "weight of the middle of the range", f"2.2/(2.2 + n{i}**0.75)", source=luo)
            sheet.step(f"u{i}", "weight of the middle of the quartiles", f"0.7 - 0.72/n{i}**0.55", source=luo)
            formula = f"w{i}*({middle_r}) + u{i}*({middle_q}) + (1 - w{i} - u{i})*median{i}"
            sheet.step(f"m{i}", mean, formula, source=luo)
            sheet.step(f"sd{i}", sd, f"({sd_r} + {sd_q})/2", source=wan)
            continue
        weight, middle, spread = (
            (f"0.7 + 0.39/n{i}", middle_q, sd_q) if "q1" in has else (f"4/(4 + n{i}**0.75)", middle_r, sd_r)
        )
        source = f"{luo}, eq. 15" if "q1" in has else luo
        sheet.step(f"w{i}", "weight of the middle beside the median", weight, source=source)
        sheet.step(f"m{i}", mean, f"w{i}*({middle}) + (1 - w{i})*median{i}", source=source)
        sheet.step(f"sd{i}", sd, spread, source=f"{wan}, eq. 16" if "q1" in has else wan)
        if "q1" in has:
            skew = (has["q1"] + has["q3"] - 2 * sheet.values[f"median{i}"]) / (has["q3"] - has["q1"])
            if abs(skew) > 0.3:
                sheet.notes.append(
                    f"the quartiles of group {i} lie far from symmetric about its median, so the data are skewed and "
                    "the mean and SD are biased"
                )
    _means_steps(sheet, s)


def _t_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_t(x["t"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def _t_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"), _DF))
    _to_g(sheet, s)


def _f_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_f(x["f"], x["n1"], x["n2"], x["favours"], vtype=s.vtype, correction=s.correction)
    return float(yi), float(vi)


def _f_steps(sheet: Worksheet, s: Settings) -> None:
    minus = "-" if sheet.values["favours"] < 0 else ""
    sheet.step("t", "t of an F with one degree of freedom, signed by the direction", f"{minus}sqrt(f)")
    _t_steps(sheet, s)


def _p_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_p(x["p"], x["n1"], x["n2"], x["favours"], **_options(s))
    return float(yi), float(vi)


def _p_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (_DF,))
    minus = "-" if sheet.values["favours"] < 0 else ""
    sheet.step("t", "t that has this two-sided p, signed by the direction", f"{minus}tupper(p/2, df)")
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"),))
    _to_g(sheet, s)


def _md_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_se(x["md"], x["se"], x["n1"], x["n2"], scale="md", **_options(s))
    return s.sign * float(yi), float(vi)


def _md_se_steps(sheet: Worksheet, s: Settings) -> None:
    sheet.step("t", "t of the difference", "-md/se" if s.lower_is_better else "md/se")
    _t_steps(sheet, s)


def _md_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_ci(
        x["ci_low"], x["ci_high"], x["n1"], x["n2"], estimate=x.get("md"), scale="md", level=x["ci_level"],
        **_options(s),
    )  # fmt: skip
    return s.sign * float(yi), float(vi)


def _md_ci_steps(sheet: Worksheet, s: Settings) -> None:
    if "md" not in sheet.values:
        sheet.step("md", "mean difference, the middle of its interval", "(ci_low + ci_high)/2")
    follow(sheet, (_DF,))
    sheet.step("tcrit", "quantile of t that the interval used", "tcritical(ci_level, df)")
    sheet.step("se", "standard error of the difference", "(ci_high - ci_low)/(2*tcrit)")
    sheet.step("t", "t of the difference", "-md/se" if s.lower_is_better else "md/se")
    sheet.step("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)")
    _to_g(sheet, s)


def _d_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_d(x["d"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def _d_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (_DF,))
    _to_g(sheet, s)


def _d_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_se(x["d"], x["se"], x["n1"], x["n2"], scale="d", correction=s.correction)
    return float(yi), float(vi)


def _d_se_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (_DF, *correction_lines(s.correction)))
    follow(sheet, (Line("v", "its sampling variance, from the reported standard error", "(J*se)**2"),))


def _d_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_ci(
        x["ci_low"], x["ci_high"], x["n1"], x["n2"], estimate=x["d"], scale="d", level=x["ci_level"],
        correction=s.correction,
    )  # fmt: skip
    return float(yi), float(vi)


def _se_from_ci(sheet: Worksheet) -> None:
    sheet.step("zcrit", "normal quantile that the interval used", "zcritical(ci_level)")
    sheet.step("se", "standard error from the width of the interval", "(ci_high - ci_low)/(2*zcrit)")


def _d_ci_steps(sheet: Worksheet, s: Settings) -> None:
    _se_from_ci(sheet)
    _d_se_steps(sheet, s)


def _g_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_d(x["g"], x["n1"], x["n2"], reported="g", **_options(s))
    return float(yi), float(vi)


def _g_steps(sheet: Worksheet, s: Settings) -> None:
    if s.vtype != "LS":
        follow(sheet, (_DF, correction_lines(s.correction)[0], Line("d", "g before its correction", "g/J")))
    follow(sheet, (Line("v", "its sampling variance", *SMD_VARIANCES[s.vtype]),))


def _g_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_se(x["g"], x["se"])
    return float(yi), float(vi)


def _g_se_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (Line("v", "its sampling variance, from the reported standard error", "se**2"),))


def _g_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_ci(x["ci_low"], x["ci_high"], estimate=x.get("g"), level=x["ci_level"])
    return float(yi), float(vi)


def _g_ci_steps(sheet: Worksheet, s: Settings) -> None:
    if "g" not in sheet.values:
        sheet.step("g", "the middle of the interval", "(ci_low + ci_high)/2")
    _se_from_ci(sheet)
    _g_se_steps(sheet, s)


def _r_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_r(x["r"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def _r_steps(sheet: Worksheet, s: Settings) -> None:
    follow(sheet, (_DF, Line("t", "t of the correlation", "r*sqrt(df/(1 - r**2))")))
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"),))
    _to_g(sheet, s)


_CHINN = "Chinn (2000)"


def _or_engine(x: Values, s: Settings) -> tuple[float, float]:
    yi, vi, _ = g_from_or(
        x["odds_ratio"], x["ci_low"], x["ci_high"], x["n1"], x["n2"], level=x["ci_level"], correction=s.correction
    )
    return float(yi), float(vi)


def _or_steps(sheet: Worksheet, s: Settings) -> None:
    sheet.step("logOR", "log odds ratio", "log(odds_ratio)")
    sheet.step("zcrit", "normal quantile that the interval used", "zcritical(ci_level)")
    sheet.step("se", "standard error of the log odds ratio", "(log(ci_high) - log(ci_low))/(2*zcrit)")
    _log_or_to_g(sheet, s)


def _log_or_to_g(sheet: Worksheet, s: Settings) -> None:
    sheet.step("d", "as a difference in SDs, the outcome taken as logistic", "logOR*sqrt(3)/pi", source=_CHINN)
    follow(sheet, (_DF, *correction_lines(s.correction)))
    sheet.step("v", "its sampling variance", "(J*se*sqrt(3)/pi)**2", source=_CHINN)


def _counts_engine(x: Values, s: Settings) -> tuple[float, float]:
    d, v = log_or_to_d(*log_odds_ratio(x["events1"], x["n1"], x["events2"], x["n2"]))
    J = float(small_sample_correction(x["n1"] + x["n2"] - 2.0, s.correction))
    return s.sign * J * float(d), J**2 * float(v)


def _counts_steps(sheet: Worksheet, s: Settings) -> None:
    add = "" if 0 < sheet.values["events1"] < sheet.values["n1"] and 0 < sheet.values["events2"] < sheet.values["n2"] \
        else " + 0.5"  # fmt: skip
    if add:
        sheet.assumptions.append("one cell is 0, so 0.5 is added to all four cells")
    cells = {"a": "events1", "b": "n1 - events1", "c": "events2", "e": "n2 - events2"}
    words = ("events in group 1", "non-events in group 1", "events in group 2", "non-events in group 2")
    for (name, formula), meaning in zip(cells.items(), words, strict=True):
        sheet.step(name, meaning, formula + add)
    up = "log(b) - log(a) - log(e) + log(c)" if s.lower_is_better else "log(a) - log(b) - log(c) + log(e)"
    sheet.step("logOR", "log odds ratio", up)
    sheet.step("se", "its standard error", "sqrt(1/a + 1/b + 1/c + 1/e)", source="Woolf (1955)")
    _log_or_to_g(sheet, s)


_SIZES = ("n1", "n2")
_Q = tuple(f"{what}{i}" for i in (1, 2) for what in ("median", "q1_", "q3_"))
_R = tuple(f"{what}{i}" for i in (1, 2) for what in ("median", "min", "max"))
_CI = ("ci_low", "ci_high")
_TAKEN_NORMAL = f"{_NORMAL}; the mean and SD are estimates from quantiles"

#: In order of preference: what is closest to the data first.
ROUTES: tuple[Route, ...] = (
    Route("means, SDs and sizes", ("m1", "sd1", "m2", "sd2", *_SIZES), _means_engine, _means_steps, _NORMAL),
    Route("means, standard errors and sizes", ("m1", "se1", "m2", "se2", *_SIZES), _se_engine, _se_steps, _NORMAL),
    Route("t and sizes", ("t", *_SIZES), _t_engine, _t_steps, _UNADJUSTED),
    Route("F, direction and sizes", ("f", "favours", *_SIZES), _f_engine, _f_steps, _UNADJUSTED),
    Route("mean difference, its standard error and sizes", ("md", "se", *_SIZES), _md_se_engine, _md_se_steps,
          _UNADJUSTED),
    Route("mean difference, its interval and sizes", ("md", *_CI, *_SIZES), _md_ci_engine, _md_ci_steps, _UNADJUSTED),
    Route("p, direction and sizes", ("p", "favours", *_SIZES), _p_engine, _p_steps, _UNADJUSTED),
    Route("correlation of arm and outcome, and sizes", ("r", *_SIZES), _r_engine, _r_steps,
          "a point-biserial correlation"),
    Route("g and its standard error", ("g", "se"), _g_se_engine, _g_se_steps),
    Route("g and its interval", ("g", *_CI), _g_ci_engine, _g_ci_steps, "an interval by the normal distribution"),
    Route("g and sizes", ("g", *_SIZES), _g_engine, _g_steps, "g has its small-sample correction already"),
    Route("d, its standard error and sizes", ("d", "se", *_SIZES), _d_se_engine, _d_se_steps, "d is uncorrected"),
    Route("d, its interval and sizes", ("d", *_CI, *_SIZES), _d_ci_engine, _d_ci_steps,
          "d is uncorrected, its interval by the normal distribution"),
    Route("d and sizes", ("d", *_SIZES), _d_engine, _d_steps,
          "d is between the arms, over the pooled SD, and uncorrected"),
    Route("medians with quartiles, and sizes", (*_Q, *_SIZES), _quantile_engine, _quantile_steps, _TAKEN_NORMAL),
    Route("medians with ranges, and sizes", (*_R, *_SIZES), _quantile_engine, _quantile_steps, _TAKEN_NORMAL),
    Route("odds ratio, its interval and sizes", ("odds_ratio", *_CI, *_SIZES), _or_engine, _or_steps,
          "the outcome behind the yes and no is logistic with one SD"),
    Route("counts and sizes", ("events1", "events2", *_SIZES), _counts_engine, _counts_steps,
          "the outcome behind the yes and no is logistic with one SD"),
    Route("the interval of g alone", _CI, _g_ci_engine, _g_ci_steps, "an interval of g by the normal distribution"),
)  # fmt: skip

__all__ = ["HEDGES_1981", "ROUTES", "Route", "Settings"]
