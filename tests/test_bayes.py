"""The normal-normal hierarchical model: by hand, against bayesmeta's printed output, and what is true of any data."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, stats

from metamiq.errors import DataError
from metamiq.pooling import tau_priors
from metamiq.pooling.bayes import bayes_random_effects
from metamiq.pooling.mixtures import NormalMixture
from metamiq.pooling.models import fixed_effect
from metamiq.pooling.published_priors import published_tau_prior

CLOSED_FORM = {"rtol": 1e-10}
QUADRATURE = {"rtol": 1e-8}  # two quadratures of the same integral, each better than this

# Coaching in eight schools: Rubin (1981), Journal of Educational Statistics 6, 377-401, with the decimals that
# bayesmeta prints of it.
SCHOOLS = pd.DataFrame(
    {
        "study": list("ABCDEFGH"),
        "yi": [28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16],
        "vi": np.square([14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6]),
    }
)
# bayesmeta's introduction (package vignette, version of 2018) analyses them with a half-Cauchy(25) prior of tau and a
# normal(0, 50) prior of mu, and prints the numbers below.
FIT = bayes_random_effects(SCHOOLS, tau_prior="halfcauchy", tau_scale=25.0, mu_prior=(0.0, 50.0))

# Invented: six standardized mean differences.
YI = np.array([0.42, -0.10, 0.85, 0.33, 0.61, 0.05])
VI = np.array([0.05, 0.08, 0.06, 0.02, 0.11, 0.04])

PRIORS = {
    "half-normal": tau_priors.half_normal(0.5),
    "half-Cauchy": tau_priors.half_cauchy(0.4),
    "half-t": tau_priors.half_t(0.3, dof=4),
    "uniform": tau_priors.uniform(1.5),
    "inverse gamma": tau_priors.inverse_gamma(1.0, 0.15),
    "log-normal": tau_priors.log_normal(-2.56, 1.74),
    "log-t": tau_priors.log_t(-3.44, 2.59),
}
SCIPY = {
    "half-normal": stats.halfnorm(scale=0.5),
    "half-Cauchy": stats.halfcauchy(scale=0.4),
    "uniform": stats.uniform(0, 1.5),
}


def agrees(printed: str, computed: float) -> bool:
    """Whether `computed` rounds to `printed` at the precision that was printed."""
    half_unit = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent) / 2
    return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= half_unit


def by_brute_force(yi, vi, prior, mu_mean=0.0, mu_sd=None):
    """Log evidence, and posterior means of mu, mu^2 and tau: a fine rule in log tau of normal densities written out."""
    u = np.linspace(-30.0, 45.0, 30_001)
    tau = np.exp(u)
    total = vi[:, None] + tau**2
    w = 1.0 / total
    w0 = 0.0 if mu_sd is None else mu_sd**-2
    precision = w.sum(axis=0) + w0
    mean = ((w * yi[:, None]).sum(axis=0) + w0 * mu_mean) / precision
    # p(y) = p(y | mu) p(mu) / p(mu | y), at any mu; here at its mean given tau.
    log_l = -0.5 * (np.log(2 * np.pi * total) + (yi[:, None] - mean) ** 2 / total).sum(axis=0)
    log_l += 0.5 * np.log(2 * np.pi / precision)
    if mu_sd is not None:
        log_l += stats.norm.logpdf(mean, mu_mean, mu_sd)
    log_g = prior.log_density(u) + log_l + u
    top = log_g.max()
    g = np.exp(log_g - top) * (u[1] - u[0])
    g[0] /= 2
    g[0] += prior.below(u[:1])[0] * np.exp(log_l[0] - top)  # below tau = 1e-13 the likelihood is constant
    z = g.sum()
    return np.log(z) + top, *(float((g * f).sum() / z) for f in (mean, mean**2 + 1.0 / precision, tau))


class TestBayesmetaPrinted:
    """Rubin's eight schools, as bayesmeta prints them."""

    @pytest.mark.parametrize(
        ("printed", "computed"),
        [
            ("4.758539", lambda: FIT.tau.median),
            ("5.884511", lambda: FIT.tau.mean),
            ("4.869904", lambda: FIT.tau.sd),
            ("0.000000", lambda: FIT.tau.mode),
            ("15.165894", lambda: FIT.tau.interval(0.95, "shortest").high),
            ("0.2199559", lambda: FIT.tau.interval(0.95).low),
            ("18.0531718", lambda: FIT.tau.interval(0.95).high),
            ("15.16589", lambda: FIT.tau.quantile(0.95)),
        ],
    )
    def test_tau_to_the_last_digit(self, printed, computed):
        assert agrees(printed, computed())

    @pytest.mark.parametrize(
        ("printed", "computed"),
        [
            (7.962961, lambda: FIT.mu.median),
            (7.985729, lambda: FIT.mu.mean),
            (4.995762, lambda: FIT.mu.sd),
            (7.929503, lambda: FIT.mu.mode),
            (-1.823353, lambda: FIT.mu.interval(0.95, "shortest").low),
            (17.824562, lambda: FIT.mu.interval(0.95, "shortest").high),
            (16.11009, lambda: FIT.mu.quantile(0.95)),
            (0.9487521, FIT.probability),
        ],
    )
    def test_mu_within_bayesmeta_s_grid(self, printed, computed):
        # bayesmeta takes tau out of mu on a grid that is coarse by design (its delta and epsilon); 0.003 is 0.0006
        # posterior SD. The tests by brute force below decide the further digits.
        assert_allclose(computed(), printed, atol=0.003)

    @pytest.mark.parametrize(
        ("school", "median", "mean", "sd", "low", "high"),
        [
            ("A", 10.093581, 11.095255, 7.901084, -3.209562, 28.169723),
            ("G", 9.786985, 10.336032, 6.631039, -2.138807, 24.230908),
            ("H", 8.266594, 8.474644, 7.456906, -6.528854, 24.110315),
        ],
    )
    def test_shrunken_trials_within_bayesmeta_s_grid(self, school, median, mean, sd, low, high):
        effect = FIT.trial_effect(list("ABCDEFGH").index(school))
        computed = [effect.median, effect.mean, effect.sd, *effect.interval(0.95, "shortest")]
        assert_allclose(computed, [median, mean, sd, low, high], atol=0.03)  # 0.004 posterior SD: that grid again


