// Calibration and training of the compared methods on the data set that is shown.

const points = (rows, own) => rows.flatMap((row) => (own[row] ? lines(own[row]).map((point) => ({ ...point, row, colour: colour(row) })) : []));

function renderCurves({ scope, state }) {
  const task = known(state.data, scope.tasks);
  const { pit, reliability, training } = sectionWith(scope, task).curves;
  const rows = compared();
  const of = (kind) => (kind[task] ? points(rows, kind[task]) : []);
  fill($id("curves-text"), rows.length ? `${rows.join(", ")}: chosen by the boxes of the leaderboard or under Compare.` : "Choose methods by the boxes of the leaderboard or under Compare.");
  if (reliability[task]) drawReliability(of(reliability), task);
  else drawDeviations(of(pit), task);
  drawTraining(of(training), task);
}

const nothing = (place, text) => { fill($id(place)); fill($id(`${place}-text`), text); };

function byRow(values) {
  const rows = [...new Set(values.map((point) => point.row))];
  const line = { field: "row", type: "nominal", title: null, legend: { orient: "bottom", columns: 2, symbolType: "stroke", labelLimit: 240 } };
  const dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4]];
  return { color: { ...line, scale: { domain: rows, range: rows.map(colour) } }, strokeDash: { ...line, scale: { domain: rows, range: rows.map((_, i) => dashes[i % dashes.length]) } } };
}

function drawDeviations(values, task) {
  if (!values.length) return nothing("calibration", `No calibration curves of these methods are stored on ${task}.`);
  fill($id("calibration-text"), `PIT on ${task}: how much more is observed below a predicted probability than it says; zero is calibrated. Up, then down: too narrow; down, then up: too wide.`);
  chart($id("calibration"), { height: 260, layer: [
    { data: { values: [{ y: 0 }] }, mark: { type: "rule" }, encoding: { y: { field: "y", type: "quantitative" } } },
    { data: { values }, mark: { type: "line", strokeWidth: 2 }, encoding: { x: { field: "x", type: "quantitative", title: "predicted probability" }, y: { field: "y", type: "quantitative", title: "observed − predicted" }, ...byRow(values), tooltip: tip(["row", "method"], ["x", "predicted", ".3~g"], ["y", "observed − predicted", ".3~g"]) } },
  ] }, `PIT deviations on ${task}`);
}

function drawReliability(values, task) {
  if (!values.length) return nothing("calibration", `No reliability curves of these methods are stored on ${task}.`);
  fill($id("calibration-text"), `Reliability on ${task}, bins pooled over splits; larger dots hold more predictions. Below the line: overconfident.`);
  const x = { field: "x", type: "quantitative", title: "confidence" };
  const y = { field: "y", type: "quantitative", title: "accuracy" };
  chart($id("calibration"), { height: 260, layer: [
    { data: { values: [{ x: 0, y: 0 }, { x: 1, y: 1 }] }, mark: { type: "line", color: palette().faint, strokeWidth: 1 }, encoding: { x, y } },
    { data: { values }, mark: { type: "line", strokeWidth: 1.5 }, encoding: { x, y, ...byRow(values) } },
    { data: { values }, mark: { type: "point", filled: true, opacity: 0.9 }, encoding: { x, y, color: byRow(values).color, size: { field: "share", type: "quantitative", legend: null, scale: { range: [15, 200] } }, tooltip: tip(["row", "method"], ["x", "confidence", ".3~g"], ["y", "accuracy", ".3~g"], ["share", "share of predictions", ".2~g"]) } },
  ] }, `Reliability on ${task}`);
}

function drawTraining(values, task) {
  if (!values.length) return nothing("training", `No training curves of these methods are stored on ${task}.`);
  fill($id("training-text"), `Log-likelihood on the validation rows of ${task} while training, mean over splits. A curve that still rises would gain from more steps; what lies below the axis is cut off.`);
  const end = Math.max(...values.map((point) => point.x));
  const late = values.filter((point) => point.x >= 0.1 * end && typeof point.y === "number").map((point) => point.y);
  const domain = bounds(late.length ? late : [0, 1], 1);
  const y = { field: "y", type: "quantitative", title: "nats per point", scale: { domain, zero: false } };
  chart($id("training"), { height: 260, data: { values }, mark: { type: "line", strokeWidth: 2, clip: true }, encoding: { x: { field: "x", type: "quantitative", title: "step", axis: { format: "~s" } }, y, ...byRow(values), tooltip: tip(["row", "method"], ["x", "step", ",.0f"], ["y", "nats per point", ".4~g"]) } }, `Training curves on ${task}`);
}
