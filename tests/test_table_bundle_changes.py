"""Bundles of study tables: each change is found and named, and what is hostile is refused. The data are made up."""

import importlib.util
import io
import json
import random
import re
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.errors import DataError
from metamiq.living.bundle import verify

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)
edited, replaced, places, as_object = examples.edited, examples.replaced, examples.places, examples.as_object
check, packed = examples.check, examples.packed

# What a change is called


def without_last_line(content):
    return content.rsplit(b"\n", 2)[0] + b"\n"


def two_means(content):
    """A false mean in its place, and the true one under a key that reads the same."""
    whole = json.loads(content)
    true = whole["pooled"]["estimate"]
    return json.dumps({**whole, "pooled": {**whole["pooled"], "estimate": 9.0}, "pooled.estimate": true}).encode()


#: What is changed, where, and which places must be named; checksums are put right, so that only the numbers tell.
PLANTED = {
    "a digit in the data": (
        "data/trials.csv",
        replaced(b"9.75", b"9.76"),
        ["results.json: rows.2 Beta 2012.yi", "results.json: pooled.estimate", "table.csv: row 2, m1i"],
    ),
    "a row less in the data": (
        "data/trials.csv",
        without_last_line,
        ["results.json: left_out.1", "table.csv: row 6, n1i"],
    ),
    "a digit in the table": ("table.csv", replaced(b"9.75", b"9.76"), ["table.csv: row 2, m1i"]),
    "a name in the table": ("table.csv", replaced(b"Beta", b"Bete"), ["table.csv: row 2, study"]),
    "a header in the table": ("table.csv", replaced(b"weeks", b"years"), ["table.csv: header"]),
    "a row less in the table": ("table.csv", without_last_line, ["table.csv: row 6, study"]),
    "quotes in the table": ("table.csv", replaced(b"Beta 2012", b'"Beta 2012"'), ["table.csv"]),
    "a word of the codebook": ("codebook.csv", replaced(b"participants", b"patients"), ["codebook.csv: row 4, unit"]),
    "the mean": (
        "results.json",
        edited(["pooled", "estimate"], lambda x: x * (1 + 1e-9)),
        ["results.json: pooled.estimate"],
    ),
    "a weight": (
        "results.json",
        edited(["rows", "3 Gamma 2013", "weight"], 0.5),
        ["results.json: rows.3 Gamma 2013.weight"],
    ),
    "a subgroup": (
        "results.json",
        edited(["subgroups", "disorder", "groups", "OCD", "Q_p"], 0.04),
        ["results.json: subgroups.disorder.groups.OCD.Q_p"],
    ),
    "a slope": (
        "results.json",
        edited(["moderators", "weeks", "coefficients", "weeks", "p_value"], 0.04),
        ["results.json: moderators.weeks.coefficients.weeks.p_value"],
    ),
    "who is left out": ("results.json", edited(["left_out"], []), ["results.json: left_out.1"]),
    "a number as text": ("results.json", edited(["pooled", "k"], "5"), ["results.json: pooled.k"]),
    "an analysis taken away": (
        "results.json",
        edited(["subgroups"], {}),
        ["results.json: subgroups.disorder.between.Q"],
    ),
    "a value more": ("results.json", edited(["pooled", "power"], 0.99), ["results.json: pooled.power"]),
    "a false mean beside the true one": ("results.json", two_means, ["results.json: pooled.estimate"]),
    "the method": (
        "settings.json",
        edited(["analysis", "method"], "DL"),
        ["results.json: analysis.method", "results.json: pooled.tau2_se"],
    ),
    "the test": (
        "settings.json",
        edited(["analysis", "test"], "z"),
        ["results.json: analysis.test", "results.json: pooled.ci_low"],
    ),
    "the level": (
        "settings.json",
        edited(["analysis", "level"], 0.9),
        ["results.json: analysis.level", "results.json: pooled.ci_low"],
    ),
    "the measure": (
        "settings.json",
        edited(["analysis", "measure"], "MD"),
        ["results.json: analysis.measure", "results.json: rows.1 Alpha 2010.vi"],
    ),
    "the subgroups": (
        "settings.json",
        edited(["analysis", "subgroups"], []),
        ["results.json: analysis.subgroups.1", "results.json: subgroups.disorder.between.Q"],
    ),
    "one tau2": (
        "settings.json",
        edited(["analysis", "common_tau2"], True),
        ["results.json: analysis.common_tau2", "results.json: subgroups.disorder.tau2"],
    ),
    "what is good": ("settings.json", edited(["analysis", "better"], "higher"), ["results.json: analysis.better"]),
    "the protocol": ("settings.json", edited(["protocol"], "Everything was planned."), ["settings.json: protocol"]),
    "a setting more": ("settings.json", edited(["approved"], True), ["settings.json: approved"]),
    "the methods": ("methods.txt", replaced(b"REML", b"ML"), ["methods.txt"]),
    "a file more": ("more.txt", b"x", ["more.txt"]),
    "a second table": ("data/more.csv", b"study\n", ["data/more.csv"]),
    "a figure more": ("figures/true.svg", b"<svg/>", ["figures/true.svg"]),
    "a figure less": ("figures/forest.svg", None, ["figures/forest.svg"]),
    "no licence": ("LICENSE.txt", None, ["LICENSE.txt"]),
    "no table": ("table.csv", None, ["table.csv"]),
    "no methods": ("methods.txt", None, ["methods.txt"]),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_change_is_named_though_the_checksums_fit(packed, check, kind):
    name, change, expected = PLANTED[kind]
    found = check(examples.changed(packed, {name: change}))
    assert set(expected) <= places(found), found.summary()
    assert not any(re.fullmatch("[0-9a-f]{64}", x) for x in found.faults["stored"]), "the checksums fit"
    assert not found.faults.duplicated(["place", "stored"]).any(), "each place once"


@pytest.mark.parametrize(
    "name", ["README.txt", "LICENSE.txt", "figures/forest.svg", "methods.txt", "data/trials.csv", "settings.json"]
)
def test_a_changed_byte_fails_its_checksum(packed, check, name):
    grown = examples.changed(packed, {name: lambda c: c.rstrip() + b" \n"}, mend_sums=False)
    found = check(grown).faults.set_index("place")
    assert re.fullmatch("[0-9a-f]{64}", found.loc[name, "stored"])


def test_removed_and_added_files_are_named_by_their_checksums(packed, check):
    found = check(examples.changed(packed, {"methods.txt": None, "more.txt": b"x"}, mend_sums=False))
    table = found.faults.set_index("place")
    assert table.loc["methods.txt", "computed"] == "no such file"
    assert table.loc["more.txt", "stored"] == "no checksum"
    assert len(table) == 2


def test_digits_are_counted(packed, check):
    nudge = edited(["pooled", "estimate"], lambda x: x * (1 + 1e-6))
    fault = check(examples.changed(packed, {"results.json": nudge})).faults.iloc[0]
    assert fault["digits"] in (5, 6)
    assert float(fault["stored"]) / float(fault["computed"]) == pytest.approx(1 + 1e-6, rel=1e-12)
    assert (
        f"stored {fault['stored']}, here {fault['computed']}"
        in check(examples.changed(packed, {"results.json": nudge})).summary()
    )


def test_other_versions_are_told_and_words_of_another_metamiq_forgiven(packed, check):
    then = examples.changed(packed, {"settings.json": edited(["versions", "numpy"], "1.0.1")})
    found = check(then)
    assert found.agrees
    assert re.search(r"^numpy: 1\.0\.1 then, [\d.]+ here$", found.summary(), re.MULTILINE)
    older = examples.changed(
        packed, {"settings.json": edited(["versions", "metamiq"], "0.0.1"), "methods.txt": b"Other words.\n"}
    )
    assert check(older).agrees


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_changed_number_of_the_results_is_found(packed, tmp_path_factory, data):
    numbers = []

    def walk(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, [*path, key])
        elif type(value) is float:
            numbers.append(path)

    walk(as_object(packed), [])
    path = data.draw(st.sampled_from(numbers))
    factor = data.draw(st.sampled_from([1 + 1e-14, 1 - 1e-3, -1.0, 2.0]))
    content = examples.changed(packed, {"results.json": edited(path, lambda x: x * factor if x else 1e-300)})
    file = tmp_path_factory.mktemp("number") / "b.zip"
    file.write_bytes(content)
    assert places(verify(file)) == {f"results.json: {'.'.join(path)}"}


# Settings of somebody else


FORMULAS = [
    "__import__('os').system('touch hacked')",
    "weeks + __import__('pathlib').Path('hacked').touch()",
    "{open('hacked', 'w')}",
    "C(weeks, open('hacked', 'w'))",
    "`weeks`.to_csv('hacked')",
    "weeks.to_csv('hacked')",
    "Q('weeks').to_csv('hacked')",
    "I((lambda: open('hacked', 'w'))())",
    "np.save('hacked', weeks)",
    "np.fromfile('hacked')",
    "[open('hacked', 'w') for i in [1]]",
    "f\"{open('hacked','w')}\"",
    "(" * 400 + "weeks" + ")" * 400,
    "weeks ~ " * 100,
    "(n1i + n2i + m1i + m2i + sd1i + sd2i + weeks)**15",
    "C(m1i):C(m2i)",
    "\0",
    "",
]


@pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))
def test_a_formula_in_the_settings_is_never_run(packed, check, tmp_path, monkeypatch, formula):
    monkeypatch.chdir(tmp_path)
    changes = {"settings.json": edited(["analysis", "moderators"], [formula])}
    found = check(examples.changed(packed, changes))
    assert not found.agrees
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle.zip"], "nothing was run"


