"""Tables on the terminal: listings, and the comparison that ends a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ENDING = {"regression": ("log_likelihood", "rmse"), "classification": ("log_likelihood", "error")}


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under a header; never cut a value where the output is a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=400, highlight=False)
    table = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    if title:
        console.print(title, markup=False)
    console.print(table, markup=False)


def print_tables(
    db: str | os.PathLike[str], tasks: str, methods: str, budget: str, rule: str | None, root: Path | None
) -> None:
    """Methods x data sets for the headline metrics of a run, from the database alone."""
    from bnnbench.arguments import names_of
    from bnnbench.methods import METHODS
    from bnnbench.names import parse_split
    from bnnbench.registry import ALL
    from bnnbench.reporting.external import SENTENCE, external, marked
    from bnnbench.reporting.select import baselines
    from bnnbench.reporting.tables.headline import summary_table
    from bnnbench.store.store import ResultStore
    from bnnbench.tasks.own import all_tasks

    known = all_tasks(root)

    with ResultStore(db, read_only=True) as store:
        frame: Any = store.scores(budget=budget)
        elsewhere = external(frame)
        definitions: Any = {row["name"]: row for _, row in store.metrics().iterrows()}
        frame = frame.assign(baseline=frame["method"].isin(baselines(store.methods())))
    for column, registry, names in (
        ("task", known, names_of(tasks, "--task")),
        ("method", METHODS, names_of(methods, "--methods")),
    ):
        if ALL not in names:
            frame = frame[frame[column].isin([entry.name for entry in registry.select(names)])]
    if rule is not None:
        frame = frame[frame["split"].map(lambda split: parse_split(split)[0]) == rule]
    kinds = {entry.name: entry.kind for entry in known}
    orders = {name: order for order, name in enumerate(METHODS.names())}
    frame = frame.sort_values("method", key=lambda column: column.map(orders), kind="stable")
    for kind, metrics in ENDING.items():
        part = frame[frame["task"].map(kinds) == kind]
        if part.empty:
            continue
        for metric in metrics:
            better, unit = int(definitions[metric]["better"]), definitions[metric]["unit"]
            table = summary_table(part, metric, better)
            if table.empty:  # of external predictions alone, whose form does not allow the metric
                continue
            order = "higher" if better > 0 else "lower"
            rows = [
                (marked(str(name), elsewhere), *row) for name, row in zip(table.index, table.to_numpy(), strict=True)
            ]
            title = f"{metric} ({unit + ', ' if unit else ''}{order} is better; * best, or not separable from the best)"
            print_table(["method", *table.columns], rows, title)
    if elsewhere & set(frame["method"]):
        print(f"{SENTENCE}.")
