// What is shown stands in the URL's hash, so that a view can be shared; every change goes through it.

const KEYS = ["tasks", "metric", "family", "reference", "cost", "compare", "data", "method", "shift", "quantity", "near", "table", "sort", "theme"];

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.map((key) => [key, given.get(key) ?? ""]));
}

function address(change) {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...readState(), ...change })) if (value) given.set(key, value);
  return `#${given}`;
}

function setState(change) {
  location.hash = address(change);
}

// What the page already shows: the address changes and nothing is rendered again.
function remember(change) {
  history.replaceState(null, "", address(change));
}

// A value of the state if it is one of those that there are, else the first of them that is not empty.
function known(value, values, fallback) {
  return values.includes(value) ? value : fallback ?? values[0] ?? "";
}
