"use strict";
// Nothing here computes statistics, except the calculator's g, which a test holds to the engine.

const MINUS = "\u2212", INFINITE = "\u221e";

function fixed(value, digits) {
  if (value === Infinity) return INFINITE;
  if (value === -Infinity) return MINUS + INFINITE;
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? MINUS : "") + text;
}

function element(name, text, attributes) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
}

// How a number came about: its derivation, in a dialog; without a script the link leads to the same text.
(() => {
  const dialog = document.getElementById("why");
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-why]");
    if (!link) return;
    const text = document.getElementById("why-" + link.dataset.why);
    if (!text) return;
    event.preventDefault();
    dialog.querySelector("h2").textContent = text.parentElement.querySelector("summary").textContent;
    dialog.querySelector("pre").textContent = text.textContent;
    dialog.showModal();
    dialog.querySelector("pre").scrollTop = 0;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();

// What if: every answer was computed beforehand; this looks it up.
(() => {
  const source = document.getElementById("what-if-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const panel = document.getElementById("panel"), form = panel.querySelector("form");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const rule = form.elements.rule, model = form.elements.model;
  const everything = 2 ** boxes.length - 1, base = { rule: rule.value, model: model.value };
  const NONE = -32768, BELOW = -32767, ABOVE = 32767;
  const VERDICTS = ["", "reproduced", "consistent", "inconsistent"];

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const integers = (text) => new Int16Array(bytes(text).buffer);
  const count = (members) => { let n = 0; for (let m = members; m; m &= m - 1) n++; return n; };
  const value = (i) => (i === NONE ? NaN : i === BELOW ? -Infinity : i === ABOVE ? Infinity : i * data.unit);

  // The subsets that a table holds, in its order.
  function places(table) {
    if (table.places) return table.places;
    table.places = new Map();
    const size = count(table.over);
    for (let m = 1; m <= everything; m++) {
      if ((m & table.over) !== m || !(m & table.changed) || size - count(m) > table.leftOut) continue;
      table.places.set(m, table.places.size);
    }
    for (const name of ["estimate", "low", "high", "tau2", "half"]) table[name] = integers(table[name]);
    table.verdict = bytes(table.verdict);
    return table.places;
  }

  function answer(state) {
    const find = (key) => data.tables.find((t) => t.rule === key && t.model === state.model);
    let table = find(state.rule);
    if (!table) return null;
    let members = state.members & table.over;
    if (members && !(members & table.changed)) table = find(base.rule), members = state.members & table.over;
    const at = places(table).get(members);
    if (at === undefined) return { members, missing: true };
    const found = { members, verdict: VERDICTS[table.verdict[at]] };
    for (const name of ["estimate", "low", "high", "tau2", "half"]) found[name] = value(table[name][at]);
    return found;
  }

  function read() {
    let members = 0;
    boxes.forEach((box, i) => { if (box.checked) members |= 1 << i; });
    return { members, rule: rule.value, model: model.value };
  }

  function write(state) {
    boxes.forEach((box, i) => { box.checked = Boolean((state.members >> i) & 1); });
    rule.value = state.rule;
    model.value = state.model;
  }

  const address = (state) => "#what-if=" + [state.members.toString(16), state.rule, state.model].join(".");

  function fromAddress() {
    const parts = decodeURIComponent(location.hash).match(/^#what-if=([0-9a-f]{1,8})\.([^.]+)\.([^.]+)$/);
    if (!parts) return null;
    const state = { members: parseInt(parts[1], 16) & everything, rule: parts[2], model: parts[3] };
    const known = (select, key) => [...select.options].some((o) => o.value === key);
    return known(rule, state.rule) && known(model, state.model) ? state : null;
  }

  const all = answer({ members: everything, ...base });
  const ends = [0, all.low, all.high, all.estimate, Number(data.published) || 0].filter(Number.isFinite);
  const middle = (Math.min(...ends) + Math.max(...ends)) / 2, half = Math.max(...ends) - Math.min(...ends) || 1;
  const left = middle - 1.5 * half, right = middle + 1.5 * half;
  const x = (v) => 20 + 600 * (Math.min(Math.max(v, left), right) - left) / (right - left);

  function drawn(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, v] of Object.entries(attributes)) made.setAttribute(key, v);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function diamond(found, y, height, kind) {
    const [a, m, b] = [found.low, found.estimate, found.high].map(x);
    const parts = [];
    if (kind === "now" && Number.isFinite(found.half)) {
      parts.push(drawn("line", { x1: x(found.estimate - found.half), x2: x(found.estimate + found.half), y1: y, y2: y, class: "reach" }));
    }
    parts.push(drawn("polygon", { points: `${a},${y} ${m},${y - height} ${b},${y} ${m},${y + height}`, class: kind }));
    if (found.high > right) parts.push(drawn("text", { x: 626, y: y + 5 }, "\u203a"));
    if (found.low < left) parts.push(drawn("text", { x: 8, y: y + 5 }, "\u2039"));
    return parts;
  }

  function draw(found) {
    const svg = panel.querySelector("svg.diamond"), parts = [svg.querySelector("title")];
    parts.push(drawn("line", { x1: 20, x2: 620, y1: 118, y2: 118 }));
    const step = [0.05, 0.1, 0.25, 0.5, 1, 2, 5].find((s) => (right - left) / s <= 8) || 10;
    for (let v = Math.ceil(left / step) * step; v <= right; v += step) {
      parts.push(drawn("line", { x1: x(v), x2: x(v), y1: 118, y2: 124 }));
      parts.push(drawn("text", { x: x(v), y: 142, "text-anchor": "middle" }, fixed(v, step < 0.1 || step === 0.25 ? 2 : 1)));
    }
    parts.push(drawn("line", { x1: x(0), x2: x(0), y1: 20, y2: 118 }));
    if (data.published) {
      const at = x(Number(data.published));
      parts.push(drawn("line", { x1: at, x2: at, y1: 20, y2: 118, class: "published" }));
      parts.push(drawn("text", { x: at, y: 14, "text-anchor": "middle" }, "published " + data.published));
    }
    parts.push(...diamond(all, 42, 8, "before"));
    if (found && Number.isFinite(found.estimate)) parts.push(...diamond(found, 85, 14, "now"));
    svg.replaceChildren(...parts);
  }

  function show() {
    const state = read(), found = answer(state);
    const used = found ? found.members : 0, out = boxes.length - count(state.members);
    const put = (name, text, raw) => {
      const cell = panel.querySelector(`[data-number=${name}]`);
      cell.textContent = text;
      cell.dataset.value = raw === undefined ? "" : String(raw);
    };
    const level = Math.round(data.level * 1000) / 10 + "%";
    const headline = panel.querySelector(".headline"), sentence = panel.querySelector(".sentence");
    boxes.forEach((box, i) => {
      const is = data.rows[i].is;
      box.parentElement.querySelector(".is").textContent = is[state.rule] || is[base.rule];
    });
    for (const button of form.querySelectorAll("[data-members]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.members) === state.members));
    }
    form.querySelector("a.deep").href = address(state);
    for (const name of ["estimate", "interval", "tau2", "prediction", "verdict"]) put(name, "\u2013");
    put("trials", `${count(used)} of ${boxes.length}`, count(used));
    draw(found);
    if (!used) {
      headline.textContent = "Nothing to pool";
      sentence.textContent = "Tick at least one trial that this model can use.";
      return;
    }
    if (found.missing) {
      headline.textContent = "Not in this page";
      sentence.textContent = `It holds answers that leave out at most ${data.leftOut}; ${out} are left out here.`;
      return;
    }
    if (Number.isNaN(found.estimate)) {
      headline.textContent = "No estimate";
      sentence.textContent = "Nothing among these trials stops the mean on one side, as with significant results alone.";
      return;
    }
    const known = !Number.isNaN(found.low);
    const interval = known ? `${fixed(found.low, 2)} to ${fixed(found.high, 2)}` : "not defined";
    headline.textContent = `${data.symbol} = ${fixed(found.estimate, 2)} (${level} interval ${interval})`;
    sentence.textContent = !known ? "" : found.low > 0
      ? data.said[0]
      : found.high < 0 ? data.said[1] : "The interval includes no difference.";
    put("estimate", fixed(found.estimate, 2), found.estimate);
    put("interval", interval, [found.low, found.high].join(" "));
    put("tau2", Number.isNaN(found.tau2) ? "not known" : fixed(found.tau2, 3), found.tau2);
    put("prediction", Number.isNaN(found.half) ? "not defined"
      : `${fixed(found.estimate - found.half, 2)} to ${fixed(found.estimate + found.half, 2)}`, found.half);
    if (data.published) {
      put("verdict", `${data.published}: ${found.verdict}`, found.verdict);
      sentence.textContent += ` The published ${data.published} is ${found.verdict}${found.verdict === "reproduced" ? "" : " with it"}.`;
    }
  }

  function changed() {
    show();
    history.replaceState(null, "", address(read()));
  }

  if (!data.published) panel.querySelector(".claim").hidden = true;
  panel.querySelector("[data-number=estimate]").previousElementSibling.textContent = `pooled ${data.symbol}`;
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    show();
    history.replaceState(null, "", "#what-if");
  }));
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-members]");
    if (!button) return;
    write({ ...read(), members: Number(button.dataset.members) });
    changed();
  });
  function follow() {
    const state = fromAddress();
    if (!state) return;
    write(state);
    show();
    document.getElementById("what-if").scrollIntoView();
  }
  addEventListener("hashchange", follow);
  panel.hidden = false;
  show();
  follow();
})();

