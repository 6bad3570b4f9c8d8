"""Bundles of study tables: what they hold, and the commands that make and check them. The data are made up."""

import csv
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import metamiq as mm
from metamiq.cli import main
from metamiq.errors import DataError
from metamiq.living.table_bundle import bundle_table
from metamiq.living.table_settings import Reading, TableAnalysis
from metamiq.protocol.reading import read_protocol

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)
edited, replaced, places, as_object = examples.edited, examples.replaced, examples.places, examples.as_object
check, packed = examples.check, examples.packed

HEADER, ROWS, SKIPPED, ANALYSIS = examples.HEADER, examples.ROWS, examples.SKIPPED, examples.ANALYSIS
TABLE = HEADER + ROWS


def made(folder, text=TABLE, analysis=ANALYSIS, name="trials.csv", **more):
    file = Path(folder, name)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return bundle_table(file, analysis, **more).content


# What a bundle holds


def test_a_bundle_is_complete_and_verified(packed, check):
    files = examples.opened(packed)
    assert set(files) == {
        "LICENSE.txt", "README.txt", "SHA256SUMS", "codebook.csv", "data/trials.csv", "figures/forest.svg",
        "figures/funnel.svg", "figures/subgroups_1.svg", "methods.txt", "results.json", "settings.json", "table.csv",
    }  # fmt: skip
    assert files["data/trials.csv"].decode() == TABLE + SKIPPED, "byte for byte"
    found = check(packed)
    assert found.agrees, found.summary()
    assert (found.n_files, found.versions) == (11, {})
    assert found.n_values > 150


def test_results_are_those_of_the_library_with_all_digits(packed, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    rows = mm.effect_sizes(mm.read_table(tmp_path / "t.csv"), "SMD")
    fit, results = mm.random_effects(rows), as_object(packed)
    assert results["pooled"]["estimate"] == fit.estimate
    assert results["pooled"]["tau2_ci_high"] == fit.tau2_ci().high
    assert results["pooled"]["pi_low"] == fit.pi_low
    assert results["rows"]["4 Delta 2015"] == {"yi": rows["yi"][3], "vi": rows["vi"][3], "weight": fit.weights[3]}
    assert results["left_out"] == ["Zeta 2020"]
    parted = mm.subgroups(rows, "disorder", test="knha")
    assert results["subgroups"]["disorder"]["groups"]["OCD"]["estimate"] == parted.table.loc["OCD", "estimate"]
    assert results["subgroups"]["disorder"]["between"]["Q"] == parted.Q_between
    slope = mm.meta_regression(rows, "weeks").coefficients.loc["weeks", "estimate"]
    assert results["moderators"]["weeks"]["coefficients"]["weeks"]["estimate"] == slope


def test_a_result_by_hand(tmp_path):
    text = "study,yi,vi\na,0.2,0.04\nb,0.6,0.04\n"
    results = as_object(made(tmp_path, text, TableAnalysis(method="FE", test="z")))
    assert results["pooled"]["estimate"] == pytest.approx(0.4, rel=1e-15)
    assert results["pooled"]["se"] == pytest.approx(0.02**0.5, rel=1e-15)
    assert results["pooled"]["Q"] == pytest.approx(2.0, rel=1e-14)
    assert results["rows"]["2 b"] == {"yi": 0.6, "vi": 0.04, "weight": 0.5}
    assert results["pooled"]["tau2_ci_low"] == "nan", "a common effect has no tau2"


def test_the_codebook_says_what_was_taken_for_what(packed):
    rows = list(csv.DictReader(io.StringIO(examples.opened(packed)["codebook.csv"].decode())))
    by = {row["column"]: row for row in rows}
    assert by["Author"]["taken_for"] == "study"
    assert by["m1i"]["taken_for"] == "m1i"
    assert by["n1i"]["unit"] == "participants"
    assert (by["weeks"]["taken_for"], by["weeks"]["type"]) == ("", "number")
    assert "not known to metamiq" in by["weeks"]["meaning"]


def test_the_same_bytes_twice_and_another_file_name_changes_only_the_name(packed, tmp_path):
    assert made(tmp_path, TABLE + SKIPPED) == packed
    other = made(tmp_path, TABLE + SKIPPED, name="other.csv")
    first, second = examples.opened(packed), examples.opened(other)
    differ = {name for name in first if name in second and first[name] != second[name]}
    assert differ == {"README.txt", "SHA256SUMS", "settings.json"}


def test_other_column_names_give_the_same_numbers(packed, tmp_path):
    header = "who,ma,sa,na,mb,sb,nb,Diagnosis,Duration\n"
    columns = dict(
        zip(
            header.strip().split(","),
            ["study", "m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i", "disorder", "weeks"],
            strict=True,
        )
    )
    content = made(tmp_path, header + ROWS + SKIPPED, reading=Reading(columns=columns))
    assert as_object(content) == as_object(packed)
    assert examples.opened(content)["table.csv"] == examples.opened(packed)["table.csv"]
    assert examples.opened(content)["codebook.csv"] != examples.opened(packed)["codebook.csv"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("utf16.csv", TABLE.encode("utf-16")),
        ("comma.csv", TABLE.replace(",", ";").replace(".", ",").encode()),
        ("bom.csv", TABLE.encode("utf-8-sig")),
        ("with blank.csv", TABLE.encode()),
        ("\u05de\u05d7\u05e7\u05e8.csv", TABLE.encode()),
        ("\u202eabc.csv", TABLE.encode()),
        ("-rf.csv", TABLE.encode()),
        (".hidden.csv", TABLE.encode()),
        ("a\\b.csv", TABLE.encode()),
        ("x" * 200 + ".csv", TABLE.encode()),
    ],
    ids=lambda x: x if isinstance(x, str) and x.isascii() and len(x) < 20 else "",
)
def test_files_of_every_kind_and_name(tmp_path, check, packed, name, content):
    made_of = made(tmp_path, content, name=name)
    found = check(made_of)
    assert found.agrees, found.summary()
    held = [n for n in examples.opened(made_of) if n.startswith("data/")]
    assert len(held) == 1
    assert re.fullmatch(r"data/[A-Za-z0-9_][A-Za-z0-9_. -]*", held[0])
    assert examples.opened(made_of)[held[0]] == content
    assert as_object(made_of, "settings.json")["table"]["named"] == name
    assert as_object(made_of)["pooled"] == as_object(packed)["pooled"]


