"""Options of several commands, and how a table is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

db_option = click.option("--db", default="results.db", show_default=True, help="SQLite file or database URL.")
data_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Data root; default $BNNBENCH_DATA.")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on standard output; as wide as it needs where the output is no terminal."""
    from bnnbench.cli.summary import print_table

    print_table(header, rows)
