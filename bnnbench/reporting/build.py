"""Build the report's folder from the database alone; the same database gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnbench.errors import UserError
from bnnbench.reporting.extra import Extra, write
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.statistics import Comparison
from bnnbench.reporting.superseded import Installed, Superseded, superseded
from bnnbench.reporting.tables.costs import costs
from bnnbench.reporting.tables.divergence import density_tables
from bnnbench.reporting.tables.fidelity import fidelity_tables
from bnnbench.reporting.tables.grid import comparison_csv, comparison_grid, frame_csv, grid_latex
from bnnbench.reporting.tables.image_tables import image_tables
from bnnbench.reporting.tables.samplers import sampler_tables
from bnnbench.reporting.tables.truth import truth_tables

if TYPE_CHECKING:  # matplotlib is loaded for a report, not for a summary table
    from bnnbench.reporting.figures.section import Picked

FORMATS = ("md", "csv", "latex")


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
    selection = select(store, tasks, methods, budget)
    output, old = Output(out), superseded(selection.sections, installed)
    pages = [_section(selection, section, output, set(formats), old) for section in selection.sections]
    across = _fidelity(selection, output, set(formats), old)
    if "md" in formats:
        from bnnbench.reporting.pages import index

        output.write("index.md", index(selection, pages, across, old))
    return output.finish()


def _section(selection: Selection, section: Section, output: Output, formats: set[str], old: Superseded) -> str:
    """Write one section's tables and figures; returns its part of the page."""
    from bnnbench.reporting.figures.section import draw  # matplotlib is loaded for a report, not for a summary table
    from bnnbench.reporting.pages import caption, section_page

    tables = compare_all(selection, section)
    for table in tables:
        stem = "tables/" + file_stem(f"{section.name}-{table.metric}")
        if "csv" in formats:
            output.write(f"{stem}.csv", comparison_csv(table, old.names))
        if "latex" in formats:
            grid = old.mark(comparison_grid(table))
            output.write(f"{stem}.tex", grid_latex(grid, caption(selection, section, table, old)))
    if "csv" in formats:
        output.write(f"tables/{file_stem(section.name)}-cost.csv", frame_csv(costs(section)))
    extras = [*image_tables(selection, section), *truth_tables(section), *density_tables(selection, section)]
    extras = _marked([*extras, *sampler_tables(section)], old)
    write(extras, output, formats)
    if "md" not in formats:
        return ""
    figures = []
    for figure in draw(selection, section):
        figures.append(figure)
        _write_figure(figure, output)
    return section_page(selection, section, tables, extras, figures, old)


def _fidelity(selection: Selection, output: Output, formats: set[str], old: Superseded) -> list[str]:
    """Write the comparisons with HMC, which belong to no one section; returns their part of the page, if any."""
    found = fidelity(selection)
    if found is None:
        return []
    tables = _marked(fidelity_tables(found), old)
    write(tables, output, formats)
    if "md" not in formats:
        return []
    from bnnbench.reporting.figures.section import draw_fidelity
    from bnnbench.reporting.pages import fidelity_page

    figure = draw_fidelity(selection, found)
    _write_figure(figure, output)
    return [fidelity_page(tables, figure)]


def _marked(tables: Iterable[Extra], old: Superseded) -> list[Extra]:
    return [replace(table, grid=old.mark(table.grid)) for table in tables]


def _write_figure(figure: Picked, output: Output) -> None:
    for extension, content in figure.files.items():
        output.write(f"figures/{figure.name}.{extension}", content)


def compare_all(selection: Selection, section: Section) -> list[Comparison]:
    """The section's headline metrics on the test rows."""
    return [compared(selection, section, metric) for metric in section.metrics]
