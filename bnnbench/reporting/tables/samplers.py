"""Have the samplers converged? Their own diagnostics, over all cells of a section."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bnnbench.names import SAMPLER, TEST
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import UNCONVERGED

DIAGNOSTICS = {
    (SAMPLER, "draws_kept"): "draws kept",
    (SAMPLER, "step_size"): "step size",
    (SAMPLER, "acceptance"): "acceptance",
    (SAMPLER, "divergent"): "divergent",
    (SAMPLER, "temperature_kinetic"): "kinetic temperature",
    (SAMPLER, "temperature_configurational"): "configurational temperature",
    (SAMPLER, "draws_exploded"): "exploded draws",
    (SAMPLER, "drift_shortened"): "shortened drifts",
    (SAMPLER, "noise_deficit"): "noise deficit",
    (TEST, "rhat"): "worst R-hat",
    (TEST, "ess"): "ESS",
    (TEST, "share_converged"): "share converged",
}
OVER_CELLS = {"rhat": "max"}  # of the others the median
CAPTION = (
    "Medians over cells, which one exploded chain does not carry; R-hat is the worst of them. Draws kept: over all "
    "chains. Step size: in the method's own convention. Divergent: share of trajectories whose energy was lost. In "
    "equilibrium both temperatures are that of the target, 1 for the posterior; more is too high. Exploded draws: "
    "share of the predictive's networks that do not beat the constant predictor on most validation rows. Shortened "
    "drifts: share of steps that were cut for stability. Noise deficit: share of weights whose injected noise would "
    "have to be negative. R-hat (largest over test points), effective sample size (ESS, smallest over test points) "
    "and the share of test points converged compare the chains' predictions. ‡: cells flagged by the method's own "
    "convergence diagnostics."
)


def sampler_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if any method here samples and says so."""
    numbers = _numbers(section)
    if not numbers.empty:
        title = f"{section.group}: samplers"
        yield Table(f"{section.name}-samplers", title, _grid(numbers), CAPTION, numbers)


def _numbers(section: Section) -> Frame:
    """One row a method: cells, unconverged cells and the diagnostics that exist."""
    scores = section.scores
    sampling = set(scores.loc[scores["evaluation"] == SAMPLER, "row"])
    records = []
    for row in (r for r in section.rows if r in sampling):
        own = scores[scores["row"] == row]
        cells = own.drop_duplicates("fingerprint")["status"]
        record = {"method": row, "cells": len(cells), "unconverged": int((cells == "unconverged").sum())}
        for evaluation, metric in DIAGNOSTICS:
            values = own.loc[(own["evaluation"] == evaluation) & (own["metric"] == metric), "value"]
            record[metric] = values.agg(OVER_CELLS.get(metric, "median"))
        records.append(record)
    return pd.DataFrame(records).dropna(axis="columns", how="all")


def _grid(numbers: Frame) -> Grid:
    titles = {metric: title for (_, metric), title in DIAGNOSTICS.items() if metric in numbers}
    counts = [
        {"method": r.method, "column": "cells", "text": f"{r.unconverged} of {r.cells}",
         "mark": UNCONVERGED * bool(r.unconverged)}
        for r in numbers.itertuples()
    ]  # fmt: skip
    lines = pd.concat([pd.DataFrame(counts), numbers.melt("method", list(titles), "column")])
    return Grid.from_long(lines, list(numbers["method"]), {"cells": "unconverged cells"} | titles)
