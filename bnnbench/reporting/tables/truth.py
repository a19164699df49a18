"""Toy tasks know the true density of y: how far is each predictive from it, where there are data and where not?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bnnbench.names import GRID, INSIDE, OUTSIDE
from bnnbench.reporting.averages import averages, judged
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table

KL, COVERAGE = "kl_to_truth", "truth_coverage_95"
RIGHT = {KL: 0.0, COVERAGE: 0.95}
COLUMNS = {
    (GRID, KL): "KL: grid",
    (INSIDE, KL): "KL: inside",
    (OUTSIDE, KL): "KL: outside",
    (INSIDE, COVERAGE): "coverage: inside",
    (OUTSIDE, COVERAGE): "coverage: outside",
}
CAPTION = (
    "On the whole grid, inside the range of the training data and outside of it. KL: divergence of the predictive from "
    "the true density of y in nats, mean over grid points (0 is perfect; lowest bold, baselines and "
    "unconverged methods apart). Coverage: probability that the "
    "true y falls into the central 95 % interval of the predictive (0.95 is right, and the nearest to it is bold: less "
    "is overconfident, more underconfident)."
)


def truth_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table a task whose truth is known."""
    for task in section.tasks:
        scores = averages(section, task)
        own: Frame = pd.concat([scores[(scores["evaluation"] == e) & (scores["metric"] == m)] for e, m in COLUMNS])
        if own.empty:
            continue
        own = judged(own, (own["value"] - own["metric"].map(RIGHT)).abs())
        grid = Grid.from_long(own, section.rows, COLUMNS, ("method", "evaluation", "metric"))
        numbers = own[["evaluation", "metric", "method", "value", "stderr", "best", "unconverged"]]
        yield Table(f"{section.name}-truth-{task}", f"{task}: distance from the truth", grid, CAPTION, numbers)
