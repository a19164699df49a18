// Where a number comes from: its cells, with value, cost, revision, machine and command of each.

function showProvenance(scope, task, row, metric) {
  const section = sectionWith(scope, task);
  const cells = cellsOf(section, task, row, metric);
  const about = DATA.rows[row];
  const entry = entriesOf(section, metric, task).find((each) => each.row === row);
  const sessions = [...new Set(cells.map((cell) => cell.session))].map((i) => DATA.sessions[i]);
  const heads = [["Cell", "left"], ["Split", ""], ["Seed", ""], [metricOf(metric).words, ""], ["Status", "left"], ["Gradients", ""], ["Seconds", ""], ["In a pack of", ""], ["Parameters", ""], ["Run", ""]];
  const rows = cells.map((cell) => [[el("code", {}, cell.cell), cell.cell, "left"], cell.split, cell.seed, [exact(cell.value), order(cell.value)], [cell.status + (DATA.messages[cell.message] ? `: ${DATA.messages[cell.message]}` : ""), "", "left"], [exact(cell.gradients), order(cell.gradients)], [exact(cell.seconds), order(cell.seconds)], cell.pack, [exact(cell.parameters), order(cell.parameters)], DATA.sessions.indexOf(DATA.sessions[cell.session]) + 1]);
  const place = el("div", { class: "scroll", id: "provenance-cells", tabindex: "0", role: "region", "aria-label": "Cells, can be scrolled sideways" });
  fill($id("provenance-body"),
    el("p", {}, el("strong", {}, `${row} on ${task}, ${section.rule}, ${metricOf(metric).words}: ${entry?.text || "no score"} ${entry?.marks ?? ""}`)),
    el("p", { class: "hint" }, `Mean over the splits below, seeds of a split averaged first. One cell in full: `, el("code", {}, `bnnbench show ${cells[0]?.cell ?? "CELL"} --db YOUR.db`)),
    place, el("p", {}, "Configuration: ", el("code", {}, about.configuration)),
    sessions.map((s) => el("p", { class: "hint" }, `Run ${DATA.sessions.indexOf(s) + 1}: revision ${s.revision}${s.dirty ? " with uncommitted changes" : ""}, started ${s.started} UTC, on ${s.device}, ${s.threads} thread${s.threads === 1 ? "" : "s"}; ${s.versions}; `, el("code", {}, s.command))));
  $id("provenance").showModal();
  table(place, heads, rows, { order: [[1, "asc"]], name: "cells" });
}
