"""The tables of the report, as texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.implementations import implementations
from bnnbench.reporting.select import Selection
from bnnbench.reporting.tables.every import marked
from bnnbench.reporting.tables.fidelity import certificate_tables, fidelity_tables
from bnnbench.reporting.tables.implementations import implementation_tables
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.trials import trial_tables
from bnnbench.reporting.trials import trials_of


def across(selection: Selection) -> list[Table]:
    """Those that span sections: comparisons with HMC, implementations of one algorithm, trials of hyperparameters."""
    near, same = fidelity(selection), implementations(selection)
    tables = [*certificate_tables(near), *fidelity_tables(near)] if near else []
    tables += implementation_tables(same) if same else ()
    return marked([*tables, *trial_tables(trials_of(selection))], selection)


def listed(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """Title, caption, header and rows; a cell is a text, or a text with 1 where it is bold, and its marks."""
    return [
        {
            "name": table.name,
            "title": table.title,
            "caption": table.caption,
            "header": list(table.grid.header),
            "rows": [[name, *map(_cell, cells)] for name, cells in table.grid.rows],
        }
        for table in tables
    ]


def _cell(cell: tuple[str, bool, str]) -> str | list[Any]:
    text, bold, mark = cell
    return [text, int(bold), mark] if bold or mark else text
