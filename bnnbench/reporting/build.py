"""Build the report's folder from the database alone; the same database gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnbench.errors import UserError
from bnnbench.reporting.external import EXTERNAL, SENTENCE
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.implementations import implementations
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.superseded import Installed
from bnnbench.reporting.tables.attacks import attack_tables
from bnnbench.reporting.tables.behind import behind_tables
from bnnbench.reporting.tables.calibrated import calibrated_tables
from bnnbench.reporting.tables.convergence import convergence_tables
from bnnbench.reporting.tables.corruptions import corruption_tables
from bnnbench.reporting.tables.costs import costs
from bnnbench.reporting.tables.covariance import covariance_tables
from bnnbench.reporting.tables.detection import detection_tables
from bnnbench.reporting.tables.fidelity import certificate_tables, fidelity_tables
from bnnbench.reporting.tables.flows import divergence_tables, published_bounds
from bnnbench.reporting.tables.headline import headline_tables
from bnnbench.reporting.tables.implementations import conclusion, implementation_tables
from bnnbench.reporting.tables.samplers import sampler_tables
from bnnbench.reporting.tables.seeds import seed_tables
from bnnbench.reporting.tables.stored_splits import stored_splits_tables
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.reporting.tables.table import Table, frame_csv, write
from bnnbench.reporting.tables.truth import truth_tables

if TYPE_CHECKING:  # matplotlib is loaded for figures, not for tables
    from bnnbench.reporting.figures.drawing import Drawer

FORMATS = ("md", "csv", "latex")
FIGURES = ("svg", "png", "pdf")
TABLES = (  # each yields what a section has scores for, beside the headline tables, in the order of the page
    behind_tables,
    stored_splits_tables,
    summary_tables,
    seed_tables,
    calibrated_tables,
    detection_tables,
    attack_tables,
    corruption_tables,
    covariance_tables,
    truth_tables,
    divergence_tables,
    published_bounds,
    sampler_tables,
    convergence_tables,
)


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
) -> list[Path]:
    """Write tables, figures and `index.md` below `out`.

    Args:
        store: a `ResultStore`; only read.
        tasks, methods: names (tasks: groups too, `all`) to keep; None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `md` (the page with its figures), `csv` and `latex`.
        figures: formats of the figures, of `svg`, `png` and `pdf`, the page showing the first; or `none`.
        processes: how many draw figures, None for one a core; see `Drawer`.
        installed: versions of the `method`s and `task`s that the reader has; results of older ones are marked as such.

    Returns:
        Paths of the files written.
    """
    _check(formats, "Unknown report format", FORMATS)
    if has_figures := list(figures) != ["none"]:
        _check(figures, "Unknown format of figures", FIGURES)
    selection, output = select(store, tasks, methods, budget, installed), Output(out)
    with _drawer(figures if has_figures and "md" in formats else (), processes) as drawer:
        pages = [_section(selection, section, output, set(formats), drawer) for section in selection.sections]
        across = _fidelity(selection, output, set(formats), drawer)
        further = _implementations(selection, output, set(formats))
        for name, content in drawer.files() if drawer else ():
            output.write(f"figures/{name}", content)
    if "md" in formats:
        from bnnbench.reporting.pages import index

        output.write("index.md", index(selection, pages, across, further, has_figures=has_figures))
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


def _section(selection: Selection, section: Section, output: Output, formats: set[str], drawer: Drawer | None) -> str:
    """Write one section's tables and have its figures drawn; returns its part of the page."""
    headlines = _marked(headline_tables(selection, section), selection)
    found = [table for tables in TABLES for table in tables(selection, section)]
    others = _marked((replace(t, caption=f"{t.caption} {section.warning}".strip()) for t in found), selection)
    write([*headlines, *others], output, formats)
    if "csv" in formats:
        output.write(f"tables/{file_stem(section.name)}-cost.csv", frame_csv(costs(section)))
    if "md" not in formats:
        return ""
    from bnnbench.reporting.pages import pictures, section_page

    if drawer is None:
        return section_page(selection, section, headlines, others, [])
    from bnnbench.reporting.figures.section import plots_of

    shown = pictures(map(drawer.add, plots_of(selection, section)), drawer.formats)
    return section_page(selection, section, headlines, others, shown)


def _fidelity(selection: Selection, output: Output, formats: set[str], drawer: Drawer | None) -> list[str]:
    """Write the comparisons with HMC, which belong to no one section; returns their part of the page, if any."""
    found = fidelity(selection)
    if found is None:
        return []
    tables = _marked([*certificate_tables(found), *fidelity_tables(found)], selection)
    write(tables, output, formats)
    if "md" not in formats:
        return []
    from bnnbench.reporting.pages import fidelity_page, pictures

    if drawer is None:
        return [fidelity_page(tables, [])]
    from bnnbench.reporting.figures.section import fidelity_plot

    return [fidelity_page(tables, pictures([drawer.add(fidelity_plot(selection, found))], drawer.formats))]


def _implementations(selection: Selection, output: Output, formats: set[str]) -> dict[str, str]:
    """Write what sets implementations side by side; returns the file of its page, if any, by its title."""
    found = implementations(selection)
    if found is None:
        return {}
    tables = _marked(implementation_tables(found), selection)
    write(tables, output, formats)
    if "md" not in formats:
        return {}
    from bnnbench.reporting.pages import IMPLEMENTATIONS, implementations_page

    output.write("implementations.md", implementations_page(conclusion(found), tables))
    return {IMPLEMENTATIONS: "implementations.md"}


def _marked(tables: Iterable[Table], selection: Selection) -> list[Table]:
    """With signs at the names of what is superseded and of what was made elsewhere, which the caption explains."""
    found = []
    for table in tables:
        grid = table.grid.renamed(selection.marked)
        shown = any(EXTERNAL in name for name, _ in grid.rows)
        caption = f"{table.caption} {SENTENCE}." if shown else table.caption
        found.append(replace(table, grid=grid, caption=caption))
    return found
