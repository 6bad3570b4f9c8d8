"""The arithmetic of each way to Hedges' g: the engine's call, and the same worked on a sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from metamiq.effects.binary import log_odds_ratio
from metamiq.effects.continuous import hedges_g
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.derivation import Worksheet
from metamiq.effects.quantiles import mean_sd_from_quantiles
from metamiq.effects.reported import g_from_f, g_from_p, g_from_r, g_from_t
from metamiq.effects.reported_estimates import g_from_ci, g_from_d, g_from_or, g_from_se
from metamiq.effects.scales import log_or_to_d
from metamiq.explaining.measures import SMD_VARIANCES, Line, correction_lines, follow

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


_DF = Line("df", "degrees of freedom", "n1 + n2 - 2")


def _to_g(sheet: Worksheet, settings: Settings) -> None:
    """From d on the sheet to g and its variance."""
    follow(sheet, correction_lines(settings.correction))
    follow(sheet, (Line("v", "its sampling variance", *SMD_VARIANCES[settings.vtype]),))


def _options(settings: Settings) -> dict[str, str]:
    return {"vtype": settings.vtype, "correction": settings.correction}


def _difference(settings: Settings) -> str:
    return "m2 - m1" if settings.lower_is_better else "m1 - m2"


def means_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from means and SDs."""
    g, v = hedges_g(x["m1"], x["sd1"], x["n1"], x["m2"], x["sd2"], x["n2"], **_options(s))
    return s.sign * float(g), float(v)


def means_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from means and SDs to g and v."""
    follow(
        sheet,
        (
            _DF,
            Line("sp", "pooled standard deviation", "sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/df)"),
            Line("d", "standardised mean difference, Cohen's d", f"({_difference(s)})/sp"),
        ),
    )
    _to_g(sheet, s)


def se_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from means and their standard errors."""
    sds = {f"sd{i}": x[f"se{i}"] * x[f"n{i}"] ** 0.5 for i in (1, 2)}
    return means_engine({**x, **sds}, s)


def se_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from means and their standard errors to g and v."""
    for i in (1, 2):
        sheet.step(f"sd{i}", f"standard deviation of group {i} from its standard error", f"se{i}*sqrt(n{i})")
    means_steps(sheet, s)


def _quantile_parts(x: Values, i: int) -> dict[str, float]:
    parts = {"q1": f"q1_{i}", "q3": f"q3_{i}", "minimum": f"min{i}", "maximum": f"max{i}"}
    return {name: x[key] for name, key in parts.items() if key in x}


def quantile_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from medians with quartiles, ranges or both."""
    out = dict(x)
    for i in (1, 2):
        found = mean_sd_from_quantiles(x[f"median{i}"], x[f"n{i}"], **_quantile_parts(x, i))
        out |= {f"m{i}": float(found.mean), f"sd{i}": float(found.sd)}
    return means_engine(out, s)


