"""The row models by themselves, as a template or a form would use them. All rows here are made up."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from metamiq.datasets.columns import columns_of
from metamiq.datasets.models import NEEDS, ClaimRow, DropoutRow, ResultRow, TrialRow
from metamiq.datasets.study_models import PublishedRow, StudyRow
from metamiq.effects.measures import MEASURES

MODELS = [TrialRow, ResultRow, DropoutRow, ClaimRow, StudyRow, PublishedRow]
TRIAL = {"trial_id": "a2010", "label": "A 2010", "year": 2010, "disorder": "GAD", "role": "candidate"}


@pytest.mark.parametrize("model", MODELS)
def test_every_column_has_type_meaning_and_place(model):
    columns = columns_of(model)
    assert list(columns) == list(model.model_fields)
    assert set(model.KEY) <= set(columns)
    for column in columns.values():
        assert column.type in {"string", "integer", "number"}
        assert column.description.endswith((".", "interval"))
        assert column.required == model.model_fields[column.name].is_required()


def test_report_kinds_name_columns_that_exist():
    columns = columns_of(ResultRow)
    assert set(NEEDS) <= set(columns["report"].limits["enum"])
    assert {name for names in NEEDS.values() for name in names} <= set(columns)


def test_every_measure_finds_its_columns():
    needed = {name for measure in MEASURES.values() for name in measure.columns}
    assert needed <= {column.name for column in columns_of(StudyRow).values() if column.is_number}


def test_a_row_is_checked_when_made():
    row = TrialRow(**TRIAL, n_mi=20, n_cbt=20, n_total=40, my_column="kept")
    assert row.model_extra == {"my_column": "kept"}
    with pytest.raises(ValidationError, match="n_mi"):
        TrialRow(**TRIAL, n_mi=-1)
    with pytest.raises(ValidationError, match="n_mi must not exceed n_total, but n_mi is 50 and n_total is 40"):
        TrialRow(**TRIAL, n_mi=50, n_total=40)
    with pytest.raises(ValidationError, match="Instance is frozen"):
        row.n_mi = 3


def test_an_infinite_or_undefined_number_is_no_value():
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="finite"):
            StudyRow(yi=value)
    assert StudyRow(yi_low=0.0, yi_high=float("inf")).yi_high == float("inf")


@pytest.mark.parametrize("kind", sorted(NEEDS))
def test_a_report_without_what_it_needs_is_refused(kind):
    row = {"result_id": "r", "trial_id": "a2010", "domain": "symptoms", "timepoint": "post", "report": kind}
    with pytest.raises(ValidationError, match=f"must be filled when report is '{kind}'"):
        ResultRow(**row, certainty="reported", source="abstract")
