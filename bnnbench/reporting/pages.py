"""The pages of sections, of what spans them, and of the leaderboards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bnnbench.reporting.document import FIDELITY, IMPLEMENTATIONS, LEADERBOARDS, TUNING, Page, Part, of_tables
from bnnbench.reporting.escape import alt_text, code, escape_markdown
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.leaderboards import answer
from bnnbench.reporting.output import file_stem
from bnnbench.reporting.page.scopes import Scope, alone
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.costs import CAPTION
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.tuning import tuning_markdown, tunings

SAME = (
    "Both are trained on the same splits from the same network, likelihood and prior, in minibatches of the same size; "
    "where a library cannot have the same, the documentation of its adapter says so."
)
EMBEDDED = ("svg", "png")  # what browsers show as pictures
SPLIT_RULES = {
    "fixed": "one fixed split",
    "10fold": "ten folds of one permutation",
    "10fold-grouped": "ten folds that keep duplicate rows together",
    "gal": "the stored splits of Gal & Ghahramani (2016)",
    "gal-heteroscedastic": "the stored splits of Gal & Ghahramani (2016), for networks that predict the noise",
    "gap": "the middle third of one feature is the test set (Foong et al. 2019): extrapolation, not a random sample",
    "grouped": "folds that keep the rows of a group together",
    "time": "rows in the order of time: each split tests on rows that are later than all it is trained on",
    "official": "one split, the official test set; validation rows are taken from the official training rows",
}
CONFIGURATIONS = (
    "Log-likelihood on the validation rows, on which no method is trained (nats per point, mean ± standard error over "
    "splits, higher is better). The configuration of smallest mean rank over data sets is bold: choose by this, never "
    "by the test rows.\n"
)


def section_page(
    selection: Selection,
    section: Section,
    headlines: list[Table],
    others: list[Table],
    costs: list[Table],
    pictures: list[str],
    boards: Page,
) -> Page:
    """One section: tables, notes, pictures, costs, hyperparameters.

    Args:
        boards: the page of all leaderboards.
    """
    group, scope = section.group, alone(section)
    lead = [f"{escape_markdown(answer(selection, scope))} {boards.link(scope.heading, 'The leaderboard')}.\n"]
    lead += [f"Splits: {SPLIT_RULES.get(section.rule, code(section.rule))}.\n"]
    lead += [f"**{escape_markdown(section.warning)}**\n"] * bool(section.warning)
    if section.others:
        rest = ", ".join(f"{n:,} at {code(b)}" for b, n in section.others.items())
        lead.append(f"Not shown: cells at other budgets ({rest}); `--budget` selects them.\n")
    told = [f"{task}: {note}" for task in section.tasks for note in selection.notes(task)]
    notes = "".join(f"* {escape_markdown(text)}\n" for text in told)
    parts = [
        *_under("Scores", "", of_tables(headlines, f"{group}: ")),
        *_one("Notes on the data", notes),
        *_under("What stands behind the scores", "", of_tables(others, f"{group}: ")),
        *_one("Figures", "\n".join(pictures)),
        *_one("Cost", _costs(costs, f"{group}: cost ")),
        *_one("Hyperparameters on validation rows", _tuning(section)),
    ]
    return Page(file_of(section), scope.heading, "\n".join(lead), tuple(parts))


def file_of(section: Section) -> str:
    """Name of the section's page."""
    return f"{file_stem(section.name)}.md"


def _one(title: str, body: str) -> list[Part]:
    return [Part(title, body)] * bool(body)


def _under(title: str, body: str, parts: list[Part]) -> list[Part]:
    return [Part(title, body), *parts] if parts else []


def leaderboards_page(selection: Selection, found: Sequence[tuple[Scope, list[Table]]]) -> Page:
    """Every scope with its sentence, its leaderboard and its mean ranks by every metric."""
    parts: list[Part] = []
    for scope, tables in found:
        sentence = f"{escape_markdown(answer(selection, scope))}\n"
        first, *more = of_tables(tables, level=2) or [Part(scope.heading, "")]
        parts.append(Part(first.title, "\n".join(filter(None, [sentence, first.body]))))
        parts += [Part(part.title, part.body, 3, "Mean ranks by every metric") for part in more]
    lead = (
        "Methods ranked over the data sets of a task group, and over those of all groups of the same splits and "
        "budget. `tables/leaderboard-*.csv` has the numbers of every metric.\n"
    )
    return Page(LEADERBOARDS, "Leaderboards", lead, tuple(parts))


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


def fidelity_page(tables: list[Table], pictures: list[str]) -> Page:
    """How near each method comes to HMC, which belongs to no one section: picture, then tables."""
    lead = "Methods beside the posterior itself, as far as long runs of HMC sample it.\n"
    return Page(FIDELITY, "How near to the HMC posterior?", "\n".join([lead, *pictures]), _flat(tables))


def implementations_page(text: str, tables: list[Table]) -> Page:
    """Other libraries beside us, with what the tables say in short."""
    lead = f"{text} {SAME}\n"
    return Page(IMPLEMENTATIONS, "The same method, several implementations", lead, _flat(tables))


def tuning_page(tables: list[Table]) -> Page:
    """The trials of hyperparameters."""
    lead = (
        "The same number of trials of every method on every split, the defaults first, each split choosing on its own "
        "validation rows. What the chosen configurations score at a full budget stands with the results.\n"
    )
    return Page(TUNING, "Trials of hyperparameters", lead, _flat(tables))


def _flat(tables: list[Table]) -> tuple[Part, ...]:
    return tuple(of_tables(tables, level=2))


def _costs(tables: Sequence[Table], prefix: str) -> str:
    """A table a setting: times of two devices, numbers of threads or sizes of packs do not compare."""
    parts = [f"{_sentence(table.title.removeprefix(prefix))}:\n\n{table.grid.markdown()}" for table in tables]
    return "\n".join([f"{CAPTION}\n", *parts]) if parts else ""


def _sentence(text: str) -> str:
    return escape_markdown(text[:1].upper() + text[1:])


def _tuning(section: Section) -> str:
    parts = [f"{code(found.method)}:\n\n{tuning_markdown(found)}" for found in tunings(section)]
    return "\n".join([CONFIGURATIONS, *parts]) if parts else ""
