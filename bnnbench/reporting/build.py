"""Build the report's folder from the database alone; the same database and libraries give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnbench.errors import UserError
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.implementations import implementations
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.page.requirements import REMEDY, lacking
from bnnbench.reporting.select import Section, Selection, select
from bnnbench.reporting.superseded import Installed
from bnnbench.reporting.tables.costs import costs
from bnnbench.reporting.tables.every import marked, section_tables
from bnnbench.reporting.tables.fidelity import certificate_tables, fidelity_tables
from bnnbench.reporting.tables.headline import headline_tables
from bnnbench.reporting.tables.implementations import conclusion, implementation_tables
from bnnbench.reporting.tables.table import frame_csv, write

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
    formats: Sequence[str] | None = None,
    installed: Installed | None = None,
    figures: Sequence[str] = FIGURES[:1],
    processes: int | None = 1,
) -> list[Path]:
    """Write `index.html`, tables, figures and `index.md` below `out`.

    Args:
        store: a `ResultStore`; only read.
        tasks, methods: names (tasks: groups too, `all`) to keep; None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `html` (the page to look things up in), `md` (all tables and figures as one text), `csv` and
            `latex`; None for all that the installed packages can write.
        figures: formats of the figures, of `svg`, `png` and `pdf`, the text showing the first; or `none`.
        processes: how many draw figures, None for one a core; see `Drawer`.
        installed: versions of the `method`s and `task`s that the reader has; results of older ones are marked as such.

    Returns:
        Paths of the files written.
    """
    formats = able() if formats is None else formats
    _check(formats, "Unknown report format", FORMATS)
    if "html" in formats and lacking():
        raise UserError(f"The page index.html needs {' and '.join(lacking())}; {REMEDY}, or leave `html` out.")
    if has_figures := list(figures) != ["none"]:
        _check(figures, "Unknown format of figures", FIGURES)
    selection, output = select(store, tasks, methods, budget, installed), Output(out)
    with _drawer(figures if has_figures and "md" in formats else (), processes) as drawer:
        pages = [_section(selection, section, output, set(formats), drawer) for section in selection.sections]
        across = _fidelity(selection, output, set(formats), drawer)
        further = _implementations(selection, output, set(formats))
        for name, content in drawer.files() if drawer else ():
            output.write(f"figures/{name}", content)
    if "html" in formats:
        from bnnbench.reporting.page.html import page

        output.write("index.html", page(selection))
    if "md" in formats:
        from bnnbench.reporting.pages import index

        output.write("index.md", index(selection, pages, across, further, has_figures=has_figures))
    return output.finish()


def able() -> tuple[str, ...]:
    """Formats that the installed packages can write."""
    return tuple(name for name in FORMATS if name != "html" or not lacking())


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
    headlines = marked(headline_tables(selection, section), selection)
    others = section_tables(selection, section)
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
    tables = marked([*certificate_tables(found), *fidelity_tables(found)], selection)
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
    tables = marked(implementation_tables(found), selection)
    write(tables, output, formats)
    if "md" not in formats:
        return {}
    from bnnbench.reporting.pages import IMPLEMENTATIONS, implementations_page

    output.write("implementations.md", implementations_page(conclusion(found), tables))
    return {IMPLEMENTATIONS: "implementations.md"}
