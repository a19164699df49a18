"""The comparisons with HMC as tables, one a metric: the captions say what qualifies them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnbench.reporting.fidelity import Fidelity, Ranking
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import OTHER_TARGET, UNCONVERGED, number, significant, words

FLOOR, RANK = "noise floor (hmc)", "mean rank"
TITLES = {
    "w1_to_hmc": "Distance from HMC",
    "mean_gap": "Gap of the means",
    "log_sd_ratio": "Width against HMC",
    "log_epistemic_ratio": "Epistemic width against HMC",
}


def fidelity_tables(found: Fidelity) -> list[Table]:
    """One table a metric."""
    return [
        Table(f"fidelity-{metric}", TITLES.get(metric, words(metric)), _grid(found, numbers, metric),
              _caption(found, metric), numbers)
        for metric in found.metrics
        for numbers in [_numbers(found, metric)]
    ]  # fmt: skip


def _numbers(found: Fidelity, metric: str) -> Frame:
    """Long form: a value, the floor under it and what qualifies it."""
    part = found.frame[found.frame["metric"] == metric]
    bold = found.bold(metric)
    keys = list(zip(part["row"], part["column"], strict=True))
    ranks = _ranks(found, metric)
    return pd.DataFrame(
        {
            "task": part["task"], "split": part["split"], "method": part["row"], "metric": metric,
            "value": part["value"], "stderr": part["stderr"],
            "noise_floor": [found.floor.get((metric, c), np.nan) for _, c in keys],
            "best": [k in bold for k in keys], "other_target": part["row"].isin(found.other),
            **({"mean_rank": [ranks.get(r, np.nan) for r, _ in keys]} if ranks else {}),
            "unconverged": part["unconverged"], "reference_unconverged": part["column"].isin(found.flagged),
        }
    )  # fmt: skip


def _grid(found: Fidelity, numbers: Frame, metric: str) -> Grid:
    """Noise floors on top; mean ranks to the right."""
    flags = numbers[["other_target", "unconverged", "reference_unconverged"]].itertuples(index=False)
    marks = [OTHER_TARGET * other + UNCONVERGED * (own or reference) for other, own, reference in flags]
    lines = numbers.assign(column=found.frame["column"], mark=marks)
    floors = [(FLOOR, c, significant(v)) for (m, c), v in found.floor.items() if m == metric]
    ranks = [(row, RANK, number(rank, 1)) for row, rank in _ranks(found, metric).items()]
    more = pd.DataFrame([*floors, *ranks], columns=["method", "column", "text"])
    columns = {c: c + f" {UNCONVERGED}" * (c in found.flagged) for c in found.columns} | {RANK: RANK}
    return Grid.from_long(pd.concat([lines, more]), [FLOOR, *found.rows], columns)


def _ranks(found: Fidelity, metric: str) -> dict[str, float]:
    """Those of the metric that ranks."""
    ranking = found.ranking()
    return ranking.ranks if ranking.metric == metric else {}


def ranked_over(ranking: Ranking) -> str:
    """What the ranks are over, and what is left out of them."""
    if not ranking.columns:
        return "No ranks: there is no column in which HMC converged and every method has a value. "
    text = f"Mean rank: over {', '.join(ranking.columns)}, where HMC converged and every ranked method has a value. "
    if ranking.unconverged:
        text += f"Not ranked over, for HMC is unconverged there: {', '.join(ranking.unconverged)}. "
    for column, rows in ranking.missing.items():
        text += f"Not ranked over {column}, which {', '.join(rows)} {'lacks' if len(rows) == 1 else 'lack'}. "
    return text.strip()


def _caption(found: Fidelity, metric: str) -> str:
    what = found.metrics[metric].summary or words(metric)
    text = f"{what[0].upper()}{what[1:]}. HMC samples the task's posterior"
    rhat = [f"{c} {number(found.rhat[c], 3)}" for c in found.columns if c in found.rhat]
    text += f" (its R-hat: {', '.join(rhat)})" * bool(rhat) + ". "
    if any(m == metric for m, _ in found.floor):
        text += "Noise floor: two halves of HMC's own chains compared, below which nothing can be separated. Bold: the "
        text += "value nearest to zero, and all within the noise floor. "
    else:
        text += "Bold: the value nearest to zero. "
    if _ranks(found, metric):
        text += ranked_over(found.ranking()) + " "
    if found.other:
        text += f"{OTHER_TARGET}: the method's target is another prior or another model, so that its distance is no "
        text += "error of approximation; it is not ranked and does not compete for bold. "
    if found.flagged:
        where = ", ".join(sorted(found.flagged))
        text += f"{UNCONVERGED}: HMC is flagged by its own convergence diagnostics there ({where}), and a "
        text += "comparison with it is worth no more. "
    if found.frame["unconverged"].any():
        text += f"{UNCONVERGED} elsewhere: the method is flagged by its own. "
    return text.strip()