def test_a_file_in_latin_1_is_refused_before_anything_is_packed(tmp_path):
    with pytest.raises(DataError, match=r"text must be UTF-8, but the byte 0xc5 .* \(data/trials.csv, line 2\)"):
        made(tmp_path, TABLE.replace("Alpha", "\xc5lpha").encode("latin-1"))


def test_a_workbook_with_two_sheets_and_chosen_rows(tmp_path, check):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for sheet, factor in ((book.active, 1.0), (book.create_sheet("follow up"), 2.0)):
        sheet.append(["study", "time", "yi", "vi"])
        for i in range(4):
            sheet.append([f"s{i}", "post" if i % 2 else "later", factor * (0.1 + i), 0.05])
    book.save(tmp_path / "b.xlsx")
    reading = Reading(sheet="follow up", where={"time": "post"})
    content = bundle_table(tmp_path / "b.xlsx", TableAnalysis(), reading=reading).content
    assert [row["yi"] for row in as_object(content)["rows"].values()] == [2.2, 6.2]
    assert check(content).agrees

    def first(settings):
        return json.dumps(
            {**json.loads(settings), "table": {**json.loads(settings)["table"], "sheet": "Sheet"}}
        ).encode()

    found = check(examples.changed(content, {"settings.json": first})).faults.set_index("place")
    assert found.loc["results.json: rows.1 s1.yi", ["stored", "computed"]].tolist() == ["2.2", "1.1"]
    assert "table.csv: row 1, yi" in found.index


