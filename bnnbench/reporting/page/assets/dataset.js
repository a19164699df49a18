// One data set: methods in order with every split, the numbers of all metrics, what was published, what failed.

function renderData({ scope, metric, state, reference }) {
  const task = known(state.data, scope.tasks);
  options($id("task"), scope.tasks.map((name) => [name, name + (DATA.tasks[name].superseded ? "°" : "")]), task);
  const section = sectionWith(scope, task);
  const about = DATA.tasks[task];
  fill($id("task-text"), [`${about.kind}; ${section.splits || section.rule}. `, about.citation ? `${about.citation}. ` : "", ...about.notes.map((note) => `${note} `), about.warning].join(""));
  const own = section.metrics.filter((name) => held(section.entries[name], task));
  const shown = own.includes(metric) ? metric : own[0];
  renderDots(scope, section, task, shown);
  renderTaskTable(scope, section, task, own, shown);
  renderPublished(section, task);
  renderFailures(section, task);
}

// The worst of all values would squeeze the others together: what is further out stands at the edge, as a triangle.
function bounds(values, better) {
  const sorted = values.map((value) => -better * value).sort((a, b) => a - b);
  const [best, most] = [sorted[0], sorted[Math.floor(0.85 * (sorted.length - 1))]];
  const margin = 0.15 * (most - best) || Math.abs(best) * 0.05 || 1;
  const worst = Math.min(sorted[sorted.length - 1], most + 3 * margin);
  const ends = [-better * (best - 0.3 * margin), -better * (worst + 0.3 * margin)];
  return [Math.min(...ends), Math.max(...ends)];
}

function renderDots(scope, section, task, metric) {
  const about = metricOf(metric);
  if (!about) { fill($id("dots")); return fill($id("dots-text"), "No scores: every cell of this data set failed."); }
  const sign = about.better || -1;
  const entries = entriesOf(section, metric, task).filter((entry) => typeof entry.mean === "number").sort((a, b) => sign * (b.mean - a.mean));
  if (!entries.length) { fill($id("dots")); return fill($id("dots-text"), "No scores: every cell of this data set failed."); }
  const splits = entries.flatMap((entry) => cellsOf(section, task, entry.row, metric).filter((cell) => typeof cell.value === "number").map((cell) => ({ row: entry.row, value: cell.value, split: cell.split, seed: cell.seed, status: cell.status, colour: colour(entry.row) })));
  const theirs = publishedOf(task).filter((p) => p.metric === metric && typeof p.value === "number");
  const [low, high] = bounds([...splits.map((cell) => cell.value), ...entries.map((entry) => entry.mean)], sign);
  const within = (value) => Math.min(high, Math.max(low, value));
  const outside = (value) => (value < low ? "triangle-left" : value > high ? "triangle-right" : "circle");
  const names = entries.map((entry) => entry.row);
  const means = entries.map((entry) => ({ row: entry.row, value: entry.mean, at: within(entry.mean), shape: outside(entry.mean), from: within(entry.mean - (entry.se ?? 0)), to: within(entry.mean + (entry.se ?? 0)), text: `${entry.text} ${entry.marks}`.trim(), colour: colour(entry.row) }));
  const inside = theirs.filter((p) => p.value >= low && p.value <= high);
  const lines = inside.map((p) => ({ at: p.value, who: `${p.method} (${p.who})`, value: p.value, same: p.rules.includes(section.rule) ? "near to ours" : "another" }));
  const constant = entries.find((entry) => DATA.rows[entry.row].role === "baseline");
  fill($id("dots-text"), `${about.words} on ${task} (${about.unit || "no unit"}), ${about.better > 0 ? "right" : "left"} is better. Large: mean ± standard error; small: every split; triangles: further out.${lines.length ? " Dashed lines: published numbers, hover for whose and under which protocol." : ""}${inside.length < theirs.length ? ` ${theirs.length - inside.length} published numbers lie beyond the axis; they stand below.` : ""}`);
  const x = { field: "at", type: "quantitative", title: `${about.words}${about.unit ? ` (${about.unit})` : ""}`, scale: { domain: [low, high], zero: false, nice: false } };
  const y = { field: "row", type: "nominal", sort: names, title: null };
  chart($id("dots"), { height: 20 * names.length, layer: [
    ...(lines.length ? [{ data: { values: lines }, mark: { type: "rule", strokeDash: [5, 3], strokeWidth: 2, color: palette().accent }, encoding: { x, tooltip: tip(["who", "published"], ["value", "value", ".5~g"], ["same", "protocol"]) } }] : []),
    { data: { values: splits.map((cell) => ({ ...cell, at: within(cell.value), shape: outside(cell.value) })) }, mark: { type: "point", size: 22, opacity: 0.5, filled: true, cursor: "pointer" }, encoding: { x, y, color: marked, shape: { field: "shape", type: "nominal", scale: null }, tooltip: tip(["row", "method"], ["split", "split"], ["seed", "seed"], ["value", about.words, ".6~g"], ["status", "status"]) } },
    { data: { values: means }, mark: { type: "rule", strokeWidth: 3 }, encoding: { x: { ...x, field: "from" }, x2: { field: "to" }, y, color: marked } },
    { data: { values: means }, mark: { type: "point", size: 95, filled: true, opacity: 1, cursor: "pointer" }, encoding: { x, y, color: marked, shape: { field: "shape", type: "nominal", scale: null }, tooltip: tip(["row", "method"], ["text", about.words]) } },
    ...(constant ? [{ data: { values: [{ at: within(constant.mean) }] }, mark: { type: "rule", strokeWidth: 1, opacity: 0.7 }, encoding: { x } }] : []),
  ] }, `${about.words} of ${names.length} methods on ${task}`, (datum) => { if (datum.row) showProvenance(scope, task, datum.row, metric); });
}

