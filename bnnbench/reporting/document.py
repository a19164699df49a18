"""A page in Markdown: title, way back, contents with links, and parts under headings.

Anchors are those that GitHub makes of headings; links are relative, so that they lead on GitHub and on disk alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnnbench.reporting.escape import alt_text, escape_markdown, one_line

if TYPE_CHECKING:
    from bnnbench.reporting.tables.table import Table

INDEX, READING, LEADERBOARDS = "index.md", "reading.md", "leaderboards.md"
FIDELITY, IMPLEMENTATIONS, TUNING = "fidelity.md", "implementations.md", "tuning.md"
WAYS = ((INDEX, "All results"), (READING, "How to read this"))  # that lead on from every page
CONTENTS = 3  # parts from which a page has a table of contents


@dataclass(frozen=True)
class Part:
    """A heading and what stands under it, in Markdown.

    Attributes:
        title: plain text.
        level: 2, or 3 for what belongs to the part of level 2 before it.
        short: the title as the contents of its own page call it; empty: the same.
    """

    title: str
    body: str
    level: int = 2
    short: str = ""

    def __str__(self) -> str:
        return f"{_heading(self.title, self.level)}\n{self.body}".rstrip() + "\n"


@dataclass(frozen=True)
class Page:
    """A file of the report.

    Attributes:
        title: plain text.
        lead: Markdown over the contents.
    """

    file: str
    title: str
    lead: str
    parts: tuple[Part, ...] = ()

    @property
    def anchors(self) -> list[str]:
        """Of the parts, in their order."""
        return anchors([self.title, *(part.title for part in self.parts)])[1:]

    def link(self, title: str, text: str = "") -> str:
        """A link to a part, from any page of the report.

        Raises:
            StopIteration: there is no such part.
        """
        anchor = next(anchor for part, anchor in zip(self.parts, self.anchors, strict=True) if part.title == title)
        return link(text or title, f"{self.file}#{anchor}")

    def markdown(self) -> str:
        """The whole page."""
        ways = " · ".join(link(text, file) for file, text in WAYS if file != self.file)
        head = [_heading(self.title, 1), f"{ways}\n", self.lead, self._contents()]
        return "\n".join(filter(None, [*head, *map(str, self.parts)]))

    def _contents(self) -> str:
        if len(self.parts) < CONTENTS:
            return ""
        lines = [
            f"{'  ' * (part.level - 2)}* {link(part.short or part.title, f'#{anchor}')}\n"
            for part, anchor in zip(self.parts, self.anchors, strict=True)
        ]
        return f"On this page:\n\n{''.join(lines)}"


def _heading(title: str, level: int) -> str:
    text = re.sub(r"(#+)$", r"\\\1", escape_markdown(title))  # signs at its end would close it
    return f"{'#' * level} {text}\n"


def link(text: str, to: str) -> str:
    """A link in Markdown; the text is any text."""
    return f"[{alt_text(text)}]({to})"


def anchors(titles: Sequence[str]) -> list[str]:
    """Of all headings of a page, in order: a repeated one has a number behind it, as on GitHub."""
    seen: Counter[str] = Counter()
    found = []
    for title in titles:
        own = slug = _slug(title)
        while own in seen:
            seen[slug] += 1
            own = f"{slug}-{seen[slug]}"
        seen[own] = 0
        found.append(own)
    return found


def _slug(title: str) -> str:
    """Letters, digits, underscores and hyphens; each space a hyphen."""
    return "".join(_of(c) for c in one_line(title).lower())


def _of(c: str) -> str:
    word = unicodedata.category(c)[0] in "LM" or unicodedata.category(c) in ("Nd", "Pc") or c == "-"
    return c if word else "-" * (c == " ")


def of_tables(tables: Iterable[Table], prefix: str = "", level: int = 3) -> list[Part]:
    """A part a table.

    Args:
        prefix: of titles, which the contents of the page leave out.
    """
    return [Part(table.title, table.body(), level, table.title.removeprefix(prefix)) for table in tables]
