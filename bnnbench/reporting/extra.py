"""Tables beside the headline ones: what is written of each, in every format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid, frame_csv, grid_latex, grid_markdown


@dataclass(frozen=True)
class Extra:
    """A finished table: file stem, heading, texts, caption (a table may be read alone) and its numbers in long form."""

    name: str
    title: str
    grid: Grid
    caption: str
    numbers: Frame


def write(extras: Iterable[Extra], output: Output, formats: set[str]) -> None:
    """CSV and LaTeX files of these tables."""
    for extra in extras:
        if "csv" in formats:
            output.write(f"tables/{file_stem(extra.name)}.csv", frame_csv(extra.numbers))
        if "latex" in formats:
            output.write(f"tables/{file_stem(extra.name)}.tex", grid_latex(extra.grid, extra.caption))


def page(extra: Extra) -> str:
    """Heading, table and caption."""
    return f"### {escape_markdown(extra.title)}\n\n{grid_markdown(extra.grid)}\n{escape_markdown(extra.caption)}\n"
