// The further tables of the report: certificates, detection, attacks, implementations, convergence ...

function renderTables({ scope, state }) {
  const all = [...sectionsOf(scope).flatMap((section) => section.tables), ...DATA.across];
  const chosen = all.find((each) => each.name === state.table) ?? all[0];
  options($id("listed"), all.map((each) => [each.name, each.title]), chosen?.name ?? "");
  if (!chosen) { fill($id("listed-table")); return fill($id("listed-text"), "There are none of these data sets."); }
  const left = chosen.header.map((_, i) => i === 0 || chosen.rows.some((row) => isProse(textOfCell(row[i]))));
  const heads = chosen.header.map((text, i) => [text, left[i] ? "left" : ""]);
  const rows = chosen.rows.map((row) => row.map((cell, i) => {
    const [text, best, mark] = Array.isArray(cell) ? cell : [cell];
    const css = [left[i] ? "left" : "", best ? "best" : "", text.length > 60 ? "long" : ""].join(" ").trim();
    return [mark ? [text, el("span", { class: "mark" }, ` ${mark}`)] : text, sortKey(text), css];
  }));
  table($id("listed-table"), heads, rows, { name: chosen.name });
  fill($id("listed-text"), chosen.caption);
}

const LEADING = /^[−-]?\d[\d,]*(\.\d+)?(e[−-]?\d+)?/;
const textOfCell = (cell) => (Array.isArray(cell) ? cell[0] : cell);
const isProse = (text) => text !== "–" && !LEADING.test(text);

// What a text sorts by: the number that it begins with, if there is one, else itself.
function sortKey(text) {
  const found = LEADING.exec(text);
  if (!found) return text === "–" ? 1e99 : text;
  return Number(found[0].replaceAll("−", "-").replaceAll(",", ""));
}
