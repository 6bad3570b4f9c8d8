"""The command line as a new user meets it."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

import metamiq
from metamiq.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *args: runner.invoke(main, list(args), catch_exceptions=False)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "made_up.csv"
    path.write_text("study,yi,vi,dose\na,0.1,0.04,1\nb,0.5,0.02,2\nc,0.9,0.05,4\nd,0.2,0.03,2\n", encoding="utf-8")
    return path


def test_help_and_version(run):
    assert "metamiq reproduce --out answer" in run("--help").stdout
    assert metamiq.__version__ in run("--version").stdout
    for command in main.commands:
        shown = run(command, "--help").stdout
        assert f"Usage: main {command}" in shown
        assert re.search(r"Examples?:", shown), f"{command} --help must show an example"


def test_reproduce_in_an_empty_folder(run, tmp_path):
    result = run("reproduce")
    assert result.exit_code == 0
    assert "pooled Hedges g = 0.34" in result.stdout
    assert "written:" in result.stderr
    assert "written:" not in result.stdout
    out = tmp_path / "metamiq-report"
    assert {p.name for p in out.iterdir()} >= {"report.html", "results.json", "forest.svg", "tables"}
    again = run("reproduce", "--out", "second")
    assert again.stdout == result.stdout
    for file in out.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "second" / file.relative_to(out)).read_bytes(), file.name


def test_reproduce_json_is_one_object(run):
    data = json.loads(run("reproduce", "--json").stdout)
    assert data["pooled"]["k"] == 15
    assert data["pooled"]["k_bounds"] == 14
    assert round(data["pooled"]["estimate"], 2) == 0.34
    assert len(data["tables"]["verdicts"]) == 7


def test_reproduce_refuses_a_file_as_folder(run, tmp_path):
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    result = run("reproduce", "--out", "taken")
    assert result.exit_code == 2
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_audit(run):
    result = run("audit")
    assert result.exit_code == 0
    assert result.stdout.count("thin evidence") == 6
    data = json.loads(run("audit", "mi_cbt_anxiety", "--json").stdout)
    assert data["agrees"] is True
    assert {row["verdict"] for row in data["verdicts"]} == {"consistent", "not testable"}


def test_an_unknown_dataset_is_one_sentence(run):
    result = run("audit", "nothing")
    assert result.exit_code == 2
    assert result.stderr.startswith("metamiq: ")
    assert "mi_cbt_anxiety" in result.stderr  # what there is
    assert "Traceback" not in result.stderr
    assert run("audit", "../nothing").exit_code == 2


def test_pool(run, table, tmp_path):
    result = run("pool", str(table))
    assert result.exit_code == 0
    assert "k = 4 effect sizes" in result.stdout
    data = json.loads(run("pool", str(table), "--method", "DL", "--test", "z", "--json").stdout)
    fit = metamiq.random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03], method="DL", test="z")
    assert data["results"][0]["estimate"] == fit.estimate
    assert data["tau2"] == fit.tau2
    drawn = run("pool", str(table), "--forest", str(tmp_path / "f.svg"))
    assert drawn.exit_code == 0
    assert "<svg" in (tmp_path / "f.svg").read_text(encoding="utf-8")


def test_pool_with_moderators(run, table):
    assert "meta-regression on dose" in run("pool", str(table), "--moderators", "dose").stdout


def test_pool_computes_the_measure_and_names_what_it_leaves_out(run, tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("study,ai,n1i,ci,n2i\na,1,10,4,10\nb,2,20,3,20\nc,,20,3,20\n", encoding="utf-8")
    result = run("pool", str(path), "--measure", "OR")
    assert result.exit_code == 0
    assert "left out, no effect size: c" in result.stderr
    assert "k = 2" in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study,x\na,1\n", "--measure must say what to compute"),
        ("study,yi,vi\na,0.1,0\n", "vi must be greater than 0, but study 'a' has 0"),
        ("", "empty"),
    ],
)
def test_pool_refuses_what_it_cannot_use(run, tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    result = run("pool", str(path))
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_pool_refuses_unknown_choices(run, table):
    result = run("pool", str(table), "--method", "reml2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "method must be one of" in result.stderr
    assert run("pool", "absent.csv").exit_code == 2


def test_datasets_are_listed(run):
    listed = run("datasets").stdout.splitlines()
    assert len(listed) == len(metamiq.available_datasets())
    assert any("mi_cbt_anxiety" in line and "20 candidates" in line for line in listed)


@pytest.mark.parametrize("command", ["audit", "todo"])
def test_no_printed_line_ends_in_a_blank(command):
    shown = CliRunner().invoke(main, [command], catch_exceptions=False).stdout
    assert len(shown.splitlines()) > 10
    assert [line for line in shown.splitlines() if line != line.rstrip()] == []


def test_the_package_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "metamiq", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("metamiq, version ")


# Made up.
ARMS = """study,m1i,sd1i,n1i,m2i,sd2i,n2i
a,18.9,7.4,30,24.3,6.1,31
b,21.0,6.9,45,24.9,7.3,44
c,17.5,8.1,28,21.7,7.9,30
d,20.1,7.7,60,23.0,8.0,58
e,19.4,6.8,52,24.8,7.1,50
"""


def test_pool_says_why_a_row_has_no_effect_and_what_check_doubts(run, tmp_path):
    (tmp_path / "good.csv").write_text(ARMS, encoding="utf-8")
    assert run("pool", str(tmp_path / "good.csv"), "--measure", "SMD").stderr == ""
    (tmp_path / "gap.csv").write_text(ARMS.replace("28,21.7,7.9,30", "28,,7.9,"), encoding="utf-8")
    assert (
        "left out, no effect size: c (no m2i, n2i)" in run("pool", str(tmp_path / "gap.csv"), "--measure", "SMD").stderr
    )
    (tmp_path / "variance.csv").write_text(ARMS.replace("8.1,28,21.7,7.9", "65.6,28,21.7,62.4"), encoding="utf-8")
    for command in ("pool", "small-study"):
        said = run(command, str(tmp_path / "variance.csv"), "--measure", "SMD").stderr
        assert "metamiq check has 1 doubt about this table (c: SDs of 65.6 and 62.4" in said
        assert "as variances they give 8.1 and 7.9" in said


def test_pool_takes_effects_with_their_intervals_and_says_so(run, tmp_path):
    table = "study,yi,ci.lb,ci.ub\na,0.5,0.108,0.892\nb,0.2,-0.193,0.593\n"
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    result = run("pool", str(tmp_path / "t.csv"), "--forest", str(tmp_path / "f.pdf"))
    assert "mean 0.3503" in result.stdout
    assert "standard errors from the intervals ci_low to ci_high" in result.stderr
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF-")
