"""Change within a group and pre-post-control designs: Morris (2008), other software, simulation."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from metamiq.effects.change import (
    log_ratio_of_means_change,
    mean_change,
    pre_post_control,
    standardized_mean_change,
)
from metamiq.errors import DataError

PRINTED_10 = {"rtol": 1e-9}  # other software's value at the ten digits it printed
TABLES = json.loads((Path(__file__).parent / "reference" / "datasets.json").read_text())["tables"]

# Morris (2008), Table 5: five training trials; m1i and sd1i are after, m2i and sd2i before training.
TREATED = pd.DataFrame(TABLES["morris2008_treated"]["columns"])
CONTROL = pd.DataFrame(TABLES["morris2008_control"]["columns"])
# Group 1 pre 3.34 (1.76), post 3.28 (2.07), n 34; group 2 pre 3.81 (1.79), post 8.43 (0.83), n 34.
ONE_TRIAL = (3.34, 1.76, 3.28, 2.07, 34), (3.81, 1.79, 8.43, 0.83, 34)


def arm(table: pd.DataFrame) -> list[pd.Series]:
    return [table[name] for name in ("m2i", "sd2i", "m1i", "sd1i", "ni")]


def raw_change(table: pd.DataFrame):
    return standardized_mean_change(
        table["m1i"], table["m2i"], table["sd2i"], None, table["ni"], table["ri"], standardiser="raw"
    )


def test_difference_of_raw_changes_on_morris_2008():
    """d_ppc1 of Table 5, printed 0.74 0.95 1.81 1.15 0.51."""
    treated, control = raw_change(TREATED), raw_change(CONTROL)
    yi, vi = treated.yi - control.yi, treated.vi + control.vi
    assert_allclose(yi, [0.742052438, 0.9523613689, 1.805406667, 1.151392247, 0.5050434383], **PRINTED_10)
    assert_allclose(vi, [0.1137878926, 0.04263768962, 0.2833051797, 0.1457806658, 0.1666787228], **PRINTED_10)


def test_pooled_pre_on_morris_2008():
    """d_ppc2 of Table 5, with the exact variance of eq. 25 and the large-sample one."""
    g = pre_post_control(*arm(TREATED), *arm(CONTROL), TREATED["ri"], standardiser="pooled_pre")
    assert_allclose(g.yi, [0.7684476468, 0.8009868481, 1.204516411, 1.047626736, 0.4389341925], **PRINTED_10)
    assert_allclose(g.vi[:2], [0.1157400056, 0.03537822151], **PRINTED_10)
    large = pre_post_control(*arm(TREATED), *arm(CONTROL), TREATED["ri"], standardiser="pooled_pre", vtype="LS")
    assert_allclose(large.vi, [0.1133813973, 0.03502970459, 0.1425238829, 0.06813147088, 0.1634404147], **PRINTED_10)


@pytest.mark.parametrize(
    ("standardiser", "size"), [("pooled_post", 2.93383), ("all_four", 2.75566), ("pooled_pre", 2.60645)]
)
def test_three_standardisers_of_one_trial(standardiser, size):
    """Comprehensive Meta-Analysis, R esc and Morris (2008), all with the approximate J; the trial favours group 2."""
    g = pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], 0.5, standardiser=standardiser, correction="approx")
    assert abs(-g.yi - size) < 0.5e-5
    exact = pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], 0.5, standardiser=standardiser)
    assert_allclose(exact.yi, g.yi, rtol=2e-5)


def test_change_score_standardiser_on_morris_2008():
    def change(table: pd.DataFrame):
        names = ["m1i", "m2i", "sd1i", "sd2i", "ni", "ri"]
        return standardized_mean_change(*(table[name] for name in names), standardiser="change")

    treated, control = change(TREATED), change(CONTROL)
    assert_allclose(treated.yi, [0.5416636992, 1.019802423, 2.661926907, 1.908772529, 0.07647421161], **PRINTED_10)
    assert_allclose(treated.vi, [0.05733498907, 0.03039996982, 0.5047697143, 0.2821706283, 0.07163743947], **PRINTED_10)
    assert_allclose(
        treated.yi - control.yi,
        [0.7629658083, 0.8979450378, 2.661926907, 1.351270244, 0.2890736199],
        **PRINTED_10,
    )


def test_smcrh_has_the_corrected_variance_and_mc_is_plain():
    """metafor 4.6 corrected the variance of SMCRH; this is its value."""
    x = 26, 22, 30**0.5, 20**0.5, 60, 0.7
    assert_allclose(standardized_mean_change(*x, standardiser="raw_h"), [0.7209671693, 0.01327912344], **PRINTED_10)
    assert_allclose(mean_change(*x), [4, 0.2617857267], **PRINTED_10)


@pytest.mark.parametrize("standardiser", ["pooled_pre", "pooled_post", "all_four"])
@pytest.mark.parametrize("r", [0.0, 0.7])
def test_the_exact_variance_is_that_of_simulated_trials(standardiser, r):
    """Made-up normal trials, 8 and 12 people, true effect 0.8: mean of vi against the variance of g, and bias."""
    rng = np.random.default_rng(11)
    trials, n1, n2, delta = 60_000, 8, 12, 0.8
    root = np.linalg.cholesky([[1, r], [r, 1]])
    x, y = (rng.standard_normal((trials, n, 2)) @ root.T for n in (n1, n2))
    x[:, :, 1] += delta

    def summary(z):
        mean, sd = z.mean(axis=1), z.std(axis=1, ddof=1)
        return mean[:, 0], sd[:, 0], mean[:, 1], sd[:, 1]

    g = pre_post_control(*summary(x), n1, *summary(y), n2, r, standardiser=standardiser)
    # The J of n1 + n2 - 2 corrects a little too much when four SDs are pooled: at most 2.5% here.
    assert abs(g.yi.mean() - delta) < (0.025 if standardiser == "all_four" else 0.01)
    assert abs(g.vi.mean() / g.yi.var() - 1) < 0.06


def test_correlation_is_required():
    with pytest.raises(TypeError, match="ri"):
        pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], standardiser="pooled_pre")
    with pytest.raises(DataError, match="ri must be given"):
        pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], None, standardiser="pooled_pre")
    with pytest.raises(DataError, match="ri must be a finite number, but row 1 has no value"):
        mean_change(26, 22, 5, 4, 60, np.nan)
    with pytest.raises(DataError, match="ri must lie strictly between -1 and 1, but row 1 has 1"):
        mean_change(26, 22, 5, 4, 60, 1.0)


def test_only_the_sds_of_the_standardiser_are_needed():
    pre, post = (3.34, 1.76, 3.28, None, 34), (3.81, 1.79, 8.43, None, 34)
    full = pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], 0.5, standardiser="pooled_pre")
    assert_allclose(pre_post_control(*pre, *post, 0.5, standardiser="pooled_pre"), full)
    with pytest.raises(DataError, match="sd1i_post must be given"):
        pre_post_control(*pre, *post, 0.5, standardiser="pooled_post")
    with pytest.raises(DataError, match="sd2i must be given"):
        standardized_mean_change(26, 22, 5, None, 60, 0.5, standardiser="change")


def test_two_people_are_too_few():
    assert np.isnan(standardized_mean_change(26, 22, 5, 4, 2, 0.5, standardiser="change").yi)
    g = pre_post_control(1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 0.5, standardiser="pooled_pre")
    assert np.isfinite(g.yi)
    assert np.isnan(g.vi)


def test_arms_swap_the_sign():
    for standardiser in ("pooled_pre", "pooled_post", "all_four"):
        there = pre_post_control(*ONE_TRIAL[0], *ONE_TRIAL[1], 0.5, standardiser=standardiser)
        back = pre_post_control(*ONE_TRIAL[1], *ONE_TRIAL[0], 0.5, standardiser=standardiser)
        assert_allclose([there.yi, there.vi], [-back.yi, back.vi], rtol=1e-12)


def test_ratio_of_means_at_two_times():
    yi, vi = log_ratio_of_means_change(26, 22, 5, 4, 60, 0.7)
    assert_allclose(yi, np.log(26 / 22))
    assert_allclose(vi, ((5 / 26) ** 2 + (4 / 22) ** 2 - 2 * 0.7 * (5 / 26) * (4 / 22)) / 60)
    with pytest.raises(DataError, match="same sign"):
        log_ratio_of_means_change(26, -22, 5, 4, 60, 0.7)
