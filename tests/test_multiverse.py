"""The multiverse: every specification is the fit that it says; searches find what was planted."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.effects.choice import PrimaryRule
from metamiq.sensitivity.choices import choices_of

SAME = {"rtol": 1e-6, "atol": 1e-9}  # one search alone, or among many
NUMBERS = ["estimate", "se", "ci_low", "ci_high", "p_value", "tau2"]


@pytest.fixture(scope="module")
def ds():
    return mm.load_dataset("mi_cbt_anxiety")


@pytest.fixture(scope="module")
def whole(ds):
    return mm.multiverse(ds)


def made_up(seed, k=12):
    """A made-up set of k trials with means and SDs."""
    rng = np.random.default_rng(seed)
    n1, n2 = rng.integers(18, 60, k), rng.integers(18, 60, k)
    sd = rng.uniform(6, 12, k)
    m2 = rng.uniform(40, 60, k)
    g = rng.normal(0.4, 0.15, k) + rng.normal(0, np.sqrt(1 / n1 + 1 / n2))
    return pd.DataFrame(
        {
            "study": [f"trial {i + 1}" for i in range(k)],
            "m1i": (m2 + g * sd).round(1),
            "sd1i": (sd * rng.uniform(0.9, 1.1, k)).round(1),
            "n1i": n1,
            "m2i": m2.round(1),
            "sd2i": sd.round(1),
            "n2i": n2,
        }
    )


def test_choices_of_the_bundled_dataset_are_read_and_reasoned(ds):
    choices = mm.read_choices(ds.path / "choices.toml")
    assert len(choices) == 13
    assert all(c.question.endswith(("?", ".)")) for c in choices)
    assert all(option.why for c in choices for option in c.options)
    assert {"bundled", "self-guided", "population", "comparator", "published"} <= {c.name for c in choices}


def test_the_first_row_is_the_primary_analysis(ds, whole):
    fit = mm.random_effects_bounded(mm.trial_effects(ds))
    row = whole.table.iloc[0]
    assert [row[c.name] for c in whole.choices if c.name not in ("estimator", "interval")] == [
        c.options[0].name for c in whole.choices if c.name not in ("estimator", "interval")
    ]
    assert row["model"] == "ML, LR"
    ours = [fit.estimate, fit.se, *fit.ci(), fit.p_value, fit.tau2]
    assert_allclose(row[NUMBERS].astype(float), ours, **SAME)
    assert (row["k_points"], row["k_bounds"]) == (fit.k_points, fit.k_bounds)
    assert set(whole.members(0)) == set(fit.labels)


def test_rows_are_the_fits_that_they_say(ds, whole):
    table = whole.table
    here = table[
        (table["verdicts"] == "as bounds")
        & (table["variance"] == "LS2")
        & (table["outcome"] == "self-report first")
        & (table["time point"] == "merlo2010 after 4 sessions")
        & (table["arm sizes"] == "known only")
        & (table["titov2010"] == "the same, turned round")
        & (table["bundled"] == "does not")
        & (table["self-guided"] == "count")
        & (table["population"] == "no students")
        & (table["comparator"] == "any CBT")
        & (table["published"] == "all")
    ]
    assert len(here) == 1  # estimator and interval do not apply
    effects = mm.trial_effects(
        ds,
        choice={"merlo2010": "merlo2010-change-mid", "titov2010": "titov2010-social-post-nma"},
        assume=False,
        vtype="LS2",
        rule=PrimaryRule(raters=("self",)),
    )
    effects.loc[effects["trial_id"] == "titov2010", "yi"] *= -1
    effects = effects[(effects["population"] != "university students") & (effects["trial_id"] != "meyer2010")]
    fit = mm.random_effects_bounded(effects)
    row = here.iloc[0]
    assert_allclose(
        row[NUMBERS].astype(float), [fit.estimate, fit.se, *fit.ci(), fit.p_value, fit.tau2], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("treatment", "estimator", "interval"),
    [("ns as 0, significant as p = .05", "DL", "normal"), ("ns as 0", "REML", "Hartung-Knapp")],
)
def test_conventions_for_verdicts_by_hand(ds, whole, treatment, estimator, interval):
    table = whole.table
    chosen = {c.name: c.options[0].name for c in whole.choices}
    chosen |= {"verdicts": treatment, "estimator": estimator, "interval": interval}
    row = table[np.logical_and.reduce([table[name] == value for name, value in chosen.items()])]
    assert len(row) == 1
    effects = mm.trial_effects(ds)
    entered = []
    for e in effects.itertuples():
        if e.kind == "point":
            entered.append((e.yi, e.vi))
            continue
        value = 0.0 if e.report == "nonsignificant" else e.yi_low
        if e.report == "direction" or (value > 0 and treatment == "ns as 0"):
            continue
        entered.append((value, 1 / e.n1i + 1 / e.n2i + value**2 / (2 * (e.n1i + e.n2i))))
    yi, vi = np.transpose(entered)
    fit = mm.random_effects(yi=yi, vi=vi, method=estimator, test={"normal": "z"}.get(interval, "knha"))
    ours = [fit.estimate, fit.se, *fit.ci(), fit.p_value, fit.tau2]
    assert_allclose(row.iloc[0][NUMBERS].astype(float), ours, **SAME)
    assert row.iloc[0]["k_points"] == len(yi)


def test_the_bundled_multiverse_is_complete(whole):
    # One specification with bounds stands for all estimators and intervals.
    assert whole.table["stands_for"].sum() == 186_624
    shares = whole.share(0.59)
    assert shares[["interval_below", "interval_around", "interval_above"]].sum() == pytest.approx(1)
    words = whole.summary(0.59)
    assert "distinct fits" in words
    assert "0.59: " in words


def test_ten_thousand_specifications():
    rng = np.random.default_rng(0)  # made-up numbers
    es = pd.DataFrame(
        {"study": [f"s{i}" for i in range(12)], "yi": rng.normal(0.4, 0.4, 12), "vi": rng.uniform(0.02, 0.1, 12)}
    )
    choices = {
        "estimator": {m: {"method": m} for m in ("REML", "DL", "PM", "ML", "FE")},
        "interval": {t: {"test": t} for t in ("knha", "z")},
        **{f"with s{i}": {"yes": {}, "no": {"without": [f"s{i}"]}} for i in range(10)},
    }
    result = mm.multiverse(es, choices)
    assert len(result.table) == 10_240
    picked = result.table.iloc[7_777]
    rows = es[es["study"].isin(result.members(7_777))]
    fit = mm.random_effects(rows, method=picked["estimator"], test=picked["interval"])
    ours = [fit.estimate, fit.se, *fit.ci(), fit.p_value, fit.tau2]
    assert_allclose(picked[NUMBERS].astype(float), ours, **SAME)
    assert picked["k_points"] == len(rows)


def test_bits_are_the_same_whatever_the_workers(ds, whole):
    joblib = pytest.importorskip("joblib")
    pd.testing.assert_frame_equal(mm.multiverse(ds, n_jobs=2).table, whole.table, check_exact=True)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        pd.testing.assert_frame_equal(mm.multiverse(ds).table, whole.table, check_exact=True)


def test_a_local_dask_cluster_gives_the_same_bits(ds, whole):
    joblib = pytest.importorskip("joblib")
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        pd.testing.assert_frame_equal(mm.multiverse(ds).table, whole.table, check_exact=True)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_a_number_of_workers_that_is_none_is_an_error(ds, n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be a whole number"):
        mm.multiverse(ds, n_jobs=n_jobs)


def test_decomposition_shares_and_curve_by_hand():
    es = pd.DataFrame({"study": list("abc"), "yi": [0.0, 0.2, 1.0], "vi": [0.1, 0.1, 0.1]})  # made-up numbers
    result = mm.multiverse(
        es,
        {
            "estimator": {"fixed": {"method": "FE"}, "REML": {"method": "REML"}},
            "trials": {"all": {}, "without c": {"without": ["c"]}},
        },
    )
    # Equal variances: both estimators give the plain mean.
    assert_allclose(result.table["estimate"], [0.4, 0.1, 0.4, 0.1], rtol=1e-9)
    table = result.decomposition()
    assert table.index.tolist() == ["trials", "estimator"]
    assert_allclose(table["eta2"], [100.0, 0.0], atol=1e-9)
    assert (table.loc["trials", "lowest"], table.loc["trials", "highest"]) == ("without c", "all")
    assert table.loc["trials", "span"] == pytest.approx(0.3)
    assert_allclose(result.curve()["estimate"], [0.1, 0.1, 0.4, 0.4], rtol=1e-9)
    assert result.share(0.2)["estimate_below"] == 0.5
    options = result.options()
    assert options.loc[
        ("trials", "without c"), ["specifications", "mean", "lowest", "highest"]
    ].tolist() == pytest.approx([2, 0.1, 0.1, 0.1])
    assert options.loc[("estimator", "fixed"), "mean"] == pytest.approx(0.25)
    # 0.4 +- 1.96 sqrt(0.1 / 3) with the default test's t(2): nothing excludes 0.
    assert (options["interval_above"] == 0).all()
    assert result.nearest(0.35, 1)["trials"].tolist() == ["all"]


def test_specifications_that_cannot_be_fitted_are_kept_and_counted():
    es = pd.DataFrame({"study": list("ab"), "yi": [0.1, 0.2], "vi": [0.1, 0.1], "kind": ["x", "y"]})
    result = mm.multiverse(
        es,
        {
            "one": {"all": {}, "no x": {"without_where": {"kind": "x"}}},
            "two": {"all": {}, "no y": {"without_where": {"kind": "y"}}},
        },
    )
    assert np.isnan(result.table["estimate"]).tolist() == [False, False, False, True]
    assert result.table["k_points"].tolist() == [2, 1, 1, 0]
    assert "1 specification cannot be fitted" in result.summary()


def test_a_study_table_may_choose_its_measure():
    table = made_up(1, 6)
    result = mm.multiverse(table, {"formula": {v: {"measure": "SMD", "vtype": v} for v in ("LS", "UB")}})
    for name, row in zip(("LS", "UB"), result.table.itertuples(), strict=True):
        fit = mm.random_effects(mm.effect_sizes(table, "SMD", vtype=name))
        assert row.estimate == pytest.approx(fit.estimate, rel=1e-7)


def test_a_bundled_study_table_may_be_named():
    ds = mm.load_dataset("normand1999")
    result = mm.multiverse(ds, {"formula": {v: {"measure": "SMD", "vtype": v} for v in ("LS", "UB")}})
    fit = mm.random_effects(mm.effect_sizes(ds.trials, "SMD"))
    assert result.table["estimate"].iloc[0] == pytest.approx(fit.estimate, rel=1e-7)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), keep=st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_order_of_choices_does_not_matter(seed, keep):
    rng = np.random.default_rng(seed)
    es = pd.DataFrame({"study": list("abcdef"), "yi": rng.normal(0.3, 0.3, 6), "vi": rng.uniform(0.02, 0.1, 6)})
    choices = {"estimator": {"DL": {"method": "DL"}, "FE": {"method": "FE"}}}
    choices |= {f"with {s}": {"yes": {}, "no": {"without": [s]}} for s, k in zip("abcd", keep, strict=True) if k}
    one = mm.multiverse(es, choices).table
    two = mm.multiverse(es, dict(reversed(choices.items()))).table
    assert_allclose(sorted(one["estimate"]), sorted(two["estimate"]), rtol=1e-9, atol=1e-12)


def test_faults_of_choices(ds, tmp_path):
    es = pd.DataFrame({"study": list("ab"), "yi": [0.1, 0.2], "vi": [0.1, 0.1]})
    with pytest.raises(mm.DataError) as error:
        choices_of(
            {
                "a": {"x": {"methode": "DL"}, "y": {"verdicts": "guess"}},
                "b": {"x": {"method": 3}},
                "c": {"x": {"vtype": "LS"}, "y": {}},
                "d": {"x": {"vtype": "UB"}, "y": {}},
            }
        )
    for fault in (
        "not 'methode'",
        "verdicts must be one of 'bounds', 'drop', 'zeros', 'zeros and thresholds', not 'guess'",
        "choice 'b' must have at least two options, but it has 1",
        "method must be of type str, not 3",
        "vtype must be set by one choice, but 'c' and 'd' both set it",
    ):
        assert fault in str(error.value)
    two = {"x": {}, "y": {"without": ["z"]}}
    with pytest.raises(mm.DataError, match="'z' is not one of a, b"):
        mm.multiverse(es, {"a": two})
    with pytest.raises(mm.DataError, match="no trial has 'moon'"):
        mm.multiverse(ds, {"a": {"x": {}, "y": {"only": {"country": "moon"}}}})
    with pytest.raises(mm.DataError, match="'size' is not one of them"):
        mm.multiverse(ds, {"a": {"x": {}, "y": {"only": {"size": "big"}}}})
    with pytest.raises(mm.DataError, match="raters cannot be set for a study table"):
        mm.multiverse(es, {"a": {"x": {}, "y": {"raters": ["self"]}}})
    with pytest.raises(mm.DataError, match="set results of merlo2010 differently"):
        mm.multiverse(
            ds,
            {
                "a": {"x": {}, "y": {"results": {"merlo2010": "merlo2010-change-mid"}}},
                "b": {"x": {}, "y": {"results": {"merlo2010": "merlo2010-score-mid"}}},
            },
        )
    with pytest.raises(ValueError, match="method must be one of"):
        mm.multiverse(es, {"a": {"x": {"method": "DL"}, "y": {"method": "nonsense"}}})
    with pytest.raises(mm.DataError, match="there must be at least one choice"):
        mm.multiverse(es, [])
    with pytest.raises(mm.DataError, match="yi must hold numbers"):
        mm.multiverse(es.assign(yi=["a", "b"]), {"e": {"DL": {"method": "DL"}, "FE": {"method": "FE"}}})
    with pytest.raises(ValueError, match="A table has no choices of its own"):
        mm.multiverse(es)
    with pytest.raises(ValueError, match="name of a result, but estimate does"):
        mm.multiverse(es, {"estimate": two})
    with pytest.raises(ValueError, match="At most 2,000,000 specifications"):
        mm.multiverse(es, {f"c{i}": {"x": {}, "y": {}} for i in range(25)})
    with pytest.raises(mm.DataError, match=r"choices\.toml was not found"):
        mm.multiverse(mm.load_dataset("bcg"))
    broken = tmp_path / "choices.toml"
    broken.write_text("[[choice]\n", encoding="utf-8")
    with pytest.raises(mm.DataError, match="must be TOML"):
        mm.read_choices(broken)


def test_sets_near_is_the_search_by_brute_force():
    table = made_up(5, 6)
    choices = {
        "estimator": {"REML": {"method": "REML"}, "fixed": {"method": "FE"}},
        "formula": {v: {"measure": "SMD", "vtype": v} for v in ("LS", "LS2")},
        "ignored": {"all": {}, "some": {"without": ["trial 1"]}},
    }
    expected = set()
    estimates = []
    for method, vtype in itertools.product(("REML", "FE"), ("LS", "LS2")):
        es = mm.effect_sizes(table, "SMD", vtype=vtype)
        for size in range(1, 7):
            for rows in itertools.combinations(range(6), size):
                estimate = mm.random_effects(es.iloc[list(rows)], method=method, test="z").estimate
                estimates.append(estimate)
                if abs(estimate - 0.4) <= 0.005:
                    expected.add((method, vtype, tuple(es["study"].iloc[list(rows)])))
    found = mm.sets_near(table, 0.4, choices)
    assert expected
    assert found.searched == len(estimates) == 4 * 63
    assert set(zip(found.table["model"], found.table["formula"], found.table["trials"], strict=True)) == expected
    assert found.matched == len(expected)
    assert found.table["distance"].is_monotonic_increasing
    # Every trial is in 32 of the 63 sets.
    assert_allclose(found.common.loc["trial", "in_all"], 32 / 63)
    exact = mm.sets_near(table, 0.4, choices, size=3)
    assert (exact.table["k"] == 3).all()
    far = mm.sets_near(table, 9.0, choices, n=7)
    assert (far.matched, len(far.table)) == (0, 7)
    assert far.table["estimate"].iloc[0] == pytest.approx(max(estimates))
    assert "None gives 9 when rounded; nearest: " in far.summary()


def test_which_sets_of_early_trials_give_the_published_value(ds):
    trials = ds.trials
    early = trials[(trials["role"] == "candidate") & (trials["published_by_2018_04"] == "yes")]["trial_id"]
    choices = [c for c in mm.read_choices(ds.path / "choices.toml") if c.name in ("verdicts", "estimator")]
    found = mm.sets_near(ds, 0.59, choices, among=list(early))
    assert len(found.among) == 9
    assert found.matched > 0
    best = found.table.iloc[0]
    effects = mm.trial_effects(ds)
    fit = mm.random_effects_bounded(effects[effects["trial_id"].isin(best["trials"])])
    assert best["model"] == "ML"
    assert_allclose(best["estimate"], fit.estimate, rtol=1e-6)
    assert abs(fit.estimate - 0.59) <= 0.005
    # Conventions that enter "not significant" as 0 never come so high.
    assert set(found.table["verdicts"]) == {"as bounds"}
    # Among fits with bounds every trial is in half of the sets (256 of 511; a few sets have no maximum).
    assert_allclose(found.common.loc["trial", "in_all"], 0.5, atol=0.05)
    with pytest.raises(mm.DataError, match="At most 16 trials"):
        mm.sets_near(made_up(1, 17).assign(yi=0.1, vi=0.1), 0.1, {"e": {"a": {"method": "DL"}, "b": {"method": "FE"}}})
    with pytest.raises(mm.DataError, match="among must name trials"):
        mm.sets_near(ds, 0.59, choices, among=["nobody2000"])


PLANTED = ["arms swapped", "SE entered as SD"]


@pytest.mark.parametrize("error", PLANTED)
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_error_in_twelve_made_up_trials_is_named(error, seed):
    right = made_up(seed)
    published = mm.random_effects(mm.effect_sizes(right, "SMD"))
    bad = 3 + 2 * seed
    entered = right.copy().astype({"sd1i": float, "sd2i": float})
    if error == "arms swapped":
        for a, b in (("m1i", "m2i"), ("sd1i", "sd2i"), ("n1i", "n2i")):
            entered.loc[bad, [a, b]] = right.loc[bad, [b, a]].to_numpy()
    else:
        # The published analysis had SDs; this table has standard errors in their place.
        entered.loc[bad, "sd1i"] = right.loc[bad, "sd1i"] / np.sqrt(right.loc[bad, "n1i"])
        entered.loc[bad, "sd2i"] = right.loc[bad, "sd2i"] / np.sqrt(right.loc[bad, "n2i"])
    value = round(published.estimate, 2)
    ci = (round(published.ci_low, 2), round(published.ci_high, 2))
    first = mm.suspects(entered, value, ci=ci).iloc[0]
    name = {"SE entered as SD": "SD entered as SE"}.get(error, error)  # the slip that leads back
    assert (first["trial"], first["error"]) == (f"trial {bad + 1}", name)
    assert first["agrees"]
    # The other way round: the slip was in the published analysis, and our table is right. Two decimals may leave
    # several slips that agree; four tell them apart.
    wrong = mm.random_effects(mm.effect_sizes(entered, "SMD"))
    ranked = mm.suspects(right, round(wrong.estimate, 2), ci=(round(wrong.ci_low, 2), round(wrong.ci_high, 2)))
    agreeing = ranked[ranked["agrees"]]
    assert (f"trial {bad + 1}", error) in set(zip(agreeing["trial"], agreeing["error"], strict=True))
    ends = (round(wrong.ci_low, 4), round(wrong.ci_high, 4))
    first = mm.suspects(right, round(wrong.estimate, 4), ci=ends, half_unit=5e-5).iloc[0]
    assert (first["trial"], first["error"], first["agrees"]) == (f"trial {bad + 1}", error, True)


SEEDS = range(100, 130)
AT_LEAST = {"first": 0.80, "agreeing": 0.97}  # run with -s to read the rates


def planted(right, bad, error):
    """The table with one trial's arms swapped, or with its standard errors in the place of its SDs."""
    out = right.copy().astype({"sd1i": float, "sd2i": float})
    if error == "arms swapped":
        for a, b in (("m1i", "m2i"), ("sd1i", "sd2i"), ("n1i", "n2i")):
            out.loc[bad, [a, b]] = right.loc[bad, [b, a]].to_numpy()
        return out
    for sd, n in (("sd1i", "n1i"), ("sd2i", "n2i")):
        out.loc[bad, sd] = right.loc[bad, sd] / np.sqrt(right.loc[bad, n])
    return out


