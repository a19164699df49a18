"""The page `index.md`: how to read it, where the numbers come from, and a part for each section."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from bnnbench.report.costs import cost_tables, troubles
from bnnbench.report.escape import alt_text, code, escape_markdown, one_line
from bnnbench.report.extra import Extra, page
from bnnbench.report.figures.section import Picked
from bnnbench.report.images import GROUP_NOTES
from bnnbench.report.select import Section, Selection
from bnnbench.report.statistics import ALPHA, Comparison, Frame
from bnnbench.report.tables import comparison_markdown, markdown, words
from bnnbench.report.tuning import tuning_markdown, tunings

HOW_TO_READ = """\
Every table has one row per method and one column per data set. A number is the mean over splits ± its standard error;
the **bold** numbers of a column are the best one and those that the data cannot tell apart from it. `constant` predicts
the same for every input: a method that does not beat it has learnt nothing. † marks cells that failed or are missing:
they do not compete for bold, because a mean over the splits that a method survived flatters it. ‡ marks methods that
doubt their own convergence, – what was not run or does not apply. § marks, in comparisons with HMC, methods that aim at
another posterior than the task's. Compare within a table only: another split rule, budget or version is another
experiment.
"""
FOLDERS = re.compile(r"(?<=[\s=])/\S*/(?=[^/\s])")  # those of absolute paths
UNFOLDED = 5  # revisions or commands that are shown at once
FIDELITY = "How near to the HMC posterior?"
FEW_POINTS = (
    "One point can carry the mean: a flow that misses a corner of the truth is far off on the few draws from there."
)
METRIC_NOTES = {"nll": FEW_POINTS, "kl_forward": FEW_POINTS}  # what a reader of these tables will ask
SPLIT_RULES = {
    "fixed": "one fixed split",
    "10fold": "ten folds of one permutation",
    "10fold-grouped": "ten folds that keep duplicate rows together",
    "gal": "the stored splits of Gal & Ghahramani (2016)",
    "gap": "the middle third of one feature is the test set (Foong et al. 2019): extrapolation, not a random sample",
    "official": "one split, the official test set; validation rows are taken from the official training rows",
}


def caption(selection: Selection, section: Section, table: Comparison) -> str:
    """Metric, splits, and the test behind the bold numbers, in full: a table may be read alone."""
    _, unit, summary = selection.metric(table.metric)
    direction = {1: "higher is better", -1: "lower is better"}.get(table.better, "")
    about = ", ".join(filter(None, [unit, direction]))
    name = words(table.metric)
    text = (name[0].upper() + name[1:]) + f" on the {table.evaluation} rows"
    text += f": {summary.strip().rstrip('.')}" * bool(summary) + f" ({about})" * bool(about) + ". "
    notes = GROUP_NOTES.get(section.group), METRIC_NOTES.get(table.metric)
    text += "".join(f"{note} " for note in notes if note)
    seeds = max(table.seeds.values())
    if all(n == 1 for n in table.splits.values()):
        text += f"One split ({section.rule}): the standard error is over its test points"
        text += f" and over {seeds} seeds, added in quadrature" * (seeds > 1)
        return text + ", and bold marks just the best value, for with one split there is nothing to test."
    splits = _per_task(table.splits, table.tasks)
    text += (
        f"Mean ± standard error over splits ({section.rule}: {splits}" + "; seeds averaged first" * (seeds > 1) + "), "
    )
    text += (
        "which treats splits as independent and so is too small. Bold: the best mean, and those not separable from it "
    )
    text += "by the corrected resampled t-test (Nadeau & Bengio 2003: variance factor 1/k + n_test/n_train, here "
    ratios = {t: f"1/{table.splits[t]} + {_fraction(r)}" for t, r in table.ratio.items()}
    text += f"{_per_task(ratios, table.tasks)}; two-sided, α = {ALPHA:g}, not corrected for the number of methods)."
    return text


def _fraction(ratio: float) -> str:
    """1/9 rather than 0.111."""
    return f"1/{round(1 / ratio)}" if abs(1 / ratio - round(1 / ratio)) < 1e-9 else f"{ratio:.3g}"


def _per_task(values: dict, tasks: Iterable[str]) -> str:
    """`10`, or `housing 10, energy 9` where data sets differ."""
    distinct = set(values.values())
    return str(distinct.pop()) if len(distinct) == 1 else ", ".join(f"{t} {values[t]}" for t in tasks if t in values)


def provenance(selection: Selection) -> str:
    """Where the numbers come from, as a list."""
    sessions = _used_sessions(selection)
    revisions = [
        code(str(r)) + " with uncommitted changes" * bool(d)
        for r, d in zip(sessions["revision"], sessions["dirty"], strict=True)
    ]
    known = [row for row in sessions["versions"] if isinstance(row, dict)]
    versions = sorted({f"{k} {v}" for row in known for k, v in row.items()})
    counts: Frame = pd.concat(
        [s.scores.drop_duplicates("fingerprint")["status"] for s in selection.sections]
    ).value_counts()
    budgets = sorted({s.budget for s in selection.sections})
    lines = [
        ("Versions", ", ".join(versions)),
        *((name, "; ".join(_distinct(sessions[name.lower()].map(str)))) for name in ("Device", "Host", "Threads")),
        ("Budget", ", ".join(budgets)),
        ("Cells shown", ", ".join(f"{n:,} {status}" for status, n in sorted(counts.items()))),
        ("Scores in the database", f"sha256 {selection.fingerprint}"),
    ]
    if selection.superseded:
        left = f"{selection.superseded:,} cells of superseded versions or defaults of a task or method"
        lines.append(("Left out", left))
    if selection.notices:
        lines.append(("Left out of the figures", "; ".join(selection.notices)))
    commands = [code(FOLDERS.sub("", str(command))) for command in sessions["command"]]
    text = "".join(f"* {name}: {escape_markdown(value)}\n" for name, value in lines)
    return text + _listed("Code revision", revisions) + _listed("Command (paths by their last part)", commands)


def _listed(name: str, values: Iterable[str]) -> str:
    """One value in the list of provenance, several below it, and many folded: a reader wants the tables first."""
    found = _distinct(values)
    if len(found) == 1:
        return f"* {name}: {found[0]}\n"
    items = "".join(f"* {value}\n" for value in found)
    if len(found) <= UNFOLDED:
        return f"\n{name}:\n\n{items}\n"
    return f"\n<details>\n<summary>{name}: {len(found)}</summary>\n\n{items}\n</details>\n"


def _used_sessions(selection: Selection) -> Frame:
    """Sessions that trained a cell shown here, oldest first."""
    sessions = selection.sessions
    used = {i for s in selection.sections for i in s.attempts["session"]}
    return sessions[sessions["id"].isin(used)].sort_values("id")


def _distinct(values: Iterable) -> list[str]:
    found = list(dict.fromkeys(one_line(str(v)) for v in values))
    return found if any(found) else ["unknown"]


def section_page(
    selection: Selection, section: Section, tables: list[Comparison], extras: list[Extra], figures: list[Picked]
) -> str:
    """One section: tables, notes, figures, costs, hyperparameters, troubles."""
    group = escape_markdown(section.group)
    parts = [f"## {group}, split rule {code(section.rule)}, budget {code(section.budget)}\n"]
    if section.rule in SPLIT_RULES:
        parts.append(f"Splits: {SPLIT_RULES[section.rule]}.\n")
    if section.group in GROUP_NOTES:
        parts.append(f"**{GROUP_NOTES[section.group]}**\n")
    if section.others:
        rest = ", ".join(f"{n:,} at {code(b)}" for b, n in section.others.items())
        parts.append(f"Not shown: cells at other budgets ({rest}); `--budget` selects them.\n")
    for table in tables:
        parts += [f"### {group}: {escape_markdown(words(table.metric))}\n", comparison_markdown(table)]
        parts.append(escape_markdown(caption(selection, section, table)) + "\n")
    told = [f"{task}: {note}" for task in section.tasks for note in selection.notes(task)]
    notes = [f"* {escape_markdown(text)}\n" for text in told]
    if notes:
        parts += ["Notes on the data:\n", "".join(notes)]
    parts += [page(extra) for extra in extras]
    if figures:
        parts += [f"### {group}: figures\n", *map(_picture, figures)]
    parts += _costs(section) + _tuning(section) + _troubles(section)
    return "\n".join(parts)


def _picture(figure: Picked) -> str:
    text = f"{escape_markdown(figure.text)}\n\n" * bool(figure.text)
    return f"{text}![{alt_text(figure.alt)}](figures/{figure.name}.svg)\n\n[PNG](figures/{figure.name}.png)\n"


def fidelity_page(tables: list[Extra], figure: Picked) -> str:
    """The part that spans sections: figure, then tables."""
    return "\n".join([f"## {FIDELITY}\n", _picture(figure), *map(page, tables)])


def _costs(section: Section) -> list[str]:
    """A table a setting: times of two devices, numbers of threads or sizes of packs do not compare."""
    tables = cost_tables(section)
    if not tables:
        return []
    text = (
        "Seconds a cell, with milliseconds a minibatch gradient in brackets: the wall time of a pack shared equally "
        "among its cells. Compare within a table only: in each are cells trained on the same device, with the same "
        "number of threads, and with as many others in a pack. Gradients in total counts all networks or chains of a "
        "cell.\n"
    )
    parts = [f"### {escape_markdown(section.group)}: cost\n", text]
    for setting, table in tables:
        parts += [f"On {escape_markdown(str(setting))}:\n", table]
    return parts


def _tuning(section: Section) -> list[str]:
    found = tunings(section)
    if not found:
        return []
    text = (
        "Log-likelihood on the validation rows, on which nobody fits (nats per point, mean ± standard error over "
        "splits, higher is better). The configuration of smallest mean rank over data sets is bold: choose by this, "
        "never by the test rows.\n"
    )
    parts = [f"### {escape_markdown(section.group)}: hyperparameters on validation rows\n", text]
    for tuning in found:
        parts += [f"{code(tuning.method)}:\n", tuning_markdown(tuning)]
    return parts


def _troubles(section: Section) -> list[str]:
    found = troubles(section)
    if not found:
        return []
    rows = [[*map(escape_markdown, row)] for row in found]
    return [
        f"### {escape_markdown(section.group)}: failed or missing cells\n",
        markdown(["method", "data set", "splits", "what happened", "message"], rows, right=False),
    ]


def index(selection: Selection, pages: list[str], across: list[str]) -> str:
    """The whole page: the parts of the sections, then those that span them."""
    contents = "".join(
        f"* {escape_markdown(s.group)}, {code(s.rule)}, budget {code(s.budget)}: "
        f"{escape_markdown(', '.join(s.tasks))}\n"
        for s in selection.sections
    )
    contents += f"* {FIDELITY}\n" * bool(across)
    head = ["# bnnbench report\n", "## How to read this\n", HOW_TO_READ, "## Where the numbers come from\n"]
    return "\n".join([*head, provenance(selection), "Sections:\n", contents, *pages, *across])
