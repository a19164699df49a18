"""A finished table, and what is written of it in every format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.output import Output, file_stem
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: its file's stem.
        title: what stands over it.
        grid: its texts.
        caption: what stands under it, in full, for a table may be read alone.
        numbers: the same in long form, for its CSV.
    """

    name: str
    title: str
    grid: Grid
    caption: str
    numbers: Frame

    def page(self) -> str:
        """Title, table and caption in Markdown."""
        return f"### {escape_markdown(self.title)}\n\n{self.grid.markdown()}\n{escape_markdown(self.caption)}\n"


def write(tables: Iterable[Table], output: Output, formats: set[str]) -> None:
    """CSV and LaTeX files of these tables."""
    for table in tables:
        stem = f"tables/{file_stem(table.name)}"
        if "csv" in formats:
            output.write(f"{stem}.csv", frame_csv(table.numbers))
        if "latex" in formats:
            output.write(f"{stem}.tex", table.grid.latex(table.caption))


def frame_csv(frame: Frame) -> str:
    """CSV at a precision that machines agree on: the last bits of a mean depend on the order of summing."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.10g")