@pytest.mark.parametrize(
    ("error", "slip"), [("arms swapped", "arms swapped"), ("SE entered as SD", "SD entered as SE")]
)
def test_suspects_name_a_planted_error(error, slip):
    # With the published interval at two decimals the right slip comes first in about nine sets of ten, and is always
    # among those that agree; with the estimate alone it is among five (arms swapped) or three that agree.
    first, agreeing, alone, many = [], [], [], []
    for seed in SEEDS:
        right = made_up(seed)
        bad = seed * 7 % 12
        published = mm.random_effects(mm.effect_sizes(right, "SMD"))
        entered, value = planted(right, bad, error), round(published.estimate, 2)
        ci = (round(published.ci_low, 2), round(published.ci_high, 2))
        wanted = (f"trial {bad + 1}", slip)
        ranked = mm.suspects(entered, value, ci=ci)
        first.append(tuple(ranked.iloc[0][["trial", "error"]]) == wanted)
        agreed = ranked[ranked["agrees"]]
        agreeing.append(wanted in set(zip(agreed["trial"], agreed["error"], strict=True)))
        blind = mm.suspects(entered, value)
        blind = blind[blind["agrees"]]
        alone.append(wanted in set(zip(blind["trial"], blind["error"], strict=True)))
        many.append(len(blind))
    print(
        f"\n{error}, {len(SEEDS)} sets of 12: named first {np.mean(first):.0%}, among the slips that agree "
        f"{np.mean(agreeing):.0%}; with the estimate alone among {np.mean(many):.1f} that agree {np.mean(alone):.0%}"
    )
    assert np.mean(first) >= AT_LEAST["first"]
    assert np.mean(agreeing) >= AT_LEAST["agreeing"]
    assert np.mean(alone) >= AT_LEAST["agreeing"]


