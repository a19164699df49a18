"""Tables of density tasks beside the headline ones: distances from the truth, and published bounds of autoencoders."""

from __future__ import annotations

import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.figures.vae_bound import LAYERS, STACKED
from bnnbench.reporting.literature import shipped
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Comparison, comparison
from bnnbench.reporting.tables.grid import EMPTY, Grid, cell, number

GROUP = "density"
KL = (
    "KL(q ∥ p) in nats of the flow q from the true density p, by the midpoint rule on a grid (0 is perfect). "
    "Mass that a flow puts beyond the grid is not seen by it; see the metric mass of the evaluation grid."
)
SEEDS = "The standard error is over {} seeds."
DEFAULT = f"{STACKED} without a number has {LAYERS} layers."
FLOOR = "Held-out nll cannot fall below the entropy of the truth, which on the very test points is {} nats."
BOUNDS = {"elbo": 1.0, "test_elbo": 1.0, "neg_elbo": -1.0, "test_nll_bound": -1.0, "log_px_iw1000": 1.0}
PUBLISHED = (
    "Nats per image. Published autoencoders differ from ours, and among themselves, in networks, latent dimensions, "
    "training and binarisation (fixed or drawn anew at every step): they tell what a flow gains, not what to reach. "
    "Second hand: quoted from a transcription of the paper's table."
)


def density_tables(selection: Selection, section: Section) -> list[Extra]:
    """None for sections of other tasks."""
    if section.group != GROUP:
        return []
    found = []
    table = _comparison(selection, section, "kl_reverse", "grid")
    if table.entries:
        found.append(_distances(selection, section, table))
    if "elbo" in section.metrics:
        found.append(_published(section))
    return found


def floors(section: Section) -> dict[str, str]:
    """Entropy of the truth as estimated on the test points, by task, in words: a mean over methods and seeds."""
    scores = section.scores
    own = scores[(scores["metric"] == "nll_floor") & (scores["evaluation"] == "test")]
    means = own.groupby("task")["value"].mean()
    return {task: number(float(means[task]), 3) for task in section.tasks if task in means}


def _comparison(selection: Selection, section: Section, metric: str, evaluation: str) -> Comparison:
    better, _, _ = selection.metric(metric)
    return comparison(section.scores, metric, evaluation, better, list(section.rows), list(section.tasks))


def _distances(selection: Selection, section: Section, table: Comparison) -> Extra:
    rows = tuple((row, tuple(cell(table.entries.get((row, task))) for task in table.tasks)) for row in table.rows)
    numbers = pd.DataFrame(
        [(task, row, e.mean, e.se, e.best) for (row, task), e in table.entries.items()],
        columns=["task", "method", "kl_reverse", "stderr", "best"],
    )
    known = floors(section)
    floor = FLOOR.format(", ".join(f"{text} ({task})" for task, text in known.items())) * bool(known)
    seeds = max(table.seeds.values())
    caption = " ".join(filter(None, (KL, SEEDS.format(seeds) * (seeds > 1), floor, DEFAULT * (STACKED in table.rows))))
    name, title = f"{section.name}-kl", "density: divergence of the flow from the truth"
    return Extra(name, title, Grid(("method", *table.tasks), rows), caption, numbers)


def _published(section: Section) -> Extra:
    """Bounds of autoencoders with and without flows, from the literature."""
    rows = [r for r in shipped() if r["task"] == "vae_nll" and r["metric"] in BOUNDS]
    numbers = pd.DataFrame(
        [
            (
                r["method"],
                r["dataset"],
                r["metric"],
                BOUNDS[r["metric"]] * float(r["value"]),
                r["confidence"],
                r["source"],
            )
            for r in rows
        ],
        columns=["method", "dataset", "metric", "value", "confidence", "source"],
    )
    body: dict[tuple[str, str, str], list[str]] = {}
    for r in rows:
        key = r["method"], r["dataset"].replace("_", " "), r["source"]
        texts = body.setdefault(key, [EMPTY, EMPTY, "" if r["confidence"] == "high" else "second hand"])
        texts[r["metric"] == "log_px_iw1000"] = number(BOUNDS[r["metric"]] * float(r["value"]), 2)
    grid = tuple(
        (method, tuple((text, False, "") for text in (*texts, data, source)))
        for (method, data, source), texts in body.items()
    )
    header = ("published model", "bound", "importance-weighted (1,000)", "confidence", "data", "source")
    title = "mnist-vae: published bounds"
    return Extra(f"{section.name}-published", title, Grid(header, grid), PUBLISHED, numbers)
