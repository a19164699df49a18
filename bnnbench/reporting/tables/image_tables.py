"""All tables of a section of image tasks, in the order of the page."""

from __future__ import annotations

from dataclasses import replace

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import GROUP_NOTES, GROUPS
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.attacks import attack_tables
from bnnbench.reporting.tables.covariance import covariance_tables
from bnnbench.reporting.tables.detection import detection_tables
from bnnbench.reporting.tables.image_scores import image_scores


def image_tables(selection: Selection, section: Section) -> list[Extra]:
    """None for sections of other tasks."""
    if section.group not in GROUPS:
        return []
    tables = [
        *image_scores(selection, section),
        *detection_tables(section),
        *attack_tables(section),
        *covariance_tables(section),
    ]
    warning = GROUP_NOTES.get(section.group, "")
    return [replace(t, caption=f"{t.caption} {warning}".strip()) for t in tables]