@pytest.mark.parametrize("error", ["arms swapped", "SE entered as SD"])
def test_a_multiverse_of_trials_points_at_the_planted_error(error):
    # Each trial counts or does not: 4,096 specifications. Without a published value to compare with, the planted trial
    # is the one that moves the estimate most in about half of the sets, and among the first three in three of four
    # (by chance: in one of four). It is `suspects`, with the published value, that names trial and error.
    place = []
    for seed in list(SEEDS)[:8]:
        bad = seed * 7 % 12
        entered = mm.effect_sizes(planted(made_up(seed), bad, error), "SMD")
        choices = {
            f"trial {i + 1}": {"counts": {}, "left out": {"without": [f"trial {i + 1}"]}} for i in range(len(entered))
        }
        order = list(mm.multiverse(entered, choices).decomposition().index)
        place.append(order.index(f"trial {bad + 1}") + 1)
    print(f"\n{error}, 8 sets of 12: place among the trials that move the answer: {place}")
    assert np.mean(np.array(place) <= 3) >= 0.6


def test_suspects_rank_what_changes_the_fit_and_keep_our_own():
    table = made_up(9)
    own = mm.random_effects(mm.effect_sizes(table, "SMD"))
    ranked = mm.suspects(table, own.estimate)
    assert ranked.iloc[0]["error"] == "nothing"
    assert ranked["distance"].is_monotonic_increasing
    assert len(ranked) > 12 * 10
    out = ranked[(ranked["error"] == "left out") & (ranked["trial"] == "trial 4")].iloc[0]
    rest = mm.random_effects(mm.effect_sizes(table.drop(index=3), "SMD"))
    assert_allclose([out["estimate"], out["ci_low"]], [rest.estimate, rest.ci_low], rtol=1e-6)
    twice = ranked[(ranked["error"] == "counted twice") & (ranked["trial"] == "trial 4")].iloc[0]
    both = mm.random_effects(mm.effect_sizes(pd.concat([table, table.iloc[[3]]]), "SMD"))
    assert_allclose([twice["estimate"], twice["ci_low"]], [both.estimate, both.ci_low], rtol=1e-6)


