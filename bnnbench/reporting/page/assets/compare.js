// Two to five methods beside each other: paired differences on every data set, and how sure they are.

function compared() {
  const { scope, board, state } = current();
  const given = state.compare.split(",").map(decoded).filter((row) => scope.rows.includes(row));
  if (given.length || state.compare === "none" || !board) return given;
  const best = [...board.tied, ...board.ranked].filter((place, i, all) => all.indexOf(place) === i);
  return best.slice(0, 2).map((place) => scope.rows[place]);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // an address that somebody has cut
  }
}

function renderCompare({ scope, board, metric }) {
  const chosen = compared();
  const free = scope.rows.filter((row) => !chosen.includes(row));
  const against = el("select", { "aria-label": "The method that the others are compared with", change: (event) => choose([event.target.value, ...chosen.slice(1).filter((row) => row !== event.target.value)]) }, scope.rows.map((row) => el("option", { value: row, selected: row === chosen[0] }, row)));
  const add = el("select", { "aria-label": "Add a method to the comparison", change: (event) => event.target.value && toggle(event.target.value) }, el("option", { value: "" }, "add a method …"), free.map((row) => el("option", { value: row }, row)));
  const chips = chosen.slice(1).map((row) => el("button", { type: "button", class: "plain", title: "Take it out", click: () => toggle(row) }, swatch(row), `${row} ✕`));
  fill($id("chosen"), el("label", {}, "Compare with ", against), chips, chosen.length < 5 ? add : null);
  if (!board || chosen.length < 2) { fill($id("verdict"), "Choose two to five methods, here or by the boxes of the leaderboard."); fill($id("forest")); fill($id("odds")); fill($id("forest-text")); return; }
  const [base, ...others] = chosen;
  fill($id("verdict"), `On data sets like these ${board.tasks.length}: ${others.map((row) => verdict(scope, board, row, base, metric)).join("; ")}.`);
  renderForest(scope, board, metric, base, others);
  renderOdds(scope, board, metric, base, others);
}

const inNats = (metric) => metricOf(metric).unit.startsWith("nats");
const practical = (metric) => (inNats(metric) ? "0.01 nats" : "1 % of their mean");

function verdict(scope, board, row, base, metric) {
  const p = overall(scope, board, row, base);
  if (p.better === null) return `${row} and ${base} do not both have scores on all of them`;
  return `${row} is better than ${base} with probability ${percent(p.better)}, practically the same (within ${practical(metric)}) with ${percent(p.same)}, worse with ${percent(p.worse)}`;
}

function renderForest(scope, board, metric, base, others) {
  const nats = inNats(metric);
  const scale = (d) => (nats ? 1 : d.region ? 1 / d.region : 1); // percent of the mean of both: the region is one percent
  const values = board.tasks.flatMap((task) => others.flatMap((row) => {
    const d = difference(scope, board, task, row, base);
    if (!d || typeof d.mean !== "number") return [];
    const half = typeof d.half === "number" ? d.half : 0;
    return [{ task, row, mean: d.mean * scale(d), low: (d.mean - half) * scale(d), high: (d.mean + half) * scale(d), colour: colour(row), better: percent(d.better), same: percent(d.same), worse: percent(d.worse), own: `${short(d.mean)} ± ${short(half)}` }];
  }));
  const region = nats ? 0.01 : 1;
  fill($id("forest-text"), `Difference from ${base} in ${nats ? "nats per point" : "percent"}, right of zero is better than ${base}; bars: corrected 95 % intervals; grey: practically the same. The axis is stretched around zero.`);
  if (!values.length) return fill($id("forest"), el("p", { class: "hint" }, "No data set has scores of both."));
  const y = { field: "task", type: "nominal", sort: board.tasks, title: null };
  const yOffset = { field: "row", type: "nominal", sort: others };
  const x = { field: "mean", type: "quantitative", title: `worse  ←  against ${base}  →  better`, scale: { type: "symlog", constant: region * 3, nice: false, padding: 10 }, axis: { tickCount: 7, format: "~g", labelOverlap: "greedy", labelSeparation: 6 } };
  const tooltip = tip(["task", "data set"], ["row", "method"], ["own", "difference, own units"], ["better", "better"], ["same", "practically the same"], ["worse", "worse"]);
  chart($id("forest"), { height: (14 + 12 * others.length) * new Set(values.map((line) => line.task)).size, layer: [
    { data: { values: [{ from: -region, to: region }] }, mark: { type: "rect", color: palette().line, opacity: 0.6 }, encoding: { x: { field: "from", type: "quantitative" }, x2: { field: "to" } } },
    { data: { values: [{ zero: 0 }] }, mark: { type: "rule" }, encoding: { x: { field: "zero", type: "quantitative" } } },
    { data: { values }, mark: { type: "rule", strokeWidth: 2 }, encoding: { y, yOffset, x: { ...x, field: "low" }, x2: { field: "high" }, color: marked, tooltip } },
    { data: { values }, mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { y, yOffset, x, color: marked, tooltip } },
  ] }, `Forest plot of paired differences from ${base}`, (datum) => { if (datum.task) { setState({ data: datum.task }); go("data"); } });
}

function renderOdds(scope, board, metric, base, others) {
  const several = others.length > 1; // one needs no column
  const heads = [["Data set", "left"], ...(several ? [["Method", "left"]] : []), [`Better than ${base} by`, ""], ["95 % ±", ""], ["Better", ""], ["Same", ""], ["Worse", ""], ["Paired over", "left"]];
  const rows = others.flatMap((row) => {
    const p = overall(scope, board, row, base);
    const all = [[el("strong", {}, "all of them"), ""], ...(several ? [[[swatch(row), row], row, "left"]] : []), ["–", 1e99], ["–", 1e99], ...probabilities(p), ["data sets", "", "left"]];
    return [all, ...board.tasks.flatMap((task, t) => {
      const d = difference(scope, board, task, row, base);
      return d ? [[[task, task], ...(several ? [[[swatch(row), row], row, "left"]] : []), [numberButton(scope, task, row, metric, short(d.mean)), d.mean], [short(d.half), order(d.half)], ...probabilities(d), [`${board.repeats[t] || ""} ${board.kinds[t]}`.trim(), "", "left"]]] : [];
    })];
  });
  table($id("odds"), heads, rows, { name: `compare-${base}`, classes: rows.map(() => "") });
}

const probabilities = (p) => ["better", "same", "worse"].map((key) => [percent(p[key]), order(p[key])]);

function numberButton(scope, task, row, metric, text) {
  return el("button", { type: "button", class: "number", title: "Where this number comes from", click: () => showProvenance(scope, task, row, metric) }, text);
}
