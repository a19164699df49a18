// One method: what it is, how it was configured, and all its data sets.

function renderMethod({ scope, metric, board, state, first }) {
  const row = known(state.method, scope.rows, first);
  options($id("row"), scope.rows.map((name) => [name, name]), row);
  const about = DATA.rows[row];
  const i = scope.rows.indexOf(row);
  const facts = [
    ["Family", about.family], ["Source of its equations", about.citation || "not given"], ["Version", `${about.version}${about.superseded ? " ° (a newer one is installed; run it again for its numbers)" : ""}`],
    ["Configuration", el("code", {}, about.configuration)], ["Target", about.other_target ? "§ another model, prior or tempered posterior than the task’s" : "the task’s posterior"],
    ["Cells", `${scope.cells[i]}, of which ${scope.failed[i]} without a score and ${scope.unconverged[i]} flagged by its own diagnostics`], ["Run it", el("code", {}, `bnnbench run --methods ${about.method} --task ${tasksOf(scope, row).join(",")} --split-rule ${scope.rule} --budget ${scope.budget}`)],
  ];
  fill($id("facts"), facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const metrics = [...new Set(sectionsOf(scope).flatMap((section) => section.metrics))];
  const rows = sectionsOf(scope).flatMap((section) => section.tasks.flatMap((task) => {
    const entries = metrics.map((name) => entriesOf(section, name, task).find((entry) => entry.row === row));
    if (!entries.some(Boolean)) return [];
    const t = board?.tasks.indexOf(task) ?? -1;
    const at = board?.ranked.indexOf(i) ?? -1;
    const rank = t >= 0 && at >= 0 ? board.ranks[t][at] : null;
    return [[[task, task, "left"], [exact(rank), order(rank)], ...entries.map((entry, m) => (entry ? [[numberButton(scope, task, row, metrics[m], entry.text || "–"), entry.marks ? el("span", { class: "mark" }, ` ${entry.marks}`) : null], order(entry.mean), entry.best ? "best" : ""] : ["–", 1e99]))]];
  }));
  table($id("method-table"), [["Data set", "left"], [`Rank by ${metricOf(metric)?.words ?? "–"}`, ""], ...metrics.map((name) => [metricOf(name).words, "", metricOf(name).summary])], rows, { name: `method-${i}` });
}

// The data sets that it was run on.
function tasksOf(scope, row) {
  return sectionsOf(scope).flatMap((section) => section.tasks.filter((task) => section.cells[task].row.includes(section.rows.indexOf(row))));
}