def test_verdicts_have_a_level_of_their_own(ds):
    choices = {"verdicts": {"b": {"verdicts": "bounds"}, "z": {"verdicts": "zeros and thresholds"}}}
    table = mm.multiverse(ds, choices, level=0.8, verdict_level=0.9).table
    fit = mm.random_effects_bounded(mm.trial_effects(ds, level=0.9), level=0.8)
    assert_allclose(table.iloc[0][NUMBERS[:4]].astype(float), [fit.estimate, fit.se, *fit.ci()], **SAME)


def test_suspects_of_effects_only():
    es = mm.effect_sizes(made_up(2), "SMD")[["study", "yi", "vi"]]
    planted = es.copy()
    planted.loc[6, "vi"] = np.sqrt(es.loc[6, "vi"])
    right = mm.random_effects(es)
    first = mm.suspects(planted, right.estimate, ci=tuple(right.ci())).iloc[0]
    assert (first["trial"], first["error"]) == ("trial 7", "variance entered as standard error")
    with pytest.raises(mm.DataError, match="or yi and vi"):
        mm.suspects(es[["study"]], 0.5)
    with pytest.raises(mm.DataError, match="row 2 does not"):
        mm.suspects(es.assign(vi=[0.1, np.nan, *[0.1] * 10]), 0.5)


def test_gosh_clusters_name_the_row_that_does_not_belong():
    rng = np.random.default_rng(6)  # made-up numbers, row 4 far off
    yi = rng.normal(0.3, 0.05, 9)
    yi[3] = 1.6
    fit = mm.random_effects(yi=yi, vi=np.full(9, 0.02))
    result = mm.gosh_clusters(fit)
    assert result.membership["spread"].idxmax() == "row 4"
    assert result.membership.loc["row 4", "cluster_1"] > 0.95 > 0.05 > result.membership.loc["row 4", "cluster_0"]
    assert result.centres["n"].sum() == len(result.subsets) == 2**9 - 1 - 9
    assert result.centres["estimate"].is_monotonic_increasing
    assert "Rows that tell them apart: row 4" in result.summary()
    pd.testing.assert_frame_equal(mm.gosh_clusters(fit).subsets, result.subsets)
    with pytest.raises(ValueError, match="clusters must be at least 2"):
        mm.gosh_clusters(fit, 1)
    with pytest.raises(mm.DataError, match="at least 2 different subsets"):
        mm.gosh_clusters(mm.random_effects(yi=[0.1, 0.2], vi=[1, 1]))
