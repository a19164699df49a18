"""Build the report's folder from the database alone; the same database gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnbench.errors import UserError
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.superseded import Installed
from bnnbench.reporting.tables.attacks import attack_tables
from bnnbench.reporting.tables.costs import costs
from bnnbench.reporting.tables.covariance import covariance_tables
from bnnbench.reporting.tables.detection import detection_tables
from bnnbench.reporting.tables.fidelity import fidelity_tables
from bnnbench.reporting.tables.flows import divergence_tables, published_bounds
from bnnbench.reporting.tables.headline import headline_tables
from bnnbench.reporting.tables.samplers import sampler_tables
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.reporting.tables.table import Table, frame_csv, write
from bnnbench.reporting.tables.truth import truth_tables

if TYPE_CHECKING:  # matplotlib is loaded for a report, not for a summary table
    from bnnbench.reporting.figures.section import Picture

FORMATS = ("md", "csv", "latex")
TABLES = (  # each yields what a section has scores for, beside the headline tables, in the order of the page
    summary_tables,
    detection_tables,
    attack_tables,
    covariance_tables,
    truth_tables,
    divergence_tables,
    published_bounds,
    sampler_tables,
)


def build(
    store: Any,
    out: Path | str,
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    budget: str | None = None,
    formats: Sequence[str] = FORMATS,
    installed: Installed | None = None,
) -> list[Path]:
    """Write tables, figures and `index.md` below `out`.

    Args:
        store: a `ResultStore`; only read.
        tasks, methods: names (tasks: groups too, `all`) to keep; None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `md` (the page with its figures), `csv` and `latex`.
        installed: versions of the `method`s and `task`s that the reader has; results of older ones are marked as such.

    Returns:
        Paths of the files written.
    """
    unknown = set(formats) - set(FORMATS)
    if unknown or not formats:
        named = ", ".join(sorted(map(str, unknown))) or "none"
        raise UserError(f"Unknown report format ({named}); choose from {', '.join(FORMATS)}.")
    selection, output = select(store, tasks, methods, budget, installed), Output(out)
    pages = [_section(selection, section, output, set(formats)) for section in selection.sections]
    across = _fidelity(selection, output, set(formats))
    if "md" in formats:
        from bnnbench.reporting.pages import index

        output.write("index.md", index(selection, pages, across))
    return output.finish()


def _section(selection: Selection, section: Section, output: Output, formats: set[str]) -> str:
    """Write one section's tables and figures; returns its part of the page."""
    headlines = _marked(headline_tables(selection, section), selection)
    found = [table for tables in TABLES for table in tables(selection, section)]
    others = _marked((replace(t, caption=f"{t.caption} {section.warning}".strip()) for t in found), selection)
    write([*headlines, *others], output, formats)
    if "csv" in formats:
        output.write(f"tables/{file_stem(section.name)}-cost.csv", frame_csv(costs(section)))
    if "md" not in formats:
        return ""
    from bnnbench.reporting.figures.section import draw  # matplotlib is loaded for a page, not for its tables
    from bnnbench.reporting.pages import section_page

    figures = []
    for figure in draw(selection, section):
        figures.append(figure)
        _write_figure(figure, output)
    return section_page(selection, section, headlines, others, figures)


def _fidelity(selection: Selection, output: Output, formats: set[str]) -> list[str]:
    """Write the comparisons with HMC, which belong to no one section; returns their part of the page, if any."""
    found = fidelity(selection)
    if found is None:
        return []
    tables = _marked(fidelity_tables(found), selection)
    write(tables, output, formats)
    if "md" not in formats:
        return []
    from bnnbench.reporting.figures.section import draw_fidelity
    from bnnbench.reporting.pages import fidelity_page

    figure = draw_fidelity(selection, found)
    _write_figure(figure, output)
    return [fidelity_page(tables, figure)]


def _marked(tables: Iterable[Table], selection: Selection) -> list[Table]:
    """With a sign at the names of what is superseded."""
    return [replace(table, grid=table.grid.renamed(selection.superseded.marked)) for table in tables]


def _write_figure(figure: Picture, output: Output) -> None:
    for extension, content in figure.files.items():
        output.write(f"figures/{figure.name}.{extension}", content)
