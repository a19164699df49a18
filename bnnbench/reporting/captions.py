"""What stands under a table: metric, splits, and the test behind the bold numbers; a table may be read alone."""

from __future__ import annotations

from collections.abc import Iterable

from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.competition import SEEDS
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.separable import ALPHA
from bnnbench.reporting.tables.text import OLD, WORSE, words

FEW_POINTS = (
    "One point can carry the mean: a flow that misses a corner of the truth is far off on the few draws from there."
)
METRIC_NOTES = {"nll": FEW_POINTS, "kl_forward": FEW_POINTS}  # what a reader of these tables will ask


def caption(selection: Selection, section: Section, table: Comparison) -> str:
    """Metric, splits, and the test behind the bold numbers, in full: a table may be read alone."""
    old, (_, unit, summary) = selection.superseded, selection.metric(table.metric)
    direction = {1: "higher is better", -1: "lower is better"}.get(table.better, "")
    about = ", ".join(filter(None, [unit, direction]))
    name = words(table.metric)
    text = (name[0].upper() + name[1:]) + f" on the {table.evaluation} rows"
    text += f": {summary.strip().rstrip('.')}" * bool(summary) + f" ({about})" * bool(about) + ". "
    notes = section.warning, METRIC_NOTES.get(table.metric)
    text += "".join(f"{note} " for note in notes if note)
    seeds = max(table.seeds.values())
    if table.baselines and any(e.worse for e in table.entries.values()):
        where = "where and why, in the table “behind the baseline”"
        text += f"{WORSE}n/k: worse than {' or '.join(table.baselines)} on n of k splits; {where}. "
    if any(e.skewed for e in table.entries.values()):
        text += "The median stands where it is further from the mean than the quartiles of the splits are apart. "
    if all(n == 1 for n in table.splits.values()):
        text += f"One split ({section.rule}): the standard error is over its test points"
        text += f" and over {seeds} seeds, added in quadrature" * (seeds > 1) + ". " + _one_split_test(table)
    else:
        splits = _per_task(table.splits, table.tasks)
        text += f"Mean ± standard error over splits ({section.rule}: {splits}" + "; seeds averaged first" * (seeds > 1)
        text += "), which treats splits as independent and so is too small. " + _splits_test(table)
    return text + f" {OLD}: {old}." * any(old.marked(n) != n for n in (*table.rows, *table.tasks))


COMPETE = "Bold: the best mean of those that compete (converged, complete, no baseline and not behind one)"
TEST = (
    f"aligned ranks, stepwise, critical values by simulation: at most {100 * ALPHA:.0f} % of columns have a false "
    "alarm with normal, unequal and lognormal noise, but 22 to 24 % with heavy-tailed noise (Student's t, 3 degrees "
    "of freedom)"
)


def _splits_test(table: Comparison) -> str:
    """What stands behind the bold numbers of a table over splits."""
    if not table.better:
        return "Nothing is bold, for neither way is better."
    ratios = {t: f"1 : {_inverse(r)}" for t, r in table.ratio.items()}
    return (
        f"{COMPETE}, and those not separable from it: a paired test over splits ({TEST}; correlation of splits after "
        f"Nadeau & Bengio 2003, test rows : training rows {_per_task(ratios, table.tasks)}). {POWER}"
    )


POWER = (  # as measured by tests/report/test_calibration_of_ties.py
    "In simulations with 24 methods it finds, of those that lose all ten folds, 91 % that are three standard "
    "deviations of a fold behind (93 % if half of their folds explode), 71 % at two and 31 % at one; near relatives "
    "among many others may stay tied."
)


def _one_split_test(table: Comparison) -> str:
    """The same of a table whose tasks have one split."""
    if not table.better:
        return "Nothing is bold, for neither way is better."
    text = f"{COMPETE}, and those not separable from it"
    paired = [task for task in table.tasks if table.paired.get(task)]
    unpaired = {task: rows for task, rows in table.unpaired.items() if rows}
    ways = []
    if paired:
        ways.append(f"a paired test over blocks of test points ({TEST})")
    if unpaired:
        names = "; ".join(f"{t}: {', '.join(r) if table.paired.get(t) else 'all'}" for t, r in unpaired.items())
        ways.append(f"unpaired by their standard errors, which is cautious (Bonferroni over all pairs), {names}")
    text += f": {'; '.join(ways)}" * bool(ways)
    text += f"; {SEEDS} seeds or more must tell them apart too" * (max(table.seeds.values()) >= SEEDS)
    return text + ". It compares the networks trained, of which another seed gives others."


def _inverse(ratio: float) -> str:
    """9 rather than 9.000."""
    return f"{1 / ratio:.3g}"


def _per_task(values: dict, tasks: Iterable[str]) -> str:
    """`10`, or `housing 10, energy 9` where data sets differ."""
    distinct = set(values.values())
    return str(distinct.pop()) if len(distinct) == 1 else ", ".join(f"{t} {values[t]}" for t in tasks if t in values)
