"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const FIELDS = ["number", "state", "accuracy", "reward", "seconds", "reason", "twin", "costs", "choices", "blocks", "frame", "size"];
const trials = data.trials.map((row) => Object.fromEntries(FIELDS.map((field, i) => [field, row[i]])));
const byNumber = new Map(trials.map((trial) => [trial.number, trial]));
const front = new Set(data.pareto);
const $ = (id) => document.getElementById(id);
let cost = 0, chosen = null, sortBy = "number", rising = true, rows = 200, passing = trials, spots = [];

function element(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "polygon"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
// The run folder as one word of a command line, where this page lies in it and is opened as a file; moved with it, it is still right.
const PROMOTE = "python -m mnasnet promote RUN";
function folder() {
  const place = decodeURIComponent(location.pathname), path = place.replace(/\/[^/]*$/, "") || "/";
  if (location.protocol !== "file:" || location.host || !place.endsWith("/report.html")) return "RUN";
  if (/^\/[A-Za-z]:/.test(path)) return `"${path.slice(1)}"`;
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'"'"'`)}'`;
}
const located = (text) => text.replaceAll(/(python -m mnasnet (?:promote|extend|export)) RUN/g, (_, command) => `${command} ${folder()}`);
for (const note of document.querySelectorAll(".warning")) note.textContent = located(note.textContent);
const percent = (share) => (share === null ? "–" : (100 * share).toFixed(1) + "%");
function number(value) {
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}
const costText = (value, i) =>
  value === null ? "–" : (number(value * data.costs[i].scale) + " " + data.costs[i].unit).trim();

// Ticks at 1, 2 or 5 times a power of ten.
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
// A chart's frame: axes with ticks, and functions from values to pixels.
function frame(xs, ys, { width, height, xLabel, yLabel, yText = number, left = 56, foot = 0 }) {
  const range = (values, share) => {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = (high - low || Math.abs(high) || 1) * share;
    return [low - room, high + room];
  };
  const [x0, x1] = range(xs, 0.04), [y0, y1] = range(ys, 0.06), bottom = height - 44;
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - 14);
  const y = (value) => bottom - foot - ((value - y0) / (y1 - y0)) * (bottom - foot - 12);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yLabel} over ${xLabel}` });
  for (const tick of ticks(y0, y1, height / 60)) {
    svg.append(element("line", { class: "grid", x1: left, x2: width - 14, y1: y(tick), y2: y(tick) }));
    svg.append(element("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }, yText(tick)));
  }
  for (const tick of ticks(x0, x1, width / 90)) {
    svg.append(element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 12, y2: bottom }));
    svg.append(element("text", { x: x(tick), y: bottom + 17, "text-anchor": "middle" }, number(tick)));
  }
  svg.append(element("line", { class: "axis", x1: left, x2: width - 14, y1: bottom, y2: bottom }));
  svg.append(element("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, xLabel));
  const middle = (bottom + 12) / 2;
  svg.append(element("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, yLabel));
  return { svg, x, y, left, bottom };
}
// Thousands of dots are one path of zero-length strokes with round ends.
const dots = (places) => places.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
const rings = (places) => places.map(([x, y]) => `M${(x - 3).toFixed(1)} ${y.toFixed(1)}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`).join("");
const nothing = (text) => element("p", { class: "soft" }, text);
const chartWidth = (box) => Math.max(300, Math.min(1000, box.clientWidth || 1000));

// Over another cost, or where several were traded, the set is no line: some of it looks beaten.
const isLine = () => data.costs.length > 0 && data.costs[cost].name === data.frontCost;
function drawPlot() {
  const box = $("plot"), scale = data.costs.length ? data.costs[cost].scale : 1;
  const by = $("longer") ? $("longer").value : "";
  const priced = passing.filter((trial) => data.costs.length && trial.costs[cost] !== null);
  const judged = priced.filter((trial) => trial.accuracy !== null && trial.state !== "repeated");
  const unjudged = priced.filter((trial) => trial.state === "infeasible");
  const longer = by ? data.contenders.filter((c) => c[by] !== null && c.costs[cost] !== null) : [];
  spots = [];
  if (!judged.length && !longer.length && !unjudged.length) return box.replaceChildren(nothing("No network to show."));
  const lines = [["limit", data.limits], ["target", data.target]].map(([kind, of]) => [kind, of[data.costs[cost].name]]).filter(([, at], place, all) => at !== undefined && (place || at !== all[1][1]));
  const xs = [...judged, ...longer].map((one) => one.costs[cost] * scale).concat(lines.map(([, at]) => at * scale));
  // networks far above a limit would squeeze those that matter into a corner
  const reach = 1.3 * xs.reduce((a, b) => Math.max(a, b), -Infinity), tooFar = judged.length ? unjudged.filter((t) => t.costs[cost] * scale > reach) : [];
  const near = judged.length ? unjudged.filter((trial) => trial.costs[cost] * scale <= reach) : unjudged;
  xs.push(...near.map((trial) => trial.costs[cost] * scale));
  const ys = judged.map((trial) => trial.accuracy).concat(longer.map((c) => c[by]));
  if (!ys.length) ys.push(0, 1);
  const width = chartWidth(box), foot = unjudged.length ? 32 : 0;
  const { svg, x, y, left, bottom } = frame(xs, ys, { width, height: width < 600 ? 340 : 460, foot,
    xLabel: `${data.costs[cost].label}, ${data.costs[cost].how}`, yLabel: data.accuracy, yText: (v) => number(100 * v) + "%" });
  const placed = new Map();
  for (const trial of judged) placed.set(trial, [x(trial.costs[cost] * scale), y(trial.accuracy)]);
  for (const trial of near) placed.set(trial, [x(trial.costs[cost] * scale), bottom - 11]);
  for (const [trial, at] of placed) spots.push({ at, trial });
  const target = data.target[data.costs[cost].name];
  const above = (trial) => target !== undefined && trial.costs[cost] > target;
  const hollow = [...near, ...judged.filter(above)].map((trial) => placed.get(trial));
  svg.append(element("path", { class: "dots", d: dots(judged.filter((t) => !above(t)).map((t) => placed.get(t))) }));
  svg.append(element("path", { class: "rings", d: rings(hollow) }));
  if (foot) svg.append(element("text", { x: left + 4, y: bottom - foot - 1, class: "strip-name" }, "above a limit, not trained:" + (tooFar.length ? ` (${tooFar.length} more further right)` : "")));
  for (const [kind, at] of lines) {
    svg.append(element("line", { class: kind, x1: x(at * scale), x2: x(at * scale), y1: 12, y2: bottom }));
    const beside = x(at * scale) > width - 70 ? { x: x(at * scale) - 5, "text-anchor": "end" } : { x: x(at * scale) + 5 };
    svg.append(element("text", { ...beside, y: bottom - foot - (foot ? 15 : 0) - (kind === "limit" ? 20 : 6), class: "line-name" }, kind));
  }
  const best = judged.filter((trial) => front.has(trial.number)).sort((a, b) => a.costs[cost] - b.costs[cost]).map((t) => placed.get(t));
  if (isLine()) svg.append(element("path", { class: "front", d: best.map((at, i) => (i ? "L" : "M") + at.join(" ")).join("") }));
  svg.append(element("path", { class: "front dots", d: dots(best) }));
  const won = placed.get(byNumber.get(data.winner));
  if (won) svg.append(star(...won));
  for (const contender of longer) drawContender(svg, contender, x(contender.costs[cost] * scale), y(contender[by]), placed, width);
  svg.append(element("g", { id: "halo" }));
  box.replaceChildren(svg, element("div", { class: "tip", id: "tip", hidden: "" }));
  mark();
  svg.addEventListener("pointermove", (event) => hover(event, svg, width));
  svg.addEventListener("pointerleave", () => ($("tip").hidden = true));
  svg.addEventListener("click", (event) => {
    const spot = nearest(event, svg, width);
    if (spot && spot.trial) choose(spot.trial);
  });
}
function star(x, y) {
  const points = [...Array(10).keys()].map((i) => {
    const r = i % 2 ? 4.5 : 11, turn = (Math.PI * i) / 5;
    return `${x + r * Math.sin(turn)},${y - r * Math.cos(turn)}`;
  });
  return element("polygon", { class: "star", points: points.join(" ") });
}
function drawContender(svg, contender, x, y, placed, width) {
  const trial = byNumber.get(contender.trial), from = placed.get(trial);
  if (from) svg.append(element("line", { class: "tie", x1: from[0], y1: from[1], x2: x, y2: y }));
  const shape = contender.kind === "reference" ? "M-5 -5h10v10h-10z" : "M0 -7l7 7l-7 7l-7 -7z";
  svg.append(element("path", { class: contender.kind, d: shape, transform: `translate(${x} ${y})` }));
  const taken = spots.some((spot) => spot.contender && Math.abs(spot.at[1] - y) < 13 && Math.abs(spot.at[0] - x) < 130);
  const left = x > width - 150;
  if (!taken) svg.append(element("text", { class: "name", x: x + (left ? -11 : 11), y: y + 4, "text-anchor": left ? "end" : "start" }, contender.name));
  spots.push({ at: [x, y], trial, contender });
}
function nearest(event, svg, width) {
  const box = svg.getBoundingClientRect(), zoom = width / box.width;
  const x = (event.clientX - box.left) * zoom, y = (event.clientY - box.top) * zoom;
  let found = null, least = 20 ** 2;
  for (const spot of spots) {
    const far = (spot.at[0] - x) ** 2 + (spot.at[1] - y) ** 2;
    if (far <= least) [found, least] = [spot, far];
  }
  return found;
}
function hover(event, svg, width) {
  const spot = nearest(event, svg, width), tip = $("tip");
  tip.hidden = !spot;
  svg.style.cursor = spot && spot.trial ? "pointer" : "default";
  if (!spot) return;
  const { trial, contender } = spot, one = contender || trial;
  const lines = data.costs.map((c, i) => `${c.title} ${costText(one.costs[i], i)}${c.how === "measured" ? " measured" : ""}`);
  const accuracy = contender
    ? [`${contender.epochs} ${contender.epochs === 1 ? "epoch" : "epochs"}: validation ${percent(contender.validation)}, test ${percent(contender.test)}`]
    : trial.accuracy === null ? [data.reasons[trial.reason]] : [`${data.accuracy} ${percent(trial.accuracy)}`];
  tip.replaceChildren(element("b", {}, contender ? contender.name : `trial ${trial.number}, ${trial.state}`),
    ...[...accuracy, ...lines].map((line) => element("div", {}, line)));
  const zoom = svg.getBoundingClientRect().width / width, left = spot.at[0] * zoom;
  tip.style.left = `${Math.max(0, left > (width * zoom) / 2 ? left - tip.offsetWidth - 14 : left + 14)}px`;
  tip.style.top = `${Math.max(0, spot.at[1] * zoom - tip.offsetHeight / 2)}px`;
}
function mark() {
  const spot = spots.find((one) => one.trial && one.trial === chosen && !one.contender), halo = $("halo");
  if (halo) halo.replaceChildren(...(spot ? [element("circle", { class: "halo", cx: spot.at[0], cy: spot.at[1], r: 10 })] : []));
  for (const row of $("trials").tBodies[0].rows) row.classList.toggle("chosen", chosen !== null && row.dataset.trial === String(chosen.number));
}

function choose(trial) {
  chosen = trial;
  $("chosen").hidden = false;
  $("chosen-title").textContent = `Trial ${trial.number}${trial.number === data.winner ? ", the winner" : front.has(trial.number) ? ", in the Pareto set" : ""}`;
  const facts = [["state", trial.state + (trial.twin === null ? "" : ` of trial ${trial.twin}`)], [data.accuracy, percent(trial.accuracy)]];
  if (trial.reward !== null) facts.push(["reward", number(trial.reward)]);
  data.costs.forEach((c, i) => facts.push([c.title, `${costText(trial.costs[i], i)} ${trial.costs[i] === null ? "" : c.how}`]));
  if (trial.size) facts.push(["input", `${trial.size} px`]);
  facts.push(["time", `${number(trial.seconds)} s`]);
  if (data.reasons[trial.reason]) facts.push(["reason", data.reasons[trial.reason]]);
  if (trial.accuracy !== null) facts.push(["train it fully", element("code", {}, located(`${PROMOTE} --trial ${trial.number}`))]);
  $("facts").replaceChildren(...facts.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", { class: "left" }, value))));
  $("drawing").replaceChildren(trial.frame ? drawing(trial) : nothing("Its choices were not all made."));
  mark();
}
// Each layer is a bar: as long as the root of its channels, as high as its kernel, coloured by its operator.
function drawing(trial) {
  const [stem, stride, head] = trial.frame, svg = element("svg", { role: "img", "aria-label": `Design of trial ${trial.number}` });
  const length = (channels) => 9 * Math.sqrt(channels), textAt = 9 * Math.sqrt(320) + 26;
  let y = 4, shrink = stride;
  const line = (kind, layers, channels, kernel, se, text) => {
    const height = 4 + 2 * kernel, top = y;
    for (let i = 0; i < layers; i++, y += height + 2) svg.append(element("rect", { class: kind, x: 0, y, width: length(Math.min(channels, 320)), height, rx: 3 }));
    const middle = (top + y - 2) / 2;
    if (se) svg.append(element("circle", { class: "se", cx: length(Math.min(channels, 320)) + 9, cy: middle, r: 4.5 }));
    svg.append(element("text", { class: "name", x: textAt, y: middle + 4 }, text));
    y = Math.max(y, middle + 9) + 7;
  };
  line("conv", 1, stem, 3, 0, `stem 3×3, ${stem} channels, 1/${shrink}`);
  for (const block of trial.blocks.map((place) => data.designs[place])) {
    shrink *= block.stride;
    const parts = [(block.operator === "inverted" ? `inverted ×${block.expansion}` : block.operator) + ` ${block.kernel}×${block.kernel}`, `${block.channels} ch`];
    if (block.repeats > 1) parts.push(`×${block.repeats}`);
    if (block.se_ratio) parts.push(`SE ${block.se_ratio}`);
    parts.push(block.skip === "none" ? "no skip" : block.skip === "pool" ? "pool skip" : "skip", `1/${shrink}`);
    const kind = block.operator === "inverted" && block.expansion > 3 ? "wide" : block.operator;
    line(kind, block.repeats, block.channels, block.kernel, block.se_ratio, parts.join(", "));
  }
  line("conv", 1, head, 1, 0, `head 1×1, ${head} channels, pooling, classifier`);
  svg.setAttribute("viewBox", `0 0 ${textAt + 300} ${y}`);
  return svg;
}

function columns() {
  return [["number", "Trial", (t) => t.number], ["state", "State", (t) => t.state], ["accuracy", "Accuracy", (t) => percent(t.accuracy)]]
    .concat(trials.some((t) => t.reward !== null) ? [["reward", "Reward", (t) => (t.reward === null ? "–" : t.reward.toFixed(4))]] : [])
    .concat(data.costs.map((c, i) => [`cost${i}`, c.title, (t) => costText(t.costs[i], i), c.how]))
    .concat([["seconds", "Seconds", (t) => number(t.seconds)], ["why", "Reason", (t) => data.reasons[t.reason] || (t.twin === null ? "" : `repeats trial ${t.twin}`)]]);
}
const valueOf = (trial, key) => (key.startsWith("cost") ? trial.costs[Number(key.slice(4))] : key === "why" ? data.reasons[trial.reason] : trial[key]);
function drawTable() {
  const head = element("tr"), body = [];
  for (const [key, title, , how] of columns()) {
    const cell = element("th", { tabindex: 0, class: key === "state" || key === "why" ? "left" : "" }, title + (sortBy === key ? (rising ? " ▲" : " ▼") : ""));
    if (how) cell.append(element("span", { class: "small" }, how));
    const sort = () => { rising = sortBy === key ? !rising : true; sortBy = key; drawTable(); };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    head.append(cell);
  }
  const sign = rising ? 1 : -1, empty = (value) => value === null || value === "";
  const sorted = [...passing].sort((a, b) => {
    const [u, v] = [valueOf(a, sortBy), valueOf(b, sortBy)];
    if (empty(u) || empty(v)) return empty(u) - empty(v) || a.number - b.number;
    return sign * (u < v ? -1 : u > v ? 1 : 0) || a.number - b.number;
  });
  for (const trial of sorted.slice(0, rows)) {
    const row = element("tr", { tabindex: 0, "data-trial": trial.number });
    for (const [key, , text] of columns()) row.append(element("td", { class: key === "why" ? "reason" : key === "state" ? "left" : "" }, text(trial)));
    if (trial.number === data.winner) row.cells[0].append(element("span", { class: "mark won", title: "the winner" }, " ★"));
    else if (front.has(trial.number)) row.cells[0].append(element("span", { class: "mark", title: "in the Pareto set" }, " ●"));
    const show = () => { choose(trial); $("networks").scrollIntoView(); };
    row.addEventListener("click", show);
    row.addEventListener("keydown", (event) => event.key === "Enter" && show());
    body.push(row);
  }
  $("trials").tHead.replaceChildren(head);
  $("trials").tBodies[0].replaceChildren(...body);
  $("shown").textContent = passing.length;
  $("more").hidden = sorted.length <= rows;
  mark();
}
// The words of the text field must all fit: a choice (name=option), the number of a trial, or a part of state or reason.
function fits(trial, words) {
  return words.every((word) => {
    const [name, option] = word.split("=");
    if (option !== undefined) return data.choices.some((c, i) => c.name === name && trial.choices[i] >= 0 && String(c.options[trial.choices[i]]) === option);
    return String(trial.number) === word || `${trial.state} ${data.reasons[trial.reason]}`.toLowerCase().includes(word);
  });
}
function filter() {
  const state = $("state").value, least = Number($("least").value) / 100, most = $("most").value === "" ? Infinity : Number($("most").value);
  const words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean), onlyFront = $("front-only").checked;
  cost = Number($("cost").value) || 0;
  $("unit").textContent = data.costs.length ? data.costs[cost].unit : "";
  passing = trials.filter((trial) => (!state || trial.state === state) && (!least || trial.accuracy >= least) && (!onlyFront || front.has(trial.number))
    && (most === Infinity || (trial.costs[cost] !== null && trial.costs[cost] * data.costs[cost].scale <= most)) && fits(trial, words));
  rows = 200;
  drawLegend();
  drawPlot();
  drawTable();
}

function drawProgress(box, place, xLabel) {
  if (!data.progress.length) return box.replaceChildren(nothing("No trial was finished."));
  const percents = data.progressOf === "accuracy";
  const { svg, x, y } = frame(data.progress.map((p) => p[place]), data.progress.map((p) => p[2]),
    { width: Math.min(520, chartWidth(box)), height: 260, xLabel, yLabel: data.progressOf, yText: percents ? (v) => number(100 * v) + "%" : number });
  let best = -Infinity, path = "";
  for (const point of data.progress) {
    const next = Math.max(best, point[2]);
    path += path ? `H${x(point[place])}V${y(next)}` : `M${x(point[place])} ${y(next)}`;
    best = next;
  }
  if (data.progressOf !== "hypervolume") svg.append(element("path", { class: "small-dots", d: dots(data.progress.map((p) => [x(p[place]), y(p[2])])) }));
  svg.append(element("path", { class: "best", d: path }));
  box.replaceChildren(svg);
}
function drawEffects() {
  const box = $("effects"), shown = data.effects.slice(0, 16), wide = chartWidth(box), twice = data.effectsCost && wide > 640;
  if (!shown.length) return;
  const left = twice ? 175 : 125, panel = (wide - left - 10) / (twice ? 2 : 1), height = shown.length * 27 + 34;
  const svg = element("svg", { viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": "What each option adds" });
  shown.forEach((effect, row) => svg.append(element("text", { class: "name", x: 0, y: 18 + 27 * row }, `${effect.choice}${twice ? "," : ""} ${Math.round(100 * effect.weight)}%`)));
  [["accuracy", "points of accuracy"], ["cost", `percent of ${data.effectsCost}`]].slice(0, twice ? 2 : 1).forEach(([key, title], place) => {
    const reach = Math.max(1e-9, ...shown.flatMap((effect) => effect.options.map((option) => Math.abs(option[key]))));
    const middle = left + panel * (place + 0.5), x = (value) => middle + (value / reach) * (panel / 2 - (twice ? 112 : 75));
    svg.append(element("line", { class: "axis", x1: middle, x2: middle, y1: 2, y2: height - 26 }));
    svg.append(element("text", { x: middle, y: height - 8, "text-anchor": "middle" }, title));
    shown.forEach((effect, row) => {
      const y = 14 + 27 * row, options = [...effect.options].sort((a, b) => a[key] - b[key]), last = options.length - 1;
      svg.append(element("line", { class: "span", x1: x(options[0][key]), x2: x(options[last][key]), y1: y, y2: y }));
      options.forEach((option, i) => {
        const dot = element("circle", { class: option.tried ? "option" : "option untried", cx: x(option[key]), cy: y, r: 4.5 });
        const signed = (option[key] > 0 ? "+" : "") + Number((100 * option[key]).toPrecision(2));
        dot.append(document.createElementNS("http://www.w3.org/2000/svg", "title"));
        dot.firstChild.textContent = `${effect.choice} ${option.option}: ${signed} ${title}, tried in ${option.tried} networks`;
        svg.append(dot);
        if (i === 0 || i === last) svg.append(element("text", { x: x(option[key]) + (i ? 9 : -9), y: y + 4, "text-anchor": i ? "start" : "end" }, twice ? `${option.option}: ${signed}` : option.option));
      });
    });
  });
  box.replaceChildren(svg);
}
function drawLegend() {
  const key = (drawn, text) => { const svg = element("svg", { viewBox: "0 0 18 14" }); svg.append(...drawn); return element("span", {}, svg, text); };
  const dot = (name) => element("path", { class: name, d: "M9 7h0" });
  const line = isLine() ? [element("path", { class: "front", d: "M0 7h18" })] : [];
  const found = [key([dot("dots")], "trial"), key([dot("front dots"), ...line], line.length ? "Pareto set" : "Pareto set: no network is better in all that was sought"),
    key([element("path", { class: "rings", d: rings([[9, 7]]) })], "above target or limit"), key([star(9, 8)], "winner")];
  if (data.contenders.length) found.push(key([element("path", { class: "finalist", d: "M9 1l6 6l-6 6l-6 -6z" })], "trained longer"),
    key([element("path", { class: "reference", d: "M4 2h10v10h-10z" })], "for comparison"));
  $("legend").replaceChildren(...found);
}
function redraw() {
  drawPlot();
  drawProgress($("by-trial"), 0, "trial");
  drawProgress($("by-minutes"), 1, "minutes of work on trials");
  drawEffects();
}
$("cost").parentElement.hidden = !data.costs.length;
data.costs.forEach((c, i) => $("cost").append(element("option", { value: i }, c.label)));
$("state").append(element("option", { value: "" }, "all"), ...[...new Set(trials.map((t) => t.state))].map((s) => element("option", { value: s }, s)));
$("filters").addEventListener("input", filter);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => { rows += 200; drawTable(); });
filter();
redraw();
if (byNumber.has(data.winner)) choose(byNumber.get(data.winner));
let width = window.innerWidth;
window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; redraw(); } });
