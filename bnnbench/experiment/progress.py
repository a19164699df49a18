"""Progress of a run: a live display on a terminal, plain lines elsewhere. Several threads may tell it things."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LONG = ("compiling",)  # phases that take so long that they are told where there is no live display


class Watcher(Protocol):
    """Who is told what is being done with a pack."""

    def phase(self, name: str) -> None:
        """Something else begins: compiling, training, scoring."""

    def updates(self, number: int) -> None:
        """So many updates of each of its cells are made."""


class RunProgress:
    """Counts packs and updates of cells; a context manager.

    Args:
        work: updates times cells of the whole run, for the time left.
        quiet: show nothing.
    """

    def __init__(self, console: Console, packs: int, work: int, quiet: bool = False) -> None:
        self.console, self.packs, self.work, self.quiet = console, packs, max(work, 1), quiet
        self.begun, self.done_packs, self.done_work, self.started = 0, 0, 0, time.monotonic()
        self.lock = threading.RLock()
        self.lines: list[PackLine] = []
        self.rows = Progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("updates,"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False),
        )  # fmt: skip
        self._total = self._bar.add_task(f"0 of {packs} packs", total=self.work)
        shown = not quiet and console.is_terminal
        self._live = Live(Group(self.rows, self._bar), console=console) if shown else None

    def __enter__(self) -> RunProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self) -> PackLine:
        """A line of the display, for one who works on a pack at a time."""
        with self.lock:
            self.lines.append(PackLine(self))
            return self.lines[-1]

    def moved(self) -> None:
        """Work was done in some pack."""
        with self.lock:
            done = self.done_work + sum(line.work for line in self.lines)
            self._bar.update(self._total, completed=done, description=f"{self.done_packs} of {self.packs} packs")

    def say(self, line: str, left: str = "") -> None:
        """A line that stays, with the time so far."""
        if not self.quiet:
            text = f"{line}, {self._elapsed:.0f} s in all{left}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def say_if_plain(self, line: str) -> None:
        """The same where there is no live display."""
        if self._live is None:
            self.say(line)

    def left(self) -> str:
        """How long it will take yet, in words; nothing before that can be told."""
        share = self.done_work / self.work
        return f", about {self._elapsed * (1 / share - 1):.0f} s left" if share > 0.01 else ""

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self.started


class PackLine:
    """What one process does, as the display shows it; a Watcher."""

    def __init__(self, progress: RunProgress) -> None:
        self.run, self.work = progress, 0
        self._name, self._cells, self._steps = "", 0, 0
        self._row = progress.rows.add_task("", visible=False, total=None)

    def begin(self, name: str, cells: int, steps: int) -> None:
        """A pack begins: so many cells of so many updates."""
        with self.run.lock:
            self.run.begun += 1
            self._name, self._cells, self._steps = f"{self.run.begun} of {self.run.packs}: {name}", cells, steps
        self.run.rows.reset(self._row)

    def phase(self, name: str) -> None:
        """Something else begins with the pack."""
        self.tell(f"{name} {self._name}")
        if name in LONG:
            self.run.say_if_plain(f"{name} {self._name}")

    def updates(self, number: int) -> None:
        """So many updates of each of its cells are made."""
        self.work = number * self._cells
        self.tell(f"training {self._name} ({number:,} of {self._steps:,} updates)")
        self.run.moved()

    def tell(self, text: str) -> None:
        """Show what is done now."""
        self.run.rows.update(self._row, description=text, visible=True)

    def stored(self, line: str, work: int) -> None:
        """The pack, or a part of it that took so much work, is stored."""
        with self.run.lock:
            self.run.done_packs, self.run.done_work = self.run.done_packs + 1, self.run.done_work + work
            self.work = 0
            self.run.moved()
            self.run.say(f"[{self.run.done_packs}/{self.run.packs}] {line}", self.run.left())

    def rest(self) -> None:
        """Nothing is done for now."""
        self.run.rows.update(self._row, visible=False)
