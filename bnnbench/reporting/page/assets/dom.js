// Elements. All names reach the page as text nodes; nothing is ever parsed as markup.

const $id = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

function options(select, entries, chosen) {
  fill(select, entries.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  select.value = chosen;
}

const minus = (text) => String(text).replace("-", "−");

// A number as it stands in the payload, whose digits are those of the database, rounded to six.
const exact = (value) => (value === null || value === undefined ? "–" : minus(value));

function short(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  if (value !== 0 && (size >= 1e6 || size < 1e-3)) return minus(value.toExponential(digits - 1));
  return size >= 10 ** (digits - 1) ? minus(Math.round(value).toLocaleString("en")) : minus(Number(value.toPrecision(digits)));
}

function percent(value) {
  if (value === null || value === undefined) return "–";
  if (value > 0.995) return "> 99 %";
  if (value < 0.005) return "< 1 %";
  return `${Math.round(100 * value)} %`;
}

// A table by DataTables: heads are [text, class, title], cells nodes, texts or [node or text, what it sorts by, class].
function table(place, heads, rows, { order = [], name = "table", classes = [], unsorted = [], paging = false } = {}) {
  const old = place.querySelector("table");
  if (old && DataTable.isDataTable(old)) new DataTable.Api(old).destroy();
  place.style.minHeight = `${place.offsetHeight}px`; // so that nothing below moves meanwhile
  requestAnimationFrame(() => { place.style.minHeight = ""; });
  if (!rows.length) return fill(place, el("p", { class: "hint" }, "Nothing to show."));
  const head = el("thead", {}, el("tr", {}, heads.map(([text, css, title]) => el("th", { scope: "col", class: css, title }, text))));
  const body = rows.map((cells, i) => el("tr", { class: classes[i] }, cells.map((cell, j) => {
    const [content, sort, css] = Array.isArray(cell) ? cell : [cell];
    const given = { class: css ?? heads[j][1], "data-order": sort === null ? "" : sort };
    return j === 0 ? el("th", { scope: "row", ...given }, content) : el("td", given, content);
  })));
  const own = el("table", { class: "numbers" }, head, el("tbody", {}, body));
  fill(place, own);
  return new DataTable(own, {
    order, paging, pageLength: 50, info: false, searching: false, autoWidth: false, orderMulti: true, orderClasses: false,
    columnDefs: [{ targets: unsorted, orderable: false }],
    layout: { topStart: null, topEnd: null, bottomEnd: paging ? "paging" : null,
      bottomStart: { buttons: [{ extend: "csv", text: "Download CSV", filename: name }] } },
  });
}
