// Unpack, wire the selectors, and render each part when it comes into view.

const PARTS = { board: [renderSentence, renderSelectors, renderBoard, renderCost], ranks: [renderRanks], compare: [renderCompare], data: [renderData, renderCurves], method: [renderMethod], shifts: [renderShifts], nearness: [renderNearness], tables: [renderTables], about: [renderAbout] };
const stale = new Set();
const visible = new Set();

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
}

// Parts above are drawn first: what grows while it is scrolled past would carry the goal away.
async function go(part) {
  const order = Object.keys(PARTS);
  for (const each of order.slice(0, order.indexOf(part) + 1)) render(each);
  $id(part).scrollIntoView();
  $id(part).querySelector("select, button, a")?.focus({ preventScroll: true });
  await Promise.allSettled([...drawing]);
  $id(part).scrollIntoView({ behavior: "instant" });
}

function render(part) {
  if (!stale.delete(part)) return;
  const view = current();
  for (const step of PARTS[part]) if (view.scope) step(view);
}

function renderAll() {
  document.documentElement.dataset.theme = known(readState().theme, ["dark", "light"], "auto");
  fill($id("theme"), isDark() ? "Light" : "Dark");
  for (const part of Object.keys(PARTS)) stale.add(part);
  for (const part of visible) render(part);
}

function renderAbout({ scope }) {
  const sections = sectionsOf(scope);
  const notes = sections.flatMap((section) => [section.warning, ...section.tasks.flatMap((task) => DATA.tasks[task].notes.map((note) => `${task}: ${note}`))]);
  const general = ["Training rows of splits overlap: printed standard errors take them for independent and are too small; intervals of differences are corrected for it (Nadeau & Bengio 2003).", DATA.about.superseded ? `° marks what was made by older versions than those installed where this page was written: ${DATA.about.superseded}.` : "", DATA.about.left_out ? `${DATA.about.left_out} cells of superseded versions are left out.` : ""];
  fill($id("caveats"), [...new Set([...notes, ...general].filter(Boolean))].map((text) => el("li", {}, text)));
  const used = [...new Set(sections.flatMap((section) => section.tasks.flatMap((task) => section.cells[task].session)))].map((i) => DATA.sessions[i]);
  const distinct = (key) => [...new Set(used.map((session) => String(session[key])))].join("; ");
  fill($id("origin"), [["Revisions", distinct("revision")], ["Devices", distinct("device")], ["Versions", distinct("versions")], ["Scores in the database", `sha256 ${DATA.about.fingerprint}`]].map(([name, value]) => el("li", {}, `${name}: ${value}`)));
}

function wire() {
  const onChange = (id, change) => $id(id).addEventListener("change", (event) => setState(change(event.target.value)));
  onChange("tasks", (value) => { const { scope } = current(); const own = DATA.scopes.filter((each) => describe(each) === value); return { tasks: (own.find((each) => each.budget === scope.budget) ?? own[0]).name }; });
  onChange("budget", (value) => ({ tasks: value }));
  onChange("metric", (metric) => ({ metric }));
  onChange("family", (family) => ({ family }));
  onChange("reference", (reference) => ({ reference }));
  onChange("cost", (cost) => ({ cost }));
  onChange("task", (data) => ({ data }));
  for (const key of ["shift", "quantity", "near"]) onChange(key, (value) => ({ [key]: value }));
  onChange("listed", (table) => ({ table }));
  onChange("row", (method) => ({ method }));
  $id("theme").addEventListener("click", () => setState({ theme: isDark() ? "light" : "dark" }));
  for (const button of document.querySelectorAll("[data-go]")) button.addEventListener("click", () => go(button.dataset.go));
  for (const form of document.querySelectorAll("form.selectors")) form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $id("content").focus(); });
  addEventListener("hashchange", renderAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renderAll);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; renderAll(); } });
}

async function start() {
  DATA = await unpack($id("payload").textContent);
  $id("payload").remove();
  $id("loading").remove();
  wire();
  for (const part of Object.keys(PARTS)) $id(part).hidden = false;
  const seen = new IntersectionObserver((found) => {
    for (const { target, isIntersecting } of found) {
      visible[isIntersecting ? "add" : "delete"](target.id);
      if (isIntersecting) render(target.id);
    }
  }, { rootMargin: "200px" });
  renderAll();
  render("board");
  for (const part of Object.keys(PARTS)) seen.observe($id(part));
  document.body.dataset.ready = "yes";
}

start().catch((error) => { fill($id("content"), el("p", { class: "warning" }, `This page could not be shown (${error.message}); a browser of 2023 or later is needed.`)); throw error; });
