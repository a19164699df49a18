// What methods do as inputs move away from the training data: one line a method, the compared ones in front.

function shiftsOf(scope) {
  return sectionsOf(scope).flatMap((section) => Object.entries(section.shifts).flatMap(([task, families]) => Object.entries(families).map(([family, own]) => ({ key: `${task} ${family}`, task, family, ...own }))));
}

function renderShifts({ scope, state, family }) {
  const all = shiftsOf(scope);
  const chosen = all.find((shift) => shift.key === state.shift) ?? all[0];
  options($id("shift"), all.map((shift) => [shift.key, `${shift.task}: ${shift.family}`]), chosen?.key ?? "");
  const quantity = chosen ? known(state.quantity, Object.keys(chosen.metrics)) : "";
  options($id("quantity"), chosen ? Object.keys(chosen.metrics).map((name) => [name, quantityWords(name)]) : [], quantity);
  if (!chosen) { fill($id("shift-chart")); fill($id("shift-table")); return fill($id("shift-text"), "None of these data sets was scored on shifted inputs; those of images are, by --test-sets."); }
  drawShift(chosen, quantity, family);
}

const quantityWords = (name) => DATA.metrics[name]?.words ?? name.replace(/^entropy_(.*)$/, "$1 entropy").replaceAll("_", " ");

function drawShift(shift, quantity, family) {
  const own = shift.metrics[quantity];
  const rows = Object.keys(own).filter((row) => !family || DATA.rows[row].family === family);
  const front = compared().filter((row) => rows.includes(row));
  const values = points(rows, own).map((point) => ({ ...point, front: front.includes(point.row) || !front.length ? "yes" : "no" }));
  const ends = spread((front.length ? front : rows.slice(0, 8)).flatMap((row) => points([row], own).slice(-1)), values);
  const x = { field: "x", type: "quantitative", title: shift.title, scale: { nice: false }, axis: { values: [...new Set(values.map((point) => point.x))], format: "~g" } };
  const y = { field: "y", type: "quantitative", title: quantityWords(quantity), scale: { zero: false } };
  const chosen = front.length ? ` In front: ${front.join(", ")}, the compared ones; a click on a line adds its method.` : "";
  fill($id("shift-text"), `${quantityWords(quantity)} of ${rows.length} methods on ${shift.task}; at zero the test images as they are.${chosen} ${bestOf(shift)}Where the error grows, the predictions should become less certain: their entropy should grow with it.`);
  const summed = shift.summary[quantity].filter(([row]) => rows.includes(row));
  const heads = [["method", "left"], ["unmoved"], ["mean beyond zero", "", "mean over all levels beyond zero"], ["at the end"]];
  table($id("shift-table"), heads, summed.map(([row, ...numbers]) => [[nameButton(row), row, "left"], ...numbers.map((value) => [exact(value), value])]), { name: `${shift.key} ${quantity}` });
  chart($id("shift-chart"), { height: 380, layer: [
    { data: { values }, mark: { type: "line", point: { size: 25 }, cursor: "pointer" }, encoding: { x, y, detail: { field: "row" }, color: marked, opacity: { condition: { test: "datum.front === 'yes'", value: 1 }, value: 0.4 }, strokeWidth: { condition: { test: "datum.front === 'yes'", value: 2.5 }, value: 1 }, tooltip: tip(["row", "method"], ["x", shift.title, "~g"], ["y", quantityWords(quantity), ".4~g"]) } },
    { data: { values: ends }, mark: { type: "text", align: "left", dx: 7, fontWeight: 600 }, encoding: { x, y: { ...y, field: "at" }, text: { field: "row" } } },
  ] }, `${quantityWords(quantity)} against ${shift.title}`, (datum) => { if (datum.row) toggle(datum.row); });
}

// Which methods know best that their inputs have moved: the log-likelihood punishes errors that are certain.
function bestOf(shift) {
  const ranked = (shift.summary.log_likelihood ?? []).filter(([row, , mean]) => mean !== null && DATA.rows[row].role !== "baseline").slice(0, 3);
  return ranked.length ? `Best by mean log-likelihood beyond zero: ${ranked.map(([row, , mean]) => `${row} (${short(mean)})`).join(", ")}. ` : "";
}

// Labels at the ends of lines, moved apart where they would cover each other on an axis that holds all points.
function spread(ends, points) {
  const values = points.map((point) => point.y).filter((value) => typeof value === "number");
  const gap = 0.045 * (Math.max(...values) - Math.min(...values) || 1);
  let last = -Infinity;
  return [...ends].sort((a, b) => a.y - b.y).map((end) => { last = Math.max(end.y, last + gap); return { ...end, at: last }; });
}
