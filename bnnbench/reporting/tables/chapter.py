"""The tables of a page, and their files: CSV, LaTeX, and one LaTeX document that shows them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bnnbench.reporting.document import Page
from bnnbench.reporting.escape import escape_latex
from bnnbench.reporting.output import Output
from bnnbench.reporting.tables.table import Table, frame_csv

DOCUMENT = "tables/all.tex"
HEAD = r"""% All tables of the report; in this folder: pdflatex all.tex
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[landscape,margin=15mm]{geometry}
\setlength{\parindent}{0pt}
\newsavebox{\tablebox}
\newcommand{\fitting}[1]{\sbox{\tablebox}{\input{#1}}%
  \ifdim\wd\tablebox>\linewidth\resizebox{\linewidth}{!}{\usebox{\tablebox}}\else\usebox{\tablebox}\fi}
\begin{document}
"""
TAIL = r"\end{document}" + "\n"


@dataclass(frozen=True)
class Chapter:
    """A page and the tables that it shows."""

    page: Page
    tables: tuple[Table, ...]


def write(chapters: Iterable[Chapter], output: Output, formats: set[str]) -> None:
    """CSV and LaTeX files of all tables."""
    chapters = list(chapters)
    for table in (table for chapter in chapters for table in chapter.tables):
        if "csv" in formats and table.numbers is not None:
            output.write(f"{table.stem}.csv", frame_csv(table.numbers))
        if "latex" in formats:
            output.write(f"{table.stem}.tex", table.grid.latex(table.caption))
    if "latex" in formats:
        output.write(DOCUMENT, "".join([HEAD, *_chapters(chapters), TAIL]))


def _chapters(chapters: Iterable[Chapter]) -> Iterator[str]:
    for chapter in chapters:
        yield rf"\section*{{{escape_latex(chapter.page.title)}}}" + "\n"
        for table in chapter.tables:
            yield (
                rf"\subsection*{{{escape_latex(table.title)}}}" + "\n"
                rf"\fitting{{{table.stem.removeprefix('tables/')}.tex}}" + "\n\n"
                rf"\smallskip {escape_latex(table.caption)}" + "\n"
            )
