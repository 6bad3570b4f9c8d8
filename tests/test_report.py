"""The report's content, page and files."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq.question import Answers, CannotFit
from metamiq.report import all_subsets, content, figures, study_report, what_if
from metamiq.report.choices import choices_of
from metamiq.report.document import Document, Section, cell_text, grid
from metamiq.report.first_question import document
from metamiq.report.markdown import markdown
from metamiq.report.page import inline_svg, json_for_page, page, script_hash
from metamiq.report.writing import csv_text, json_text, write_file, write_folder

SETTLED = {"rtol": 0, "atol": 1e-6}  # another search, ended a hundredth below the last digit that the page holds


@pytest.fixture(scope="module")
def answers():
    return Answers(mm.load_dataset("mi_cbt_anxiety"))


@pytest.fixture(scope="module")
def verdicts(answers):
    return mm.audit(answers)


@pytest.fixture(scope="module")
def tables(answers, verdicts):
    return content.tables(answers, verdicts)


@pytest.fixture(scope="module")
def drawn(answers):
    return figures.first_question(answers)


@pytest.fixture(scope="module")
def panel(answers):
    return what_if.first_question(answers, "0.59")


@pytest.fixture(scope="module")
def whole(answers, verdicts, tables, drawn, panel):
    return document(answers, verdicts, tables, drawn, panel)


@pytest.fixture(scope="module")
def html(whole):
    return page(whole)


class Tags(HTMLParser):
    VOID = ("meta", "link", "br", "wbr", "img", "hr", "input")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value))
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src"):
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_answer_has_its_uncertainty_and_its_basis(answers):
    first, second, basis = content.answer(answers)
    fit = answers.pooled
    assert f"{fit.estimate:.2f}" in first
    assert f"{fit.ci_low:.2f} to {fit.ci_high:.2f}" in first
    assert "1 effect size and 14 bounds" in first
    assert f"{fit.pi_low:.2f}" in second
    assert "14 of 15 rows are bounds" in basis


def test_tables_hold_what_was_computed(answers, tables):
    assert len(tables["effects"]) == 15
    assert len(tables["effects"]) + len(tables["excluded"]) == 31
    row = tables["estimates"].set_index("analysis").loc["all candidate trials"]
    assert row["estimate"] == answers.pooled.estimate
    assert tables["estimates"]["k_bounds"].tolist()[0] == 14
    dropout = tables["dropout"].query("measure == 'odds ratio' and row == 'Mantel-Haenszel'").iloc[0]
    np.testing.assert_allclose(dropout["estimate"], np.exp(answers.dropout_common["OR"].estimate))


def test_the_page_is_whole_and_needs_no_network(html):
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert all(link.startswith(("#", "https://doi.org/", "data:")) for link in tags.links)
    for link in tags.links:
        assert not link.startswith("#") or link[1:] in tags.ids, link
    assert not any(name == "src" for _, name, _ in tags.attributes)
    assert not re.search(r"javascript:|\son\w+=", html)
    assert html.count("<svg") == 9
    assert len(html.encode("utf-8")) < 3_000_000


def test_only_the_page_s_own_script_may_run(html):
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    assert len(scripts) == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1)
    assert "default-src 'none'" in policy
    assert f"script-src '{script_hash(scripts[0])}';" in policy.replace("&#39;", "'")
    data = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', html, flags=re.S)
    assert [key for key, _ in data] == ["what-if-data"]
    json.loads(data[0][1])


def test_links_to_the_web_tell_it_nothing(html):
    web = re.findall(r'<a href="https[^>]*>', html)
    assert web
    assert all('rel="noopener noreferrer"' in link for link in web)


def test_names_cannot_become_markup(answers, verdicts, tables, drawn):
    bad = dict(tables, effects=tables["effects"].assign(label="<script>alert(1)</script>"))
    whole = document(answers, verdicts, bad, drawn, None)
    text = page(whole)
    assert text.count("<script>") == 1  # the page's own
    assert "&lt;script&gt;" in text
    assert "<script>" not in markdown(whole)


def test_data_in_the_page_cannot_end_its_element():
    text = json_for_page({"label": "</script><script>alert(1)</script>&<!--"})
    assert not set("<>&") & set(text)
    assert json.loads(text)["label"] == "</script><script>alert(1)</script>&<!--"


def test_drawings_are_valid_and_described(drawn):
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        found = [e.text for e in root if e.tag.endswith(("title", "desc"))]
        assert len(found) == 2, name
        assert all(found), name


def test_ids_of_two_drawings_do_not_clash():
    svg = '<svg><g id="a"><path id="b"/><use href="#b" style="clip-path: url(#a)"/></g></svg>'
    assert inline_svg(svg, "one") == (
        '<svg><g id="one-a"><path id="one-b"/><use href="#one-b" style="clip-path: url(#one-a)"/></g></svg>'
    )


def test_cells():
    assert cell_text(None) == cell_text(float("nan")) == ""
    assert cell_text(float("inf")) == "∞"
    assert cell_text(-0.0001) == "0.000"
    assert cell_text(-0.5) == "−0.500"
    assert cell_text(20.0) == "20"
    assert cell_text(True) == "yes"


def test_json_has_no_nan(answers, verdicts, tables):
    text = json_text(content.results(answers, verdicts, tables))
    data = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    bound = next(r for r in data["tables"]["effects"] if r["kind"] == "bound" and r["report"] == "significant")
    assert bound["yi"] is None
    assert bound["yi_high"] == "inf"


def test_csv_is_safe_in_a_spreadsheet():
    table = pd.DataFrame({"label": ["=HYPERLINK(1)", "+1", "-3.5", "plain", None], "x": [1.5, np.nan, -2, 0, 1]})
    lines = csv_text(table).splitlines()
    assert lines[1:] == ["'=HYPERLINK(1),1.5", "+1,", "-3.5,-2.0", "plain,0.0", ",1.0"]
    assert csv_text(pd.DataFrame({"+cmd|x": ["＝1+1"]})) == "'+cmd|x\n'＝1+1\n"


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path):
    folder = tmp_path / "out"
    write_folder(folder, {"a.txt": "old", "sub/b.txt": "old"})
    blocked = tmp_path / "file"
    blocked.write_text("x", encoding="utf-8")
    with pytest.raises(mm.DataError, match="must be a folder"):
        write_folder(blocked, {"a.txt": "new"})
    with pytest.raises(mm.DataError, match="must be writable"):
        write_folder(blocked / "below", {"a.txt": "new"})
    assert (folder / "a.txt").read_text(encoding="utf-8") == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out"]


def test_one_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    write_file(path, "old")
    (tmp_path / "blocked").mkdir()
    with pytest.raises(mm.DataError, match="must be writable"):
        write_file(tmp_path / "blocked", "new")
    write_file(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocked", "report.html"]


def test_every_subset_has_the_engine_s_estimate_and_interval(answers):
    fit = answers.pooled
    rng = np.random.default_rng(20)
    members = np.unique(np.append(rng.integers(1, 1 << 15, size=120), [(1 << 15) - 1, 0b100]))
    random, _ = all_subsets.bounded_subsets(fit, members)
    mask = all_subsets.as_mask(members, fit.k)
    table = mm.batch.random_effects_bounded(
        *(fit.effects[c].to_numpy(dtype=float) for c in ("yi", "vi", "yi_low", "yi_high", "n1i", "n2i")), mask=mask
    )
    np.testing.assert_allclose(random.estimate, table.estimate, **SETTLED)
    np.testing.assert_allclose(random.tau2, table.tau2, **SETTLED)
    low, high = table.ci()
    np.testing.assert_allclose(random.ci_low, low, rtol=0, atol=2e-3)  # an end may lie on another ridge of the profile
    np.testing.assert_allclose(random.ci_high, high, rtol=0, atol=2e-3)
    np.testing.assert_allclose(random.estimate[-1], fit.estimate, **SETTLED)
    np.testing.assert_allclose(random.pi_half[-1], (fit.pi_high - fit.pi_low) / 2, **SETTLED)
    assert np.isnan(random.estimate[members.tolist().index(0b100)])  # a bare direction: nothing stops the mean


def test_a_common_effect_is_the_highest_place_of_the_likelihood_without_tau2(answers):
    fit = answers.pooled
    _, common = all_subsets.bounded_subsets(fit, np.array([(1 << 15) - 1]))
    means = common.estimate[0] + np.array([0.0, -1e-3, 1e-3])
    from metamiq.pooling.bounded_likelihood import value

    heights = value(fit.rows, np.column_stack([means, np.zeros(3)]))
    assert heights[0] == heights.max()
    ends = value(fit.rows, np.array([[common.ci_low[0], 0.0], [common.ci_high[0], 0.0]]))
    np.testing.assert_allclose(2 * (heights[0] - ends), 3.841458820694124, rtol=1e-5)  # chi-squared(1) at 95%


def test_rows_that_say_the_same_are_exchangeable(answers):
    labels = answers.effects["trial_id"].tolist()
    a, b = labels.index("jcp2021"), labels.index("mccabe2019")  # 20 and 20, significant
    rest = (1 << 15) - 1 - (1 << a) - (1 << b)
    random, _ = all_subsets.bounded_subsets(answers.pooled, np.array([rest | 1 << a, rest | 1 << b]))
    assert random.estimate[0] == random.estimate[1]


def test_subsets_of_points_are_those_of_mm_subsets():
    fit = mm.random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    members, left_out = all_subsets.subsets_within_reach(4)
    found = all_subsets.point_subsets(fit, members)
    expected = mm.subsets(fit).set_index("members")
    assert (left_out, len(members)) == (3, 15)
    np.testing.assert_allclose(found.estimate, expected["estimate"], rtol=1e-12)
    # The same model on sums taken in another order.
    np.testing.assert_allclose([found.ci_low[-1], found.ci_high[-1]], [fit.ci_low, fit.ci_high], rtol=1e-12)
    np.testing.assert_allclose(found.ci_high[0] - found.estimate[0], 1.959963984540054 * 0.2, rtol=1e-12)


def test_packed_numbers_come_back():
    import base64

    values = np.array([0.33991, -1.5, np.nan, np.inf, -np.inf, 9.0])
    back = np.frombuffer(base64.b64decode(what_if.pack(values)), dtype="<i2")
    assert back.tolist() == [3399, -15000, what_if.NONE, what_if.ABOVE, what_if.BELOW, what_if.ABOVE]


def test_the_panel_knows_the_rules_the_models_and_the_verdict(panel, answers):
    assert [key for key, _ in panel.rules] == ["primary", "self"]
    assert {t.model for t in panel.tables} == {"random", "common", "points"}
    marker = next(row for row in panel.rows if row["key"] == "marker2020")
    assert marker["is"]["primary"] != marker["is"]["self"]
    changed = next(t for t in panel.tables if t.rule == "self" and t.model == "random")
    assert changed.changed == 1 << [r["key"] for r in panel.rows].index("marker2020")
    assert (changed.numbers.members & changed.changed != 0).all()
    early = dict(panel.presets)["published by April 2018"]
    table = next(t for t in panel.tables if t.rule == "primary" and t.model == "random")
    at = table.numbers.members.tolist().index(early)
    assert what_if.VERDICTS[table.verdict[at]] == "consistent"
    np.testing.assert_allclose(table.numbers.estimate[at], answers.early.estimate, **SETTLED)


def test_many_rows_leave_out_a_few():
    members, left_out = all_subsets.subsets_within_reach(20)
    assert left_out == 5
    assert len(members) == 1 + 20 + 190 + 1140 + 4845 + 15504
    many = mm.random_effects(yi=np.linspace(0, 1, 30), vi=np.full(30, 0.05))
    assert isinstance(what_if.study_table(many, ("a", "b")), CannotFit)


@pytest.mark.parametrize("pi_method", ["test", "HTS", "nagashima"])
def test_the_panel_names_the_prediction_interval_that_it_shows(pi_method):
    rng = np.random.default_rng(4)  # synthetic
    es = pd.DataFrame({"yi": rng.normal(0.3, 0.4, 5), "vi": rng.uniform(0.02, 0.1, 5)})
    shown = what_if.study_table(mm.random_effects(es, pi_method=pi_method), ("A", "B"))
    held = pi_method if pi_method == "HTS" else "test"
    low, high = mm.random_effects(es, pi_method=held).pi()
    numbers = shown.tables[0].numbers
    assert numbers.members[-1] == 31
    np.testing.assert_allclose(numbers.pi_half[-1], (high - low) / 2, rtol=1e-6)
    named = shown.payload()["prediction"]
    assert ("not by the bootstrap (nagashima)" in named) == (pi_method == "nagashima")
    page_of = page(study_report.document(mm.random_effects(es, pi_method=pi_method), "made-up"))
    assert f"<dt>{named}</dt>".replace("'", "&#39;") in page_of


def test_markdown_and_json_say_what_the_page_says(whole, answers):
    text = markdown(whole, {"forest": "forest.svg"})
    for section in whole.sections:
        assert (f"## {section.heading}" in text) == (section.key not in ("calculator", "downloads")), section.key
    assert "](forest.svg)" in text
    assert answers.pooled.basis[:40] in text
    json.loads(json_text(whole.data), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert set(whole.data) >= {"answer", "pooled", "tables", "methods", "glossary", "versions", "derivations"}
    for trial in ("merlo2010", "westra2016", "peynenburg2022"):
        assert whole.data["derivations"][f"trial-{trial}"]["text"] == mm.explain(answers.ds, trial).to_text()


def test_every_row_of_a_table_has_its_cells():
    table = grid("t", pd.DataFrame({"a|b": ["x|y"], "yi": [0.5]}), "Made up.")
    assert table.head == ("a|b", "g")
    assert [c.text for c in table.rows[0]] == ["x|y", "0.500"]


def test_small_study_effects_are_refused_with_one_effect_size(whole):
    section = next(s for s in whole.sections if s.key == "small-study")
    assert "cannot be looked for" in section.blocks[0].text
    assert "1 effect size and 14 bounds" in section.blocks[0].text
    assert "at least 3 effect sizes" in section.blocks[0].text
    assert "A funnel plot is left out" in section.blocks[0].text


def test_points_and_bounds_are_drawn_together_with_what_must_not_be_read(whole):
    section = next(s for s in whole.sections if s.key == "small-study")
    figures = [b for b in section.blocks if b.kind == "figure"]
    assert [f.name for f in figures] == ["albatross"]
    assert "must not be read as a funnel" in figures[0].caption
    assert figures[0].svg.count('id="bound') == 14
    assert "must not be read as a funnel" in markdown(whole)
    assert any("must not be read as a funnel" in text for text in whole.data["small_study"])


def test_a_study_tables_report_has_every_small_study_method():
    table = mm.load_dataset("bcg").trials
    made = study_report.document(mm.random_effects(mm.effect_sizes(table, "OR")), "bcg")
    section = next(s for s in made.sections if s.key == "small-study")
    assert [b.name for b in section.blocks if b.kind == "figure"] == ["funnel"]
    methods = next(b for b in section.blocks if b.kind == "table")
    names = [row[0].text for row in methods.rows]
    for name in (
        "Egger's regression",
        "Begg and Mazumdar",
        "Harbord",
        "Peters",
        "Trim and fill",
        "PET-PEESE",
        "Limit meta-analysis",
        "Selection model, 3 parameters",
        "p-curve",
        "p-uniform*",
        "Excess significance",
        "Fail-safe N (Rosenthal)",
        "Worst case",
    ):
        assert name in names
    assert methods.head[-1] == "not to be read when"
    assert all(row[-1].text for row in methods.rows)
    assert [m["method"] for m in made.data["small_study"]["methods"]] == names
    assert "small_study.csv" in page(made)


def test_a_study_table_has_a_report_too():
    table = mm.load_dataset("normand1999").trials
    fit = mm.random_effects(mm.effect_sizes(table, "SMD"))
    made = study_report.document(fit, "normand1999", ("specialist", "routine"))
    text = page(made)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert f"{fit.estimate:.2f}".replace("-", "") in made.answer[0]
    assert "Egger" in markdown(made)
    assert made.data["derivations"]["row-0"]["text"] == mm.explain(table, "edinburgh", measure="SMD").to_text()
    json.loads(json_text(made.data))


def test_the_same_bytes_each_time(whole, answers, verdicts, tables, drawn, html):
    again = document(
        answers, verdicts, tables, figures.first_question(answers), what_if.first_question(answers, "0.59")
    )
    assert page(again) == html


def test_all_choices_are_summarised_with_the_published_value(answers, verdicts, tables, drawn):
    found = choices_of(answers.ds, "0.59")
    assert any(line.startswith("Against the published 0.59: ") for line in found.summary)
    assert found.moves["eta2"].is_monotonic_decreasing
    made = document(answers, verdicts, tables, drawn, None, found)
    section = next(s for s in made.sections if s.key == "choices")
    assert {b.kind for b in section.blocks} == {"text", "figure", "table"}


def test_without_declared_choices_the_report_says_so(tmp_path):
    import shutil

    shutil.copytree(mm.load_dataset("mi_cbt_anxiety").path, tmp_path / "own")
    (tmp_path / "own" / "choices.toml").unlink(missing_ok=True)
    found = choices_of(mm.read_dataset(tmp_path / "own"), "0.59")
    assert isinstance(found, CannotFit)
    assert "choices" in found.reason


def test_identifiers_are_broken_at_separators_only():
    row = {"study": "a", "sources": "NCT01234567, ISRCTN12345678; 10.1016/j.brat.2016.02.010 <i>"}
    table = grid("characteristics", pd.DataFrame([row]), "Made up.")
    made = page(Document("made up", (), (), (Section("characteristics", "Studies", (table,)),), {}))
    assert "NCT01234567, ISRCTN12345678; 10.<wbr>1016/<wbr>j.<wbr>brat.<wbr>2016.<wbr>02.<wbr>010 &lt;i&gt;" in made
    assert "anywhere" not in re.sub(r"@media print.*", "", made.split("</style>")[0].split(".steps .formula")[0])
