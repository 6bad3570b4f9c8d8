"""No method for small-study effects or selection gives a number without saying when it must not be read."""

import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq.sensitivity.small_study_overview import small_study_effects

METHODS = {
    "egger": mm.egger_test,
    "egger, mixed": lambda fit: mm.egger_test(fit, model="mixed"),
    "begg": mm.begg_test,
    "trim and fill": mm.trim_and_fill,
    "pet-peese": mm.pet_peese,
    "limit": mm.limit_meta_analysis,
    "selection model": mm.selection_model,
    "selection model, smooth": lambda fit: mm.selection_model(fit, type="halfnorm"),
    "p-curve": mm.p_curve,
    "p-uniform*": mm.p_uniform_star,
    "excess significance": mm.excess_significance,
    "worst case": mm.worst_case,
}
FAIL_SAFE = {kind: (lambda fit, kind=kind: mm.fail_safe_n(fit, kind)) for kind in ("rosenthal", "orwin", "rosenberg")}
FEW = [0.1, 0.5, 0.9, 0.02, 0.6]  # made up, as all data here
FEW_VI = [0.01, 0.02, 0.09, 0.012, 0.05]


def alike():
    rng = np.random.default_rng(1)
    return mm.random_effects(yi=rng.normal(0.35, 0.25, 14), vi=0.03 * rng.uniform(0.95, 1.05, 14))


def assert_printed(result):
    assert isinstance(result.cautions, tuple)
    assert result.cautions
    for text in result.cautions:
        assert text in result.summary()
        assert text in repr(result)


@pytest.mark.parametrize("name", METHODS)
def test_fewer_than_ten(name):
    result = METHODS[name](mm.random_effects(yi=FEW, vi=FEW_VI))
    assert_printed(result)
    assert any("fewer than 10" in text for text in result.cautions)


@pytest.mark.parametrize("name", ["egger", "egger, mixed", "begg", "trim and fill", "pet-peese", "limit"])
def test_precision_hardly_differs(name):
    result = METHODS[name](alike())
    assert_printed(result)
    assert any("precision hardly differs" in text for text in result.cautions)


@pytest.mark.parametrize("name", ["p-curve", "trim and fill", "rosenthal", "rosenberg"])
def test_effects_differ(name):
    result = (METHODS | FAIL_SAFE)[name](mm.random_effects(yi=FEW, vi=FEW_VI))
    assert_printed(result)
    assert any("The effects differ between studies (I2 = 76% by Q)" in text for text in result.cautions)


@pytest.mark.parametrize("name", FAIL_SAFE)
def test_a_fail_safe_number_is_no_estimate_of_bias(name):
    result = FAIL_SAFE[name](alike())
    assert_printed(result)
    assert any("no estimate of bias" in text for text in result.cautions)


@pytest.mark.parametrize("name", [*METHODS, *FAIL_SAFE])
def test_several_effects_of_one_study(name):
    es = pd.DataFrame({"study": list("aabcd"), "yi": FEW, "vi": FEW_VI})
    result = (METHODS | FAIL_SAFE)[name](mm.random_effects(es))
    assert_printed(result)
    assert any("5 effect sizes come from 4 studies" in text for text in result.cautions)


@pytest.mark.parametrize("measure", ["SMD", "OR", "COR", "PLO", "SMCR", "ROM", "PHI"])
@pytest.mark.parametrize("name", ["egger", "begg", "pet-peese", "limit", "trim and fill"])
def test_measures_whose_error_depends_on_the_effect(name, measure):
    es = pd.DataFrame({"yi": FEW, "vi": FEW_VI})
    es.attrs["measure"] = measure
    result = METHODS[name](mm.random_effects(es))
    assert_printed(result)
    assert any("depends on the effect" in text for text in result.cautions)


@pytest.mark.parametrize(
    "name", ["selection model", "p-curve", "p-uniform*", "excess significance", "worst case", "rosenthal"]
)
def test_p_values_of_single_proportions(name):
    es = pd.DataFrame({"yi": FEW, "vi": FEW_VI})
    es.attrs["measure"] = "PR"
    result = (METHODS | FAIL_SAFE)[name](mm.random_effects(es))
    assert_printed(result)
    assert any("0 is not the value of no effect" in text for text in result.cautions)


@pytest.mark.parametrize("test", [mm.harbord_test, mm.peters_test])
def test_tests_of_counts(test):
    counts = pd.DataFrame({"ai": [4, 6, 3, 62, 0], "n1i": [123, 306, 231, 1359, 20]})
    result = test(counts.assign(ci=[11, 29, 11, 248, 0], n2i=[139, 303, 220, 1286, 21]))
    assert_printed(result)
    assert any("fewer than 10" in text for text in result.cautions)
    assert any("1 study without events" in text for text in result.cautions)


def test_the_overview_repeats_every_caution_and_when_no_method_may_be_read():
    fit = mm.random_effects(yi=FEW, vi=FEW_VI)
    found = small_study_effects(fit)
    said = found.summary()
    for name in METHODS:
        if name in ("egger, mixed", "selection model, smooth"):
            continue
        for text in METHODS[name](fit).cautions:
            assert text in said, (name, text)
    assert (found.table["not_when"] != "").all()
    for text in found.table["not_when"]:
        assert text in said


@pytest.mark.parametrize("name", METHODS)
def test_shown_by_itself_a_result_is_one_line_and_its_cautions(name):
    result = METHODS[name](alike())
    shown = repr(result).splitlines()
    assert shown[0].startswith(f"{type(result).__name__}(")
    assert "array(" not in shown[0]
    assert len(shown) == 1 + len(result.cautions)