class TestByHand:
    """Cases that can be worked out on paper, and integrals done a second way."""

    def test_double_integral_of_the_joint_density(self):
        y, s = SCHOOLS.yi.to_numpy(), np.sqrt(SCHOOLS.vi.to_numpy())

        def joint(mu: float, tau: float) -> float:
            spread = np.sqrt(s**2 + tau**2)
            likelihood = np.exp(-0.5 * ((y - mu) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
            prior = (
                np.exp(-0.5 * (mu / 50.0) ** 2) / (50.0 * np.sqrt(2 * np.pi)) * 2 / (np.pi * 25 * (1 + (tau / 25) ** 2))
            )
            return likelihood.prod() * prior * 1e14

        # The integrand is a plain product of normal densities. Beyond tau = 400 the rest is below 1e-12 of it.
        parts = [
            integrate.dblquad(joint, a, b, lambda t: 8 - 6 * (7 + t), lambda t: 8 + 6 * (7 + t), epsabs=0, epsrel=1e-9)[
                0
            ]
            for a, b in ((0, 8), (8, 40), (40, 400))
        ]
        assert_allclose(FIT.log_marginal_likelihood, np.log(sum(parts) / 1e14), rtol=1e-8)

    def test_evidence_by_sampling_the_prior(self):
        rng = np.random.default_rng(20181010)
        y, v = SCHOOLS.yi.to_numpy(), SCHOOLS.vi.to_numpy()
        n = 400_000
        tau, mu = np.abs(rng.standard_cauchy(n)) * 25.0, rng.normal(0.0, 50.0, n)
        log_l = np.zeros(n)
        for a, b in zip(y, v, strict=True):
            log_l += stats.norm.logpdf(a, mu, np.sqrt(b + tau**2))
        ratio = np.exp(log_l - FIT.log_marginal_likelihood)
        error = ratio.std() / np.sqrt(n)
        assert error < 0.01  # so that four of them are a narrow gate
        assert abs(ratio.mean() - 1.0) < 4 * error

    @pytest.mark.parametrize("name", PRIORS)
    @pytest.mark.parametrize("mu", [(0.0, None), (0.2, 0.7)])
    def test_posterior_moments_by_brute_force(self, name, mu):
        evidence, mean, square, tau = by_brute_force(YI, VI, PRIORS[name], *mu)
        # The fine rule cannot cut its cell at the upper limit of the uniform prior.
        tolerance = {"rtol": 1e-3} if name == "uniform" else QUADRATURE
        fit = bayes_random_effects(yi=YI, vi=VI, tau_prior=PRIORS[name], mu_prior=None if mu[1] is None else mu)
        assert_allclose(fit.log_marginal_likelihood, evidence, **tolerance)
        assert_allclose(fit.estimate, mean, **tolerance)
        assert_allclose(fit.se, np.sqrt(square - mean**2), **tolerance)
        assert_allclose(fit.tau.mean, tau, **tolerance)

    def test_improper_uniform_prior_by_brute_force(self):
        evidence, mean, square, tau = by_brute_force(YI, VI, tau_priors.uniform(None))
        fit = bayes_random_effects(yi=YI, vi=VI, tau_prior="uniform", tau_scale=None)
        assert_allclose(
            [fit.log_marginal_likelihood, fit.estimate, fit.se, fit.tau.mean],
            [evidence, mean, np.sqrt(square - mean**2), tau],
            **QUADRATURE,
        )

    def test_tiny_scale_is_the_fixed_effect(self):
        fit = bayes_random_effects(yi=YI, vi=VI, tau_scale=1e-9)
        fixed = fixed_effect(yi=YI, vi=VI)
        assert_allclose([fit.estimate, fit.se, *fit.ci()], [fixed.estimate, fixed.se, *fixed.ci()], **CLOSED_FORM)
        assert_allclose(fit.weights, fixed.weights, **CLOSED_FORM)
        assert_allclose(fit.tau.mean, 1e-9 * np.sqrt(2 / np.pi), **QUADRATURE)
        assert_allclose(fit.bf_tau_zero, 1.0, **QUADRATURE)

    def test_tiny_scale_with_a_normal_prior_is_conjugate(self):
        fit = bayes_random_effects(yi=YI, vi=VI, tau_scale=1e-9, mu_prior=(1.0, 0.2))
        precision = (1 / VI).sum() + 25.0
        mean = ((YI / VI).sum() + 25.0) / precision
        assert_allclose([fit.estimate, fit.se], [mean, precision**-0.5], **CLOSED_FORM)
        marginal = stats.multivariate_normal(np.full(6, 1.0), np.diag(VI) + 0.04)
        assert_allclose(fit.log_marginal_likelihood, marginal.logpdf(YI), **CLOSED_FORM)
        assert_allclose(fit.prior_weight, 25.0 / precision, **CLOSED_FORM)

    def test_one_trial_and_a_flat_mean_leave_the_prior_of_tau_as_it_was(self):
        fit = bayes_random_effects(yi=[0.3], vi=[0.04])
        p = np.array([0.01, 0.3, 0.5, 0.9, 0.999])
        assert_allclose(fit.tau.quantile(p), stats.halfnorm(scale=0.5).ppf(p), **QUADRATURE)
        assert_allclose([fit.estimate, fit.mu.median], 0.3, **CLOSED_FORM)
        assert_allclose(fit.se, np.sqrt(0.04 + 0.25), **QUADRATURE)  # E(v + tau^2)
        assert_allclose(fit.bf_tau_zero, 1.0, **QUADRATURE)

    def test_savage_dickey_ratios(self):
        """A Bayes factor of a point is posterior over prior density there (Dickey 1971)."""
        fit = bayes_random_effects(yi=YI, vi=VI, mu_prior=(0.1, 0.6))
        assert_allclose(fit.bf_mean_zero, fit.density_mu(0.0) / stats.norm.pdf(0.0, 0.1, 0.6), **QUADRATURE)
        assert_allclose(fit.bf_tau_zero, fit.density_tau(0.0) / stats.halfnorm.pdf(0.0, scale=0.5), **QUADRATURE)

    def test_bayes_factor_far_from_the_null(self):
        """Where the posterior of mu holds nothing at 0, the null is integrated on its own."""
        fit = bayes_random_effects(yi=YI + 4.0, vi=VI, mu_prior=(0.0, 5.0))
        tau = np.linspace(0, 12, 400_001)
        log_l = stats.norm.logpdf(YI[:, None] + 4.0, 0.0, np.sqrt(VI[:, None] + tau**2)).sum(axis=0)
        null = np.log(integrate.simpson(np.exp(log_l + 30) * stats.halfnorm.pdf(tau, scale=0.5), x=tau)) - 30
        assert_allclose(np.log(fit.bf_mean_zero), null - fit.log_marginal_likelihood, **QUADRATURE)

    def test_prediction_adds_tau(self):
        fit = bayes_random_effects(yi=YI, vi=VI)
        tau2 = fit.tau.sd**2 + fit.tau.mean**2
        assert_allclose(fit.new_effect.mean, fit.estimate, **CLOSED_FORM)
        assert_allclose(fit.new_effect.sd, np.sqrt(fit.se**2 + tau2), **CLOSED_FORM)
        assert fit.pi_low < fit.ci_low < fit.ci_high < fit.pi_high

    def test_shrunken_effects_by_brute_force(self):
        fit = bayes_random_effects(yi=YI, vi=VI)
        tau = np.linspace(1e-13, 4, 40_001)
        g = fit.density_tau(tau)
        h = fit.tau.hierarchy.given_tau(np.log(tau))
        b = VI[2] / (VI[2] + tau**2)
        mean = integrate.simpson(g * (b * h.mean + (1 - b) * YI[2]), x=tau)
        square = integrate.simpson(g * ((b * h.mean + (1 - b) * YI[2]) ** 2 + (1 - b) * VI[2] + (b * h.sd) ** 2), x=tau)
        row = fit.shrunken().iloc[2]
        assert_allclose([row.estimate, row.se], [mean, np.sqrt(square - mean**2)], **QUADRATURE)

    def test_precise_and_many_trials(self):
        """5000 invented trials: the posterior is a spike, and nearly normal around the maximum."""
        rng = np.random.default_rng(5)
        v = rng.uniform(0.02, 0.1, 5000)
        y = rng.normal(0.5, np.sqrt(v + 0.2))
        fit = bayes_random_effects(yi=y, vi=v)
        h = fit.tau.hierarchy
        tau = np.linspace(fit.tau.mode - 0.06, fit.tau.mode + 0.06, 801)
        log_g = stats.halfnorm.logpdf(tau, scale=0.5) + h.given_tau(np.log(tau)).log_marginal
        z = integrate.simpson(np.exp(log_g - log_g.max()), x=tau)
        assert_allclose(fit.log_marginal_likelihood, np.log(z) + log_g.max(), rtol=1e-10)
        assert_allclose(fit.tau.mean, integrate.simpson(tau * np.exp(log_g - log_g.max()), x=tau) / z, **QUADRATURE)


class TestPriors:
    @pytest.mark.parametrize("name", PRIORS)
    def test_integrates_to_one_and_agrees_with_its_own_areas(self, name):
        prior = PRIORS[name]
        for log_tau in (-2.0, -0.5, 0.3):
            u = np.array([log_tau])
            assert_allclose(prior.below(u) + prior.above(u), 1.0, **CLOSED_FORM)
            inside = integrate.quad(
                lambda t: float(prior.density(t)), np.exp(log_tau - 1), np.exp(log_tau), epsrel=1e-11
            )[0]
            assert_allclose(prior.below(u) - prior.below(u - 1), inside, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("name", SCIPY)
    def test_agrees_with_scipy(self, name):
        tau = np.array([0.0, 1e-3, 0.2, 1.0, 1.4])
        assert_allclose(PRIORS[name].density(tau), SCIPY[name].pdf(tau), **CLOSED_FORM)

    def test_inverse_gamma_and_log_normal_are_priors_of_tau2(self):
        tau = np.array([0.1, 0.4, 1.1])
        assert_allclose(
            PRIORS["inverse gamma"].density(tau), 2 * tau * stats.invgamma(1.0, scale=0.15).pdf(tau**2), **CLOSED_FORM
        )
        assert_allclose(
            PRIORS["log-normal"].density(tau),
            2 * tau * stats.lognorm(1.74, scale=np.exp(-2.56)).pdf(tau**2),
            **CLOSED_FORM,
        )

    def test_names_mean_the_same_as_the_functions(self):
        for name, prior in (("halfnormal", "half-normal"), ("halfcauchy", "half-Cauchy"), ("uniform", "uniform")):
            scale = {"halfnormal": 0.5, "halfcauchy": 0.4, "uniform": 1.5}[name]
            by_name = bayes_random_effects(yi=YI, vi=VI, tau_prior=name, tau_scale=scale)
            assert by_name.estimate == bayes_random_effects(yi=YI, vi=VI, tau_prior=PRIORS[prior]).estimate
        by_name = bayes_random_effects(yi=YI, vi=VI, tau_prior="invgamma", tau_scale=0.15, tau_shape=1.0)
        assert by_name.estimate == bayes_random_effects(yi=YI, vi=VI, tau_prior=PRIORS["inverse gamma"]).estimate

    def test_published_prior_in_words(self):
        # Rhodes et al. (2015), general setting: log tau2 has a t(5) distribution with location -3.44, scale 2.59.
        prior = published_tau_prior("SMD")
        assert_allclose(prior.below(np.array([-3.44 / 2])), 0.5, **CLOSED_FORM)
        upper = -3.44 + 2.59 * stats.t(5).ppf(0.975)
        assert_allclose(prior.above(np.array([upper / 2])), 0.025, **CLOSED_FORM)

    def test_unknown_published_prior_lists_the_known(self):
        with pytest.raises(ValueError, match="'mental health', 'non-pharmacological'"):
            published_tau_prior("SMD", "dropout", "any")
        with pytest.raises(ValueError, match="measure must be one of 'OR', 'SMD', not 'RR'"):
            published_tau_prior("RR")


class TestIntervals:
    @pytest.mark.parametrize("name", PRIORS)
    def test_shortest_is_shorter_and_holds_its_level(self, name):
        fit = bayes_random_effects(yi=YI, vi=VI, tau_prior=PRIORS[name])
        for posterior in (fit.mu, fit.tau, fit.new_effect):
            short, central = posterior.interval(0.9, "shortest"), posterior.interval(0.9)
            assert_allclose(np.diff(posterior.cdf(short)), 0.9, **QUADRATURE)
            assert short.high - short.low <= (central.high - central.low) * (1 + 1e-9)
            ends = posterior.pdf(short)
            assert short.low == 0.0 or short.high == 1.5 or np.isclose(*ends, rtol=1e-6)

    def test_fit_can_give_shortest_intervals_throughout(self):
        fit = bayes_random_effects(yi=YI, vi=VI, interval="shortest")
        assert fit.ci() == fit.mu.interval(0.95, "shortest")
        assert fit.tau_ci(0.8).low == 0.0
        assert fit.ci(kind="central") == bayes_random_effects(yi=YI, vi=VI).ci()

    def test_tau2_is_tau_squared(self):
        assert_allclose(FIT.tau2_ci(0.9), np.square(FIT.tau_ci(0.9)), **CLOSED_FORM)
        assert_allclose(FIT.tau2, FIT.tau.median**2, **CLOSED_FORM)

    def test_posterior_of_tau_ends_at_the_limit_of_a_uniform_prior(self):
        fit = bayes_random_effects(yi=[0.0, 3.0], vi=[0.1, 0.1], tau_prior="uniform", tau_scale=1.0)
        assert fit.tau.cdf(1.0) == 1.0
        assert fit.tau.quantile(1.0) == 1.0
        assert fit.tau.interval(0.9, "shortest").high == 1.0
        assert fit.density_tau(1.0001) == 0.0

    def test_heavy_tails_leave_no_moments_but_a_median(self):
        fit = bayes_random_effects(yi=[0.1, 0.5, 0.2], vi=[0.04, 0.02, 0.05], tau_prior="uniform", tau_scale=None)
        assert np.isnan(fit.estimate)
        assert fit.tau.mean == np.inf
        assert np.isfinite([fit.mu.median, fit.tau.median, *fit.ci(), *fit.pi()]).all()
        assert np.isnan(fit.bf_tau_zero)
        four = bayes_random_effects(
            yi=[0.1, 0.5, 0.2, 0.3], vi=[0.04, 0.02, 0.05, 0.1], tau_prior="uniform", tau_scale=None
        )
        assert np.isfinite(four.estimate)
        assert four.se == np.inf

    def test_cauchy_tail_of_one_trial(self):
        """One trial, flat mean, half-Cauchy tau: the posterior of tau is the prior out to its far tail."""
        fit = bayes_random_effects(yi=[0.0], vi=[1.0], tau_prior="halfcauchy", tau_scale=1.0)
        p = np.array([0.025, 0.5, 0.975, 0.99999])
        assert_allclose(fit.tau.quantile(p), stats.halfcauchy.ppf(p), **QUADRATURE)

    def test_mixture_of_two_peaks(self):
        mixture = NormalMixture(np.array([0.5, 0.5]), np.array([-3.0, 3.0]), np.array([1.0, 0.5]))
        p = np.array([1e-9, 0.2, 0.5, 0.8, 1 - 1e-9])
        assert_allclose(mixture.cdf(mixture.quantile(p)), p, rtol=1e-9)
        assert_allclose(mixture.mode, 3.0, atol=1e-6)
        assert list(mixture.quantile([0.0, 1.0])) == [-np.inf, np.inf]


class TestRecord:
    def test_frame_has_the_closed_set_of_columns(self):
        frame = FIT.to_frame()
        assert list(frame.columns) == [
            *("estimate", "se", "statistic", "dof", "p_value", "ci_low", "ci_high", "pi_low", "pi_high")
        ]
        assert frame.index.tolist() == ["mean"]
        assert frame.loc["mean", ["statistic", "dof", "p_value"]].isna().all()
        assert frame.loc["mean", "ci_low"] == FIT.ci_low

    def test_answers_to_the_names_of_every_fit(self):
        assert (FIT.method, FIT.test, FIT.dof, FIT.k, FIT.n_studies, FIT.level) == ("bayes", "none", None, 8, 8, 0.95)
        assert FIT.effects.equals(SCHOOLS)
        assert FIT.shrunken().index.tolist() == list("ABCDEFGH")

    def test_is_frozen(self):
        with pytest.raises(AttributeError):
            FIT.level = 0.9
        with pytest.raises(ValueError, match="read-only"):
            FIT.weights[0] = 1.0

    def test_summary_says_priors_and_probability(self):
        text = FIT.summary()
        assert "priors: mean normal(mean 0, sd 50); tau half-Cauchy(scale 25)" in text
        assert "P(mean > 0) = 0.9488" in text
        assert "Bayes factor for tau = 0:" in text
        assert "mean = 0:" in text

    def test_summary_of_log_ratios_gives_the_ratio(self):
        effects = pd.DataFrame({"yi": YI, "vi": VI})
        effects.attrs["measure"] = "OR"
        fit = bayes_random_effects(effects)
        assert f"ratio {np.exp(fit.estimate):.3f}, {np.exp(fit.ci_low):.3f} to" in fit.summary()

    def test_flat_mean_has_no_bayes_factor_of_the_mean(self):
        fit = bayes_random_effects(yi=YI, vi=VI)
        assert np.isnan(fit.bf_mean_zero)
        assert "mean = 0" not in fit.summary()

    def test_estimate_is_the_weighted_mean(self):
        with_prior = bayes_random_effects(yi=YI, vi=VI, mu_prior=(0.9, 0.3))
        assert_allclose(with_prior.weights @ YI + 0.9 * with_prior.prior_weight, with_prior.estimate, **CLOSED_FORM)
        assert_allclose(with_prior.weights.sum() + with_prior.prior_weight, 1.0, **CLOSED_FORM)
        assert_allclose(bayes_random_effects(yi=YI, vi=VI).weights.sum(), 1.0, **CLOSED_FORM)

    def test_densities_and_areas_agree(self):
        fit = bayes_random_effects(yi=YI, vi=VI)
        for x, (density, area) in {
            0.4: (fit.density_mu, fit.cdf_mu),
            0.21: (fit.density_tau, fit.cdf_tau),
        }.items():
            inside = integrate.quad(lambda t, f=density: float(f(t)), x, x + 0.2, epsrel=1e-11)[0]
            assert_allclose(area(x + 0.2) - area(x), inside, **QUADRATURE)
        assert fit.density_tau(-0.1) == 0.0
        assert fit.cdf_tau(-0.1) == 0.0
        assert fit.cdf_tau(0.0) == 0.0
        assert_allclose(fit.probability(0.4), 1 - fit.cdf_mu(0.4), **CLOSED_FORM)


class TestErrors:
    @pytest.mark.parametrize("k", [1, 2])
    def test_improper_prior_needs_three_trials(self, k):
        with pytest.raises(
            DataError, match=f"k must be at least 3 .* flat prior of the mean, but k = {k}. Give tau_scale"
        ):
            bayes_random_effects(yi=YI[:k], vi=VI[:k], tau_prior="uniform", tau_scale=None)

    def test_improper_prior_with_a_normal_mean_needs_two(self):
        with pytest.raises(DataError, match=r"k must be at least 2 .* a normal prior of the mean, but k = 1"):
            bayes_random_effects(yi=[0.1], vi=[0.1], tau_prior="uniform", tau_scale=np.inf, mu_prior=(0, 1))
        fit = bayes_random_effects(yi=YI[:2], vi=VI[:2], tau_prior="uniform", tau_scale=None, mu_prior=(0, 1))
        assert np.isfinite(fit.estimate)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tau_prior": "jeffreys"}, "tau_prior must be one of 'halfcauchy', .* not 'jeffreys'"),
            ({"tau_scale": 0.0}, "tau_scale must be a finite number greater than 0, not 0.0"),
            ({"tau_scale": None}, "tau_scale must be .* not None"),
            ({"tau_prior": "invgamma"}, "tau_shape must be given with tau_prior='invgamma'"),
            ({"tau_shape": 2.0}, "and with no other"),
            ({"mu_prior": (0.0, 0.0)}, "mu_prior must be a finite mean"),
            ({"mu_prior": (np.nan, 1.0)}, "mu_prior must be a finite mean"),
            ({"level": 95}, "level must lie between 0 and 1, not 95"),
            ({"interval": "hpd"}, "interval must be one of 'central', 'shortest', not 'hpd'"),
        ],
    )
    def test_bad_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            bayes_random_effects(yi=YI, vi=VI, **options)

    def test_bad_rows_are_named(self):
        with pytest.raises(DataError, match="'B' has yi = nan"):
            bayes_random_effects(SCHOOLS.assign(yi=[1.0, np.nan, *range(6)]))

    def test_bad_questions(self):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            FIT.ci(1.5)
        with pytest.raises(ValueError, match="probability must lie between 0 and 1"):
            FIT.mu.quantile(1.2)
        with pytest.raises(ValueError, match="probability must lie between 0 and 1"):
            FIT.tau.quantile(-0.1)


# Invented tables: up to 20 effects, variances over six orders of magnitude, heterogeneity from none to huge.
TABLES = st.builds(
    lambda seed, k, spread: (seed, k, spread),
    st.integers(0, 2**32 - 1),
    st.integers(2, 20),
    st.sampled_from([0.0, 0.1, 1.0, 30.0]),
)


def invented(table):
    seed, k, spread = table
    rng = np.random.default_rng(seed)
    v = 10.0 ** rng.uniform(-4, 2, k)
    return rng.normal(0.3, np.sqrt(v + spread**2)), v


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from(["half-normal", "half-Cauchy", "inverse gamma", "log-normal", "log-t"]))
def test_any_table_agrees_with_brute_force(table, name):
    y, v = invented(table)
    evidence, mean, _, _ = by_brute_force(y, v, PRIORS[name], 0.0, 2.0)
    fit = bayes_random_effects(yi=y, vi=v, tau_prior=PRIORS[name], mu_prior=(0.0, 2.0))
    assert_allclose(fit.log_marginal_likelihood, evidence, rtol=1e-8, atol=1e-8)
    assert_allclose(fit.estimate, mean, rtol=1e-7, atol=1e-8 * fit.se)


