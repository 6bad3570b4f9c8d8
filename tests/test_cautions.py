"""What a fit says of itself where its numbers may say too much. Values here are made up."""

from __future__ import annotations

import numpy as np
import pandas as pd

import metamiq as mm


def table(studies: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    k = len(studies)
    return pd.DataFrame({"study": studies, "yi": rng.normal(0.4, 0.5, k), "vi": 0.05, "dose": np.arange(k) % 4})


def test_several_effect_sizes_of_a_study_are_not_pooled_in_silence():
    several, one_each = table(["a", "a", "b", "c", "c", "d"]), table(list("abcdef"))
    said = "6 effect sizes from 4 studies are taken as independent"
    for fit in (mm.random_effects(several), mm.fixed_effect(several), mm.meta_regression(several, "dose")):
        assert said in fit.caution
        assert said in fit.summary()
    assert mm.random_effects(one_each).caution == ""
    # Names of rows are no studies: without a column that says so nothing is known.
    assert mm.random_effects(yi=several["yi"], vi=several["vi"]).caution == ""
    allowed_for = mm.multilevel(several, cluster="study")
    assert "independent" not in allowed_for.summary()


def test_a_moderator_needs_ten_studies():
    few, many = table([f"s{i}" for i in range(9)]), table([f"s{i}" for i in range(10)])
    assert mm.meta_regression(few, "dose").caution.startswith("9 effect sizes from 9 studies for 1 moderator:")
    assert mm.meta_regression(few, "dose").caution in mm.meta_regression(few, "dose").summary()
    assert mm.meta_regression(many, "dose").caution == ""
    assert mm.meta_regression(many, "C(dose)").caution == ""  # one characteristic, whatever its levels
    assert mm.meta_regression(many, "1").caution == ""
