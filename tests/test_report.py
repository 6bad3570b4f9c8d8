"""The report's content, page and files."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq.question import Answers
from metamiq.report import content, figures
from metamiq.report.page import cell, inline_svg, page
from metamiq.report.writing import csv_text, json_text, write_folder


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
def html(answers, verdicts, tables, drawn):
    return page(answers, verdicts, tables, drawn)


class Tags(HTMLParser):
    VOID = ("meta", "link", "br", "img", "hr", "input")

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
    assert all(link.startswith("#") for link in tags.links)
    for link in tags.links:
        assert link[1:] in tags.ids
    assert "default-src 'none'" in html
    assert not re.search(r"<script|javascript:|\son\w+=", html)
    assert html.count("<svg") == 5


def test_names_cannot_become_markup(answers, verdicts, tables, drawn):
    bad = dict(tables, effects=tables["effects"].assign(label="<script>alert(1)</script>"))
    text = page(answers, verdicts, bad, drawn)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


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
    assert cell(None) == cell(float("nan")) == ""
    assert cell(float("inf")) == "∞"
    assert cell(-0.0001) == "0.000"
    assert cell(-0.5) == "−0.500"
    assert cell(20.0) == "20"
    assert cell(True) == "yes"


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
