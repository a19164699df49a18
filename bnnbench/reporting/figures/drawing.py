"""Drawing figures, by processes in the background where several may be used."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from typing import Self

from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.plot import Plot

MOST = 8  # processes
log = logging.getLogger(__name__)
Files = dict[str, bytes]  # format -> bytes


class Drawer:
    """Takes figures, draws them, and gives their files; a context manager.

    Args:
        formats: of each figure, `svg`, `png` or `pdf`.
        processes: how many draw; 1 is this process, None is one for each core. Several begin with the program's main
            module, as always with `multiprocessing`.
    """

    def __init__(self, formats: Sequence[str], processes: int | None = 1) -> None:
        self.formats = tuple(formats)
        count = min(_cores(), MOST) if processes is None else processes
        self._pool = _pool(count) if count > 1 else None
        self._taken: list[tuple[Plot, Future[Files] | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, plot: Plot) -> Plot:
        """Take a figure, and give it back; where there are several processes, one begins with it."""
        future = None
        if self._pool is not None:
            with suppress(BrokenExecutor):  # then it is drawn here, in the end
                future = self._pool.submit(draw, plot, self.formats)
        self._taken.append((plot, future))
        return plot

    def files(self) -> Iterator[tuple[str, bytes]]:
        """File names and contents of all figures taken."""
        for plot, future in self._taken:
            for name, content in self._drawn(plot, future).items():
                yield f"{plot.name}.{name}", content

    def _drawn(self, plot: Plot, future: Future[Files] | None) -> Files:
        """Whatever another process failed at is drawn here, or fails here."""
        if future is not None:
            try:
                return future.result()
            except Exception as error:
                log.info("Another process could not draw %s (%s).", plot.name, error)
        return draw(plot, self.formats)


def draw(plot: Plot, formats: Sequence[str]) -> Files:
    """Make a figure and its files."""
    with style.drawing():
        return style.render(plot.figure(), formats)


def _pool(count: int) -> ProcessPoolExecutor | None:
    """Processes that share nothing with this one; None where the system cannot have them."""
    try:
        return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    except (ImportError, NotImplementedError, OSError) as error:  # no semaphores
        log.info("One process draws all figures (%s).", error)
        return None


def _begin() -> None:
    """Ctrl-C is the business of the parent, with which a process ends, too, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
