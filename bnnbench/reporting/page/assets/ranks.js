// Rank of every method on every data set, and mean ranks with the critical difference.

function renderRanks({ scope, board, family, metric }) {
  if (!board) { fill($id("heat")); fill($id("critical")); return fill($id("ranks-text"), "No ranks without methods that were run on every data set."); }
  const at = board.ranked.map((_, i) => i).filter((i) => !family || DATA.rows[scope.rows[board.ranked[i]]].family === family).sort((a, b) => board.rank[a] - board.rank[b]);
  const names = at.map((i) => scope.rows[board.ranked[i]]);
  const few = board.nemenyi === null ? "" : ` Two methods whose mean ranks differ by less than ${short(board.nemenyi)} are not told apart by Nemenyi’s test at 5 %, which compares all pairs and so finds little; the test behind the green rows compares with the first alone and finds more.`;
  fill($id("ranks-text"), `Of ${board.ranked.length} methods on ${board.tasks.length} data set${board.tasks.length === 1 ? "" : "s"} by ${metricOf(metric).words}.${few}`);
  renderHeat(scope, board, at, names, metric);
  renderCritical(scope, board, at, names);
}

function renderHeat(scope, board, at, names, metric) {
  const values = at.flatMap((i, k) => board.tasks.map((task, t) => ({ row: names[k], task, rank: board.ranks[t][i], text: textOf(scope, metric, task, names[k]) })));
  const x = { field: "task", type: "nominal", sort: board.tasks, title: null, axis: { labelAngle: -45, orient: "top" } };
  const y = { field: "row", type: "nominal", sort: names, title: null };
  const dark = isDark();
  const color = { field: "rank", type: "quantitative", title: "rank", scale: { scheme: "viridis", domain: [1, Math.max(2, board.ranked.length)], reverse: true }, legend: null };
  chart($id("heat"), { height: 19 * names.length, data: { values }, encoding: { x, y }, layer: [
    { mark: { type: "rect", cursor: "pointer", stroke: palette().ground }, encoding: { color, tooltip: tip(["row", "method"], ["task", "data set"], ["rank", "rank", ".3~g"], ["text", metricOf(metric).words]) } },
    { mark: { type: "text", fontSize: 11, interactive: false }, encoding: { text: { field: "rank", type: "quantitative", format: ".3~g" }, color: { condition: { test: `datum.rank < ${board.ranked.length * 0.55}`, value: "#111" }, value: "#fff" } } },
  ] }, "Heat map of ranks, methods by data sets", (datum) => { if (datum.task) { setState({ data: datum.task }); go("data"); } });
}

function textOf(scope, metric, task, row) {
  const found = entriesOf(sectionWith(scope, task), metric, task).find((entry) => entry.row === row);
  return found ? `${found.text} ${found.marks}`.trim() : "–";
}

function renderCritical(scope, board, at, names) {
  const tied = board.tied;
  const values = at.map((i, k) => ({ row: names[k], rank: board.rank[i], low: board.low[i] ?? board.rank[i], high: board.high[i] ?? board.rank[i], colour: colour(names[k]), tied: tied.includes(board.ranked[i]) ? "cannot be told apart from the first" : board.able.includes(board.ranked[i]) ? "told apart from the first" : "does not compete: a baseline, or with failed or flagged cells" }));
  const best = Math.min(...board.rank);
  const band = board.nemenyi === null ? [] : [{ from: best, to: best + board.nemenyi }];
  const y = { field: "row", type: "nominal", sort: names, title: null };
  const x = { field: "rank", type: "quantitative", title: "mean rank (1 is best)", scale: { zero: false, domain: [1, Math.max(2, board.ranked.length)], nice: false } };
  chart($id("critical"), { height: 19 * names.length, layer: [
    ...band.map((values) => ({ data: { values: [values] }, mark: { type: "rect", color: palette().line, opacity: 0.45, clip: true }, encoding: { x: { field: "from", type: "quantitative" }, x2: { field: "to" } } })),
    { data: { values }, mark: { type: "rule", strokeWidth: 2, opacity: 0.7 }, encoding: { y, x: { ...x, field: "low" }, x2: { field: "high" }, color: marked } },
    { data: { values }, mark: { type: "point", size: 80, opacity: 1, strokeWidth: 2 }, encoding: { y, x, color: marked, fill: { condition: { test: "datum.tied[0] === 'c'", field: "colour", type: "nominal", scale: null }, value: palette().ground }, tooltip: tip(["row", "method"], ["rank", "mean rank", ".3~g"], ["low", "from", ".3~g"], ["high", "to", ".3~g"], ["tied", "by the test"]) } },
  ] }, "Mean ranks with intervals; filled: cannot be told apart from the first", (datum) => { if (datum.row) { setState({ method: datum.row }); go("method"); } });
}