WRONG = {
    "no analysis": edited(["analysis"], None),
    "an analysis that is a list": edited(["analysis"], []),
    "an analysis with more": edited(["analysis"], lambda x: {**x, "seed": 1}),
    "a method that is no text": edited(["analysis", "method"], ["REML"]),
    "an unknown method": edited(["analysis", "method"], "__class__"),
    "an unknown measure": edited(["analysis", "measure"], "../../x"),
    "a level as text": edited(["analysis", "level"], "0.95"),
    "a level of 2": edited(["analysis", "level"], 2.0),
    "a level that is none": lambda c: c.replace(b"0.95", b"NaN"),
    "an infinite level": lambda c: c.replace(b"0.95", b"1e999"),
    "a switch that is a number": edited(["analysis", "common_tau2"], 1),
    "subgroups that are one text": edited(["analysis", "subgroups"], "disorder"),
    "subgroups of numbers": edited(["analysis", "subgroups"], [1]),
    "three groups": edited(["analysis", "groups"], ["a", "b", "c"]),
    "another better": edited(["analysis", "better"], "<script>"),
    "too many formulas": edited(["analysis", "moderators"], ["weeks"] * 101),
    "no table": edited(["table"], None),
    "a table elsewhere": edited(["table", "file"], "../../../etc/passwd"),
    "an absolute table": edited(["table", "file"], "/etc/passwd"),
    "a table that is absent": edited(["table", "file"], "absent.csv"),
    "a table that is a number": edited(["table", "file"], 1),
    "columns that are a list": edited(["table", "columns"], ["m1i"]),
    "columns of numbers": edited(["table", "columns"], {"m1i": 1}),
    "columns that are absent": edited(["table", "columns"], {"x": "yi"}),
    "a sheet of CSV": edited(["table", "sheet"], "first"),
    "a sheet that is a list": edited(["table", "sheet"], []),
    "where nothing is": edited(["table", "where"], {"disorder": "x"}),
    "a dataset": edited(["table"], {"dataset": "mi_cbt_anxiety"}),
    "a key twice": lambda c: c.replace(b'"analysis"', b'"kind": "study table", "analysis"', 1),
    "deep": lambda c: c.replace(b'"protocol"', b'"x": ' + b"[" * 50 + b"]" * 50 + b', "protocol"', 1),
    "very deep": lambda c: c.replace(b'"protocol"', b'"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "protocol"', 1),
    "a number of many digits": lambda c: c.replace(b"0.95", b"9" * 5000),
    "no JSON": lambda c: b"{",
    "a long method": edited(["analysis", "method"], "R" * 5000),
    "a long measure": edited(["analysis", "measure"], "9" * 5000),
    "a long file name": edited(["table", "file"], "9" * 5000),
    "a list": lambda c: b"[]",
    "no text": lambda c: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_settings_are_refused_in_a_sentence(packed, check, tmp_path, kind):
    with pytest.raises(DataError) as raised:
        check(examples.changed(packed, {"settings.json": WRONG[kind]}))
    text = str(raised.value)
    assert len(text) < 3_000
    assert "/tmp" not in text.replace(str(tmp_path), ""), "no file that the reader does not have"


HUGE = random.Random(1).randbytes(5_000_000).hex().encode()  # no bomb: it can hardly be packed
CELLS = {
    "ten megabytes": HUGE,
    "a formula": b"=HYPERLINK(1)",
    "an escape": b"\x1b[2J",
    "a NUL byte": b"a\0b",
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_hostile_cell_in_the_data_of_a_bundle(packed, check, kind):
    with pytest.raises(DataError) as raised:
        check(examples.changed(packed, {"data/trials.csv": replaced(b"Beta 2012", CELLS[kind])}))
    assert len(str(raised.value)) < 1_000
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("kind", CELLS)
def test_a_hostile_cell_in_the_results_is_shown_short_and_visible(packed, check, kind):
    found = check(examples.changed(packed, {"table.csv": replaced(b"Beta 2012", CELLS[kind])}))
    assert not found.agrees
    assert len(found.summary()) < 2_000
    assert "\x1b" not in found.summary()


def test_hostile_words_in_the_results_reach_no_terminal(packed, check):
    def add(content):
        words = {"\x1b]0;x\x07": "\x1b[2J", "\u202etrap": "\u202ex", "long": HUGE.decode(), "line\nbreak": "a\nb"}
        return json.dumps({**json.loads(content), **words}, ensure_ascii=False).encode()

    summary = check(examples.changed(packed, {"results.json": add})).summary()
    assert "\x1b" not in summary
    assert "\u202e" not in summary
    assert len(summary) < 3_000
    assert len(summary.splitlines()) == 5


# The zip file


def archive(*entries, link=""):
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        warnings.simplefilter("ignore")  # of a name that stands twice
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if name == link:
                entry.external_attr = 0o120777 << 16
            made.writestr(entry, content)
    return out.getvalue()


def encrypted(content):
    """The zip file with every entry marked as encrypted, in its own header and in the list at the end."""
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            content = content[: start + place] + b"\x01" + content[start + place + 1 :]
            start += 4
    return content


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/x",
        "data/../../x",
        "a\\b",
        "C:x",
        "data/data/x",
        "data/.x",
        "-x",
        "\u202ex",
        "x/",
        "",
        "n" * 201,
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(packed, check, name):
    files = [(n, c) for n, c in examples.opened(packed).items()]
    with pytest.raises(DataError, match="plain files of a bundle, each once"):
        check(archive(*files, (name, b"x")))


def test_twice_linked_encrypted_and_bombs(packed, check):
    files = [*examples.opened(packed).items()]
    for content in (archive(*files, files[0]), archive(*files, link="data/trials.csv"), encrypted(archive(*files))):
        with pytest.raises(DataError, match="plain files of a bundle, each once"):
            check(content)
    with pytest.raises(DataError, match="packed at most 200-fold"):
        check(archive(*files, ("more.txt", b"\0" * 10_000_000)))
    with pytest.raises(DataError, match="must be a zip file that can be read"):
        check(packed[:-100])
    with pytest.raises(DataError, match="at most 1,000 files, but it has 1,0"):
        check(archive(*files, *((f"data/{i}", b"") for i in range(1_000))))
    assert check(archive(*files)).agrees, "and it is not the packing that is refused"


def test_a_bomb_whose_directory_understates_it_is_not_unpacked(packed, check):
    """The peak of memory tells whether it was."""
    content = archive(*examples.opened(packed).items(), ("more.txt", b"\0" * 50_000_000))
    at = content.rfind(b"PK\x01\x02")
    content = content[: at + 24] + (1_000).to_bytes(4, "little") + content[at + 28 :]
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="must be a zip file that can be read"):
            check(content)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
