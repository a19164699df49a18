"""A finished table, and what is written of it in every format."""

from __future__ import annotations

from dataclasses import dataclass

from bnnbench.reporting.escape import escape_markdown
from bnnbench.reporting.output import file_stem
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
        numbers: the same in long form, for its CSV; None where that of another table has them.
    """

    name: str
    title: str
    grid: Grid
    caption: str
    numbers: Frame | None

    @property
    def stem(self) -> str:
        """Path of its files without the suffix."""
        return f"tables/{file_stem(self.name)}"

    def body(self) -> str:
        """Table and caption in Markdown, which stand under the title."""
        return f"{self.grid.markdown()}\n{escape_markdown(self.caption)}\n"


def frame_csv(frame: Frame) -> str:
    """CSV at a precision that machines agree on: the last bits of a mean depend on the order of summing."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.10g")
