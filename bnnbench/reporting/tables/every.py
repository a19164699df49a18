"""Every table of a section beside the headline tables, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bnnbench.reporting.external import EXTERNAL, SENTENCE
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.attacks import attack_tables
from bnnbench.reporting.tables.behind import behind_tables
from bnnbench.reporting.tables.calibrated import calibrated_tables
from bnnbench.reporting.tables.convergence import convergence_tables
from bnnbench.reporting.tables.corruptions import corruption_tables
from bnnbench.reporting.tables.covariance import covariance_tables
from bnnbench.reporting.tables.detection import detection_tables
from bnnbench.reporting.tables.failures import failure_tables
from bnnbench.reporting.tables.flows import divergence_tables, published_bounds
from bnnbench.reporting.tables.samplers import sampler_tables
from bnnbench.reporting.tables.seeds import seed_tables
from bnnbench.reporting.tables.stored_splits import stored_splits_tables
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.truth import truth_tables
from bnnbench.reporting.tables.tuned import tuned_tables

TABLES = (  # each yields what a section has scores for
    behind_tables,
    failure_tables,
    stored_splits_tables,
    summary_tables,
    tuned_tables,
    seed_tables,
    calibrated_tables,
    detection_tables,
    attack_tables,
    corruption_tables,
    covariance_tables,
    truth_tables,
    divergence_tables,
    published_bounds,
    sampler_tables,
    convergence_tables,
)


def section_tables(selection: Selection, section: Section) -> list[Table]:
    """Those that a section has scores for, marked, each with the section's warning."""

    def made() -> list[Table]:
        found = (table for tables in TABLES for table in tables(selection, section))
        return marked((replace(t, caption=f"{t.caption} {section.warning}".strip()) for t in found), selection)

    return section.once("tables", made)


def marked(tables: Iterable[Table], selection: Selection) -> list[Table]:
    """With signs at the names of what is superseded and of what was made elsewhere, which the caption explains."""
    found = []
    for table in tables:
        grid = table.grid.renamed(selection.marked)
        shown = any(EXTERNAL in name for name, _ in grid.rows)
        caption = f"{table.caption} {SENTENCE}." if shown else table.caption
        found.append(replace(table, grid=grid, caption=caption))
    return found
