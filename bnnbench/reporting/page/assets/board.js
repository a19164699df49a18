// The first screen: sentence, selectors, leaderboard, and rank against cost.

// Texts and places of methods, of which the first is the one that ranks first.
function renderSentence({ scope, board }) {
  if (!board) return fill($id("sentence"), scope ? scope.unranked : "This database holds nothing to rank.");
  const first = board.sentence.findIndex((part) => typeof part === "number");
  const shown = (part) => (typeof part === "number" ? nameButton(scope.rows[part]) : part);
  fill($id("sentence"), board.sentence.map((part, i) => (i === first ? el("strong", {}, shown(part)) : shown(part))));
}

function nameButton(row, flagged = true) {
  const about = DATA.rows[row];
  const { scope } = current();
  const marks = (about.superseded ? "°" : "") + (about.other_target ? "§" : "") + (flagged && scope.unconverged[scope.rows.indexOf(row)] ? "‡" : "");
  return el("button", { type: "button", class: "name", title: `${about.family}; show this method`, click: () => { setState({ method: row }); go("method"); } }, row + marks);
}

function renderSelectors({ scope, metric, family, families, reference, state }) {
  const kinds = DATA.scopes.filter((each, i, all) => all.findIndex((other) => describe(other) === describe(each)) === i);
  options($id("tasks"), kinds.map((each) => [describe(each), `${describe(each)}, ${each.tasks.length} data set${each.tasks.length === 1 ? "" : "s"}`]), describe(scope));
  options($id("budget"), scopesOf(scope.title, scope.rule).map((each) => [each.name, each.budget]), scope.name);
  options($id("metric"), Object.keys(scope.metrics).map((name) => [name, metricOf(name).words]), metric);
  options($id("family"), [["", "all"], ...families.map((name) => [name, name])], family);
  options($id("reference"), scope.rows.map((row) => [row, row]), reference);
  $id("cost").value = known(state.cost, costsOf(scope));
  const about = metricOf(metric);
  fill($id("measure"), about ? `${about.words}: ${about.summary}${about.unit ? ` (${about.unit})` : ""}, ${about.better > 0 ? "higher" : "lower"} is better. Ranks are among all methods of the selection, whichever family is shown.` : "");
}

function boardRow({ scope, board, reference, state }, row, chosen) {
  const i = scope.rows.indexOf(row);
  const at = board.ranked.indexOf(i);
  const against = scope.rows.indexOf(reference);
  const k = board.tasks.length;
  const [won, tie, lost] = [board.wins[i][against], board.ties[i][against], board.wins[against][i]];
  const missing = board.absent[i];
  const interval = at < 0 ? [`not on ${missing} of ${k}`, 1e9] : board.low[at] === null ? ["–", 1e9] : [`${short(board.low[at], 2)} – ${short(board.high[at], 2)}`, board.low[at]];
  const about = DATA.rows[row];
  const box = el("input", { type: "checkbox", "aria-label": `Compare ${row}`, checked: chosen.includes(row), change: () => toggle(row) });
  const failed = scope.failed[i];
  return [
    [[swatch(row), nameButton(row)], row, "left"], [box, null],
    [at < 0 ? "–" : short(board.rank[at], 3), at < 0 ? 1e9 : board.rank[at]], interval,
    [row === reference ? "reference" : `${won} / ${tie} / ${lost}`, row === reference ? 0 : won - lost],
    [at < 0 ? "–" : board.normalised[at].toFixed(2), at < 0 ? -1 : board.normalised[at]],
    [short(scope.calibration[i]), order(scope.calibration[i])],
    [short(scope.cost.gradients[i]), order(scope.cost.gradients[i])], [short(scope.cost.seconds[i]), order(scope.cost.seconds[i])],
    [scope.samples[i] ?? "–", order(scope.samples[i])],
    [el("span", { class: failed ? "mark" : null }, failed ? `${failed} of ${scope.cells[i]}` : "0"), failed / Math.max(1, scope.cells[i])],
    [scope.unconverged[i] || "0", scope.unconverged[i]],
  ];
}

const order = (value) => (value === null || value === undefined || typeof value === "string" ? 1e99 : value);
const swatch = (row) => { const dot = el("span", { class: "swatch", "aria-hidden": "true" }); dot.style.background = colour(row); return dot; };

function toggle(row) {
  const chosen = compared();
  const added = [...chosen.slice(0, 1), ...[...chosen.slice(1), row].slice(-4)]; // the others are compared with the first
  choose(chosen.includes(row) ? chosen.filter((each) => each !== row) : chosen.length ? added : [row]);
}

function choose(rows) {
  setState({ compare: rows.map(encodeURIComponent).join(",") || "none" });
}

const HEADS = [
  ["Method", "left", "Its colour is the same everywhere, hue by family"], ["Com­pare", "", "At most five"], ["Mean rank", "", "1 is best; over the data sets of the selection"],
  ["95 % interval", "", "Bootstrap: data sets drawn again, and the splits in each"], ["Won / tied / lost", "", "Data sets on which it is better, not told apart, worse than the reference: paired, corrected for overlapping training rows, each at 5 %"],
  ["Normal­ised score", "", "0: the median method or worse; 1: the best; mean over data sets"], ["Calibra­tion error", "", "Mean over data sets, lower is better; a constant prediction is calibrated too"],
  ["Gradi­ents", "", "Minibatch gradients a cell, mean over data sets"], ["Seconds", "", "Wall time a cell, a pack’s shared by its cells; mean over data sets"],
  ["Samples", "", "Networks that a prediction averages over, by the configuration"], ["Failed", "", "Cells without a score"], ["Uncon­verged", "", "Cells flagged by the method’s own convergence diagnostics"],
];

