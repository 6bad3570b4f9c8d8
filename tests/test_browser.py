"""The report in a real browser: it loads by itself, answers "what if" with the engine's numbers, and works by keyboard.

Skips on a machine without Chromium.
"""

import json
import os
import random
import select
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import metamiq as mm
from metamiq.question import Answers
from metamiq.report import content, figures, study_report, what_if
from metamiq.report.choices import choices_of
from metamiq.report.first_question import document
from metamiq.report.page import page
from metamiq.report.review import find_review

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

# The page holds numbers in units of 0.0001, and moves what would be rounded a second time by one unit at most.
PACKED = {"rtol": 0, "atol": what_if.UNIT + 1e-7}
SEARCHED = {"rtol": 0, "atol": 2e-3}  # and an end of an interval may lie on another ridge of the profile
SAME_ARITHMETIC = {"rtol": 1e-9}


class Browser:
    """A headless Chromium, spoken to in the DevTools protocol over two pipes."""

    def __init__(self, folder):
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def wire():
            os.dup2(to_child, 13)
            os.dup2(from_child, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self._process = subprocess.Popen(
            [
                CHROMIUM,
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
                *("--disable-extensions", "--disable-background-networking", "--hide-scrollbars"),
                f"--user-data-dir={folder}",
            ],
            preexec_fn=wire,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer, self._next, self.events, self._session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def _read(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._in, 1 << 20)
            if not more:
                raise RuntimeError("the browser has gone")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._read(30)
            assert reply is not None, f"no reply to {method}"
            if reply.get("id") == self._next:
                assert "error" not in reply, reply["error"]
                return reply["result"]
            self.events.append(reply)

    def open(self, url):
        # By way of an empty page: another # of the same page would load nothing.
        self._go("about:blank")
        self._go(url)

    def _go(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        end = time.monotonic() + 30
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            event = self._read(end - time.monotonic())
            assert event is not None, "the page did not load"
            self.events.append(event)

    def run(self, code):
        """What an expression of the page comes to."""
        made = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made.get("exceptionDetails")
        return made["result"].get("value")

    def press(self, key, code=None, number=0, text=None):
        extra = {"text": text} if text else {}
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def complaints(self):
        """Errors and warnings on the console, and what did not come out of the file itself."""
        said = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(params["exceptionDetails"])[:400])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                said.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                said.append(params["entry"]["text"])
        return said

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def view(self, width, dark=False, media="screen", height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def close(self):
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(10)
        except (AssertionError, OSError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def answers():
    return Answers(mm.load_dataset("mi_cbt_anxiety"))


@pytest.fixture(scope="module")
def report(answers, tmp_path_factory):
    verdicts = mm.audit(answers)
    panel = what_if.first_question(answers, "0.59")
    whole = document(
        answers,
        verdicts,
        content.tables(answers, verdicts),
        figures.first_question(answers),
        panel,
        choices_of(answers.ds, "0.59"),
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(whole), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def at(browser, report):
    """Open the report, with an address after #, at desktop width."""

    def go(fragment=""):
        browser.view(1200)
        browser.open(report.as_uri() + fragment)
        return browser

    return go


def shown(browser):
    return browser.run(
        "Object.fromEntries([...document.querySelectorAll('[data-number]')]"
        ".map(e => [e.dataset.number, e.dataset.value]))"
    )


def test_it_loads_in_silence_and_from_one_file(at, report):
    browser = at()
    assert browser.complaints() == []
    assert {u for u in browser.requests() if not u.startswith("about:")} == {report.as_uri()}
    assert browser.run("new Promise(r => setTimeout(r, 20)).then(() => location.href)") == report.as_uri()


def test_a_script_put_into_the_page_cannot_run(at):
    browser = at()
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 1\">'); 0")
    browser.run(
        "{ const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s) }"
    )
    assert browser.run("window.broken === undefined")


def numbers_of(answers, state, rule, model):
    """The engine's numbers for one choice of trials, by its own search."""
    frame = answers.effects
    if rule == "self":
        frame = mm.trial_effects(answers.ds, rule=what_if.RULES[1][2])
    frame = frame[[bool(state >> i & 1) for i in range(len(frame))]]
    if model == "random":
        fit = mm.random_effects_bounded(frame)
        half = (fit.pi().high - fit.pi().low) / 2
        return [fit.estimate, fit.ci_low, fit.ci_high, fit.tau2, half]
    fit = mm.fixed_effect(frame[frame["kind"] == "point"])
    return [fit.estimate, fit.ci_low, fit.ci_high, np.nan, np.nan]


def test_what_if_shows_the_numbers_of_the_engine(at, answers):
    browser = at("#what-if=7fff.primary.random")
    rng = random.Random(8)
    states = [(0x7FFF, "primary", "random")]
    while len(states) < 25:
        state = sum(1 << i for i in rng.sample(range(15), rng.randint(4, 15)))
        states.append((state, rng.choice(("primary", "self")), "random"))
    states.append((0x7FFF, "primary", "points"))
    for state, rule, model in states:
        browser.run(f"location.hash = '#what-if={state:x}.{rule}.{model}'; new Promise(r => setTimeout(r, 20))")
        got = shown(browser)
        try:
            estimate, low, high, tau2, half = numbers_of(answers, state, rule, model)
        except mm.DataError:
            assert got["estimate"] == "", state
            continue
        np.testing.assert_allclose(float(got["estimate"]), estimate, **PACKED, err_msg=hex(state))
        ends = np.clip([low, high], -3.2767, 3.2767)
        page_ends = np.clip([float(x) for x in got["interval"].split()], -3.2767, 3.2767)
        np.testing.assert_allclose(page_ends, ends, **SEARCHED, err_msg=hex(state))
        if model == "random":
            np.testing.assert_allclose(float(got["tau2"]), tau2, **PACKED, err_msg=hex(state))
            np.testing.assert_allclose(float(got["prediction"]), half, **PACKED, err_msg=hex(state))
            expected = "consistent" if low <= 0.59 <= high else "inconsistent"
            assert got["verdict"] == ("reproduced" if abs(estimate - 0.59) <= 0.005 else expected)


def test_the_preset_of_early_trials_gives_the_audit_verdict(at, answers):
    browser = at()
    browser.run("[...document.querySelectorAll('[data-members]')].find(b => /2018/.test(b.textContent)).click()")
    got = shown(browser)
    np.testing.assert_allclose(float(got["estimate"]), answers.early.estimate, **PACKED)
    assert got["verdict"] == mm.audit(answers).table.set_index("claim_id")["verdict"]["pooled-g"]
    assert got["trials"] == "9"


def test_a_link_keeps_the_choice_and_reset_goes_back(at):
    browser = at()
    before = shown(browser)
    browser.run("document.querySelector('#panel input').click()")
    link = browser.run("document.querySelector('a.deep').hash")
    after = shown(browser)
    assert after != before
    assert browser.run("location.hash") == link
    assert shown(at(link)) == after
    assert browser.run("new Promise(r => setTimeout(r, 20)).then(() => location.hash)") == link
    browser.run("document.querySelector('#panel [type=reset]').click(); new Promise(r => setTimeout(r, 20))")
    assert shown(browser) == before
    assert browser.run("document.querySelectorAll('#panel input:checked').length") == 15


def test_the_panel_of_a_study_table_shows_the_engine_s_numbers(browser, tmp_path):
    effects = mm.effect_sizes(mm.load_dataset("lee2004").trials, "OR")  # 16 rows: not all of them may be left out
    path = tmp_path / "study.html"
    path.write_text(page(study_report.document(mm.random_effects(effects), "lee2004")), encoding="utf-8")
    rng = random.Random(16)
    for model, method, test in (("REML-knha", "REML", "knha"), ("DL-z", "DL", "z"), ("FE-z", "FE", "z")):
        keep = sorted(rng.sample(range(16), 9))
        state = sum(1 << i for i in keep)
        browser.open(f"{path.as_uri()}#what-if={state:x}.primary.{model}")
        assert browser.complaints() == []
        fit = mm.random_effects(effects.iloc[keep], method=method, test=test)
        got = shown(browser)
        np.testing.assert_allclose(float(got["estimate"]), fit.estimate, **PACKED)
        np.testing.assert_allclose([float(x) for x in got["interval"].split()], fit.ci(), **PACKED)
        np.testing.assert_allclose(float(got["tau2"]), fit.tau2, **PACKED)
    browser.run("location.hash = '#what-if=1.primary.REML-knha'; new Promise(r => setTimeout(r, 20))")
    assert "leave out at most" in browser.run("document.querySelector('.sentence').textContent")


def test_no_trial_is_no_number(at):
    assert shown(at("#what-if=0.primary.random"))["estimate"] == ""
    nonsense = shown(at("#what-if=zz.nothing.random"))
    assert nonsense["trials"] == "15"


@pytest.mark.parametrize(
    ("m1", "sd1", "n1", "m2", "sd2", "n2"),
    [
        (18.9, 7.4, 15, 24.3, 6.1, 14),
        (94, 22, 60, 92, 20, 60),
        (-3, 0.5, 2, 1e3, 12, 3),
        (0, 1, 100000, 0.01, 1, 99999),
    ],
)
def test_the_calculator_gives_the_engine_s_g(at, m1, sd1, n1, m2, sd2, n2):
    browser = at()
    fields = {"m1": m1, "sd1": sd1, "n1": n1, "m2": m2, "sd2": sd2, "n2": n2}
    got = calculated(browser, "means", fields)
    g, v = mm.hedges_g(m1, sd1, n1, m2, sd2, n2)
    np.testing.assert_allclose([got["g"], got["v"]], [g, v], **SAME_ARITHMETIC)


def calculated(browser, kind, fields):
    return browser.run(
        f"""(() => {{ const f = document.getElementById('calculator-form');
        f.elements.given.value = '{kind}';
        for (const [k, v] of Object.entries({json.dumps(fields)})) f.elements[k].value = String(v);
        f.dispatchEvent(new Event('input', {{bubbles: true}}));
        const d = f.elements.result.dataset;
        return {{g: Number(d.g), v: Number(d.v), low: Number(d.low), high: Number(d.high), text: f.innerText}} }})()"""
    )


def test_the_calculator_takes_t_and_says_what_is_wrong(at):
    browser = at()
    got = calculated(browser, "t", {"t": "2,51", "n1": 8, "n2": 8})  # a decimal comma
    found = mm.explain(t=2.51, n1=8, n2=8)
    expected = [found[name] for name in ("estimate", "variance", "ci_low", "ci_high")]
    np.testing.assert_allclose([got[k] for k in ("g", "v", "low", "high")], expected, **SAME_ARITHMETIC)
    wrong = calculated(browser, "t", {"t": "2.51", "n1": 1, "n2": 8})
    assert wrong["g"] is None
    assert "n, group 1 must be a whole number of at least 2" in wrong["text"]


def test_a_number_opens_its_derivation_by_keyboard_and_escape_goes_back(at, answers):
    browser = at()
    browser.run("document.querySelector('#trials a[data-why=\"trial-peynenburg2022\"]').focus()")
    browser.press("Enter", number=13, text="\r")
    assert browser.run("document.getElementById('why').open")
    text = browser.run("document.querySelector('#why pre').textContent")
    assert text == mm.explain(answers.ds, "peynenburg2022").to_text()
    browser.press("Escape", number=27)
    assert browser.run("document.getElementById('why').open") is False
    assert browser.run("document.activeElement.dataset.why") == "trial-peynenburg2022"


def test_trials_are_ticked_by_keyboard(at):
    browser = at()
    before = shown(browser)
    browser.run("document.querySelector('#panel input').focus()")
    browser.press(" ", code="Space", number=32, text=" ")
    assert shown(browser)["trials"] == "14"
    assert shown(browser)["estimate"] != before["estimate"]
    browser.press("Tab", number=9)
    assert browser.run("document.activeElement === document.querySelectorAll('#panel input')[1]")


def test_the_first_tab_skips_to_the_content(at):
    browser = at()
    browser.press("Tab", number=9)
    assert browser.run("document.activeElement.outerHTML.slice(0, 20)") == '<a class="skip" href'


def test_a_source_shows_on_focus(at):
    browser = at()
    style = "getComputedStyle(document.querySelector('#trials .source')).display"
    assert browser.run(style) == "none"
    browser.run("document.querySelector('#trials .number-link').focus()")
    assert browser.run(style) == "block"


@pytest.mark.parametrize("width", [320, 360, 800, 1200])
def test_nothing_sticks_out_sideways(at, width):
    browser = at()
    browser.view(width)
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(at, dark):
    """4.5 to 1 for all text whose own background is known (WCAG 2.2, 1.4.3)."""
    browser = at()
    browser.view(1200, dark=dark)
    low = browser.run(CONTRAST)
    assert low == []


CONTRAST = """(() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const linear = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const lum = (c) => [.2126, .7152, .0722].reduce((s, w, i) => s + w * linear(c[i]), 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] === 1) return c;
    }
    return [255, 255, 255, 1];
  };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg, script, style, noscript') || !e.checkVisibility()) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = lum(parse(getComputedStyle(e).color)), b = lum(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(e.tagName + ' ' + e.className + ' ' + ratio.toFixed(2));
  }
  return [...new Set(bad)];
})()"""

AXE = os.environ.get("AXE_CORE", "")  # axe.min.js of the npm package axe-core


@pytest.mark.skipif(not Path(AXE).is_file(), reason="AXE_CORE does not name axe.min.js")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_fault(at, dark):
    browser = at()
    browser.view(1200, dark=dark)
    assert axe_faults(browser) == []


def axe_faults(browser):
    browser.call("Runtime.evaluate", expression=Path(AXE).read_text(encoding="utf-8"))
    return browser.run(
        "axe.run(document, {resultTypes: ['violations']})"
        ".then(r => r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 99)).join(' | ')))"
    )


def test_a_page_with_all_documents_of_a_review(browser, tmp_path):
    """Made-up flow, risk of bias and judgements: nothing sticks out, text has contrast, headings are in order."""
    table = mm.effect_sizes(mm.load_dataset("bcg").trials, "RR")
    rows = [f"{name},Low,Low,High,Low,Some concerns,High" for name in table["study"]]
    (tmp_path / "risk_of_bias.csv").write_text("\n".join(["Study,D1,D2,D3,D4,D5,Overall", *rows]), encoding="utf-8")
    (tmp_path / "flow.csv").write_text("key,n\ndatabases,100\nrecords_screened,90\n", encoding="utf-8")
    (tmp_path / "grade.toml").write_text(mm.grade_table(table).template(), encoding="utf-8")
    whole = study_report.document(mm.random_effects(table), "bcg", review=find_review(tmp_path))
    file = tmp_path / "review.html"
    file.write_text(page(whole), encoding="utf-8")
    for width, dark in ((320, False), (1200, True)):
        browser.view(width, dark=dark)
        browser.open(file.as_uri())
        assert browser.complaints() == []
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run(CONTRAST) == []
        levels = browser.run("[...document.querySelectorAll('main h2, main h3')].map(e => +e.tagName[1])")
        assert levels[0] == 2
        if Path(AXE).is_file():
            assert axe_faults(browser) == []
