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
