"""What the cells cost: seconds, gradients, parameters.

Times compare under the same conditions only, each of which has a table of its own: device, threads, and how many cells
shared a pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import significant

CONDITIONS = ["device", "threads", "pack_size"]
CAPTION = (
    "Seconds a cell, with milliseconds a minibatch gradient in brackets: the wall time of a pack shared equally among "
    "its cells. Compare within a table only: in each are cells trained on the same device, with the same number of "
    "threads, and with as many others in a pack. Gradients in total counts all networks or chains of a cell."
)
SPENT = {"steps": "gradients per network", "gradients": "gradients in total", "parameters": "parameters"}


@dataclass(frozen=True, order=True)
class Conditions:
    """What times depend on beside the method and the task."""

    device: str
    threads: int
    pack_size: int

    def __str__(self) -> str:
        share = "cells alone" if self.pack_size <= 1 else f"packs of {self.pack_size} cells"
        return f"{machine(self.device, self.threads)}, {share}"


def machine(device: str, threads: int) -> str:
    """`AMD EPYC, 2 threads`."""
    return f"{device}, {threads} thread{'s' * (threads != 1)}" if threads else device


def costs(section: Section) -> Frame:
    """Per task, row and setting: mean seconds a cell and a gradient, steps, gradients, parameters, of scored cells.

    A pack's wall time is shared equally among its cells.
    """
    return section.once("costs", lambda: _costs(section))


def _costs(section: Section) -> Frame:
    done = section.timed
    seconds = done["wall_s"] / done["pack_size"].clip(lower=1)
    done = done.assign(seconds=seconds, each=1e3 * seconds / done["gradients"].where(done["gradients"] > 0))
    table = done.groupby(["task", "row", *CONDITIONS]).agg(
        cells=("seconds", "size"),
        seconds_per_cell=("seconds", "mean"),
        ms_per_gradient=("each", "mean"),
        steps=("steps", "max"),
        gradients=("gradients", "max"),
        parameters=("parameters", "max"),
        peak_memory_mb=("peak_memory_mb", "max"),
    )
    table = table.reset_index()
    places = {
        name: {v: i for i, v in enumerate(order)} for name, order in (("task", section.tasks), ("row", section.rows))
    }
    table = table.sort_values(
        ["task", "row", *CONDITIONS], key=lambda k: k.map(places[k.name]) if k.name in places else k
    )
    return table.rename(columns={"row": "method"}).reset_index(drop=True)


def cost_tables(section: Section) -> list[Table]:
    """For each of the conditions a table: methods x data sets, then gradients and parameters over data sets. The first
    has the numbers of all."""
    table, caption = costs(section), f"{CAPTION} {section.warning}".strip()
    settings = sorted((Conditions(str(device), int(threads), int(pack_size)), part)
                      for (device, threads, pack_size), part in table.groupby(CONDITIONS))  # fmt: skip
    return [
        Table(f"{section.name}-cost" + f"-{place}" * (place > 1), f"{section.group}: cost on {conditions}",
              _grid(section, part), caption, table if place == 1 else None)
        for place, (conditions, part) in enumerate(settings, 1)
    ]  # fmt: skip


def _grid(section: Section, table: Frame) -> Grid:
    lines = [
        {"method": line["method"], "column": line["task"], "text": _seconds(line)} for line in table.to_dict("records")
    ]
    for row, own in table.groupby("method"):
        lines += [{"method": row, "column": (column,), "text": _span(own[column].min(), own[column].max())}
                  for column in SPENT]  # fmt: skip
    columns = {task: task for task in section.tasks} | {(column,): title for column, title in SPENT.items()}
    return Grid.from_long(pd.DataFrame(lines), section.rows, columns)


def _seconds(line: Mapping[str, Any]) -> str:
    """Seconds a cell, and milliseconds a gradient in brackets."""
    seconds, each = float(line["seconds_per_cell"]), float(line["ms_per_gradient"])
    text = significant(seconds) if seconds >= 0.01 else "<0.01"
    return text if each != each else f"{text} ({significant(each)})"


def _span(low: float, high: float) -> str:
    """`2,701` or `2,701–3,001`."""
    return f"{int(low):,}" if low == high else f"{int(low):,}–{int(high):,}"