def quantile_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from medians with quartiles, ranges or both to g and v."""
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
    means_steps(sheet, s)


def t_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from t."""
    yi, vi, _ = g_from_t(x["t"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def t_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from t to g and v."""
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"), _DF))
    _to_g(sheet, s)


def f_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from F and the direction."""
    yi, vi, _ = g_from_f(x["f"], x["n1"], x["n2"], x["favours"], vtype=s.vtype, correction=s.correction)
    return float(yi), float(vi)


def f_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from F and the direction to g and v."""
    minus = "-" if sheet.values["favours"] < 0 else ""
    sheet.step("t", "t of an F with one degree of freedom, signed by the direction", f"{minus}sqrt(f)")
    t_steps(sheet, s)


def p_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from p and the direction."""
    yi, vi, _ = g_from_p(x["p"], x["n1"], x["n2"], x["favours"], **_options(s))
    return float(yi), float(vi)


def p_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from p and the direction to g and v."""
    follow(sheet, (_DF,))
    minus = "-" if sheet.values["favours"] < 0 else ""
    sheet.step("t", "t that has this two-sided p, signed by the direction", f"{minus}tupper(p/2, df)")
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"),))
    _to_g(sheet, s)


def md_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from a mean difference and its standard error."""
    yi, vi, _ = g_from_se(x["md"], x["se"], x["n1"], x["n2"], scale="md", **_options(s))
    return s.sign * float(yi), float(vi)


def md_se_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from a mean difference and its standard error to g and v."""
    sheet.step("t", "t of the difference", "-md/se" if s.lower_is_better else "md/se")
    t_steps(sheet, s)


def md_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from a mean difference and its interval."""
    yi, vi, _ = g_from_ci(
        x["ci_low"], x["ci_high"], x["n1"], x["n2"], estimate=x.get("md"), scale="md", level=x["ci_level"],
        **_options(s),
    )  # fmt: skip
    return s.sign * float(yi), float(vi)


def md_ci_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from a mean difference and its interval to g and v."""
    if "md" not in sheet.values:
        sheet.step("md", "mean difference, the middle of its interval", "(ci_low + ci_high)/2")
    follow(sheet, (_DF,))
    sheet.step("tcrit", "quantile of t that the interval used", "tcritical(ci_level, df)")
    sheet.step("se", "standard error of the difference", "(ci_high - ci_low)/(2*tcrit)")
    sheet.step("t", "t of the difference", "-md/se" if s.lower_is_better else "md/se")
    sheet.step("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)")
    _to_g(sheet, s)


def d_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from d."""
    yi, vi, _ = g_from_d(x["d"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def d_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from d to g and v."""
    follow(sheet, (_DF,))
    _to_g(sheet, s)


def d_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from d and its standard error."""
    yi, vi, _ = g_from_se(x["d"], x["se"], x["n1"], x["n2"], scale="d", correction=s.correction)
    return float(yi), float(vi)


def d_se_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from d and its standard error to g and v."""
    follow(sheet, (_DF, *correction_lines(s.correction)))
    follow(sheet, (Line("v", "its sampling variance, from the reported standard error", "(J*se)**2"),))


def d_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from d and its interval."""
    yi, vi, _ = g_from_ci(
        x["ci_low"], x["ci_high"], x["n1"], x["n2"], estimate=x["d"], scale="d", level=x["ci_level"],
        correction=s.correction,
    )  # fmt: skip
    return float(yi), float(vi)


def _se_from_ci(sheet: Worksheet) -> None:
    sheet.step("zcrit", "normal quantile that the interval used", "zcritical(ci_level)")
    sheet.step("se", "standard error from the width of the interval", "(ci_high - ci_low)/(2*zcrit)")


def d_ci_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from d and its interval to g and v."""
    _se_from_ci(sheet)
    d_se_steps(sheet, s)


def g_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from g and the sizes."""
    yi, vi, _ = g_from_d(x["g"], x["n1"], x["n2"], reported="g", **_options(s))
    return float(yi), float(vi)


def g_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from g and the sizes to g and v."""
    if s.vtype != "LS":
        follow(sheet, (_DF, correction_lines(s.correction)[0], Line("d", "g before its correction", "g/J")))
    follow(sheet, (Line("v", "its sampling variance", *SMD_VARIANCES[s.vtype]),))


def g_se_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from g and its standard error."""
    yi, vi, _ = g_from_se(x["g"], x["se"])
    return float(yi), float(vi)


def g_se_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from g and its standard error to g and v."""
    follow(sheet, (Line("v", "its sampling variance, from the reported standard error", "se**2"),))


def g_ci_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from g and its interval."""
    yi, vi, _ = g_from_ci(x["ci_low"], x["ci_high"], estimate=x.get("g"), level=x["ci_level"])
    return float(yi), float(vi)


def g_ci_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from g and its interval to g and v."""
    if "g" not in sheet.values:
        sheet.step("g", "the middle of the interval", "(ci_low + ci_high)/2")
    _se_from_ci(sheet)
    g_se_steps(sheet, s)


def r_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from a point-biserial correlation."""
    yi, vi, _ = g_from_r(x["r"], x["n1"], x["n2"], **_options(s))
    return float(yi), float(vi)


def r_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from a point-biserial correlation to g and v."""
    follow(sheet, (_DF, Line("t", "t of the correlation", "r*sqrt(df/(1 - r**2))")))
    follow(sheet, (Line("d", "Cohen's d from t", "t*sqrt(1/n1 + 1/n2)"),))
    _to_g(sheet, s)


_CHINN = "Chinn (2000)"


def or_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from an odds ratio and its interval."""
    yi, vi, _ = g_from_or(
        x["odds_ratio"], x["ci_low"], x["ci_high"], x["n1"], x["n2"], level=x["ci_level"], correction=s.correction
    )
    return float(yi), float(vi)


def or_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from an odds ratio and its interval to g and v."""
    sheet.step("logOR", "log odds ratio", "log(odds_ratio)")
    sheet.step("zcrit", "normal quantile that the interval used", "zcritical(ci_level)")
    sheet.step("se", "standard error of the log odds ratio", "(log(ci_high) - log(ci_low))/(2*zcrit)")
    _log_or_to_g(sheet, s)


def _log_or_to_g(sheet: Worksheet, s: Settings) -> None:
    sheet.step("d", "as a difference in SDs, the outcome taken as logistic", "logOR*sqrt(3)/pi", source=_CHINN)
    follow(sheet, (_DF, *correction_lines(s.correction)))
    sheet.step("v", "its sampling variance", "(J*se*sqrt(3)/pi)**2", source=_CHINN)


def counts_engine(x: Values, s: Settings) -> tuple[float, float]:
    """Give g and its variance from counts."""
    d, v = log_or_to_d(*log_odds_ratio(x["events1"], x["n1"], x["events2"], x["n2"]))
    J = float(small_sample_correction(x["n1"] + x["n2"] - 2.0, s.correction))
    return s.sign * J * float(d), J**2 * float(v)


def counts_steps(sheet: Worksheet, s: Settings) -> None:
    """Work from counts to g and v."""
    has_zero = any(sheet.values[f"events{i}"] in (0.0, sheet.values[f"n{i}"]) for i in (1, 2))
    add = " + 0.5" if has_zero else ""
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
