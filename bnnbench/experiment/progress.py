"""Progress of a run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RunProgress:
    """Counts updates of cells; a context manager.

    Args:
        work: updates times cells of the whole run, for the time left.
        quiet: show nothing.
    """

    def __init__(self, console: Console, packs: int, work: int, quiet: bool = False) -> None:
        self.console, self.packs, self.work, self.quiet = console, packs, max(work, 1), quiet
        self.done_packs, self.done_work, self.started = 0, 0, time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self.work)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, name: str) -> None:
        """A pack begins."""
        self._bar.update(self._task, description=name)

    def update(self, pack_work: int) -> None:
        """Work done so far in the present pack."""
        self._bar.update(self._task, completed=self.done_work + pack_work)

    def finish(self, line: str, pack_work: int) -> None:
        """A pack is stored."""
        self.done_packs, self.done_work = self.done_packs + 1, self.done_work + pack_work
        self._bar.update(self._task, completed=self.done_work)
        share = self.done_work / self.work
        left = f", about {self._elapsed * (1 / share - 1):.0f} s left" if share > 0.01 else ""
        self.say(f"[{self.done_packs}/{self.packs}] {line}", left)

    def say(self, line: str, left: str = "") -> None:
        """A line that stays, with the time so far."""
        if not self.quiet:
            text = f"{line}, {self._elapsed:.0f} s in all{left}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self.started
