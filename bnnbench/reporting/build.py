"""Build the report's folder from the database alone; the same database and libraries give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnbench.errors import UserError
from bnnbench.reporting.document import INDEX, Page
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.front import front
from bnnbench.reporting.implementations import implementations
from bnnbench.reporting.leaderboards import leaderboard_tables, shown
from bnnbench.reporting.output import Output
from bnnbench.reporting.pages import fidelity_page, implementations_page, leaderboards_page, section_page, tuning_page
from bnnbench.reporting.pages import pictures as shown_as
from bnnbench.reporting.reading import reading
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.superseded import Installed
from bnnbench.reporting.tables.chapter import Chapter, write
from bnnbench.reporting.tables.costs import cost_tables
from bnnbench.reporting.tables.every import marked, section_tables
from bnnbench.reporting.tables.fidelity import certificate_tables, fidelity_tables
from bnnbench.reporting.tables.headline import headline_tables
from bnnbench.reporting.tables.implementations import conclusion, implementation_tables
from bnnbench.reporting.tables.trials import trial_tables
from bnnbench.reporting.trials import trials_of

if TYPE_CHECKING:  # matplotlib is loaded for figures, not for tables
    from bnnbench.reporting.figures.drawing import Drawer

FORMATS = ("html", "md", "csv", "latex")
FIGURES = ("svg", "png", "pdf")


def build(
    store: Any,
    out: Path | str,
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    budget: str | None = None,
    formats: Sequence[str] = FORMATS,
    installed: Installed | None = None,
    figures: Sequence[str] = FIGURES[:1],
    processes: int | None = 1,
    trials: Any = None,
) -> list[Path]:
    """Write `index.html`, tables, figures, `index.md` and the pages that it leads to below `out`.

    Args:
        store: a `ResultStore`; only read.
        tasks, methods: names (tasks: groups too, `all`) to keep; None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `html` (the page to look things up in), `md` (a summary, and a page with all tables and figures for
            each group of tasks), `csv` and `latex`.
        figures: formats of the figures, of `svg`, `png` and `pdf`, the text showing the first; or `none`.
        processes: how many draw figures, None for one a core; see `Drawer`.
        trials: the `ResultStore` of trials of hyperparameters; None: `store`, where they may be too.
        installed: versions of the `method`s and `task`s that the reader has; results of older ones are marked as such.

    Returns:
        Paths of the files written.
    """
    _check(formats, "Unknown report format", FORMATS)
    if has_figures := list(figures) != ["none"]:
        _check(figures, "Unknown format of figures", FIGURES)
    selection, output = replace(select(store, tasks, methods, budget, installed), trials=trials), Output(out)
    boards = [(scope, marked(leaderboard_tables(selection, scope), selection)) for scope in shown(selection)]
    chapters = [Chapter(leaderboards_page(selection, boards), tuple(table for _, own in boards for table in own))]
    with _drawer(figures if has_figures and "md" in formats else (), processes) as drawer:
        chapters += [_section(selection, section, chapters[0].page, drawer) for section in selection.sections]
        chapters += [*_fidelity(selection, drawer), *_implementations(selection), *_tuning(selection)]
        for name, content in drawer.files() if drawer else ():
            output.write(f"figures/{name}", content)
    write(chapters, output, set(formats))
    if "html" in formats:
        from bnnbench.reporting.page.html import page

        output.write("index.html", page(selection))
    if "md" in formats:
        pages = {page.file: page for page in (*(chapter.page for chapter in chapters), reading(selection))}
        for name, found in pages.items():
            output.write(name, found.markdown())
        first = front(selection, boards, pages, has_html="html" in formats, has_figures=has_figures)
        output.write(INDEX, first)
    for name in output.files:
        store.refuse_output(output.root / name)
    return output.finish()


def _check(asked: Sequence[str], refusal: str, known: Sequence[str]) -> None:
    unknown = set(asked) - set(known)
    if unknown or not asked:
        named = ", ".join(sorted(map(str, unknown))) or "nothing"
        raise UserError(f"{refusal} ({named}); choose from {', '.join(known)}.")


def _drawer(figures: Sequence[str], processes: int | None) -> AbstractContextManager[Drawer | None]:
    """None where there is nothing to draw."""
    if not figures:
        return nullcontext()
    from bnnbench.reporting.figures.drawing import Drawer

    return Drawer(figures, processes)


def _section(selection: Selection, section: Section, boards: Page, drawer: Drawer | None) -> Chapter:
    """One section's tables and page; its figures are left to be drawn."""
    headlines = marked(headline_tables(selection, section), selection)
    others = section_tables(selection, section)
    costs, pictures = cost_tables(section), []
    if drawer is not None:
        from bnnbench.reporting.figures.section import plots_of

        pictures = shown_as(map(drawer.add, plots_of(selection, section)), drawer.formats)
    page = section_page(selection, section, headlines, others, costs, pictures, boards)
    return Chapter(page, (*headlines, *others, *costs))


def _fidelity(selection: Selection, drawer: Drawer | None) -> Iterator[Chapter]:
    """The comparisons with HMC, which belong to no one section, if there are any."""
    found = fidelity(selection)
    if found is None:
        return
    tables, pictures = marked([*certificate_tables(found), *fidelity_tables(found)], selection), []
    if drawer is not None:
        from bnnbench.reporting.figures.section import fidelity_plot

        pictures = shown_as([drawer.add(fidelity_plot(selection, found))], drawer.formats)
    yield Chapter(fidelity_page(tables, pictures), tuple(tables))


def _implementations(selection: Selection) -> Iterator[Chapter]:
    """What sets implementations side by side, if there are any."""
    found = implementations(selection)
    if found is None:
        return
    tables = marked(implementation_tables(found), selection)
    yield Chapter(implementations_page(conclusion(found), tables), tuple(tables))


def _tuning(selection: Selection) -> Iterator[Chapter]:
    """The trials of hyperparameters, if there are any."""
    if tables := list(trial_tables(trials_of(selection))):
        yield Chapter(tuning_page(tables), tuple(tables))
