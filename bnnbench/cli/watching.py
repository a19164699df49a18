"""How a database stands, again and again: a display on a terminal, elsewhere a line for every change."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bnnbench.cli.terminal import held_interrupts, plain
from bnnbench.reporting.standing import Running, Standing, shortened, standing
from bnnbench.store.address import Address
from bnnbench.store.faults import TransientError
from bnnbench.store.store import ResultStore

MOST_FAILURES = 6
REST = 3  # times as long as a look took, before the next: training is to have the machine
LEAST_S, MOST_S = 0.2, 3600.0
Tell = Callable[[Standing | None, str], None]  # takes what was found, or a fault in its place


def watch(db: str, seconds: float) -> None:
    """Show it until it is interrupted.

    Raises:
        UserError: the database cannot be read, and will not by itself.
    """
    name, console = str(Address.parse(db)), Console(highlight=False)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        tell = _lines() if live is None else _screen(live, name)
        while True:
            begun = time.monotonic()
            with held_interrupts():
                _look(db, tell)
            time.sleep(max(seconds, REST * (time.monotonic() - begun)))


def _look(db: str, tell: Tell) -> None:
    try:
        with ResultStore(db, read_only=True, glance=True) as store:
            tell(standing(store), "")
    except TransientError as error:
        tell(None, str(error))


def _screen(live: Live, name: str) -> Tell:
    return lambda found, fault: live.update(_display(name, found, fault), refresh=True)


def _lines() -> Tell:
    """Prints a line where it differs from the last one in more than the time."""
    last = ""

    def tell(found: Standing | None, fault: str) -> None:
        nonlocal last
        line = fault if found is None else "; ".join(filter(None, (sentence(found), _first(found))))
        if line != last:
            click.echo(f"{datetime.now():%H:%M:%S}  {plain(line)}")
        last = line

    return tell


def sentence(found: Standing) -> str:
    """Counts in a line."""
    counts = ", ".join(f"{n:,} {status}" for status, n in sorted(found.counts.items(), key=lambda item: -item[1]))
    being = sum(len(running.splits) for running in found.running)
    return f"{found.cells:,} cells stored ({counts or 'none'}), {being:,} being trained"


def speed(found: Standing) -> str:
    """Speed and end in a line."""
    pace = f"{found.recent:,} stored in the last ten minutes" if found.recent else "none stored in the last ten minutes"
    if rate := found.per_minute:
        pace += f" ({rate:,.0f} a minute)" if rate >= 10 else f" ({rate:.2g} a minute)"
    if found.ends:
        pace += f"; what is being trained now should be done {_until(found.ends, found.when)}"
    return pace


def _first(found: Standing) -> str:
    return ", ".join(f"{r.method} on {r.task} ({shortened(r.splits)}, by {r.owner})" for r in found.running)


def _until(end: datetime | None, now: datetime) -> str:
    """The time of day here, with the date where that is another one; what should be past may come at any moment."""
    if end is None or end <= now:
        return "?" if end is None else "soon"
    local = end.astimezone()
    return f"at about {local:%H:%M}" if local.date() == now.astimezone().date() else f"about {local:%Y-%m-%d %H:%M}"


def _for(running: Running, now: datetime) -> str:
    seconds = max(0, int((now - running.since).total_seconds()))
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _display(name: str, found: Standing | None, fault: str) -> RenderableType:
    if found is None:
        return Text(plain(fault))
    head = Text(f"{plain(name)} at {found.when.astimezone():%H:%M:%S}; Ctrl-C ends this display.", style="dim")
    return Group(head, Text(sentence(found)), Text(f"{speed(found)}."), *_tables(found))


def _tables(found: Standing) -> list[Table]:
    """What is being trained, failures, and counts, which may be cut off: the terminal is as high as it is."""
    running = [
        (r.method, r.config, r.task, r.budget, shortened(r.splits), str(len(r.splits)), _for(r, found.when), r.owner,
         _until(r.ends, found.when))
        for r in found.running
    ]  # fmt: skip
    failures = [(f.status, f.method, f.task, str(f.cells), f.message) for f in found.failures[:MOST_FAILURES]]
    statuses = sorted(found.counts, key=lambda status: -found.counts[status])
    counts = [(task, *(str(own.get(status, "")) for status in statuses)) for task, own in found.tasks.items()]
    being = ("being trained", "config", "task", "budget", "splits", "cells", "for", "by", "done")
    tables = [(being, running), (("lost", "method", "task", "cells", "message"), failures)]
    return [_table(header, rows) for header, rows in (*tables, (("task", *statuses), counts)) if rows]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row))
    return table
