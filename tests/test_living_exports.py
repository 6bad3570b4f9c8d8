"""Exports are read back as the same numbers, and R gets the same answer from them."""

import csv
import importlib.util
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

from metamiq.cli import main
from metamiq.datasets import read_dataset, read_table
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.living.exports import PROGRAMS, export_r, export_table
from metamiq.pooling.bounded import random_effects_bounded

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

# What R 4.2 printed for the script exported from the made-up dataset of living_examples.py.
PRINTED_BY_R = ("0.4240", "-0.0831", "1.0332")
MADE_UP = pd.DataFrame(
    {
        "label": ["=cmd()", "<b>Beta</b> 2012", "Gamma"],
        "year": [2010, 2012, 2015],
        "yi": [0.1 + 0.2, -1 / 3, np.nan],
        "vi": [0.04, 2 / 30, np.nan],
        "n1i": [50, 30.0, 25.0],
        "n2i": [51, 30.0, 25.0],
    }
)


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_exports_are_read_back_with_every_digit(tmp_path, program):
    text = export_table(MADE_UP, program)
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    back = read_table(file)
    points = MADE_UP.dropna(subset="yi")
    assert back["yi"].tolist() == points["yi"].tolist()
    spread = back["vi"] if "vi" in back else back["sei"] ** 2
    assert_allclose(spread, points["vi"], rtol=1e-14)  # one square and one root
    assert all(not cell.startswith(("=", "+", "@")) for row in csv.reader(io.StringIO(text)) for cell in row)


def test_bounds_alone_cannot_be_exported_as_effects():
    with pytest.raises(DataError, match="Export the R script"):
        export_table(MADE_UP.iloc[2:], "jasp")
    with pytest.raises(ValueError, match="program must be one of"):
        export_table(MADE_UP, "abacus")


def test_the_r_script_gets_our_answer(tmp_path):
    ds = read_dataset(examples.write_dataset(tmp_path / "mine"))
    fit = random_effects_bounded(trial_effects(ds))
    assert tuple(f"{x:.4f}" for x in (fit.estimate, fit.ci_low, fit.ci_high)) == PRINTED_BY_R
    files = export_r(ds)
    table = pd.read_csv(io.StringIO(files["effects.csv"]))
    effects = trial_effects(ds)
    for column in ("yi", "vi", "yi_low", "yi_high", "n1i", "n2i"):
        assert_allclose(table[column].to_numpy(float), effects[column].to_numpy(float), rtol=0)
    assert "{" in files["analysis.R"]
    assert "{{" not in files["analysis.R"]


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    assert run.invoke(main, ["export", "--out", "r"], catch_exceptions=False).exit_code == 0
    shown = run.invoke(main, ["export", "--to", "metafor", "--out", "m"], catch_exceptions=False)
    assert "14 bounds are left out" in shown.stderr
    assert (tmp_path / "r" / "analysis.R").is_file()
    assert (tmp_path / "m" / "metafor.csv").is_file()
