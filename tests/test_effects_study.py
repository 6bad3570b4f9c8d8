"""The effect sizes of a study table. The data are made up."""

import pandas as pd
import pytest

from metamiq.effects.study_effects import study_effects
from metamiq.errors import DataError


def test_own_effects_are_kept_and_standard_errors_squared():
    own = pd.DataFrame({"study": ["a", "b"], "yi": [0.1, 0.2], "vi": [0.04, 0.09]})
    effects, left_out = study_effects(own, None)
    assert effects is own
    assert left_out == []
    errors = study_effects(own.drop(columns="vi").assign(sei=[0.2, 0.5]), None).effects
    assert errors["vi"].tolist() == [0.2**2, 0.25]


def test_a_measure_goes_before_own_effects():
    table = pd.DataFrame({"yi": [9.0], "vi": [9.0], "ai": [4], "n1i": [10], "ci": [2], "n2i": [10]})
    assert study_effects(table, "RD").effects["yi"].tolist() == pytest.approx([0.2])


@pytest.mark.parametrize("label", ["study", "trial_id", "label", None])
def test_rows_without_an_effect_are_named(label):
    table = pd.DataFrame({"yi": [0.1, None, 0.3], "vi": [0.1, 0.1, None]}, index=[7, 7, 7])
    if label:
        table[label] = ["a", "b", "c"]
    effects, left_out = study_effects(table, None)
    assert len(effects) == 1
    assert left_out == (["b", "c"] if label else ["row 2", "row 3"])


def test_what_holds_no_effects_is_refused():
    with pytest.raises(DataError, match="must have yi and vi, or --measure"):
        study_effects(pd.DataFrame({"study": ["a"], "vi": [1.0]}), None)
    table = pd.DataFrame({"yi": [1.0], "vi": [1.0]})
    table.attrs["several"] = "The rows belong to two analyses."
    with pytest.raises(DataError, match="two analyses"):
        study_effects(table, None)


def with_intervals(yi, low, high, **columns):
    return pd.DataFrame({"study": list("abcde")[: len(yi)], "yi": yi, "ci_low": low, "ci_high": high, **columns})


def test_an_interval_gives_the_standard_error():
    table = with_intervals([0.5, -0.2, None], [0.108, -0.593, None], [0.892, 0.193, None])
    effects, left_out = study_effects(table, None)
    assert effects["vi"].tolist() == pytest.approx([0.04, 0.0402], rel=2e-3)  # as far as three decimals tell
    assert left_out == ["c"]
    ninety = study_effects(with_intervals([0.5], [0.171], [0.829], ci_level=[0.9]), None).effects
    assert ninety["vi"].tolist() == pytest.approx([0.04], rel=2e-3)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (with_intervals([0.65, 0.70], [0.44, 0.43], [0.96, 1.14]), "'a' has 0.65 and 0.44 to 0.96. They are ratios"),
        (with_intervals([0.95, 1.05], [0.90, 1.01], [1.003, 1.092]), "They are ratios"),
        (with_intervals([0.5, 0.5], [0.1, 0.1], [0.9, 0.6]), "'b' has 0.5 and 0.1 to 0.6. Check the row"),
        (with_intervals([0.5], [0.1], [0.9], ci_level=[95]), "ci_level must lie between 0 and 1, but 'a' has 95"),
    ],
)
def test_an_interval_whose_middle_is_not_the_effect_is_refused(table, words):
    with pytest.raises(DataError, match=words):
        study_effects(table, None)
