// What the payload holds, looked up by names. Every statistic comes from it; nothing is estimated here.

let DATA = null;

const colour = (row) => DATA.rows[row].colours[isDark() ? 1 : 0];
const scopesOf = (title, rule) => DATA.scopes.filter((scope) => scope.title === title && scope.rule === rule);
const metricOf = (name) => DATA.metrics[name];
const describe = (scope) => `${scope.title} (${scope.rule})`;

function current() {
  const state = readState();
  const scope = DATA.scopes.find((each) => each.name === state.tasks) ?? DATA.scopes[0];
  const metric = known(state.metric, Object.keys(scope?.metrics ?? {}));
  const board = scope?.metrics[metric] ?? null;
  const families = [...new Set(scope?.rows.map((row) => DATA.rows[row].family) ?? [])];
  const first = scope?.rows[board?.first ?? 0];
  const reference = known(state.reference, scope?.rows ?? [], first);
  return { state, scope, metric, board, families, family: known(state.family, families, ""), first, reference };
}

// What an object holds under a name, which may be one that all objects know, `constructor`.
const held = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);
const publishedOf = (task) => held(DATA.published, task) ?? [];

// The sections that the scope ranks over, and the one that holds a data set.
const sectionsOf = (scope) => DATA.sections.filter((s) => s.rule === scope.rule && s.budget === scope.budget && s.tasks.every((t) => scope.tasks.includes(t)));
const sectionWith = (scope, task) => sectionsOf(scope).find((section) => section.tasks.includes(task));

// Columns of an object of arrays as a list of objects.
function lines(columns, extra = () => ({})) {
  const keys = Object.keys(columns).filter((key) => Array.isArray(columns[key]));
  return (columns[keys[0]] ?? []).map((_, i) => ({ ...Object.fromEntries(keys.map((key) => [key, columns[key][i]])), ...extra(i) }));
}

function entriesOf(section, metric, task) {
  const columns = held(held(section.entries, metric), task);
  return columns ? lines(columns).map((entry) => ({ ...entry, row: section.rows[entry.row] })) : [];
}

function cellsOf(section, task, row, metric) {
  const columns = section.cells[task];
  const values = columns.values[metric] ?? [];
  return lines(columns, (i) => ({ value: values[i] })).filter((cell) => section.rows[cell.row] === row);
}

// Place of a pair in the upper triangle of m rows, and the sign of the first minus the second.
function pair(m, i, j) {
  const [a, b] = i < j ? [i, j] : [j, i];
  return [a * m - (a * (a + 1)) / 2 + (b - a - 1), i < j ? 1 : -1];
}

// One method against another on one data set: positive is better for the first.
function difference(scope, board, task, first, second) {
  const own = board.pairs[task];
  const [place, sign] = pair(scope.rows.length, scope.rows.indexOf(first), scope.rows.indexOf(second));
  if (own.mean[place] === null) return null;
  const region = Array.isArray(own.region) ? own.region[place] : own.region;
  return { mean: sign * own.mean[place], half: own.half[place], region, ...odds(own, place, sign) };
}

function odds(own, place, sign) {
  const [better, same] = [own.better[place], own.same[place]];
  if (better === null || same === null) return { better: null, same: null, worse: null };
  const worse = Math.max(0, 1 - better - same);
  return sign > 0 ? { better, same, worse } : { better: worse, same, worse: better };
}

function overall(scope, board, first, second) {
  return odds(board.signed, ...pair(scope.rows.length, scope.rows.indexOf(first), scope.rows.indexOf(second)));
}