// The calculator: Hedges g with the exact correction, each step shown.
(() => {
  const form = document.getElementById("calculator-form");
  if (!form) return;
  const Z = 1.959963984540054; // normal quantile of 0.975

  // J = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), by Gamma(x + 1) = x Gamma(x) from m = 2 or 3.
  function correction(m) {
    let ratio = m % 2 ? Math.sqrt(Math.PI) / 2 : 1 / Math.sqrt(Math.PI);
    for (let i = m % 2 ? 3 : 2; i < m; i += 2) ratio *= i / (i - 1);
    return ratio / Math.sqrt(m / 2);
  }

  const number = (name) => {
    const text = form.elements[name].value.trim().replace(",", ".").replace(MINUS, "-");
    return text === "" ? NaN : Number(text);
  };

  const show = (v) => (v < 0 ? MINUS : "") + String(Number(Math.abs(v).toPrecision(7)));
  const inside = (v) => (v < 0 ? `(${show(v)})` : show(v)); // within a formula

  function steps(kind) {
    const n1 = number("n1"), n2 = number("n2");
    for (const [name, n] of [["n, group 1", n1], ["n, group 2", n2]]) {
      if (!Number.isInteger(n) || n < 2 || n > 1e6) throw new Error(`${name} must be a whole number of at least 2.`);
    }
    const list = [];
    const add = (words, formula, v) => { list.push([words, formula, v]); return v; };
    const m = add("degrees of freedom", `m = n\u2081 + n\u2082 ${MINUS} 2 = ${n1} + ${n2} ${MINUS} 2`, n1 + n2 - 2);
    let d;
    if (kind === "means") {
      const [m1, m2, sd1, sd2] = ["m1", "m2", "sd1", "sd2"].map(number);
      if (!Number.isFinite(m1) || !Number.isFinite(m2)) throw new Error("Both means must be numbers.");
      if (!(sd1 > 0 && sd2 > 0 && Number.isFinite(sd1 + sd2))) throw new Error("Both SDs must be greater than 0.");
      const s = add("pooled standard deviation",
        `s = \u221a(((n\u2081 ${MINUS} 1) SD\u2081\u00b2 + (n\u2082 ${MINUS} 1) SD\u2082\u00b2) / m) = \u221a((${n1 - 1}\u00b7${show(sd1)}\u00b2 + ${n2 - 1}\u00b7${show(sd2)}\u00b2) / ${m})`,
        Math.sqrt(((n1 - 1) * sd1 ** 2 + (n2 - 1) * sd2 ** 2) / m));
      d = add("standardised mean difference", `d = (M\u2081 ${MINUS} M\u2082) / s = (${show(m1)} ${MINUS} ${inside(m2)}) / ${show(s)}`, (m1 - m2) / s);
    } else {
      const t = number("t");
      if (!Number.isFinite(t)) throw new Error("t must be a number.");
      d = add("standardised mean difference", `d = t \u221a(1/n\u2081 + 1/n\u2082) = ${show(t)} \u221a(1/${n1} + 1/${n2})`, t * Math.sqrt(1 / n1 + 1 / n2));
    }
    const j = add("small-sample correction (Hedges 1981)", `J = \u0393(m/2) / (\u221a(m/2) \u0393((m ${MINUS} 1)/2)), m = ${m}`, correction(m));
    const g = add("Hedges g", `g = J d = ${show(j)}\u00b7${inside(d)}`, j * d);
    const v = add("sampling variance (Hedges 1982)", `v = 1/n\u2081 + 1/n\u2082 + g\u00b2 / (2 (n\u2081 + n\u2082)) = 1/${n1} + 1/${n2} + ${inside(g)}\u00b2 / ${2 * (n1 + n2)}`, 1 / n1 + 1 / n2 + g * g / (2 * (n1 + n2)));
    const se = add("standard error", `SE = \u221av = \u221a${show(v)}`, Math.sqrt(v));
    add("lower end of the 95% interval", `g ${MINUS} 1.96 SE = ${show(g)} ${MINUS} 1.96\u00b7${show(se)}`, g - Z * se);
    add("upper end of the 95% interval", `g + 1.96 SE = ${show(g)} + 1.96\u00b7${show(se)}`, g + Z * se);
    return { list, g, v, low: g - Z * se, high: g + Z * se };
  }

  function update() {
    const kind = form.elements.given.value;
    for (const label of form.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== kind;
    const headline = form.querySelector(".headline"), list = form.querySelector(".steps"), output = form.elements.result;
    try {
      const found = steps(kind);
      for (const name of ["g", "v", "low", "high"]) output.dataset[name] = String(found[name]);
      headline.textContent = `g = ${fixed(found.g, 3)} (95% interval ${fixed(found.low, 3)} to ${fixed(found.high, 3)})`;
      list.replaceChildren(...found.list.map(([words, formula, v]) => {
        const item = element("li", words + ": ");
        item.append(element("span", `${formula} = ${show(v)}`, { class: "formula" }));
        return item;
      }));
    } catch (error) {
      for (const name of ["g", "v", "low", "high"]) delete output.dataset[name];
      headline.textContent = error.message;
      list.replaceChildren();
    }
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
