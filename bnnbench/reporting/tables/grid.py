"""A table as texts, pivoted from a frame in long form, and written as Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnnbench.reporting.escape import escape_latex, escape_markdown
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.text import EMPTY, Text, measured


def told(line: Mapping[str, Any]) -> Text:
    """A line's own `text`, or its `value` and `stderr` rounded; bold if it is `best`, with its `mark`."""
    text, mark = line.get("text"), line.get("mark")
    shown = text if isinstance(text, str) else measured(float(line["value"]), float(line.get("stderr", math.nan)))
    return shown, line.get("best") is True, mark if isinstance(mark, str) else ""


@dataclass(frozen=True)
class Grid:
    """A table as texts: a header and, by name, rows of cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Text, ...]], ...]

    @classmethod
    def from_long(
        cls,
        frame: Frame,
        rows: Sequence[str],
        columns: Mapping[Any, str],
        at: Sequence[str] = ("method", "column"),
        text: Callable[[Mapping[str, Any]], Text] = told,
    ) -> Grid:
        """Pivot a frame that has one line a cell; rows and columns without any line are left out.

        Args:
            frame: one line a cell.
            rows: names of rows, in order.
            columns: title of each column by its name, in order; a name of several parts is a tuple.
            at: columns of the frame that hold the row's name, and then the column's: one, or one for each part.
            text: what a line reads as.
        """
        row, *parts = at
        cells = {(line[row], _key(line, parts)): text(line) for line in frame.to_dict("records")}
        shown = [key for key in columns if any(column == key for _, column in cells)]
        body = tuple(
            (str(name), tuple(cells.get((name, key), (EMPTY, False, "")) for key in shown))
            for name in rows
            if any((name, key) in cells for key in shown)
        )
        return cls(("method", *(columns[key] for key in shown)), body)

    @classmethod
    def of_texts(cls, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
        """A listing: every line begins with its name."""
        return cls(tuple(header), tuple((name, tuple((text, False, "") for text in texts)) for name, *texts in rows))

    def renamed(self, name: Callable[[str], str]) -> Grid:
        """With other names of rows and columns."""
        return Grid(tuple(map(name, self.header)), tuple((name(row), cells) for row, cells in self.rows))

    def markdown(self) -> str:
        """A Markdown table, bold and marks included."""
        return markdown([*map(escape_markdown, self.header)], self.lines())

    def lines(self) -> list[list[str]]:
        """Its rows in Markdown, cell by cell."""
        return [[escape_markdown(name), *(_markdown_text(*cell) for cell in own)] for name, own in self.rows]

    def latex(self, caption: str) -> str:
        r"""A booktabs `tabular` to \input, with the caption as a comment."""
        lines = [f"% {line}" for line in caption.splitlines()]
        lines += [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}"]
        lines += [r"\toprule", " & ".join(map(escape_latex, self.header)) + r" \\", r"\midrule"]
        for name, own in self.rows:
            texts = [
                _latex_number(text, bold) + f"$^{{{escape_latex(mark)}}}$" * bool(mark) for text, bold, mark in own
            ]
            lines.append(" & ".join([escape_latex(name), *texts]) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _key(line: Mapping[str, Any], parts: Sequence[str]) -> Any:
    return line[parts[0]] if len(parts) == 1 else tuple(line[part] for part in parts)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table padded so that its source reads well too; so many columns to the left, the others to the right."""
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        sides = (str.ljust if i < left else str.rjust for i in range(len(widths)))
        padded = [side(value, width) for side, value, width in zip(sides, values, widths, strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(header), rule, *map(line, rows)]) + "\n"


def _markdown_text(text: str, bold: bool, mark: str) -> str:
    shown = escape_markdown(text)
    return f"{f'**{shown}**' if bold else shown} {mark}".strip()


def _latex_number(text: str, bold: bool) -> str:
    r"""`\textbf{$-$2.391} $\pm$ 0.012`; digits stay text because \textbf does not reach into formulas."""
    value, pm, error = map(escape_latex, text.partition(" ± "))
    return (rf"\textbf{{{value}}}" if bold else value) + (f" {pm} {error}" if error else "")