def test_a_bundled_dataset_keeps_its_own_files_and_words(check):
    ds = mm.load_dataset("bcg")
    content = bundle_table(ds, TableAnalysis(measure="RR", subgroups=("allocation",), common_tau2=True)).content
    files = examples.opened(content)
    assert files["data/trials.csv"] == (ds.path / "trials.csv").read_bytes()
    assert "CC0" in files["LICENSE.txt"].decode()
    assert files["README.txt"].decode().startswith("BCG vaccine against tuberculosis\n")
    latitude = next(row for row in csv.reader(io.StringIO(files["codebook.csv"].decode())) if row[0] == "latitude")
    assert latitude[3] == "degrees" or "latitude" in latitude[4].lower()
    assert as_object(content)["pooled"]["estimate"] == pytest.approx(-0.7145, abs=5e-5)  # metafor's dat.bcg example
    assert check(content).agrees


def test_one_row_and_equal_rows(tmp_path, check):
    one = made(tmp_path, "study,yi,vi\na,0.5,0.04\n", TableAnalysis())
    assert "figures/forest.svg" in examples.opened(one)
    assert "figures/funnel.svg" not in examples.opened(one)
    assert as_object(one)["pooled"]["ci_low"] == "nan"
    assert "one effect size" in as_object(one)["pooled"]["caution"]
    assert check(one).agrees
    equal = made(tmp_path, "study,yi,vi\na,0.5,0.04\nb,0.5,0.04\n", TableAnalysis())
    assert check(equal).agrees


def test_names_that_look_like_keys_are_kept_apart(tmp_path, check):
    text = "study,yi,vi\na.yi,0.5,0.04\na,0.1,0.04\n=1+1,0.2,0.03\n".replace("=1+1", "@b")
    content = made(tmp_path, text, TableAnalysis())
    assert "'@b" in examples.opened(content)["table.csv"].decode(), "no cell is run by a spreadsheet"
    assert check(content).agrees


PROTOCOL = """title = "A made-up review"
version = "1"

[plan]
measure = "SMD"
method = "REML"
test = "knha"

[analyses]
subgroups = ["disorder", "absent"]
moderators = ["weeks"]
"""


def protocol_of(folder, text=PROTOCOL):
    file = Path(folder, "protocol.toml")
    file.write_text(text)
    return read_protocol(file)


def test_a_protocol_goes_with_the_bundle_and_labels_it(tmp_path, check):
    plan = protocol_of(tmp_path)
    analysis = TableAnalysis(measure="SMD", subgroups=("disorder", "absent"), moderators=("weeks", "weeks + disorder"))
    file = tmp_path / "t.csv"
    file.write_text(TABLE)
    made_of = bundle_table(file, analysis, protocol=plan)
    assert [text.split(":")[0] for text in made_of.not_done] == ["subgroup absent"]
    results = as_object(made_of.content)
    assert results["planned"]["pooled mean"] == "planned"
    assert results["planned"]["meta-regression on weeks"] == "planned"
    assert results["planned"]["meta-regression on weeks + disorder"] == "not planned"
    assert "absent" in results["subgroups"]["absent"]["not done"]
    assert examples.opened(made_of.content)["protocol.toml"].decode() == PROTOCOL
    assert check(made_of.content).agrees
    gone = examples.changed(made_of.content, {"protocol.toml": None})
    assert {"settings.json: protocol", "results.json: planned.pooled mean"} <= places(check(gone))
    other = examples.changed(made_of.content, {"protocol.toml": PROTOCOL.replace('"REML"', '"DL"').encode()})
    assert "results.json: planned.pooled mean" in places(check(other))


def test_what_was_asked_for_and_cannot_be_done_is_refused(tmp_path):
    for analysis in (
        TableAnalysis(measure="SMD", subgroups=("absent",)),
        TableAnalysis(measure="SMD", moderators=("x",)),
    ):
        with pytest.raises(DataError, match="column"):
            made(tmp_path, TABLE, analysis)
    with pytest.raises(DataError, match="must have yi and vi"):
        made(tmp_path, TABLE, TableAnalysis())
    with pytest.raises(DataError, match="vi must be"):
        made(tmp_path, "study,yi,vi\na,0.5,-1\n", TableAnalysis())


# On the command line


