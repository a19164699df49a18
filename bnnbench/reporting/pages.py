"""The page `index.md`: how to read it, where the numbers come from, and a part for each section."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from bnnbench.reporting.escape import alt_text, code, escape_markdown, one_line
from bnnbench.reporting.external import EXTERNAL, described
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.separable import ALPHA
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.costs import cost_tables, troubles
from bnnbench.reporting.tables.grid import markdown
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import OLD, WORSE
from bnnbench.reporting.tables.tuning import tuning_markdown, tunings

HOW_TO_READ = f"""\
Every table has one row per method and one column per data set. A number is the mean over splits ± its standard error;
where a few splits carry the mean, so that it is further from the median than the quartiles are from each other, the
median stands beside it. The **bold** numbers of a column are the best one and those that the data cannot separate from
it, by a test that in simulations with normal, unequal and lognormal noise of the folds gives false alarms in at most
{100 * ALPHA:.0f} % of columns (with heavy-tailed noise, Student's t with 3 degrees of freedom, in 22 to 24 %). Not
every number competes: baselines do not (`constant` predicts the same for every input: a method should beat the constant
predictor), nor do those whose mean is worse than a baseline's, nor those with † or ‡. {WORSE}3/10: worse than the
baseline on three of ten splits; the table "behind the baseline" says where and why. † marks cells that failed or are
missing: a mean over the splits that a method survived flatters it. ‡ marks methods flagged by their own convergence
diagnostics, – what was not run or does not apply. § marks methods with another target than the task's posterior:
another model or prior, be it for the spread of the weights alone, or a tempered posterior. {EXTERNAL} marks methods
whose predictions were made elsewhere and scored here. Compare within a table only:
another split rule, budget or version is another experiment.
"""
FOLDERS = re.compile(r"(?<=[\s=])/\S*/(?=[^/\s])")  # those of absolute paths
UNFOLDED = 5  # revisions or commands that are shown at once
FIDELITY = "How near to the HMC posterior?"
IMPLEMENTATIONS = "The same method, several implementations"
SAME = (
    "Both are trained on the same splits from the same network, likelihood and prior, in minibatches of the same size; "
    "where a library cannot have the same, the documentation of its adapter says so."
)
SUPERSEDED = (
    f"What {OLD} marks was made by older versions of methods or tasks than those installed where this report was "
    "written: {}. Newer versions give other numbers; `bnnbench run` makes them."
)
NO_FIGURES = "Figures are left out of this page; `bnnbench report` without `--figures none` draws them.\n"
EMBEDDED = ("svg", "png")  # what browsers show as pictures
SPLIT_RULES = {
    "fixed": "one fixed split",
    "10fold": "ten folds of one permutation",
    "10fold-grouped": "ten folds that keep duplicate rows together",
    "gal": "the stored splits of Gal & Ghahramani (2016)",
    "gal-heteroscedastic": "the stored splits of Gal & Ghahramani (2016), for networks that predict the noise",
    "gap": "the middle third of one feature is the test set (Foong et al. 2019): extrapolation, not a random sample",
    "official": "one split, the official test set; validation rows are taken from the official training rows",
}


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
    if selection.external:
        attempts = pd.concat([s.attempts for s in selection.sections])
        elsewhere = described(selection.external, selection.methods, attempts)
        lines.append(("Predictions made elsewhere, as told by whom they come from", "; ".join(elsewhere)))
    if selection.left_out:
        left = f"{selection.left_out:,} cells of superseded versions or defaults of a task or method"
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
    selection: Selection, section: Section, headlines: list[Table], others: list[Table], pictures: list[str]
) -> str:
    """One section: tables, notes, pictures, costs, hyperparameters, troubles."""
    group = escape_markdown(section.group)
    parts = [f"## {group}, split rule {code(section.rule)}, budget {code(section.budget)}\n"]
    if section.rule in SPLIT_RULES:
        parts.append(f"Splits: {SPLIT_RULES[section.rule]}.\n")
    if section.warning:
        parts.append(f"**{escape_markdown(section.warning)}**\n")
    if section.others:
        rest = ", ".join(f"{n:,} at {code(b)}" for b, n in section.others.items())
        parts.append(f"Not shown: cells at other budgets ({rest}); `--budget` selects them.\n")
    parts += [table.page() for table in headlines]
    told = [f"{task}: {note}" for task in section.tasks for note in selection.notes(task)]
    notes = [f"* {escape_markdown(text)}\n" for text in told]
    if notes:
        parts += ["Notes on the data:\n", "".join(notes)]
    parts += [table.page() for table in others]
    if pictures:
        parts += [f"### {group}: figures\n", *pictures]
    parts += _costs(section) + _tuning(section) + _troubles(section)
    return "\n".join(parts)


def pictures(plots: Iterable[Plot], formats: Sequence[str]) -> list[str]:
    """Figures in Markdown: what to see, the picture in the first format that a page can show, links to the others."""
    return [_picture(plot, formats) for plot in plots]


def _picture(plot: Plot, formats: Sequence[str]) -> str:
    shown = next((name for name in formats if name in EMBEDDED), "")
    files = {name: f"figures/{plot.name}.{name}" for name in formats}
    alt = alt_text(plot.alt)
    parts = [escape_markdown(plot.text)] * bool(plot.text)
    parts += [f"![{alt}]({files[shown]})"] if shown else [alt]
    parts += [" ".join(f"[{name.upper()}]({file})" for name, file in files.items() if name != shown)]
    return "\n\n".join(filter(None, parts)) + "\n"


def fidelity_page(tables: list[Table], pictures: list[str]) -> str:
    """The part that spans sections: picture, then tables."""
    return "\n".join([f"## {FIDELITY}\n", *pictures, *(table.page() for table in tables)])


def implementations_page(text: str, tables: list[Table]) -> str:
    """A page of its own: other libraries beside us."""
    return "\n".join([f"# {IMPLEMENTATIONS}\n", f"{text} {SAME}\n", *(table.page() for table in tables)])


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
    for conditions, grid in tables:
        parts += [f"On {escape_markdown(str(conditions))}:\n", grid.markdown()]
    return parts


def _tuning(section: Section) -> list[str]:
    found = tunings(section)
    if not found:
        return []
    text = (
        "Log-likelihood on the validation rows, on which no method is trained (nats per point, mean ± standard error "
        "over splits, higher is better). The configuration of smallest mean rank over data sets is bold: choose by "
        "this, never by the test rows.\n"
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


def index(
    selection: Selection, pages: list[str], across: list[str], further: Mapping[str, str], *, has_figures: bool
) -> str:
    """The whole page: the parts of the sections, then those that span them.

    Args:
        further: files of other pages by their titles.
    """
    contents = "".join(
        f"* {escape_markdown(s.group)}, {code(s.rule)}, budget {code(s.budget)}: "
        f"{escape_markdown(', '.join(s.tasks))}\n"
        for s in selection.sections
    )
    contents += f"* {FIDELITY}\n" * bool(across)
    contents += "".join(f"* [{title}]({file})\n" for title, file in further.items())
    old = selection.superseded
    warning = [f"**Superseded results.** {SUPERSEDED.format(old)}\n"] * bool(old.names)
    warning += [NO_FIGURES] * (not has_figures)
    head = ["# bnnbench report\n", *warning, "## How to read this\n", HOW_TO_READ, "## Where the numbers come from\n"]
    return "\n".join([*head, provenance(selection), "Sections:\n", contents, *pages, *across])
