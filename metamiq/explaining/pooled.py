"""The steps of a pooled estimate and of a meta-regression coefficient: weights, tau2, every sum."""

from __future__ import annotations

import numpy as np

from metamiq.effects.derivation import Derivation, Table, Worksheet
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import fit_tau2
from metamiq.tails import critical_value
from metamiq.wording import fixed

_NAMES = {
    "REML": "restricted maximum likelihood",
    "ML": "maximum likelihood",
    "DL": "DerSimonian and Laird's method of moments",
    "PM": "Paule and Mandel's equation",
    "EB": "the empirical Bayes equation",
    "HE": "Hedges' unweighted method of moments",
    "HS": "Hunter and Schmidt's estimator",
    "SJ": "Sidik and Jonkman's two steps",
    "FE": "one common effect",
}


def explain_pooled(fit: PooledEffect) -> Derivation:
    """Derive a pooled estimate: tau2, weights, mean, standard error, intervals and I2.

    Estimators of tau2 with a closed formula are worked out; for the others (REML, ML, PM, EB) both sides of the
    equation are computed at the engine's solution, where they must be equal.

    Parameters
    ----------
    fit : PooledEffect
        From `random_effects` or `fixed_effect`.

    Returns
    -------
    Derivation
        Results ``estimate se ci_low ci_high tau2`` and, of a random-effects model, ``pi_low pi_high I2``.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03], method="DL", test="z")
    >>> print(explain_pooled(fit).steps[0].formula)
    Σwᵢ
    """
    y, v = fit.source.yi, fit.source.vi
    k, t2 = fit.k, fit.tau2
    sheet = Worksheet(f"Mean of {k} effect sizes: {fit.method}, test {fit.test}")
    sheet.columns(yi=y, vi=v)
    sheet.values |= {"k": float(k), "level": fit.level}
    known = np.isfinite(t2)
    if fit.method != "FE" and known:
        _tau2(sheet, fit.method, t2, ones=np.ones(k))
    tau2 = t2 if known else 0.0
    sheet.values["tau2"] = tau2
    if not known:
        sheet.notes.append("with one effect size tau2 cannot be estimated")
    own_weights = fit.combine is not None
    w = np.asarray(fit.combine, dtype=float) if fit.combine is not None else 1.0 / (v + tau2)
    sheet.columns(wi=w)
    table_rows = zip(fit.source.labels(), y, v, w, 100.0 * w / w.sum(), strict=True)
    sheet.table = Table(
        ("study", "yi", "vi", "wi", "weight %"),
        tuple((str(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in table_rows),
    )
    sheet.notes.append(
        "the weights of the table are the caller's own"
        if own_weights
        else (
            "the weights of the table are wᵢ = 1/vᵢ" if tau2 == 0 else "the weights of the table are wᵢ = 1/(vᵢ + τ²)"
        )
    )
    sheet.step("W", "sum of the weights", "sum(wi)")
    sheet.step("mu", "weighted mean", "sum(wi*yi)/W")
    sheet.matches("mu", fit.estimate)
    if own_weights:
        sheet.step("V", "variance of this weighted mean", "sum(wi**2*(vi + tau2))/W**2")
    else:
        sheet.step("V", "variance of the mean", "1/W")
    _standard_error(sheet, fit.test, fit.se, dof="k - 1", centred="(yi - mu)", own=own_weights, tau2=tau2)
    names = ["tau2", "se"]
    with_interval = np.isfinite(fit.se)
    if with_interval:
        _interval(sheet, "mu", fit.dof, fit.level)
        sheet.matches("ci_low", fit.ci_low)
        sheet.matches("ci_high", fit.ci_high)
        names += ["ci_low", "ci_high"]
    interval = f"{fixed(fit.ci_low, 4)} to {fixed(fit.ci_high, 4)}" if with_interval else "undefined"
    if fit.method != "FE" and known and fit.pi_method in ("test", "HTS"):
        quantile = _quantile_name(fit.dof)
        if fit.pi_method == "HTS" and k > 2:
            sheet.step("tcrit", "quantile of t with k − 2 degrees of freedom", "tcritical(level, k - 2)")
            quantile = "tcrit"
        if fit.pi_method == "test" or k > 2:
            sheet.step("pi_low", "lower end of the prediction interval", f"mu - {quantile}*sqrt(se**2 + tau2)")
            sheet.step("pi_high", "upper end of the prediction interval", f"mu + {quantile}*sqrt(se**2 + tau2)")
            sheet.matches("pi_low", fit.pi_low)
            names += ["pi_low", "pi_high"]
    if fit.method != "FE" and known:
        _typical(sheet)
        sheet.step("I2", "share of heterogeneity", "100*tau2/(tau2 + s2typ)", unit="%")
        sheet.matches("I2", fit.I2)
        names.append("I2")
    results = {"estimate": float(sheet.values["mu"]), **{n: float(sheet.values[n]) for n in names}}
    sheet.notes += [f"τ² by {_NAMES[fit.method]}"] if fit.method in _NAMES else []
    return sheet.derivation(
        results,
        f"mean {fixed(fit.estimate, 4)}, {100 * fit.level:g}% interval {interval}, tau2 = {fixed(tau2, 4)}.",
    )


def _typical(sheet: Worksheet) -> None:
    sheet.columns(ai=1.0 / sheet.values["vi"])
    sheet.step(
        "s2typ",
        "typical sampling variance, with aᵢ = 1/vᵢ",
        "(k - 1)/(sum(ai) - sum(ai**2)/sum(ai))",
        source="Higgins & Thompson (2002), eq. 9",
    )


def _tau2(sheet: Worksheet, method: str, tau2: float, ones: np.ndarray) -> None:
    """The estimate of tau2, or both sides of its equation."""
    v = sheet.values["vi"]
    if method == "DL":
        sheet.columns(wi=1.0 / v)
        sheet.step("W", "sum of the weights wᵢ = 1/vᵢ", "sum(wi)")
        sheet.step("mu", "mean under a common effect", "sum(wi*yi)/W")
        sheet.step("Q", "Cochran's Q", "sum(wi*(yi - mu)**2)")
        sheet.step("C", "the constant that scales it", "W - sum(wi**2)/W")
        formula, source = "maximum(0, (Q - (k - 1))/C)", "DerSimonian & Laird (1986)"
    elif method == "HE":
        sheet.step("mu", "unweighted mean", "sum(yi)/k")
        formula, source = "maximum(0, sum((yi - mu)**2)/(k - 1) - sum(vi)/k)", "Hedges & Olkin (1985)"
    elif method == "HS":
        sheet.columns(wi=1.0 / v)
        sheet.step("W", "sum of the weights wᵢ = 1/vᵢ", "sum(wi)")
        sheet.step("mu", "mean under a common effect", "sum(wi*yi)/W")
        sheet.step("Q", "Cochran's Q", "sum(wi*(yi - mu)**2)")
        formula, source = "maximum(0, (Q - k)/W)", "Viechtbauer (2005)"
    elif method == "SJ" and np.ptp(sheet.values["yi"]) > 0:
        sheet.step("t0", "crude variance of the effects", "sum((yi - sum(yi)/k)**2)/k")
        sheet.columns(wi=1.0 / (v / sheet.values["t0"] + 1.0))
        sheet.notes.append("for τ², wᵢ = 1/(vᵢ/t₀ + 1)")
        sheet.step("mu", "weighted mean", "sum(wi*yi)/sum(wi)")
        formula, source = "sum(wi*(yi - mu)**2)/(k - 1)", "Sidik & Jonkman (2005)"
    else:
        sheet.found("tau2", f"between-study variance by {_NAMES.get(method, method)}, found by iteration", tau2)
        if method in ("REML", "ML", "PM", "EB"):
            w = 1.0 / (v + tau2)
            sheet.columns(wi=w)
            sheet.step("mu", "mean with the weights wᵢ = 1/(vᵢ + τ²)", "sum(wi*yi)/sum(wi)")
            _equation(sheet, method, "(yi - mu)", w / w.sum(), tau2)
        return
    sheet.step("tau2", "between-study variance", formula, source=source)
    sheet.matches("tau2", tau2)


def _equation(sheet: Worksheet, method: str, residual: str, hat: np.ndarray, tau2: float, p: str = "1") -> None:
    """Both sides of the equation whose root is tau2; at a root of 0 the left one may be smaller."""
    if method in ("PM", "EB"):
        left = sheet.step("L", "left side of the equation of τ²: the weighted squares", f"sum(wi*{residual}**2)")
        right = sheet.step("R", "right side: the degrees of freedom", f"k - {p}")
    else:
        left = sheet.step("L", "left side of the equation of τ²", f"sum(wi**2*{residual}**2)")
        if method == "REML":
            sheet.columns(hi=hat)
            right = sheet.step("R", "right side, with the leverages hᵢ", "sum(wi*(1 - hi))")
        else:
            right = sheet.step("R", "right side", "sum(wi)")
    if tau2 > 0:
        if not np.isclose(left, right, rtol=1e-5):
            raise RuntimeError(
                f"At tau2 = {tau2:.10g} the two sides of the {method} equation must be equal, but they are "
                f"{left:.10g} and {right:.10g}. This is a fault of metamiq: please report it with these numbers."
            )
        sheet.notes.append("τ² is the value at which the two sides L and R are equal")
    else:
        sheet.notes.append("even at τ² = 0 the left side L does not exceed the right side R, so τ² = 0")


def _standard_error(
    sheet: Worksheet, test: str, engine: float, *, dof: str, centred: str, own: bool, tau2: float
) -> None:
    if test in ("knha", "adhoc") and sheet.values["k"] > 1:
        weights, mean = "wi", centred
        if own:
            sheet.columns(ui=1.0 / (sheet.values["vi"] + tau2))
            weights = "ui"
            sheet.step("m0", "mean with the weights uᵢ = 1/(vᵢ + τ²)", "sum(ui*yi)/sum(ui)")
            mean = "(yi - m0)"
        formula = f"sum({weights}*{mean}**2)/({dof})"
        sheet.step(
            "scale2",
            "how far the effects spread beyond what the model says",
            f"maximum(1, {formula})" if test == "adhoc" else formula,
            source="Hartung & Knapp (2001); Sidik & Jonkman (2002)" if test == "knha" else "Knapp & Hartung (2003)",
        )
        sheet.step("Vq", "variance, scaled by it", "scale2*V")
    sheet.step("se", "standard error", "sqrt(Vq)" if "Vq" in sheet.values else "sqrt(V)")
    if sheet.values["k"] > 1:
        sheet.matches("se", engine)


def _quantile_name(dof: float | None) -> str:
    return "zcrit" if dof is None else "tcrit"


def _interval(sheet: Worksheet, centre: str, dof: float | None, level: float) -> None:
    name = _quantile_name(dof)
    if dof is None:
        sheet.step(name, f"normal quantile for a {100 * level:g}% interval", "zcritical(level)")
    else:
        sheet.values["df"] = dof
        sheet.step(name, f"quantile of t with {dof:g} degrees of freedom", "tcritical(level, df)")
    assert np.isclose(sheet.values[name], float(critical_value(level, dof)), equal_nan=True)
    sheet.step("ci_low", "lower limit", f"{centre} - {name}*se")
    sheet.step("ci_high", "upper limit", f"{centre} + {name}*se")


def explain_coefficient(fit: MetaRegression, term: str | None = None) -> Derivation:
    """Derive the slope of a meta-regression with an intercept and one moderator column, from weighted sums.

    Parameters
    ----------
    fit : MetaRegression
        From `meta_regression`, with one moderator that is a number or has two levels.
    term : str, optional
        Name of the coefficient, or of the moderator.

    Returns
    -------
    Derivation
        Results ``estimate se ci_low ci_high intercept tau2``.

    Raises
    ------
    ValueError
        If the model has another shape.

    Examples
    --------
    >>> import pandas as pd
    >>> from metamiq.pooling.regression import meta_regression
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> print(explain_coefficient(meta_regression(es, "dose")).conclusion)
    dose: 0.2312, 95% interval 0.1209 to 0.3415.
    """
    names = list(fit.names)
    if len(names) != 2 or "Intercept" not in names:
        raise ValueError(
            "explain works out a meta-regression with an intercept and one moderator column, but the model "
            f"{fit.formula!r} has the columns {', '.join(names)}. Fit the moderator alone."
        )
    column = 1 - names.index("Intercept")
    name = names[column]
    if term is not None and term not in (name, *fit.design.terms):
        raise ValueError(f"term must be {name!r}, not {term!r}.")
    x, y, v = fit.design.X[:, column], fit.source.yi, fit.source.vi
    w = 1.0 / (v + fit.tau2)
    sheet = Worksheet(f"Slope of {name}, k = {fit.k}: {fit.method}, test {fit.test}")
    sheet.columns(xi=x, yi=y, vi=v, wi=w)
    sheet.values |= {"k": float(fit.k), "level": fit.level}
    sheet.found("tau2", f"residual between-study variance by {_NAMES.get(fit.method, fit.method)}", fit.tau2)
    rows = zip(fit.source.labels(), x, y, v, w, strict=True)
    sheet.table = Table(
        ("study", "xi", "yi", "vi", "wi"),
        tuple((str(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in rows),
    )
    sheet.notes.append("the weights of the table are wᵢ = 1/(vᵢ + τ²)")
    if name != next(iter(fit.design.terms), name):
        sheet.notes.append(f"xᵢ is 1 for {name} and 0 for the level that it is compared with")
    sheet.step("W", "sum of the weights", "sum(wi)")
    sheet.step("mx", "weighted mean of the moderator", "sum(wi*xi)/W")
    sheet.step("my", "weighted mean of the effects", "sum(wi*yi)/W")
    sheet.step("Sxx", "weighted squares of the moderator", "sum(wi*(xi - mx)**2)")
    sheet.step("Sxy", "weighted products", "sum(wi*(xi - mx)*(yi - my))")
    sheet.step("b1", "slope", "Sxy/Sxx")
    sheet.matches("b1", float(fit.beta[column]), rtol=1e-7)
    sheet.step("b0", "intercept", "my - b1*mx")
    sheet.matches("b0", float(fit.beta[1 - column]), rtol=1e-7)
    sheet.columns(ei=y - sheet.values["b0"] - sheet.values["b1"] * x)
    sheet.notes.append("eᵢ = yᵢ − b₀ − b₁·xᵢ are the residuals")
    if fit.method in ("REML", "ML", "PM", "EB"):
        leverage = fit_tau2(fit.tables(), np.array([fit.tau2])).leverage()[0]
        _equation(sheet, fit.method, "ei", leverage, fit.tau2, p="2")
    sheet.step("V", "variance of the slope", "1/Sxx")
    _standard_error(
        sheet, fit.test, float(fit.cov[column, column]) ** 0.5, dof="k - 2", centred="ei", own=False, tau2=fit.tau2
    )
    _interval(sheet, "b1", fit.dof, fit.level)
    low, high = float(sheet.values["ci_low"]), float(sheet.values["ci_high"])
    sheet.matches("ci_low", float(fit.coefficients["ci_low"].to_numpy()[column]), rtol=1e-6)
    results = {
        "estimate": float(sheet.values["b1"]),
        "se": float(sheet.values["se"]),
        "ci_low": low,
        "ci_high": high,
        "intercept": float(sheet.values["b0"]),
        "tau2": float(fit.tau2),
    }
    return sheet.derivation(
        results,
        f"{name}: {fixed(results['estimate'], 4)}, {100 * fit.level:g}% interval {fixed(low, 4)} to {fixed(high, 4)}.",
    )