function renderTaskTable(scope, section, task, metrics, shown) {
  const found = Object.fromEntries(metrics.map((metric) => [metric, new Map(entriesOf(section, metric, task).map((entry) => [entry.row, entry]))]));
  const rows = section.rows.filter((row) => metrics.some((metric) => found[metric].has(row)));
  const lines = rows.map((row) => [[[swatch(row), nameButton(row, false)], row, "left"], ...metrics.map((metric) => {
    const entry = found[metric].get(row);
    return entry ? [[numberButton(scope, task, row, metric, entry.text || "–"), entry.marks ? el("span", { class: "mark" }, ` ${entry.marks}`) : null], -metricOf(metric).better * (typeof entry.mean === "number" ? entry.mean : -1e99 * metricOf(metric).better), entry.best ? "best" : ""] : ["–", 1e99];
  })]);
  const column = metrics.indexOf(shown) + 1;
  table($id("task-table"), [["Method", "left"], ...metrics.map((metric) => [metricOf(metric).words, "", `${metricOf(metric).summary}; ${metricOf(metric).better > 0 ? "higher" : "lower"} is better`])], lines, { order: column > 0 ? [[column, "asc"]] : [], name: `${task}-${section.rule}` });
}

function renderPublished(section, task) {
  const own = publishedOf(task).filter((p) => held(section.entries, p.metric));
  if (!own.length) return fill($id("published"), el("p", { class: "hint" }, "The file of published numbers has none for this data set."));
  const rows = own.map((p) => {
    const ours = entriesOf(section, p.metric, task).filter((entry) => p.ours.includes(entry.row));
    return [[p.method, p.method, "left"], [metricOf(p.metric).words, "", "left"], [exact(p.value) + (p.se === null ? "" : ` ± ${exact(p.se)}`), p.value],
      [ours.map((entry) => `${entry.row}: ${entry.text}`).join("; ") || "–", "", "left"], [p.rules.includes(section.rule) ? "near to ours: see the source" : "another: do not expect agreement", "", "left"], [`${p.who}; ${p.note}`, "", "long"]];
  });
  table($id("published"), [["Published method", "left"], ["Metric", "left"], ["Published", ""], ["Nearest here", "left"], ["Protocol", "left"], ["Source", "left"]], rows, { name: `published-${task}` });
}

function renderFailures(section, task) {
  const cells = lines(section.cells[task]).filter((cell) => cell.status !== "ok");
  const groups = new Map();
  for (const cell of cells) {
    const key = JSON.stringify([section.rows[cell.row], cell.status, DATA.messages[cell.message]]);
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  const rows = [...groups].map(([key, own]) => { const [row, status, message] = JSON.parse(key); return [[nameButton(row), row, "left"], [status, status, "left"], [own.map((cell) => cell.split).join(", "), own.length, "left"], [message || "–", "", "long"]]; });
  const behind = section.behind.filter((line) => line[1] === task).map(([row, , where, diagnosis, why]) => [[nameButton(row), row, "left"], ["behind the baseline", "", "left"], [where, "", "left"], [[diagnosis, why].filter((text) => text !== "–").join("; ") || "–", "", "long"]]);
  const all = [...rows, ...behind];
  if (!all.length) return fill($id("failures"), el("p", { class: "hint" }, "None: every cell of this data set gave scores, without a warning."));
  table($id("failures"), [["Method", "left"], ["What", "left"], ["Splits", "left"], ["Message", "left"]], all, { name: `failures-${task}` });
}