@settings(max_examples=40, deadline=None)
@given(TABLES, st.floats(-50, 50), st.floats(1e-3, 1e3))
def test_shift_and_scale(table, shift, scale):
    y, v = invented(table)
    a = bayes_random_effects(yi=y, vi=v)
    b = bayes_random_effects(yi=scale * y + shift, vi=scale**2 * v, tau_scale=0.5 * scale)
    tolerance = {"rtol": 1e-8, "atol": 1e-8 * scale * a.se + 1e-12 * abs(shift)}
    assert_allclose(b.estimate, scale * a.estimate + shift, **tolerance)
    assert_allclose(b.se, scale * a.se, rtol=1e-7)
    assert_allclose(b.tau.median, scale * a.tau.median, rtol=1e-7)
    assert_allclose(b.ci(), scale * np.array(a.ci()) + shift, **tolerance)


@settings(max_examples=40, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(table, random):
    y, v = invented(table)
    order = list(range(len(y)))
    random.shuffle(order)
    a, b = bayes_random_effects(yi=y, vi=v), bayes_random_effects(yi=y[order], vi=v[order])
    assert_allclose(b.estimate, a.estimate, rtol=1e-9, atol=1e-9 * a.se)
    assert_allclose(b.pi(), a.pi(), rtol=1e-8, atol=1e-9 * a.se)
    assert_allclose(b.weights, a.weights[order], rtol=1e-8, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from(sorted(PRIORS)))
def test_quantiles_undo_areas(table, name):
    y, v = invented(table)
    fit = bayes_random_effects(yi=y, vi=v, tau_prior=PRIORS[name])
    p = np.array([0.001, 0.025, 0.5, 0.975, 0.999])
    for posterior in (fit.mu, fit.tau, fit.new_effect, fit.trial_effect(0)):
        assert_allclose(posterior.cdf(posterior.quantile(p)), p, rtol=1e-9)
        assert (np.diff(posterior.quantile(p)) > 0).all()


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_changing_sides_changes_the_sign(table):
    y, v = invented(table)
    a, b = bayes_random_effects(yi=y, vi=v), bayes_random_effects(yi=-y, vi=v)
    assert_allclose(b.estimate, -a.estimate, rtol=1e-9, atol=1e-9 * a.se)
    assert_allclose(b.probability(), a.cdf_mu(0.0), rtol=1e-8, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_shrunken_effects_lie_between_the_trial_and_the_mean(table):
    y, v = invented(table)
    fit = bayes_random_effects(yi=y, vi=v)
    for i in range(len(y)):
        effect = fit.trial_effect(i)
        means = effect.means  # given each tau: a convex combination of yi and the mean given that tau
        low, high = np.minimum(y[i], fit.mu.means), np.maximum(y[i], fit.mu.means)
        slack = 1e-12 * (1 + np.abs(y[i]))
        assert ((means >= low - slack) & (means <= high + slack)).all()
        assert effect.sd > 0


@pytest.mark.parametrize("prior", ["halfnormal", "halfcauchy", "uniform", "invgamma"])
def test_a_fit_goes_to_another_process_and_back(prior):
    import pickle

    options = {"tau_scale": 0.5} | ({"tau_shape": 1.0} if prior == "invgamma" else {})
    fit = bayes_random_effects(yi=[0.1, 0.5, 0.3], vi=[0.04, 0.04, 0.04], tau_prior=prior, **options)
    again = pickle.loads(pickle.dumps(fit))
    assert (again.estimate, again.ci(), again.pi(0.9)) == (fit.estimate, fit.ci(), fit.pi(0.9))
    assert repr(again.tau_prior) == repr(fit.tau_prior)
