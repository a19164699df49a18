// Charts by Vega-Lite, drawn when seen; expressions run in Vega's interpreter, for the page forbids eval.

const views = new Map();
const drawing = new Set(); // promises of charts that have no height yet

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ground", "panel", "text", "faint", "line", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function chartConfig() {
  const c = palette();
  return {
    background: c.ground, font: "system-ui, sans-serif",
    axis: { labelColor: c.text, titleColor: c.faint, gridColor: c.line, domainColor: c.line, tickColor: c.line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridOpacity: 0.6, labelLimit: 190, labelOverlap: "greedy", labelSeparation: 6 },
    legend: { labelColor: c.text, titleColor: c.faint, labelFontSize: 12, titleFontWeight: "normal", symbolFillColor: c.text, symbolStrokeColor: c.text },
    view: { stroke: null }, text: { fill: c.text }, rule: { stroke: c.faint },
  };
}

function chart(place, spec, label, onClick) {
  const drawn = draw(place, spec, label, onClick).finally(() => drawing.delete(drawn));
  drawing.add(drawn);
  return drawn;
}

async function draw(place, spec, label, onClick) {
  views.get(place)?.finalize();
  place.style.minHeight = `${place.offsetHeight}px`; // so that nothing below moves while it is empty
  fill(place);
  const width = Math.max(240, place.clientWidth);
  const actions = { export: { svg: true, png: true }, source: false, compiled: false, editor: false };
  const done = await vegaEmbed(place, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", autosize: { type: "fit-x", contains: "padding" }, width, ...spec, description: label }, {
    ast: true, renderer: "svg", actions, defaultStyle: false, config: chartConfig(), downloadFileName: place.id,
    tooltip: { disableDefaultStyle: true }, i18n: { CLICK_TO_VIEW_ACTIONS: "Download this chart" },
  });
  views.set(place, done);
  place.style.minHeight = "";
  if (onClick) done.view.addEventListener("click", (_, item) => { if (item?.datum) onClick(item.datum.datum ?? item.datum); });
}

const tip = (...fields) => fields.map(([field, title, format]) => ({ field, title, format, type: format ? "quantitative" : "nominal" }));
const marked = { field: "colour", type: "nominal", scale: null };
