"""Tables of density estimation beside the headline ones: distances from the truth, and published bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from bnnbench.names import GRID, TEST
from bnnbench.reporting.literature import shipped
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.headline import comparison_grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, number

BASE, STACKED, LAYERS = "flow-gaussian", "flow-planar", 32  # no layer; one after another; their default number
KL = (
    "KL(q ∥ p) in nats of the flow q from the true density p, by the midpoint rule on a grid (0 is perfect). "
    "Mass that a flow puts beyond the grid is not seen by it; see the metric mass of the evaluation grid."
)
SEEDS = "The standard error is over {} seeds."
DEFAULT = f"{STACKED} without a number has {LAYERS} layers."
FLOOR = "Held-out nll cannot fall below the entropy of the truth, which on the very test points is {} nats."
BOUND = "elbo"
BOUNDS = {BOUND: 1.0, "test_elbo": 1.0, "neg_elbo": -1.0, "test_nll_bound": -1.0, "log_px_iw1000": 1.0}
PUBLISHED = (
    "Nats per image. Published autoencoders differ from ours, and among themselves, in networks, latent dimensions, "
    "training and binarisation (fixed or sampled again at every step): they tell what a flow gains, not what to reach. "
    "Second hand: quoted from a transcription of the paper's table."
)


def divergence_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if a flow was compared with the true density on a grid."""
    table = compared(selection, section, "kl_reverse", GRID)
    if table.entries:
        columns = ["task", "method", "kl_reverse", "stderr", "best"]
        lines = [(task, row, e.mean, e.se, e.best) for (row, task), e in table.entries.items()]
        numbers = pd.DataFrame(lines, columns=columns)
        floors = ", ".join(f"{text} ({task})" for task, text in entropies(section).items())
        seeds = max(table.seeds.values())
        parts = (
            KL,
            SEEDS.format(seeds) * (seeds > 1),
            FLOOR.format(floors) * bool(floors),
            DEFAULT * (STACKED in table.rows),
        )
        title = f"{section.group}: divergence of the flow from the truth"
        yield Table(f"{section.name}-kl", title, comparison_grid(table), " ".join(filter(None, parts)), numbers)


def depth(row: str) -> int | None:
    """Planar layers, none for the Gaussian; None for other flows."""
    if row == BASE:
        return 0
    match = re.fullmatch(rf"{STACKED}(?: \[layers=(\d+)\])?", row)
    return int(match[1] or LAYERS) if match else None


def entropies(section: Section) -> dict[str, str]:
    """Entropy of the truth as estimated on the test points, by task, in words: a mean over methods and seeds."""
    scores = section.scores
    own = scores[(scores["metric"] == "nll_floor") & (scores["evaluation"] == TEST)]
    means = own.groupby("task")["value"].mean()
    return {task: number(float(means[task]), 3) for task in section.tasks if task in means}


def published_bounds(selection: Selection, section: Section) -> Iterator[Table]:
    """Bounds of autoencoders with and without flows, from the literature, beside those scored here."""
    scores = section.scores
    tasks = [task for task in section.tasks if BOUND in set(scores.loc[scores["task"] == task, "metric"])]
    if not tasks:
        return
    rows = [r for r in shipped() if r["task"] == "vae_nll" and r["metric"] in BOUNDS]
    numbers: Frame = pd.DataFrame(rows)[["method", "dataset", "metric", "value", "confidence", "source"]]
    numbers = numbers.assign(value=numbers["metric"].map(BOUNDS) * numbers["value"].astype(float))
    body: dict[tuple[str, str, str], list[str]] = {}
    for r, value in zip(rows, numbers["value"], strict=True):
        key = r["method"], r["dataset"].replace("_", " "), r["source"]
        texts = body.setdefault(key, [EMPTY, EMPTY, "" if r["confidence"] == "high" else "second hand"])
        texts[r["metric"] == "log_px_iw1000"] = number(value, 2)
    header = ("published model", "bound", "importance-weighted (1,000)", "confidence", "data", "source")
    grid = Grid.of_texts(header, [(method, *texts, data, source) for (method, data, source), texts in body.items()])
    yield Table(f"{section.name}-published", f"{', '.join(tasks)}: published bounds", grid, PUBLISHED, numbers)
