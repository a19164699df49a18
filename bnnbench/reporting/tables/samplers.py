"""Did the samplers sample? Their own diagnostics, over all cells of a section."""

from __future__ import annotations

import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import UNCONVERGED, Grid, significant

DIAGNOSTICS = {
    ("sampler", "draws_kept"): "draws kept",
    ("sampler", "step_size"): "step size",
    ("sampler", "acceptance"): "acceptance",
    ("sampler", "divergent"): "divergent",
    ("sampler", "temperature_kinetic"): "kinetic temperature",
    ("sampler", "temperature_configurational"): "configurational temperature",
    ("sampler", "draws_exploded"): "exploded draws",
    ("sampler", "drift_shortened"): "shortened drifts",
    ("sampler", "noise_deficit"): "noise deficit",
    ("test", "rhat"): "worst R-hat",
    ("test", "ess"): "ESS",
    ("test", "share_converged"): "share converged",
}
CAPTION = (
    "Medians over cells, which one exploded chain does not carry; R-hat is the worst of them. Draws kept: over all "
    "chains. Step size: in the method's own "
    "convention. Divergent: share of trajectories whose energy was lost. In equilibrium both temperatures are that of "
    "the target, 1 for the posterior; more is too hot. Exploded draws: share of the predictive's networks that lose to "
    "a guess on most validation rows. Shortened drifts: share of steps that were cut for stability. Noise deficit: "
    "share of weights whose injected noise would have to be negative. R-hat (largest over test points), effective "
    "sample size (ESS, smallest over test points) and the share of test points converged compare the chains' "
    "predictions. ‡: cells unconverged by the method's own account."
)


def sampler_tables(section: Section) -> list[Extra]:
    """One table, if any method here samples and says so."""
    numbers = _numbers(section)
    if numbers.empty:
        return []
    return [Extra(f"{section.name}-samplers", f"{section.group}: samplers", _grid(numbers), CAPTION, numbers)]


def _numbers(section: Section) -> Frame:
    """One row a method: cells, unconverged cells and the diagnostics that exist."""
    scores = section.scores
    sampling = set(scores.loc[scores["evaluation"] == "sampler", "row"])
    records = []
    for row in (r for r in section.rows if r in sampling):
        own = scores[scores["row"] == row]
        cells = own.drop_duplicates("fingerprint")["status"]
        record = {"method": row, "cells": len(cells), "unconverged": int((cells == "unconverged").sum())}
        for evaluation, metric in DIAGNOSTICS:
            values = own.loc[(own["evaluation"] == evaluation) & (own["metric"] == metric), "value"]
            record[metric] = values.max() if metric == "rhat" else values.median()
        records.append(record)
    return pd.DataFrame(records).dropna(axis="columns", how="all")


def _grid(numbers: Frame) -> Grid:
    shown = {metric: title for (_, metric), title in DIAGNOSTICS.items() if metric in numbers}
    rows = []
    for _, record in numbers.iterrows():
        bad, cells = int(record["unconverged"]), int(record["cells"])
        count = (f"{bad} of {cells}", False, UNCONVERGED * bool(bad))
        rows.append((str(record["method"]), (count, *((significant(float(record[m])), False, "") for m in shown))))
    return Grid(("method", "unconverged cells", *shown.values()), tuple(rows))