@pytest.fixture
def room(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    monkeypatch.chdir(tmp_path / "room")
    Path("trials.csv").write_text(TABLE + SKIPPED)
    return tmp_path / "room"


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def refused(result, words):
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reviewer_packs_and_checks(room):
    shown = run("bundle", "trials.csv", "--measure", "SMD", "--subgroups", "disorder", "--moderators", "weeks",
                "--better", "lower", "--groups", "MI", "CBT", "--licence", "CC BY 4.0")  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert "left out, no effect size: Zeta 2020" in shown.stderr
    assert "written: trials.zip" in shown.stderr
    files = examples.opened((room / "trials.zip").read_bytes())
    assert files["LICENSE.txt"] == b"CC BY 4.0\n"
    assert "favours" in files["figures/forest.svg"].decode().lower()
    assert run("verify", "trials.zip").exit_code == 0
    content = examples.changed((room / "trials.zip").read_bytes(), {"table.csv": replaced(b"9.75", b"9.76")})
    Path("trials.zip").write_bytes(content)
    shown = run("verify", "trials.zip")
    assert shown.exit_code == 1
    assert "table.csv: row 2, m1i: stored 9.76, here 9.75 (2 digits agree)" in shown.stdout
    shown = run("verify", "trials.zip", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["faults"] == [
        {"place": "table.csv: row 2, m1i", "stored": "9.76", "computed": "9.75", "digits": 2.0}
    ]


def test_a_protocol_beside_the_data_is_taken(room):
    protocol_of(room)
    shown = run("bundle", "trials.csv")
    assert shown.exit_code == 0, shown.output
    assert "planned, but not done: subgroup absent" in shown.stderr
    results = as_object(Path("trials.zip").read_bytes())
    assert results["planned"]["subgroups by disorder"] == "planned"
    assert run("verify", "trials.zip").exit_code == 0
    assert run("bundle", "trials.csv", "--protocol", "none", "--measure", "SMD").exit_code == 0
    assert "planned" not in as_object(Path("trials.zip").read_bytes())


def test_a_dataset_that_is_a_study_table(room):
    assert run("bundle", "bcg", "--measure", "RR").exit_code == 0
    assert run("verify", "bcg.zip").exit_code == 0
    refused(run("bundle", "bcg", "--measure", "RR", "--sheet", "x"), "for a study table in a file")
    refused(run("bundle", "--measure", "SMD", "--subgroups", "x"), "--measure and --subgroups cannot be chosen")


def test_what_cannot_be_packed_is_refused_and_nothing_written(room):
    refused(run("bundle", "trials.csv"), "must have yi and vi")
    refused(run("bundle", "absent.csv"), "absent.csv")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--subgroups", "x"), "'x' is not among")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--moderators", "open('x')"), "moderator formula")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--common-tau2"), "--common-tau2 is about subgroups")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--out", "trials.csv"), "must not be the table itself")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--level", "95"), "level")
    refused(run("bundle", "/dev/null"), "no ordinary file")
    Path("binary").write_bytes(b"\xff\xfe\xfd")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--licence", "binary"), "must be text in UTF-8")
    assert sorted(p.name for p in room.iterdir()) == ["binary", "trials.csv"]


def test_where_it_is_written(room):
    assert run("bundle", "trials.csv", "--measure", "SMD", "--out", "new/folder/b.zip").exit_code == 0
    Path("trials.zip").write_text("mine")
    assert run("bundle", "trials.csv", "--measure", "SMD").exit_code == 0
    assert Path("trials.zip").read_bytes() == Path("new/folder/b.zip").read_bytes()
    Path("file").write_text("x")
    refused(run("bundle", "trials.csv", "--measure", "SMD", "--out", "file/b.zip"), "must be a folder")
    assert run("bundle", "--measure", "SMD", "--out", "l.zip", "--licence", "x" * 5_000, "trials.csv").exit_code == 0
    Path("-t.csv").write_text(TABLE)
    assert run("bundle", "--measure", "SMD", "--", "-t.csv").exit_code == 0
    assert Path("-t.zip").is_file()
