"""Exports are read back as the same numbers, and R gets the same answer from them."""

import csv
import importlib.util
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

from metamiq.cli import main
from metamiq.datasets import read_dataset, read_table
from metamiq.effects.measures import effect_sizes
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.living.exports import PROGRAMS, export_files, export_r, export_table
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.models import random_effects

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
    rows = list(csv.reader(io.StringIO(text), delimiter=PROGRAMS[program].dialect.separator))
    assert len({len(row) for row in rows}) == 1
    assert not any(cell.startswith(("=", "+", "@", "\t", "\n")) for row in rows for cell in row)


DANGEROUS = [
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "＝1+1", "＠SUM(1)", "\t=1", "\r=1", "\n=1"),
    *("-0.5", "a;=1", "a,=1", 'a"=1', "x\n=1"),
]


@pytest.mark.parametrize("label", DANGEROUS)
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_no_cell_of_an_export_is_run_by_a_spreadsheet(program, label):
    text = export_table(MADE_UP.iloc[:1].assign(label=label), program)
    cells = list(csv.reader(io.StringIO(text), delimiter=PROGRAMS[program].dialect.separator))[1]
    said = cells[list(PROGRAMS[program].columns.values()).index("label")]
    assert not said.startswith(("=", "+", "-", "@", "＝", "＠", "\t", "\r", "\n"))


def test_a_study_table_keeps_its_raw_numbers_where_a_program_takes_them(tmp_path):
    raw = {"study": ["a", "b"], "m1i": [5.0, 4], "sd1i": [1.0, 2], "n1i": [20, 30], "m2i": [4.0, 4], "sd2i": [1.0, 2],
           "n2i": [21, 31]}  # fmt: skip
    table = effect_sizes(pd.DataFrame(raw), "SMD")
    for program in ("revman", "metapsy"):
        (tmp_path / "t.csv").write_text(export_table(table, program, groups=("x", "y")), encoding="utf-8")
        back = read_table(tmp_path / "t.csv")
        for name, values in raw.items():
            assert back[name].tolist() == values
        assert_allclose(back["yi"], table["yi"], rtol=0)
    with pytest.raises(DataError, match="holds Hedges' g"):
        export_table(effect_sizes(pd.DataFrame(raw), "MD"), "metapsy")


def test_metafor_gets_our_numbers_from_the_exported_script(tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    asked = subprocess.run(["Rscript", "-e", 'library("metafor")'], capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("metafor is not installed")
    rng = np.random.default_rng(5)
    made_up = {"study": [f"s{i}" for i in range(9)], "yi": rng.normal(0.3, 0.3, 9), "vi": rng.uniform(0.02, 0.1, 9)}
    table = pd.DataFrame(made_up).assign(n1i=20, n2i=20)
    for name, text in export_files(table, "metafor").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    script = 'source("metafor.R"); cat("\nnumbers", format(c(fit$b, fit$ci.lb, fit$ci.ub, fit$tau2), digits = 12))'
    ran = subprocess.run(["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = [float(x) for x in ran.stdout.rsplit("numbers", 1)[1].split()]
    fit = random_effects(table)
    # metafor stops the search for tau2 at 1e-5
    assert_allclose(printed, [fit.estimate, fit.ci_low, fit.ci_high, fit.tau2], rtol=2e-4)


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
    shown = run.invoke(main, ["export", "--to", "revman", "--out", "m"], catch_exceptions=False)
    assert "Unconfirmed: that RevMan takes this file" in shown.stderr
    shown = run.invoke(main, ["export", "m/revman.csv", "--to", "jasp", "--out", "j"], catch_exceptions=False)
    assert (tmp_path / "j" / "jasp.csv").read_text().startswith("Study,Year,Effect Size,Effect Size Standard Error,")
    shown = run.invoke(main, ["export", "m/revman.csv", "--to", "r"])
    assert (shown.exit_code, "choose --to metafor" in shown.stderr) == (2, True)


def test_a_study_table_goes_to_metafor_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("study,m1i,sd1i,n1i,m2i,sd2i,n2i,weeks\na,5,2,20,4,2,20,6\nb,6,2,30,4,2,30,8\n")
    shown = CliRunner().invoke(main, ["export", "t.csv", "--measure", "SMD"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert sorted(p.name for p in Path("export").iterdir()) == ["metafor.R", "metafor.csv"]
    assert Path("export/metafor.csv").read_text().splitlines()[0].startswith("slab,year,yi,vi,n1i,n2i,weeks")
    assert 'method = "REML", test = "knha"' in Path("export/metafor.R").read_text()
