// How near every predictive is to that of HMC: a dot a method and data set, beside the noise of HMC itself.

function renderNearness({ state, family }) {
  const near = DATA.nearness;
  const metric = near ? known(state.near, Object.keys(near.metrics)) : "";
  options($id("near"), near ? Object.entries(near.metrics).map(([name, about]) => [name, about.words]) : [], metric);
  if (!near) { fill($id("near-chart")); return fill($id("near-text"), "No method was compared with HMC; bnnbench run --task fidelity does it."); }
  const about = near.metrics[metric];
  const rows = near.rows.filter((row) => !family || DATA.rows[row]?.family === family);
  const values = about.values.filter(([row, , value]) => rows.includes(row) && typeof value === "number").map(([row, column, value]) => ({ row, column, value: about.signed ? value : Math.abs(value), floor: exact(about.floor[column]), colour: colour(row), state: near.flagged.includes(column) ? "HMC is not certified here" : "HMC is certified" }));
  const floors = near.columns.filter((column) => about.floor[column] && !near.flagged.includes(column)).map((column) => ({ column, value: about.floor[column] }));
  const scale = about.signed ? { type: "symlog", constant: 0.1 } : { type: "log", nice: false, padding: 10 };
  const x = { field: "value", type: "quantitative", title: `${about.words}${about.unit ? ` (${about.unit})` : ""}`, scale };
  const drawn = values.filter((point) => about.signed || point.value > 0);
  fill($id("near-text"), [`${about.summary || about.words}; ${about.signed ? "left of zero: surer than HMC" : "left is nearer"}. `, nearest(near), about.signed ? "" : "Dashed: the distance of two halves of HMC’s own chains, one line a data set. ", "The certificates stand under Tables."].join(""));
  chart($id("near-chart"), { height: 20 * rows.length, layer: [
    ...(floors.length && !about.signed ? [{ data: { values: floors }, mark: { type: "rule", strokeDash: [3, 3] }, encoding: { x, tooltip: tip(["column", "HMC’s own noise on"], ["value", "distance", ".3~g"]) } }] : []),
    ...(about.signed ? [{ data: { values: [{ value: 0 }] }, mark: { type: "rule" }, encoding: { x } }] : []),
    { data: { values: drawn }, mark: { type: "point", size: 60, filled: true, opacity: 0.9, cursor: "pointer" }, encoding: { x, y: { field: "row", type: "nominal", sort: rows, title: null }, color: marked, shape: { field: "column", type: "nominal", title: "data set", sort: near.columns }, tooltip: tip(["row", "method"], ["column", "data set"], ["value", about.words, ".3~g"], ["floor", "HMC’s own noise"], ["state", "gold standard"]) } },
  ] }, `${about.words} of ${rows.length} methods`, (datum) => { if (DATA.rows[datum.row]) { setState({ method: datum.row }); go("method"); } });
}

function nearest(near) {
  const ranked = near.rows.map((row, i) => [row, near.ranks[i]]).filter(([, rank]) => rank !== null).slice(0, 3);
  return ranked.length ? `Nearest by mean rank over certified data sets: ${ranked.map(([row, rank]) => `${row} (${short(rank)})`).join(", ")}. ` : "";
}