function renderBoard(view) {
  const { scope, board, family } = view;
  if (!board) { fill($id("leaderboard")); fill($id("below-board")); return; }
  const shown = [...board.ranked, ...Object.keys(board.absent)].map((i) => scope.rows[i]).filter((row) => !family || DATA.rows[row].family === family);
  const rank = (row) => { const at = board.ranked.indexOf(scope.rows.indexOf(row)); return at < 0 ? 1e9 : board.rank[at]; };
  shown.sort((a, b) => rank(a) - rank(b));
  const tied = board.tied.map((place) => scope.rows[place]);
  const chosen = compared();
  const css = shown.map((row) => (tied.includes(row) ? "tied" : rank(row) === 1e9 ? "unranked" : ""));
  const own = table($id("leaderboard"), HEADS, shown.map((row) => boardRow(view, row, chosen)), { order: [sorting(view.state.sort)], name: `leaderboard-${scope.name}`, classes: css, unsorted: [1] });
  own?.on("order", () => remember({ sort: own.order().map(([column, direction]) => `${column}.${direction}`)[0] ?? "" }));
  const few = board.tasks.length < 5 ? ` ${board.tasks.length} data set${board.tasks.length === 1 ? " is" : "s are"} few: such ranks say little of others.` : "";
  const thin = board.thin.length ? ` Not ranked over, for few methods were run there: ${board.thin.join(", ")}.` : "";
  const tuned = board.ranked.length + Object.keys(board.absent).length < scope.rows.length ? " Tuned hyperparameters are compared under Tables." : "";
  const machines = scope.machines.length > 1 ? ` Seconds come from ${scope.machines.length} settings (${scope.machines.join("; ")}) and compare roughly only.` : ` Seconds on ${scope.machines.join()}.`;
  fill($id("below-board"), `Green: the first and those that cannot be told apart from it; baselines, and methods with failed or flagged (‡) cells, compete for neither.${few}${thin}${tuned}${machines}`);
}

const BY_RANK = [2, "asc"];

function sorting(text) {
  const [column, direction] = text.split(".");
  return HEADS[column] && column !== "1" && ["asc", "desc"].includes(direction) ? [Number(column), direction] : BY_RANK;
}

// The first is shown unless another is chosen: gradients, where methods differ in them.
function costsOf(scope) {
  const spent = scope.cost.gradients.filter((number) => number > 0);
  return Math.max(...spent) > 1.05 * Math.min(...spent) ? ["gradients", "seconds"] : ["seconds", "gradients"];
}

function renderCost({ scope, board, family, state }) {
  const cost = known(state.cost, costsOf(scope));
  if (!board) return fill($id("cost-chart"));
  const all = board.ranked.map((i, at) => ({ row: scope.rows[i], cost: scope.cost[cost][i], rank: board.rank[at], low: board.low[at] ?? board.rank[at], high: board.high[at] ?? board.rank[at], colour: colour(scope.rows[i]), front: board.front[cost].includes(at), tied: board.tied.includes(i) ? "yes" : "no", family: DATA.rows[scope.rows[i]].family }));
  const values = all.filter((point) => point.cost > 0 && (!family || point.family === family));
  if (!values.length) return fill($id("cost-chart"), el("p", { class: "hint" }, "Nothing here costs any."));
  const costs = values.map((point) => point.cost).sort((a, b) => a - b);
  const middle = Math.sqrt(costs[0] * costs[costs.length - 1]);
  const fronts = values.filter((point) => point.front); // none of a family that never is on it
  const sides = [["left", fronts.filter((point) => point.cost <= middle)], ["right", fronts.filter((point) => point.cost > middle)]];
  const labelled = sides.filter(([, own]) => own.length);
  const x = { field: "cost", type: "quantitative", title: `${cost} a cell (log scale)`, scale: { type: "log", nice: false, padding: 24 }, axis: { tickCount: 4, format: cost === "seconds" ? "~g" : "~s" } };
  const y = { field: "rank", type: "quantitative", title: "mean rank (1 is best)", scale: { reverse: true, zero: false, nice: false, padding: 8 } };
  const tooltip = tip(["row", "method"], ["rank", "mean rank", ".3~g"], ["low", "from", ".3~g"], ["high", "to", ".3~g"], ["cost", cost, ",.4~g"], ["tied", "tied with the first"]);
  chart($id("cost-chart"), { height: 420, data: { values }, layer: [
    ...(fronts.length ? [{ data: { values: fronts }, mark: { type: "line", interpolate: "step-after", strokeDash: [4, 3], color: palette().faint }, encoding: { x, y, order: { field: "cost", type: "quantitative" } } }] : []),
    { mark: { type: "point", filled: true, size: 110, opacity: 1, cursor: "pointer" }, encoding: { x, y, color: marked, tooltip } },
    ...labelled.map(([align, own]) => ({ data: { values: own }, mark: { type: "text", align, dx: align === "left" ? 9 : -9, dy: -7, fontSize: 12, fontWeight: 600 }, encoding: { x, y, text: { field: "row" } } })),
  ] }, `Mean rank against ${cost} of ${values.length} methods`, (datum) => { if (datum.row) { setState({ method: datum.row }); go("method"); } });
}
